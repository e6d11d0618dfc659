"""Numbers that multiply all elements alike, taken into constants: fewer operations for the vector unit.

Results move by roundings of f32: each product with a constant is rounded once, in another place than before.
"""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild


def fold_scales(graph: Graph) -> Graph:
    """x·S + B that is only used times numbers: S and B are multiplied by the first of these."""
    users, kept = graph.users(), graph.kept()
    first: dict[int, float] = {}
    for value in range(len(graph.nodes)):
        if value in kept or not users[value] or not _affine(graph, value):
            continue
        factors = [_scaled(graph, u) for u in users[value]]
        if all(number is not None and other == value for number, other in factors):
            numbers = [number for number, _ in factors if number is not None]
            if numbers[0] and all(_fits(n / numbers[0]) for n in numbers):
                first[value] = numbers[0]
    done: dict[int, int] = {}

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        value = next((v for v in node.inputs if v in first), None)
        if value is None:
            return None
        place = node.inputs.index(value)
        if value not in done:
            done[value] = _times(builder, operands[place], first[value])
        number, made = _repeated(builder, operands[1 - place]), done[value]
        assert number is not None
        return made if number == first[value] else _by(builder, made, number / first[value])

    return rebuild(graph, change)


def join_factors(graph: Graph) -> Graph:
    """((x·a)·y)·b with numbers a and b: (x·ab)·y."""
    users, kept = graph.users(), graph.kept()

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        for place in (0, 1) if _is(node, "mul") else ():
            number, before = _repeated(builder, operands[1 - place]), node.inputs[place]
            product = builder.nodes[operands[place]]
            if number is None or before in kept or len(users[before]) > 1 or not _is(product, "mul"):
                continue
            for side, beside in (product.inputs, product.inputs[::-1]):
                inner = builder.nodes[side]
                for source, factor in (inner.inputs, inner.inputs[::-1]) if _is(inner, "mul") else ():
                    known = _repeated(builder, factor)
                    if known is not None and _fits(known * number):
                        return builder.binary("mul", _by(builder, source, known * number), beside)
        return None

    return rebuild(graph, change)


def _is(node: Node, function: str) -> bool:
    return node.op == "binary" and node.attributes["function"] == function and node.type.dtype == "f32"


def _fits(number: float) -> bool:
    """Whether f32 holds a factor with all its bits; smaller and larger ones are left alone."""
    info = np.finfo(np.float32)
    return number == 0 or float(info.tiny) <= abs(number) <= float(info.max)


def _by(builder: Builder, value: int, number: float) -> int:
    return builder.binary("mul", value, builder.like(float(np.float32(number)), value))


def _source(graph: Graph | Builder, value: int) -> Node:
    """What is repeated."""
    node = graph.nodes[value]
    while node.op in ("broadcast", "reshape"):
        node = graph.nodes[node.inputs[0]]
    return node


def _repeated(graph: Graph | Builder, value: int) -> float | None:
    """The number that a value repeats."""
    node = _source(graph, value)
    if node.op != "constant" or node.type.size != 1:
        return None
    return float(graph.constants[node.attributes["key"]].ravel()[0])


def _scaled(graph: Graph, value: int) -> tuple[float | None, int]:
    """The number that a product multiplies by, and what it multiplies."""
    node = graph.nodes[value]
    for one, other in (node.inputs, node.inputs[::-1]) if _is(node, "mul") else ():
        number = _repeated(graph, one)
        if number is not None:
            return number, other
    return None, -1


def _wide(graph: Graph | Builder, value: int) -> bool:
    node = _source(graph, value)
    return node.op == "constant" and node.type.size > 1


def _affine(graph: Graph, value: int) -> bool:
    """Whether a value is x·S + B with constants S and B of many numbers."""
    node = graph.nodes[value]
    if not _is(node, "add"):
        return False
    return any(
        _is(graph.nodes[product], "mul")
        and _wide(graph, bias)
        and any(_wide(graph, i) for i in graph.nodes[product].inputs)
        for product, bias in (node.inputs, node.inputs[::-1])
    )


def _times(builder: Builder, value: int, factor: float) -> int:
    """x·S + B, calculated anew as x·(S·factor) + B·factor."""
    made = []
    for operand in builder.nodes[value].inputs:
        if _wide(builder, operand):
            made.append(_constant(builder, operand, factor))
            continue
        inner = builder.nodes[operand].inputs
        wide = next(i for i in inner if _wide(builder, i))
        other = inner[1] if inner[0] == wide else inner[0]
        made.append(builder.binary("mul", other, _constant(builder, wide, factor)))
    return builder.binary("add", *made)


def _constant(builder: Builder, value: int, factor: float) -> int:
    """The same constant, however spread, times a factor."""
    node = builder.nodes[value]
    if node.op == "constant":
        data = builder.constants[node.attributes["key"]].astype(np.float64) * factor
        return builder.constant(data.astype(np.float32), "f32")
    inner = _constant(builder, node.inputs[0], factor)
    return (
        builder.broadcast(inner, node.type.shape) if node.op == "broadcast" else builder.reshape(inner, node.type.shape)
    )
