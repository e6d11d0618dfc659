"""How good a picture the machine has time for: quality falls in a stated order, and rises again with hysteresis.

First the network's evaluations are halved, down to one; then the picture is made smaller; then frames are left out.
Time is an argument. This file does not know how a frame is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from elsewhere.live.options import SIZE_LEAST, SIZE_STEP, Options

SIZES = (3 / 4, 1 / 2)
EVERIES = (2, 3)
FALL_LOAD, RISE_LOAD = 1.0, 0.75
"""Shares of a frame's time: above the one there is no time, below the other there would be on the next rung up."""
FALL_SECONDS, RISE_SECONDS, RISE_SECONDS_MOST = 0.5, 3.0, 48.0
RELAPSE_SECONDS = 6.0
"""A fall so soon after a rise makes the next rise wait twice as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """One quality: evaluations, size in pixels, and of how many frames one is shown."""

    steps: int
    width: int
    height: int
    every: int = 1

    @property
    def cost(self) -> float:
        """Relative work in a second."""
        return self.steps * self.width * self.height / self.every


def quality_rungs(options: Options, *, adjustable: bool) -> tuple[Rung, ...]:
    """From what was asked for down to the least. What is not `adjustable` can only leave frames out."""
    return tuple(_rungs(options, adjustable))


def _rungs(options: Options, adjustable: bool) -> Iterator[Rung]:
    steps, width, height = options.steps, options.width, options.height
    yield Rung(steps=steps, width=width, height=height)
    if adjustable:
        while steps > 1:
            steps //= 2
            yield Rung(steps=steps, width=width, height=height)
        for share in SIZES:
            smaller = _side(options.width, share), _side(options.height, share)
            if smaller != (width, height):
                width, height = smaller
                yield Rung(steps=steps, width=width, height=height)
    for every in EVERIES:
        yield Rung(steps=steps, width=width, height=height, every=every)


def _side(side: int, share: float) -> int:
    return max(SIZE_LEAST, round(side * share / SIZE_STEP) * SIZE_STEP)


class Ladder:
    """`observe` every frame; `rung` is what the next one shall be made with. `period` is seconds between frames.

    A rung that `can_show` denies is passed over until it does not: what is being made ready is used when it is wanted
    next.
    """

    def __init__(
        self, rungs: tuple[Rung, ...], period: float, can_show: Callable[[Rung], bool] = lambda rung: True
    ) -> None:
        self._rungs, self._period, self._can_show = rungs, period, can_show
        self._index = 0
        self._over_since: float | None = None
        self._under_since: float | None = None
        self._patience = RISE_SECONDS
        self._rose_at = float("-inf")

    @property
    def rung(self) -> Rung:
        """The quality in force."""
        return self._rungs[self._index]

    @property
    def fallen(self) -> int:
        """Steps below what was asked for."""
        return self._index

    def observe(self, seconds: float, now: float) -> bool:
        """A frame took `seconds` and was done at `now`; whether the rung is another one now."""
        load = seconds / (self._period * self.rung.every)
        if load > FALL_LOAD:
            self._under_since = None
            self._over_since = now if self._over_since is None else self._over_since
            return now - self._over_since >= FALL_SECONDS and self._fall(now)
        self._over_since = None
        above = self._above()
        if above is None or load * self._rungs[above].cost / self.rung.cost > RISE_LOAD:
            self._under_since = None
            return False
        self._under_since = now if self._under_since is None else self._under_since
        return now - self._under_since >= self._patience and self._rise(now)

    def rest(self) -> None:
        """Nobody looked for a while: what was observed before says nothing of now."""
        self._over_since = self._under_since = None

    def _above(self) -> int | None:
        return next((i for i in range(self._index - 1, -1, -1) if self._can_show(self._rungs[i])), None)

    def _below(self) -> int | None:
        return next((i for i in range(self._index + 1, len(self._rungs)) if self._can_show(self._rungs[i])), None)

    def _fall(self, now: float) -> bool:
        below = self._below()
        if below is None:
            return False
        if now - self._rose_at < RELAPSE_SECONDS:
            self._patience = min(2.0 * self._patience, RISE_SECONDS_MOST)
        self._index = below
        self._over_since = None
        return True

    def _rise(self, now: float) -> bool:
        if now - self._rose_at > 2.0 * self._patience + RELAPSE_SECONDS:
            self._patience = RISE_SECONDS
        above = self._above()
        assert above is not None
        self._index = above
        self._rose_at = now
        self._under_since = None
        return True
