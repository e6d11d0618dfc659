"""Elementwise kernels whose operands lie along another axis than their results: channels-first in, channels-last out.

Vectors are read and calculated along the axis that is dense in the operands; squares of them are transposed in
registers and written along the axis that is dense in the results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import llvmlite.ir as ir

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.cpu.kernels import vectors
from elsewhere.compiler.targets.cpu.kernels.body import Body
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.nest import Nest, _Emitter
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I32, I64
from elsewhere.compiler.targets.cpu.machine import Machine

Value: TypeAlias = ir.Value


def turned_axis(nest: Nest, machine: Machine) -> int | None:
    """The axis along which operands that are not dense along the last one are, if turning squares is worth it."""
    lanes, last = machine.lanes(32), len(nest.dims) - 1
    if nest.dynamic is not None or nest.dims[-1] < 4 or any(w.strides[-1] != 1 for w in nest.writes):
        return None
    awkward = [o for o in nest.reads if o.strides[-1] not in (0, 1)]
    for axis in range(last):
        if awkward and nest.dims[axis] >= lanes and all(o.strides[axis] == 1 for o in awkward):
            return axis
    return None


def turned_units(nest: Nest, axis: int, machine: Machine) -> int:
    others = [n for i, n in enumerate(nest.dims[:-1]) if i != axis]
    return math.prod(others) * -(-nest.dims[axis] // machine.lanes(32))


def emit_turned_map(
    module: ir.Module, name: str, nest: Nest, axis: int, body: Graph | None, machine: Machine
) -> ir.Function:
    """As `nest.emit_map`, with `axis` from `turned_axis`; a work unit is a block of one vector along it."""
    emitter = _Emitter(module, name, nest, machine)
    builder, lanes, depth = emitter.builder, emitter.lanes, nest.dims[-1]
    others = [n for i, n in enumerate(nest.dims[:-1]) if i != axis]
    blocks, tail = -(-nest.dims[axis] // lanes), nest.dims[axis] % lanes

    def shifted(offset: Value, steps: Value | int, stride: int) -> Value:
        if stride == 0 or (isinstance(steps, int) and steps == 0):
            return offset
        count = ir.Constant(I64, steps) if isinstance(steps, int) else steps
        return builder.add(offset, builder.mul(count, ir.Constant(I64, stride)))

    def square(offsets: Sequence[Value], first: Value, count: int, valid: int) -> None:
        """Elements first…first+count of the last axis at `valid` places along `axis`."""
        columns: list[list[Value]] = [[] for _ in nest.writes]
        for step in range(count):
            k = builder.add(first, ir.Constant(I64, step))

            def load(i: int, k: Value = k) -> Value:
                operand = nest.reads[i]
                at = shifted(offsets[i], k, operand.strides[-1])
                return emitter.access.load(emitter.pointers[i], operand.dtype, at, operand.strides[axis], valid)

            if body is None:
                made = [load(0)]
            else:
                inner = Body(builder, machine, body, lanes, load)
                made = [inner.value(v) for _, v in body.outputs]
            for column, value in zip(columns, made, strict=True):
                column.append(value)
        for i, column in enumerate(columns):
            number = len(nest.reads) + i
            write = nest.writes[i]
            for row, vector in enumerate(transpose(builder, column, lanes)[:valid]):
                at = builder.add(shifted(offsets[number], row, write.strides[axis]), first)
                emitter.access.store(vector, emitter.pointers[number], write.dtype, at, 1, count)

    def block(outer: list[Value], number: Value, valid: int) -> None:
        place = builder.mul(number, ir.Constant(I64, lanes))
        offsets = emitter.offsets([*outer[:axis], place, *outer[axis:]])

        def visit(k: Value, _: list[Value]) -> Sequence[Value]:
            square(offsets, k, lanes, valid)
            return []

        whole = depth - depth % lanes
        loop(builder, 0, whole, visit, step=lanes)
        if depth % lanes:
            square(offsets, ir.Constant(I64, whole), depth % lanes, valid)

    def unit(number: Value, _: list[Value]) -> Sequence[Value]:
        count = ir.Constant(I64, blocks)
        outer = emitter.split(builder.udiv(number, count), others)
        inside = builder.urem(number, count)
        if not tail:
            block(outer, inside, lanes)
            return []
        is_last = builder.icmp_unsigned("==", inside, ir.Constant(I64, blocks - 1))
        with builder.if_else(is_last) as (then, otherwise):
            with then:
                block(outer, inside, tail)
            with otherwise:
                block(outer, inside, lanes)
        return []

    loop(builder, emitter.begin, emitter.end, unit)
    return emitter.finish()


def transpose(builder: ir.IRBuilder, columns: Sequence[Value], lanes: int) -> list[Value]:
    """Rows of the square whose columns are given; missing columns are zero. `lanes` is a power of two."""
    element = I32 if columns[0].type.element == I32 else F32
    rows = list(columns) + [vectors.constant(element, 0, lanes)] * (lanes - len(columns))
    step = 1
    while step < lanes:
        low = [i if not i & step else lanes + i - step for i in range(lanes)]
        high = [i + step if not i & step else lanes + i for i in range(lanes)]
        for i in range(lanes):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i] = vectors.shuffle(builder, a, b, low)
                rows[i + step] = vectors.shuffle(builder, a, b, high)
        step *= 2
    return rows
