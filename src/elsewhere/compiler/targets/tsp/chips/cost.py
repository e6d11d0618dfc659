"""Cycles that a plan is charged before anything is scheduled: a primitive's share on a chip, and exchanges.

Estimates only decide; what is reported are cycles of scheduled programs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.tsp.chips.sharding import SUM, State, local_shape
from elsewhere.compiler.targets.tsp.estimate import passes
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import WIDTH

WIDTHS = {**WIDTH, "bf16": 2}
FLOW = 60
"""Cycles from a flow's first read to its last write, where few rows follow."""
PRODUCT = 140
"""The same for a product, with its weights' loading."""
ABREAST = 4
"""Rows that flows through the vector unit move in a cycle, all units together."""
PASSES = 10
"""Flows that a sum or maximum along lanes takes, one after another."""


def vectors_of(shape: Sequence[int], dtype: str, lanes: int) -> int:
    """Rows of 320 bytes that a value of this shape fills."""
    columns = shape[-1] if shape else 1
    return math.prod(shape[:-1]) * -(-columns // lanes) * WIDTHS[dtype]


class Cost:
    """Prices for one graph on so many chips."""

    def __init__(self, graph: Graph, machine: TspMachine, chips: int) -> None:
        self.graph, self.machine, self.chips = graph, machine, chips

    def operation(self, node: Node, states: Sequence[State], state: State) -> float:
        """Cycles of one chip's share."""
        m, chips = self.machine, self.chips
        out = local_shape(node.type.shape, state if state != SUM else None, chips)
        given = [
            local_shape(self.graph.nodes[i].type.shape, s, chips) for i, s in zip(node.inputs, states, strict=True)
        ]
        if node.op == "matmul":
            half = self.graph.nodes[node.inputs[0]].type.dtype != "i8"
            batches = math.prod(out[:-2])
            cycles = batches * passes(out[-2], given[0][-1], out[-1], m, half=half) / m.planes
            return float(cycles + PRODUCT)
        if node.op == "convolution":
            inner = math.prod(given[1][:-1])
            half = self.graph.nodes[node.inputs[0]].type.dtype != "i8"
            return float(passes(math.prod(out[:-1]), inner, out[-1], m, half=half) / m.planes + PRODUCT)
        rows = math.prod(out[:-1]) * -(-(out[-1] if out else 1) // m.lanes)
        if node.op == "reduce":
            rows = math.prod(given[0][:-1]) * -(-given[0][-1] // m.lanes)
            return float(PASSES * (rows / ABREAST + FLOW))
        if node.op in ("unary", "binary", "select", "cast", "gather", "update", "pool"):
            return rows / ABREAST
        return 0.0

    def exchange(self, shape: Sequence[int], dtype: str) -> float:
        """Cycles until every chip has what all others send it, `shape` each."""
        m = self.machine
        return vectors_of(shape, dtype, m.lanes) * m.packet_time + m.packet_time + m.link_latency_high + FLOW

    def change(self, value: int, have: frozenset[State], want: State) -> tuple[float, frozenset[State]]:
        """Cycles to have a value in another state too, and all the states that it is in afterwards."""
        if want in have:
            return 0.0, have
        type_ = self.graph.nodes[value].type
        if None in have:
            return 1.0, have | {want}
        axis = next((s for s in sorted(have, key=str) if isinstance(s, int)), None)
        if axis is not None:
            cycles = self.exchange(local_shape(type_.shape, axis, self.chips), type_.dtype)
            return cycles, have | {None, want}
        assert SUM in have
        add = self.chips * vectors_of(type_.shape, "i8", self.machine.lanes) / ABREAST + FLOW
        if want is None:
            at_once = self.exchange(type_.shape, type_.dtype) + add
            best = scattered_axis(type_.shape, self.chips, type_.dtype, self.machine.lanes)
            if best is not None and (twice := self.in_two(type_.shape, type_.dtype, best)) < at_once:
                return twice, have | {best, None}
            return at_once, have | {None}
        part = local_shape(type_.shape, want, self.chips)
        return self.exchange(part, type_.dtype) + add / self.chips, have | {want}

    def in_two(self, shape: Sequence[int], dtype: str, axis: int) -> float:
        """Each chip adds up a share, then all get all shares."""
        part = local_shape(shape, axis, self.chips)
        add = self.chips * vectors_of(part, "i8", self.machine.lanes) / ABREAST + FLOW
        return 2 * self.exchange(part, dtype) + add


def scattered_axis(shape: Sequence[int], chips: int, dtype: str, lanes: int) -> int | None:
    """The axis along which shares take fewest vectors."""
    axes = [a for a in range(len(shape)) if shape[a] > 0 and shape[a] % chips == 0]
    return min(axes, key=lambda a: (vectors_of(local_shape(shape, a, chips), dtype, lanes), a), default=None)
