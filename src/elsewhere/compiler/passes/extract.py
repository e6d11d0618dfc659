"""A set of values cut out of a graph as a body of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.rewrite import copy


def external(graph: Graph, members: Iterable[int]) -> list[int]:
    """Values read by `members` and made elsewhere, ascending. Small constants are copied into bodies instead."""
    inside = set(members)
    found = {i for m in inside for i in graph.nodes[m].inputs if i not in inside and not _inline(graph, i)}
    return sorted(found)


def _inline(graph: Graph, value: int) -> bool:
    node = graph.nodes[value]
    if node.op == "broadcast":
        return _inline(graph, node.inputs[0])
    return node.op == "constant" and node.type.size == 1


def extract(graph: Graph, members: Iterable[int], inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    """Body with inputs named in0, in1, … and outputs out0, out1, …"""
    builder = Builder()
    new: dict[int, int] = {}
    for number, value in enumerate(inputs):
        type_ = graph.nodes[value].type
        new[value] = builder.input(f"in{number}", type_.dtype, type_.shape)

    def bring(value: int) -> int:
        node = graph.nodes[value]
        if value not in new and node.op == "constant":
            new[value] = builder.keep(graph, node)
        elif value not in new:
            builder.place = node.place
            new[value] = copy(builder, node, [bring(i) for i in node.inputs])
        return new[value]

    for value in sorted(members):
        bring(value)
    for number, value in enumerate(outputs):
        builder.output(f"out{number}", bring(value))
    return builder.graph()
