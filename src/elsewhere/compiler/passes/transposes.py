"""Moves transposes towards the outputs, where they meet their inverses and vanish.

What remains of a network that was written channels-first is channels-last inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild

ROUNDS = 12
"""Each round moves every transpose by at least one node; a round that changes nothing ends it."""

Order = tuple[int, ...]


def sink_transposes(graph: Graph) -> Graph:
    """The same values with transposes as late as they can be. Changes no bits."""
    for _ in range(ROUNDS):
        before = [(n.op, n.inputs) for n in graph.nodes]
        graph = rebuild(graph, _change)
        if [(n.op, n.inputs) for n in graph.nodes] == before:
            break
    return graph


def inverse(order: Order) -> Order:
    return tuple(int(i) for i in np.argsort(order))


def _order(builder: Builder, value: int) -> Order | None:
    node = builder.nodes[value]
    return tuple(node.attributes["permutation"]) if node.op == "transpose" else None


def _strip(builder: Builder, value: int, order: Order) -> int:
    """The value x for which transpose(x, order) is `value`."""
    node = builder.nodes[value]
    back = inverse(order)
    if node.op == "constant":
        return builder.constant(builder.constants[node.attributes["key"]].transpose(back), node.type.dtype)
    if node.op == "broadcast":
        source = _strip(builder, node.inputs[0], order)
        return builder.broadcast(source, tuple(node.type.shape[i] for i in back))
    return builder.transpose(value, back)


def _change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    orders = [_order(builder, v) for v in operands]
    order = next((o for o in orders if o is not None), None)
    if order is None:
        return None
    if node.op in ("unary", "cast", "binary", "select", "concatenate"):
        return _elementwise(builder, node, operands, order)
    if orders[0] is None:
        return None
    source = builder.nodes[operands[0]].inputs[0]
    if node.op == "reduce":
        axes = tuple(sorted(order[a] for a in node.attributes["axes"]))
        return builder.transpose(
            builder.add("reduce", (source,), function=node.attributes["function"], axes=axes), order
        )
    if node.op in ("slice", "pad"):
        back = inverse(order)
        moved: dict[str, Any] = {
            k: v if k == "value" else tuple(v[i] for i in back) for k, v in node.attributes.items()
        }
        return builder.transpose(builder.add(node.op, (source,), **moved), order)
    if node.op == "broadcast":
        shape = tuple(node.type.shape[i] for i in inverse(order))
        return builder.transpose(builder.broadcast(source, shape), order)
    if node.op == "reshape":
        return _reshape(builder, node, operands[0], source, order)
    return None


def _elementwise(builder: Builder, node: Node, operands: Sequence[int], order: Order) -> int | None:
    stripped = [_strip(builder, v, order) for v in operands]
    attributes = dict(node.attributes)
    if node.op == "concatenate":
        if any(_order(builder, v) is None and builder.nodes[v].op != "constant" for v in operands):
            return None
        attributes["axis"] = order[attributes["axis"]]
    return builder.transpose(builder.add(node.op, stripped, **attributes), order)


def _reshape(builder: Builder, node: Node, value: int, source: int, order: Order) -> int | None:
    """reshape(transpose(x)) as transpose(reshape(x)) where each group of axes stays together."""
    groups = axis_groups(builder.shape(value), node.type.shape)
    if groups is None:
        return None
    moved: list[tuple[int, tuple[int, ...], list[int]]] = []
    for inside, outside in groups:
        axes = [order[i] for i in inside]
        real = [a for a in axes if builder.shape(source)[a] != 1]
        if any(b != a + 1 for a, b in pairwise(real)):
            return None
        if not axes:
            return None
        anchor = real[0] if real else axes[0]
        moved.append((anchor, tuple(axes), list(outside)))
    moved.sort(key=lambda m: m[0])
    covered = [a for _, axes, _ in moved for a in axes if builder.shape(source)[a] != 1]
    if covered != sorted(covered):
        return None
    shape = [node.type.shape[i] for _, _, outside in moved for i in outside]
    places = [i for _, _, outside in moved for i in outside]
    return builder.transpose(builder.reshape(source, shape), inverse(tuple(places)))


def axis_groups(a: Sequence[int], b: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """Pairs (axes of `a`, axes of `b`) that hold the same elements, or None for empty tensors.

    Axes of length 1 join the group before them (or the first).
    """
    if 0 in a or 0 in b:
        return None
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(a) or j < len(b):
        inside, outside, x, y = [], [], 1, 1
        while True:
            if x == y and x > 1:
                break
            if x <= y and i < len(a):
                x *= a[i]
                inside.append(i)
                i += 1
            elif j < len(b):
                y *= b[j]
                outside.append(j)
                j += 1
            else:
                break
        groups.append((inside, outside))
        while i < len(a) and a[i] == 1:
            groups[-1][0].append(i)
            i += 1
        while j < len(b) and b[j] == 1:
            groups[-1][1].append(j)
            j += 1
    return groups
