"""Addresses in one arena: buffers that are never alive together may share memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64
"""Bytes; one cache line, and one AVX-512 register."""


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that are needed from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arena:
    """Where each block starts, how long the arena is, and the largest live set, below which no plan can go."""

    offsets: tuple[int, ...]
    bytes: int
    live: int

    @property
    def ratio(self) -> float:
        """Length over the largest live set; 1 is the best there is."""
        return self.bytes / self.live if self.live else 1.0


def round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def live_set(blocks: Sequence[Block]) -> int:
    """The largest sum of blocks (rounded up to the alignment) that are alive at one step."""
    changes: dict[int, int] = {}
    for block in blocks:
        changes[block.first] = changes.get(block.first, 0) + round_up(block.bytes)
        changes[block.last + 1] = changes.get(block.last + 1, 0) - round_up(block.bytes)
    most = now = 0
    for step in sorted(changes):
        now += changes[step]
        most = max(most, now)
    return most


def allocate(blocks: Sequence[Block]) -> Arena:
    """The shortest of several greedy plans: each places blocks one by one at the lowest address that is free."""
    orders = (
        lambda b: (-b.bytes, b.first),
        lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
        lambda b: (-(b.last - b.first), -b.bytes),
        lambda b: (b.first, -b.bytes),
    )
    live = live_set(blocks)
    best: tuple[list[int], int] | None = None
    for order in orders:
        plan = _place(blocks, sorted(range(len(blocks)), key=lambda i: (*order(blocks[i]), i)))
        if best is None or plan[1] < best[1]:
            best = plan
        if best[1] <= live:
            break
    assert best is not None
    return Arena(tuple(best[0]), best[1], live)


def _place(blocks: Sequence[Block], order: Sequence[int]) -> tuple[list[int], int]:
    offsets = [0] * len(blocks)
    placed: list[int] = []
    length = 0
    for i in order:
        block, size = blocks[i], round_up(blocks[i].bytes)
        taken = sorted(
            (offsets[j], offsets[j] + round_up(blocks[j].bytes))
            for j in placed
            if blocks[j].first <= block.last and block.first <= blocks[j].last
        )
        at, best, best_gap = 0, -1, 1 << 62
        for start, end in taken:
            if size <= start - at < best_gap:
                best, best_gap = at, start - at  # the tightest gap
            at = max(at, end)
        offsets[i] = best if best >= 0 else at
        placed.append(i)
        length = max(length, offsets[i] + size)
    return offsets, length
