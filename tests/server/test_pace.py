"""Frames on time: a late one is caught up with, a slow machine leaves frames out, and the clock is met again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.server.pace import SKIPPED_MOST, Pace


def play(spans: list[float], fps: int = 25) -> list[tuple[float, int]]:
    """(when it was shown, frame) for frames that take so many seconds each to make."""
    pace, now, shown = Pace(fps), 0.0, 0
    pace.begin(0, now)
    found = [(0.0, 0)]
    following = 1
    for span in spans:
        now += pace.wait(now)
        skip = pace.skip(now)
        shown, following = following, following + 1 + skip
        now += span
        pace.show(shown, skip)
        found.append((now, shown))
    return found


def test_a_fast_machine_shows_every_frame_when_it_is_due() -> None:
    for number, (when, shown) in enumerate(play([0.01] * 50)):
        assert shown == number
        if number:
            assert when == pytest.approx(number / 25 + 0.01)


def test_one_late_frame_leaves_nothing_out_if_it_is_less_than_a_period_late() -> None:
    frames = play([0.02] * 5 + [0.07] + [0.02] * 20)
    assert [shown for _, shown in frames] == list(range(27))
    assert frames[-1][0] == pytest.approx(26 / 25 + 0.02)  # caught up


def test_a_machine_at_half_the_pace_shows_half_of_the_frames_on_time() -> None:
    frames = play([0.08] * 40)
    steps = [b[1] - a[1] for a, b in itertools.pairwise(frames[5:])]
    assert max(steps) <= 3
    assert sum(steps) / len(steps) == pytest.approx(2, abs=0.1)
    assert all(abs(when - shown / 25) < 0.17 for when, shown in frames)


def test_a_machine_that_stops_for_long_slows_the_world_down() -> None:
    frames = play([0.01, 10.0] + [0.01] * 20)
    assert max(b[1] - a[1] for a, b in itertools.pairwise(frames)) == SKIPPED_MOST + 1
    assert frames[-1][1] < 40


@given(st.lists(st.floats(0.0, 0.6), min_size=1, max_size=60))
def test_frames_only_go_forward_and_never_far_beyond_the_clock(spans: list[float]) -> None:
    frames = play(spans)
    for (_, before), (_, after) in itertools.pairwise(frames):
        assert 1 <= after - before <= SKIPPED_MOST + 1
    # Never ahead of the clock by more than what was left out for a delay that then ended.
    assert all(shown / 25 - when <= (SKIPPED_MOST + 1) / 25 + 1e-6 for when, shown in frames)
