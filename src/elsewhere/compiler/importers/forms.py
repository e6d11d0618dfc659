"""One canonical form for each composite operator: what every importer lowers to, and what fusion looks for.

Each function appends primitives to a Builder and returns the result's number. In an elementwise form a constant is
the second operand. Sums and products of bf16 and f16 are made in f32 and rounded once at the end.

Shapes: N batch, C O channels in and out, H W picture, M K N rows, inner and columns of a product, E head width, S keys.
`x` (N, C, …) is channels-first as the model says it; the language's own order is channels-last, so convolutions,
pools and what stands beside them go through `channels_last` and `channels_first`, whose transposes cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Node
from elsewhere.compiler.ir.operations import TypeRule
from elsewhere.compiler.ir.types import FLOATS

MASKED = -1e30
"""What is added to the score of a key that may not be seen. Finite, so that no row can become NaN.

A row that may see nothing is 0 where that is known while importing, as in PyTorch; where the mask is known only
while running, such a row is the mean of all values.
"""


def scalar(b: Builder, function: str, x: int, number: float) -> int:
    """x ∘ number, the number in the type of x."""
    return b.binary(function, x, b.like(number, x))


def wide(b: Builder, x: int) -> int:
    """bf16 and f16 as f32."""
    return b.cast(x, "f32") if b.type(x).dtype in FLOATS else x


def channels_last(b: Builder, x: int) -> int:
    """(N, C, …) → (N, …, C)."""
    rank = len(b.shape(x))
    return b.transpose(x, (0, *range(2, rank), 1))


def channels_first(b: Builder, x: int) -> int:
    """(N, …, C) → (N, C, …)."""
    rank = len(b.shape(x))
    return b.transpose(x, (0, rank - 1, *range(1, rank - 1)))


def along_last(b: Builder, values: int, x: int) -> int:
    """(C,) in the shape and type of x (…, C)."""
    return b.spread(b.cast(values, b.type(x).dtype), b.shape(x))


# Activations


def relu(b: Builder, x: int) -> int:
    """max(x, 0)."""
    return scalar(b, "max", x, 0.0)


def clamp(b: Builder, x: int, low: float | None, high: float | None) -> int:
    """min(max(x, low), high); relu6 is clamp(x, 0, 6)."""
    if low is not None:
        x = scalar(b, "max", x, low)
    return x if high is None else scalar(b, "min", x, high)


def silu(b: Builder, x: int) -> int:
    """x · sigmoid(x)."""
    return b.binary("mul", x, b.unary("sigmoid", x))


def hard_sigmoid(b: Builder, x: int, slope: float = 1.0 / 6.0, offset: float = 0.5) -> int:
    """min(max(x + 3, 0), 6) · (1/6); for another slope or offset min(max(x·slope + offset, 0), 1)."""
    if abs(slope - 1.0 / 6.0) < 1e-7 and abs(offset - 0.5) < 1e-7:
        return scalar(b, "mul", clamp(b, scalar(b, "add", x, 3.0), 0.0, 6.0), 1.0 / 6.0)
    return clamp(b, scalar(b, "add", scalar(b, "mul", x, slope), offset), 0.0, 1.0)


def hard_swish(b: Builder, x: int) -> int:
    """x · hard_sigmoid(x)."""
    return b.binary("mul", x, hard_sigmoid(b, x))


def gelu(b: Builder, x: int, tanh: bool = False) -> int:
    """(x·0.5) · (erf(x·√½) + 1), or (x·0.5) · (tanh((x + x³·0.044715) · √(2/π)) + 1) with x³ = (x·x)·x."""
    half = scalar(b, "mul", x, 0.5)
    if not tanh:
        bent = b.unary("erf", scalar(b, "mul", x, math.sqrt(0.5)))
    else:
        cubed = b.binary("mul", b.binary("mul", x, x), x)
        inner = b.binary("add", x, scalar(b, "mul", cubed, 0.044715))
        bent = b.unary("tanh", scalar(b, "mul", inner, math.sqrt(2.0 / math.pi)))
    return b.binary("mul", half, scalar(b, "add", bent, 1.0))


def leaky_relu(b: Builder, x: int, slope: float) -> int:
    """select(0 ≤ x, x, x·slope)."""
    return b.select(b.binary("less_equal", b.like(0.0, x), x), x, scalar(b, "mul", x, slope))


def elu(b: Builder, x: int, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> int:
    """select(0 ≤ x, x·scale, (exp(x·input_scale) − 1)·(alpha·scale))."""
    low = scalar(b, "mul", scalar(b, "sub", b.unary("exp", scalar(b, "mul", x, input_scale)), 1.0), alpha * scale)
    return b.select(b.binary("less_equal", b.like(0.0, x), x), scalar(b, "mul", x, scale), low)


def softplus(b: Builder, x: int) -> int:
    """max(x, 0) + log(exp(−|x|) + 1)."""
    small = b.unary("exp", b.unary("neg", b.unary("abs", x)))
    return b.binary("add", relu(b, x), b.unary("log", scalar(b, "add", small, 1.0)))


# Arithmetic


def constant_of(b: Builder, x: int) -> NDArray[Any] | None:
    """The data of a constant or of a broadcast, reshaped or transposed constant; None for what is not known."""
    node = b.nodes[x]
    if node.op == "constant":
        return b.constants[node.attributes["key"]]
    if node.op not in ("broadcast", "reshape", "transpose"):
        return None
    data = constant_of(b, node.inputs[0])
    if data is None:
        return None
    if node.op == "broadcast":
        return np.broadcast_to(data, node.type.shape)
    return data.reshape(node.type.shape) if node.op == "reshape" else data.transpose(node.attributes["permutation"])


def number_of(b: Builder, x: int) -> float | None:
    """The one number that x is everywhere, if that is known."""
    node = b.nodes[x]
    for _ in range(8):  # a broadcast of a reshape of a number; chains that somebody made are not followed for long
        if node.op not in ("broadcast", "reshape", "transpose"):
            break
        x = node.inputs[0]
        node = b.nodes[x]
    if node.op != "constant" or node.type.size != 1:
        return None
    return float(b.constants[node.attributes["key"]].reshape(()))


def _behind(b: Builder, x: int, function: str) -> int | None:
    """What `x` is the unary `function` of, in the shape of x, looking through a broadcast."""
    node = b.nodes[x]
    if node.op == "unary" and node.attributes["function"] == function:
        return node.inputs[0]
    if node.op == "broadcast":
        inner = _behind(b, node.inputs[0], function)
        return None if inner is None else b.broadcast(inner, node.type.shape)
    return None


def divide(b: Builder, x: int, y: int) -> int:
    """x · (1/y) for a known number y, x · rsqrt(v) for y = sqrt(v), reciprocal(y) for x = 1, else x / y."""
    x, y = b.match(x, y)
    if b.type(x).dtype not in FLOATS:
        return b.binary("div", x, y)
    number = number_of(b, y)
    if number is not None and number != 0.0 and math.isfinite(number) and math.isfinite(1.0 / number):
        return scalar(b, "mul", x, 1.0 / number)
    root = _root(b, y)
    one = number_of(b, x) == 1.0
    if root is not None:
        return root if one else b.binary("mul", x, root)
    return b.unary("reciprocal", y) if one else b.binary("div", x, y)


def _root(b: Builder, y: int) -> int | None:
    """1/y for y = sqrt(v), made before v is broadcast."""
    node = b.nodes[y]
    if node.op == "broadcast":
        inner = _root(b, node.inputs[0])
        return None if inner is None else b.broadcast(inner, node.type.shape)
    inside = _behind(b, y, "sqrt")
    return None if inside is None else b.unary("rsqrt", inside)


def power(b: Builder, x: int, exponent: float) -> int:
    """Small whole powers by multiplication (x³ = (x·x)·x), ±½ and −1 by their own primitives, else pow."""
    if exponent in (2.0, 3.0, 4.0):
        square = b.binary("mul", x, x)
        return square if exponent == 2.0 else b.binary("mul", square, x if exponent == 3.0 else square)
    if exponent == 1.0:
        return x
    if b.type(x).dtype in FLOATS and exponent in (0.5, -0.5, -1.0):
        return b.unary({0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}[exponent], x)
    return scalar(b, "pow", x, exponent)


def mean(b: Builder, x: int, axes: Sequence[int]) -> int:
    """sum · (1/n); the axes stay with length 1."""
    count = math.prod(b.shape(x)[a] for a in axes)
    return scalar(b, "mul", b.reduce("sum", x, axes), 1.0 / count) if axes else x


def drop_axes(b: Builder, x: int, axes: Sequence[int]) -> int:
    """Removes axes of length 1."""
    rank = len(b.shape(x))
    gone = {a % rank for a in axes}
    return b.reshape(x, [n for i, n in enumerate(b.shape(x)) if i not in gone])


# Products


def linear(b: Builder, x: int, weight_KN: int, bias_N: int | None) -> int:
    """x (…, K) as rows: reshape to (M, K), matmul with the constant (K, N), add the bias broadcast to (M, N),
    reshape to (…, N).
    """
    *lead, inner = b.shape(x)
    rows = b.reshape(x, (math.prod(lead), inner))
    product = b.matmul(rows, weight_KN)
    if bias_N is not None:
        product = b.binary("add", product, along_last(b, bias_N, product))
    product = b.cast(product, b.type(x).dtype)
    return b.reshape(product, (*lead, b.shape(product)[-1]))


def matmul(b: Builder, x: int, y: int) -> int:
    """NumPy's matmul: vectors, and leading axes that broadcast. A matrix y that x's rows share becomes `linear`."""
    dtype, narrow_x, narrow_y = b.type(x).dtype, len(b.shape(x)) == 1, len(b.shape(y)) == 1
    if not b.shape(x) or not b.shape(y):
        raise TypeRule("matmul takes no scalars")
    if narrow_x:
        x = b.reshape(x, (1, *b.shape(x)))
    if narrow_y:
        y = b.reshape(y, (*b.shape(y), 1))
    if len(b.shape(y)) == 2 and len(b.shape(x)) != 2:
        product = linear(b, x, y, None)
    else:
        try:
            lead = np.broadcast_shapes(b.shape(x)[:-2], b.shape(y)[:-2])
        except ValueError as error:
            raise TypeRule(f"batch lengths do not broadcast: {b.type(x)} and {b.type(y)}") from error
        product = b.matmul(b.spread(x, (*lead, *b.shape(x)[-2:])), b.spread(y, (*lead, *b.shape(y)[-2:])))
        product = b.cast(product, dtype)
    axes = [i for i, gone in ((-2, narrow_x), (-1, narrow_y)) if gone]
    return drop_axes(b, product, axes) if axes else product


def convolution(
    b: Builder,
    x: int,
    weight: int,
    bias_O: int | None,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> int:
    """x (N, C, …) channels-last, convolution with the constant (…, C/groups, O), add the bias broadcast; back."""
    y = b.convolution(channels_last(b, x), weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if bias_O is not None:
        y = b.binary("add", y, along_last(b, bias_O, y))
    return channels_first(b, b.cast(y, b.type(x).dtype))


def transposed_convolution(
    b: Builder,
    x: int,
    weight: NDArray[Any],
    bias_O: int | None,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> int:
    """x (N, C, …), weight (C, O/groups, …): zeros between the places, then a convolution with the turned kernel."""
    rank = len(stride)
    last = channels_last(b, x)
    batch, *places, channels = b.shape(last)
    if any(s > 1 for s in stride):
        spaced = b.reshape(last, (batch, *(n for length in places for n in (length, 1)), channels))
        high = (0, *(n for s in stride for n in (0, s - 1)), 0)
        spaced = b.pad(spaced, (0,) * len(high), high)
        last = b.reshape(spaced, (batch, *(n * s for n, s in zip(places, stride, strict=True)), channels))
        stops = (batch, *((n - 1) * s + 1 for n, s in zip(places, stride, strict=True)), channels)
        last = b.slice(last, (0,) * len(stops), stops)
    kernel = weight.shape[2:]
    turned = weight[(slice(None), slice(None), *(slice(None, None, -1),) * rank)]
    turned = turned.reshape(groups, channels // groups, weight.shape[1], *kernel)
    turned = turned.transpose(*range(3, 3 + rank), 1, 0, 2)
    turned = turned.reshape(*kernel, channels // groups, groups * weight.shape[1])
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    around = [
        (span - low, span - high + more) for span, (low, high), more in zip(spans, padding, output_padding, strict=True)
    ]
    if any(n < 0 for pair in around for n in pair):
        lengths = b.shape(last)[1:-1]
        starts = [max(0, -a) for a, _ in around]
        ends = [n - max(0, -c) for n, (_, c) in zip(lengths, around, strict=True)]
        last = b.slice(last, (0, *starts, 0), (batch, *ends, channels))
    pairs = [(max(0, a), max(0, c)) for a, c in around]
    constant = b.constant(np.ascontiguousarray(turned), b.type(x).dtype)
    y = b.convolution(last, constant, stride=(1,) * rank, padding=pairs, dilation=dilation, groups=groups)
    if bias_O is not None:
        y = b.binary("add", y, along_last(b, bias_O, y))
    return channels_first(b, b.cast(y, b.type(x).dtype))


# Normalisation


def _normalised(b: Builder, x: int, axes: Sequence[int], epsilon: float) -> int:
    """c · rsqrt(mean(c·c) + ε) with c = x − mean(x)."""
    centred = b.binary("sub", x, mean(b, x, axes))
    variance = mean(b, b.binary("mul", centred, centred), axes)
    return b.binary("mul", centred, b.unary("rsqrt", scalar(b, "add", variance, epsilon)))


def _scaled(b: Builder, x: int, weight: int | None, bias: int | None) -> int:
    """x·weight + bias, both broadcast along the last axes; what is missing is left out."""
    if weight is not None:
        x = b.binary("mul", x, along_last(b, weight, x))
    return x if bias is None else b.binary("add", x, along_last(b, bias, x))


def layer_norm(b: Builder, x: int, axis_count: int, weight: int | None, bias: int | None, epsilon: float) -> int:
    """Over the last axes: c = x − sum(x)·(1/n); c · rsqrt(sum(c·c)·(1/n) + ε) · weight + bias."""
    dtype, rank = b.type(x).dtype, len(b.shape(x))
    normal = _normalised(b, wide(b, x), range(rank - axis_count, rank), epsilon)
    return b.cast(_scaled(b, normal, weight, bias), dtype)


def rms_norm(b: Builder, x: int, axis_count: int, weight: int | None, epsilon: float) -> int:
    """Over the last axes: x · rsqrt(sum(x·x)·(1/n) + ε) · weight."""
    dtype, rank = b.type(x).dtype, len(b.shape(x))
    x = wide(b, x)
    square = mean(b, b.binary("mul", x, x), range(rank - axis_count, rank))
    normal = b.binary("mul", x, b.unary("rsqrt", scalar(b, "add", square, epsilon)))
    return b.cast(_scaled(b, normal, weight, None), dtype)


def group_norm(b: Builder, x: int, groups: int, weight: int | None, bias: int | None, epsilon: float) -> int:
    """x (N, C, …) channels-last as (N, …, groups, C/groups), `layer_norm`'s arithmetic over all axes but N and
    groups, back to (N, …, C), ·weight + bias; back. Instance norm has as many groups as channels.
    """
    dtype = b.type(x).dtype
    last = channels_last(b, wide(b, x))
    batch, *lengths, channels = b.shape(last)
    split = b.reshape(last, (batch, *lengths, groups, channels // groups))
    rank = len(lengths)
    normal = _normalised(b, split, (*range(1, 1 + rank), 2 + rank), epsilon)
    scaled = _scaled(b, b.reshape(normal, (batch, *lengths, channels)), weight, bias)
    return channels_first(b, b.cast(scaled, dtype))


def batch_norm(
    b: Builder,
    x: int,
    mean_C: NDArray[Any],
    variance_C: NDArray[Any],
    weight_C: NDArray[Any] | None,
    bias_C: NDArray[Any] | None,
    epsilon: float,
) -> int:
    """Inference: channels-last, x·scale + shift with constants scale = weight / √(variance + ε) and
    shift = bias − mean·scale, calculated in f64; back.
    """
    if not (variance_C >= 0.0).all():
        raise TypeRule("a variance below 0")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(variance_C.astype(np.float64) + epsilon)
        if weight_C is not None:
            scale = scale * weight_C
        shift = -mean_C.astype(np.float64) * scale
        if bias_C is not None:
            shift = shift + bias_C
    dtype = b.type(x).dtype
    y = _scaled(b, channels_last(b, wide(b, x)), b.constant(scale, "f32"), b.constant(shift, "f32"))
    return channels_first(b, b.cast(y, dtype))


# Attention


def softmax(b: Builder, x: int, axis: int) -> int:
    """e = exp(x − max(x)); e · reciprocal(sum(e))."""
    dtype = b.type(x).dtype
    x = wide(b, x)
    top = b.reduce("max", x, (axis,))
    raised = b.unary("exp", b.binary("sub", x, top))
    return b.cast(b.binary("mul", raised, b.unary("reciprocal", b.reduce("sum", raised, (axis,)))), dtype)


def log_softmax(b: Builder, x: int, axis: int) -> int:
    """s − log(sum(exp(s))) with s = x − max(x)."""
    dtype = b.type(x).dtype
    x = wide(b, x)
    shifted = b.binary("sub", x, b.reduce("max", x, (axis,)))
    total = b.reduce("sum", b.unary("exp", shifted), (axis,))
    return b.cast(b.binary("sub", shifted, b.unary("log", total)), dtype)


def mask_scores(b: Builder, mask: int) -> int | None:
    """What a mask (i8: 1 is seen) adds to the scores: 0 or MASKED. None if all is seen."""
    data = constant_of(b, mask)
    if data is not None:
        if (data != 0).all():
            return None
        return b.constant(np.where(data != 0, 0.0, MASKED), "f32")
    zero, never = (
        b.broadcast(b.constant(np.full((1,) * len(b.shape(mask)), v), "f32"), b.shape(mask)) for v in (0.0, MASKED)
    )
    return b.select(mask, zero, never)


def causal_mask(rows: int, columns: int, offset: int) -> NDArray[np.int8]:
    """(rows, columns) of 1 where column ≤ row + offset."""
    return np.tril(np.ones((rows, columns), np.int8), offset)


def attention(
    b: Builder,
    q: int,
    k: int,
    v: int,
    mask: int | None = None,
    *,
    scale: float | None = None,
    causal_offset: int | None = None,
) -> int:
    """q (…, M, E), k (…, S, E), v (…, S, E'): matmul(q, transpose(k)) · scale + mask, softmax, matmul with v.

    The mask is broadcast to (…, M, S): floats are added, truth values (i8) become 0 and MASKED, one that hides
    nothing is left out. Leading axes are equal, or q has g times as many heads as k and v, whose heads are then
    repeated (reshape, broadcast, reshape).
    """
    dtype = b.type(q).dtype
    heads = b.shape(q)[-3] if len(b.shape(q)) > 2 else 1
    if len(b.shape(k)) > 2:
        k, v = (_repeat_heads(b, y, heads) if b.shape(y)[-3] not in (1, heads) else y for y in (k, v))
    lead = np.broadcast_shapes(*(b.shape(y)[:-2] for y in (q, k, v)))
    q, k, v = (b.spread(y, (*lead, *b.shape(y)[-2:])) for y in (q, k, v))
    rank = len(b.shape(q))
    turned = b.transpose(k, (*range(rank - 2), rank - 1, rank - 2))
    scores = b.matmul(q, turned)
    scores = scalar(b, "mul", scores, b.shape(q)[-1] ** -0.5 if scale is None else scale)
    for part in _masks(b, mask, causal_offset, b.shape(scores)[-2:]):
        scores = b.binary("add", scores, b.cast(part, "f32"))
    seen = b.matmul(b.cast(softmax(b, scores, rank - 1), dtype), v)
    blind = _blind_rows(b, mask)
    if blind is not None:
        seen = b.binary("mul", seen, b.spread(b.constant(~blind, "f32"), b.shape(seen)))
    return b.cast(seen, dtype)


def _blind_rows(b: Builder, mask: int | None) -> NDArray[np.bool_] | None:
    """(…, M, 1): rows of a known mask that may see nothing; None if there is no such row."""
    data = None if mask is None else constant_of(b, mask)
    if data is None or not data.ndim:
        return None
    blind: NDArray[np.bool_] = np.all(data == 0 if data.dtype == np.int8 else data == -np.inf, axis=-1, keepdims=True)
    return blind if blind.any() else None


def _masks(b: Builder, mask: int | None, causal_offset: int | None, shape: Sequence[int]) -> list[int]:
    parts = []
    if causal_offset is not None:
        parts.append(mask_scores(b, b.constant(causal_mask(shape[0], shape[1], causal_offset), "i8")))
    if mask is not None:
        parts.append(mask_scores(b, mask) if b.type(mask).dtype == "i8" else finite_mask(b, mask))
    return [p for p in parts if p is not None]


def finite_mask(b: Builder, mask: int) -> int | None:
    """A known mask of floats with at least MASKED everywhere; None if it is 0 everywhere."""
    data = constant_of(b, mask)
    if data is None:
        return mask
    return None if not data.any() else b.constant(np.maximum(data, MASKED), "f32")


def finite_scores(b: Builder, x: int) -> int:
    """x = scores + mask with every −∞ of the mask as MASKED, and without a mask that hides nothing.

    Sees masks that are known, and select(seen, 0, −∞).
    """
    node = b.nodes[x]
    if node.op != "binary" or node.attributes["function"] != "add":
        return x
    scores, mask = node.inputs
    finite: int | None = mask
    if constant_of(b, mask) is not None:
        finite = finite_mask(b, mask)
    elif (hidden := _behind_broadcast(b, mask)).op == "select" and number_of(b, hidden.inputs[2]) == -math.inf:
        condition, seen, _ = hidden.inputs
        finite = b.select(condition, seen, b.like(MASKED, seen))
    if finite == mask:
        return x
    return scores if finite is None else b.binary("add", scores, finite)


def _behind_broadcast(b: Builder, x: int) -> Node:
    node = b.nodes[x]
    return b.nodes[node.inputs[0]] if node.op == "broadcast" else node


def unscaled(b: Builder, x: int) -> tuple[int, float]:
    """(y, f) with x = y·f for a known number f, also behind a transpose; (x, 1) for anything else."""
    node = b.nodes[x]
    if node.op == "transpose":
        inner, factor = unscaled(b, node.inputs[0])
        return (x, 1.0) if factor == 1.0 else (b.transpose(inner, node.attributes["permutation"]), factor)
    if node.op == "binary" and node.attributes["function"] == "mul":
        number = number_of(b, node.inputs[1])
        if number is not None and math.isfinite(number):
            return node.inputs[0], number
    return x, 1.0


def _repeat_heads(b: Builder, x: int, heads: int) -> int:
    """(…, K, S, E) → (…, heads, S, E), each head `heads`/K times in a row."""
    *lead, have, length, width = b.shape(x)
    if have == 0 or heads % have:
        raise TypeRule(f"{heads} query heads cannot share {have} key heads")
    apart = b.reshape(x, (*lead, have, 1, length, width))
    return b.reshape(b.broadcast(apart, (*lead, have, heads // have, length, width)), (*lead, heads, length, width))


def multiply_pairs(b: Builder, a: tuple[int, int], c: tuple[int, int]) -> tuple[int, int]:
    """Product of complex numbers given as (real, imaginary): (a·c − b·d, a·d + b·c)."""
    real = b.binary("sub", b.binary("mul", a[0], c[0]), b.binary("mul", a[1], c[1]))
    imaginary = b.binary("add", b.binary("mul", a[0], c[1]), b.binary("mul", a[1], c[0]))
    return real, imaginary


# Pictures


def pixel_shuffle(b: Builder, x: int, factor: int, depth_first: bool = False) -> int:
    """(N, C·r·r, H, W) → (N, C, H·r, W·r), channels-last: reshape (N, H, W, C, r, r), transpose, reshape; back.

    `depth_first` takes channels in the order (r, r, C).
    """
    last = channels_last(b, x)
    n, h, w, c = b.shape(last)
    r, out = factor, c // factor**2
    if out * r * r != c:
        raise TypeRule(f"{c} channels are no multiple of {r}·{r}")
    if depth_first:
        apart = b.transpose(b.reshape(last, (n, h, w, r, r, out)), (0, 1, 3, 2, 4, 5))
    else:
        apart = b.transpose(b.reshape(last, (n, h, w, out, r, r)), (0, 1, 4, 2, 5, 3))
    return channels_first(b, b.reshape(apart, (n, h * r, w * r, out)))


def pixel_unshuffle(b: Builder, x: int, factor: int, depth_first: bool = False) -> int:
    """The inverse of `pixel_shuffle`."""
    last = channels_last(b, x)
    n, h, w, c = b.shape(last)
    r = factor
    apart = b.reshape(last, (n, h // r, r, w // r, r, c))
    order = (0, 1, 3, 2, 4, 5) if depth_first else (0, 1, 3, 5, 2, 4)
    return channels_first(b, b.reshape(b.transpose(apart, order), (n, h // r, w // r, c * r * r)))


def enlarge(b: Builder, x: int, factors: Sequence[int]) -> int:
    """(N, C, …), each place repeated: channels-last, reshape (N, H, 1, W, 1, C), broadcast, reshape; back."""
    last = channels_last(b, x)
    n, *lengths, c = b.shape(last)
    apart = b.reshape(last, (n, *(m for length in lengths for m in (length, 1)), c))
    pairs = [m for length, f in zip(lengths, factors, strict=True) for m in (length, f)]
    spread = b.broadcast(apart, (n, *pairs, c))
    return channels_first(b, b.reshape(spread, (n, *(m * f for m, f in zip(lengths, factors, strict=True)), c)))


def resize(b: Builder, x: int, matrices: Sequence[NDArray[Any] | None]) -> int:
    """(N, C, …): along each axis with a matrix (in, out) a product of rows with that constant."""
    rank, dtype = len(b.shape(x)), b.type(x).dtype
    for index, matrix in enumerate(matrices):
        if matrix is None:
            continue
        axis = 2 + index
        order = (*(i for i in range(rank) if i != axis), axis)
        product = linear(b, b.transpose(x, order), b.constant(matrix, dtype), None)
        x = b.transpose(product, tuple(int(i) for i in np.argsort(order)))
    return x


def max_pool(
    b: Builder, x: int, window: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
) -> int:
    """(N, C, …): channels-last, pool max; back."""
    return channels_first(b, b.pool("max", channels_last(b, x), window, stride, padding))


def average_pool(
    b: Builder,
    x: int,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    counts: NDArray[Any] | float,
) -> int:
    """(N, C, …): channels-last, pool sum, times 1/counts (a number, or (…out) where windows hang over); back."""
    last = channels_last(b, wide(b, x))
    total = b.pool("sum", last, window, stride, padding)
    if np.ndim(counts) == 0:
        y = scalar(b, "mul", total, 1.0 / float(counts))
    else:
        share = 1.0 / np.asarray(counts, np.float64)
        y = b.binary("mul", total, b.constant(share.reshape(1, *share.shape, 1), "f32"))
    return channels_first(b, b.cast(y, b.type(x).dtype))


def window_counts(
    lengths: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    border: Sequence[tuple[int, int]],
) -> NDArray[Any] | float:
    """How many places each window of a pool covers, those of `border` (padding that counts) included."""
    per_axis = []
    for length, size, step, (low, high), (more_low, more_high) in zip(
        lengths, window, stride, padding, border, strict=True
    ):
        starts = np.arange((length + low + high - size) // step + 1) * step - low
        per_axis.append(np.minimum(starts + size, length + more_high) - np.maximum(starts, -more_low))
    counts = per_axis[0]
    for more in per_axis[1:]:
        counts = counts[..., None] * more
    return float(counts.flat[0]) if (counts == counts.flat[0]).all() else counts


def adaptive_average_pool(b: Builder, x: int, lengths: Sequence[int]) -> int:
    """(N, C, …): channels-last; to length 1 the `mean` over the axes, for whole ratios a pool, else `resize`."""
    last = channels_last(b, wide(b, x))
    have, dtype = b.shape(last)[1:-1], b.type(x).dtype
    if all(n == 1 for n in lengths):
        return channels_first(b, b.cast(mean(b, last, range(1, 1 + len(have))), dtype))
    if all(a % n == 0 for a, n in zip(have, lengths, strict=True)):
        window = [a // n for a, n in zip(have, lengths, strict=True)]
        return average_pool(b, x, window, window, [(0, 0)] * len(window), float(math.prod(window)))
    matrices = []
    for a, n in zip(have, lengths, strict=True):
        matrix = np.zeros((a, n))
        for i in range(n):
            start, stop = i * a // n, -(-(i + 1) * a // n)
            matrix[start:stop, i] = 1.0 / (stop - start)
        matrices.append(matrix)
    return resize(b, x, matrices)


# Choosing


def shift_negative(b: Builder, indices: int, length: int) -> int:
    """Indices that may count from the end (i32), as indices from the start."""
    data = constant_of(b, indices)
    if data is not None:
        return b.constant(np.where(data < 0, data + length, data), "i32")
    below = b.binary("less", indices, b.like(0, indices))
    return b.select(below, scalar(b, "add", indices, length), indices)


def take(b: Builder, x: int, indices: int, axis: int) -> int:
    """Rows of any axis: transpose the axis to the front, gather, transpose back."""
    rank, many = len(b.shape(x)), len(b.shape(indices))
    axis %= rank
    front = b.transpose(x, (axis, *(i for i in range(rank) if i != axis)))
    rows = b.gather(front, indices)
    return b.transpose(rows, (*range(many, many + axis), *range(many), *range(many + axis, many + rank - 1)))


def take_along(b: Builder, x: int, indices: int, axis: int) -> int:
    """out[i, j] = x[i, indices[i, j]] for axis 1: one number into x laid flat."""
    shape, wanted = b.shape(x), b.shape(indices)
    if len(shape) != len(wanted):
        raise TypeRule(f"indices {wanted} must have the rank of {shape}")
    flat: int | None = None
    for i, length in enumerate(shape):
        if i == axis:
            step = indices
        else:
            line = np.arange(wanted[i]).reshape([-1 if j == i else 1 for j in range(len(shape))])
            step = b.spread(b.constant(line, "i32"), wanted)
        flat = step if flat is None else b.binary("add", scalar(b, "mul", flat, length), step)
    if flat is None:
        raise TypeRule("a scalar has no places")
    return b.gather(b.reshape(x, (math.prod(shape),)), flat)


def repeat_each(b: Builder, x: int, times: int) -> int:
    """(n,) → (n·times,), each number `times` times in a row."""
    (length,) = b.shape(x)
    return b.reshape(b.broadcast(b.reshape(x, (length, 1)), (length, times)), (length * times,))


def arg_extreme(b: Builder, x: int, axis: int, function: str) -> int:
    """Index of the first largest ("max") or smallest ("min"): the least index at which x is its extreme; i32."""
    shape = b.shape(x)
    axis %= len(shape)
    places = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    index = b.broadcast(b.constant(places, "i32"), shape)
    hit = b.binary("equal", x, b.reduce(function, x, (axis,)))
    return b.reduce("min", b.select(hit, index, b.like(shape[axis] - 1, index)), (axis,))


def repeat(b: Builder, x: int, times: Sequence[int]) -> int:
    """NumPy's tile: reshape (1, n, …), broadcast, reshape."""
    missing = len(times) - len(b.shape(x))
    shape = (1,) * missing + b.shape(x)
    apart = b.reshape(x, [m for n in shape for m in (1, n)])
    spread = b.broadcast(apart, [m for n, t in zip(shape, times, strict=True) for m in (t, n)])
    return b.reshape(spread, [n * t for n, t in zip(shape, times, strict=True)])


def flip(b: Builder, x: int, axes: Sequence[int]) -> int:
    """Reverses axes by `take` of descending indices."""
    for axis in axes:
        x = take(b, x, b.constant(np.arange(b.shape(x)[axis])[::-1], "i32"), axis)
    return x


def cumulative_sum(b: Builder, x: int, axis: int) -> int:
    """Along an axis by a product with a triangle of ones. Floats only."""
    rank, dtype = len(b.shape(x)), b.type(x).dtype
    axis %= rank
    length = b.shape(x)[axis]
    order = (*(i for i in range(rank) if i != axis), axis)
    summed = linear(b, b.transpose(x, order), b.constant(np.triu(np.ones((length, length))), dtype), None)
    return b.transpose(summed, tuple(int(i) for i in np.argsort(order)))
