"""What a network is after compilation: code, packed data, addresses and schedules, and nothing of the compiler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("f32", "bf16", "int8")
"""What a program's products may be calculated in."""

SLACK = 256
"""Bytes after the arena and the data, which vectors may read past their ends."""

SYNC = {"arrived": 0, "generation": 16, "parked": 32, "stop": 48}
"""Where the shared counters lie, in 8-byte words: two cache lines apart."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input, output or state: where it lies in the arena."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the report and the profile say of one kernel."""

    key: str
    kind: str
    place: str
    units: int
    cost: float
    multiplications: int
    precision: str
    node: int
    bytes: int
    """Of buffers that it reads or writes."""
    weights: int = 0
    """Bytes of packed data that it reads."""


@dataclass(slots=True)
class Program:
    """Everything that a run needs, and nothing of the compiler: it can be written to disk and read again."""

    code: bytes
    data: NDArray[np.uint8]
    arena_bytes: int
    live_bytes: int
    scratch_bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    schedules: dict[int, NDArray[np.int64]]
    """For a number of threads: (threads, kernels, 2) ranges of units."""
    entries: tuple[Entry, ...]
    machine: str
    blocks: tuple[tuple[int, int, int, int], ...] = ()
    """(offset, bytes, first, last step) of every buffer in the arena, for the report."""
    meetings: tuple[int, ...] = ()
    """Kernels before which all threads meet."""
