"""Calculates ahead what depends on constants alone, with the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.types import Tensor
from elsewhere.compiler.passes.rewrite import copy
from elsewhere.compiler.targets.reference import evaluate

LIMIT = 2**16
"""A folded value may have so many elements, or as many as the constants that it is made from."""

WORK = 2**27
"""Numbers that the oracle may touch for one value, so that no file makes an importer wait."""

ELEMENTWISE = ("unary", "binary", "select", "cast")


def fold_constants(graph: Graph, limit: int = LIMIT) -> Graph:
    """The same values with constant subexpressions calculated; the oracle's bits do not change.

    A constant that is broadcast stays narrow, also through elementwise primitives.
    """
    builder = Builder()
    new: list[int] = []
    known: dict[int, NDArray[Any]] = {}  # new value → its data; repeated axes have stride 0
    for node in graph.nodes:
        builder.place = node.place
        operands = [new[i] for i in node.inputs]
        if node.op == "constant":
            value = builder.keep(graph, node)
            known[value] = builder.constants[builder.nodes[value].attributes["key"]]
        else:
            data = _calculated(node, [known[i] for i in operands], limit) if _foldable(node, operands, known) else None
            if data is None:
                value = copy(builder, node, operands)
            else:
                value = _constant(builder, data, node.type)
                known[value] = data
        new.append(value)
    for name, old in graph.outputs:
        builder.output(name, new[old])
    for name, old in graph.states:
        builder.state(name, new[old])
    return builder.graph()


def _foldable(node: Node, operands: list[int], known: dict[int, NDArray[Any]]) -> bool:
    return bool(operands) and node.op not in ("fused", "project") and all(i in known for i in operands)


def stored(data: NDArray[Any]) -> int:
    """Elements that are held apart: repeated axes count once."""
    return int(np.prod([n for n, s in zip(data.shape, data.strides, strict=True) if s != 0 or n == 0], dtype=np.int64))


def _narrow(data: NDArray[Any], axes: list[int]) -> NDArray[Any]:
    return data[tuple(slice(0, 1) if i in axes else slice(None) for i in range(data.ndim))]


def _repeated(data: NDArray[Any]) -> list[int]:
    """Axes along which all is the same."""
    return [i for i, (n, s) in enumerate(zip(data.shape, data.strides, strict=True)) if n > 1 and s == 0]


def _calculated(node: Node, data: list[NDArray[Any]], limit: int) -> NDArray[Any] | None:
    """The value, or None if it would be larger than it may."""
    if node.op == "broadcast":
        return np.broadcast_to(data[0], node.type.shape)
    if node.op == "transpose":
        turned = data[0].transpose(node.attributes["permutation"])
        return turned if stored(data[0]) <= max(limit, data[0].size) else None
    most = max(limit, sum(stored(d) for d in data))
    if node.op in ELEMENTWISE:
        # Compare lengths, not strides alone: an axis of length 1 may have any stride.
        same = [i for i in range(len(node.type.shape)) if all(i in _repeated(d) for d in data)]
        shape = tuple(1 if i in same else n for i, n in enumerate(node.type.shape))
        if int(np.prod(shape, dtype=np.int64)) > most:
            return None
        small = evaluate(
            Node(node.op, node.inputs, Tensor(node.type.dtype, shape), node.attributes),
            *(_narrow(d, same) for d in data),
        )
        return np.broadcast_to(small, node.type.shape)
    if node.type.size > most or _work(node, data) > WORK:
        return None
    return evaluate(node, *data)


def _work(node: Node, data: list[NDArray[Any]]) -> int:
    """About how many numbers the oracle would touch; operands that are stored narrow count whole."""
    read = sum(d.size for d in data)
    if node.op == "matmul":
        return read + node.type.size * data[0].shape[-1]
    if node.op in ("convolution", "pool"):
        window = node.attributes["window"] if node.op == "pool" else data[1].shape[:-1]
        padding = node.attributes["padding"]
        padded = math.prod(n + low + high for n, (low, high) in zip(data[0].shape[1:-1], padding, strict=True))
        return read + data[0].shape[0] * data[0].shape[-1] * padded + node.type.size * math.prod(window)
    return read


def _constant(builder: Builder, data: NDArray[Any], type_: Tensor) -> int:
    value = builder.constant(_narrow(data, _repeated(data)), type_.dtype)
    return builder.broadcast(value, type_.shape)
