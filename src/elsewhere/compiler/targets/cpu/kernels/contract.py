"""Matrix multiplication and convolution: one generator of tile-blocked LLVM functions.

Every accumulator passes over taps and k in the same order whatever tile it is in, so results are the same bits for
any division of the work. A finished tile lies in a scratch buffer on the stack, from where the epilogue takes it row
by row: that keeps the code small, and lets a tile's lanes run on over several short rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import prod

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.loops import digits, divide, integer, loop
from elsewhere.compiler.targets.cpu.kernels.tiling import (
    ELEMENT_BYTES,
    Contract,
    Tiling,
    cost,
    split,
    tile,
    units,
)
from elsewhere.compiler.targets.cpu.machine import Machine

__all__ = ["Contract", "Epilogue", "Place", "cost", "emit_contract", "split", "units"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a finished vector belongs."""

    batch: tuple[ir.Value, ...]
    """i64, one per batch dimension."""
    rows: tuple[ir.Value, ...]
    """i64, one per row dimension."""
    column: ir.Value
    """i64, the column of lane 0."""
    lanes: int
    """Lanes of the vector: a power of two."""
    valid: int
    """How many of them are columns; a store must leave the rest alone."""
    extra: tuple[ir.Value, ...]
    """The function's further pointers."""


Epilogue = Callable[[ir.IRBuilder, ir.Value, Place], None]
"""Takes a finished vector (f32, or int32 for 'i8') to where it belongs: scales, adds, rounds and stores."""


AHEAD_BYTES = 4096
"""How far ahead in a panel weights are asked for where each panel is used only once."""


class Arithmetic:
    """One step of the contraction in the processor's instructions: how b and a are loaded and multiplied."""

    def __init__(self, spec: Contract, tiling: Tiling, machine: Machine) -> None:
        self.precision, self.group, self.machine, self.lanes = spec.precision, tiling.group, machine, tiling.lanes
        self.accumulator = v.vector(v.I32 if spec.precision == "i8" else v.F32, tiling.lanes)

    def load_b(self, builder: ir.IRBuilder, place: ir.Value) -> tuple[ir.Value, ...]:
        """One vector of packed b, ready for `multiply`."""
        lanes = self.lanes
        if self.precision == "f32":
            return (builder.load(place, align=4, typ=v.vector(v.F32, lanes)),)
        if self.precision == "i8":
            if self.machine.dot_int8:
                return (builder.load(place, align=4, typ=v.vector(v.I8, lanes * 4)),)
            words = builder.load(place, align=2, typ=v.vector(v.I16, lanes * self.group))
            return (builder.sext(words, self.accumulator) if self.group == 1 else words,)
        if self.machine.dot_bf16:
            return (builder.load(place, align=4, typ=v.vector(v.BF16, lanes * 2)),)
        return self.widen(builder, builder.load(place, align=4, typ=v.vector(v.I32, lanes)))

    def widen(self, builder: ir.IRBuilder, pairs: ir.Value) -> tuple[ir.Value, ir.Value]:
        """(even, odd) bf16 of each pair as f32."""
        even = builder.shl(pairs, v.constant(v.I32, 16, self.lanes))
        odd = builder.and_(pairs, v.constant(v.I32, -65536, self.lanes))
        return builder.bitcast(even, self.accumulator), builder.bitcast(odd, self.accumulator)

    def load_a(self, builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
        """One group of a in every lane, not yet ready."""
        if self.precision == "f32":
            return v.splat(builder, builder.load(place, align=4, typ=v.F32), self.lanes)
        if self.precision == "bf16":
            return v.splat(builder, builder.load(place, align=2, typ=v.I32), self.lanes)
        if self.machine.dot_int8:
            return v.splat(builder, builder.load(place, align=1, typ=v.I32), self.lanes)
        if self.group == 1:
            return v.splat(builder, builder.zext(builder.load(place, align=1, typ=v.I8), v.I32), self.lanes)
        words = builder.zext(builder.load(place, align=1, typ=v.vector(v.I8, 2)), v.vector(v.I16, 2))
        return v.splat(builder, builder.bitcast(words, v.I32), self.lanes)

    def prepare_a(self, builder: ir.IRBuilder, a: ir.Value) -> tuple[ir.Value, ...]:
        """`load_a`'s vector, or a blend of several, ready for `multiply`."""
        if self.precision == "bf16":
            if not self.machine.dot_bf16:
                return self.widen(builder, a)
            return (builder.bitcast(a, v.vector(v.BF16, self.lanes * 2)),)
        if self.precision == "i8" and self.group > 1:
            element = v.I8 if self.group == 4 else v.I16
            return (builder.bitcast(a, v.vector(element, self.lanes * self.group)),)
        return (a,)

    def multiply(
        self, builder: ir.IRBuilder, total: ir.Value, a: tuple[ir.Value, ...], b: tuple[ir.Value, ...]
    ) -> ir.Value:
        """The accumulator after one group."""
        kind, bits = self.accumulator, self.lanes * 32
        if self.precision == "i8":
            if self.machine.dot_int8:
                return v.intrinsic(builder, f"llvm.x86.avx512.vpdpbusd.{bits}", kind, [total, a[0], b[0]])
            if self.group == 1:
                return builder.add(total, builder.mul(a[0], b[0]))
            name = "llvm.x86.avx512.pmaddw.d.512" if bits == 512 else "llvm.x86.avx2.pmadd.wd"
            return builder.add(total, v.intrinsic(builder, name, kind, [a[0], b[0]]))
        if self.precision == "bf16" and self.machine.dot_bf16:
            return v.intrinsic(builder, f"llvm.x86.avx512bf16.dpbf16ps.{bits}", kind, [total, a[0], b[0]])
        for left, right in zip(a, b, strict=True):
            total = v.multiply_add(builder, self.machine, left, right, total)
        return total


class Generator:
    """Writes one contraction's function."""

    def __init__(self, module: ir.Module, name: str, spec: Contract, machine: Machine, extra_pointers: int) -> None:
        self.spec, self.machine, self.tiling = spec, machine, tile(spec, machine)
        self.arithmetic = Arithmetic(spec, self.tiling, machine)
        self.element = ELEMENT_BYTES[spec.precision]
        operands = 3 if spec.precision == "i8" else 2
        kind = ir.FunctionType(v.VOID, [v.I64, v.I64, *[v.POINTER] * (operands + extra_pointers)])
        self.function = ir.Function(module, kind, name)
        self.function.attributes.add("nounwind")
        self.begin, self.end, self.a, self.b, *rest = self.function.args
        self.compensation = rest[0] if spec.precision == "i8" else None
        self.extra = tuple(rest[1:] if spec.precision == "i8" else rest)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        tiling = self.tiling
        self.pitch = spec.columns if tiling.fold > 1 else tiling.panel_vectors * tiling.lanes
        # A last vector may be read past the last column, up to a power of two.
        self.scratch = v.buffer(self.builder, v.I32, tiling.tile_rows * self.pitch + tiling.lanes)
        self.runs = self.table(module, f"{name}.taps") if len(tiling.runs) > 1 else None

    def table(self, module: ir.Module, name: str) -> ir.GlobalVariable:
        """The runs' offsets in bytes as a constant array."""
        kind = ir.ArrayType(v.I64, len(self.tiling.runs))
        variable = ir.GlobalVariable(module, kind, name)
        variable.initializer = ir.Constant(kind, [offset * self.element for offset in self.tiling.runs])
        variable.global_constant = True
        variable.linkage = "internal"
        return variable

    def dot(self, indices: tuple[ir.Value, ...], strides: tuple[int, ...]) -> ir.Value:
        """Sum of index times stride."""
        total = integer(0)
        for index, stride in zip(indices, strides, strict=True):
            total = self.builder.add(total, self.builder.mul(index, integer(stride)))
        return total

    def emit(self, epilogue: Epilogue) -> ir.Function:
        (self.share_rows if self.tiling.by_rows else self.share_tiles)(epilogue)
        self.builder.ret_void()
        return self.function

    def share_tiles(self, epilogue: Epilogue) -> None:
        """Units are tiles, in the order [batch][block][panel][row tile]."""
        spec, tiling = self.spec, self.tiling
        blocks = prod(spec.rows[:-1]) * tiling.row_tiles // tiling.block_tiles
        shared = integer(self.weights_share(tiling.block_tiles))

        def unit(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            builder = self.builder
            rest, inside = divide(builder, index, tiling.block_tiles)
            rest, panel = divide(builder, rest, tiling.panels)
            matrix, block = divide(builder, rest, blocks)
            flat = builder.add(builder.mul(block, integer(tiling.block_tiles)), inside)
            self.unit(matrix, flat, panel, builder.mul(inside, shared), epilogue)
            return []

        loop(self.builder, self.begin, self.end, unit, name="unit")

    def share_rows(self, epilogue: Epilogue) -> None:
        """Units are row tiles, in the order [batch][row tile]; panels pass over blocks of them."""
        spec, tiling, builder = self.spec, self.tiling, self.builder
        tiles = prod(spec.rows[:-1]) * tiling.row_tiles

        def block(first: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            after = builder.add(first, integer(tiling.block_tiles))
            after = builder.select(builder.icmp_signed("<", after, self.end), after, self.end)
            count = builder.sub(after, first)
            lines = builder.udiv(integer(self.weights_share(1) // 64), count)
            shared = builder.mul(builder.add(lines, integer(1)), integer(64))

            def panel(number: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                def unit(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                    matrix, flat = divide(builder, index, tiles)
                    self.unit(matrix, flat, number, builder.mul(builder.sub(index, first), shared), epilogue)
                    return []

                loop(builder, first, after, unit, name="unit")
                return []

            loop(builder, 0, tiling.panels, panel, name="panel")
            return []

        loop(builder, self.begin, self.end, block, step=tiling.block_tiles, name="block")

    def unit(self, matrix: ir.Value, flat: ir.Value, panel: ir.Value, passed: ir.Value, epilogue: Epilogue) -> None:
        """One tile: run its variant, hand its rows to the epilogue. `passed` bytes of the next panel are asked for."""
        spec, tiling, builder = self.spec, self.tiling, self.builder
        batch = digits(builder, matrix, spec.batch)
        outer, across = divide(builder, flat, tiling.row_tiles)
        first = builder.mul(across, integer(tiling.tile_rows))
        rows = (*digits(builder, outer, spec.rows[:-1]), first)

        a_offset = builder.add(self.dot(batch, spec.a_batch), self.dot(rows, spec.a_strides))
        a = v.address(builder, self.a, builder.mul(a_offset, integer(self.element)), v.I8)
        columns = -(-spec.columns * tiling.fold // tiling.lanes) * tiling.lanes
        step_bytes = tiling.steps * len(tiling.runs) * tiling.cell_bytes
        panel_columns = tiling.panel_vectors * tiling.lanes
        matrix_offset = self.dot(batch, spec.b_batch)
        b_offset = builder.mul(matrix_offset, integer(columns * step_bytes))
        b_offset = builder.add(b_offset, builder.mul(panel, integer(panel_columns * step_bytes)))
        b = v.address(builder, self.b, b_offset, v.I8)
        ahead = self.next_weights(b, passed)
        start = None
        if self.compensation is not None:
            offset = builder.mul(matrix_offset, integer(columns))
            offset = builder.add(offset, builder.mul(panel, integer(panel_columns)))
            start = v.address(builder, self.compensation, offset, v.I32)

        last_rows = spec.rows[-1] - (tiling.row_tiles - 1) * tiling.tile_rows
        last_vectors = tiling.vectors(spec.columns, tiling.panels - 1)
        row_kinds = {tiling.tile_rows, last_rows}
        wide_kinds = {tiling.panel_vectors, last_vectors}
        is_last_row = builder.icmp_signed("==", across, integer(tiling.row_tiles - 1))
        is_last_panel = builder.icmp_signed("==", panel, integer(tiling.panels - 1))
        self.choose(
            len(row_kinds) > 1,
            is_last_row,
            lambda: self.choose(
                len(wide_kinds) > 1,
                is_last_panel,
                lambda: self.call_tile(a, b, ahead, start, last_rows, last_vectors),
                lambda: self.call_tile(a, b, ahead, start, last_rows, tiling.panel_vectors),
            ),
            lambda: self.choose(
                len(wide_kinds) > 1,
                is_last_panel,
                lambda: self.call_tile(a, b, ahead, start, tiling.tile_rows, last_vectors),
                lambda: self.call_tile(a, b, ahead, start, tiling.tile_rows, tiling.panel_vectors),
            ),
        )
        height = builder.select(is_last_row, integer(last_rows), integer(tiling.tile_rows))
        self.finish(epilogue, batch, rows, panel, height, is_last_panel)

    def choose(
        self, differs: bool, condition: ir.Value, then: Callable[[], None], otherwise: Callable[[], None]
    ) -> None:
        if not differs:
            otherwise()
            return
        with self.builder.if_else(condition) as (if_true, if_false):
            with if_true:
                then()
            with if_false:
                otherwise()

    def call_tile(
        self, a: ir.Value, b: ir.Value, ahead: ir.Value | None, start: ir.Value | None, rows: int, wide: int
    ) -> None:
        """Computes `rows` rows by `wide` vectors into the scratch buffer, in a function of its own.

        Inlined, the epilogue's constants would be kept in vector registers meanwhile, which the tile needs for itself.
        """
        arguments = [a, b, self.scratch, *(optional for optional in (ahead, start) if optional is not None)]
        kind = ir.FunctionType(v.VOID, [v.POINTER] * len(arguments))
        function = ir.Function(self.function.module, kind, f"{self.function.name}.{rows}x{wide}")
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        outside, self.builder = self.builder, ir.IRBuilder(function.append_basic_block("entry"))
        inner_a, inner_b, scratch, *rest = function.args
        inner_start = rest.pop() if start is not None else None
        self.tile(inner_a, inner_b, scratch, rest[0] if rest else None, inner_start, rows, wide)
        self.builder.ret_void()
        self.builder = outside
        self.builder.call(function, arguments)

    def weights_share(self, tiles: int) -> int:
        """Bytes of a panel for each of `tiles`, in whole lines."""
        tiling = self.tiling
        panel_bytes = tiling.panel_vectors * tiling.lanes * tiling.steps * len(tiling.runs) * tiling.cell_bytes
        return -(-panel_bytes // tiles // 64) * 64

    def next_weights(self, b: ir.Value, passed: ir.Value) -> ir.Value | None:
        """What a tile asks the memory for, while it runs: its share of the panel after its own.

        Weights rarely still lie in a near cache when their layer's turn comes again.
        """
        tiling, builder = self.tiling, self.builder
        if tiling.panels == 1:
            return None
        if tiling.block_tiles == 1:
            return v.address(builder, b, AHEAD_BYTES, v.I8, inbounds=False)
        panel_bytes = tiling.panel_vectors * tiling.lanes * tiling.steps * len(tiling.runs) * tiling.cell_bytes
        return v.address(builder, b, builder.add(passed, integer(panel_bytes)), v.I8, inbounds=False)

    def tile(
        self,
        a: ir.Value,
        b: ir.Value,
        scratch: ir.Value,
        ahead: ir.Value | None,
        start: ir.Value | None,
        rows: int,
        wide: int,
    ) -> None:
        """The body of a tile's function. Rows share folded rows by `fold`."""
        tiling, builder, kind = self.tiling, self.builder, self.arithmetic.accumulator
        folded = rows // tiling.fold
        if start is None:
            firsts = [v.constant(v.F32, 0.0, tiling.lanes)] * wide
        else:
            firsts = [v.load_plain(builder, start, n * tiling.lanes, v.I32, tiling.lanes) for n in range(wide)]
        totals = [first for _ in range(folded) for first in firsts]
        row_bytes = wide * tiling.lanes * tiling.cell_bytes
        run_bytes = tiling.steps * row_bytes

        def run(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            here_a, here_b = a, b
            if self.runs is not None:
                place = builder.gep(self.runs, [integer(0), index], inbounds=True)
                here_a = v.address(builder, a, builder.load(place, align=8, typ=v.I64), v.I8)
                here_b = v.address(builder, b, builder.mul(index, integer(run_bytes)), v.I8)
            elif tiling.runs[0]:
                here_a = v.address(builder, a, tiling.runs[0] * self.element, v.I8)

            def step(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                k_a = v.address(builder, here_a, builder.mul(k, integer(tiling.group * self.element)), v.I8)
                k_b = v.address(builder, here_b, builder.mul(k, integer(row_bytes)), v.I8)
                if ahead is not None:
                    self.prefetch(ahead, builder.add(builder.mul(index, integer(tiling.steps)), k), wide)
                return self.step(k_a, k_b, carried, rows, wide)

            return loop(builder, 0, tiling.steps, step, carried, name="k")

        totals = loop(builder, 0, len(tiling.runs), run, totals, name="tap")
        for index, total in enumerate(totals):
            row, n = divmod(index, wide)
            place = row * tiling.fold * self.pitch + n * tiling.lanes
            builder.store(total, v.address(builder, scratch, place, kind.element), align=4)

    def prefetch(self, ahead: ir.Value, step: ir.Value, wide: int) -> None:
        """Asks for as many lines as each step must, so that all tiles of a block ask for a panel together."""
        sharing = max(1, self.tiling.block_tiles // 2) if self.tiling.by_rows else self.tiling.block_tiles
        lines = -(-wide // sharing)
        line_bytes = 64
        # Into the second-level cache; where the panel is the tile's own, into the first.
        near = 3 if self.tiling.block_tiles == 1 else 2
        hints = [ir.Constant(v.I32, hint) for hint in (0, near, 1)]
        here = self.builder.mul(step, integer(lines * line_bytes))
        for line in range(lines):
            place = self.builder.add(here, integer(line * line_bytes))
            place = v.address(self.builder, ahead, place, v.I8, inbounds=False)
            v.intrinsic(self.builder, "llvm.prefetch.p0", v.VOID, [place, *hints])

    def step(self, a: ir.Value, b: ir.Value, totals: list[ir.Value], rows: int, wide: int) -> list[ir.Value]:
        """All multiplications of one group along k."""
        tiling, builder, arithmetic = self.tiling, self.builder, self.arithmetic
        vector_bytes = tiling.lanes * tiling.cell_bytes
        b_vectors = [arithmetic.load_b(builder, v.address(builder, b, n * vector_bytes, v.I8)) for n in range(wide)]
        stride = self.spec.a_strides[-1] * self.element
        results = list(totals)
        places = count()
        for folded in range(rows // tiling.fold):
            lone = [
                arithmetic.load_a(builder, v.address(builder, a, (folded * tiling.fold + inside) * stride, v.I8))
                for inside in range(tiling.fold)
            ]
            if tiling.fold > 1 and self.machine.level == "avx512":
                lone = [self.hold(value) for value in lone]
            for n in range(wide):
                place = next(places)
                a_vector = arithmetic.prepare_a(builder, self.blend(lone, n))
                results[place] = arithmetic.multiply(builder, results[place], a_vector, b_vectors[n])
        return results

    def hold(self, value: ir.Value) -> ir.Value:
        """`value` in a register. Without the fence LLVM blends straight from memory, and loads become the bound."""
        real = v.vector(v.F32, self.tiling.lanes)
        held = self.builder.bitcast(value, real)
        held = v.intrinsic(self.builder, f"llvm.arithmetic.fence.{v.suffix(real)}", real, [held])
        return self.builder.bitcast(held, value.type)

    def blend(self, lone: list[ir.Value], n: int) -> ir.Value:
        """The rows' a in vector `n` of a folded panel: lane by lane that of the row the lane belongs to."""
        tiling = self.tiling
        if tiling.fold == 1:
            return lone[0]
        owners = [(n * tiling.lanes + lane) // self.spec.columns for lane in range(tiling.lanes)]
        result = lone[owners[0]]
        for owner in sorted(set(owners))[1:]:
            mask = v.constant(v.I1, [int(mine >= owner) for mine in owners], tiling.lanes)
            result = self.builder.select(mask, lone[owner], result)
        return result

    def finish(
        self,
        epilogue: Epilogue,
        batch: tuple[ir.Value, ...],
        rows: tuple[ir.Value, ...],
        panel: ir.Value,
        height: ir.Value,
        is_last_panel: ir.Value,
    ) -> None:
        """Hands the scratch buffer to the epilogue, row by row."""
        spec, tiling, builder = self.spec, self.tiling, self.builder
        element = self.arithmetic.accumulator.element
        panel_columns = tiling.panel_vectors * tiling.lanes
        last_columns = spec.columns - (tiling.panels - 1) * panel_columns if tiling.fold == 1 else spec.columns
        whole, tail = divmod(last_columns, tiling.lanes)
        full = tiling.panel_vectors if tiling.panels > 1 else whole
        base = builder.mul(panel, integer(panel_columns))
        wide = builder.select(is_last_panel, integer(whole), integer(full)) if full != whole else full

        def hand_over(row: ir.Value, inside: ir.Value, lanes: int, valid: int) -> None:
            offset = builder.add(builder.mul(row, integer(self.pitch)), inside)
            vector = v.load_plain(builder, self.scratch, offset, element, lanes)
            place = Place(
                batch=batch,
                rows=(*rows[:-1], builder.add(rows[-1], row)),
                column=builder.add(base, inside),
                lanes=lanes,
                valid=valid,
                extra=self.extra,
            )
            epilogue(builder, vector, place)

        def one_row(row: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            def one_vector(n: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                hand_over(row, builder.mul(n, integer(tiling.lanes)), tiling.lanes, tiling.lanes)
                return []

            if full or whole:
                loop(builder, 0, wide, one_vector, name="finish")
            if tail:
                lanes = 1 << (tail - 1).bit_length()
                if tiling.panels > 1:
                    with builder.if_then(is_last_panel):
                        hand_over(row, integer(whole * tiling.lanes), lanes, tail)
                else:
                    hand_over(row, integer(whole * tiling.lanes), lanes, tail)
            return []

        loop(builder, 0, height, one_row, name="row")


def emit_contract(
    module: ir.Module, name: str, spec: Contract, machine: Machine, epilogue: Epilogue, extra_pointers: int = 0
) -> ir.Function:
    """Adds `void name(i64 begin, i64 end, ptr a, ptr b, [ptr compensation,] ptr extra...)` to `module`.

    [begin, end) is a range of the contraction's `units`; ranges may run at the same time. `b` and, for 'i8' alone,
    `compensation` are what `packing` made. `a` is row 0's element 0 of batch 0, before any tap's offset.
    """
    return Generator(module, name, spec, machine, extra_pointers).emit(epilogue)
