"""The table from torch's operators to canonical forms.

A form is a function of the context (`torch_export._Import`, here `c`) and of the operator's arguments by the names of
its schema, `self` and `input` being called `x`. It returns a value's number, or a tuple of them. Arguments that are
tensors are `Value`, `Pair` (complex) or, if known while importing, a torch tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elsewhere.compiler.importers import forms, sampling
from elsewhere.compiler.importers.torch_export import Pair, Value, _Import
from elsewhere.compiler.ir.types import FLOATS

FORMS: dict[str, Callable[..., Any]] = {}


def form(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            FORMS[name] = function
        return function

    return register


def every(numbers: Any, rank: int) -> list[int]:
    """One number an axis: torch repeats a lone one."""
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return numbers * rank if len(numbers) == 1 else numbers


def as_result(c: _Import, number: int) -> int:
    """Cast to the format that torch says the result has."""
    return c.b.cast(number, c.ours(c.result.dtype))


# Elementwise


def _promoted(c: _Import, *operands: Any) -> Any:
    """torch's common format of tensors and numbers."""
    import torch

    def stand_in(value: Any) -> Any:
        if isinstance(value, Value):
            return torch.empty((1,) * len(c.b.shape(value.number)), dtype=value.dtype)
        return value.new_empty((1,) * value.ndim) if isinstance(value, torch.Tensor) else value

    first, *others = map(stand_in, operands)
    kind = torch.result_type(first, others[0]) if others else first.dtype
    for other in others[1:]:
        kind = torch.promote_types(kind, torch.result_type(first, other))
    return kind


def _is_value(value: Any) -> bool:
    return isinstance(value, (Value, Pair))


def operands(c: _Import, *values: Any, dtype: Any = None) -> list[int]:
    """Numbers of tensors and plain numbers in one format and one shape."""
    dtype = dtype or _promoted(c, *values)
    like = next(v.number for v in values if isinstance(v, Value))
    return list(c.b.match(*(c.as_type(v, dtype, like) for v in values)))


def _arithmetic(function: str, commutes: bool) -> Callable[..., int]:
    def apply(c: _Import, x: Any, other: Any, alpha: float = 1, **_: Any) -> Any:
        if isinstance(x, Pair) or isinstance(other, Pair):
            return _complex(c, function, x, other)
        if commutes and not _is_value(x) and _is_value(other) and alpha == 1:
            x, other = other, x
        a, b = operands(c, x, other, dtype=c.result.dtype)
        if alpha != 1:
            b = forms.scalar(c.b, "mul", b, alpha)
        if c.ours(c.result.dtype) == "i8" and function in ("mul", "add"):
            return c.b.binary("and" if function == "mul" else "or", a, b)
        return c.b.binary(function, a, b)

    return apply


FORMS["add"] = _arithmetic("add", True)
FORMS["sub"] = _arithmetic("sub", False)
FORMS["mul"] = _arithmetic("mul", True)
FORMS["maximum"] = _arithmetic("max", True)
FORMS["minimum"] = _arithmetic("min", True)


def _pair(c: _Import, value: Any) -> Pair:
    """A complex or real value as two."""
    import torch

    if isinstance(value, Pair):
        return value
    if isinstance(value, torch.Tensor) and value.is_complex():
        return Pair(c.constant(value.real.contiguous()), c.constant(value.imag.contiguous()))
    raise c.refuse("complex numbers beyond rotation (view_as_complex, mul, view_as_real)")


def _complex(c: _Import, function: str, x: Any, other: Any) -> Pair:
    if function != "mul":
        raise c.refuse(f"`{function}` of complex numbers; rotation by `mul` is covered")
    a, b = _pair(c, x), _pair(c, other)
    return Pair(*forms.multiply_pairs(c.b, (a.real, a.imaginary), (b.real, b.imaginary)))


@form("rsub")
def _rsub(c: _Import, x: Any, other: Any, alpha: float = 1) -> Any:
    return FORMS["sub"](c, x=other, other=x, alpha=alpha)


@form("div", "true_divide")
def _div(c: _Import, x: Any, other: Any, rounding_mode: str | None = None, **_: Any) -> int:
    dtype = c.result.dtype
    a, b = operands(c, x, other, dtype=dtype)
    if rounding_mode is None:
        return forms.divide(c.b, a, b)
    if not dtype.is_floating_point:
        return c.b.binary("div", a, b) if rounding_mode == "trunc" else _floor_divide(c, a, b)
    quotient = c.b.binary("div", a, b)
    if rounding_mode == "floor":
        return c.b.unary("floor", quotient)
    return c.b.binary("mul", c.b.unary("floor", c.b.unary("abs", quotient)), c.b.unary("sign", quotient))


def _floor_divide(c: _Import, a: int, b: int) -> int:
    """Of i32: towards minus infinity."""
    quotient = c.b.binary("div", a, b)
    rest = c.b.binary("sub", a, c.b.binary("mul", quotient, b))
    zero = c.b.like(0, rest)
    other_sign = c.b.binary("less", c.b.binary("mul", c.b.unary("sign", rest), c.b.unary("sign", b)), zero)
    return c.b.binary("sub", quotient, c.b.cast(other_sign, "i32"))


@form("floor_divide")
def _floordiv(c: _Import, x: Any, other: Any) -> int:
    return _div(c, x, other, rounding_mode="floor")


@form("remainder")
def _remainder(c: _Import, x: Any, other: Any) -> int:
    a, b = operands(c, x, other, dtype=c.result.dtype)
    real = c.result.dtype.is_floating_point
    whole = c.b.unary("floor", c.b.binary("div", a, b)) if real else _floor_divide(c, a, b)
    return c.b.binary("sub", a, c.b.binary("mul", whole, b))


def _compare(function: str, swapped: bool = False, negated: bool = False) -> Callable[..., int]:
    def apply(c: _Import, x: Any, other: Any) -> int:
        a, b = operands(c, x, other)
        if c.b.type(a).dtype == "i8" and function in ("less", "less_equal"):
            a, b = c.b.cast(a, "i32"), c.b.cast(b, "i32")
        hit = c.b.binary(function, b, a) if swapped else c.b.binary(function, a, b)
        return c.b.unary("not", hit) if negated else hit

    return apply


FORMS["lt"] = _compare("less")
FORMS["le"] = _compare("less_equal")
FORMS["gt"] = _compare("less", swapped=True)
FORMS["ge"] = _compare("less_equal", swapped=True)
FORMS["eq"] = _compare("equal")
FORMS["ne"] = _compare("equal", negated=True)


def _logic(function: str) -> Callable[..., int]:
    def apply(c: _Import, x: Any, other: Any) -> int:
        import torch

        if c.result.dtype != torch.bool:
            raise c.refuse("operations on single bits")
        a, b = operands(c, x, other, dtype=torch.bool)
        return c.b.binary(function, a, b)

    return apply


FORMS["__and__"] = FORMS["bitwise_and"] = FORMS["logical_and"] = _logic("and")
FORMS["__or__"] = FORMS["bitwise_or"] = FORMS["logical_or"] = _logic("or")


@form("logical_not", "bitwise_not")
def _not(c: _Import, x: Any) -> int:
    import torch

    if c.node.target is torch.ops.aten.bitwise_not.default and x.dtype != torch.bool:
        raise c.refuse("operations on single bits")
    return c.b.unary("not", c.as_type(x, torch.bool))


def _unary(function: str) -> Callable[..., int]:
    def apply(c: _Import, x: Any, **_: Any) -> int:
        dtype = c.result.dtype
        number = c.as_type(x, dtype)
        if function in ("floor", "ceil", "round") and not dtype.is_floating_point:
            return number
        return c.b.unary(function, number)

    return apply


for _name in ("abs", "ceil", "cos", "erf", "exp", "floor", "log", "neg", "reciprocal", "rsqrt", "sigmoid", "sign"):
    FORMS[_name] = _unary(_name)
for _name in ("sin", "sqrt", "tanh"):
    FORMS[_name] = _unary(_name)


@form("round")
def _round(c: _Import, x: Any, decimals: int = 0) -> int:
    if decimals:
        raise c.refuse(f"rounding to {decimals} decimals")
    return _unary("round")(c, x)


@form("trunc")
def _trunc(c: _Import, x: Any) -> int:
    number = c.tensor(x)
    return c.b.binary("mul", c.b.unary("floor", c.b.unary("abs", number)), c.b.unary("sign", number))


@form("log1p", "expm1")
def _near_one(c: _Import, x: Any) -> int:
    number = c.as_type(x, c.result.dtype)
    if "log1p" in str(c.node.target):
        return c.b.unary("log", forms.scalar(c.b, "add", number, 1.0))
    return forms.scalar(c.b, "sub", c.b.unary("exp", number), 1.0)


@form("square")
def _square(c: _Import, x: Any) -> int:
    return forms.power(c.b, c.tensor(x), 2.0)


@form("pow")
def _pow(c: _Import, x: Any, exponent: Any) -> int:
    dtype = c.result.dtype
    if isinstance(exponent, (int, float)):
        return forms.power(c.b, c.as_type(x, dtype), float(exponent))
    a, b = operands(c, x, exponent, dtype=dtype)
    number = forms.number_of(c.b, b)
    return c.b.binary("pow", a, b) if number is None else forms.power(c.b, a, number)


@form("clamp", "clamp_min", "clamp_max", "hardtanh")
def _clamp(c: _Import, x: Any, min: Any = None, max: Any = None, min_val: Any = None, max_val: Any = None) -> int:
    low, high = min if min_val is None else min_val, max if max_val is None else max_val
    number = c.as_type(x, c.result.dtype)
    for function, bound in (("max", low), ("min", high)):
        if bound is not None:
            a, b = c.b.match(number, c.as_type(bound, c.result.dtype, number))
            number = c.b.binary(function, a, b)
    return number


@form("addcmul", "addcdiv")
def _addcmul(c: _Import, x: Any, tensor1: Any, tensor2: Any, value: float = 1) -> int:
    """x + tensor1·tensor2·value."""
    a, t1, t2 = operands(c, x, tensor1, tensor2, dtype=c.result.dtype)
    product = forms.divide(c.b, t1, t2) if "addcdiv" in str(c.node.target) else c.b.binary("mul", t1, t2)
    if value != 1:
        product = forms.scalar(c.b, "mul", product, value)
    return c.b.binary("add", a, product)


@form("lerp")
def _lerp(c: _Import, x: Any, end: Any, weight: Any) -> int:
    a, z, w = operands(c, x, end, weight, dtype=c.result.dtype)
    return c.b.binary("add", a, c.b.binary("mul", c.b.binary("sub", z, a), w))


@form("where")
def _where(c: _Import, condition: Any, x: Any, other: Any) -> int:
    import torch

    dtype = c.result.dtype
    shape = c.b.broadcast(c.b.constant(np.zeros((1,) * len(c.result.shape)), "i8"), tuple(c.result.shape))
    choices = [c.as_type(v, dtype, shape) for v in (x, other)]
    return c.b.select(c.as_type(condition, torch.bool), *choices)


@form("masked_fill")
def _masked_fill(c: _Import, x: Any, mask: Any, value: Any) -> int:
    import torch

    kept = c.tensor(x)
    return c.b.select(c.as_type(mask, torch.bool), c.as_type(value, x.dtype, kept), kept)


@form("tril", "triu")
def _triangle(c: _Import, x: Any, diagonal: int = 0) -> int:
    number = c.tensor(x)
    shape = c.b.shape(number)[-2:]
    ones = np.ones(shape, np.int8)
    keep = np.tril(ones, diagonal) if ".tril." in str(c.node.target) else np.triu(ones, diagonal)
    return c.b.select(c.b.constant(keep, "i8"), number, c.b.like(0, number))


# Activations

for _name, _function in (
    ("relu", forms.relu),
    ("silu", forms.silu),
    ("hardswish", forms.hard_swish),
    ("hardsigmoid", forms.hard_sigmoid),
):
    FORMS[_name] = lambda c, x, _function=_function, **_: _function(c.b, c.tensor(x))


@form("relu6")
def _relu6(c: _Import, x: Any) -> int:
    return forms.clamp(c.b, c.tensor(x), 0.0, 6.0)


@form("gelu")
def _gelu(c: _Import, x: Any, approximate: str = "none") -> int:
    return forms.gelu(c.b, c.tensor(x), approximate == "tanh")


@form("leaky_relu")
def _leaky(c: _Import, x: Any, negative_slope: float) -> int:
    return forms.leaky_relu(c.b, c.tensor(x), negative_slope)


@form("elu")
def _elu(c: _Import, x: Any, alpha: float, scale: float, input_scale: float) -> int:
    return forms.elu(c.b, c.tensor(x), alpha, scale, input_scale)


@form("softplus")
def _softplus(c: _Import, x: Any, beta: float = 1, threshold: float = 20) -> int:
    y = forms.softplus(c.b, forms.scalar(c.b, "mul", c.tensor(x), beta) if beta != 1 else c.tensor(x))
    return y if beta == 1 else forms.scalar(c.b, "mul", y, 1.0 / beta)


@form("mish")
def _mish(c: _Import, x: Any) -> int:
    return c.b.binary("mul", c.tensor(x), c.b.unary("tanh", forms.softplus(c.b, c.tensor(x))))


@form("log_sigmoid", "log_sigmoid_forward")
def _log_sigmoid(c: _Import, x: Any) -> Any:
    y = c.b.unary("neg", forms.softplus(c.b, c.b.unary("neg", c.tensor(x))))
    return (y, None) if isinstance(c.result, (list, tuple)) else y


@form("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(c: _Import, x: Any, dim: int, **_: Any) -> int:
    function = forms.log_softmax if "log_softmax" in str(c.node.target) else forms.softmax
    return as_result(c, function(c.b, c.as_type(x, c.result.dtype), dim))


# Shapes


@form("view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "view_as", "reshape_as")
def _reshape(c: _Import, x: Any, **_: Any) -> Any:
    """All that only changes the shape: torch says to which."""
    if isinstance(x, Pair):
        shape = tuple(c.result.shape)
        return Pair(c.b.reshape(x.real, shape), c.b.reshape(x.imaginary, shape))
    if c.result.dtype != x.dtype:
        raise c.refuse("the bits of one format read as another")
    return c.b.reshape(c.tensor(x), tuple(c.result.shape))


@form(
    "clone", "alias", "detach", "contiguous", "lift_fresh_copy", "lift", "dropout", "native_dropout", "_to_copy", "to"
)
@form("type_as", "float", "int", "bool", "half", "bfloat16", "double", "long", "to_dtype", "feature_dropout")
def _same(c: _Import, x: Any, train: bool | None = False, p: float = 0.0, **_: Any) -> Any:
    """Copies, and conversions to the format that torch says."""
    if train and p > 0.0:
        raise c.refuse("dropout in training; call .eval() first")
    if isinstance(x, Pair):
        return x
    return c.as_type(x, c.result.dtype)


@form("copy")
def _copy(c: _Import, x: Any, src: Any, **_: Any) -> int:
    return c.b.spread(c.as_type(src, c.result.dtype), tuple(c.result.shape))


def _transposed(c: _Import, x: Any, order: Sequence[int]) -> Any:
    if isinstance(x, Pair):
        return Pair(c.b.transpose(x.real, order), c.b.transpose(x.imaginary, order))
    return c.b.transpose(c.tensor(x), order)


@form("transpose", "t", "numpy_T", "mT", "swapaxes")
def _transpose(c: _Import, x: Any, dim0: int = -2, dim1: int = -1, **_: Any) -> Any:
    rank = len(c.result.shape)
    order = list(range(rank))
    if rank > 1:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return _transposed(c, x, order)


@form("permute")
def _permute(c: _Import, x: Any, dims: Sequence[int]) -> Any:
    return _transposed(c, x, [d % len(dims) for d in dims])


@form("expand", "expand_as", "broadcast_to")
def _expand(c: _Import, x: Any, **_: Any) -> Any:
    shape = tuple(c.result.shape)
    if isinstance(x, Pair):
        return Pair(c.b.spread(x.real, shape), c.b.spread(x.imaginary, shape))
    return c.b.spread(c.tensor(x), shape)


@form("slice")
def _slice(c: _Import, x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    def cut(number: int) -> int:
        length = c.b.shape(number)[dim]
        first, last, stride = slice(start, end, step).indices(length)
        return c.b.narrow(number, dim, first, max(first, last), stride)

    return Pair(cut(x.real), cut(x.imaginary)) if isinstance(x, Pair) else cut(c.tensor(x))


@form("narrow")
def _narrow(c: _Import, x: Any, dim: int, start: int, length: int) -> int:
    return c.b.narrow(c.tensor(x), dim, start, start + length)


@form("select")
def _select(c: _Import, x: Any, dim: int, index: int) -> int:
    number = c.tensor(x)
    at = index % c.b.shape(number)[dim]
    return c.b.reshape(c.b.narrow(number, dim, at, at + 1), tuple(c.result.shape))


def _parts(c: _Import, number: int, dim: int, lengths: Sequence[int]) -> tuple[int, ...]:
    stops = np.cumsum(lengths).tolist()
    return tuple(c.b.narrow(number, dim, stop - n, stop) for n, stop in zip(lengths, stops, strict=True))


@form("full_like", "ones_like", "zeros_like", "new_full", "new_ones", "new_zeros")
def _filled(c: _Import, fill_value: float | None = None, **_: Any) -> int:
    """A tensor of one number, of which only the shape depends on anything."""
    name = str(c.node.target)
    number = fill_value if fill_value is not None else (1 if "ones" in name else 0)
    shape = tuple(c.result.shape)
    one = c.b.constant(np.full((1,) * len(shape), number), c.ours(c.result.dtype))
    return c.b.broadcast(one, shape)


@form("unsafe_split", "unsafe_split_with_sizes")
@form("split", "split_with_sizes", "chunk", "tensor_split", "split_copy", "split_with_sizes_copy")
def _split(c: _Import, x: Any, dim: int = 0, **_: Any) -> tuple[int, ...]:
    return _parts(c, c.tensor(x), dim, [f.shape[dim] for f in c.result])


@form("unbind")
def _unbind(c: _Import, x: Any, dim: int = 0) -> tuple[int, ...]:
    number = c.tensor(x)
    count = c.b.shape(number)[dim]
    parts = _parts(c, number, dim, [1] * count)
    return tuple(forms.drop_axes(c.b, p, (dim,)) for p in parts)


@form("cat", "concatenate", "concat")
def _cat(c: _Import, tensors: Sequence[Any], dim: int = 0) -> int:
    # torch lets an empty vector join tensors of any rank.
    real = [t for t in tensors if not (len(_shape(c, t)) == 1 and _shape(c, t)[0] == 0 and len(c.result.shape) > 1)]
    return c.b.concatenate([c.as_type(t, c.result.dtype) for t in real], dim)


@form("stack")
def _stack(c: _Import, tensors: Sequence[Any], dim: int = 0) -> int:
    rank = len(c.result.shape)
    shape = [1 if i == dim % rank else n for i, n in enumerate(c.result.shape)]
    return c.b.concatenate([c.b.reshape(c.as_type(t, c.result.dtype), shape) for t in tensors], dim)


def _shape(c: _Import, value: Any) -> tuple[int, ...]:
    return c.b.shape(value.number) if isinstance(value, Value) else tuple(value.shape)


@form("repeat", "tile")
def _repeat(c: _Import, x: Any, repeats: Sequence[int] = (), dims: Sequence[int] = ()) -> int:
    times = list(repeats or dims)
    missing = len(_shape(c, x)) - len(times)
    return forms.repeat(c.b, c.tensor(x), [1] * missing + times)


@form("repeat_interleave")
def _repeat_interleave(c: _Import, x: Any, repeats: Any, dim: int | None = None, **_: Any) -> int:
    number = c.tensor(x)
    if dim is None:
        number, dim = c.b.reshape(number, (math.prod(c.b.shape(number)),)), 0
    if not isinstance(repeats, int):
        counts = c.known(repeats)
        if counts is None:
            raise c.refuse("numbers of repetitions that are known before the run")
        return forms.take(c.b, number, c.b.constant(np.repeat(np.arange(len(counts)), counts), "i32"), dim)
    shape = list(c.b.shape(number))
    dim %= len(shape)
    apart = c.b.reshape(number, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
    return c.b.reshape(c.b.broadcast(apart, (*shape[: dim + 1], repeats, *shape[dim + 1 :])), tuple(c.result.shape))


@form("flip")
def _flip(c: _Import, x: Any, dims: Sequence[int]) -> int:
    return forms.flip(c.b, c.tensor(x), dims)


@form("roll")
def _roll(c: _Import, x: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> int:
    number = c.tensor(x)
    shape = c.b.shape(number)
    if not dims:
        number, dims = c.b.reshape(number, (math.prod(shape),)), (0,)
    for shift, dim in zip(shifts, dims, strict=True):
        length = c.b.shape(number)[dim]
        cut = -shift % length if length else 0
        if cut:
            parts = [c.b.narrow(number, dim, cut, length), c.b.narrow(number, dim, 0, cut)]
            number = c.b.concatenate(parts, dim)
    return c.b.reshape(number, shape)


@form("constant_pad_nd", "pad")
def _pad(c: _Import, x: Any, pad: Sequence[int], value: float | None = 0.0, mode: str = "constant") -> int:
    number = c.tensor(x)
    if mode != "constant":
        return _border(c, number, pad, mode)
    rank = len(c.b.shape(number))
    low, high = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        low[rank - 1 - i], high[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    for axis in range(rank):
        start, stop = max(0, -low[axis]), c.b.shape(number)[axis] - max(0, -high[axis])
        number = c.b.narrow(number, axis, start, stop)
    return c.b.pad(number, [max(0, n) for n in low], [max(0, n) for n in high], value or 0.0)


def _border(c: _Import, number: int, pad: Sequence[int], mode: str) -> int:
    """Padding that repeats the picture: by `take` of the places that are repeated."""
    rank = len(c.b.shape(number))
    for i in range(len(pad) // 2):
        axis = rank - 1 - i
        kind = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        places = np.pad(np.arange(c.b.shape(number)[axis]), (pad[2 * i], pad[2 * i + 1]), mode=kind)  # type: ignore[call-overload]
        number = forms.take(c.b, number, c.b.constant(places, "i32"), axis)
    return number


@form(*(f"{kind}_pad{axes}d" for kind in ("reflection", "replication") for axes in (1, 2, 3)))
def _repeating_pad(c: _Import, x: Any, padding: Sequence[int]) -> int:
    return _border(c, c.tensor(x), padding, "reflect" if "reflection" in str(c.node.target) else "replicate")


@form("view_as_complex")
def _view_as_complex(c: _Import, x: Any) -> Pair:
    number = c.as_type(x, c.dtype_of(x))
    real, imaginary = (forms.drop_axes(c.b, p, (-1,)) for p in _parts(c, number, -1, (1, 1)))
    return Pair(real, imaginary)


@form("complex")
def _make_complex(c: _Import, real: Any, imag: Any) -> Pair:
    return Pair(*c.b.match(c.tensor(real), c.tensor(imag)))


@form("polar")
def _polar(c: _Import, abs: Any, angle: Any) -> Pair:
    length, turn = operands(c, abs, angle)
    return Pair(c.b.binary("mul", c.b.unary("cos", turn), length), c.b.binary("mul", c.b.unary("sin", turn), length))


@form("view_as_real")
def _view_as_real(c: _Import, x: Any) -> int:
    pair = _pair(c, x)
    shape = (*c.b.shape(pair.real), 1)
    return c.b.concatenate([c.b.reshape(pair.real, shape), c.b.reshape(pair.imaginary, shape)], len(shape) - 1)


@form("real", "imag")
def _part(c: _Import, x: Any) -> int:
    pair = _pair(c, x)
    return pair.real if ".real" in str(c.node.target) else pair.imaginary


# Choosing


@form("embedding")
def _embedding(c: _Import, weight: Any, indices: Any, **_: Any) -> int:
    return c.b.gather(c.tensor(weight), c.tensor(indices))


@form("index_select")
def _index_select(c: _Import, x: Any, dim: int, index: Any) -> int:
    return forms.take(c.b, c.tensor(x), c.tensor(index), dim)


def _no_truth(c: _Import, indices: Sequence[Any]) -> None:
    import torch

    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        raise c.refuse("choosing by truth values, whose count is known only while running")


@form("index", "_unsafe_index")
def _index(c: _Import, x: Any, indices: Sequence[Any]) -> int:
    """x[i, :, j, …]: one index is a `take`; several are one number into their axes laid flat."""
    _no_truth(c, indices)
    number = c.tensor(x)
    shape = c.b.shape(number)
    axes = [a for a, i in enumerate(indices) if i is not None]
    places = [forms.shift_negative(c.b, c.tensor(indices[a]), shape[a]) for a in axes]
    if len(axes) == 1:
        return forms.take(c.b, number, places[0], axes[0])
    places = list(c.b.match(*places))
    flat = places[0]
    for place, axis in zip(places[1:], axes[1:], strict=True):
        flat = c.b.binary("add", forms.scalar(c.b, "mul", flat, shape[axis]), place)
    others = [a for a in range(len(shape)) if a not in axes]
    front = c.b.transpose(number, (*axes, *others))
    front = c.b.reshape(front, (math.prod(shape[a] for a in axes), *(shape[a] for a in others)))
    rows = c.b.gather(front, flat)
    many = len(c.b.shape(flat))
    at = axes[0] if axes == list(range(axes[0], axes[0] + len(axes))) else 0
    return c.b.transpose(rows, (*range(many, many + at), *range(many), *range(many + at, many + len(others))))


@form("gather")
def _gather(c: _Import, x: Any, dim: int, index: Any, **_: Any) -> int:
    return forms.take_along(c.b, c.tensor(x), c.tensor(index), dim % len(_shape(c, x)))


@form("slice_scatter")
def _slice_scatter(
    c: _Import, x: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> int:
    first, _, stride = slice(start, end, step).indices(_shape(c, x)[dim])
    if stride != 1:
        raise c.refuse("writing with a step")
    patch = c.as_type(src, c.result.dtype)
    return c.b.update(c.tensor(x), patch, c.b.constant(np.array(first), "i32"), dim % len(c.result.shape))


@form("select_scatter")
def _select_scatter(c: _Import, x: Any, src: Any, dim: int, index: int) -> int:
    shape = list(c.result.shape)
    at, shape[dim] = index % shape[dim], 1
    patch = c.b.reshape(c.as_type(src, c.result.dtype), shape)
    return c.b.update(c.tensor(x), patch, c.b.constant(np.array(at), "i32"), dim % len(shape))


def _written(c: _Import, x: Any, dim: int, index: Any, patch: int) -> int:
    """`update` along an axis at places that follow one another."""
    number = c.tensor(x)
    length = c.b.shape(number)[dim]
    places = c.known(index)
    if places is not None:
        places = np.where(places < 0, places + length, places).reshape(-1)
        if not len(places) or (np.diff(places) != 1).any():
            raise c.refuse("writing at places that do not follow one another")
        start = c.b.constant(np.array(places[0]), "i32")
    elif math.prod(_shape(c, index)) == 1:
        start = forms.shift_negative(c.b, c.b.reshape(c.tensor(index), ()), length)
    else:
        raise c.refuse("writing at several places that are known only while running")
    return c.b.update(number, patch, start, dim)


@form("index_copy")
def _index_copy(c: _Import, x: Any, dim: int, index: Any, source: Any) -> int:
    return _written(c, x, dim % len(c.result.shape), index, c.as_type(source, c.result.dtype))


@form("index_put", "_unsafe_index_put")
def _index_put(c: _Import, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> int:
    _no_truth(c, indices)
    axes = [a for a, i in enumerate(indices) if i is not None]
    if accumulate or len(axes) != 1:
        raise c.refuse("writing at places of several axes at once, or adding there")
    (axis,) = axes
    shape = list(c.result.shape)
    shape[axis] = math.prod(_shape(c, indices[axis]))
    patch = c.as_type(values, c.result.dtype)
    return _written(c, x, axis, indices[axis], c.b.spread(patch, shape))


# Sums


def _axes(c: _Import, x: Any, dim: Any) -> list[int]:
    rank = len(_shape(c, x))
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return list(range(rank))
    return sorted({d % rank for d in ([dim] if isinstance(dim, int) else dim)}) if rank else []


def _reduced(c: _Import, number: int) -> int:
    return c.b.reshape(as_result(c, number), tuple(c.result.shape))


@form("mean")
def _mean(c: _Import, x: Any, dim: Any = None, **_: Any) -> int:
    return _reduced(c, forms.mean(c.b, forms.wide(c.b, c.as_type(x, c.result.dtype)), _axes(c, x, dim)))


@form("sum")
def _sum(c: _Import, x: Any, dim: Any = None, **_: Any) -> int:
    axes = _axes(c, x, dim)
    number = forms.wide(c.b, c.as_type(x, c.result.dtype))
    return _reduced(c, c.b.reduce("sum", number, axes) if axes else number)


def _extreme(function: str) -> Callable[..., Any]:
    def apply(c: _Import, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
        number = c.tensor(x)
        shape = tuple(c.result[0].shape) if isinstance(c.result, (list, tuple)) else tuple(c.result.shape)
        best = c.b.reshape(c.b.reduce(function, number, _axes(c, x, dim)), shape)
        if not isinstance(c.result, (list, tuple)):
            return best
        return best, c.b.reshape(forms.arg_extreme(c.b, number, dim, function), shape)

    return apply


FORMS["amax"] = _extreme("max")
FORMS["amin"] = _extreme("min")


@form("max", "min")
def _max(c: _Import, x: Any, other: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    function = str(c.node.target).split(".")[1]
    if other is not None:
        return _arithmetic(function, True)(c, x, other)
    return _extreme(function)(c, x, dim, keepdim)


@form("argmax", "argmin")
def _argmax(c: _Import, x: Any, dim: int | None = None, keepdim: bool = False) -> int:
    number = c.tensor(x)
    if dim is None:
        number, dim = c.b.reshape(number, (math.prod(c.b.shape(number)),)), 0
    function = "max" if "argmax" in str(c.node.target) else "min"
    return c.b.reshape(forms.arg_extreme(c.b, number, dim, function), tuple(c.result.shape))


@form("any", "all")
def _any(c: _Import, x: Any, dim: Any = None, **_: Any) -> int:
    import torch

    function = "max" if ".any" in str(c.node.target) else "min"
    return c.b.reshape(c.b.reduce(function, c.as_type(x, torch.bool), _axes(c, x, dim)), tuple(c.result.shape))


@form("var", "std")
def _var(c: _Import, x: Any, dim: Any = None, correction: float | None = None, unbiased: bool = True, **_: Any) -> int:
    axes = _axes(c, x, dim)
    number = forms.wide(c.b, c.tensor(x))
    count = math.prod(c.b.shape(number)[a] for a in axes)
    less = (1 if unbiased else 0) if correction is None else correction
    centred = c.b.binary("sub", number, forms.mean(c.b, number, axes))
    total = c.b.reduce("sum", c.b.binary("mul", centred, centred), axes)
    variance = forms.scalar(c.b, "mul", total, 1.0 / max(count - less, 0.0) if count > less else math.nan)
    return _reduced(c, c.b.unary("sqrt", variance) if "std" in str(c.node.target) else variance)


@form("linalg_vector_norm", "norm")
def _norm(c: _Import, x: Any, ord: Any = 2, p: Any = None, dim: Any = None, **_: Any) -> int:
    order = ord if p is None else p
    number, axes = forms.wide(c.b, c.tensor(x)), _axes(c, x, dim)
    if order == 2:
        return _reduced(c, c.b.unary("sqrt", c.b.reduce("sum", c.b.binary("mul", number, number), axes)))
    if order in (1, math.inf):
        return _reduced(c, c.b.reduce("sum" if order == 1 else "max", c.b.unary("abs", number), axes))
    raise c.refuse(f"the norm of order {order}; 1, 2 and infinity are covered")


@form("cumsum")
def _cumsum(c: _Import, x: Any, dim: int, **_: Any) -> int:
    if c.ours(c.result.dtype) not in FLOATS:
        raise c.refuse("running sums of integers")
    return forms.cumulative_sum(c.b, c.as_type(x, c.result.dtype), dim)


# Products


@form("linear")
def _linear(c: _Import, x: Any, weight: Any, bias: Any = None) -> int:
    turned = c.b.transpose(c.tensor(weight), (1, 0)) if isinstance(weight, Value) else c.constant(weight.t())
    return forms.linear(c.b, c.tensor(x), turned, c.maybe(bias))


@form("matmul", "mm", "bmm", "mv", "dot")
def _matmul(c: _Import, x: Any, other: Any = None, mat2: Any = None, vec: Any = None, tensor: Any = None) -> int:
    second = next(v for v in (other, mat2, vec, tensor) if v is not None)
    return forms.matmul(c.b, c.tensor(x), c.tensor(second))


@form("addmm", "baddbmm")
def _addmm(
    c: _Import,
    x: Any,
    mat1: Any = None,
    mat2: Any = None,
    batch1: Any = None,
    batch2: Any = None,
    beta: float = 1,
    alpha: float = 1,
) -> int:
    first, second = (mat1, mat2) if mat1 is not None else (batch1, batch2)
    if alpha == beta == 1 and len(_shape(c, x)) == 1 and len(_shape(c, second)) == 2:
        return forms.linear(c.b, c.tensor(first), c.tensor(second), c.tensor(x))
    product = forms.matmul(c.b, c.tensor(first), c.tensor(second))
    product = product if alpha == 1 else forms.scalar(c.b, "mul", product, alpha)
    bias = c.tensor(x) if beta == 1 else forms.scalar(c.b, "mul", c.tensor(x), beta)
    return c.b.binary("add", product, bias)


@form("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _convolution(
    c: _Import,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    transposed: bool | None = None,
    output_padding: Any = 0,
    groups: int = 1,
) -> int:
    number = c.tensor(x)
    kernel = _shape(c, weight)[2:]
    rank = len(kernel)
    lone = len(c.b.shape(number)) == rank + 1
    if lone:
        number = c.b.reshape(number, (1, *c.b.shape(number)))
    stride, dilation = every(stride, rank), every(dilation, rank)
    pairs = _padding(padding, kernel, dilation)
    if transposed or "conv_transpose" in str(c.node.target):
        data = c.known(weight)
        if data is None:
            raise c.refuse("a transposed convolution whose kernel is known before the run")
        y = forms.transposed_convolution(
            c.b, number, data, c.maybe(bias), stride=stride, padding=pairs,
            output_padding=every(output_padding, rank), dilation=dilation, groups=groups,
        )  # fmt: skip
    else:
        order = (*range(2, 2 + rank), 1, 0)
        kernel_last = (
            c.b.transpose(c.tensor(weight), order) if isinstance(weight, Value) else c.constant(weight.permute(order))
        )
        y = forms.convolution(
            c.b, number, kernel_last, c.maybe(bias), stride=stride, padding=pairs, dilation=dilation, groups=groups
        )
    return c.b.reshape(y, c.b.shape(y)[1:]) if lone else y


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(s // 2, s - s // 2) for s in spans]
    return [(n, n) for n in every(padding, len(kernel))]


@form("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")
def _attention(
    c: _Import,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    **_: Any,
) -> Any:
    if dropout_p > 0.0:
        raise c.refuse("dropout in attention; call .eval() first")
    made = forms.attention(
        c.b, c.tensor(query), c.tensor(key), c.tensor(value), c.maybe(attn_mask),
        scale=scale, causal_offset=0 if is_causal else None,
    )  # fmt: skip
    return (made, None) if isinstance(c.result, (list, tuple)) else made


# Normalisation


@form("layer_norm", "native_layer_norm")
def _layer_norm(
    c: _Import,
    x: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    **_: Any,
) -> Any:
    y = forms.layer_norm(c.b, c.tensor(x), len(normalized_shape), c.maybe(weight), c.maybe(bias), eps)
    return (y, None, None) if isinstance(c.result, (list, tuple)) else y


@form("rms_norm", "_fused_rms_norm")
def _rms_norm(c: _Import, x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    import torch

    epsilon = torch.finfo(x.dtype).eps if eps is None else eps
    y = forms.rms_norm(c.b, c.tensor(x), len(normalized_shape), c.maybe(weight), epsilon)
    return (y, None) if isinstance(c.result, (list, tuple)) else y


@form("group_norm")
def _group_norm(
    c: _Import, x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, **_: Any
) -> int:
    return forms.group_norm(c.b, c.tensor(x), num_groups, c.maybe(weight), c.maybe(bias), eps)


@form("native_group_norm")
def _native_group_norm(c: _Import, x: Any, weight: Any, bias: Any, group: int, eps: float, **_: Any) -> Any:
    return forms.group_norm(c.b, c.tensor(x), group, c.maybe(weight), c.maybe(bias), eps), None, None


@form("instance_norm")
def _instance_norm(
    c: _Import,
    x: Any,
    weight: Any,
    bias: Any,
    use_input_stats: bool,
    eps: float,
    running_mean: Any = None,
    running_var: Any = None,
    **_: Any,
) -> int:
    if not use_input_stats:
        return _batch_norm(c, x, weight, bias, running_mean, running_var, eps=eps)
    return forms.group_norm(c.b, c.tensor(x), _shape(c, x)[1], c.maybe(weight), c.maybe(bias), eps)


@form("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def _batch_norm(
    c: _Import,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool = False,
    eps: float = 1e-5,
    **_: Any,
) -> Any:
    if training:
        raise c.refuse("batch norm in training; call .eval() first")
    data = [None if v is None else c.known(v) for v in (running_mean, running_var, weight, bias)]
    if data[0] is None or data[1] is None:
        raise c.refuse("batch norm whose statistics are known before the run")
    y = forms.batch_norm(c.b, c.tensor(x), data[0], data[1], data[2], data[3], eps)
    return (y, None, None) if isinstance(c.result, (list, tuple)) else y


# Pictures


@form("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(c: _Import, x: Any, upscale_factor: int = 1, downscale_factor: int = 1) -> int:
    shape = _shape(c, x)
    number = c.b.reshape(c.tensor(x), (math.prod(shape[:-3]), *shape[-3:]))
    if "unshuffle" in str(c.node.target):
        y = forms.pixel_unshuffle(c.b, number, downscale_factor)
    else:
        y = forms.pixel_shuffle(c.b, number, upscale_factor)
    return c.b.reshape(y, tuple(c.result.shape))


@form("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d")
@form("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d")
def _upsample(c: _Import, x: Any, align_corners: bool = False, scale_factors: Any = None, **sizes: Any) -> int:
    name = str(c.node.target)
    old, new = _shape(c, x)[2:], tuple(c.result.shape)[2:]
    given = scale_factors or [sizes.get("scales", sizes.get(f"scales_{axis}")) for axis in "dhw"[-len(new) :]]
    scales = [s or n / o for s, n, o in zip(given, new, old, strict=True)]
    if "nearest" in name and all(n % o == 0 and s == n // o for n, o, s in zip(new, old, scales, strict=True)):
        return forms.enlarge(c.b, c.tensor(x), [n // o for n, o in zip(new, old, strict=True)])
    if "nearest" in name:
        mode, coordinates = "nearest", "half_pixel" if "exact" in name else "asymmetric"
    else:
        mode, coordinates = "cubic" if "cubic" in name else "linear", "align_corners" if align_corners else "half_pixel"
    rounding = "round_prefer_ceil" if "exact" in name else "floor"
    matrices = [
        None if n == o else sampling.matrix(o, n, mode, coordinates, scale=s, rounding=rounding)
        for o, n, s in zip(old, new, scales, strict=True)
    ]
    return forms.resize(c.b, c.tensor(x), matrices)


def _batched(c: _Import, x: Any, rank: int) -> int:
    """With the batch axis that torch lets one leave out."""
    number = c.tensor(x)
    return number if len(c.b.shape(number)) == rank + 2 else c.b.reshape(number, (1, *c.b.shape(number)))


def _over(length: int, size: int, step: int, low: int, dilation: int, out: int) -> int:
    """Padding behind an axis so that `out` windows fit (ceil_mode hangs over the border)."""
    return max(low, (out - 1) * step + dilation * (size - 1) + 1 - length - low)


@form("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(
    c: _Import, x: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    several = isinstance(c.result, (list, tuple))
    shape = tuple((c.result[0] if several else c.result).shape)
    rank = len(kernel_size) if not isinstance(kernel_size, int) else 2
    window = every(kernel_size, rank)
    steps = every(stride, rank) if stride else window
    if any(d != 1 for d in every(dilation, rank)):
        raise c.refuse("pooling with dilation")
    number = _batched(c, x, rank)
    low = every(padding, rank)
    pairs = [
        (p, _over(n, w, s, p, 1, out))
        for p, n, w, s, out in zip(low, c.b.shape(number)[2:], window, steps, shape[-rank:], strict=True)
    ]
    y = c.b.reshape(forms.max_pool(c.b, number, window, steps, pairs), shape)
    return (y, None) if several else y


@form("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    c: _Import,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> int:
    shape = tuple(c.result.shape)
    rank = len(kernel_size) if not isinstance(kernel_size, int) else 2
    window = every(kernel_size, rank)
    steps = every(stride, rank) if stride else window
    number = _batched(c, x, rank)
    lengths, low = c.b.shape(number)[2:], every(padding, rank)
    pairs = [
        (p, _over(n, w, s, p, 1, out))
        for p, n, w, s, out in zip(low, lengths, window, steps, shape[-rank:], strict=True)
    ]
    border = [(p, p) if count_include_pad else (0, 0) for p in low]
    counts = divisor_override or forms.window_counts(lengths, window, steps, pairs, border)
    return c.b.reshape(forms.average_pool(c.b, number, window, steps, pairs, counts), shape)


@form("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool(c: _Import, x: Any, output_size: Any) -> int:
    shape = tuple(c.result.shape)
    rank = len(output_size)
    return c.b.reshape(forms.adaptive_average_pool(c.b, _batched(c, x, rank), shape[-rank:]), shape)
