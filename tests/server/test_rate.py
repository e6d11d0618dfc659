"""A line is simulated: what it carries decides the rung, and nothing queues for long."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from elsewhere.server.codecs import RUNGS
from elsewhere.server.rate import Estimator

FPS = 24
HALF_TRIP = 0.02


class Line:
    """A pipe of `rate(now)` bits a second with a delay of its own, and a queue without end."""

    def __init__(self, rate: Callable[[float], float]) -> None:
        self.rate, self.free_at = rate, 0.0

    def carry(self, size: int, now: float) -> float:
        """When an acknowledgement of `size` bytes comes back."""
        start = max(now, self.free_at)
        left = 8.0 * size
        while left > 0:
            step = 0.01
            left -= self.rate(start) * step
            start += step
        self.free_at = start
        return start + 2 * HALF_TRIP


def play(rate: Callable[[float], float], seconds: float) -> list[tuple[float, int, float]]:
    """(when sent, rung, delay) of each frame; no more than a watcher's window are on their way."""
    line, estimator = Line(rate), Estimator()
    coming: list[tuple[float, int, float]] = []
    found = []
    for number in range(round(seconds * FPS)):
        now = number / FPS
        while coming and coming[0][0] <= now:
            at, frame_id, sent = coming.pop(0)
            estimator.acknowledged(frame_id, at)
            found.append((sent, estimator.rung, at - sent))
        estimator.check(now)
        if len(coming) < 3:
            size = round(RUNGS[estimator.rung] / 8 / FPS)
            estimator.sent(number, size, now)
            coming.append((line.carry(size, now), number, now))
        else:
            estimator.skipped(now)
    return found


def test_a_wide_line_gets_the_best_within_seconds() -> None:
    found = play(lambda now: 20e6, 8.0)
    assert found[-1][1] == len(RUNGS) - 1
    assert max(delay for _, _, delay in found) < 0.12


@pytest.mark.parametrize(("rate", "best"), [(1.5e6, 2), (0.7e6, 1), (0.35e6, 0)])
def test_a_narrow_line_settles_at_what_it_carries(rate: float, best: int) -> None:
    found = [item for item in play(lambda now: rate, 60.0) if item[0] > 5.0]
    rungs = [rung for _, rung, _ in found]
    assert sorted(rungs)[len(rungs) // 2] == best
    delays = sorted(delay for _, _, delay in found)
    assert delays[int(0.95 * len(delays))] < 0.5


def test_a_step_down_and_up_again_is_recovered_within_two_seconds() -> None:
    found = play(lambda now: 0.5e6 if 10.0 <= now < 20.0 else 5e6, 32.0)
    assert min(rung for at, rung, _ in found if 12.0 < at < 20.0) <= 1
    for begin, end in ((12.0, 20.0), (22.0, 32.0)):
        delays = sorted(delay for at, _, delay in found if begin < at < end)
        assert delays[int(0.95 * len(delays))] < 0.25
    assert [rung for at, rung, _ in found if at > 30.0][-1] >= 3


def test_silence_alone_makes_it_fall() -> None:
    estimator = Estimator()
    for number in range(5):
        estimator.sent(number, 1000, number / FPS)
    before = estimator.rung
    estimator.check(1.0)
    assert estimator.rung < before
    estimator.forget()
    assert estimator.bytes_on_the_way == 0


def test_a_rise_that_fails_makes_the_next_wait_longer() -> None:
    found = play(lambda now: 0.7e6, 60.0)
    rises = [b[0] for a, b in pairwise(found) if b[1] > a[1]]
    early = sum(1 for at in rises if at < 20.0)
    late = sum(1 for at in rises if at > 40.0)
    assert late <= early
    assert late <= 3
