"""Splits between cores: whatever two threads do between meetings, no kernel sees another's work half done."""

from __future__ import annotations

from itertools import combinations

import drawn
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elsewhere.compiler.plan import order
from elsewhere.compiler.plan.layout import lay_out
from elsewhere.compiler.plan.order import WORTH_SPLITTING, Extent, Schedule, Work, split
from elsewhere.compiler.targets.cpu.build import prepare
from elsewhere.compiler.targets.cpu.lower import even, lower
from elsewhere.compiler.targets.cpu.machine import describe

EXTENT = st.builds(lambda start, size, b: (start, start + size, b), st.integers(0, 30), st.integers(1, 12), st.just(-1))
WORK = st.builds(
    lambda reads, writes, units, cost: Work(tuple(reads), tuple(writes), units, cost, even(units)),
    st.lists(EXTENT, max_size=3),
    st.lists(EXTENT, max_size=2),
    st.integers(1, 9),
    st.sampled_from([10.0, WORTH_SPLITTING * 0.9, WORTH_SPLITTING * 3]),
)


def meet(a: Extent, b: Extent) -> bool:
    return not (a[1] <= b[0] or b[1] <= a[0])


def conflict(a: Work, b: Work) -> bool:
    """Whether the second may not start before the first is done. Writes to one buffer never overlap in it."""
    for x in a.writes:
        if any(meet(x, y) for y in b.reads):
            return True
        if any(meet(x, y) and not (x[2] == y[2] >= 0) for y in b.writes):
            return True
    return any(meet(x, y) for x in a.reads for y in b.writes)


def runs(schedule: Schedule, kernel: int) -> set[int]:
    return {t for t, ranges in enumerate(schedule.ranges) if ranges[kernel][0] < ranges[kernel][1]}


def check(works: list[Work], schedule: Schedule) -> None:
    for kernel, work in enumerate(works):
        covered = [u for ranges in schedule.ranges for u in range(*ranges[kernel])]
        assert sorted(covered) == list(range(work.units))
    for a, b in combinations(range(len(works)), 2):
        if conflict(works[a], works[b]):
            alone = runs(schedule, a) == runs(schedule, b) and len(runs(schedule, a)) == 1
            assert alone or any(schedule.barriers[a + 1 : b + 1]), f"kernels {a} and {b} race"


@settings(max_examples=300)
@given(st.lists(WORK, max_size=14), st.integers(1, 4))
def test_every_conflict_is_on_one_core_or_has_a_meeting_between(works: list[Work], threads: int) -> None:
    schedule = split(works, threads)
    check(works, schedule)
    if threads == 1:
        assert not any(schedule.barriers)
    assert split(works, threads) == schedule


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn.graphs(20), st.integers(2, 3))
def test_random_graphs_do_not_race(graph: drawn.Drawn, threads: int) -> None:
    """With every kernel split, whatever it costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "WORTH_SPLITTING", 0.0)
        lowered = lower(lay_out(prepare(graph.graph)[0]), describe())
        works = [
            Work(
                tuple((10**6 * b + lo, 10**6 * b + hi, b) for b, lo, hi in k.reads),
                tuple((10**6 * b + lo, 10**6 * b + hi, -1 if k.rewrites else b) for b, lo, hi in k.writes),
                k.units,
                k.cost,
                k.borders,
            )
            for k in lowered.kernels
        ]
        check(works, split(works, threads))


def test_kernels_that_touch_nothing_of_each_other_need_no_meeting() -> None:
    works = [Work(((0, 64, 0),), ((64 * i, 64 * (i + 1), i),), 4, 1e5, even(4)) for i in range(1, 6)]
    assert not any(split(works, 2).barriers)
