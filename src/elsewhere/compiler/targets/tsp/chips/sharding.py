"""How a primitive may be dealt over chips: which states of its operands give which state of its result.

A value is whole on every chip (None), dealt evenly along an axis (its number), or a sum that is still in parts, one on
each chip (SUM). Only even shares are made, so that all chips run alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from elsewhere.compiler.ir.graph import Graph, Node

SUM = "sum"
State = int | str | None
Option = tuple[tuple[State, ...], State]
"""States of the operands, and the state of the result."""


def local_shape(shape: Sequence[int], state: State, chips: int) -> tuple[int, ...]:
    """What one chip holds."""
    return tuple(n // chips if i == state else n for i, n in enumerate(shape))


def options(graph: Graph, node: Node, chips: int, states: frozenset[str] = frozenset()) -> list[Option]:
    """All ways; the first leaves everything whole. `states` are names of inputs that are kept for the next run."""
    shapes = [graph.nodes[i].type.shape for i in node.inputs]
    found: list[Option] = [((None,) * len(shapes), None)]
    found += _OPTIONS.get(node.op, _none)(node, shapes, states)
    out = node.type.shape
    return [o for o in found if _even(o, shapes, out, chips)]


def _even(option: Option, shapes: Sequence[Sequence[int]], out: Sequence[int], chips: int) -> bool:
    pairs = [*zip(option[0], shapes, strict=True), (option[1], out)]
    return all(not isinstance(s, int) or (shape[s] > 0 and shape[s] % chips == 0) for s, shape in pairs)


def _none(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return []


def _input(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    kept = node.attributes["name"] in states
    return [((), a) for a in range(len(node.type.shape))] if kept else []


def _constant(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [((), a) for a in range(len(node.type.shape))]


def _alike(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [((a,) * len(shapes), a) for a in range(len(node.type.shape))]


def _matmul(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    last = len(node.type.shape) - 1
    batches: list[Option] = [((a, a), a) for a in range(last - 1)]
    return [((None, last), last), ((last - 1, None), last - 1), ((last, last - 1), SUM), *batches]


def _convolution(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    last = len(node.type.shape) - 1
    if node.attributes["groups"] > 1:
        return []
    return [((None, last), last), ((last, last - 1), SUM), ((0, None), 0)]


def _reduce(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    axes = node.attributes["axes"]
    found: list[Option] = [((a,), a) for a in range(len(shapes[0])) if a not in axes]
    if node.attributes["function"] == "sum":
        found += [((a,), SUM) for a in axes]
    return found


def _reshape(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    before, after = shapes[0], node.type.shape
    starts = {math.prod(before[:a]): a for a in range(len(before)) if before[a] > 1}
    pairs = [(starts.get(math.prod(after[:b])), b) for b in range(len(after)) if after[b] > 1]
    return [((a,), b) for a, b in pairs if a is not None]


def _transpose(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [((a,), i) for i, a in enumerate(node.attributes["permutation"])]


def _broadcast(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [((None if shapes[0][a] == 1 else a,), a) for a in range(len(node.type.shape))]


def _concatenate(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [o for o in _alike(node, shapes, states) if o[1] != node.attributes["axis"]]


def _slice(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    return [o for o in _alike(node, shapes, states) if shapes[0][o[1]] == node.type.shape[o[1]]]  # type: ignore[index]


def _pool(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    last = len(node.type.shape) - 1
    return [((last,), last), ((0,), 0)]


def _gather(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    data, indices = shapes
    found: list[Option] = [((None, a), a) for a in range(len(indices))]
    return found + [((a, None), len(indices) + a - 1) for a in range(1, len(data))]


def _update(node: Node, shapes: Sequence[Sequence[int]], states: frozenset[str]) -> list[Option]:
    axes = [a for a in range(len(node.type.shape)) if a != node.attributes["axis"]]
    return [((a, a, None), a) for a in axes]


_OPTIONS: dict[str, Any] = {
    "input": _input, "constant": _constant, "unary": _alike, "binary": _alike, "select": _alike, "cast": _alike,
    "matmul": _matmul, "convolution": _convolution, "reduce": _reduce, "reshape": _reshape, "transpose": _transpose,
    "broadcast": _broadcast, "concatenate": _concatenate, "slice": _slice, "pad": _slice, "pool": _pool,
    "gather": _gather, "update": _update,
}  # fmt: skip


def local_attributes(node: Node, shape: Sequence[int], operand: Sequence[int], state: State) -> dict[str, Any]:
    """A chip's attributes where its share is `shape`; `operand` is the first operand's share."""
    found = dict(node.attributes)
    if "shape" in found and node.op in ("reshape", "broadcast", "input"):
        found["shape"] = tuple(shape)
    if node.op == "slice" and isinstance(state, int):
        found["stops"] = tuple(operand[i] if i == state else n for i, n in enumerate(found["stops"]))
    return found
