"""What an attention is, and how it is cut for a machine: tiles, chunks of keys, work units, scratch memory.

Knows no LLVM. Shapes: M queries, S keys, E width of queries and keys, W width of values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import prod

from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.reference_attention import chunk_lengths

PRECISIONS = ("f32", "bf16", "i8")
TYPES = ("f32", "bf16", "f16")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """softmax(q·kᵀ·scale + bias)·v for every batch entry, entirely static.

    Strides count elements of the buffer's type, one per batch dimension and then one per position (query or key);
    numbers of one position lie side by side. Keys and values may lie in several buffers, the segments, and are
    taken as if concatenated; nothing is copied together.
    """

    batch: tuple[int, ...]
    """Extents of batch dimensions, outermost first, such as (images, heads)."""
    queries: int
    segments: tuple[int, ...]
    """Keys in each segment."""
    width: int
    value_width: int
    scale: float
    query_strides: tuple[int, ...]
    key_strides: tuple[tuple[int, ...], ...]
    """Per segment. A zero for a batch dimension shares keys along it (grouped queries): they are packed once."""
    value_strides: tuple[tuple[int, ...], ...]
    out_strides: tuple[int, ...]
    bias_strides: tuple[int, ...] | None = None
    """Of an additive f32 bias: per batch dimension, per query, per key; zeros broadcast. None without a bias."""
    causal: bool = False
    """Whether a key is visible only if key position <= query position + offset."""
    offset: int = 0
    precision: str = "f32"
    """'f32', 'bf16' or 'i8': of both products. Very few queries are always done in f32."""
    query_type: str = "f32"
    key_type: str = "f32"
    value_type: str = "f32"
    out_type: str = "f32"
    parts: int = 1
    """Work units per batch entry. Keys are packed once per unit, so more than one only where entries are few."""

    def __post_init__(self) -> None:
        rank = len(self.batch) + 1
        strides = {
            "query_strides": [self.query_strides],
            "key_strides": self.key_strides,
            "value_strides": self.value_strides,
            "out_strides": [self.out_strides],
        }
        for name, several in strides.items():
            if any(len(one) != rank for one in several):
                raise ValueError(f"{name} must have {rank} strides (batch dimensions, position), got {several}")
        for name in ("key_strides", "value_strides"):
            if len(getattr(self, name)) != len(self.segments):
                raise ValueError(f"{name} must have one entry per segment of {self.segments}")
        if self.bias_strides is not None and len(self.bias_strides) != rank + 1:
            raise ValueError(f"bias_strides must have {rank + 1} strides, got {self.bias_strides}")
        if not self.segments or min(*self.segments, *self.batch, self.queries, self.width, self.value_width) < 1:
            raise ValueError(f"every extent of an attention must be at least 1: {self}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        for name in ("query_type", "key_type", "value_type", "out_type"):
            if getattr(self, name) not in TYPES:
                raise ValueError(f"{name} must be one of {TYPES}, got {getattr(self, name)!r}")
        if self.parts < 1:
            raise ValueError(f"parts must be at least 1, got {self.parts}")

    @property
    def keys(self) -> int:
        """S."""
        return sum(self.segments)

    @property
    def multiplications(self) -> int:
        """Multiply-and-add operations of both products."""
        return prod(self.batch) * self.queries * self.keys * (self.width + self.value_width)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How an attention runs: lanes hold queries, keys and values are broadcast.

    A word is 32 bits: one f32, two bf16 or four int8, whose products an instruction sums up.
    """

    few: bool
    """Whether lanes run along the width instead, in f32: for very few queries."""
    precision: str
    lanes: int
    group: int
    """Numbers in a word."""
    words: int
    """Words in a row of queries or keys."""
    vectors: int
    """Vectors of queries in a block."""
    key_tile: int
    """Keys in a register tile of scores."""
    value_tile: int
    """Columns in a register tile of results."""
    packs: bool
    """Whether keys and values are converted and reordered first."""
    chunks: tuple[tuple[int, ...], ...]
    """Lengths of the chunks of each segment (of all segments as one where keys are packed)."""
    offsets: dict[str, int]
    """Where the parts of the scratch memory lie, bytes."""
    scratch: int
    """Bytes of scratch memory."""

    @property
    def block(self) -> int:
        """Queries in a block."""
        return self.vectors * self.lanes


def is_few(spec: Attention, machine: Machine) -> bool:
    """Whether lanes along the width cost less: every dot product then ends in a sum over lanes."""
    lanes = machine.lanes(32)
    across = spec.queries * (-(-spec.width // lanes) + -(-spec.value_width // lanes) + 2 * lanes.bit_length())
    along = -(-spec.queries // lanes) * (spec.width + spec.value_width)
    return across < along


def balanced(length: int, most: int) -> int:
    """The length of pieces of about equal length, at most `most`."""
    return -(-length // -(-length // most))


@cache
def plan(spec: Attention, machine: Machine) -> Plan:
    """The plan of `spec` on `machine`."""
    lanes = machine.lanes(32)
    few = is_few(spec, machine)
    precision = "f32" if few else spec.precision
    group = {"f32": 1, "bf16": 2, "i8": 4}[precision]
    words = -(-spec.width // group)
    vectors = min(2, -(-spec.queries // lanes))
    packs = precision != "f32" or spec.key_type != "f32" or spec.value_type != "f32"
    if few:
        packs = False
    whole = (spec.keys,) if packs or few else spec.segments
    chunks = tuple(tuple(chunk_lengths(keys)) for keys in whole)
    longest = max(max(lengths) for lengths in chunks)
    block = vectors * lanes
    padded = -(-longest // 4) * 4
    if few:
        sizes = {"scores": 4 * spec.queries * (-(-spec.keys // lanes) * lanes + lanes)}
    else:
        sizes = {
            "largest": 4 * block,
            "total": 4 * block,
            "multiplier": 4 * block,
            "queries": 4 * block * words,
            "result": 4 * block * spec.value_width,
            # Queries are transposed here before they are quantised.
            "scores": 4 * block * max(padded, words * group),
            "bias": 4 * block * padded if spec.bias_strides is not None else 0,
            "keys": 4 * words * spec.keys if packs else 0,
            "key_scales": 4 * spec.keys if precision == "i8" else 0,
            "query_sums": 4 * block if precision == "i8" else 0,
            "values": 4 * spec.value_width * -(-spec.keys // group) if packs else 0,
            "value_scales": 4 * spec.value_width if precision == "i8" else 0,
            "inverses": 4 * 64 if precision == "i8" else 0,
            "inverse_scales": 4 * spec.value_width if precision == "i8" else 0,
        }
    rounded = [-(-size // 64) * 64 for size in sizes.values()]
    places = list(accumulate(rounded, initial=0))
    return Plan(
        few=few,
        precision=precision,
        lanes=lanes,
        group=group,
        words=words,
        vectors=vectors,
        key_tile=(16 if machine.registers == 32 else 12) // vectors,
        value_tile=balanced(spec.value_width, (22 if machine.registers == 32 else 12) // vectors),
        packs=packs,
        chunks=chunks,
        offsets=dict(zip(sizes, places, strict=False)),
        scratch=places[-1],
    )


def units(spec: Attention, machine: Machine) -> int:
    """How many work units an attention has; all take about as long."""
    return prod(spec.batch) * spec.parts


def scratch_bytes(spec: Attention, machine: Machine) -> int:
    """Scratch memory of one thread, bytes; lay it at a multiple of 64."""
    return plan(spec, machine).scratch
