"""The primitives as data: how many operands, which attributes, and the type of the result.

Nothing broadcasts by itself: operands of an elementwise primitive have one shape, and `broadcast` says where
a length of 1 is repeated. Convolution and pooling are channels-last.

Arithmetic on integers, sums included, wraps around; integers divide towards zero, by zero to 0. Only `cast` saturates.
bf16 and f16 are formats of memory: a target may carry more digits from one primitive to the next, but not over a cast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elsewhere.compiler.ir.types import DTYPES, FLOATS, Tensor

MAXIMUM_ELEMENTS = 2**31
"""No tensor may be larger: offsets are checked once here instead of everywhere."""

UNARY = (
    "abs",
    "ceil",
    "cos",
    "erf",
    "exp",
    "floor",
    "log",
    "neg",
    "not",
    "reciprocal",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "tanh",
)
BINARY = ("add", "sub", "mul", "div", "max", "min", "pow", "less", "less_equal", "equal", "and", "or")
COMPARE = ("less", "less_equal", "equal", "and", "or")
REDUCE = ("sum", "max", "min")
POOL = ("max", "sum")
FUSED = ("contract", "attention", "rows", "map")
"""Kinds of fused regions; the body says what is calculated, the kind how."""


class TypeRule(ValueError):
    """An operand or attribute breaks the operation's rule."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One primitive. `operands` is None where any number ≥ 1 is right."""

    operands: int | None
    attributes: tuple[str, ...]
    infer: Callable[[Sequence[Tensor], Mapping[str, Any]], Tensor]
    meaning: str


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise TypeRule(message)


def _axis(axis: int, rank: int) -> int:
    _need(isinstance(axis, int) and 0 <= axis < rank, f"axis must be in 0…{rank - 1}, got {axis!r}")
    return axis


def _given(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    dtype, shape = attributes["dtype"], attributes["shape"]
    _need(dtype in DTYPES, f"dtype must be one of {tuple(DTYPES)}, got {dtype!r}")
    _need(all(isinstance(n, int) and n >= 0 for n in shape), f"lengths must be integers ≥ 0, got {shape!r}")
    return Tensor(dtype, tuple(shape))


def _unary(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,) = types
    function = attributes["function"]
    _need(function in UNARY, f"function must be one of {UNARY}, got {function!r}")
    if function == "not":
        _need(x.dtype == "i8", f"`not` takes truth values (i8), got {x}")
    elif function not in ("abs", "neg", "sign"):
        _need(x.dtype in FLOATS, f"{function} takes floats, got {x}")
    return x


def _binary(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    a, b = types
    function = attributes["function"]
    _need(function in BINARY, f"function must be one of {BINARY}, got {function!r}")
    _need(a == b, f"operands must have one type, got {a} and {b}")
    if function in ("and", "or"):
        _need(a.dtype == "i8", f"{function} takes truth values (i8), got {a}")
    _need(function != "pow" or a.dtype in FLOATS, f"pow takes floats, got {a}")
    return Tensor("i8", a.shape) if function in COMPARE else a


def _select(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    condition, a, b = types
    _need(condition == Tensor("i8", a.shape), f"the condition must be i8 of shape {a.shape}, got {condition}")
    _need(a == b, f"both choices must have one type, got {a} and {b}")
    return a


def _cast(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    _need(attributes["dtype"] in DTYPES, f"dtype must be one of {tuple(DTYPES)}, got {attributes['dtype']!r}")
    return Tensor(attributes["dtype"], types[0].shape)


def product_dtype(a: str, b: str) -> str:
    """What a matmul or convolution of two formats gives: i32 from i8, f32 from floats."""
    _need((a == "i8") == (b == "i8") and "i32" not in (a, b), f"cannot multiply {a} by {b}")
    return "i32" if a == "i8" else "f32"


def _matmul(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    a, b = types
    _need(len(a.shape) == len(b.shape) >= 2, f"both must have one rank ≥ 2, got {a} and {b}")
    _need(a.shape[:-2] == b.shape[:-2], f"batch lengths must be equal, got {a} and {b}")
    _need(a.shape[-1] == b.shape[-2], f"inner lengths must be equal, got {a} and {b}")
    return Tensor(product_dtype(a.dtype, b.dtype), (*a.shape[:-1], b.shape[-1]))


def window_length(length: int, window: int, stride: int, dilation: int, low: int, high: int) -> int:
    """How many windows fit along one axis."""
    return (length + low + high - dilation * (window - 1) - 1) // stride + 1


def _convolution(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    x, w = types
    rank = len(x.shape) - 2
    _need(rank >= 1 and len(w.shape) == rank + 2, f"x is (N, …, C) and w (…, C/groups, O), got {x} and {w}")
    stride, dilation, padding = attributes["stride"], attributes["dilation"], attributes["padding"]
    groups = attributes["groups"]
    _need(len(stride) == len(dilation) == len(padding) == rank, f"one stride, dilation and padding per axis of {rank}")
    _need(all(n >= 1 for n in (*stride, *dilation, groups)), "strides, dilations and groups must be ≥ 1")
    _need(all(low >= 0 and high >= 0 for low, high in padding), f"padding must be ≥ 0, got {padding}")
    _need(x.shape[-1] == groups * w.shape[-2], f"channels {x.shape[-1]} must be groups·{w.shape[-2]}, groups={groups}")
    _need(w.shape[-1] % groups == 0, f"{w.shape[-1]} output channels cannot be split in {groups} groups")
    shape = [window_length(x.shape[1 + i], w.shape[i], stride[i], dilation[i], *padding[i]) for i in range(rank)]
    _need(all(n >= 1 for n in shape), f"the window is larger than the padded input, got {x} and {w}")
    return Tensor(product_dtype(x.dtype, w.dtype), (x.shape[0], *shape, w.shape[-1]))


def _reduce(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,) = types
    _need(attributes["function"] in REDUCE, f"function must be one of {REDUCE}, got {attributes['function']!r}")
    axes = attributes["axes"]
    _need(len(set(axes)) == len(axes) > 0, f"axes must differ, got {axes}")
    for axis in axes:
        _axis(axis, len(x.shape))
        _need(x.shape[axis] > 0 or attributes["function"] == "sum", f"nothing to reduce along axis {axis} of {x}")
    return Tensor(x.dtype, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _reshape(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    shape = tuple(attributes["shape"])
    _need(math.prod(shape) == types[0].size, f"{types[0]} has {types[0].size} elements, {shape} {math.prod(shape)}")
    return Tensor(types[0].dtype, shape)


def _transpose(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,), order = types, attributes["permutation"]
    _need(sorted(order) == list(range(len(x.shape))), f"{order} is no permutation of the axes of {x}")
    return Tensor(x.dtype, tuple(x.shape[i] for i in order))


def _broadcast(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,), shape = types, tuple(attributes["shape"])
    _need(len(shape) == len(x.shape), f"ranks must be equal, got {x} and {shape}")
    _need(all(a in (1, b) for a, b in zip(x.shape, shape, strict=True)), f"cannot broadcast {x} to {shape}")
    return Tensor(x.dtype, shape)


def _concatenate(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    first = types[0]
    axis = _axis(attributes["axis"], len(first.shape))
    for other in types:
        same = len(other.shape) == len(first.shape) and all(
            a == b for i, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if i != axis
        )
        _need(same and other.dtype == first.dtype, f"cannot concatenate {other} with {first} along axis {axis}")
    length = sum(t.shape[axis] for t in types)
    return Tensor(first.dtype, (*first.shape[:axis], length, *first.shape[axis + 1 :]))


def _slice(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,), starts, stops, steps = types, attributes["starts"], attributes["stops"], attributes["steps"]
    _need(len(starts) == len(stops) == len(steps) == len(x.shape), f"one start, stop and step per axis of {x}")
    for n, start, stop, step in zip(x.shape, starts, stops, steps, strict=True):
        _need(0 <= start <= stop <= n and step >= 1, f"slice {start}:{stop}:{step} is outside an axis of {n}")
    return Tensor(x.dtype, tuple(-(-(b - a) // s) for a, b, s in zip(starts, stops, steps, strict=True)))


def _pad(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,), low, high = types, attributes["low"], attributes["high"]
    _need(len(low) == len(high) == len(x.shape), f"one low and high per axis of {x}")
    _need(all(n >= 0 for n in (*low, *high)), f"padding must be ≥ 0, got {low}, {high}")
    _need(isinstance(attributes["value"], (int, float)), f"value must be a number, got {attributes['value']!r}")
    return Tensor(x.dtype, tuple(a + n + b for a, n, b in zip(low, x.shape, high, strict=True)))


def _gather(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    data, indices = types
    _need(indices.dtype == "i32" and len(data.shape) >= 1, f"indices must be i32, got {indices}")
    _need(data.shape[0] > 0, f"there is no row to gather in {data}")
    return Tensor(data.dtype, (*indices.shape, *data.shape[1:]))


def _pool(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    (x,), rank = types, len(types[0].shape) - 2
    window, stride, padding = attributes["window"], attributes["stride"], attributes["padding"]
    _need(attributes["function"] in POOL, f"function must be one of {POOL}, got {attributes['function']!r}")
    _need(rank >= 1 and len(window) == len(stride) == len(padding) == rank, f"one window, stride, padding an axis: {x}")
    _need(all(n >= 1 for n in (*window, *stride)), "windows and strides must be ≥ 1")
    _need(all(0 <= n < w for w, pair in zip(window, padding, strict=True) for n in pair), "padding must be < window")
    lengths = [window_length(x.shape[1 + i], window[i], stride[i], 1, *padding[i]) for i in range(rank)]
    _need(all(n >= 1 for n in lengths), f"the window is larger than the padded input, got {x}")
    return Tensor(x.dtype, (x.shape[0], *lengths, x.shape[-1]))


def _update(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    state, patch, index = types
    axis = _axis(attributes["axis"], len(state.shape))
    _need(index == Tensor("i32", ()), f"the index must be i32[], got {index}")
    fits = len(patch.shape) == len(state.shape) and all(
        a == b or (i == axis and b <= a) for i, (a, b) in enumerate(zip(state.shape, patch.shape, strict=True))
    )
    _need(fits and patch.dtype == state.dtype, f"{patch} does not fit into {state} along axis {axis}")
    return state


def _fused(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    body = attributes["body"]
    _need(attributes["kind"] in FUSED, f"kind must be one of {FUSED}, got {attributes['kind']!r}")
    wanted = [body.nodes[i].type for i in body.inputs.values()]
    _need(list(types) == wanted, f"the body takes {list(map(str, wanted))}, got {list(map(str, types))}")
    result: Tensor = body.nodes[body.outputs[0][1]].type
    return result


def _project(types: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
    return _given(types, attributes)


OPERATIONS: dict[str, Operation] = {
    "input": Operation(0, ("name", "dtype", "shape"), _given, "what a run is given"),
    "constant": Operation(0, ("key", "dtype", "shape"), _given, "data known ahead"),
    "unary": Operation(1, ("function",), _unary, "a function of every element"),
    "binary": Operation(2, ("function",), _binary, "a function of every two elements"),
    "select": Operation(3, (), _select, "the second where the first is not 0, else the third"),
    "cast": Operation(1, ("dtype",), _cast, "conversion; to integers rounds to even and saturates"),
    "matmul": Operation(2, (), _matmul, "(…, M, K)·(…, K, N); i8 sums in i32, floats in f32"),
    "convolution": Operation(
        2, ("stride", "dilation", "padding", "groups"), _convolution, "x (N, …, C), w (…, C/groups, O), zero padding"
    ),
    "reduce": Operation(1, ("function", "axes"), _reduce, "along axes, which stay with length 1"),
    "reshape": Operation(1, ("shape",), _reshape, "the same elements in row-major order"),
    "transpose": Operation(1, ("permutation",), _transpose, "axis i of the result is axis permutation[i]"),
    "broadcast": Operation(1, ("shape",), _broadcast, "repeats axes of length 1"),
    "concatenate": Operation(None, ("axis",), _concatenate, "one after the other along an axis"),
    "slice": Operation(1, ("starts", "stops", "steps"), _slice, "a regular part of every axis"),
    "pad": Operation(1, ("low", "high", "value"), _pad, "a border of one value"),
    "gather": Operation(2, (), _gather, "rows of the first by the second's numbers, which are clamped into range"),
    "pool": Operation(
        1, ("function", "window", "stride", "padding"), _pool, "over windows of (N, …, C), padding left out"
    ),
    "update": Operation(3, ("axis",), _update, "the first with the second written at an index (clamped) of an axis"),
    "fused": Operation(None, ("kind", "body"), _fused, "a region that becomes one kernel; its first output"),
    "project": Operation(1, ("index", "dtype", "shape"), _project, "another output of a fused region"),
}
