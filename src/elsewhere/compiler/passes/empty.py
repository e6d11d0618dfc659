"""Values without elements become constants, so that no later pass, plan or kernel meets a length of 0."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild


def drop_empty(graph: Graph) -> Graph:
    """The same values; nothing is calculated that has no elements or is made from none. Changes no bits."""
    if all(node.type.size for node in graph.nodes):
        return graph
    return rebuild(graph, _change)


def _change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    if not node.type.size:
        return builder.constant(np.zeros(node.type.shape), node.type.dtype)
    if all(builder.type(v).size for v in operands):
        return None
    if node.op == "concatenate":
        return builder.concatenate([v for v in operands if builder.type(v).size], node.attributes["axis"])
    if node.op == "update":
        return operands[0]
    # What remains are sums of nothing, and borders around nothing.
    number = node.attributes["value"] if node.op == "pad" else 0.0
    one = builder.constant(np.full((1,) * len(node.type.shape), number), node.type.dtype)
    assert node.op in ("pad", "reduce", "matmul", "convolution"), node.op
    return builder.broadcast(one, node.type.shape)
