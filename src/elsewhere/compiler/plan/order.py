"""Which kernels must wait for the other cores, and which range of units each core gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Extent = tuple[int, int, int]
"""First byte, the byte after the last, and the buffer. Every byte of a buffer is written once in a run, so that two
writes into one buffer need not wait for each other; -1 says that this does not hold."""


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel as the split sees it: what it touches, its units, and its cost in cycles on one core."""

    reads: tuple[Extent, ...]
    writes: tuple[Extent, ...]
    units: int
    cost: float
    borders: Callable[[int], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """`ranges[thread][kernel]` are (begin, end); `barriers[kernel]` says whether all threads meet before it."""

    ranges: tuple[tuple[tuple[int, int], ...], ...]
    barriers: tuple[bool, ...]


WORTH_SPLITTING = 6000.0
"""Cycles below which a kernel runs whole on one core: a meeting of two cores costs a few hundred."""


def split(works: Sequence[Work], threads: int) -> Schedule:
    """Ranges for every thread, and the fewest meetings that keep every read after the write it needs."""
    ranges: list[list[tuple[int, int]]] = [[] for _ in range(threads)]
    barriers: list[bool] = []
    pending: list[tuple[int, Extent, bool]] = []  # (thread or -1 for all, extent, is a write) since the last meeting
    load = [0.0] * threads
    for work in works:
        whole = threads == 1 or work.units < 2 or work.cost < WORTH_SPLITTING
        owner = -1
        if whole:
            owner = _owner(work, pending, load)
        waits = threads > 1 and _conflicts(work, pending, owner)
        if waits:
            pending, load = [], [0.0] * threads
        if whole and waits:
            owner = 0
        barriers.append(waits)
        if owner >= 0:
            for thread in range(threads):
                ranges[thread].append((0, work.units) if thread == owner else (0, 0))
            load[owner] += work.cost
        else:
            borders = work.borders(threads)
            for thread in range(threads):
                ranges[thread].append((borders[thread], borders[thread + 1]))
                load[thread] += work.cost / threads
        pending += [(owner, e, False) for e in work.reads] + [(owner, e, True) for e in work.writes]
    return Schedule(tuple(tuple(r) for r in ranges), tuple(barriers))


def _owner(work: Work, pending: Sequence[tuple[int, Extent, bool]], load: Sequence[float]) -> int:
    """The thread on which `work` need not wait, else the one with the least to do."""
    free = [t for t in range(len(load)) if not _conflicts(work, pending, t)]
    choices = free or list(range(len(load)))
    return min(choices, key=lambda t: (load[t], t))


def _conflicts(work: Work, pending: Sequence[tuple[int, Extent, bool]], owner: int) -> bool:
    for thread, extent, is_write in pending:
        if thread == owner and owner >= 0:
            continue
        if any(_overlap(extent, e) and not (is_write and extent[2] == e[2] >= 0) for e in work.writes):
            return True
        if is_write and any(_overlap(extent, e) for e in work.reads):
            return True
    return False


def _overlap(a: Extent, b: Extent) -> bool:
    return a[0] < b[1] and b[0] < a[1]
