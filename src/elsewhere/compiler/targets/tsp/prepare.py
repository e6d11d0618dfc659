"""The graph as the chip can do it: products of i8 or f16, elementwise values, sums and maxima along lanes, movement.

Pools, depthwise convolutions and reductions along rows become elementwise values on shifted windows; the order of
their sums is then in the graph itself. Convolutions become products over windows that are joined along lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.spec import check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.padding import expose_padding
from elsewhere.compiler.passes.precision import combine
from elsewhere.compiler.passes.rewrite import copy, rebuild
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.targets.tsp.heads import side_by_side
from elsewhere.compiler.targets.tsp.rewrite import (
    FEW,
    cast_early,
    fold_lines,
    join_pairs,
    slice_columns,
    tile_constants,
)
from elsewhere.compiler.targets.tsp.rows import gather, update
from elsewhere.compiler.targets.tsp.scales import fold_scales, join_factors
from elsewhere.compiler.targets.tsp.stripes import stripe
from elsewhere.compiler.targets.tsp.widen import widen

LANES = 320
"""Lanes of a vector."""
OPERATIONS = 4
"""So many operations in a row are moved behind a spreading."""
LONGEST_SUM = 640
"""Elements that a plane adds up at most, in segments of 160 that pass one after the other."""
BANK_ROWS = 2048
"""Rows of a table that one instruction chooses from: half a bank, so that long tables find room beside other values."""


def prepare(graph: Graph) -> Graph:
    """Only primitives that the scheduler carries. An int8 graph is quantised before; other products become f16."""
    for step in (
        fold_constants,
        sink_transposes,
        fold_constants,
        combine,
        remove_dead,
        expose_padding,
        stripe,
        remove_dead,
        widen,
        slice_columns,
        join_pairs,
        side_by_side,
        remove_dead,
        fold_lines,
        split_columns,
        fold_constants,
        divide_late,
        sum_on_planes,
        lower,
        lower,  # an update becomes a gather, which may become several
        tile_constants,
        cast_early,
        remove_dead,
        move_late,
        spread_late,
        fold_scales,
        join_factors,
        fold_constants,
        remove_dead,
    ):
        graph = check(step(graph), "imported")
    return graph


def divide_late(graph: Graph) -> Graph:
    """A softmax times values: divided by its sums behind the product, which waits for no sums.

    Only behind exp(x − max(x)), which f16 holds without overflow; sums are of the numbers as f16 holds them. Results
    differ by roundings of f16: a part in 2^11 of each exponential, as before.
    """
    return rebuild(graph, _divide_late)


def _divide_late(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    if node.op != "matmul":
        return None
    scaled = _through_cast(builder, operands[0])
    if not _is(builder, scaled, "binary", "mul"):
        return None
    for raised, spread in (builder.nodes[scaled].inputs, builder.nodes[scaled].inputs[::-1]):
        total = _total(builder, raised, spread)
        if total is None:
            continue
        half = builder.cast(raised, "f16")
        summed = builder.reduce("sum", builder.cast(half, "f32"), (len(builder.shape(raised)) - 1,))
        product = builder.cast(builder.matmul(half, builder.cast(operands[1], "f16")), "f32")
        inverse = builder.unary("reciprocal", summed)
        made = builder.binary("mul", product, builder.broadcast(inverse, builder.shape(product)))
        return builder.cast(made, node.type.dtype)
    return None


def sum_on_planes(graph: Graph) -> Graph:
    """Sums along lanes of what is held in f16, as products with ones: a plane adds them up exactly as it adds products.

    Its result stands in every lane, and nothing is turned against anything. Long sums are left to the vector unit.
    """

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "reduce" or node.attributes["function"] != "sum" or node.type.dtype != "f32":
            return None
        cast = builder.nodes[operands[0]]
        inner = cast.type.shape[-1]
        if cast.op != "cast" or builder.type(cast.inputs[0]).dtype != "f16" or inner > LONGEST_SUM:
            return None
        if node.attributes["axes"] != (len(cast.type.shape) - 1,) or len(cast.type.shape) < 2:
            return None
        ones = builder.constant(np.ones((inner, 1), np.float16), "f16")
        rows = builder.reshape(cast.inputs[0], (cast.type.size // inner, inner))
        return builder.reshape(builder.cast(builder.matmul(rows, ones), "f32"), node.type.shape)

    return rebuild(graph, change)


def _total(builder: Builder, raised: int, spread: int) -> int | None:
    """The sum of exp(x − max(x)) = `raised`, if `spread` is its reciprocal."""
    last = len(builder.shape(raised)) - 1
    if not _is(builder, raised, "unary", "exp") or builder.nodes[spread].op != "broadcast":
        return None
    inverse = builder.nodes[spread].inputs[0]
    if not _is(builder, inverse, "unary", "reciprocal"):
        return None
    total = builder.nodes[inverse].inputs[0]
    below = builder.nodes[raised].inputs[0]
    if not _is(builder, total, "reduce", "sum") or not _is(builder, below, "binary", "sub"):
        return None
    if builder.nodes[total].inputs[0] != raised or builder.nodes[total].attributes["axes"] != (last,):
        return None
    x, top = builder.nodes[below].inputs
    if builder.nodes[top].op != "broadcast":
        return None
    top = builder.nodes[top].inputs[0]
    largest = _is(builder, top, "reduce", "max") and builder.nodes[top].inputs[0] == x
    return total if largest and builder.nodes[top].attributes["axes"] == (last,) else None


def split_columns(graph: Graph, lanes: int = LANES) -> Graph:
    """A product of which only slices of columns are used, as a product for each: so that each begins at the first lane.

    Only where a slice begins inside a vector and fills one at least; weights are constants, so that nothing is lost.
    """
    users, kept = graph.users(), graph.kept()

    def divisible(value: int) -> bool:
        node = graph.nodes[value]
        if node.op == "matmul":
            return graph.nodes[node.inputs[1]].op == "constant"
        if node.op in ("unary", "binary", "cast", "select"):
            wide = [i for i in node.inputs if not _constant(graph, i)]
            return len(wide) == 1 and users[wide[0]] == [value] and wide[0] not in kept and divisible(wide[0])
        return False

    def parts(value: int) -> list[Node]:
        return [graph.nodes[u] for u in users[value]]

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "slice" or not divisible(node.inputs[0]) or node.inputs[0] in kept:
            return None
        beside = parts(node.inputs[0])
        if any(not _of_columns(graph, n) or n.type.shape[-1] < lanes for n in beside):
            return None
        if all(n.attributes["starts"][-1] % lanes == 0 for n in beside):
            return None
        return _columns(builder, operands[0], node.attributes["starts"][-1], node.attributes["stops"][-1])

    return rebuild(graph, change)


def _constant(graph: Graph, value: int) -> bool:
    node = graph.nodes[value]
    while node.op in ("broadcast", "reshape"):
        node = graph.nodes[node.inputs[0]]
    return node.op == "constant"


def _of_columns(graph: Graph, node: Node) -> bool:
    """Whether a node is a slice along the last axis only."""
    if node.op != "slice":
        return False
    shape = graph.nodes[node.inputs[0]].type.shape
    return node.type.shape[:-1] == shape[:-1] and node.attributes["steps"][-1] == 1


def _columns(builder: Builder, value: int, start: int, stop: int) -> int:
    node = builder.nodes[value]
    shape = (*node.type.shape[:-1], stop - start)
    if node.op == "matmul":
        return builder.matmul(node.inputs[0], builder.narrow(node.inputs[1], -1, start, stop))
    if node.op in ("unary", "binary", "cast", "select"):
        operands = [_columns(builder, i, start, stop) for i in node.inputs]
        return builder.add(node.op, operands, **node.attributes)
    if node.op == "broadcast":
        inner = node.inputs[0]
        narrow = builder.shape(inner)[-1:] == node.type.shape[-1:]
        return builder.broadcast(builder.narrow(inner, -1, start, stop) if narrow else inner, shape)
    return builder.narrow(value, -1, start, stop)


def move_late(graph: Graph) -> Graph:
    """Functions of one value behind its transposition are calculated before it, where the value comes from its unit."""
    users = graph.users()

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op not in ("unary", "cast", "binary"):
            return None
        wide = [i for i, v in enumerate(operands) if _number(builder, v) is None]
        if len(wide) != 1 or len(users[node.inputs[wide[0]]]) > 1:
            return None
        source, chain = operands[wide[0]], []
        while builder.nodes[source].op in ("reshape", "transpose"):
            chain.append(builder.nodes[source])
            source = builder.nodes[source].inputs[0]
        turned = any(n.op == "transpose" for n in chain)
        if not turned or builder.nodes[source].op not in ("unary", "binary", "cast", "select", "matmul"):
            return None
        shape = builder.shape(source)
        inner = [source if i == wide[0] else _repeated(builder, v, shape) for i, v in enumerate(operands)]
        made = builder.add(node.op, inner, **node.attributes)
        for moved in reversed(chain):
            made = copy(builder, moved, (made,))
        return made

    return rebuild(graph, change)


def _number(builder: Builder, value: int) -> int | None:
    """The constant of a single number that a value repeats."""
    node = builder.nodes[value]
    while node.op in ("broadcast", "reshape"):
        value = node.inputs[0]
        node = builder.nodes[value]
    return value if node.op == "constant" and node.type.size == 1 else None


def _repeated(builder: Builder, value: int, shape: tuple[int, ...]) -> int:
    number = _number(builder, value)
    assert number is not None
    return builder.broadcast(builder.reshape(number, (1,) * len(shape)), shape)


def _is(builder: Builder, value: int, op: str, function: str) -> bool:
    node = builder.nodes[value]
    return node.op == op and node.attributes.get("function") == function


def _through_cast(builder: Builder, value: int) -> int:
    node = builder.nodes[value]
    return node.inputs[0] if node.op == "cast" and node.type.dtype == "f16" else value


def spread_late(graph: Graph) -> Graph:
    """What is calculated from one number a row, behind its spreading along the lanes instead of before it.

    The same numbers, calculated in every lane: a pass of their own through the vector unit is saved.
    """
    users = graph.users()

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "broadcast":
            return None
        source = graph.nodes[node.inputs[0]]
        wide = node.type.shape[-1:] != source.type.shape[-1:] and node.type.shape[:-1] == source.type.shape[:-1]
        if not wide or len(users[node.inputs[0]]) > 1:
            return None
        return _spread(builder, operands[0], node.type.shape, OPERATIONS)

    return rebuild(graph, change)


def _spread(builder: Builder, value: int, shape: tuple[int, ...], most: int) -> int:
    node = builder.nodes[value]
    if node.op not in ("unary", "binary", "cast", "select") or node.type.size == 1 or most == 0:
        return builder.broadcast(value, shape)
    operands = [_spread(builder, i, shape, most - 1) for i in node.inputs]
    return builder.add(node.op, operands, **node.attributes)


def lower(graph: Graph) -> Graph:
    return rebuild(graph, _change)


def _change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
    if node.op == "matmul":
        return _matmul(builder, *operands)
    if node.op == "convolution":
        return _convolution(builder, node, *operands)
    if node.op == "pool":
        return _pool(builder, node, operands[0])
    if node.op == "reduce":
        return _reduce(builder, node, operands[0])
    if node.op == "gather":
        return gather(builder, node, operands[0], operands[1], BANK_ROWS)
    if node.op == "update":
        return update(builder, node, operands[0], operands[1], operands[2])
    if node.op == "cast" and node.type.dtype == "bf16":
        return builder.cast(operands[0], "f16")
    return None


def _half(builder: Builder, value: int) -> int:
    return value if builder.type(value).dtype == "i8" else builder.cast(value, "f16")


def _matmul(builder: Builder, a: int, b: int) -> int:
    shared = _shared(builder, b)
    if shared is not None:
        shape = builder.shape(a)
        rows = builder.reshape(_half(builder, a), (math.prod(shape[:-1]), shape[-1]))
        product = builder.matmul(rows, _half(builder, shared))
        return builder.reshape(product, (*shape[:-1], builder.shape(shared)[-1]))
    return builder.matmul(_half(builder, a), _half(builder, b))


def _shared(builder: Builder, b: int) -> int | None:
    """The matrix that every batch of `b` repeats."""
    node = builder.nodes[b]
    if node.op == "broadcast":
        source = builder.shape(node.inputs[0])
        if math.prod(source[:-2]) == 1 and source[-2:] == node.type.shape[-2:]:
            return builder.reshape(node.inputs[0], source[-2:])
    if math.prod(node.type.shape[:-2]) == 1:
        return builder.reshape(b, node.type.shape[-2:])
    return None


def _window(builder: Builder, x: int, start: Sequence[int], count: Sequence[int], stride: Sequence[int]) -> int:
    """Every `stride`-th element of the axes between the first and the last."""
    shape = builder.shape(x)
    stops = [a + (n - 1) * s + 1 for a, n, s in zip(start, count, stride, strict=True)]
    return builder.slice(x, (0, *start, 0), (shape[0], *stops, shape[-1]), (1, *stride, 1))


def _convolution(builder: Builder, node: Node, x: int, w: int) -> int:
    groups, rank = node.attributes["groups"], len(node.type.shape) - 2
    kernel = builder.shape(w)[:rank]
    stride, dilation = node.attributes["stride"], node.attributes["dilation"]
    out = node.type.shape[1:-1]
    if groups > 1 and builder.shape(w)[-2] == 1 and builder.shape(w)[-1] == groups and _is_float(builder, x):
        return _depthwise(builder, x, w, kernel, out, stride, dilation)
    windows = []
    for tap in np.ndindex(*kernel):
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        windows.append(_window(builder, _half(builder, x), start, out, stride))
    parts = []
    inside, outside = builder.shape(w)[-2], builder.shape(w)[-1] // groups
    for group in range(groups):
        mine = [v if groups == 1 else builder.narrow(v, -1, group * inside, (group + 1) * inside) for v in windows]
        joined = builder.concatenate(mine, rank + 1)
        shape = builder.shape(joined)
        rows = builder.reshape(joined, (math.prod(shape[:-1]), shape[-1]))
        weight = w if groups == 1 else builder.narrow(w, -1, group * outside, (group + 1) * outside)
        flat = builder.reshape(_half(builder, weight), (math.prod(kernel) * inside, outside))
        parts.append(builder.reshape(builder.matmul(rows, flat), (*shape[:-1], outside)))
    return builder.concatenate(parts, rank + 1)


def _is_float(builder: Builder, value: int) -> bool:
    return builder.type(value).dtype not in ("i8", "i32")


def _depthwise(
    builder: Builder,
    x: int,
    w: int,
    kernel: Sequence[int],
    out: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> int:
    total = None
    x, w = builder.cast(x, "f32"), builder.cast(w, "f32")
    for tap in np.ndindex(*kernel):
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        window = _window(builder, x, start, out, stride)
        part = w
        for axis, t in enumerate(tap):
            part = builder.narrow(part, axis, t, t + 1)
        part = builder.reshape(part, (*(1,) * (len(kernel) + 1), builder.shape(w)[-1]))
        product = builder.binary("mul", window, builder.broadcast(part, builder.shape(window)))
        total = product if total is None else builder.binary("add", total, product)
    assert total is not None
    return total


def _pool(builder: Builder, node: Node, x: int) -> int:
    window, stride, out = node.attributes["window"], node.attributes["stride"], node.type.shape[1:-1]
    function = {"max": "max", "sum": "add"}[node.attributes["function"]]
    # Axis by axis: fewer operations; and where a pixel has few channels, lines are added as whole rows of lanes.
    for axis, (taps, step, count) in enumerate(zip(window, stride, out, strict=True), 1):
        *lead, pixels, channels = builder.shape(x)
        lines = axis < len(window) and channels <= FEW
        if lines:
            x = builder.reshape(x, (*lead, pixels * channels))
        values = [builder.narrow(x, axis, tap, tap + (count - 1) * step + 1, step) for tap in range(taps)]
        x = _tree(builder, function, values)
        if lines:
            x = builder.reshape(x, (*builder.shape(x)[:-1], pixels, channels))
    return x


def _tree(builder: Builder, function: str, values: list[int]) -> int:
    while len(values) > 1:
        pairs = [builder.binary(function, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def _reduce(builder: Builder, node: Node, x: int) -> int | None:
    axes, function = node.attributes["axes"], node.attributes["function"]
    last = len(builder.shape(x)) - 1
    if axes == (last,):
        return None
    for axis in axes:
        if axis != last:
            x = _fold_axis(builder, {"sum": "add"}.get(function, function), x, axis)
    return builder.reduce(function, x, (last,)) if last in axes else x


def _fold_axis(builder: Builder, function: str, x: int, axis: int) -> int:
    """Adds the second half to the first until one is left: a tree whose order is in the graph."""
    while (length := builder.shape(x)[axis]) > 1:
        half = length // 2
        joined = builder.binary(function, builder.narrow(x, axis, 0, half), builder.narrow(x, axis, half, 2 * half))
        if length % 2:
            joined = builder.concatenate([joined, builder.narrow(x, axis, 2 * half, length)], axis)
        x = joined
    return x
