"""Which elementwise values are calculated in one pass through the vector unit: trees of operations of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.tsp.program import WIDTH

ELEMENTWISE = ("unary", "binary", "select", "cast")


@dataclass(slots=True)
class Region:
    """Operations in order; the last is the root. `product` is a matmul whose results come straight from its plane."""

    root: int
    members: list[int]
    operands: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    """Members but the root whose values are needed outside too."""
    product: int = -1
    product_leaf: int = -1
    """The operand (the product or a reshape of it) that the product stands for."""


def number_of(graph: Graph, value: int) -> float | None:
    """The number of a constant that is one number repeated."""
    node = graph.nodes[value]
    while node.op in ("broadcast", "reshape"):
        node = graph.nodes[node.inputs[0]]
    if node.op != "constant" or node.type.size != 1:
        return None
    number = float(graph.constants[node.attributes["key"]].ravel()[0])
    return number if np.float32(number) == number or node.type.dtype == "f32" else None


def find_regions(graph: Graph, largest: int, streams: int) -> dict[int, Region]:
    """Regions by their root. Every elementwise value is in one."""
    users, kept = graph.users(), graph.kept()
    taken: set[int] = set()
    found: dict[int, Region] = {}
    for value in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[value]
        if node.op in ELEMENTWISE and value not in taken:
            region = _grow(graph, users, kept, taken, value, largest, streams)
            found[value] = region
            taken.update(region.members)
    return found


def _grow(
    graph: Graph,
    users: Sequence[Sequence[int]],
    kept: set[int],
    taken: set[int],
    root: int,
    largest: int,
    streams: int,
) -> Region:
    members = {root}
    shape = graph.nodes[root].type.shape
    changed = True
    while changed:
        changed = False
        for operand in sorted({i for m in members for i in graph.nodes[m].inputs}, reverse=True):
            node = graph.nodes[operand]
            if operand in members or operand in taken or node.op not in ELEMENTWISE:
                continue
            outside = [u for u in users[operand] if u not in members]
            if node.type.shape != shape or any(u < root for u in outside):
                continue
            if (
                node.type.dtype == "i8"
                and _has_product(graph, operand)
                and any(
                    _has_product(graph, i)
                    for m in members
                    for i in graph.nodes[m].inputs
                    if i not in members | {operand}
                )
            ):
                continue  # a byte of another product is read with less than its sums
            if (outside or operand in kept) and _extra(users, kept, members, root):
                continue
            if len(members) >= largest or _streams(graph, members | {operand}) > streams:
                continue
            members.add(operand)
            changed = True
    region = Region(root, sorted(members))
    region.operands = _operands(graph, members)
    region.extra = _extra(users, kept, members, root)
    _take_product(graph, users, kept, region)
    return region


def _has_product(graph: Graph, value: int) -> bool:
    """Whether a value is calculated element by element from a product."""
    waiting, seen = [value], {value}
    while waiting:
        node = graph.nodes[waiting.pop()]
        if node.op == "matmul":
            return True
        if node.op in ELEMENTWISE or node.op == "reshape":
            waiting += [i for i in node.inputs if i not in seen]
            seen.update(node.inputs)
    return False


def _extra(users: Sequence[Sequence[int]], kept: set[int], members: set[int], root: int) -> list[int]:
    return [m for m in sorted(members - {root}) if m in kept or any(u not in members for u in users[m])]


def _operands(graph: Graph, members: set[int]) -> list[int]:
    return sorted({i for m in members for i in graph.nodes[m].inputs if i not in members})


def _streams(graph: Graph, members: set[int]) -> int:
    return sum(WIDTH[graph.nodes[i].type.dtype] for i in _operands(graph, members) if number_of(graph, i) is None)


def _take_product(graph: Graph, users: Sequence[Sequence[int]], kept: set[int], region: Region) -> None:
    for operand in region.operands:
        value, node = operand, graph.nodes[operand]
        alone = operand not in kept and all(u in region.members for u in users[operand])
        while alone and node.op == "reshape" and node.type.shape[-1:] == graph.nodes[node.inputs[0]].type.shape[-1:]:
            value = node.inputs[0]
            node = graph.nodes[value]
            alone = value not in kept and len(users[value]) == 1
        if alone and node.op == "matmul" and node.type.shape[-1] > 1:
            region.product, region.product_leaf = value, operand
            return


def functions(node: Node) -> str:
    """The vector unit's name for a node."""
    return node.op if node.op in ("select", "cast") else str(node.attributes["function"])
