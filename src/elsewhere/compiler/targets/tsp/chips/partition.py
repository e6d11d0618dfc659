"""Deals any graph over the chips of a node: of all ways to deal each primitive, the cheapest chain that was found.

A beam search over states of living values weighs the cycles of a chip's share against those of the exchanges that it
asks for. Then one graph for each chip is written, with its own slices of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.spec import check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.rewrite import rebuild
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.targets.tsp.chips.cost import Cost, scattered_axis
from elsewhere.compiler.targets.tsp.chips.parts import Parts, add_send, sent_name, taken_name
from elsewhere.compiler.targets.tsp.chips.sharding import SUM, Option, State, local_attributes, local_shape, options
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine

Array = NDArray[Any]
BEAM = 24
FREE = ("constant", "broadcast", "reshape", "transpose")
"""What costs nothing if it comes from constants alone; each chip makes just the share it needs."""


class PartitionError(ValueError):
    """A number of chips, or a graph, that cannot be dealt."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What was chosen for a value, and the choice before."""

    value: int
    option: Option
    before: _Choice | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A chain of decisions: states in which living values are had, cycles so far, and what was chosen, newest first."""

    cycles: float
    have: dict[int, frozenset[State]]
    chosen: _Choice | None


def partition(graph: Graph, chips: int, machine: TspMachine = GROQCHIP1) -> Parts:
    """A graph for each of `chips`. Raises PartitionError for a number of chips that a node has not."""
    if not 1 <= chips <= machine.chips_per_node:
        raise PartitionError(f"chips must be from 1 to {machine.chips_per_node}, those of a node, got {chips}")
    for step in (fold_constants, sink_transposes, fold_constants, narrow_products, remove_dead):
        graph = check(step(graph), "imported")
    return _Writer(graph, chips, machine, _Search(graph, chips, machine).run()).run()


def narrow_products(graph: Graph) -> Graph:
    """Columns cut out of a product with constant weights become a product of their own, which chips can share."""
    return rebuild(graph, _narrowed)


def _narrowed(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    if node.op != "slice":
        return None
    shape = builder.shape(operands[0])
    starts, stops, steps = (node.attributes[n] for n in ("starts", "stops", "steps"))
    if any(a or b != n for a, b, n in zip(starts[:-1], stops[:-1], shape[:-1], strict=True)) or set(steps) != {1}:
        return None
    return _cut(builder, operands[0], starts[-1], stops[-1]) if _from_product(builder, operands[0]) else None


def _from_product(builder: Builder, value: int) -> bool:
    node = builder.nodes[value]
    if node.op == "matmul":
        return builder.nodes[node.inputs[1]].op == "constant"
    if node.op in ("unary", "binary", "cast", "select"):
        found = [_from_product(builder, i) for i in node.inputs if not _steady(builder, i)]
        return bool(found) and all(found)
    return False


def _steady(builder: Builder, value: int) -> bool:
    node = builder.nodes[value]
    return node.op == "constant" or (node.op == "broadcast" and builder.nodes[node.inputs[0]].op == "constant")


def _cut(builder: Builder, value: int, start: int, stop: int) -> int:
    node = builder.nodes[value]
    if node.op == "matmul":
        weights = builder.constants[builder.nodes[node.inputs[1]].attributes["key"]]
        kept = builder.constant(weights[..., start:stop], builder.type(node.inputs[1]).dtype)
        return builder.matmul(node.inputs[0], kept)
    if node.op == "constant":
        data = builder.constants[node.attributes["key"]]
        return builder.constant(data if data.shape[-1] == 1 else data[..., start:stop], node.type.dtype)
    if node.op == "broadcast":
        return builder.broadcast(_cut(builder, node.inputs[0], start, stop), (*node.type.shape[:-1], stop - start))
    return builder.add(node.op, [_cut(builder, i, start, stop) for i in node.inputs], **node.attributes)


class _Search:
    """Finds an option for every value."""

    def __init__(self, graph: Graph, chips: int, machine: TspMachine) -> None:
        self.graph, self.chips = graph, chips
        self.cost = Cost(graph, machine, chips)
        self.free = free_values(graph)
        self.kept = frozenset(n for n, _ in graph.states)
        users = graph.users()
        ends = graph.kept() | {i for n, i in graph.inputs.items() if n in self.kept}
        self.last = [len(graph.nodes) if i in ends else max(u, default=-1) for i, u in enumerate(users)]

    def run(self) -> dict[int, Option]:
        plans = [_Plan(0.0, {}, None)]
        for number, node in enumerate(self.graph.nodes):
            if self.free[number]:
                continue
            found: dict[object, _Plan] = {}
            choices = options(self.graph, node, self.chips, self.kept)
            for plan in plans:
                for choice in choices:
                    made = self.extend(plan, number, node, choice)
                    key = tuple(sorted(made.have.items(), key=lambda e: e[0]))
                    if key not in found or made.cycles < found[key].cycles:
                        found[key] = made
            plans = sorted(found.values(), key=lambda p: p.cycles)[:BEAM]
        best = min(plans, key=self.closed)
        chosen: dict[int, Option] = {}
        link = best.chosen
        while link is not None:
            chosen[link.value] = link.option
            link = link.before
        return chosen

    def extend(self, plan: _Plan, number: int, node: Node, choice: Option) -> _Plan:
        cycles, have = plan.cycles, dict(plan.have)
        for operand, want in zip(node.inputs, choice[0], strict=True):
            if not self.free[operand]:
                more, have[operand] = self.cost.change(operand, have[operand], want)
                cycles += more
        cycles += self.cost.operation(node, choice[0], choice[1])
        have[number] = frozenset([choice[1]])
        have = {v: s for v, s in have.items() if self.last[v] > number}
        return _Plan(cycles, have, _Choice(number, choice, plan.chosen))

    def closed(self, plan: _Plan) -> float:
        """With what it takes to end as it began."""
        cycles = plan.cycles
        for _, value in self.graph.outputs:
            if not self.free[value] and plan.have[value] == frozenset([SUM]):
                cycles += self.cost.change(value, plan.have[value], None)[0]
        for name, value in self.graph.states:
            given = plan.have[self.graph.inputs[name]]
            want = next((s for s in sorted(given, key=str) if s is not None), None)
            if not self.free[value]:
                cycles += self.cost.change(value, plan.have[value], want)[0]
        return cycles


def free_values(graph: Graph) -> list[bool]:
    found: list[bool] = []
    for node in graph.nodes:
        found.append(node.op in FREE and all(found[i] for i in node.inputs))
    return found


class _Writer:
    """Writes all chips' graphs at once."""

    def __init__(self, graph: Graph, chips: int, machine: TspMachine, chosen: dict[int, Option]) -> None:
        self.graph, self.chips, self.machine, self.chosen = graph, chips, machine, chosen
        self.cost = Cost(graph, machine, chips)
        self.free = free_values(graph)
        self.builders = [Builder() for _ in range(chips)]
        self.made: dict[tuple[int, State], list[int]] = {}
        self.exchanges = 0

    def run(self) -> Parts:
        split: dict[str, int | None] = {}
        for number, node in enumerate(self.graph.nodes):
            if self.free[number]:
                continue
            wanted, state = self.chosen[number]
            operands = [self.want(i, s) for i, s in zip(node.inputs, wanted, strict=True)]
            self.made[number, state] = self.put(node, operands, state)
            if node.op == "input":
                split[node.attributes["name"]] = state if isinstance(state, int) else None
        for name, value in self.graph.outputs:
            states = [s for v, s in self.made if v == value and s != SUM]
            state = None if None in states or not states else states[0]
            split[name] = state if isinstance(state, int) else None
            for builder, number in zip(self.builders, self.want(value, state), strict=True):
                builder.output(name, number)
        for name, value in self.graph.states:
            split[f"state:{name}"] = split[name]
            for builder, number in zip(self.builders, self.want(value, split[name]), strict=True):
                builder.state(name, number)
        graphs = tuple(check(remove_dead(b.graph()), "imported") for b in self.builders)
        return Parts(graphs=graphs, split=split, exchanges=self.exchanges)

    def put(self, node: Node, operands: Sequence[Sequence[int]], state: State) -> list[int]:
        shape = local_shape(node.type.shape, state, self.chips)
        made = []
        for chip, builder in enumerate(self.builders):
            builder.place = node.place
            mine = [o[chip] for o in operands]
            first = builder.shape(mine[0]) if mine else ()
            made.append(builder.add(node.op, mine, **local_attributes(node, shape, first, state)))
        return made

    def want(self, value: int, state: State) -> list[int]:
        """Each chip's number of a value in a state; exchanges are added where no chip has it so."""
        if (value, state) not in self.made:
            node = self.graph.nodes[value]
            for builder in self.builders:
                builder.place = node.place
            self.made[value, state] = self.share(node, state) if self.free[value] else self.changed(value, state)
        return self.made[value, state]

    def share(self, node: Node, state: State) -> list[int]:
        """A share of what comes from constants alone."""
        if node.op == "constant":
            data = self.graph.constants[node.attributes["key"]]
            cut = self.cut_constant(data, state)
            return [b.constant(d, node.type.dtype) for b, d in zip(self.builders, cut, strict=True)]
        for wanted, result in options(self.graph, node, self.chips):
            if result == state:
                return self.put(node, [self.want(i, s) for i, s in zip(node.inputs, wanted, strict=True)], state)
        whole = self.put(node, [self.want(i, None) for i in node.inputs], None)
        return self.sliced(whole, state)

    def cut_constant(self, data: Array, state: State) -> list[Array]:
        if not isinstance(state, int):
            return [data] * self.chips
        return [np.ascontiguousarray(part) for part in np.split(data, self.chips, state)]

    def sliced(self, numbers: Sequence[int], axis: State) -> list[int]:
        assert isinstance(axis, int)
        made = []
        for chip, (builder, number) in enumerate(zip(self.builders, numbers, strict=True)):
            each = builder.shape(number)[axis] // self.chips
            made.append(builder.narrow(number, axis, chip * each, (chip + 1) * each))
        return made

    def changed(self, value: int, state: State) -> list[int]:
        have = {s: n for (v, s), n in self.made.items() if v == value}
        type_ = self.graph.nodes[value].type
        if None in have:
            return self.sliced(have[None], state)
        axis = next((s for s in sorted(have, key=str) if isinstance(s, int)), None)
        if axis is not None:
            whole = self.gathered(have[axis], axis)
            self.made[value, None] = whole
            return whole if state is None else self.sliced(whole, state)
        parts = have[SUM]
        if isinstance(state, int):
            return self.scattered(parts, state)
        best = scattered_axis(type_.shape, self.chips, type_.dtype, self.machine.lanes)
        whole_cost = self.cost.exchange(type_.shape, type_.dtype)
        if best is not None and self.cost.in_two(type_.shape, type_.dtype, best) < whole_cost:
            self.made[value, best] = self.scattered(parts, best)
            return self.gathered(self.made[value, best], best)
        return self.added(parts)

    # -- exchanges ------------------------------------------------------------------------------------------------

    def number(self) -> int:
        self.exchanges += 1
        return self.exchanges - 1

    def arrivals(self, exchange: int, dtype: str, shape: Sequence[int]) -> list[list[int]]:
        """For each chip what comes from all chips, in their order."""
        return [[b.input(taken_name(exchange, c), dtype, shape) for c in range(self.chips)] for b in self.builders]

    def gathered(self, parts: Sequence[int], axis: int) -> list[int]:
        """All-gather: every chip gets every chip's share, and joins them."""
        exchange = self.number()
        first = self.builders[0]
        for builder, part in zip(self.builders, parts, strict=True):
            add_send(builder, sent_name(exchange), part)
        came = self.arrivals(exchange, first.type(parts[0]).dtype, first.shape(parts[0]))
        return [b.concatenate(mine, axis) for b, mine in zip(self.builders, came, strict=True)]

    def added(self, parts: Sequence[int]) -> list[int]:
        """All-reduce in one step: every chip gets all parts, and adds them in the order of the chips."""
        exchange = self.number()
        first = self.builders[0]
        for builder, part in zip(self.builders, parts, strict=True):
            add_send(builder, sent_name(exchange), part)
        came = self.arrivals(exchange, first.type(parts[0]).dtype, first.shape(parts[0]))
        return self.sums(came)

    def scattered(self, parts: Sequence[int], axis: int) -> list[int]:
        """Reduce-scatter: chip j gets all chips' shares number j, and adds them in the order of the chips."""
        exchange = self.number()
        first = self.builders[0]
        each = first.shape(parts[0])[axis] // self.chips
        for builder, part in zip(self.builders, parts, strict=True):
            for other in range(self.chips):
                share = builder.narrow(part, axis, other * each, (other + 1) * each)
                add_send(builder, sent_name(exchange, other), share)
        shape = local_shape(first.shape(parts[0]), axis, self.chips)
        return self.sums(self.arrivals(exchange, first.type(parts[0]).dtype, shape))

    def sums(self, came: Sequence[Sequence[int]]) -> list[int]:
        made = []
        for builder, mine in zip(self.builders, came, strict=True):
            total = mine[0]
            for part in mine[1:]:
                total = builder.binary("add", total, part)
            made.append(total)
        return made
