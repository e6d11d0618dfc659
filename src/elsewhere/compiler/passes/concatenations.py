"""Moves concatenations of remembered and new data, and of rotated halves, towards their readers, so that nothing is
copied together.

f(concatenate(a, b)) becomes concatenate(f(a), f(b)) where f treats every place alike along that axis. Attention takes
keys and values in parts, so that a rolling cache is read where it lies. Changes no bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild

ROUNDS = 16
VIEWS = ("reshape", "transpose", "slice", "broadcast")


def sink_concatenations(graph: Graph) -> Graph:
    """The same values with concatenations that hold an input, or rotated halves, as late as they can be."""
    for _ in range(ROUNDS):
        before = [(n.op, n.inputs) for n in graph.nodes]
        graph = rebuild(graph, _change)
        if [(n.op, n.inputs) for n in graph.nodes] == before:
            break
    return graph


def _remembered(builder: Builder, value: int) -> bool:
    """Whether `value` is a concatenation, not along the last axis, that holds an input or what was made of one."""
    node = builder.nodes[value]
    if node.op != "concatenate" or node.attributes["axis"] == len(node.type.shape) - 1:
        return False
    return any(_from_input(builder, i) for i in node.inputs)


def _halves(builder: Builder, value: int) -> bool:
    """Whether `value` joins, along the last axis, two results of slices of one value: a rotary embedding on its way."""
    node = builder.nodes[value]
    if node.op != "concatenate" or node.attributes["axis"] != len(node.type.shape) - 1 or len(node.inputs) != 2:
        return False
    a, b = (_sliced(builder, i) for i in node.inputs)
    return a is not None and a == b


def _sliced(builder: Builder, value: int) -> int | None:
    """What `value` is, through elementwise primitives, a slice along the last axis of."""
    for _ in range(8):
        node = builder.nodes[value]
        if node.op == "slice":
            return node.inputs[0] if node.type.shape[-1] < builder.shape(node.inputs[0])[-1] else None
        if node.op not in ("unary", "binary", "cast"):
            return None
        value = node.inputs[0]
    return None


def _from_input(builder: Builder, value: int) -> bool:
    """Through views and elementwise primitives whose other operands are constants."""
    for _ in range(64):
        node = builder.nodes[value]
        if node.op == "input":
            return True
        if node.op not in (*VIEWS, "unary", "binary", "cast", "concatenate"):
            return False
        value = node.inputs[0]
    return False


def _borders(builder: Builder, value: int) -> list[int]:
    """Where the parts of a concatenation end."""
    node, at = builder.nodes[value], 0
    ends = []
    for i in node.inputs:
        at += builder.shape(i)[node.attributes["axis"]]
        ends.append(at)
    return ends


def _change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    held = next((v for v in operands if _remembered(builder, v)), None)
    if held is None and node.op in ("unary", "binary", "cast"):
        held = next((v for v in operands if _halves(builder, v)), None)
    if held is None:
        return None
    whole = builder.nodes[held]
    axis, ends = whole.attributes["axis"], _borders(builder, held)
    if node.op in ("unary", "binary", "select", "cast"):
        parts = [_cut(builder, v, axis, ends) for v in operands]
        made = [builder.add(node.op, part, **node.attributes) for part in zip(*parts, strict=True)]
        return builder.concatenate(made, axis)
    if node.op == "concatenate" and node.attributes["axis"] != axis:
        if any(builder.nodes[v].op != "concatenate" or _borders(builder, v) != ends for v in operands):
            return None
        if any(builder.nodes[v].attributes["axis"] != axis for v in operands):
            return None
        parts = [list(builder.nodes[v].inputs) for v in operands]
        made = [builder.concatenate(part, node.attributes["axis"]) for part in zip(*parts, strict=True)]
        return builder.concatenate(made, axis)
    if node.op == "slice":
        starts, stops, steps = (list(node.attributes[k]) for k in ("starts", "stops", "steps"))
        if (starts[axis], stops[axis], steps[axis]) != (0, whole.type.shape[axis], 1):
            return None
        made = []
        for part in whole.inputs:
            stops[axis] = builder.shape(part)[axis]
            made.append(builder.slice(part, starts, stops, steps))
        return builder.concatenate(made, axis)
    if node.op == "transpose":
        order = node.attributes["permutation"]
        return builder.concatenate([builder.transpose(i, order) for i in whole.inputs], order.index(axis))
    if node.op == "reduce" and axis not in node.attributes["axes"]:
        made = [builder.add("reduce", (i,), **node.attributes) for i in whole.inputs]
        return builder.concatenate(made, axis)
    if node.op == "broadcast" and node.type.shape[axis] == whole.type.shape[axis]:
        made = []
        for i in whole.inputs:
            shape = list(node.type.shape)
            shape[axis] = builder.shape(i)[axis]
            made.append(builder.broadcast(i, shape))
        return builder.concatenate(made, axis)
    if node.op == "reshape" and node.type.shape[: axis + 1] == whole.type.shape[: axis + 1]:
        rest = node.type.shape[axis + 1 :]
        if not rest:
            return None
        made = [builder.reshape(i, (*builder.shape(i)[: axis + 1], *rest)) for i in whole.inputs]
        return builder.concatenate(made, axis)
    return None


def _cut(builder: Builder, value: int, axis: int, ends: Sequence[int], depth: int = 1) -> list[int]:
    """`value` in parts that end at `ends` along `axis`; what is cut along the last axis is made in parts already."""
    node = builder.nodes[value]
    if node.op == "concatenate" and node.attributes["axis"] == axis and _borders(builder, value) == list(ends):
        return list(node.inputs)
    if depth and node.op in ("unary", "binary", "cast", "select") and axis == len(node.type.shape) - 1:
        inner = [_cut(builder, i, axis, ends, depth - 1) for i in node.inputs]
        return [builder.add(node.op, part, **node.attributes) for part in zip(*inner, strict=True)]
    if node.op == "broadcast" and builder.shape(node.inputs[0])[axis] == 1:
        parts, at = [], 0
        for end in ends:
            shape = list(node.type.shape)
            shape[axis] = end - at
            parts.append(builder.broadcast(node.inputs[0], shape))
            at = end
        return parts
    starts = [0, *ends[:-1]]
    return [builder.narrow(value, axis, a, b) for a, b in zip(starts, ends, strict=True)]
