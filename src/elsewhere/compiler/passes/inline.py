"""One graph's nodes inside another that is being built."""

from __future__ import annotations

from collections.abc import Mapping

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.rewrite import copy


def inline(builder: Builder, graph: Graph, given: Mapping[str, int]) -> dict[str, int]:
    """Adds `graph` to `builder`; gives the values of its outputs.

    Inputs named in `given` are those values of the builder; the others become inputs of the same name. States stay
    states. Raises ValueError for a value of another type than the input's.
    """
    new: list[int] = []
    for node in graph.nodes:
        builder.place = node.place
        if node.op == "constant":
            new.append(builder.keep(graph, node))
        elif node.op == "input" and node.attributes["name"] in given:
            value = given[node.attributes["name"]]
            if builder.type(value) != node.type:
                raise ValueError(f"input {node.attributes['name']!r} must be {node.type}, got {builder.type(value)}")
            new.append(value)
        else:
            new.append(copy(builder, node, [new[i] for i in node.inputs]))
    for name, value in graph.states:
        builder.state(name, new[value])
    return {name: new[value] for name, value in graph.outputs}
