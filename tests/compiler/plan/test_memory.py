"""Addresses: no two buffers that are alive together overlap, and the arena is little longer than it must be."""

from __future__ import annotations

import numpy as np
import pytest
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.importers.torch_export import from_module
from elsewhere.compiler.plan.memory import ALIGNMENT, Arena, Block, allocate, live_set, round_up
from elsewhere.compiler.targets.cpu.build import build

BLOCKS = st.lists(
    st.builds(
        lambda size, first, more: Block(size, first, first + more),
        st.integers(0, 5000),
        st.integers(0, 30),
        st.integers(0, 12),
    ),
    max_size=40,
)


def largest(blocks: list[Block]) -> int:
    """By brute force over steps."""
    steps = range(max((b.last for b in blocks), default=0) + 1)
    return max(sum(round_up(b.bytes) for b in blocks if b.first <= step <= b.last) for step in steps)


def overlapping(arena: Arena, blocks: list[Block]) -> list[tuple[int, int]]:
    """Painted byte by byte (in cache lines) for every step."""
    found = []
    for step in range(max((b.last for b in blocks), default=0) + 1):
        owner = np.full(arena.bytes // ALIGNMENT + 1, -1)
        for number, block in enumerate(blocks):
            if block.first <= step <= block.last:
                lines = slice(
                    arena.offsets[number] // ALIGNMENT, (arena.offsets[number] + round_up(block.bytes)) // ALIGNMENT
                )
                found += [(int(o), number) for o in set(owner[lines]) if o >= 0]
                owner[lines] = number
    return found


@settings(max_examples=200)
@given(BLOCKS)
def test_what_lives_together_lies_apart(blocks: list[Block]) -> None:
    arena = allocate(blocks)
    assert overlapping(arena, blocks) == []
    assert arena.live == live_set(blocks) == (largest(blocks) if blocks else 0)
    assert arena.live <= arena.bytes <= sum(round_up(b.bytes) for b in blocks)
    for offset, block in zip(arena.offsets, blocks, strict=True):
        assert offset % ALIGNMENT == 0
        assert offset >= 0 and offset + block.bytes <= arena.bytes


def test_no_blocks_need_no_memory() -> None:
    assert allocate([]) == Arena((), 0, 0)
    assert allocate([]).ratio == 1.0


def test_a_chain_needs_two_at_a_time() -> None:
    blocks = [Block(1000, i, i + 1) for i in range(50)]
    assert allocate(blocks).bytes == 2 * round_up(1000)


EVERY = [
    pytest.param(name, marks=[] if name in ("dit-block", "tokenizer-decoder", "conv3d") else [pytest.mark.slow])
    for name in zoo.ENTRIES
]


@pytest.mark.parametrize("name", EVERY)
def test_the_zoo_needs_little_more_than_its_largest_live_set(name: str) -> None:
    module, inputs = zoo.build(name)
    program = build(from_module(module, inputs))
    assert program.arena_bytes <= 1.10 * program.live_bytes
