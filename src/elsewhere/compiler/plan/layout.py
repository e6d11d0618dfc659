"""Gives every value of a fused graph a place: a buffer, an offset and strides. Most reshapes, transposes, slices
and broadcasts become views and cost nothing; operands of concatenations and pads are made in place.

The result is a list of steps, each of which writes memory; what cannot be a view becomes a `copy` step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.types import DTYPES, Tensor

VIEWS = ("reshape", "transpose", "slice", "broadcast")


@dataclass(frozen=True, slots=True)
class Access:
    """Elements of a buffer, as one tensor sees them. Offset and strides in elements."""

    buffer: int
    offset: int
    strides: tuple[int, ...]
    type: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def contiguous(self) -> bool:
        return self.strides == packed(self.type.shape) or all(
            s == p for s, p, n in zip(self.strides, packed(self.type.shape), self.type.shape, strict=True) if n != 1
        )

    def same(self, other: Access) -> bool:
        """Whether both see the same elements in the same order; strides of axes of length 1 say nothing."""
        steps = zip(self.shape, self.strides, other.strides, strict=True) if self.type == other.type else ()
        place = (self.buffer, self.offset, self.type) == (other.buffer, other.offset, other.type)
        return place and all(a == b or n == 1 for n, a, b in steps)

    def reach(self) -> tuple[int, int]:
        """First byte and the byte after the last, from the buffer's start."""
        size = DTYPES[self.type.dtype]
        last = self.offset + sum(s * (n - 1) for s, n in zip(self.strides, self.shape, strict=True))
        return self.offset * size, (last + 1) * size


@dataclass(slots=True)
class Buffer:
    """Memory for one or more values. `first` and `last` are the steps between which it is alive."""

    bytes: int
    kind: str  # arena, input, output, state, constant
    name: str = ""
    first: int = 1 << 30
    last: int = -1


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel: `reads` and `writes` in the order of the node's operands and outputs."""

    kind: str  # contract, attention, rows, map, copy, fill, reduce, pool, gather, update
    node: int
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]


@dataclass(slots=True)
class Layout:
    """What `lay_out` found."""

    graph: Graph
    buffers: list[Buffer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, Access] = field(default_factory=dict)
    outputs: dict[str, Access] = field(default_factory=dict)
    states: dict[str, Access] = field(default_factory=dict)


def packed(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def restride(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides of the same elements seen with lengths `new`, or None if no strides do it."""
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result = [0] * len(new)
    wanted = [i for i, n in enumerate(new) if n != 1]
    a = b = 0
    while a < len(old) and b < len(wanted):
        x, y, i, j = old[a][0], new[wanted[b]], a + 1, b + 1
        while x != y:
            if x < y:
                if i >= len(old):
                    return None
                x *= old[i][0]
                i += 1
            else:
                if j >= len(wanted):
                    return None
                y *= new[wanted[j]]
                j += 1
        for k in range(a, i - 1):
            if old[k][1] != old[k + 1][0] * old[k + 1][1]:
                return None
        stride = old[i - 1][1]
        for k in range(j - 1, b - 1, -1):
            result[wanted[k]] = stride
            stride *= new[wanted[k]]
        a, b = i, j
    return tuple(result) if a == len(old) and b == len(wanted) else None


def reshaped(access: Access, shape: Sequence[int]) -> Access | None:
    strides = restride(access.shape, access.strides, shape)
    return (
        None
        if strides is None
        else Access(access.buffer, access.offset, strides, Tensor(access.type.dtype, tuple(shape)))
    )


def view(node: Node, source: Access) -> Access | None:
    """`node`'s result as a view of its operand, or None."""
    if node.op == "reshape":
        return reshaped(source, node.type.shape)
    if node.op == "transpose":
        strides = tuple(source.strides[i] for i in node.attributes["permutation"])
        return Access(source.buffer, source.offset, strides, node.type)
    if node.op == "slice":
        starts, steps = node.attributes["starts"], node.attributes["steps"]
        offset = source.offset + sum(a * s for a, s in zip(starts, source.strides, strict=True))
        strides = tuple(s * k for s, k in zip(source.strides, steps, strict=True))
        return Access(source.buffer, offset, strides, node.type)
    strides = tuple(0 if n == 1 else s for s, n in zip(source.strides, source.shape, strict=True))
    return Access(source.buffer, source.offset, strides, node.type)


def unview(node: Node, wanted: Access, source: Tensor) -> Access | None:
    """Where the operand of view `node` must lie so that the result lies at `wanted`, or None."""
    if node.op == "reshape":
        return reshaped(wanted, source.shape)
    if node.op == "transpose":
        order = node.attributes["permutation"]
        strides = [0] * len(order)
        for i, axis in enumerate(order):
            strides[axis] = wanted.strides[i]
        return Access(wanted.buffer, wanted.offset, tuple(strides), source)
    return None


class _Layouts:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.result = Layout(graph)
        self.users = graph.users()
        self.places: dict[int, Access] = {}

    def buffer(self, size: int, kind: str, name: str = "") -> int:
        self.result.buffers.append(Buffer(size, kind, name))
        return len(self.result.buffers) - 1

    def fresh(self, type_: Tensor, kind: str = "arena", name: str = "", order: Sequence[int] | None = None) -> Access:
        """A new buffer; with `order`, row-major when its axes are taken in that order."""
        number = self.buffer(type_.bytes, kind, name)
        strides = packed(type_.shape)
        if order is not None:
            inner = packed([type_.shape[i] for i in order])
            strides = tuple(inner[list(order).index(i)] for i in range(len(order)))
        return Access(number, 0, strides, type_)

    # -- what must lie where, from the outputs back ------------------------------------------------------------

    def demand(self) -> None:
        graph = self.graph
        for name, value in graph.outputs:
            access = self.fresh(graph.nodes[value].type, "output", name)
            self.result.outputs[name] = access
            self.ask(value, access)
        for name, number in graph.inputs.items():
            kind = "state" if name in dict(graph.states) else "input"
            self.places[number] = self.result.inputs[name] = self.fresh(graph.nodes[number].type, kind, name)
        for name, value in graph.states:
            self.result.states[name] = self.places[graph.inputs[name]]
            self.update_in_place(graph.inputs[name], value)
        for number in range(len(graph.nodes) - 1, -1, -1):
            node = graph.nodes[number]
            if node.op not in ("concatenate", "pad"):
                continue
            if number not in self.places:
                self.places[number] = self.fresh(node.type)
            place = self.places[number]
            for operand, part in zip(node.inputs, self.parts(node, place), strict=True):
                self.ask(operand, part)

    def parts(self, node: Node, place: Access) -> list[Access]:
        """Where the operands of a concatenation or pad lie inside its result."""
        types = [self.graph.nodes[i].type for i in node.inputs]
        if node.op == "pad":
            offset = place.offset + sum(a * s for a, s in zip(node.attributes["low"], place.strides, strict=True))
            return [Access(place.buffer, offset, place.strides, types[0])]
        result, at, axis = [], 0, node.attributes["axis"]
        for type_ in types:
            result.append(Access(place.buffer, place.offset + at * place.strides[axis], place.strides, type_))
            at += type_.shape[axis]
        return result

    def ask(self, value: int, access: Access) -> None:
        """Lets `value` be made at `access` if nothing else has decided where it lies."""
        node = self.graph.nodes[value]
        while node.op in ("reshape", "transpose") and value not in self.places:
            source = unview(node, access, self.graph.nodes[node.inputs[0]].type)
            if source is None:
                return
            access, value = source, node.inputs[0]
            node = self.graph.nodes[value]
        if value in self.places or node.op in ("input", "constant", "update", *VIEWS):
            return
        if (
            node.op not in ("concatenate", "pad")
            and node.type.shape[-1:] != (1,)
            and access.strides[-1:] not in ((1,), ())
        ):
            return  # kernels write vectors along the last axis
        self.places[value] = access

    def update_in_place(self, state: int, value: int) -> None:
        """A chain of updates that ends as the state's new value writes into the state's own memory.

        Only if nothing reads what an update writes over: not later, not as an output, not as the update's own patch.
        """
        chain = []
        while self.graph.nodes[value].op == "update":
            chain.append(value)
            value = self.graph.nodes[value].inputs[0]
        if value != state or not chain:
            return
        for old, new in zip((state, *chain[:0:-1]), chain[::-1], strict=True):
            for seen in self.seen(old):
                later = any(reader > new for reader in self.users[seen])
                if later or seen in self.graph.kept() or seen in self.graph.nodes[new].inputs[1:]:
                    return
        for number in chain:
            self.places[number] = self.places[state]

    def seen(self, value: int) -> list[int]:
        """`value` and the views of it."""
        found = [value]
        for user in self.users[value]:
            if self.graph.nodes[user].op in VIEWS:
                found += self.seen(user)
        return found

    # -- steps in order ----------------------------------------------------------------------------------------

    def step(self, kind: str, node: int, reads: Sequence[Access], writes: Sequence[Access]) -> None:
        if not any(access.type.size for access in writes):
            return  # there is nothing to write
        number = len(self.result.steps)
        for access in (*reads, *writes):
            buffer = self.result.buffers[access.buffer]
            buffer.first, buffer.last = min(buffer.first, number), max(buffer.last, number)
        self.result.steps.append(Step(kind, node, tuple(reads), tuple(writes)))

    def natural(self, value: int) -> Access:
        """A new buffer in the order in which the value's readers want it."""
        node = self.graph.nodes[value]
        orders = {
            tuple(self.graph.nodes[u].attributes["permutation"]) if self.graph.nodes[u].op == "transpose" else None
            for u in self.users[value]
        }
        order = orders.pop() if len(orders) == 1 else None
        if order is not None and order[-1] != len(order) - 1:
            order = None  # kernels write vectors along the last axis
        return self.fresh(node.type, order=order)

    def settle(self, value: int) -> Access:
        if value not in self.places:
            self.places[value] = self.natural(value)
        return self.places[value]

    def run(self) -> Layout:
        graph = self.graph
        self.demand()
        for number, node in enumerate(graph.nodes):
            if node.op in ("input", "project"):
                continue
            if node.op == "constant":
                self.places[number] = self.fresh(node.type, "constant", node.attributes["key"])
                continue
            if node.op in VIEWS:
                self.place_view(number, node)
                continue
            reads = [self.places[i] for i in node.inputs]
            if node.op == "concatenate":
                for read, part in zip(reads, self.parts(node, self.places[number]), strict=True):
                    if not read.same(part):
                        self.step("copy", number, [read], [part])
            elif node.op == "pad":
                part = self.parts(node, self.places[number])[0]
                self.step("fill", number, [], self.border(node, self.places[number]))
                if not reads[0].same(part):
                    self.step("copy", number, reads, [part])
            elif node.op == "update":
                if number not in self.places:
                    self.places[number] = self.fresh(node.type)
                    self.step("copy", number, [reads[0]], [self.places[number]])
                elif not self.places[number].same(reads[0]):
                    self.step("copy", number, [reads[0]], [self.places[number]])
                self.step("update", number, [reads[1], reads[2]], [self.places[number]])
            elif node.op == "fused":
                outputs = [number] + [
                    u
                    for u in self.users[number]
                    if graph.nodes[u].op == "project" and graph.nodes[u].inputs == (number,)
                ]
                outputs.sort(key=lambda v: graph.nodes[v].attributes.get("index", 0))
                count = len(node.attributes["body"].outputs)
                indices = [graph.nodes[v].attributes.get("index", 0) if v != number else 0 for v in outputs]
                assert indices == list(range(count)), "every output of a region has its projection"
                self.step(node.attributes["kind"], number, reads, [self.settle(v) for v in outputs])
            else:
                self.step(node.op, number, reads, [self.settle(number)])
        self.finish()
        return self.result

    def place_view(self, number: int, node: Node) -> None:
        source = self.places[node.inputs[0]]
        seen = view(node, source)
        if seen is None:
            dense = self.fresh(source.type)
            self.step("copy", number, [source], [dense])
            seen = view(node, dense)
            assert seen is not None
        self.places[number] = seen

    def border(self, node: Node, place: Access) -> list[Access]:
        """Parts of a padded tensor that are not its operand; together with it they cover it once."""
        low, high, slabs = node.attributes["low"], node.attributes["high"], []
        begin, end = [0] * len(low), list(place.shape)
        for axis in range(len(low)):
            for a, b in ((0, low[axis]), (place.shape[axis] - high[axis], place.shape[axis])):
                if a < b:
                    starts, stops = list(begin), list(end)
                    starts[axis], stops[axis] = a, b
                    offset = place.offset + sum(x * s for x, s in zip(starts, place.strides, strict=True))
                    shape = tuple(y - x for x, y in zip(starts, stops, strict=True))
                    slabs.append(Access(place.buffer, offset, place.strides, Tensor(place.type.dtype, shape)))
            begin[axis], end[axis] = low[axis], place.shape[axis] - high[axis]
        return slabs

    def finish(self) -> None:
        """Copies what is not yet where outputs and states must be."""
        for name, value in self.graph.outputs:
            if not self.places[value].same(self.result.outputs[name]):
                self.step("copy", value, [self.places[value]], [self.result.outputs[name]])
        memory = {place.buffer for place in self.result.states.values()}
        for name, value in self.graph.states:
            # A state that becomes what another was (or a part of itself) is taken out before any is written over.
            place = self.places[value]
            if place.buffer in memory and not place.same(self.result.states[name]):
                self.places[value] = self.fresh(place.type)
                self.step("copy", value, [place], [self.places[value]])
        for name, value in self.graph.states:
            if not self.places[value].same(self.result.states[name]):
                self.step("copy", value, [self.places[value]], [self.result.states[name]])
        last = len(self.result.steps)
        for buffer in self.result.buffers:
            if buffer.kind != "arena":
                buffer.first, buffer.last = 0, last


def lay_out(graph: Graph) -> Layout:
    """Buffers and steps of a fused graph."""
    return _Layouts(graph).run()
