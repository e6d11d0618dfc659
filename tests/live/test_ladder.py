"""Quality falls in its order when there is no time, rises when there is, and does not swing. The clock is simulated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.live import Options, Session
from elsewhere.live.film import read_prompt
from elsewhere.live.ladder import Ladder, Rung, quality_rungs

OPTIONS = Options(mode="calculated", width=128, height=96, fps=25, steps=4)
PERIOD = 1 / 25
RUNGS = quality_rungs(OPTIONS, adjustable=True)


def play(speed: Callable[[float], float], seconds: float) -> list[tuple[float, Rung]]:
    """(when, quality) of each frame; `speed` is how much work the machine does in a second, 1 being all of the best."""
    ladder, now = Ladder(RUNGS, PERIOD), 0.0
    found = []
    while now < seconds:
        rung = ladder.rung
        span = PERIOD * rung.steps * rung.width * rung.height / (4 * 128 * 96) / speed(now)
        found.append((now, rung))
        now += max(span, PERIOD * rung.every)
        ladder.observe(span, now)
    return found


def test_the_order_is_steps_then_size_then_rate() -> None:
    assert [(r.steps, r.width, r.height, r.every) for r in RUNGS] == [
        (4, 128, 96, 1),
        (2, 128, 96, 1),
        (1, 128, 96, 1),
        (1, 96, 64, 1),
        (1, 64, 64, 1),
        (1, 64, 64, 2),
        (1, 64, 64, 3),
    ]
    assert all(after.cost < before.cost for before, after in pairwise(RUNGS))
    fixed = quality_rungs(OPTIONS, adjustable=False)
    assert [(r.steps, r.width, r.every) for r in fixed] == [(4, 128, 1), (4, 128, 2), (4, 128, 3)]


def test_a_fast_machine_never_falls() -> None:
    assert {rung for _, rung in play(lambda now: 1.2, 30.0)} == {RUNGS[0]}


def test_a_machine_at_a_third_falls_to_what_it_can_do_and_stays() -> None:
    found = play(lambda now: 0.35, 60.0)
    assert found[-1][1] == RUNGS[2]
    assert next(at for at, rung in found if rung == RUNGS[2]) < 2.0
    assert {rung for at, rung in found if at > 5.0} == {RUNGS[2]}


def test_quality_comes_back_when_there_is_time_again() -> None:
    found = play(lambda now: 0.1 if 5.0 <= now < 15.0 else 2.0, 50.0)
    assert min(rung.cost for _, rung in found) < RUNGS[2].cost
    assert found[-1][1] == RUNGS[0]
    assert all(abs(RUNGS.index(a) - RUNGS.index(b)) <= 1 for (_, a), (_, b) in pairwise(found))


def test_a_machine_at_the_edge_does_not_swing() -> None:
    changes = [at for (_, a), (at, b) in pairwise(play(lambda now: 0.9 + 0.2 * (int(now / 4) % 2), 120.0)) if a != b]
    assert len([at for at in changes if at > 60.0]) <= 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 2.0), max_size=200))
def test_it_stays_on_the_ladder(spans: list[float]) -> None:
    ladder, now = Ladder(RUNGS, PERIOD), 0.0
    for span in spans:
        before = RUNGS.index(ladder.rung)
        now += max(span, PERIOD)
        changed = ladder.observe(span, now)
        assert changed == (RUNGS.index(ladder.rung) != before)


def test_a_session_goes_on_in_another_size() -> None:
    session = Session(read_prompt("a red rubber duck drifting in a bathtub").scene, OPTIONS, steps=1)
    assert session.can_show(1, 64, 64)
    sizes, ids, worlds = [], [], set()
    for number in range(8):
        if number in (2, 5):
            session.adjust(1, *((64, 64) if number == 2 else (128, 96)))
        frame = session.frame()
        sizes.append(frame.depth.shape)
        ids.append(frame.tick)
        worlds.add(frame.world_id)
    assert sizes[0] == (96, 128) and (64, 64) in sizes and sizes[-1] == (96, 128)
    assert ids == sorted(set(ids))
    assert len(worlds) == 1


def test_a_rung_that_is_not_ready_is_passed_over_and_taken_once_it_is() -> None:
    ready: set[Rung] = {rung for rung in RUNGS if rung.every > 1}
    ladder = Ladder(RUNGS, PERIOD, lambda rung: rung in ready or rung == RUNGS[0])
    now, quality = 0.0, []
    while now < 20.0:
        if now > 5.0:
            ready.update(RUNGS)
        rung = ladder.rung
        span = PERIOD * rung.cost * rung.every / RUNGS[0].cost / 0.4
        now += max(span, PERIOD * rung.every)
        ladder.observe(span, now)
        quality.append(rung)
    order = list(dict.fromkeys(quality))
    assert order[:2] == [RUNGS[0], RUNGS[-2]]  # the first that leaves frames out
    assert quality[-1].every == 1  # and then fewer evaluations or a smaller picture instead
    assert quality[-1] != RUNGS[0]
