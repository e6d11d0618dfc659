"""Depthwise convolution: every channel by its own kernel, vectors along the channels, which lie innermost.

    out[row, c] = epilogue(sum over taps t of  a[row·a_strides + taps[t] + c] · b[t, c])

The sum runs over the taps in order in every tile. Conventions are those of `contract`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import llvmlite.ir as ir
import numpy as np

from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.contract import Epilogue, Place
from elsewhere.compiler.targets.cpu.kernels.loops import digits, integer, loop
from elsewhere.compiler.targets.cpu.kernels.packing import Packed
from elsewhere.compiler.targets.cpu.kernels.tiling import ELEMENT_BYTES, PRECISIONS
from elsewhere.compiler.targets.cpu.kernels.vectors import BIAS
from elsewhere.compiler.targets.cpu.machine import Machine

MOST_ROWS = 8
"""Most neighbouring rows that share a load of the weights: as many sums run side by side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Depthwise:
    """A depthwise convolution over an already padded, channels-last input. Offsets count elements of `a`."""

    precision: str
    """'f32', 'bf16' or 'i8': the type of `a` in memory."""
    rows: tuple[int, ...]
    """Extents of the row dimensions, outermost first: (images, height, width)."""
    a_strides: tuple[int, ...]
    """Elements of `a` from one row to the next, per row dimension."""
    channels: int
    taps: tuple[int, ...]
    """The kernel's positions: what is added to the offset of a row."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if not self.rows or len(self.rows) != len(self.a_strides):
            raise ValueError(f"a_strides must have one stride per row dimension: {self.rows} and {self.a_strides}")
        if min(*self.rows, self.channels, len(self.taps)) < 1:
            raise ValueError(f"every extent of a depthwise convolution must be at least 1: {self}")


def tile_rows(spec: Depthwise) -> int:
    """Rows in a tile: as even a division of the innermost row dimension as there is."""
    width = spec.rows[-1]
    return -(-width // -(-width // MOST_ROWS))


def depthwise_units(spec: Depthwise) -> int:
    """How many work units: groups of neighbouring rows, all of them about equally long."""
    return prod(spec.rows[:-1]) * -(-spec.rows[-1] // tile_rows(spec))


def pack_depthwise(b: np.ndarray, spec: Depthwise, machine: Machine) -> Packed:
    """Weights of shape (taps, C) in vectors of channels: f32 (also for 'bf16'), or int16 for 'i8', whose b is int8."""
    if b.shape != (len(spec.taps), spec.channels):
        raise ValueError(f"b must be (taps, C) = {(len(spec.taps), spec.channels)}, got {b.shape}")
    if spec.precision == "i8" and b.dtype != np.int8:
        raise ValueError(f"b must be int8 for precision 'i8', got {b.dtype}")
    lanes = machine.lanes(32)
    padded = -(-spec.channels // lanes) * lanes
    data = np.zeros((len(spec.taps), padded), np.int16 if spec.precision == "i8" else np.float32)
    data[:, : spec.channels] = b
    compensation = None
    if spec.precision == "i8":
        compensation = (-BIAS * data.astype(np.int32).sum(axis=0)).astype(np.int32)
    return Packed(data=data.view(np.uint8).ravel(), compensation=compensation)


def emit_depthwise(
    module: ir.Module, name: str, spec: Depthwise, machine: Machine, epilogue: Epilogue, extra_pointers: int = 0
) -> ir.Function:
    """Adds `void name(i64 begin, i64 end, ptr a, ptr b, [ptr compensation,] ptr extra...)` to `module`.

    [begin, end) is a range of `depthwise_units`. `epilogue` is called as `contract` calls it.
    """
    exact = spec.precision == "i8"
    kind = ir.FunctionType(v.VOID, [v.I64, v.I64, *[v.POINTER] * ((3 if exact else 2) + extra_pointers)])
    function = ir.Function(module, kind, name)
    function.attributes.add("nounwind")
    begin, end, a, b, *rest = function.args
    compensation, extra = (rest[0], rest[1:]) if exact else (None, rest)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    lanes, element = machine.lanes(32), ELEMENT_BYTES[spec.precision]
    accumulator = v.I32 if exact else v.F32
    weight = v.I16 if exact else v.F32
    whole, tail = divmod(spec.channels, lanes)
    padded = (whole + bool(tail)) * lanes
    high = tile_rows(spec)
    across = -(-spec.rows[-1] // high)
    table_kind = ir.ArrayType(v.I64, len(spec.taps))
    table = ir.GlobalVariable(module, table_kind, f"{name}.taps")
    table.initializer = ir.Constant(table_kind, [offset * element for offset in spec.taps])
    table.global_constant, table.linkage = True, "internal"

    def vector(rows: tuple[ir.Value, ...], row: ir.Value, column: ir.Value, height: int, valid: int) -> None:
        """`height` rows of one vector of channels."""
        width = lanes if valid == lanes else max(1 << (valid - 1).bit_length(), 1)
        place_a = v.address(builder, row, builder.mul(column, integer(element)), v.I8)
        if compensation is None:
            first: ir.Value = v.constant(v.F32, 0.0, width)
        else:
            first = v.load_plain(builder, compensation, column, v.I32, width)

        def tap(index: ir.Value, totals: list[ir.Value]) -> list[ir.Value]:
            here = builder.load(builder.gep(table, [integer(0), index], inbounds=True), align=8, typ=v.I64)
            tap_a = v.address(builder, place_a, here, v.I8)
            at = builder.add(builder.mul(index, integer(padded)), column)
            weights = v.load_plain(builder, b, at, weight, width)
            if exact:
                weights = builder.sext(weights, v.vector(v.I32, width))
            results = []
            for inside, total in enumerate(totals):
                raw = v.load_plain(builder, tap_a, inside * spec.a_strides[-1], v.MEMORY[spec.precision], width, valid)
                if exact:
                    numbers = builder.zext(raw, v.vector(v.I32, width))
                    results.append(builder.add(total, builder.mul(numbers, weights)))
                else:
                    numbers = v.to_f32(builder, machine, raw, spec.precision)
                    results.append(v.multiply_add(builder, machine, numbers, weights, total))
            return results

        totals = loop(builder, 0, len(spec.taps), tap, [first] * height, name="tap")
        for inside, total in enumerate(totals):
            here = (*rows[:-1], builder.add(rows[-1], integer(inside)))
            place = Place(batch=(), rows=here, column=column, lanes=width, valid=valid, extra=tuple(extra))
            assert total.type.element == accumulator
            epilogue(builder, total, place)

    def rows_of(rows: tuple[ir.Value, ...], row: ir.Value, height: int) -> None:
        """All channels of `height` neighbouring rows."""

        def one(n: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            vector(rows, row, builder.mul(n, integer(lanes)), height, lanes)
            return []

        loop(builder, 0, whole, one, name="channels")
        if tail:
            vector(rows, row, integer(whole * lanes), height, tail)

    def unit(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        *outer, group = digits(builder, index, (*spec.rows[:-1], across))
        rows = (*outer, builder.mul(group, integer(high)))
        offset = integer(0)
        for digit, stride in zip(rows, spec.a_strides, strict=True):
            offset = builder.add(offset, builder.mul(digit, integer(stride * element)))
        row = v.address(builder, a, offset, v.I8)
        last = spec.rows[-1] - (across - 1) * high
        if last == high:
            rows_of(rows, row, high)
        elif across == 1:
            rows_of(rows, row, last)
        else:
            with builder.if_else(builder.icmp_signed("==", group, integer(across - 1))) as (at_end, inside):
                with at_end:
                    rows_of(rows, row, last)
                with inside:
                    rows_of(rows, row, high)
        return []

    loop(builder, begin, end, unit, name="unit")
    builder.ret_void()
    return function
