"""Rebuilding a graph node by node: the frame that passes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node

Change = Callable[[Builder, Node, tuple[int, ...]], int | None]
"""Gets the new graph so far, an old node and its new operands; returns the new value, or None to copy the node."""


def rebuild(graph: Graph, change: Change) -> Graph:
    """A new graph in which `change` was asked about every node that is no input or constant."""
    builder = Builder()
    new: list[int] = []
    for node in graph.nodes:
        builder.place = node.place
        operands = tuple(new[i] for i in node.inputs)
        value = None
        if node.op == "constant":
            value = builder.keep(graph, node)
        elif node.op != "input":
            value = change(builder, node, operands)
        new.append(copy(builder, node, operands) if value is None else value)
    for name, old in graph.outputs:
        builder.output(name, new[old])
    for name, old in graph.states:
        builder.state(name, new[old])
    return builder.graph()


def copy(builder: Builder, node: Node, operands: Sequence[int]) -> int:
    """The same operation on new operands, through the builder's simplifications where it has any."""
    if node.op == "reshape":
        return builder.reshape(operands[0], node.attributes["shape"])
    if node.op == "transpose":
        return builder.transpose(operands[0], node.attributes["permutation"])
    if node.op == "broadcast":
        return builder.broadcast(operands[0], node.attributes["shape"])
    return builder.add(node.op, operands, **node.attributes)
