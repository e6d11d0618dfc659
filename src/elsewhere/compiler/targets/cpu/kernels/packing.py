"""The right operand of a contraction, reordered so that a tile reads it from first byte to last.

The order is [panel][tap][k / group][column in panel][group]; see `tiling` for group and panel. Columns past the last
and elements past the depth are zero. int8 left operands are biased by 128, so packing also returns, per column, what
undoes the bias: -128 times the sum of its weights, at which accumulators start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import llvmlite.ir as ir
import numpy as np

from elsewhere.compiler.targets.cpu.kernels.loops import divide, integer, loop
from elsewhere.compiler.targets.cpu.kernels.tiling import Contract, Tiling, tile
from elsewhere.compiler.targets.cpu.kernels.vectors import (
    BIAS,
    I8,
    I16,
    I32,
    I64,
    POINTER,
    VOID,
    address,
    constant,
    load_plain,
    shuffle,
    store_plain,
    vector,
)
from elsewhere.compiler.targets.cpu.machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A packed right operand."""

    data: np.ndarray
    """uint8, `packed_bytes` per matrix. Lay it at a multiple of 64 bytes for speed."""
    compensation: np.ndarray | None
    """int32, `compensation_count` per matrix; None unless the precision is 'i8'."""


def packed_bytes(spec: Contract, machine: Machine) -> int:
    """Bytes of one packed matrix."""
    tiling = tile(spec, machine)
    return padded_columns(spec, tiling) * tiling.steps * len(tiling.runs) * tiling.cell_bytes


def compensation_count(spec: Contract, machine: Machine) -> int:
    """int32 numbers that one matrix's compensation takes; 0 unless the precision is 'i8'."""
    return padded_columns(spec, tile(spec, machine)) if spec.precision == "i8" else 0


def padded_columns(spec: Contract, tiling: Tiling) -> int:
    return -(-spec.columns * tiling.fold // tiling.lanes) * tiling.lanes


def to_bfloat(values: np.ndarray) -> np.ndarray:
    """uint16 bits of the nearest bf16 numbers, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)


def pack(b: np.ndarray, spec: Contract, machine: Machine) -> Packed:
    """Packs constant weights b of shape (matrices..., taps, K, N).

    f32 numbers for 'f32'; f32 or uint16 bits for 'bf16'; int8 for 'i8'. Raises ValueError for another shape or type.
    """
    wanted = (len(spec.taps), spec.depth, spec.columns)
    if b.shape[-3:] != wanted:
        raise ValueError(f"b must end in (taps, K, N) = {wanted}, got {b.shape}")
    if spec.precision == "i8" and b.dtype != np.int8:
        raise ValueError(f"b must be int8 for precision 'i8', got {b.dtype}")
    tiling = tile(spec, machine)
    if spec.precision == "bf16" and b.dtype != np.uint16:
        b = to_bfloat(b)
    if spec.precision == "f32":
        b = b.astype(np.float32, copy=False)
    matrices = prod(b.shape[:-3])
    b = b.reshape(matrices, *wanted)
    compensation = None
    padded = padded_columns(spec, tiling)
    if spec.precision == "i8":
        sums = -BIAS * b.astype(np.int32).sum(axis=(1, 2), dtype=np.int32)
        compensation = np.zeros((matrices, padded), np.int32)
        compensation[:, : spec.columns * tiling.fold] = np.tile(sums, (1, tiling.fold))
        if tiling.cell_bytes // tiling.group == 2:
            b = b.astype(np.int16)
    depth = -(-spec.depth // tiling.group) * tiling.group
    full = np.zeros((matrices, len(spec.taps), depth, padded), b.dtype)
    full[:, :, : spec.depth, : spec.columns * tiling.fold] = np.tile(b, (1, 1, 1, tiling.fold))
    full = full.reshape(matrices, -1, tiling.group, padded).transpose(0, 1, 3, 2)
    step = tiling.panel_vectors * tiling.lanes
    parts = [full[:, :, start : start + step].reshape(matrices, -1) for start in range(0, padded, step)]
    data = np.ascontiguousarray(np.concatenate(parts, axis=1)).view(np.uint8)
    return Packed(data=data.ravel(), compensation=None if compensation is None else compensation.ravel())


def packing_units(spec: Contract, machine: Machine) -> int:
    """How many work units `emit_packing`'s function has for one matrix: one per vector of columns."""
    tiling = tile(spec, machine)
    return padded_columns(spec, tiling) // tiling.lanes


def emit_packing(
    module: ir.Module, name: str, spec: Contract, machine: Machine, k_stride: int, n_stride: int
) -> ir.Function:
    """A function `void name(i64 begin, i64 end, ptr b, ptr packed, ptr compensation)` that packs while running.

    b is [K, N] with the given strides in elements, of the precision's type in memory (int8 biased), for a
    contraction of one tap. `compensation` is written for 'i8' alone. [begin, end) is a range of `packing_units`.
    """
    if len(spec.taps) != 1:
        raise ValueError(f"only a matrix can be packed while running, got {len(spec.taps)} taps")
    return Packer(module, name, spec, machine, k_stride, n_stride).emit()


class Packer:
    """Writes one packing function."""

    def __init__(
        self, module: ir.Module, name: str, spec: Contract, machine: Machine, k_stride: int, n_stride: int
    ) -> None:
        self.spec, self.machine, self.tiling = spec, machine, tile(spec, machine)
        self.k_stride, self.n_stride = k_stride, n_stride
        self.lanes, self.group = self.tiling.lanes, self.tiling.group
        self.biased = spec.precision == "i8"
        self.element = {"f32": I32, "bf16": I16, "i8": I8}[spec.precision]
        self.cell = {4: I32, 2: I16}[self.tiling.cell_bytes]
        self.width = self.tiling.cell_bytes * 8 // self.group
        self.groups, self.rest = divmod(spec.depth, self.group)
        self.function = ir.Function(module, ir.FunctionType(VOID, [I64, I64, POINTER, POINTER, POINTER]), name)
        self.function.attributes.add("nounwind")
        self.source, self.packed, self.compensation = self.function.args[2:]
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))

    def emit(self) -> ir.Function:
        begin, end = self.function.args[:2]
        loop(self.builder, begin, end, lambda index, carried: self.pack_vector(index), name="unit")
        self.builder.ret_void()
        return self.function

    def pack_vector(self, index: ir.Value) -> list[ir.Value]:
        """One vector of columns, all of k."""
        builder, lanes, wide = self.builder, self.lanes, self.tiling.panel_vectors
        vectors = padded_columns(self.spec, self.tiling) // lanes
        panel, inside = divide(builder, index, wide)
        row_cells: ir.Value = integer(wide * lanes)
        if vectors % wide:
            is_last = builder.icmp_signed("==", panel, integer(vectors // wide))
            row_cells = builder.select(is_last, integer(vectors % wide * lanes), row_cells)
        start = builder.mul(panel, integer(wide * lanes * self.tiling.steps))
        start = builder.add(start, builder.mul(inside, integer(lanes)))
        place = address(builder, self.packed, start, self.cell)
        column = builder.mul(index, integer(lanes))
        whole, tail = divmod(self.spec.columns, lanes)
        if self.tiling.fold > 1:
            self.lane_by_lane(column, place, row_cells, 0)
        elif self.n_stride == 1:
            self.either(
                whole,
                tail,
                builder.icmp_signed("<", index, integer(whole)),
                lambda: self.columns(column, place, row_cells, lanes),
                lambda: self.columns(column, place, row_cells, tail),
            )
        elif self.k_stride == 1 and self.element.width * self.group == 32 and self.groups >= lanes:
            self.either(
                whole,
                tail,
                builder.icmp_signed("<", index, integer(whole)),
                lambda: self.blocks(column, place, row_cells),
                lambda: self.lane_by_lane(column, place, row_cells, 0),
            )
        else:
            self.lane_by_lane(column, place, row_cells, 0)
        return []

    def either(
        self, first: int, second: int, condition: ir.Value, then: Callable[[], None], otherwise: Callable[[], None]
    ) -> None:
        """`then` or `otherwise`, without the one that has nothing to do."""
        if first and second:
            with self.builder.if_else(condition) as (if_true, if_false):
                with if_true:
                    then()
                with if_false:
                    otherwise()
        elif first:
            then()
        else:
            otherwise()

    def columns(self, column: ir.Value, place: ir.Value, row_cells: ir.Value, valid: int) -> None:
        """`valid` columns that are neighbours in memory."""
        builder, lanes = self.builder, self.lanes
        cells = vector(self.cell, lanes)
        start = address(builder, self.source, column, self.element)
        inside = [int(lane < valid) for lane in range(lanes)]

        def cell(k: ir.Value, count: int, total: ir.Value) -> ir.Value:
            bits = constant(self.cell, 0, lanes)
            for index in range(count):
                row = builder.mul(k, integer(self.group * self.k_stride))
                row = builder.add(row, integer(index * self.k_stride))
                value = load_plain(builder, start, row, self.element, lanes, valid)
                if self.biased:
                    value = builder.xor(value, constant(I8, -128, lanes))
                    value = builder.and_(value, constant(I8, [-one for one in inside], lanes))
                    total = builder.add(total, builder.sext(value, vector(I32, lanes)))
                    if self.width > 8:
                        value = builder.sext(value, vector(I16, lanes))
                if value.type != cells:
                    value = builder.zext(value, cells)
                bits = builder.or_(bits, builder.shl(value, constant(self.cell, index * self.width, lanes)))
            store_plain(builder, bits, place, builder.mul(k, row_cells))
            return total

        total = constant(I32, 0, lanes)
        (total,) = loop(builder, 0, self.groups, lambda k, carried: [cell(k, self.group, carried[0])], [total])
        if self.rest:
            total = cell(integer(self.groups), self.rest, total)
        if self.biased:
            undo = builder.mul(total, constant(I32, -BIAS, lanes))
            store_plain(builder, undo, self.compensation, column)

    def blocks(self, column: ir.Value, place: ir.Value, row_cells: ir.Value) -> None:
        """A full vector of columns each of which lies together in memory: squares of cells are transposed."""
        builder, lanes = self.builder, self.lanes
        kind = vector(I32, lanes)
        start = address(builder, self.source, builder.mul(column, integer(self.n_stride)), self.element)
        done = self.groups - self.groups % lanes

        def block(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            at = address(builder, start, builder.mul(k, integer(self.group)), self.element)
            square = []
            for lane in range(lanes):
                here = address(builder, at, lane * self.n_stride, self.element)
                square.append(builder.load(here, align=self.element.width // 8, typ=kind))
            total = carried[0]
            for row, cells in enumerate(transposed(builder, square)):
                if self.biased:
                    cells = builder.xor(cells, constant(I32, -0x7F7F7F80, lanes))
                    for byte in range(self.group):
                        high = builder.shl(cells, constant(I32, 24 - 8 * byte, lanes))
                        total = builder.add(total, builder.ashr(high, constant(I32, 24, lanes)))
                store_plain(builder, cells, place, builder.mul(builder.add(k, integer(row)), row_cells))
            return [total]

        (total,) = loop(builder, 0, done, block, [constant(I32, 0, lanes)], step=lanes, name="square")
        if self.biased:
            store_plain(builder, builder.mul(total, constant(I32, -BIAS, lanes)), self.compensation, column)
        if done < self.groups or self.rest:
            self.lane_by_lane(column, place, row_cells, done)

    def lane_by_lane(self, column: ir.Value, place: ir.Value, row_cells: ir.Value, first: int) -> None:
        """One vector of columns, element by element, from group `first` on."""

        def lane(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            here = self.builder.add(column, index)
            valid = self.builder.icmp_signed("<", here, integer(self.spec.columns * self.tiling.fold))
            with self.builder.if_else(valid) as (then, otherwise):
                with then:
                    self.take_lane(index, here, place, row_cells, first)
                with otherwise:
                    self.clear_lane(index, here, place, row_cells)
            return []

        loop(self.builder, 0, self.lanes, lane, name="lane")

    def take_lane(self, lane: ir.Value, column: ir.Value, place: ir.Value, row_cells: ir.Value, first: int) -> None:
        """One column of b."""
        builder = self.builder
        inside = divide(builder, column, self.spec.columns)[1] if self.tiling.fold > 1 else column
        start = address(builder, self.source, builder.mul(inside, integer(self.n_stride)), self.element)

        def cell(k: ir.Value, count: int, total: ir.Value) -> ir.Value:
            at = address(builder, start, builder.mul(k, integer(self.group * self.k_stride)), self.element)
            bits = ir.Constant(self.cell, 0)
            for index in range(count):
                here = address(builder, at, index * self.k_stride, self.element)
                value = builder.load(here, align=self.element.width // 8, typ=self.element)
                if self.biased:
                    value = builder.xor(value, ir.Constant(I8, -128))
                    total = builder.add(total, builder.sext(value, I32))
                    if self.width > 8:
                        value = builder.sext(value, I16)
                if value.type.width < self.cell.width:
                    value = builder.zext(value, self.cell)
                bits = builder.or_(bits, builder.shl(value, ir.Constant(self.cell, index * self.width)))
            row = builder.add(builder.mul(k, row_cells), lane)
            builder.store(bits, address(builder, place, row, self.cell), align=2)
            return total

        total = ir.Constant(I32, 0)
        (total,) = loop(builder, first, self.groups, lambda k, carried: [cell(k, self.group, carried[0])], [total])
        if self.rest:
            total = cell(integer(self.groups), self.rest, total)
        if self.biased:
            undo = builder.mul(total, ir.Constant(I32, -BIAS))
            at = address(builder, self.compensation, column, I32)
            if first:
                undo = builder.add(undo, builder.load(at, align=4, typ=I32))
            builder.store(undo, at, align=4)

    def clear_lane(self, lane: ir.Value, column: ir.Value, place: ir.Value, row_cells: ir.Value) -> None:
        """A column past the last one."""
        builder = self.builder

        def clear(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            row = builder.add(builder.mul(k, row_cells), lane)
            builder.store(ir.Constant(self.cell, 0), address(builder, place, row, self.cell), align=2)
            return []

        loop(builder, 0, self.tiling.steps, clear)
        if self.biased:
            builder.store(ir.Constant(I32, 0), address(builder, self.compensation, column, I32), align=4)


def transposed(builder: ir.IRBuilder, square: list[ir.Value]) -> list[ir.Value]:
    """The columns of a square of vectors: at each doubling distance, pairs of rows exchange halves."""
    lanes, rows = len(square), list(square)
    distance = 1
    while distance < lanes:
        for row in range(lanes):
            if row & distance:
                continue
            upper, lower = rows[row], rows[row + distance]
            first = [lane - distance + lanes if lane & distance else lane for lane in range(lanes)]
            second = [lane + lanes if lane & distance else lane + distance for lane in range(lanes)]
            rows[row] = shuffle(builder, upper, lower, first)
            rows[row + distance] = shuffle(builder, upper, lower, second)
        distance *= 2
    return rows
