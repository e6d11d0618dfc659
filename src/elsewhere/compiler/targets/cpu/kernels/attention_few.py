"""Attention for very few queries in LLVM text, in f32: lanes run along the width, nothing is reordered.

Legend: M queries, S keys, E width of queries and keys, W width of values.
"""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.kernels import mathematics
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.attention_plan import Attention, plan
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I64, POINTER, VOID
from elsewhere.compiler.targets.cpu.machine import Machine

LOWEST = -1e30


def reduce(builder: ir.IRBuilder, operation: str, vector: ir.Value) -> ir.Value:
    """Sum ('fadd') or maximum ('fmax') of the lanes, in a tree (a fixed order)."""
    kind = vector.type
    name = f"llvm.vector.reduce.{operation}.{v.suffix(kind)}"
    start = [ir.Constant(F32, -0.0)] if operation == "fadd" else []
    module = builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(F32, [*(one.type for one in start), kind]), name)
    flags = ("reassoc",) if operation == "fadd" else ("nnan",)
    return builder.call(module.globals[name], [*start, vector], fastmath=flags)


class FewQueries:
    """Emits one attention of few queries, one query after another."""

    def __init__(self, spec: Attention, machine: Machine, function: ir.Function) -> None:
        self.spec, self.machine = spec, machine
        self.lanes = machine.lanes(32)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    def pieces(self, width: int) -> list[tuple[int, int]]:
        """(start, valid lanes) of the vectors of a row."""
        return [(start, min(self.lanes, width - start)) for start in range(0, width, self.lanes)]

    def number(self, value: float) -> ir.Constant:
        return v.constant(F32, value, self.lanes)

    def at(self, pointer: ir.Value, index: ir.Value, stride: int, kind: str) -> ir.Value:
        return v.address(self.builder, pointer, self.builder.mul(index, I64(stride)), v.MEMORY[kind])

    def row(self, pointer: ir.Value, width: int, kind: str) -> list[ir.Value]:
        return [
            v.load_vector(self.builder, self.machine, pointer, start, kind, self.lanes, valid)
            for start, valid in self.pieces(width)
        ]

    def query(
        self,
        index: ir.Value,
        q: ir.Value,
        k: Sequence[ir.Value],
        values: Sequence[ir.Value],
        bias: ir.Value | None,
        out: ir.Value,
        scores: ir.Value,
    ) -> None:
        """One query of one batch entry. Pointers are the batch entry's."""
        builder, spec, lanes = self.builder, self.spec, self.lanes
        row = self.row(self.at(q, index, spec.query_strides[-1], spec.query_type), spec.width, spec.query_type)
        scale = self.number(spec.scale * mathematics.LOG2_E)
        row = [builder.fmul(one, scale) for one in row]
        padded = -(-spec.keys // lanes) * lanes
        # Lanes past the last key get the probability 0.
        v.store_plain(builder, self.number(float("-inf")), scores, padded - lanes)
        first = 0
        for segment, keys in enumerate(spec.segments):
            self.dots(index, row, k[segment], segment, first, keys, bias, scores)
            first += keys

        def grow(start: ir.Value, largest: list[ir.Value]) -> list[ir.Value]:
            some = v.load_plain(builder, scores, start, F32, lanes)
            return [builder.select(builder.fcmp_ordered(">", some, largest[0]), some, largest[0])]

        (largest,) = loop(builder, 0, padded, grow, [self.number(LOWEST)], step=lanes, name="largest")
        base = v.splat(builder, reduce(builder, "fmax", largest), lanes)

        def power(start: ir.Value, total: list[ir.Value]) -> list[ir.Value]:
            difference = builder.fsub(v.load_plain(builder, scores, start, F32, lanes), base)
            powers = mathematics.exp2_softmax(builder, difference, self.machine)
            v.store_plain(builder, powers, scores, start)
            return [builder.fadd(total[0], powers)]

        (total,) = loop(builder, 0, padded, power, [self.number(0.0)], step=lanes, name="power")
        sum_ = reduce(builder, "fadd", total)
        least = ir.Constant(F32, v.round_to_f32(1e-30))
        sum_ = builder.select(builder.fcmp_ordered(">", sum_, least), sum_, least)
        inverse = v.splat(builder, builder.fdiv(ir.Constant(F32, 1.0), sum_), lanes)
        result: list[ir.Value] = [self.number(0.0)] * len(self.pieces(spec.value_width))
        first = 0
        for segment, keys in enumerate(spec.segments):
            result = self.weigh(values[segment], segment, first, keys, scores, result)
            first += keys
        place = self.at(out, index, spec.out_strides[-1], spec.out_type)
        for (start, valid), numbers in zip(self.pieces(spec.value_width), result, strict=True):
            v.store_vector(builder, self.machine, builder.fmul(numbers, inverse), place, start, spec.out_type, valid)

    def dots(
        self,
        query: ir.Value,
        row: list[ir.Value],
        k: ir.Value,
        segment: int,
        first: int,
        keys: int,
        bias: ir.Value | None,
        scores: ir.Value,
    ) -> None:
        """Scores of one segment's keys, as exponents of two."""
        builder, spec = self.builder, self.spec

        def one(key: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            place = self.at(k, key, spec.key_strides[segment][-1], spec.key_type)
            numbers = self.row(place, spec.width, spec.key_type)
            total = builder.fmul(row[0], numbers[0])
            for left, right in zip(row[1:], numbers[1:], strict=True):
                total = v.multiply_add(builder, self.machine, left, right, total)
            score = reduce(builder, "fadd", total)
            position = builder.add(key, I64(first))
            if bias is not None and spec.bias_strides is not None:
                offset = builder.add(
                    builder.mul(query, I64(spec.bias_strides[-2])), builder.mul(position, I64(spec.bias_strides[-1]))
                )
                extra = builder.load(v.address(builder, bias, offset, F32), align=4, typ=F32)
                extra = builder.fmul(extra, ir.Constant(F32, v.round_to_f32(mathematics.LOG2_E)))
                score = builder.fadd(score, extra)
            if spec.causal:
                visible = builder.icmp_signed("<=", position, builder.add(query, I64(spec.offset)))
                score = builder.select(visible, score, ir.Constant(F32, float("-inf")))
            builder.store(score, v.address(builder, scores, position, F32), align=4)
            return []

        loop(builder, 0, keys, one, name="dots")

    def weigh(
        self, values: ir.Value, segment: int, first: int, keys: int, scores: ir.Value, result: list[ir.Value]
    ) -> list[ir.Value]:
        """result + probabilities · values of one segment."""
        builder, spec = self.builder, self.spec

        def one(key: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            place = self.at(values, key, spec.value_strides[segment][-1], spec.value_type)
            position = builder.add(key, I64(first))
            weight = v.load_splat(builder, self.machine, scores, position, "f32", self.lanes)
            row = self.row(place, spec.value_width, spec.value_type)
            return [
                v.multiply_add(builder, self.machine, weight, numbers, sum_)
                for numbers, sum_ in zip(row, sums, strict=True)
            ]

        return loop(builder, 0, keys, one, result, name="weigh")


def emit_few(module: ir.Module, name: str, spec: Attention, machine: Machine) -> ir.Function:
    """`emit_attention` for very few queries; the same arguments and units."""
    segments, has_bias = len(spec.segments), spec.bias_strides is not None
    kinds = [I64, I64, *[POINTER] * (1 + 2 * segments + has_bias + 2)]
    function = ir.Function(module, ir.FunctionType(VOID, kinds), name)
    function.attributes.add("nounwind")
    few = FewQueries(spec, machine, function)
    builder = few.builder
    begin, end, q, *rest = function.args
    k, values = rest[:segments], rest[segments : 2 * segments]
    bias = rest[2 * segments] if has_bias else None
    out, scratch = rest[-2:]
    scores = v.address(builder, scratch, plan(spec, machine).offsets["scores"], v.I8)

    def unit(index: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
        part = builder.urem(index, I64(spec.parts)) if spec.parts > 1 else I64(0)
        batch = builder.udiv(index, I64(spec.parts)) if spec.parts > 1 else index
        places: list[ir.Value] = []
        for extent in reversed(spec.batch):
            places.insert(0, builder.urem(batch, I64(extent)))
            batch = builder.udiv(batch, I64(extent))

        def moved(pointer: ir.Value, strides: Sequence[int], kind: str) -> ir.Value:
            for place, stride in zip(places, strides, strict=False):
                if stride:
                    pointer = few.at(pointer, place, stride, kind)
            return pointer

        def one(query: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            few.query(
                query,
                moved(q, spec.query_strides, spec.query_type),
                [moved(p, s, spec.key_type) for p, s in zip(k, spec.key_strides, strict=True)],
                [moved(p, s, spec.value_type) for p, s in zip(values, spec.value_strides, strict=True)],
                None if bias is None else moved(bias, spec.bias_strides or (), "f32"),
                moved(out, spec.out_strides, spec.out_type),
                scores,
            )
            return []

        first = builder.udiv(builder.mul(part, I64(spec.queries)), I64(spec.parts))
        last = builder.udiv(builder.mul(builder.add(part, I64(1)), I64(spec.queries)), I64(spec.parts))
        loop(builder, first, last, one, name="query")
        return []

    loop(builder, begin, end, unit, name="unit")
    builder.ret_void()
    return function
