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
from elsewhere.compiler.passes.rewrite import rebuild
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.targets.tsp.rows import gather, update
from elsewhere.compiler.targets.tsp.widen import widen

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
        widen,
        lower,
        lower,  # an update becomes a gather, which may become several
        fold_constants,
        remove_dead,
    ):
        graph = check(step(graph), "imported")
    return graph


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
    # Axis by axis where windows do not overlap in a way that matters: a maximum is one in any order.
    values = [_window(builder, x, tap, out, stride) for tap in np.ndindex(*window)]
    return _tree(builder, function, values)


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
