"""Controls hold from the tick they name: not earlier, not later, whatever order they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elsewhere.live import Controls
from elsewhere.live.controls import AHEAD_MOST, WAITING_MOST, ControlTrack


def turn(yaw: float) -> Controls:
    return Controls(yaw=yaw)


def test_controls_hold_from_the_tick_they_name() -> None:
    track = ControlTrack()
    track.put(turn(1.0), 20)
    track.put(turn(2.0), 40)
    assert [track.at(tick).yaw for tick in (0, 10, 20, 30, 40, 50)] == [0, 0, 1, 1, 2, 2]


def test_what_is_late_holds_from_the_next_frame_on() -> None:
    track = ControlTrack()
    track.at(100)
    track.put(turn(1.0), 20)
    assert track.at(110).yaw == 1.0
    track.put(turn(2.0))
    assert track.at(120).yaw == 2.0


def test_the_latest_word_wins() -> None:
    track = ControlTrack()
    track.put(turn(1.0), 50)
    track.put(turn(2.0), 30)
    assert [track.at(tick).yaw for tick in (20, 30, 50, 60)] == [0, 2, 2, 2]


def test_a_clock_that_jumped_does_not_silence_a_person() -> None:
    track = ControlTrack()
    track.at(100)
    track.put(turn(1.0), 100 + AHEAD_MOST + 1)
    assert track.at(110).yaw == 1.0


@given(st.lists(st.tuples(st.integers(0, 2**64), st.floats(-1, 1)), max_size=400), st.integers(0, 1000))
def test_nothing_piles_up_and_in_the_end_the_last_word_holds(said: list[tuple[int, float]], start: int) -> None:
    track = ControlTrack()
    track.at(start)
    for tick, yaw in said:
        track.put(turn(yaw), tick)
        assert len(track._waiting) <= WAITING_MOST
    assert track.at(start + AHEAD_MOST).yaw == (said[-1][1] if said else 0.0)
