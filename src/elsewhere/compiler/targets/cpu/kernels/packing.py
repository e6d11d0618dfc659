"""The right operand of a contraction, reordered so that a tile reads it from first byte to last.

The order is [panel][tap][k / group][column in panel][group]; see `tiling` for group and panel. Columns past the last
and elements past the depth are zero. int8 left operands are biased by 128, so packing also returns, per column, what
undoes the bias: -128 times the sum of its weights, at which accumulators start.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import llvmlite.ir as ir
import numpy as np

from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.tiling import Contract, Tiling, tile
from elsewhere.compiler.targets.cpu.kernels.vectors import BIAS, I8, I16, I32, I64, POINTER, VOID, address
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
    tiling = tile(spec, machine)
    lanes, fold = tiling.lanes, tiling.fold
    kind = ir.FunctionType(VOID, [I64, I64, POINTER, POINTER, POINTER])
    function = ir.Function(module, kind, name)
    function.attributes.add("nounwind")
    begin, end, source, packed, compensation = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    element = {"f32": I32, "bf16": I16, "i8": I8}[spec.precision]
    cell = {4: I32, 2: I16}[tiling.cell_bytes]
    width = tiling.cell_bytes * 8 // tiling.group
    whole, rest = divmod(spec.depth, tiling.group)
    vectors = padded_columns(spec, tiling) // lanes
    full_vectors = vectors - vectors % tiling.panel_vectors

    def gather_cell(place: ir.Value, count: int) -> tuple[ir.Value, ir.Value]:
        """(the first `count` elements of a group as a cell, their sum)."""
        bits, total = ir.Constant(cell, 0), ir.Constant(I32, 0)
        for index in range(count):
            at = address(builder, place, index * k_stride, element)
            value = builder.load(at, align=element.width // 8, typ=element)
            if spec.precision == "i8":
                value = builder.xor(value, ir.Constant(I8, -128))
                total = builder.add(total, builder.sext(value, I32))
                if width > 8:
                    value = builder.sext(value, I16)
            if value.type.width < cell.width:
                value = builder.zext(value, cell)
            if index:
                value = builder.shl(value, ir.Constant(cell, index * width))
            bits = builder.or_(bits, value) if index else value
        return bits, total

    def pack_lane(lane: ir.Value, column: ir.Value, place: ir.Value, row_cells: ir.Value) -> None:
        """Column `column` of b into lane `lane` at `place`, whose rows are `row_cells` cells apart."""
        valid = builder.icmp_signed("<", column, ir.Constant(I64, spec.columns * fold))
        with builder.if_else(valid) as (then, otherwise):
            with then:
                inside = builder.srem(column, ir.Constant(I64, spec.columns)) if fold > 1 else column
                start = address(builder, source, builder.mul(inside, ir.Constant(I64, n_stride)), element)

                def take(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                    at = address(builder, start, builder.mul(k, ir.Constant(I64, tiling.group * k_stride)), element)
                    bits, total = gather_cell(at, tiling.group)
                    row = builder.add(builder.mul(k, row_cells), lane)
                    builder.store(bits, address(builder, place, row, cell), align=2)
                    return [builder.add(carried[0], total)]

                (total,) = loop(builder, 0, whole, take, [ir.Constant(I32, 0)])
                if rest:
                    at = address(builder, start, whole * tiling.group * k_stride, element)
                    bits, more = gather_cell(at, rest)
                    row = builder.add(builder.mul(ir.Constant(I64, whole), row_cells), lane)
                    builder.store(bits, address(builder, place, row, cell), align=2)
                    total = builder.add(total, more)
                if spec.precision == "i8":
                    undo = builder.mul(total, ir.Constant(I32, -BIAS))
                    builder.store(undo, address(builder, compensation, column, I32), align=4)
            with otherwise:

                def clear(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                    row = builder.add(builder.mul(k, row_cells), lane)
                    builder.store(ir.Constant(cell, 0), address(builder, place, row, cell), align=2)
                    return []

                loop(builder, 0, tiling.steps, clear)
                if spec.precision == "i8":
                    builder.store(ir.Constant(I32, 0), address(builder, compensation, column, I32), align=4)

    def pack_vector(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        panel_vectors = ir.Constant(I64, tiling.panel_vectors)
        panel = builder.sdiv(index, panel_vectors)
        is_full = builder.icmp_signed("<", index, ir.Constant(I64, full_vectors))
        wide = builder.select(is_full, panel_vectors, ir.Constant(I64, max(1, vectors - full_vectors)))
        row_cells = builder.mul(wide, ir.Constant(I64, lanes))
        start = builder.mul(panel, ir.Constant(I64, tiling.panel_vectors * lanes * tiling.steps))
        start = builder.add(start, builder.mul(builder.srem(index, panel_vectors), ir.Constant(I64, lanes)))
        place = address(builder, packed, start, cell)

        def one(lane: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            column = builder.add(builder.mul(index, ir.Constant(I64, lanes)), lane)
            pack_lane(lane, column, place, row_cells)
            return []

        loop(builder, 0, lanes, one)
        return []

    loop(builder, begin, end, pack_vector)
    builder.ret_void()
    return function
