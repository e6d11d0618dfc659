"""When each frame is due, and how many are left out where the machine is slower than the world.

Frame n is due n / fps seconds after frame 0. A frame that is less than one period late is shown late, and those after
it without a pause, until the clock is met again: nothing is left out for a moment's delay. Time is an argument.
"""

from __future__ import annotations

SKIPPED_MOST = 4
"""Frames that may be left out at a time; slower than that, the world's time slows down."""


class Pace:
    """`begin` with a frame that was shown; then for each next one: `wait`, `skip`, make it, `show`."""

    def __init__(self, fps: int) -> None:
        self.period = 1.0 / fps
        self._origin = 0.0
        self._next = 0

    def begin(self, shown: int, now: float) -> None:
        """Frame `shown` was shown at `now` (seconds), and time goes on from there, as after a pause."""
        self._origin = now - shown * self.period
        self._next = shown + 1

    def wait(self, now: float) -> float:
        """Seconds until the next frame is due; 0 if it is late."""
        return max(0.0, self._origin + self._next * self.period - now)

    def skip(self, now: float) -> int:
        """How many frames to leave out after the next one, so that the one after those is on time."""
        late = now - (self._origin + self._next * self.period)
        count = int(late / self.period) if late > 0 else 0
        if count > SKIPPED_MOST:
            self._origin += (count - SKIPPED_MOST) * self.period
            count = SKIPPED_MOST
        return count

    def show(self, shown: int, skipped: int) -> None:
        """Frame `shown` was made, with `skipped` left out after it."""
        self._next = shown + 1 + skipped
