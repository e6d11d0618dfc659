"""Small rewritings that let later passes see whole rows: pairs calculated as one row, narrow types before movement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations, product

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import copy, rebuild

MOVES = ("reshape", "transpose", "slice", "concatenate", "pad", "broadcast")
FEW = 24
"""Channels of a picture that lies a line to a row, and is calculated so."""
PIXELS = 1024
"""From so many pixels on a value is such a picture."""
Term = tuple[int, tuple[int, int]]
"""A product of two values, with a sign."""


def slice_columns(graph: Graph) -> Graph:
    """A slice of an axis that the last one was split into, as a slice of columns before they are split."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "slice" or builder.nodes[operands[0]].op != "reshape":
            return None
        source = builder.nodes[operands[0]].inputs[0]
        shape, before = builder.shape(operands[0]), builder.shape(source)
        rows = math.prod(before[:-1])
        split = next((i for i in range(len(shape)) if math.prod(shape[:i]) == rows and shape[i] > 1), len(shape))
        if split > len(shape) - 2:
            return None
        starts, stops, steps = (node.attributes[k] for k in ("starts", "stops", "steps"))
        if any(n != m for i, (n, m) in enumerate(zip(node.type.shape, shape, strict=True)) if i != split):
            return None
        if steps[split] != 1 or stops[split] - starts[split] == shape[split]:
            return None
        each = math.prod(shape[split + 1 :])
        made = builder.narrow(source, -1, starts[split] * each, stops[split] * each)
        return builder.reshape(made, node.type.shape)

    return rebuild(graph, change)


def join_pairs(graph: Graph) -> Graph:
    """Two sums of two products each, laid beside each other, as one sum of products of whole rows.

    Rotary embeddings have this form: [a·c − b·s | a·s + b·c] = [a | b]·[c | c] + [b | a]·[−s | s], bit for bit.
    """

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        last = len(node.type.shape) - 1
        if node.op != "concatenate" or node.attributes["axis"] != last or len(operands) != 2:
            return None
        left, right = (_terms(builder, v) for v in operands)
        if left is None or right is None or builder.shape(operands[0]) != builder.shape(operands[1]):
            return None
        best = None
        for order in permutations(range(2)):
            for swaps in product((False, True), repeat=2):
                pairs = []
                for i, swap in enumerate(swaps):
                    (sign, (u, v)), (other, (x, y)) = left[i], right[order[i]]
                    pairs.append(((sign, u, v), (other, *((y, x) if swap else (x, y)))))
                cost = sum(_cost(builder, a[k], b[k]) for a, b in pairs for k in (1, 2))
                if best is None or cost < best[0]:
                    best = (cost, pairs)
        assert best is not None
        if best[0] > 1:
            return None
        terms = [_joined(builder, a, b) for a, b in best[1]]
        return builder.binary("add", *terms) if None not in terms else None  # type: ignore[arg-type]

    return rebuild(graph, change)


def _terms(builder: Builder, value: int) -> list[Term] | None:
    node = builder.nodes[value]
    if node.op != "binary" or node.attributes["function"] not in ("add", "sub") or node.type.dtype != "f32":
        return None
    found = []
    for sign, operand in zip((1, 1 if node.attributes["function"] == "add" else -1), node.inputs, strict=True):
        part = builder.nodes[operand]
        if part.op != "binary" or part.attributes["function"] != "mul":
            return None
        found.append((sign, (part.inputs[0], part.inputs[1])))
    return found


def _spread(builder: Builder, value: int) -> bool:
    return builder.nodes[value].op in ("broadcast", "constant")


def _follows(builder: Builder, a: int, b: int) -> bool:
    """Whether b are the columns behind a of the same value."""
    first, second = builder.nodes[a], builder.nodes[b]
    if first.op != "slice" or second.op != "slice" or first.inputs != second.inputs:
        return False
    if any(s != 1 for s in (*first.attributes["steps"], *second.attributes["steps"])):
        return False
    if first.attributes["starts"][:-1] != second.attributes["starts"][:-1]:
        return False
    alike = first.attributes["stops"][:-1] == second.attributes["stops"][:-1]
    return bool(alike and first.attributes["stops"][-1] == second.attributes["starts"][-1])


def _cost(builder: Builder, a: int, b: int) -> int:
    """Lanes that joining two values moves: none where they lie beside each other or are spread from little."""
    if _follows(builder, a, b) or (_spread(builder, a) and _spread(builder, b)):
        return 0
    return 1


def _joined(builder: Builder, a: tuple[int, int, int], b: tuple[int, int, int]) -> int | None:
    signs = (a[0], b[0])
    operands = []
    for k in (1, 2):
        x, y = a[k], b[k]
        if signs != (1, 1) and _spread(builder, x) and _spread(builder, y):
            x, y = (_signed(builder, v, s) for v, s in zip((x, y), signs, strict=True))
            signs = (1, 1)
        operands.append(_beside(builder, x, y))
    return builder.binary("mul", *operands) if signs == (1, 1) else None


def _signed(builder: Builder, value: int, sign: int) -> int:
    if sign > 0:
        return value
    node = builder.nodes[value]
    if node.op == "broadcast":
        return builder.broadcast(builder.unary("neg", node.inputs[0]), node.type.shape)
    return builder.unary("neg", value)


def _beside(builder: Builder, a: int, b: int) -> int:
    if _follows(builder, a, b):
        first, second = builder.nodes[a], builder.nodes[b]
        starts, stops = first.attributes["starts"], second.attributes["stops"]
        return builder.slice(first.inputs[0], starts, stops)
    first, second = builder.nodes[a], builder.nodes[b]
    if first.op == "broadcast" and second.op == "broadcast":
        x, y = first.inputs[0], second.inputs[0]
        if builder.shape(x) == builder.shape(y) and builder.shape(x)[-1] == first.type.shape[-1]:
            joined = builder.concatenate([x, y], -1)
            return builder.broadcast(joined, (*first.type.shape[:-1], 2 * first.type.shape[-1]))
    return builder.concatenate([a, b], -1)


def cast_early(graph: Graph) -> Graph:
    """Casts to f16 before movement instead of behind it: half as many bytes are moved, and stored on the way."""
    made: dict[int, int] = {}

    def narrow(builder: Builder, value: int) -> int:
        if value not in made:
            node = builder.nodes[value]
            place, builder.place = builder.place, node.place
            if node.op in MOVES and node.type.dtype == "f32":
                made[value] = copy(builder, node, [narrow(builder, i) for i in node.inputs])
            elif of_lines(node.type.shape):
                made[value] = builder.reshape(builder.cast(_line(builder, value), "f16"), node.type.shape)
            else:
                made[value] = builder.cast(value, "f16")
            builder.place = place
        return made[value]

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "cast" or node.type.dtype != "f16" or builder.type(operands[0]).dtype != "f32":
            return None
        if builder.nodes[operands[0]].op not in MOVES:
            return None
        return narrow(builder, operands[0])

    return rebuild(graph, change)


def fold_lines(graph: Graph) -> Graph:
    """What is calculated for pixels of few channels, for lines of pixels: full rows of lanes instead of short ones."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op not in ("unary", "binary", "select", "cast"):
            return None
        shape = node.type.shape
        one = len(shape) > 2 and shape[-1] == 1 and math.prod(shape) >= PIXELS
        if not of_lines(shape) and not (one and not any(_reduced(builder, v) for v in operands)):
            return None
        made = builder.add(node.op, [_line(builder, v) for v in operands], **node.attributes)
        return builder.reshape(made, node.type.shape)

    return rebuild(graph, change)


def of_lines(shape: Sequence[int]) -> bool:
    """Whether a value is a picture of few channels: its lines fill lanes, its pixels do not."""
    return len(shape) > 2 and 1 < shape[-1] <= FEW and math.prod(shape[:-1]) >= PIXELS


def _reduced(builder: Builder, value: int) -> bool:
    """Whether a value of one channel is a sum or maximum of each row, which stands in all lanes already."""
    node = builder.nodes[value]
    while node.op not in ("reduce", "matmul", "input", "constant", "slice"):
        node = builder.nodes[max(node.inputs, key=lambda i: builder.nodes[i].op not in ("constant", "broadcast"))]
    return node.op in ("reduce", "matmul")


def _line(builder: Builder, value: int) -> int:
    """A value of (…, pixels, channels) as (…, pixels · channels)."""
    node = builder.nodes[value]
    *lead, pixels, channels = node.type.shape
    if node.op == "broadcast":
        source = builder.shape(node.inputs[0])
        if source[-2:] == (1, 1):
            return builder.broadcast(builder.reshape(node.inputs[0], source[:-1]), (*lead, pixels * channels))
        if source[-2] == 1:
            tiled = builder.broadcast(node.inputs[0], (*source[:-2], pixels, channels))
            tiled = builder.reshape(tiled, (*source[:-2], pixels * channels))
            return builder.broadcast(tiled, (*lead, pixels * channels))
    return builder.reshape(value, (*lead, pixels * channels))


def tile_constants(graph: Graph) -> Graph:
    """Constants that are broadcast and reshaped into the lanes of one row, as constants of that row."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "reshape" or builder.nodes[operands[0]].op != "broadcast":
            return None
        spread = builder.nodes[operands[0]]
        source = builder.nodes[spread.inputs[0]]
        if source.op != "constant" or source.type.size == 1 or node.type.size > 1 << 20:
            return None
        if node.type.shape[-1] <= source.type.shape[-1]:
            return None
        data = builder.constants[source.attributes["key"]]
        return builder.constant(np.broadcast_to(data, spread.type.shape).reshape(node.type.shape), node.type.dtype)

    return rebuild(graph, change)


__all__ = ["FEW", "cast_early", "fold_lines", "join_pairs", "of_lines", "slice_columns", "tile_constants"]
