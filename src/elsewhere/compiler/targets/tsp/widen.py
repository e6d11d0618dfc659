"""Convolutions of few channels, made wide: several neighbouring results become one row of lanes.

A picture's row of 3 channels would fill 3 of 320 lanes. Here `block` neighbouring windows along the last axis become
one long window, and the kernel a band matrix that gives all their results at once: fewer, fuller rows. What follows
element by element is done in the same form, so that lanes are moved only once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild

FEW = 128
"""Channels up to which a convolution is widened."""


def widen(graph: Graph, lanes: int = 320) -> Graph:
    """Convolutions without padding of their own (`expose_padding` has run)."""
    blocks: dict[int, int] = {}

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op == "convolution":
            return _convolution(builder, node, operands, lanes, blocks)
        if node.op in ("unary", "binary", "cast", "select"):
            return _elementwise(builder, node, operands, blocks)
        return None

    return rebuild(graph, change)


def _convolution(
    builder: Builder, node: Node, operands: Sequence[int], lanes: int, blocks: dict[int, int]
) -> int | None:
    x, w = operands
    weights = builder.nodes[w]
    stride, channels, out = node.attributes["stride"], builder.shape(x)[-1], node.type.shape[-1]
    length = node.type.shape[-2]
    block = min(lanes // out, length) if out else 0
    if weights.op != "constant" or node.attributes["groups"] != 1 or channels > FEW or block < 2:
        return None
    if any(d != 1 for d in node.attributes["dilation"]) or weights.type.shape[-3] == 1:
        return None
    kernel, step = weights.type.shape[-3], stride[-1]
    count = -(-length // block)
    wide = step * (block - 1) + kernel
    needed = step * (count * block - 1) + kernel
    shape = builder.shape(x)
    x = builder.narrow(x, -2, 0, min(shape[-2], needed))
    if builder.shape(x)[-2] < needed:
        high = [0] * len(shape)
        high[-2] = needed - builder.shape(x)[-2]
        x = builder.pad(x, [0] * len(shape), high)
    rows = builder.reshape(x, (*shape[:-2], 1, needed * channels))
    parts = [
        builder.narrow(rows, -1, i * block * step * channels, (i * block * step + wide) * channels)
        for i in range(count)
    ]
    joined = builder.concatenate(parts, len(shape) - 2)
    data = _band(builder.constants[weights.attributes["key"]], block, step, wide)
    rank = len(stride)
    made = builder.convolution(
        joined,
        builder.constant(data, weights.type.dtype),
        stride=(*stride[:-1], 1),
        padding=((0, 0),) * rank,
    )
    return _unblock(builder, made, block, length, blocks)


def _band(weights: np.ndarray, block: int, step: int, wide: int) -> np.ndarray:
    """(…, kernel, C, O) → (…, 1, wide·C, block·O): result j reads the window that starts at j·step."""
    *outer, kernel, channels, out = weights.shape
    made = np.zeros((*outer, wide, channels, block, out), weights.dtype)
    for j in range(block):
        made[..., j * step : j * step + kernel, :, j, :] = weights
    return made.reshape(*outer, 1, wide * channels, block * out)


def _unblock(builder: Builder, made: int, block: int, length: int, blocks: dict[int, int]) -> int:
    shape = builder.shape(made)
    flat = builder.reshape(made, (*shape[:-2], shape[-2] * block, shape[-1] // block))
    result = builder.narrow(flat, -2, 0, length)
    blocks[result] = block
    return result


def _source(builder: Builder, value: int) -> int:
    """The wide value under the reshape and slice that `_unblock` made."""
    node = builder.nodes[value]
    while node.op in ("slice", "reshape"):
        value = node.inputs[0]
        if node.op == "reshape":
            break
        node = builder.nodes[value]
    return value


def _elementwise(builder: Builder, node: Node, operands: Sequence[int], blocks: dict[int, int]) -> int | None:
    wide = [v for v in operands if v in blocks]
    if not wide:
        return None
    block, length = blocks[wide[0]], node.type.shape[-2]
    shape = builder.shape(_source(builder, wide[0]))
    made = []
    for value in operands:
        if value in blocks:
            if blocks[value] != block or builder.shape(_source(builder, value)) != shape:
                return None
            made.append(_source(builder, value))
            continue
        data = _channels(builder, value)
        if data is None:
            return None
        tiled = np.tile(data, block) if data.size > 1 else data
        constant = builder.constant(tiled.reshape(*(1,) * (len(shape) - 1), -1), builder.type(value).dtype)
        made.append(builder.broadcast(constant, shape))
    return _unblock(builder, builder.add(node.op, made, **node.attributes), block, length, blocks)


def _channels(builder: Builder, value: int) -> np.ndarray | None:
    """Data of a constant that differs along channels only."""
    node = builder.nodes[value]
    while node.op in ("broadcast", "reshape"):
        value = node.inputs[0]
        last = node.type.shape[-1]
        node = builder.nodes[value]
        if node.type.size not in (1, last) or (node.type.size > 1 and node.type.shape[-1] != node.type.size):
            return None
    if node.op != "constant" or math.prod(node.type.shape) not in (1, builder.shape(value)[-1]):
        return None
    return builder.constants[node.attributes["key"]].ravel()
