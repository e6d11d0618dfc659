"""The oracle: graphs interpreted in NumPy, value by value.

Order of sums. i8 products are summed exactly in i32, which wraps around. Products of floats and sums of `reduce` and
`pool` are made in f64 and rounded once to the result's format, so that the oracle's error is that of one rounding;
another target states its own order and the tolerance that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.types import convert, numpy_dtype

Array = NDArray[Any]


def run(graph: Graph, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs and new states by name. Raises ValueError for an input that is missing or of another shape."""
    values: list[Array] = []
    every: list[tuple[Array, ...]] = []  # all outputs of a fused region
    for node in graph.nodes:
        results: tuple[Array, ...]
        if node.op == "input":
            results = (_given(node, inputs),)
        elif node.op == "constant":
            results = (graph.constants[node.attributes["key"]],)
        elif node.op == "fused":
            body = node.attributes["body"]
            inner, _ = run(body, {name: values[i] for name, i in zip(body.inputs, node.inputs, strict=True)})
            results = tuple(inner[name] for name, _ in body.outputs)
        elif node.op == "project":
            results = (every[node.inputs[0]][node.attributes["index"]],)
        else:
            results = (evaluate(node, *(values[i] for i in node.inputs)),)
        values.append(results[0])
        every.append(results)
    return {n: values[i] for n, i in graph.outputs}, {n: values[i] for n, i in graph.states}


def _given(node: Node, inputs: Mapping[str, Array]) -> Array:
    name = node.attributes["name"]
    if name not in inputs:
        raise ValueError(f"input {name!r} is missing; given are {sorted(inputs)}")
    data = np.asarray(inputs[name])
    if data.shape != node.type.shape:
        raise ValueError(f"input {name!r} must have shape {node.type.shape}, got {data.shape}")
    return convert(data, node.type.dtype)


def evaluate(node: Node, *operands: Array) -> Array:
    """One primitive on arrays, in the format that its type says."""
    if node.op in ("unary", "binary", "reduce", "pool"):
        with np.errstate(all="ignore"):
            raw = _TABLES[node.op](node.attributes["function"], node.attributes, *operands)
    else:
        raw = _SIMPLE[node.op](node, *operands)
    result = np.asarray(raw)
    if node.type.dtype == "bf16" or result.dtype != numpy_dtype(node.type.dtype):
        result = convert(result, node.type.dtype)
    assert result.shape == node.type.shape, (node.op, result.shape, node.type)
    return result


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def erf(x: Array) -> Array:
    """The error function in f64 by NumPy alone: Taylor's series below 3, the continued fraction above."""
    x = np.asarray(x, np.float64)
    small = np.clip(x, -3.0, 3.0)
    term = small.copy()
    total = small.copy()
    for n in range(1, 60):
        term = term * (-small * small / n)
        total = total + term / (2 * n + 1)
    near = 2.0 / np.sqrt(np.pi) * total
    large = np.maximum(np.abs(x), 3.0)
    fraction = np.zeros_like(large)
    for n in range(60, 0, -1):
        fraction = (n / 2.0) / (large + fraction)
    far = 1.0 - np.exp(-large * large) / (np.sqrt(np.pi) * (large + fraction))
    return np.where(np.isnan(x), x, np.where(np.abs(x) < 3.0, near, np.sign(x) * far))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "erf": erf,
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "neg": np.negative,
    "not": lambda x: (x == 0).astype(np.int8),
    "reciprocal": lambda x: 1.0 / x,
    "round": np.rint,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda a, b: np.divide(a, b) if a.dtype.kind == "f" else _divide(a, b),
    "max": np.maximum,
    "min": np.minimum,
    "pow": lambda a, b: np.power(a, b),
    "less": lambda a, b: (a < b).astype(np.int8),
    "less_equal": lambda a, b: (a <= b).astype(np.int8),
    "equal": lambda a, b: (a == b).astype(np.int8),
    "and": lambda a, b: ((a != 0) & (b != 0)).astype(np.int8),
    "or": lambda a, b: ((a != 0) | (b != 0)).astype(np.int8),
}


def _divide(a: Array, b: Array) -> Array:
    """Integers divide towards zero; by zero gives 0."""
    safe = np.where(b == 0, 1, b).astype(np.int64)
    quotient = np.abs(a.astype(np.int64)) // np.abs(safe) * np.sign(a) * np.sign(safe)
    return np.where(b == 0, 0, quotient).astype(a.dtype)


_REDUCE: dict[str, Any] = {"sum": np.sum, "max": np.max, "min": np.min}


def _reduce(function: str, attributes: Mapping[str, Any], x: Array) -> Array:
    return _over(function, x, attributes["axes"], keepdims=True)


def _over(function: str, x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Sums of integers wrap around in their format."""
    if x.dtype.kind != "i":
        return np.asarray(_REDUCE[function](_wide(x), axis=axes, keepdims=keepdims))
    return np.asarray(_REDUCE[function](x.astype(np.int64), axis=axes, keepdims=keepdims)).astype(x.dtype)


def _pool(function: str, attributes: Mapping[str, Any], x: Array) -> Array:
    window, stride, padding = attributes["window"], attributes["stride"], attributes["padding"]
    fill = 0.0 if function == "sum" else (-np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    axes = tuple(range(1, 1 + len(window)))
    views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=axes)
    views = views[(slice(None), *(slice(None, None, s) for s in stride))]
    return _over(function, views, tuple(range(x.ndim, views.ndim)))


_TABLES: dict[str, Callable[..., Array]] = {
    "unary": lambda f, _, x: _UNARY[f](_wide(x)),
    "binary": lambda f, _, a, b: _BINARY[f](_wide(a), _wide(b)),
    "reduce": _reduce,
    "pool": _pool,
}


def _product(a: Array, b: Array) -> Array:
    """f64 holds products and sums of i8 exactly up to 2^53, far beyond i32."""
    product = np.matmul(a.astype(np.float64), b.astype(np.float64))
    return _wrap(product) if a.dtype == np.int8 else product


def _wrap(exact: Array) -> Array:
    """i32 sums wrap around as the processor's do."""
    return exact.astype(np.int64).astype(np.int32)


def _convolution(node: Node, x: Array, w: Array) -> Array:
    stride, dilation = node.attributes["stride"], node.attributes["dilation"]
    groups, rank = node.attributes["groups"], x.ndim - 2
    padded = np.pad(x, ((0, 0), *node.attributes["padding"], (0, 0)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[:rank], strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(1, 1 + rank)))
    index = (slice(None), *(slice(None, None, s) for s in stride), slice(None))
    views = views[index + tuple(slice(None, None, d) for d in dilation)]  # (N, …out, C, …kernel)
    outer = views.shape[: 1 + rank]
    inside, outside = x.shape[-1] // groups, w.shape[-1] // groups
    parts = []
    for group in range(groups):
        part = views[(slice(None),) * (1 + rank) + (slice(group * inside, (group + 1) * inside),)]
        inner = math_product(w.shape[:-1])
        flat = np.moveaxis(part, 1 + rank, -1).reshape(math_product(outer), inner)
        weight = w[..., group * outside : (group + 1) * outside].reshape(inner, outside)
        parts.append(_product(flat, weight).reshape(*outer, outside))
    return np.concatenate(parts, axis=-1)


def math_product(lengths: tuple[int, ...]) -> int:
    return int(np.prod(lengths, dtype=np.int64))


def _update(node: Node, state: Array, patch: Array, index: Array) -> Array:
    axis = node.attributes["axis"]
    start = int(np.clip(index, 0, state.shape[axis] - patch.shape[axis]))
    result = state.copy()
    result[(slice(None),) * axis + (slice(start, start + patch.shape[axis]),)] = patch
    return result


_SIMPLE: dict[str, Any] = {
    "select": lambda n, c, a, b: np.where(c != 0, a, b),
    "cast": lambda n, x: convert(x, n.type.dtype),
    "matmul": lambda n, a, b: _product(a, b),
    "convolution": _convolution,
    "reshape": lambda n, x: x.reshape(n.type.shape),
    "transpose": lambda n, x: x.transpose(n.attributes["permutation"]),
    "broadcast": lambda n, x: np.broadcast_to(x, n.type.shape),
    "concatenate": lambda n, *xs: np.concatenate(xs, axis=n.attributes["axis"]),
    "slice": lambda n, x: x[tuple(map(slice, n.attributes["starts"], n.attributes["stops"], n.attributes["steps"]))],
    "pad": lambda n, x: np.pad(
        x,
        tuple(zip(n.attributes["low"], n.attributes["high"], strict=True)),
        constant_values=convert(np.asarray(n.attributes["value"]), n.type.dtype),
    ),
    "gather": lambda n, data, indices: data[np.clip(indices, 0, data.shape[0] - 1)],
    "update": _update,
}
