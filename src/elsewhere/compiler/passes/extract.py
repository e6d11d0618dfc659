"""A set of values cut out of a graph as a body of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.rewrite import copy

PRODUCTS = ("matmul", "convolution")


def external(graph: Graph, members: Iterable[int]) -> list[int]:
    """Values read by `members` and made elsewhere, ascending. Single numbers are copied into bodies instead, but for
    the operands of products: these come from memory.
    """
    inside, found = set(members), set()
    for m in inside:
        node = graph.nodes[m]
        found |= {i for i in node.inputs if i not in inside and (node.op in PRODUCTS or not _inline(graph, i))}
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

    def small(value: int) -> int:
        node = graph.nodes[value]
        if node.op == "broadcast":
            return copy(builder, node, [small(node.inputs[0])])
        return builder.keep(graph, node)

    def bring(value: int) -> int:
        node = graph.nodes[value]
        if value not in new:
            builder.place = node.place
            product = node.op in PRODUCTS
            operands = [small(i) if _inline(graph, i) and not product else bring(i) for i in node.inputs]
            new[value] = copy(builder, node, operands)
        return new[value]

    for value in sorted(members):
        bring(value)
    for number, value in enumerate(outputs):
        builder.output(f"out{number}", bring(value))
    return builder.graph()
