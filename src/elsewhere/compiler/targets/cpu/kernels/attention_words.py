"""32-bit words of one f32, two bf16 or four int8, as attention multiplies them: products, packing, transposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.kernels import mathematics
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.attention_plan import Attention, Plan, plan
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I8, I16, I32, I64
from elsewhere.compiler.targets.cpu.machine import Machine

MAGIC = mathematics.MAGIC
MAGIC_BITS = mathematics.MAGIC_BITS
FOUR_MAGIC_BITS = MAGIC_BITS * 0x01010101 % 2**32
"""What the magic numbers add up to when four bytes are shifted and added into a word."""


def transpose(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """L vectors of L lanes, rows and columns exchanged, by log2 L rounds of interleaving halves."""
    lanes = len(rows)
    half = lanes // 2
    low = [number for pair in ((i, lanes + i) for i in range(half)) for number in pair]
    high = [number + half for number in low]
    rows = list(rows)
    for _ in range(lanes.bit_length() - 1):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [v.shuffle(builder, a, b, order) for a, b in pairs for order in (low, high)]
    return rows


def unsigned_constant(value: int, lanes: int) -> ir.Constant:
    """A 32-bit pattern in every lane."""
    return v.constant(I32, value - 2**32 if value >= 2**31 else value, lanes)


def four_bytes(builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> ir.Value:
    """Words of four bytes 0..255, each given as f32 number + MAGIC."""
    lanes = sums[0].type.count
    bits = [builder.bitcast(one, v.vector(I32, lanes)) for one in sums]
    word = builder.sub(bits[0], unsigned_constant(FOUR_MAGIC_BITS, lanes))
    for index, one in enumerate(bits[1:], 1):
        word = builder.add(word, builder.shl(one, v.constant(I32, 8 * index, lanes)))
    return word


def two_bfloats(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Words of two bf16, to nearest, halves away from zero (the cheapest rounding)."""
    lanes = low.type.count
    half = v.constant(I32, 0x8000, lanes)
    first, second = (builder.add(builder.bitcast(one, v.vector(I32, lanes)), half) for one in (low, high))
    second = builder.and_(second, v.constant(I32, -65536, lanes))
    return builder.or_(builder.lshr(first, v.constant(I32, 16, lanes)), second)


def merge(
    builder: ir.IRBuilder, rows: Sequence[ir.Value], operation: Callable[[ir.Value, ir.Value], ir.Value]
) -> ir.Value:
    """One vector whose lane i is all lanes of rows[i] (as many as lanes) taken together by `operation`."""
    rows = list(rows)
    lanes = len(rows)
    while len(rows) > 1:
        half = len(rows) // 2
        # Blocks of `half` lanes, in turn of one row and of the other.
        low = [
            base + part for base in range(0, lanes, 2 * half) for part in [*range(half), *range(lanes, lanes + half)]
        ]
        high = [lane + half for lane in low]
        rows = [
            operation(v.shuffle(builder, a, b, low), v.shuffle(builder, a, b, high))
            for a, b in zip(rows[:half], rows[half:], strict=True)
        ]
    return rows[0]


class Words:
    """Products of words in the processor's instructions."""

    def __init__(self, precision: str, machine: Machine, lanes: int) -> None:
        self.precision, self.machine, self.lanes = precision, machine, lanes
        self.word = F32 if precision == "f32" else I32
        self.accumulator = v.vector(I32 if precision == "i8" else F32, lanes)

    def load(
        self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int, *, signed: bool
    ) -> tuple[ir.Value, ...]:
        """A vector of words."""
        return self.prepare(builder, v.load_plain(builder, pointer, offset, self.word, self.lanes), signed=signed)

    def broadcast(
        self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int, *, signed: bool
    ) -> tuple[ir.Value, ...]:
        """One word in every lane."""
        word = builder.load(v.address(builder, pointer, offset, self.word), align=4, typ=self.word)
        return self.prepare(builder, v.splat(builder, word, self.lanes), signed=signed)

    def prepare(self, builder: ir.IRBuilder, word: ir.Value, *, signed: bool) -> tuple[ir.Value, ...]:
        lanes = self.lanes
        if self.precision == "f32":
            return (word,)
        if self.precision == "bf16":
            if self.machine.dot_bf16:
                return (builder.bitcast(word, v.vector(v.BF16, 2 * lanes)),)
            even = builder.shl(word, v.constant(I32, 16, lanes))
            odd = builder.and_(word, v.constant(I32, -65536, lanes))
            return builder.bitcast(even, self.accumulator), builder.bitcast(odd, self.accumulator)
        if self.machine.dot_int8:
            return (builder.bitcast(word, v.vector(I8, 4 * lanes)),)
        # Bytes 0 and 2, and 1 and 3, as 16-bit numbers: their products by pairs are exact.
        wide = builder.bitcast(word, v.vector(I16, 2 * lanes))
        eight = v.constant(I16, 8, 2 * lanes)
        if signed:
            return builder.ashr(builder.shl(wide, eight), eight), builder.ashr(wide, eight)
        return builder.and_(wide, v.constant(I16, 255, 2 * lanes)), builder.lshr(wide, eight)

    def multiply(
        self, builder: ir.IRBuilder, total: ir.Value, a: tuple[ir.Value, ...], b: tuple[ir.Value, ...]
    ) -> ir.Value:
        """total + a·b; of int8, a has unsigned and b signed bytes."""
        kind, bits = self.accumulator, 32 * self.lanes
        if self.precision == "i8" and self.machine.dot_int8:
            return v.intrinsic(builder, f"llvm.x86.avx512.vpdpbusd.{bits}", kind, [total, a[0], b[0]])
        if self.precision == "bf16" and self.machine.dot_bf16:
            return v.intrinsic(builder, f"llvm.x86.avx512bf16.dpbf16ps.{bits}", kind, [total, a[0], b[0]])
        for left, right in zip(a, b, strict=True):
            if self.precision == "i8":
                total = builder.add(total, self.add_pairs(builder, left, right))
            else:
                total = v.multiply_add(builder, self.machine, left, right, total)
        return total

    def add_pairs(self, builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        """Sums of the products of neighbouring 16-bit numbers, written so that LLVM finds `pmaddwd`."""
        wide = v.vector(I32, 2 * self.lanes)
        products = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        even, odd = (v.shuffle(builder, products, None, range(first, 2 * self.lanes, 2)) for first in (0, 1))
        return builder.add(even, odd)


class Emitter:
    """What all parts of one attention's emission share."""

    def __init__(self, spec: Attention, machine: Machine) -> None:
        self.spec, self.machine = spec, machine
        self.plan: Plan = plan(spec, machine)
        self.lanes = self.plan.lanes
        self.words = Words(self.plan.precision, machine, self.lanes)
        self.real, self.integers = v.vector(F32, self.lanes), v.vector(I32, self.lanes)
        self.fused = spec.scale * mathematics.LOG2_E
        """Scores are kept as exponents of two."""

    def number(self, value: float) -> ir.Constant:
        return v.constant(F32, value, self.lanes)

    def part(self, builder: ir.IRBuilder, scratch: ir.Value, name: str) -> ir.Value:
        """Pointer to a part of the scratch memory."""
        return v.address(builder, scratch, self.plan.offsets[name], I8)

    def vector_at(self, builder: ir.IRBuilder, index: ir.Value | int, vectors: int, which: int) -> ir.Value | int:
        """Offset in words of vector `which` of row `index`, in an array of rows of `vectors` vectors."""
        if isinstance(index, int):
            return (index * vectors + which) * self.lanes
        row = builder.mul(index, I64(vectors * self.lanes))
        return builder.add(row, I64(which * self.lanes)) if which else row

    def load(self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        return v.load_plain(builder, pointer, offset, F32, self.lanes)

    def fma(self, builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return v.multiply_add(builder, self.machine, x, y, z)

    def larger(self, builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """max(x, y) in one instruction; y where x is NaN."""
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    def pieces(self, width: int) -> list[tuple[int, int]]:
        """(start, valid lanes) of the vectors of a row."""
        return [(start, min(self.lanes, width - start)) for start in range(0, width, self.lanes)]
