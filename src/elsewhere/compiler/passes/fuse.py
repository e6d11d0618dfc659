"""Groups values into regions, each of which becomes one kernel.

A region is grown in the order of the graph. `contract` regions start at a product and take in the elementwise
values that follow; `rows` regions hold elementwise values and reductions along the last axis; `map` regions only
elementwise values. A value joins a region that made one of its operands if their elements correspond one to one
and no cycle arises. Bodies hold the same primitives as before, so that the oracle runs them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.extract import external, extract
from elsewhere.compiler.passes.rewrite import copy

ELEMENTWISE = ("unary", "binary", "select", "cast")


def refine(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The coarsest lengths into which all of `shapes` (of one size) split, or None if there are none.

    (128, 192) and (2, 64, 192) refine to (2, 64, 192).
    """
    cuts: set[int] = set()
    for shape in shapes:
        tail = 1
        for n in reversed(shape):
            cuts.add(tail)
            tail *= n
        cuts.add(tail)
    steps = sorted(cuts)
    if any(b % a for a, b in pairwise(steps)):
        return None
    return tuple(b // a for a, b in pairwise(steps))[::-1]


@dataclass(slots=True)
class _Unit:
    """A region, or a single node that belongs to none (kind '')."""

    kind: str
    members: list[int]
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    before: int = 0  # bit set of units that must run earlier
    merged: int | None = None


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.users = graph.users()
        self.units: list[_Unit] = []
        self.of: list[int] = [-1] * len(graph.nodes)

    def unit(self, value: int) -> int:
        number = self.of[value]
        while (merged := self.units[number].merged) is not None:
            number = merged
        return number

    def new(self, kind: str, members: Sequence[int]) -> int:
        number = len(self.units)
        inside = set(members)
        shapes = {self.graph.nodes[members[-1]].type.shape} if kind else set()
        self.units.append(_Unit(kind, list(members), shapes))
        for m in members:
            self.of[m] = number
        self.units[number].before = self.behind(
            i for m in members for i in self.graph.nodes[m].inputs if i not in inside
        )
        return number

    def behind(self, values: object) -> int:
        """Units that must run before something that reads `values`."""
        bits = 0
        for value in values:  # type: ignore[attr-defined]
            number = self.unit(value)
            bits |= self.units[number].before | 1 << number
        return bits

    def peel(self, value: int) -> int:
        """The value under reshapes."""
        while self.graph.nodes[value].op == "reshape":
            value = self.graph.nodes[value].inputs[0]
        return value

    # -- growing ------------------------------------------------------------------------------------------------

    def sources(self, node: Node) -> list[int]:
        """Regions that made an operand of `node`, latest first."""
        found = {self.unit(self.peel(i)) for i in node.inputs}
        return sorted((u for u in found if self.units[u].kind in ("contract", "rows", "map")), reverse=True)

    def joinable(self, number: int, value: int) -> bool:
        unit, node = self.units[number], self.graph.nodes[value]
        shape = node.type.shape
        full = next(iter(unit.shapes))
        if node.op == "reduce":
            if unit.kind == "contract" or node.attributes["axes"] != (len(shape) - 1,):
                return False
            shape = self.graph.nodes[node.inputs[0]].type.shape
            if any(s[-1:] != shape[-1:] for s in unit.shapes):
                return False
        elif node.op == "broadcast":
            same = shape[-1:] == full[-1:] and math.prod(shape) == math.prod(full)
            return unit.kind == "rows" and same and self.row_scalar(unit, self.graph.nodes[node.inputs[0]].type.shape)
        if unit.kind == "rows" and self.row_scalar(unit, shape):
            return True
        if math.prod(shape) != math.prod(full) or (unit.kind != "map" and shape[-1:] != full[-1:]):
            return False
        if (
            unit.kind == "contract"
            and self.users[value]
            and all(self.graph.nodes[u].op == "reduce" for u in self.users[value])
        ):
            return False
        return refine([*unit.shapes, shape]) is not None

    def row_scalar(self, unit: _Unit, shape: tuple[int, ...]) -> bool:
        """Whether `shape` holds one number a row of the region."""
        full = next(iter(unit.shapes))
        return shape[-1:] == (1,) and full[-1:] not in ((), (1,)) and math.prod(shape) * full[-1] == math.prod(full)

    def acyclic(self, number: int, values: Sequence[int]) -> bool:
        """Whether reading `values` from inside unit `number` leaves no cycle."""
        for value in values:
            other = self.unit(value)
            if other != number and self.units[other].before >> number & 1:
                return False
        return True

    def outside(self, number: int, node: Node) -> list[int]:
        """Operands of `node` that the region would read from memory (reshapes of its own values are its own)."""
        return [i for i in node.inputs if self.unit(self.peel(i)) != number]

    def join(self, number: int, value: int) -> None:
        unit, node = self.units[number], self.graph.nodes[value]
        unit.members.append(value)
        self.of[value] = number
        if node.op == "reduce":
            unit.kind = "rows"
        elif node.op != "broadcast" and not (unit.kind == "rows" and self.row_scalar(unit, node.type.shape)):
            unit.shapes.add(node.type.shape)
        self.extend(number, self.behind(self.outside(number, node)))

    def extend(self, number: int, bits: int) -> None:
        """`number`, and all that run after it, run after `bits`."""
        bits &= ~(1 << number)
        self.units[number].before |= bits
        for other in self.units:
            if other.before >> number & 1:
                other.before |= bits

    def merge(self, into: int, other: int) -> None:
        """Makes two map or rows regions one where their elements correspond and no cycle arises."""
        a, b = self.units[into], self.units[other]
        if not {a.kind, b.kind} <= {"map", "rows"}:
            return
        shapes = [*a.shapes, *b.shapes]
        if len({math.prod(s) for s in shapes}) > 1 or refine(shapes) is None:
            return
        if "rows" in (a.kind, b.kind) and len({s[-1:] for s in shapes}) > 1:
            return
        for number, unit, twin in ((into, a, other), (other, b, into)):
            for m in unit.members:
                for i in self.outside(number, self.graph.nodes[m]):
                    if self.unit(self.peel(i)) != twin and self.units[self.unit(i)].before >> twin & 1:
                        return
        a.kind = "rows" if "rows" in (a.kind, b.kind) else "map"
        a.members = sorted({*a.members, *b.members})
        a.shapes |= b.shapes
        b.merged = into
        bits = (a.before | b.before) & ~(1 << into | 1 << other | self.between(into))
        a.before = bits
        for unit in self.units:
            if unit.before >> other & 1 or unit.before >> into & 1:
                unit.before |= bits | 1 << into

    def between(self, number: int) -> int:
        """Reshapes that members read of members: the region holds them itself and need not wait for them."""
        bits = 0
        for m in self.units[number].members:
            for i in self.graph.nodes[m].inputs:
                while self.graph.nodes[i].op == "reshape" and self.unit(self.peel(i)) == number:
                    bits |= 1 << self.unit(i)
                    i = self.graph.nodes[i].inputs[0]
        return bits

    def place(self, value: int) -> None:
        node = self.graph.nodes[value]
        if self.of[value] >= 0:
            return
        if node.op in ("matmul", "convolution"):
            self.new("contract", [value])
            return
        along_last = node.op == "reduce" and node.attributes["axes"] == (len(node.type.shape) - 1,)
        if not (node.op in (*ELEMENTWISE, "broadcast") or along_last):
            self.new("", [value])
            return
        for number in self.sources(node):
            if self.joinable(number, value) and self.acyclic(number, self.outside(number, node)):
                self.join(number, value)
                for other in self.sources(node):
                    if other != number:
                        self.merge(number, other)
                return
        if node.op == "broadcast":
            self.new("", [value])
        else:
            number = self.new("rows" if along_last else "map", [value])
            if along_last:
                self.units[number].shapes = {self.graph.nodes[node.inputs[0]].type.shape}

    # -- the new graph ------------------------------------------------------------------------------------------

    def build(self) -> Graph:
        graph, builder = self.graph, Builder()
        alive = [n for n, u in enumerate(self.units) if u.merged is None]
        new: dict[int, int] = {}
        done = 0
        waiting = sorted(alive, key=lambda n: max(self.units[n].members))
        while waiting:
            ready = next(n for n in waiting if not self.units[n].before & ~done & self._mask(alive))
            waiting.remove(ready)
            self.emit(builder, self.units[ready], new)
            done |= 1 << ready
        for name, value in graph.outputs:
            builder.output(name, new[value])
        for name, value in graph.states:
            builder.state(name, new[value])
        return builder.graph()

    def _mask(self, alive: Sequence[int]) -> int:
        if not hasattr(self, "_bits"):
            self._bits = sum(1 << n for n in alive)
        return self._bits

    def emit(self, builder: Builder, unit: _Unit, new: dict[int, int]) -> None:
        graph = self.graph
        if not unit.kind:
            (value,) = unit.members
            node = graph.nodes[value]
            builder.place = node.place
            if node.op == "reshape" and node.inputs[0] not in new:
                return  # read only inside the region that made its operand
            if node.op == "fused":
                new[value] = builder.add("fused", [new[i] for i in node.inputs], node.place, **node.attributes)
            elif node.op == "constant":
                new[value] = builder.keep(graph, node)
            else:
                new[value] = copy(builder, node, [new[i] for i in node.inputs])
            return
        number = self.unit(unit.members[0])
        members = set(unit.members)
        for m in unit.members:  # reshapes between members become members
            for i in graph.nodes[m].inputs:
                while i not in members and graph.nodes[i].op == "reshape" and self.unit(self.peel(i)) == number:
                    members.add(i)
                    i = graph.nodes[i].inputs[0]
        if unit.kind == "map":
            members |= self.enlargements(unit, members)
        inputs = external(graph, members)
        kept = graph.kept()
        inside = set(unit.members)
        outputs = [
            m
            for m in sorted(inside)
            if m in kept or any(u not in inside and not self.absorbed(u, members, inside) for u in self.users[m])
        ]
        if not outputs:
            return  # nothing reads it
        body = extract(graph, members, inputs, outputs)
        root = graph.nodes[max(inside)]
        place = next((graph.nodes[m].place for m in sorted(inside) if graph.nodes[m].place), root.place)
        values = builder.fused(unit.kind, [new[i] for i in inputs], body, place)
        new.update(zip(outputs, values, strict=True))

    def enlargements(self, unit: _Unit, members: set[int]) -> set[int]:
        """Reshapes of broadcasts that members read: in the region's finest lengths they are views."""
        found: set[int] = set()
        shapes = list(unit.shapes)
        for m in sorted(members):
            for i in self.graph.nodes[m].inputs:
                node = self.graph.nodes[i]
                if i in members or node.op != "reshape" or self.graph.nodes[node.inputs[0]].op != "broadcast":
                    continue
                source = self.graph.nodes[node.inputs[0]].type.shape
                if refine([*shapes, source]) is not None:
                    shapes.append(source)
                    found.add(i)
        return found

    def absorbed(self, user: int, members: set[int], inside: set[int]) -> bool:
        """Whether `user` is a reshape that is read only inside the region."""
        if user not in members or user in self.graph.kept():
            return False
        return all(u in inside or self.absorbed(u, members, inside) for u in self.users[user])


def fuse(graph: Graph) -> Graph:
    """Regions for everything that is calculated; views and moves of data stay nodes of their own."""
    fusion = _Fusion(graph)
    for value in range(len(graph.nodes)):
        fusion.place(value)
    return fusion.build()
