"""Finds softmax(q·kᵀ·scale + bias)·v and makes each a region of its own, so that scores never reach memory.

The form is that of `importers.forms.attention`; keys and values that were concatenated stay in their parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild


@dataclass(slots=True)
class _Match:
    q: int
    turned_k: int
    v: int
    scale: float
    biases: list[int]


def fuse_attention(graph: Graph, precision: str = "f32") -> Graph:
    """Regions of kind `attention`; `precision` is that of both products ('f32', 'bf16' or 'i8')."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "matmul" or len(node.type.shape) < 3:
            return None
        match = _match(builder, operands)
        return None if match is None else _region(builder, match, precision)

    return rebuild(graph, change)


def _is(builder: Builder, value: int, op: str, function: str | None = None) -> bool:
    node = builder.nodes[value]
    return node.op == op and (function is None or node.attributes["function"] == function)


def _under(builder: Builder, value: int, op: str) -> int:
    """The operand under nodes of one kind."""
    while builder.nodes[value].op == op:
        value = builder.nodes[value].inputs[0]
    return value


def _number(builder: Builder, value: int) -> float | None:
    node = builder.nodes[_under(builder, value, "broadcast")]
    if node.op != "constant" or node.type.size != 1:
        return None
    return float(builder.constants[node.attributes["key"]].ravel()[0])


def _along_last(builder: Builder, value: int, function: str) -> bool:
    node = builder.nodes[value]
    return _is(builder, value, "reduce", function) and node.attributes["axes"] == (len(node.type.shape) - 1,)


def _match(builder: Builder, operands: Sequence[int]) -> _Match | None:
    share, v = _under(builder, operands[0], "cast"), operands[1]
    raised = _normalised(builder, share)
    if raised is None or not _is(builder, raised, "unary", "exp"):
        return None
    shifted = builder.nodes[raised].inputs[0]
    if not _is(builder, shifted, "binary", "sub"):
        return None
    scores, top = builder.nodes[shifted].inputs
    top = _under(builder, top, "broadcast")
    if not _along_last(builder, top, "max") or builder.nodes[top].inputs[0] != scores:
        return None
    biases, scale = [], 1.0
    while _is(builder, scores, "binary", "add"):
        left, right = builder.nodes[scores].inputs
        scores, bias = (left, right) if _leads_to_product(builder, left) else (right, left)
        if builder.type(bias).dtype != "f32":
            return None
        biases.append(bias)
    while _is(builder, scores, "binary", "mul"):
        left, right = builder.nodes[scores].inputs
        number = _number(builder, right)
        if number is None:
            left, number = right, _number(builder, left)
        if number is None:
            return None
        scores, scale = left, scale * number
    scores = _under(builder, scores, "cast")
    if not _is(builder, scores, "matmul"):
        return None
    q, turned_k = builder.nodes[scores].inputs
    return _Match(q, turned_k, v, scale, biases)


def _leads_to_product(builder: Builder, value: int) -> bool:
    while builder.nodes[value].op in ("binary", "cast") and builder.nodes[value].op != "matmul":
        node = builder.nodes[value]
        if node.op == "binary" and node.attributes["function"] not in ("mul", "add"):
            return False
        value = node.inputs[0]
    return builder.nodes[value].op == "matmul"


def _normalised(builder: Builder, share: int) -> int | None:
    """e where `share` is e / sum(e)."""
    if _is(builder, share, "binary", "div"):
        e, total = builder.nodes[share].inputs
        total = _under(builder, total, "broadcast")
    elif _is(builder, share, "binary", "mul"):
        e, inverse = builder.nodes[share].inputs
        if not _is(builder, _under(builder, inverse, "broadcast"), "unary", "reciprocal"):
            e, inverse = inverse, e
        inverse = _under(builder, inverse, "broadcast")
        if not _is(builder, inverse, "unary", "reciprocal"):
            return None
        total = _under(builder, builder.nodes[inverse].inputs[0], "broadcast")
    else:
        return None
    fits = _along_last(builder, total, "sum") and builder.nodes[total].inputs[0] == e
    return e if fits else None


def _parts(builder: Builder, value: int) -> list[int]:
    """What `value` (…, S, E) is concatenated from along S, looking through transposes."""
    node = builder.nodes[value]
    axis = len(node.type.shape) - 2
    if node.op == "concatenate" and node.attributes["axis"] == axis:
        return [p for i in node.inputs for p in _parts(builder, i)]
    if node.op == "transpose":
        inner = builder.nodes[node.inputs[0]]
        order = node.attributes["permutation"]
        if inner.op == "concatenate" and inner.attributes["axis"] == order[axis]:
            return [p for i in inner.inputs for p in _parts(builder, builder.transpose(i, order))]
    return [value]


def _cut(builder: Builder, parts: Sequence[int], cuts: Sequence[int]) -> list[int]:
    """The same rows cut at `cuts`."""
    result, at = [], 0
    for part in parts:
        length = builder.shape(part)[-2]
        inside = [c for c in cuts if at <= c <= at + length]
        result += [builder.narrow(part, -2, a - at, b - at) for a, b in pairwise(inside)]
        at += length
    return result


def _borders(builder: Builder, parts: Sequence[int]) -> set[int]:
    borders, at = {0}, 0
    for part in parts:
        at += builder.shape(part)[-2]
        borders.add(at)
    return borders


def _ungrouped(builder: Builder, value: int) -> int | None:
    """(…, heads, 1 repeated, S, E) under a reshape that merged heads with their repetition."""
    node = builder.nodes[value]
    if node.op != "reshape" or builder.nodes[node.inputs[0]].op != "broadcast":
        return None
    wide = builder.shape(node.inputs[0])
    whole = (*wide[:-4], wide[-4] * wide[-3], *wide[-2:]) if len(wide) >= 4 else ()
    return node.inputs[0] if whole == node.type.shape else None


def _region(builder: Builder, match: _Match, precision: str) -> int:
    rank = len(builder.shape(match.q))
    swap = (*range(rank - 2), rank - 1, rank - 2)
    q, k, v = match.q, builder.transpose(match.turned_k, swap), match.v
    shape = (*builder.shape(q)[:-1], builder.shape(v)[-1])
    wide_k, wide_v = _ungrouped(builder, k), _ungrouped(builder, v)
    biases = list(match.biases)
    if wide_k is not None and wide_v is not None and builder.shape(wide_k)[:-2] == builder.shape(wide_v)[:-2]:
        k, v, lead = wide_k, wide_v, builder.shape(wide_k)[:-2]
        q = builder.reshape(q, (*lead, *builder.shape(q)[-2:]))
        biases = [_regroup(builder, b, (*lead, *builder.shape(b)[-2:])) for b in biases]
    key_parts, value_parts = _parts(builder, k), _parts(builder, v)
    cuts = sorted(_borders(builder, key_parts) | _borders(builder, value_parts))
    keys, values = _cut(builder, key_parts, cuts), _cut(builder, value_parts, cuts)
    inputs = [q, *keys, *values]
    if biases:
        total = biases[0]
        for other in biases[1:]:
            total = builder.binary("add", total, other)
        inputs.append(total)
    body = _body([builder.type(i) for i in inputs], len(keys), match.scale, bool(biases))
    (made,) = builder.fused(
        "attention",
        inputs,
        body.graph(),
        builder.place,
        segments=len(keys),
        scale=match.scale,
        precision=precision,
    )
    return builder.reshape(made, shape)


def _regroup(builder: Builder, bias: int, shape: tuple[int, ...]) -> int:
    """A bias (…, heads, M, S) with heads split; what was broadcast along heads stays so."""
    node = builder.nodes[bias]
    if node.op == "broadcast" and builder.shape(node.inputs[0])[-3] == 1:
        source = builder.shape(node.inputs[0])
        return builder.broadcast(builder.reshape(node.inputs[0], (*source[:-3], 1, 1, *source[-2:])), shape)
    return builder.reshape(bias, shape)


def _body(types: Sequence[object], segments: int, scale: float, biased: bool) -> Builder:
    """The primitives that the region stands for."""
    b = Builder()
    inputs = [b.input(f"in{i}", t.dtype, t.shape) for i, t in enumerate(types)]  # type: ignore[attr-defined]
    q, keys, values = inputs[0], inputs[1 : 1 + segments], inputs[1 + segments : 1 + 2 * segments]
    rank = len(b.shape(q))
    k, v = b.concatenate(keys, rank - 2), b.concatenate(values, rank - 2)
    scores = b.matmul(q, b.transpose(k, (*range(rank - 2), rank - 1, rank - 2)))
    scores = b.binary("mul", scores, b.like(scale, scores))
    if biased:
        scores = b.binary("add", scores, inputs[-1])
    raised = b.unary("exp", b.binary("sub", scores, b.reduce("max", scores, (rank - 1,))))
    share = b.binary("mul", raised, b.unary("reciprocal", b.reduce("sum", raised, (rank - 1,))))
    b.output("out0", b.matmul(b.cast(share, b.type(v).dtype), v))
    return b
