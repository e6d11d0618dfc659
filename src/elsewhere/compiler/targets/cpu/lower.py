"""From steps of a layout to kernels: which generator, which operands, how many units, what it may cost."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.text import show
from elsewhere.compiler.ir.types import DTYPES, Tensor, convert
from elsewhere.compiler.passes.fuse import refine
from elsewhere.compiler.plan.layout import Access, Buffer, Layout, Step, packed, restride
from elsewhere.compiler.targets.cpu.formats import to_memory
from elsewhere.compiler.targets.cpu.kernels import attention as attentions
from elsewhere.compiler.targets.cpu.kernels import contract as contracts
from elsewhere.compiler.targets.cpu.kernels import depthwise as depthwises
from elsewhere.compiler.targets.cpu.kernels import nest as nests
from elsewhere.compiler.targets.cpu.kernels import packing, tiling
from elsewhere.compiler.targets.cpu.kernels import turn as turns
from elsewhere.compiler.targets.cpu.kernels.body import Body
from elsewhere.compiler.targets.cpu.kernels.nest import Dynamic, Nest, Operand, Reduction, coalesce
from elsewhere.compiler.targets.cpu.machine import Machine

PRECISION = {"f32": "f32", "bf16": "bf16", "i8": "i8"}


class LoweringError(ValueError):
    """The graph holds something for which this target has no kernel; the message names its place."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A pointer that a kernel gets: into a buffer, into packed data, or a thread's scratch memory."""

    kind: str  # buffer, data, scratch
    number: int = 0
    offset: int = 0  # bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """One call in the program."""

    key: str
    """Kernels of one key are one function."""
    kind: str
    place: str
    emit: Callable[[ir.Module, str], ir.Function]
    arguments: tuple[Argument, ...]
    units: int
    cost: float
    """Estimated cycles on one core; decides whether it is worth splitting."""
    borders: Callable[[int], tuple[int, ...]]
    """Borders of so many ranges of units that take about as long."""
    reads: tuple[tuple[int, int, int], ...]
    """(buffer, first byte, byte after the last)."""
    writes: tuple[tuple[int, int, int], ...]
    multiplications: int = 0
    scratch: int = 0
    """Bytes of scratch memory for every thread."""
    node: int = -1
    precision: str = ""
    rewrites: bool = False
    """Whether it writes over what another kernel of the same run wrote."""


@dataclass(slots=True)
class Lowered:
    """Kernels in order, the buffers (with those that kernels asked for), and the data that is packed ahead."""

    layout: Layout
    kernels: list[Kernel] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    data: list[NDArray[np.uint8]] = field(default_factory=list)


def even(units: int) -> Callable[[int], tuple[int, ...]]:
    """Equal parts."""
    return lambda parts: tuple(units * i // parts for i in range(parts + 1))


def lower(layout: Layout, machine: Machine) -> Lowered:
    """Raises LoweringError for what has no kernel."""
    lowering = _Lowering(layout, machine)
    for number, step in enumerate(layout.steps):
        lowering.number = number
        lowering.step(step)
    return lowering.result


class _Lowering:
    def __init__(self, layout: Layout, machine: Machine) -> None:
        self.layout, self.machine, self.graph = layout, machine, layout.graph
        self.result = Lowered(layout, buffers=list(layout.buffers))
        self.number = 0
        self.shared: dict[str, int] = {}
        self.constant_buffers: dict[int, int] = {}

    # -- pieces ------------------------------------------------------------------------------------------------

    def buffer(self, size: int) -> int:
        """Memory that only the current step uses."""
        self.result.buffers.append(Buffer(size, "arena", "", self.number, self.number))
        return len(self.result.buffers) - 1

    def data(self, key: str, make: Callable[[], NDArray[Any]]) -> int:
        """Data known ahead, made once for a key."""
        if key not in self.shared:
            self.shared[key] = len(self.result.data)
            self.result.data.append(np.ascontiguousarray(make()).view(np.uint8).ravel())
        return self.shared[key]

    def pointer(self, access: Access) -> Argument:
        """Where an access starts. Plain constants are laid among the packed data, int8 biased."""
        buffer = self.result.buffers[access.buffer]
        at = access.offset * DTYPES[access.type.dtype]
        if buffer.kind != "constant":
            return Argument("buffer", access.buffer, at)
        dtype = access.type.dtype
        return Argument(
            "data",
            self.data(f"plain {buffer.name} {dtype}", lambda: to_memory(self.graph.constants[buffer.name], dtype)),
            at,
        )

    def add(
        self,
        kind: str,
        node: int,
        spec: str,
        emit: Callable[[ir.Module, str], ir.Function],
        accesses: Sequence[Access],
        writes: Sequence[Access],
        *,
        units: int,
        cost: float,
        borders: Callable[[int], tuple[int, ...]] | None = None,
        arguments: Sequence[Argument] | None = None,
        **more: Any,
    ) -> None:
        pointers = [self.pointer(a) for a in (*accesses, *writes)] if arguments is None else list(arguments)
        key = f"{kind}_{hashlib.sha256(spec.encode()).hexdigest()[:16]}"

        def extents(items: Sequence[Access]) -> tuple[tuple[int, int, int], ...]:
            return tuple((a.buffer, *a.reach()) for a in items if self.result.buffers[a.buffer].kind != "constant")

        place = self.graph.nodes[node].place
        self.result.kernels.append(
            Kernel(
                key,
                kind,
                place,
                emit,
                tuple(pointers),
                units,
                cost,
                borders or even(units),
                extents(accesses),
                extents(writes),
                node=node,
                **more,
            )
        )

    def operand(self, access: Access, dims: Sequence[int]) -> Operand:
        """`access` as seen by a nest of `dims` (of the same elements)."""
        strides = restride(access.shape, access.strides, dims)
        if strides is None:
            raise LoweringError(f"{access.type} cannot be seen as {tuple(dims)}")
        return Operand(access.type.dtype, strides)

    def nest(
        self, dims: Sequence[int], reads: Sequence[Operand], writes: Sequence[Operand], keep_last: bool = False
    ) -> Nest:
        joined, strides = coalesce(dims, [o.strides for o in (*reads, *writes)], keep_last)
        seen = [Operand(o.dtype, s) for o, s in zip((*reads, *writes), strides, strict=True)]
        return Nest(joined, tuple(seen[: len(reads)]), tuple(seen[len(reads) :]))

    # -- steps -------------------------------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        node = self.graph.nodes[step.node]
        make = getattr(self, f"step_{step.kind}", None)
        if make is None:
            raise LoweringError(f"there is no kernel for {step.kind} (at {node.place or 'unknown place'})")
        make(step, node)

    def map_kernel(self, kind: str, step: Step, dims: Sequence[int], body: Graph | None, value: float = 0.0) -> None:
        reads = [self.operand(a, dims) for a in step.reads]
        writes = [self.operand(a, dims) for a in step.writes]
        nest = self.nest(dims, reads, writes)
        spec = f"map {nest} {value} {show(body) if body else ''}"
        operations = 1 + (sum(n.op in ("unary", "binary", "select", "cast") for n in body.nodes) if body else 0)
        machine = self.machine
        turned = turns.turned_axis(nest, machine) if step.reads else None
        awkward = turned is None and any(o.strides[-1] not in (0, 1) for o in nest.operands)
        cost = math.prod(dims) * (1.0 + 0.25 * operations) / (1.0 if awkward else machine.lanes(32) / 2.0)

        def emit(module: ir.Module, name: str) -> ir.Function:
            if turned is not None:
                return turns.emit_turned_map(module, name, nest, turned, body, machine)
            return nests.emit_map(module, name, nest, body, machine, value)

        units = nests.map_units(nest, machine) if turned is None else turns.turned_units(nest, turned, machine)
        self.add(kind, step.node, spec, emit, step.reads, step.writes, units=units, cost=cost)

    def step_copy(self, step: Step, node: Node) -> None:
        self.map_kernel("copy", step, step.writes[0].shape, None)

    def step_fill(self, step: Step, node: Node) -> None:
        for slab in step.writes:
            one = Step("fill", step.node, (), (slab,))
            value = convert(np.asarray(node.attributes["value"]), node.type.dtype)
            self.map_kernel("fill", one, slab.shape, None, float(value))

    def step_map(self, step: Step, node: Node) -> None:
        body = node.attributes["body"]
        dims = refine([n.type.shape for n in body.nodes if n.type.size == step.writes[0].type.size])
        assert dims is not None
        self.map_kernel("map", step, dims, body)

    def step_rows(self, step: Step, node: Node) -> None:
        body: Graph = node.attributes["body"]
        size = max(n.type.size for n in body.nodes)
        shapes = [n.type.shape for n in body.nodes if n.type.size == size]
        dims = refine([s[:-1] for s in shapes])
        assert dims is not None
        length = shapes[0][-1]

        def seen(access: Access) -> Operand:
            if access.type.size == size and access.shape[-1] == length:
                return self.operand(access, (*dims, length))
            rows = self.operand(access, dims)
            return Operand(rows.dtype, (*rows.strides, 0))

        nest = self.nest((*dims, length), [seen(a) for a in step.reads], [seen(a) for a in step.writes], keep_last=True)
        machine = self.machine
        passes = 1 + len(nests.reduction_levels(body))
        self.add(
            "rows",
            step.node,
            f"rows {nest} {show(body)}",
            lambda module, name: nests.emit_rows(module, name, nest, body, machine),
            step.reads,
            step.writes,
            units=nests.rows_units(nest, machine),
            cost=size * (1.0 + 0.2 * len(body.nodes)) * passes / machine.lanes(32) + math.prod(dims) * 30.0,
        )

    def step_reduce(self, step: Step, node: Node) -> None:
        read, write = step.reads[0], step.writes[0]
        axes = node.attributes["axes"]
        kept = [i for i in range(len(read.shape)) if i not in axes and read.shape[i] != 1]
        gone = [i for i in axes if read.shape[i] != 1]
        self.reduction(
            step,
            node.attributes["function"],
            ([read.shape[i] for i in kept], [read.strides[i] for i in kept], [write.strides[i] for i in kept]),
            ([read.shape[i] for i in gone], [read.strides[i] for i in gone]),
        )

    def step_pool(self, step: Step, node: Node) -> None:
        read, write = step.reads[0], step.writes[0]
        stride = (1, *node.attributes["stride"], 1)
        window = node.attributes["window"]
        self.reduction(
            step,
            node.attributes["function"],
            (list(write.shape), [s * k for s, k in zip(read.strides, stride, strict=True)], list(write.strides)),
            (list(window), list(read.strides[1:-1])),
        )

    def reduction(self, step: Step, function: str, kept: tuple[list[int], ...], gone: tuple[list[int], ...]) -> None:
        kept_dims, (kept_read, kept_write) = coalesce(kept[0], [kept[1], kept[2]], keep_last=True)
        gone_dims, (gone_read,) = coalesce(gone[0], [gone[1]])
        read, write = step.reads[0].type.dtype, step.writes[0].type.dtype
        spec = Reduction(
            kept_dims, gone_dims, function, Operand(read, (*kept_read, *gone_read)), Operand(write, kept_write)
        )
        machine = self.machine
        self.add(
            "reduce",
            step.node,
            f"reduce {spec}",
            lambda module, name: nests.emit_reduction(module, name, spec, machine),
            step.reads,
            step.writes,
            units=nests.reduction_units(spec, machine),
            cost=math.prod(kept_dims) * math.prod(gone_dims) * 2.0 / machine.lanes(32),
        )

    def step_gather(self, step: Step, node: Node) -> None:
        data, index = step.reads
        write = step.writes[0]
        rest = (*data.shape[1:],) or (1,)
        dims = (*index.shape, *rest)
        read = Operand(data.type.dtype, ((0,) * len(index.shape) + (data.strides[1:] or (0,))))
        result = self.operand(Access(write.buffer, write.offset, write.strides, write.type), dims)
        moved = Dynamic(0, 2, (*index.strides, *(0,) * len(rest)), data.strides[0], data.shape[0] - 1)
        self.dynamic(step, Nest(dims, (read,), (result,), moved), [data, write, index])

    def step_update(self, step: Step, node: Node) -> None:
        patch, index = step.reads
        state, axis = step.writes[0], node.attributes["axis"]
        read = Operand(patch.type.dtype, patch.strides)
        write = Operand(state.type.dtype, state.strides)
        dims = patch.shape
        moved = Dynamic(1, 2, (0,) * len(dims), state.strides[axis], state.shape[axis] - dims[axis])
        self.dynamic(step, Nest(dims, (read,), (write,), moved), [patch, state, index])

    def dynamic(self, step: Step, nest: Nest, order: Sequence[Access]) -> None:
        machine = self.machine
        self.add(
            "gather",
            step.node,
            f"dynamic {nest}",
            lambda module, name: nests.emit_map(module, name, nest, None, machine),
            step.reads,
            step.writes,
            units=nests.map_units(nest, machine),
            cost=math.prod(nest.dims) * 0.5,
            arguments=[self.pointer(a) for a in order],
            rewrites=step.kind == "update",
        )

    def step_attention(self, step: Step, node: Node) -> None:
        count, scale = node.attributes["segments"], node.attributes["scale"]
        reads = [
            a if a.strides[-1] == 1 or a.shape[-1] == 1 else self.dense(step, a) for a in step.reads[: 1 + 2 * count]
        ]
        reads += step.reads[1 + 2 * count :]
        q, keys, values = reads[0], reads[1 : 1 + count], reads[1 + count : 1 + 2 * count]
        bias = reads[1 + 2 * count] if len(reads) > 1 + 2 * count else None
        for segments in (keys, values):
            if len({a.type.dtype for a in segments}) > 1:
                raise LoweringError(f"segments of attention have several types (at {node.place or 'unknown place'})")
        out = step.writes[0]
        machine = self.machine
        batch = q.shape[:-2]
        entries = math.prod(batch)
        spec = attentions.Attention(
            batch=batch,
            queries=q.shape[-2],
            segments=tuple(k.shape[-2] for k in keys),
            width=q.shape[-1],
            value_width=out.shape[-1],
            scale=scale,
            query_strides=q.strides[:-1],
            key_strides=tuple(k.strides[:-1] for k in keys),
            value_strides=tuple(v.strides[:-1] for v in values),
            out_strides=out.strides[:-1],
            bias_strides=None if bias is None else bias.strides,
            precision=node.attributes["precision"],
            query_type=q.type.dtype,
            key_type=keys[0].type.dtype,
            value_type=values[0].type.dtype,
            out_type=out.type.dtype,
            parts=1 if entries >= 4 or q.shape[-2] < 64 else 2,
        )
        arguments = [self.pointer(a) for a in (*reads, out)] + [Argument("scratch")]
        rate = {"f32": 1.0, "bf16": 2.0, "i8": 4.0}[spec.precision] * machine.lanes(32)
        self.add(
            "attention",
            step.node,
            f"attention {spec}",
            lambda module, name: attentions.emit_attention(module, name, spec, machine),
            reads,
            step.writes,
            units=attentions.units(spec, machine),
            cost=spec.multiplications / rate + entries * spec.queries * spec.keys * 12.0 / machine.lanes(32),
            arguments=arguments,
            scratch=attentions.scratch_bytes(spec, machine),
            multiplications=spec.multiplications,
            precision=spec.precision,
        )

    def dense(self, step: Step, a: Access) -> Access:
        """`a` copied so that its last axis is dense."""
        made = Access(self.buffer(a.type.bytes + 64), 0, packed(a.shape), a.type)
        self.map_kernel("copy", Step("copy", step.node, (a,), (made,)), a.shape, None)
        return made

    # -- products ----------------------------------------------------------------------------------------------

    def step_contract(self, step: Step, node: Node) -> None:
        body: Graph = node.attributes["body"]
        root = next(i for i, n in enumerate(body.nodes) if n.op in ("matmul", "convolution"))
        names = list(body.inputs.values())
        a, b = (step.reads[names.index(i)] for i in body.nodes[root].inputs)
        shapes = [n.type.shape for n in body.nodes if n.type.size == body.nodes[root].type.size and n.op != "input"]
        shapes += [
            n.type.shape for i, n in enumerate(body.nodes) if n.op == "input" and i not in body.nodes[root].inputs
        ]
        dims = refine([s[:-1] for s in shapes])
        assert dims is not None
        region = _Region(self, step, node, body, root, dims or (1,))
        if body.nodes[root].op == "convolution":
            region.convolution(a, b)
        else:
            region.matmul(a, b)


class _Region:
    """One product and its epilogue."""

    def __init__(
        self, lowering: _Lowering, step: Step, node: Node, body: Graph, root: int, dims: tuple[int, ...]
    ) -> None:
        self.lowering, self.step, self.node, self.body, self.root, self.dims = lowering, step, node, body, root, dims
        self.columns = body.nodes[root].type.shape[-1]
        names = list(body.inputs.values())
        # What the product multiplies may also be added to it, as in x + f(x·w).
        after = {i for number, inner in enumerate(body.nodes) if number != root for i in inner.inputs}
        self.further = [i for i, v in enumerate(names) if v not in body.nodes[root].inputs or v in after]
        self.operands = [lowering.operand(self.step.reads[i], (*dims, self.columns)) for i in self.further]
        self.operands += [lowering.operand(w, (*dims, self.columns)) for w in step.writes]
        self.made: list[Access] = []
        """Memory that kernels of this step made for its product: what the product must wait for."""

    def dense(self, a: Access) -> Access:
        """`a` copied so that its last axis is dense."""
        self.made.append(self.lowering.dense(self.step, a))
        return self.made[-1]

    def matmul(self, a: Access, b: Access) -> None:
        if a.strides[-1] != 1 and a.shape[-1] != 1:
            a = self.dense(a)
        rows = restride(a.shape[:-1], a.strides[:-1], self.dims)
        if rows is None:
            a = self.dense(a)
            rows = restride(a.shape[:-1], a.strides[:-1], self.dims)
            assert rows is not None
        shared = all(s == 0 or n == 1 for s, n in zip(b.strides[:-2], b.shape[:-2], strict=True))
        if shared:
            self.emit(a, b, self.dims, rows, (0,), batch=0)
            return
        count, size = 0, 1
        while size < math.prod(b.shape[:-2]):
            size *= self.dims[count]
            count += 1
        if size != math.prod(b.shape[:-2]):
            raise LoweringError(f"batches of {a.type} by {b.type} do not fit the shapes that follow")
        self.emit(a, b, self.dims, rows, (0,), batch=count)

    def convolution(self, x: Access, w: Access) -> None:
        attributes = self.body.nodes[self.root].attributes
        groups, rank = attributes["groups"], len(x.shape) - 2
        if x.strides[-1] != 1 and x.shape[-1] != 1:
            x = self.dense(x)
        outer = self.body.nodes[self.root].type.shape[:-1]
        steps = (x.strides[0], *(s * k for s, k in zip(x.strides[1:-1], attributes["stride"], strict=True)))
        rows = restride(outer, steps, self.dims)
        if rows is None:
            raise LoweringError("a reshape after a convolution does not follow its rows")
        reach = [s * d for s, d in zip(x.strides[1:-1], attributes["dilation"], strict=True)]
        taps = tuple(sum(i * r for i, r in zip(index, reach, strict=True)) for index in np.ndindex(*w.shape[:rank]))
        if groups == x.shape[-1] == self.columns and groups > 1:
            self.depthwise(x, w, rows, taps)
        else:
            self.emit(x, w, self.dims, rows, taps, batch=0, groups=groups)

    def depthwise(self, x: Access, w: Access, rows: tuple[int, ...], taps: tuple[int, ...]) -> None:
        """Every channel by its own kernel."""
        lowering, machine = self.lowering, self.lowering.machine
        buffer = lowering.result.buffers[w.buffer]
        if buffer.kind != "constant" or x.type.dtype not in PRECISION or w.type.dtype != x.type.dtype:
            raise LoweringError(f"there is no depthwise convolution of {x.type} by {w.type} (at {self.node.place})")
        spec = depthwises.Depthwise(
            precision=PRECISION[x.type.dtype], rows=self.dims, a_strides=rows, channels=self.columns, taps=taps
        )
        cell: list[packing.Packed] = []

        def once() -> packing.Packed:
            if not cell:
                weights = lowering.graph.constants[buffer.name].reshape(len(taps), self.columns)
                cell.append(depthwises.pack_depthwise(np.ascontiguousarray(weights), spec, machine))
            return cell[0]

        key = f"depthwise {buffer.name} {spec.precision}"
        arguments = [lowering.pointer(x), Argument("data", lowering.data(key, lambda: once().data))]
        if spec.precision == "i8":
            arguments.append(Argument("data", lowering.data(key + " compensation", lambda: _some(once().compensation))))
        accesses = [self.step.reads[i] for i in self.further] + list(self.step.writes)
        arguments += [lowering.pointer(a) for a in accesses]
        operands = self.operands
        epilogue = self.epilogue(operands)
        work = math.prod(self.dims) * self.columns * len(taps)
        lowering.add(
            "contract",
            self.step.node,
            f"depthwise {spec} {operands} {show(self.body)}",
            lambda module, name: depthwises.emit_depthwise(module, name, spec, machine, epilogue, len(operands)),
            [*self.step.reads, *self.made],
            self.step.writes,
            units=depthwises.depthwise_units(spec),
            cost=work * 1.5 / machine.lanes(32),
            arguments=arguments,
            multiplications=work,
            precision=spec.precision,
        )

    def emit(
        self,
        a: Access,
        b: Access,
        dims: tuple[int, ...],
        rows: tuple[int, ...],
        taps: tuple[int, ...],
        *,
        batch: int,
        groups: int = 1,
    ) -> None:
        outer = [o.strides[:-1] for o in self.operands]
        if batch == 0:
            joined, strides = coalesce(dims, [rows, *outer])
            a_rows, outer = strides[0], strides[1:]
        else:
            joined, a_rows = dims, rows
            if len(dims) == batch:  # every matrix has one row
                joined, a_rows, outer = (*dims, 1), (*rows, 0), [(*s, 0) for s in outer]
        operands = [Operand(o.dtype, (*s, o.strides[-1])) for o, s in zip(self.operands, outer, strict=True)]
        depth = a.shape[-1] // groups
        dtype = a.type.dtype
        if dtype not in PRECISION or b.type.dtype != dtype:
            raise LoweringError(f"there is no product of {a.type} and {b.type} (at {self.node.place})")
        spec = tiling.Contract(
            precision=PRECISION[dtype],
            rows=joined[batch:] or (1,),
            a_strides=a_rows[batch:] or (0,),
            columns=self.columns // groups,
            depth=depth,
            taps=taps,
            batch=joined[:batch],
            a_batch=a_rows[:batch],
            b_batch=packed(joined[:batch]),
        )
        for group in range(groups):
            self.call(spec, a, b, operands, group, groups)

    def call(
        self, spec: tiling.Contract, a: Access, b: Access, operands: list[Operand], group: int, groups: int
    ) -> None:
        lowering, machine = self.lowering, self.lowering.machine
        weights, compensation = self.weights(spec, b, group, groups)
        arguments = [moved(lowering.pointer(a), group * spec.depth * DTYPES[a.type.dtype]), weights]
        if compensation is not None:
            arguments.append(compensation)
        accesses = [self.step.reads[i] for i in self.further] + list(self.step.writes)
        for access, operand in zip(accesses, operands, strict=True):
            shift = group * spec.columns * operand.strides[-1] * DTYPES[operand.dtype]
            arguments.append(moved(lowering.pointer(access), shift))
        epilogue = self.epilogue(operands)
        lowering.add(
            "contract",
            self.step.node,
            f"contract {spec} {operands} {show(self.body)}",
            lambda module, name: contracts.emit_contract(module, name, spec, machine, epilogue, len(operands)),
            [*self.step.reads, *self.made],
            self.step.writes,
            units=contracts.units(spec, machine),
            cost=contracts.cost(spec, machine),
            borders=lambda parts: contracts.split(spec, machine, parts),
            arguments=arguments,
            multiplications=spec.multiplications,
            precision=spec.precision,
        )

    def epilogue(self, operands: Sequence[Operand]) -> contracts.Epilogue:
        """What follows the product, lane by lane, in the region's body."""
        body, root, machine = self.body, self.root, self.lowering.machine
        numbers = {i: place for place, i in enumerate(self.further)}
        count = len(self.further)

        def epilogue(builder: ir.IRBuilder, accumulator: ir.Value, place: contracts.Place) -> None:
            def at(operand: Operand) -> ir.Value:
                total: ir.Value = ir.Constant(ir.IntType(64), 0)
                for index, stride in zip((*place.batch, *place.rows, place.column), operand.strides, strict=True):
                    if stride:
                        total = builder.add(total, builder.mul(index, ir.Constant(ir.IntType(64), stride)))
                return total

            access = nests.Lanes(builder, machine, place.lanes)

            def load(i: int) -> ir.Value:
                operand = operands[numbers[i]]
                return access.load(
                    place.extra[numbers[i]], operand.dtype, at(operand), operand.strides[-1], place.valid
                )

            inner = Body(builder, machine, body, place.lanes, load)
            inner.known[root] = accumulator
            for i, (_, value) in enumerate(body.outputs):
                operand = operands[count + i]
                access.store(
                    inner.value(value),
                    place.extra[count + i],
                    operand.dtype,
                    at(operand),
                    operand.strides[-1],
                    place.valid,
                )

        return epilogue

    def weights(self, spec: tiling.Contract, b: Access, group: int, groups: int) -> tuple[Argument, Argument | None]:
        """Packed ahead where b is constant, else by a kernel before this one."""
        lowering, machine = self.lowering, self.lowering.machine
        buffer = lowering.result.buffers[b.buffer]
        shape = f"{spec.precision} {spec.rows} {spec.columns} {spec.depth} {len(spec.taps)} {spec.batch}"
        if buffer.kind == "constant":

            def make() -> packing.Packed:
                whole = lowering.graph.constants[buffer.name].ravel()
                data = np.lib.stride_tricks.as_strided(
                    whole[b.offset :], b.shape, [s * whole.itemsize for s in b.strides]
                )
                data = data[..., group * spec.columns : (group + 1) * spec.columns]
                if len(spec.taps) > 1 or self.body.nodes[self.root].op == "convolution":
                    data = data.reshape(len(spec.taps), spec.depth, spec.columns)
                elif spec.batch:
                    data = data.reshape(math.prod(spec.batch), 1, spec.depth, spec.columns)
                else:
                    data = data.reshape(-1, spec.depth, spec.columns)[:1]
                if spec.precision == "bf16":
                    data = to_memory(np.ascontiguousarray(data), "bf16")
                return packing.pack(np.ascontiguousarray(data), spec, machine)

            key = f"packed {buffer.name} {b.offset} {b.strides} {group} {shape}"
            cell: list[packing.Packed] = []

            def once() -> packing.Packed:
                if not cell:
                    cell.append(make())
                return cell[0]

            weights = Argument("data", lowering.data(key, lambda: once().data))
            if spec.precision != "i8":
                return weights, None
            return weights, Argument("data", lowering.data(key + " compensation", lambda: _some(once().compensation)))
        return self.pack_while_running(spec, b, shape)

    def pack_while_running(self, spec: tiling.Contract, b: Access, shape: str) -> tuple[Argument, Argument | None]:
        lowering, machine = self.lowering, self.lowering.machine
        matrices = math.prod(spec.batch)
        size = packing.packed_bytes(spec, machine)
        extra = packing.compensation_count(spec, machine) * 4
        target = lowering.buffer(matrices * size)
        sums = lowering.buffer(max(matrices * extra, 4))
        starts = np.zeros(matrices, np.int64)
        if matrices > 1:
            index = np.indices(b.shape[:-2]).reshape(len(b.shape) - 2, -1)
            starts = np.asarray(b.strides[:-2]) @ index
        k_stride, n_stride = b.strides[-2:]
        for matrix, start in enumerate(starts):
            base = moved(lowering.pointer(b), int(start) * DTYPES[b.type.dtype])
            made = (
                Access(target, matrix * size, (1,), Tensor("i8", (size,))),
                Access(sums, matrix * extra, (1,), Tensor("i8", (max(extra, 1),))),
            )
            self.made += made
            lowering.add(
                "pack",
                self.step.node,
                f"pack {shape} {k_stride} {n_stride} {spec}",
                lambda module, name: internal(packing.emit_packing(module, name, spec, machine, k_stride, n_stride)),
                [b],
                list(made),
                units=packing.packing_units(spec, machine),
                cost=spec.depth * spec.columns * 2.0,
                arguments=[base, Argument("buffer", target, matrix * size), Argument("buffer", sums, matrix * extra)],
            )
        return Argument("buffer", target, 0), Argument("buffer", sums, 0) if spec.precision == "i8" else None


def internal(function: ir.Function) -> ir.Function:
    function.linkage = "internal"
    return function


def moved(argument: Argument, shift: int) -> Argument:
    return Argument(argument.kind, argument.number, argument.offset + shift)


def _some(value: NDArray[Any] | None) -> NDArray[Any]:
    assert value is not None
    return value
