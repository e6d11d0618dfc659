"""Drops values that nothing reads, and makes equal values once."""

from __future__ import annotations

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.rewrite import copy


def remove_dead(graph: Graph) -> Graph:
    """The same outputs and states. Inputs stay even if unread: they are the program's signature. Changes no bits."""
    live = [node.op == "input" for node in graph.nodes]
    for value in graph.kept():
        live[value] = True
    for number in range(len(graph.nodes) - 1, -1, -1):
        if live[number]:
            for source in graph.nodes[number].inputs:
                live[source] = True
    builder = Builder()
    new: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        if not live[number]:
            continue
        builder.place = node.place
        if node.op == "constant":
            new[number] = builder.keep(graph, node)
        else:
            new[number] = copy(builder, node, [new[i] for i in node.inputs])
    for name, value in graph.outputs:
        builder.output(name, new[value])
    for name, value in graph.states:
        builder.state(name, new[value])
    return builder.graph()
