"""Makes the zero padding of convolutions and pools a `pad` of its own, so that kernels read without asking."""

from __future__ import annotations

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild


def expose_padding(graph: Graph) -> Graph:
    """convolution and pool without padding of their own."""
    return rebuild(graph, _change)


def _change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    if node.op not in ("convolution", "pool") or not any(n for pair in node.attributes["padding"] for n in pair):
        return None
    low = (0, *(a for a, _ in node.attributes["padding"]), 0)
    high = (0, *(b for _, b in node.attributes["padding"]), 0)
    lowest = node.op == "pool" and node.attributes["function"] == "max"
    padded = builder.pad(operands[0], low, high, float("-inf") if lowest else 0.0)
    attributes = {**node.attributes, "padding": tuple((0, 0) for _ in node.attributes["padding"])}
    return builder.add(node.op, (padded, *operands[1:]), **attributes)
