"""Loop nests over strided operands: elementwise regions, rows with reductions, copies, borders, reductions, windows.

Every kernel is a function `void name(i64 begin, i64 end, ptr operand0, …)` over a range of work units; operands are
reads, then writes. Sums along rows are made lane by lane and then across lanes in a butterfly, whatever the split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import llvmlite.ir as ir

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.cpu.kernels import mathematics, vectors
from elsewhere.compiler.targets.cpu.kernels.body import Body, low_byte
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I32, I64, POINTER, VOID
from elsewhere.compiler.targets.cpu.machine import Machine

Value: TypeAlias = ir.Value

CHUNK = 2048
"""Elements of a long contiguous run that make one work unit."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor as the nest sees it: strides in elements for every dimension of the nest."""

    dtype: str
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dynamic:
    """One operand is moved at run time by index·stride, the index read from an i32 operand.

    `strides` tell where the index lies for each place of the nest; it is clamped to 0…limit.
    """

    operand: int
    index: int
    strides: tuple[int, ...]
    stride: int
    limit: int


@dataclass(frozen=True, slots=True)
class Nest:
    """Dimensions, the last of which is the vector axis, and operands."""

    dims: tuple[int, ...]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    dynamic: Dynamic | None = None

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (*self.reads, *self.writes)


def coalesce(
    dims: Sequence[int], strides: Sequence[Sequence[int]], keep_last: bool = False
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Joins neighbouring dimensions wherever every operand steps through both as through one."""
    kept: list[int] = []
    result: list[list[int]] = [[] for _ in strides]
    for axis in range(len(dims) - 1, -1, -1):
        n = dims[axis]
        if n == 1 and not (keep_last and axis == len(dims) - 1):
            continue
        last_only = keep_last and len(kept) == 1
        if kept and not last_only and all(s[axis] == r[-1] * kept[-1] for s, r in zip(strides, result, strict=True)):
            kept[-1] *= n
            continue
        kept.append(n)
        for s, r in zip(strides, result, strict=True):
            r.append(s[axis])
    if not kept:
        return (1,), [(0,) for _ in strides]
    return tuple(kept[::-1]), [tuple(r[::-1]) for r in result]


class Lanes:
    """Vectors of numbers a fixed stride apart: in the registers' formats, or with `plain` as they lie in memory."""

    def __init__(self, builder: ir.IRBuilder, machine: Machine, lanes: int, *, plain: bool = False) -> None:
        self.builder, self.machine, self.lanes, self.plain = builder, machine, lanes, plain

    def widen(self, raw: Value, dtype: str) -> Value:
        return raw if self.plain else vectors.to_f32(self.builder, self.machine, raw, dtype)

    def narrow(self, value: Value, dtype: str) -> Value:
        return value if self.plain else vectors.from_f32(self.builder, self.machine, value, dtype)

    def load(self, pointer: Value, dtype: str, offset: Value, stride: int, valid: int) -> Value:
        """From element `offset`; stride 0 repeats one number. Lanes from `valid` on are not read."""
        element = vectors.MEMORY[dtype]
        if stride == 0:
            place = vectors.address(self.builder, pointer, offset, element)
            scalar = self.builder.load(place, align=vectors.size(element), typ=element)
            return self.widen(vectors.splat(self.builder, scalar, self.lanes), dtype)
        if stride == 1:
            return self.widen(vectors.load_plain(self.builder, pointer, offset, element, self.lanes, valid), dtype)
        raw: Value = vectors.constant(element, 0, self.lanes)
        for lane in range(valid):
            at = self.builder.add(offset, ir.Constant(I64, lane * stride))
            place = vectors.address(self.builder, pointer, at, element)
            scalar = self.builder.load(place, align=vectors.size(element), typ=element)
            raw = self.builder.insert_element(raw, scalar, ir.Constant(I32, lane))
        return self.widen(raw, dtype)

    def store(self, value: Value, pointer: Value, dtype: str, offset: Value, stride: int, valid: int) -> None:
        """To element `offset` and on; lanes from `valid` on are not written."""
        raw = self.narrow(value, dtype)
        if stride == 1 or valid == 1:
            vectors.store_plain(self.builder, raw, pointer, offset, valid)
            return
        element = raw.type.element
        for lane in range(valid):
            at = self.builder.add(offset, ir.Constant(I64, lane * stride))
            scalar = self.builder.extract_element(raw, ir.Constant(I32, lane))
            place = vectors.address(self.builder, pointer, at, element)
            self.builder.store(scalar, place, align=vectors.size(element))


class _Emitter:
    """What all nests share: the function, its operands, addresses and typed access."""

    def __init__(self, module: ir.Module, name: str, nest: Nest, machine: Machine) -> None:
        self.nest, self.machine = nest, machine
        count = len(nest.operands) + (nest.dynamic is not None)
        self.function = ir.Function(module, ir.FunctionType(VOID, [I64, I64] + [POINTER] * count), name)
        self.function.linkage = "internal"
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.begin, self.end = self.function.args[:2]
        self.pointers = list(self.function.args[2:])
        self.lanes = machine.lanes(32)
        self.access = Lanes(self.builder, machine, self.lanes)

    def offsets(self, index: Sequence[Value]) -> list[Value]:
        """Element offsets of every operand at the outer index."""
        result = []
        for operand in self.nest.operands:
            result.append(self.linear(index, operand.strides[: len(index)]))
        dynamic = self.nest.dynamic
        if dynamic is not None:
            at = self.linear(index, dynamic.strides[: len(index)])
            raw = self.builder.load(vectors.address(self.builder, self.pointers[-1], at, I32), align=4, typ=I32)
            low, high = ir.Constant(I32, 0), ir.Constant(I32, dynamic.limit)
            raw = self.builder.select(self.builder.icmp_signed("<", raw, low), low, raw)
            raw = self.builder.select(self.builder.icmp_signed(">", raw, high), high, raw)
            moved = self.builder.mul(self.builder.sext(raw, I64), ir.Constant(I64, dynamic.stride))
            result[dynamic.operand] = self.builder.add(result[dynamic.operand], moved)
        return result

    def linear(self, index: Sequence[Value], strides: Sequence[int]) -> Value:
        total: Value = ir.Constant(I64, 0)
        for i, stride in zip(index, strides, strict=True):
            if stride:
                total = self.builder.add(total, self.builder.mul(i, ir.Constant(I64, stride)))
        return total

    def split(self, unit: Value, dims: Sequence[int]) -> list[Value]:
        """The index of `unit` in row-major order of `dims`."""
        result: list[Value] = []
        for n in reversed(dims[1:]):
            length = ir.Constant(I64, n)
            result.append(self.builder.urem(unit, length))
            unit = self.builder.udiv(unit, length)
        return ([unit, *result[::-1]]) if dims else []

    def load(self, number: int, offset: Value, stride: int, valid: int) -> Value:
        dtype = self.nest.operands[number].dtype
        return self.access.load(self.pointers[number], dtype, offset, stride, valid)

    def store(self, value: Value, number: int, offset: Value, stride: int, valid: int) -> None:
        self.access.store(value, self.pointers[number], self.nest.operands[number].dtype, offset, stride, valid)

    def along(
        self,
        length: int,
        begin: Value | int,
        end: Value | int,
        visit: Callable[..., Sequence[Value]],
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """visit(j, valid, values) for whole vectors of `length` elements from `begin` to `end`, and for the tail."""
        whole = length - length % self.lanes
        stop = end if not isinstance(end, int) else min(end, whole)
        values = loop(self.builder, begin, stop, lambda j, v: visit(j, self.lanes, v), carried, step=self.lanes)
        if length % self.lanes:
            values = list(visit(ir.Constant(I64, whole), length % self.lanes, values))
        return values

    def finish(self) -> ir.Function:
        self.builder.ret_void()
        return self.function


def map_chunks(nest: Nest, machine: Machine) -> int:
    """Into how many units the vector axis is cut."""
    length = nest.dims[-1]
    if length % machine.lanes(32) or length < 2 * CHUNK:
        return 1
    return -(-length // CHUNK)


def map_units(nest: Nest, machine: Machine) -> int:
    return math.prod(nest.dims[:-1]) * map_chunks(nest, machine)


def emit_map(
    module: ir.Module, name: str, nest: Nest, body: Graph | None, machine: Machine, value: float = 0.0
) -> ir.Function:
    """writes = body(reads) at every place; without a body writes[0] = reads[0], without reads writes[…] = value."""
    emitter = _Emitter(module, name, nest, machine)
    if body is None and nest.reads and nest.reads[0].dtype == nest.writes[0].dtype:
        emitter.access.plain = True
    builder, chunks, length = emitter.builder, map_chunks(nest, machine), nest.dims[-1]

    def unit(number: Value, _: list[Value]) -> Sequence[Value]:
        row, start, stop = number, 0, length
        if chunks > 1:
            count = ir.Constant(I64, chunks)
            row = builder.udiv(number, count)
            start = builder.mul(builder.urem(number, count), ir.Constant(I64, CHUNK))
            end = builder.add(start, ir.Constant(I64, CHUNK))
            limit = ir.Constant(I64, length)
            stop = builder.select(builder.icmp_signed("<", end, limit), end, limit)
        offsets = emitter.offsets(emitter.split(row, nest.dims[:-1]))
        emitter.along(length, start, stop, lambda j, valid, _: place(offsets, j, valid))
        return []

    def place(offsets: list[Value], j: Value, valid: int) -> Sequence[Value]:
        def at(number: int) -> tuple[Value, int]:
            stride = nest.operands[number].strides[-1]
            return (
                builder.add(offsets[number], builder.mul(j, ir.Constant(I64, stride))) if stride else offsets[number]
            ), stride

        values = body_values(emitter, body, nest, at, valid, value)
        for i, result in enumerate(values):
            emitter.store(result, len(nest.reads) + i, *at(len(nest.reads) + i), valid)
        return []

    loop(builder, emitter.begin, emitter.end, unit)
    return emitter.finish()


def body_values(
    emitter: _Emitter, body: Graph | None, nest: Nest, at: Callable[[int], tuple[Value, int]], valid: int, value: float
) -> list[Value]:
    if body is None and not nest.reads:
        dtype = nest.writes[0].dtype
        number = (
            vectors.constant(I32, int(value), emitter.lanes)
            if dtype == "i32"
            else vectors.constant(F32, value, emitter.lanes)
        )
        return [number] * len(nest.writes)
    if body is None:
        return [emitter.load(0, *at(0), valid)]
    inner = Body(emitter.builder, emitter.machine, body, emitter.lanes, lambda i: emitter.load(i, *at(i), valid))
    return [inner.value(v) for _, v in body.outputs]


# -- rows -------------------------------------------------------------------------------------------------------


def rows_units(nest: Nest, machine: Machine) -> int:
    return math.prod(nest.dims[:-1])


def emit_rows(module: ir.Module, name: str, nest: Nest, body: Graph, machine: Machine) -> ir.Function:
    """As `emit_map`, with reductions along the last dimension. Numbers of which a row has one have stride 0 there.

    One pass over the row for every level of reductions that depend on each other; short rows stay in registers.
    """
    emitter = _Emitter(module, name, nest, machine)
    builder, length, lanes = emitter.builder, nest.dims[-1], emitter.lanes
    levels = reduction_levels(body)
    in_registers = -(-length // lanes) <= (16 if machine.registers == 32 else 6)
    row_values = per_row(body)

    def unit(number: Value, _: list[Value]) -> Sequence[Value]:
        offsets = emitter.offsets(emitter.split(number, nest.dims[:-1]))
        reduced: dict[int, Value] = {}
        scalars = Body(builder, machine, body, lanes, lambda i: emitter.load(i, offsets[i], 0, lanes))
        memory: dict[int, dict[int, Value]] = {}

        def vector(j: Value, key: int, valid: int) -> Body:
            inner = Body(builder, machine, body, lanes, lambda i: read(i, j, valid))
            inner.known = memory.setdefault(key, {}) if in_registers else {}
            inner.known.update({v: x for v, x in scalars.known.items() if v in row_values})
            return inner

        def read(i: int, j: Value, valid: int) -> Value:
            stride = nest.reads[i].strides[-1]
            at = builder.add(offsets[i], builder.mul(j, ir.Constant(I64, stride))) if stride else offsets[i]
            return emitter.load(i, at, stride, valid)

        def settle_scalars() -> None:
            """Everything of which a row has one number and whose reductions are known."""
            for v, node in enumerate(body.nodes):
                if v not in row_values or v in scalars.known or node.op == "reduce":
                    continue
                if all(i in scalars.known for i in node.inputs):
                    scalars.value(v)

        settle_scalars()
        for level in levels:
            functions = [body.nodes[r].attributes["function"] for r in level]
            dtypes = [body.nodes[r].type.dtype for r in level]
            start = [identity(f, d, lanes) for f, d in zip(functions, dtypes, strict=True)]

            def visit(
                j: Value,
                valid: int,
                sums: Sequence[Value],
                level: list[int] = level,
                functions: list[str] = functions,
                dtypes: list[str] = dtypes,
                key: int | None = None,
            ) -> list[Value]:
                inner = vector(j, -1 if key is None else key, valid)
                result = []
                for r, f, d, total in zip(level, functions, dtypes, sums, strict=True):
                    x = widened(builder, f, d, inner.value(body.nodes[r].inputs[0]))
                    if valid < lanes:
                        x = _masked(builder, x, valid, identity(f, d, lanes))
                    result.append(_combine(builder, f, total, x, machine))
                return result

            totals = sweep(emitter, length, in_registers, visit, start)
            for r, f, d, total in zip(level, functions, dtypes, totals, strict=True):
                reduced[r] = narrowed(builder, f, d, butterfly(builder, f, total, machine))
            scalars.known.update(reduced)
            settle_scalars()
        outputs = [v for _, v in body.outputs]
        # One number a row that is repeated along it fills the row.
        single = [v in row_values and (length == 1 or body.nodes[v].type.shape[-1] != length) for v in outputs]

        def write(j: Value, valid: int, _: Sequence[Value], key: int | None = None) -> list[Value]:
            inner = vector(j, -1 if key is None else key, valid)
            for i, v in enumerate(outputs):
                if not single[i]:
                    number = len(nest.reads) + i
                    stride = nest.writes[i].strides[-1]
                    at = builder.add(offsets[number], builder.mul(j, ir.Constant(I64, stride)))
                    emitter.store(inner.value(v), number, at, stride, valid)
            return []

        if not all(single):
            sweep(emitter, length, in_registers, write, [])
        for i, v in enumerate(outputs):
            if single[i]:
                emitter.store(scalars.value(v), len(nest.reads) + i, offsets[len(nest.reads) + i], 0, 1)
        return []

    loop(builder, emitter.begin, emitter.end, unit)
    return emitter.finish()


def sweep(
    emitter: _Emitter, length: int, unrolled: bool, visit: Callable[..., list[Value]], start: Sequence[Value]
) -> list[Value]:
    """Along one row, as a loop or written out."""
    if not unrolled:
        return emitter.along(length, 0, length, lambda j, valid, v: visit(j, valid, v), start)
    values = list(start)
    for key, j in enumerate(range(0, length, emitter.lanes)):
        values = visit(ir.Constant(I64, j), min(emitter.lanes, length - j), values, key=key)
    return values


_IDENTITY = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}
_IDENTITY_I32 = {"sum": 0, "max": -(2**31), "min": 2**31 - 1}


def in_integers(function: str, dtype: str) -> bool:
    """Whether a reduction is carried in int32; sums of bytes are, since f32 would round long ones."""
    return dtype == "i32" or (dtype == "i8" and function == "sum")


def identity(function: str, dtype: str, lanes: int) -> Value:
    """What a reduction starts from."""
    if in_integers(function, dtype):
        return vectors.constant(I32, _IDENTITY_I32[function], lanes)
    return vectors.constant(F32, _IDENTITY[function], lanes)


def widened(builder: ir.IRBuilder, function: str, dtype: str, x: Value) -> Value:
    """`x` as the reduction carries it."""
    return builder.fptosi(x, vectors.vector(I32, x.type.count)) if dtype == "i8" and function == "sum" else x


def narrowed(builder: ir.IRBuilder, function: str, dtype: str, x: Value) -> Value:
    """The inverse of `widened`: sums of bytes wrap around."""
    return low_byte(builder, x) if dtype == "i8" and function == "sum" else x


def _combine(builder: ir.IRBuilder, function: str, a: Value, b: Value, machine: Machine) -> Value:
    if isinstance(a.type.element, ir.IntType):
        if function == "sum":
            return builder.add(a, b)
        return builder.select(builder.icmp_signed(">" if function == "max" else "<", a, b), a, b)
    if function == "sum":
        return builder.fadd(a, b)
    pick = mathematics.maximum if function == "max" else mathematics.minimum
    return pick(builder, a, b, machine)


def _masked(builder: ir.IRBuilder, x: Value, valid: int, other: Value) -> Value:
    lanes = x.type.count
    mask = vectors.constant(vectors.I1, [int(i < valid) for i in range(lanes)], lanes)
    return builder.select(mask, x, other)


def butterfly(builder: ir.IRBuilder, function: str, x: Value, machine: Machine) -> Value:
    """Combines all lanes; every lane holds the result."""
    step = x.type.count // 2
    while step:
        other = vectors.shuffle(builder, x, None, [i ^ step for i in range(x.type.count)])
        x = _combine(builder, function, x, other, machine)
        step //= 2
    return x


def reduction_levels(body: Graph) -> list[list[int]]:
    """Reductions by how many other reductions they wait for."""
    depth: list[int] = []
    levels: dict[int, list[int]] = {}
    for number, node in enumerate(body.nodes):
        d = max((depth[i] for i in node.inputs), default=0)
        if node.op == "reduce":
            levels.setdefault(d, []).append(number)
            d += 1
        depth.append(d)
    return [levels[d] for d in sorted(levels)]


def per_row(body: Graph) -> set[int]:
    """Values of which a row has one number: reductions, and what follows from them and from inputs of length 1."""
    lengths = {node.type.shape[-1] for node in body.nodes if node.type.shape}
    widest = max(lengths, default=1)
    found: set[int] = set()
    for number, node in enumerate(body.nodes):
        if widest == 1:
            single = node.op == "reduce" or (bool(node.inputs) and all(i in found for i in node.inputs))
        else:
            single = not node.type.shape or node.type.shape[-1] == 1
            if node.op == "broadcast":
                single = node.inputs[0] in found
        if single:
            found.add(number)
    return found


# -- reductions over other axes, and windows ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reduction:
    """writes[kept] = function over `reduced` of reads[kept, reduced]; the read has strides for kept then reduced."""

    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    function: str
    read: Operand
    write: Operand
    scale: float = 1.0


def reduction_units(spec: Reduction, machine: Machine) -> int:
    if spec.read.strides[len(spec.kept) - 1] == 1 and spec.kept[-1] > 1:
        return math.prod(spec.kept[:-1]) * -(-spec.kept[-1] // machine.lanes(32))
    return math.prod(spec.kept)


def emit_reduction(module: ir.Module, name: str, spec: Reduction, machine: Machine) -> ir.Function:
    """Vectors along the last kept dimension where it is dense in memory, else along the last reduced one."""
    kept = len(spec.kept)
    nest = Nest(spec.kept, (Operand(spec.read.dtype, spec.read.strides[:kept]),), (spec.write,))
    emitter = _Emitter(module, name, nest, machine)
    builder, lanes = emitter.builder, emitter.lanes
    across = spec.read.strides[kept - 1] == 1 and spec.kept[-1] > 1
    inner = spec.read.strides[kept:]
    function, dtype = spec.function, spec.read.dtype
    start = identity(function, dtype, lanes)

    def over(axis: int, offset: Value, total: Value, read: Callable[[Value, Value], Value], stop: int) -> Value:
        """Loops over reduced dimensions axis…stop-1, `read` adds what lies at an offset."""
        if axis == stop:
            return read(offset, total)

        def step(i: Value, values: list[Value]) -> Sequence[Value]:
            at = builder.add(offset, builder.mul(i, ir.Constant(I64, inner[axis])))
            return [over(axis + 1, at, values[0], read, stop)]

        return loop(builder, 0, spec.reduced[axis], step, [total])[0]

    def vector_unit(row: list[Value], first: Value, valid: int) -> None:
        index = [*row, first]
        offsets = emitter.offsets(index)

        def read(offset: Value, total: Value) -> Value:
            x = widened(builder, function, dtype, emitter.load(0, offset, 1, valid))
            return _combine(builder, function, total, x, machine)

        total = narrowed(builder, function, dtype, over(0, offsets[0], start, read, len(spec.reduced)))
        emitter.store(total, 1, offsets[1], spec.write.strides[-1], valid)

    def across_units(number: Value, _: list[Value]) -> Sequence[Value]:
        blocks = -(-spec.kept[-1] // lanes)
        count = ir.Constant(I64, blocks)
        row = emitter.split(builder.udiv(number, count), spec.kept[:-1])
        block = builder.urem(number, count)
        first = builder.mul(block, ir.Constant(I64, lanes))
        tail = spec.kept[-1] % lanes
        if not tail:
            vector_unit(row, first, lanes)
        else:
            is_last = builder.icmp_unsigned("==", block, ir.Constant(I64, blocks - 1))
            with builder.if_else(is_last) as (then, otherwise):
                with then:
                    vector_unit(row, first, tail)
                with otherwise:
                    vector_unit(row, first, lanes)
        return []

    def single_unit(number: Value, _: list[Value]) -> Sequence[Value]:
        offsets = emitter.offsets(emitter.split(number, spec.kept))
        length, stride = spec.reduced[-1], inner[-1]

        def read(offset: Value, total: Value) -> Value:
            def visit(j: Value, valid: int, values: Sequence[Value]) -> list[Value]:
                at = builder.add(offset, builder.mul(j, ir.Constant(I64, stride)))
                x = widened(builder, function, dtype, emitter.load(0, at, stride, valid))
                if valid < lanes:
                    x = _masked(builder, x, valid, start)
                return [_combine(builder, function, values[0], x, machine)]

            return emitter.along(length, 0, length, visit, [total])[0]

        total = over(0, offsets[0], start, read, len(spec.reduced) - 1)
        total = narrowed(builder, function, dtype, butterfly(builder, function, total, machine))
        emitter.store(total, 1, offsets[1], 0, 1)
        return []

    loop(builder, emitter.begin, emitter.end, across_units if across else single_unit)
    return emitter.finish()
