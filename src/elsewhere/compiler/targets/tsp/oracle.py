"""The NumPy reference in the chip's order of sums: what every program must give, bit for bit.

As `targets.reference`, but f16 products are summed segment by segment (see `scheduler.product`), and sums along lanes
in the order of `scheduler.reduction`'s docstring, which is written out here once more, plainly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets import reference

Array = NDArray[Any]
BLOCK = 16
"""Lanes of a superlane."""


def run(
    graph: Graph, inputs: Mapping[str, Array], cuts: Mapping[str, Sequence[Sequence[int]]], lanes: int = 320
) -> dict[str, Array]:
    """Outputs and `state:` values of a prepared graph; `cuts` are a program's facts."""
    values: list[Array] = []
    for number, node in enumerate(graph.nodes):
        operands = [values[i] for i in node.inputs]
        if node.op == "input":
            made = reference._given(node, inputs)
        elif node.op == "constant":
            made = graph.constants[node.attributes["key"]]
        elif node.op == "matmul" and operands[0].dtype != np.int8:
            made = _product(operands[0], operands[1], cuts[str(number)])
        elif node.op == "reduce" and node.attributes["function"] == "sum" and operands[0].dtype.kind == "f":
            made = _sum(operands[0], lanes)
        else:
            made = reference.evaluate(node, *operands)
        values.append(made)
    found = {name: values[i] for name, i in graph.outputs}
    return found | {f"state:{name}": values[i] for name, i in graph.states}


def _product(a: Array, b: Array, cuts: Sequence[Sequence[int]]) -> Array:
    a, b = a.astype(np.float32), b.astype(np.float32)
    total: Array | None = None
    for start, width in cuts:
        part = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        for k in range(start, start + width):
            part += a[..., :, k : k + 1] * b[..., k : k + 1, :]
        total = part if total is None else total + part
    assert total is not None
    return total


def _sum(x: Array, lanes: int) -> Array:
    """Along the last axis; the result keeps it with length 1."""
    tiles = -(-x.shape[-1] // lanes)
    padded = np.zeros((*x.shape[:-1], tiles * lanes), x.dtype)
    padded[..., : x.shape[-1]] = x
    total = padded[..., :lanes]
    for tile in range(1, tiles):
        total = total + padded[..., tile * lanes : (tile + 1) * lanes]
    found = total.reshape(*total.shape[:-1], -1, BLOCK)
    while found.shape[-1] > 1:
        found = found[..., 0::2] + found[..., 1::2]
    found = found[..., 0]
    odd = found.shape[-1]
    while odd % 2 == 0:
        odd //= 2
    groups = found.reshape(*found.shape[:-1], -1, odd)
    parts = [groups[..., i] for i in range(odd)]
    while len(parts) > 1:
        pairs = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2 :]
    total = parts[0]
    while total.shape[-1] > 1:
        half = total.shape[-1] // 2
        total = total[..., :half] + total[..., half:]
    return total
