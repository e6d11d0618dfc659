"""The table from ONNX's operators to canonical forms, and what is calculated while importing.

A form is a function of the context (`onnx._Import`, here `c`), which knows the node's inputs and attributes; it returns
a value's number, known data, or a tuple of them. `KNOWN` has the operators that models calculate shapes, masks and
positions with; they are evaluated in NumPy where all operands are known, and return None for too large a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms, onnx_format, sampling
from elsewhere.compiler.importers.onnx import DTYPES, _Import, as_data
from elsewhere.compiler.importers.onnx_format import Data
from elsewhere.compiler.ir.types import FLOATS

FORMS: dict[str, Callable[[_Import], Any]] = {}
KNOWN: dict[str, Callable[..., Any]] = {}
KNOWN_ELEMENTS = 2**22
"""No value calculated while importing may have more elements, unless it repeats what is stored once."""


def form(*names: str) -> Callable[[Callable[[_Import], Any]], Callable[[_Import], Any]]:
    def register(function: Callable[[_Import], Any]) -> Callable[[_Import], Any]:
        for name in names:
            FORMS[name] = function
        return function

    return register


def known(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            KNOWN[name] = function
        return function

    return register


def axis_of(axis: int, rank: int) -> int:
    """Counted from the front. Raises IndexError."""
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} of {rank}")
    return axis % rank


def limited(count: int) -> None:
    if count > KNOWN_ELEMENTS:
        raise ValueError(f"{count} elements, more than {KNOWN_ELEMENTS}")


# Elementwise

_CALCULATE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Not": np.logical_not,
    "Neg": np.negative,
    "Abs": np.abs,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tanh": np.tanh,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "IsNaN": np.isnan,
    "Reciprocal": np.reciprocal,
    "Where": np.where,
}


def _calculated(name: str) -> Callable[..., Data | None]:
    def apply(c: _Import, *operands: Data) -> Data | None:
        arrays = [o.array for o in operands]
        if math.prod(np.broadcast_shapes(*(a.shape for a in arrays))) > KNOWN_ELEMENTS:
            return None
        with np.errstate(all="ignore"):
            made = _CALCULATE[name](*arrays)
        if any(o.bf16 for o in operands):
            return None
        return as_data(made)

    return apply


for _name in _CALCULATE:
    KNOWN[_name] = _calculated(_name)


@known("Div", "Mod", "Pow")
def _known_quotient(c: _Import, a: Data, b: Data) -> Data | None:
    x, y = a.array, b.array
    if a.bf16 or math.prod(np.broadcast_shapes(x.shape, y.shape)) > KNOWN_ELEMENTS:
        return None
    with np.errstate(all="ignore"):
        if c.node.kind == "Pow":
            return as_data(
                np.power(x, y).astype(x.dtype)
                if x.dtype.kind == "f"
                else np.power(x.astype(np.float64), y).astype(x.dtype)
            )
        if c.node.kind == "Mod":
            return as_data(np.fmod(x, y) if c.get("fmod", 0) else np.mod(x, y))
        if x.dtype.kind == "f":
            return as_data(np.divide(x, y))
        if (y == 0).any():
            raise ValueError("division by zero")
        return as_data((np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype))


@known("Min", "Max")
def _known_extreme(c: _Import, *operands: Data) -> Data | None:
    limited(math.prod(np.broadcast_shapes(*(o.array.shape for o in operands))))
    made = operands[0].array
    for other in operands[1:]:
        made = np.minimum(made, other.array) if c.node.kind == "Min" else np.maximum(made, other.array)
    return as_data(made, operands[0])


def _binary(function: str) -> Callable[[_Import], int]:
    def apply(c: _Import) -> int:
        a, b = c.tensor(0), c.tensor(1)
        if function in ("add", "mul") and isinstance(c.input(0), Data) and not isinstance(c.input(1), Data):
            a, b = b, a
        return c.b.binary(function, a, b)

    return apply


for _name, _function in (("Add", "add"), ("Sub", "sub"), ("Mul", "mul"), ("And", "and"), ("Or", "or")):
    FORMS[_name] = _binary(_function)
for _name, _function in (("Less", "less"), ("LessOrEqual", "less_equal"), ("Equal", "equal")):
    FORMS[_name] = _binary(_function)


@form("Greater", "GreaterOrEqual")
def _greater(c: _Import) -> int:
    return c.b.binary("less" if c.node.kind == "Greater" else "less_equal", c.tensor(1), c.tensor(0))


@form("Xor")
def _xor(c: _Import) -> int:
    return c.b.unary("not", c.b.binary("equal", c.tensor(0), c.tensor(1)))


@form("Div")
def _div(c: _Import) -> int:
    return forms.divide(c.b, c.tensor(0), c.tensor(1))


@form("Mod")
def _mod(c: _Import) -> int:
    a, b = c.b.match(c.tensor(0), c.tensor(1))
    quotient = c.b.binary("div", a, b)
    if c.b.type(a).dtype in FLOATS:  # ONNX allows fmod alone for floats
        quotient = c.b.binary("mul", c.b.unary("floor", c.b.unary("abs", quotient)), c.b.unary("sign", quotient))
        return c.b.binary("sub", a, c.b.binary("mul", quotient, b))
    rest = c.b.binary("sub", a, c.b.binary("mul", quotient, b))
    if c.get("fmod", 0):
        return rest
    zero = c.b.like(0, rest)
    wrong = c.b.binary("less", c.b.binary("mul", c.b.unary("sign", rest), c.b.unary("sign", b)), zero)
    return c.b.binary("add", rest, c.b.binary("mul", c.b.cast(wrong, c.b.type(b).dtype), b))


@form("Pow")
def _pow(c: _Import) -> int:
    x = c.tensor(0)
    exponent = c.b.cast(c.tensor(1), c.b.type(x).dtype)
    number = forms.number_of(c.b, exponent)
    return c.b.binary("pow", x, exponent) if number is None else forms.power(c.b, x, number)


@form("Min", "Max", "Sum")
def _extreme(c: _Import) -> int:
    made = c.tensor(0)
    for i in range(1, len(c.node.inputs)):
        made = c.b.binary({"Min": "min", "Max": "max", "Sum": "add"}[c.node.kind], made, c.tensor(i))
    return made


@form("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Neg")
@form("Not", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Tanh")
def _unary(c: _Import) -> int:
    return c.b.unary(c.node.kind.lower(), c.tensor(0))


@form("Reciprocal")
def _reciprocal(c: _Import) -> int:
    x = c.tensor(0)
    return forms.divide(c.b, c.b.like(1.0, x), x)


@form("IsNaN")
def _is_nan(c: _Import) -> Any:
    """not (x = x). Exporters guard a softmax with it, which here has no NaN to guard against."""
    x = c.tensor(0)
    if x in c.softmaxes:
        return Data(np.broadcast_to(np.array(False), c.b.shape(x)))
    return c.b.unary("not", c.b.binary("equal", x, x))


@form("Where")
def _where(c: _Import) -> Any:
    condition = c.input(0)
    a, b = c.tensor(1), c.tensor(2)
    if isinstance(condition, Data) and (condition.array == condition.array.flat[0]).all():
        chosen = a if condition.array.flat[0] else b
        return c.b.spread(chosen, np.broadcast_shapes(condition.array.shape, c.b.shape(a), c.b.shape(b)))
    return c.b.select(c.tensor(0), a, b)


@form("Clip")
def _clip(c: _Import) -> int:
    x = c.tensor(0)
    for function, index in (("max", 1), ("min", 2)):
        if c.input(index) is not None:
            x = c.b.binary(function, x, c.b.spread(c.tensor(index), c.b.shape(x)))
    return x


# Activations

FORMS["Relu"] = lambda c: forms.relu(c.b, c.tensor(0))
FORMS["HardSwish"] = lambda c: forms.hard_swish(c.b, c.tensor(0))
FORMS["HardSigmoid"] = lambda c: forms.hard_sigmoid(c.b, c.tensor(0), c.get("alpha", 0.2), c.get("beta", 0.5))
FORMS["Gelu"] = lambda c: forms.gelu(c.b, c.tensor(0), c.get("approximate", "none") == "tanh")
FORMS["LeakyRelu"] = lambda c: forms.leaky_relu(c.b, c.tensor(0), c.get("alpha", 0.01))
FORMS["Elu"] = lambda c: forms.elu(c.b, c.tensor(0), c.get("alpha", 1.0))
FORMS["Selu"] = lambda c: forms.elu(c.b, c.tensor(0), c.get("alpha", 1.6732632), c.get("gamma", 1.050701))
FORMS["Softplus"] = lambda c: forms.softplus(c.b, c.tensor(0))


@form("Mish")
def _mish(c: _Import) -> int:
    return c.b.binary("mul", c.tensor(0), c.b.unary("tanh", forms.softplus(c.b, c.tensor(0))))


@form("PRelu")
def _prelu(c: _Import) -> int:
    x = c.tensor(0)
    low = c.b.binary("mul", x, c.b.spread(c.tensor(1), c.b.shape(x)))
    return c.b.select(c.b.binary("less_equal", c.b.like(0.0, x), x), x, low)


@form("Softmax", "LogSoftmax")
def _softmax(c: _Import) -> int:
    x = forms.finite_scores(c.b, c.tensor(0))
    axis = axis_of(c.get("axis", -1), len(c.b.shape(x)))
    if c.node.kind == "LogSoftmax":
        return forms.log_softmax(c.b, x, axis)
    made = forms.softmax(c.b, x, axis)
    c.softmaxes.add(made)
    return made


# Shapes


@form("Identity", "Dropout")
def _identity(c: _Import) -> Any:
    if len(c.node.outputs) > 1 and c.node.outputs[1]:
        raise c.refuse("the mask of a dropout")
    if c.input(2) is not None and bool(c.data(2, "a mode").any()):
        raise c.refuse("dropout in training")
    return c.input(0), None


@form("Constant")
def _constant(c: _Import) -> Data:
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for name, value in c.node.attributes.items():
        if name == "value" and isinstance(value, Data):
            return value
        if name in kinds:
            return as_data(np.array(value, kinds[name]))
    raise c.refuse(f"a constant given as {sorted(c.node.attributes)}")


@form("Shape")
def _shape(c: _Import) -> Data:
    return as_data(np.array(c.shape(c.input(0))[c.get("start", 0) : c.get("end")], np.int64))


@form("Size")
def _size(c: _Import) -> Data:
    return as_data(np.array(math.prod(c.shape(c.input(0))), np.int64))


@known("ConstantOfShape")
def _filled(c: _Import, shape: Data) -> Data:
    value = c.get("value", Data(np.zeros(1, np.float32)))
    lengths = tuple(int(n) for n in shape.array.reshape(-1))
    return Data(np.broadcast_to(value.array.reshape(()), lengths), value.bf16)


@known("Range")
def _range(c: _Import, start: Data, limit: Data, step: Data) -> Data:
    a, z, s = (d.array.reshape(()).item() for d in (start, limit, step))
    count = max(0, math.ceil((z - a) / s))
    limited(count)
    return as_data((a + np.arange(count) * s).astype(start.array.dtype))


def _target(c: _Import, have: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Reshape's rules: 0 keeps a length (unless allowzero), −1 takes what is left."""
    shape = [have[i] if n == 0 and not c.get("allowzero", 0) else n for i, n in enumerate(wanted)]
    if shape.count(-1) == 1:
        rest = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(have) // rest if rest else 0
    if any(n < 0 for n in shape) or math.prod(shape) != math.prod(have):
        raise ValueError(f"{tuple(have)} cannot become {tuple(wanted)}")
    return tuple(shape)


def _reshaped(c: _Import, shape: Sequence[int]) -> Any:
    operand = c.input(0)
    if isinstance(operand, Data):
        if operand.array.size > KNOWN_ELEMENTS and 0 in operand.array.strides:
            return c.b.reshape(c.value(operand), shape)
        return Data(operand.array.reshape(tuple(shape)), operand.bf16)
    return c.b.reshape(c.value(operand), shape)


@form("Reshape")
def _reshape(c: _Import) -> Any:
    return _reshaped(c, _target(c, c.shape(c.input(0)), c.integers(1, "a shape")))


@form("Flatten")
def _flatten(c: _Import) -> Any:
    shape = c.shape(c.input(0))
    axis = c.get("axis", 1)
    axis = axis if axis >= 0 else axis + len(shape)
    return _reshaped(c, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@form("Squeeze")
def _squeeze(c: _Import) -> Any:
    shape = c.shape(c.input(0))
    default = [i for i, n in enumerate(shape) if n == 1]
    gone = {axis_of(a, len(shape)) for a in c.integers(1, "axes", default)}
    return _reshaped(c, [n for i, n in enumerate(shape) if i not in gone])


@form("Unsqueeze")
def _unsqueeze(c: _Import) -> Any:
    shape = list(c.shape(c.input(0)))
    axes = c.integers(1, "axes")
    rank = len(shape) + len(axes)
    if rank > 64:
        raise ValueError(f"{rank} axes")
    for axis in sorted(axis_of(a, rank) for a in axes):
        shape.insert(axis, 1)
    return _reshaped(c, shape)


@form("Transpose")
def _transpose(c: _Import) -> Any:
    operand = c.input(0)
    order = c.get("perm") or list(range(len(c.shape(operand))))[::-1]
    if isinstance(operand, Data):
        return Data(operand.array.transpose(order), operand.bf16)
    return c.b.transpose(c.value(operand), order)


@form("Expand")
def _expand(c: _Import) -> Any:
    operand = c.input(0)
    shape = np.broadcast_shapes(c.shape(operand), tuple(c.integers(1, "a shape")))
    if isinstance(operand, Data):
        return Data(np.broadcast_to(operand.array, shape), operand.bf16)
    return c.b.spread(c.value(operand), shape)


@known("Concat")
def _known_concat(c: _Import, *operands: Data) -> Data | None:
    if sum(o.array.size for o in operands) > KNOWN_ELEMENTS:
        return None
    return as_data(np.concatenate([o.array for o in operands], axis=c.get("axis")), operands[0])


@form("Concat")
def _concat(c: _Import) -> int:
    values = [c.tensor(i) for i in range(len(c.node.inputs))]
    return c.b.concatenate(values, axis_of(c.get("axis"), len(c.b.shape(values[0]))))


@form("Split")
def _split(c: _Import) -> tuple[int, ...]:
    x = c.tensor(0)
    axis = axis_of(c.get("axis", 0), len(c.b.shape(x)))
    length, count = c.b.shape(x)[axis], c.get("num_outputs", len(c.node.outputs))
    limited(count)
    size = -(-length // count)
    even = [size] * (count - 1) + [length - size * (count - 1)]
    lengths = c.integers(1, "lengths", even)
    if sum(lengths) != length or min(lengths, default=0) < 0:
        raise ValueError(f"parts of {lengths} do not make {length}")
    stops = np.cumsum(lengths).tolist()
    return tuple(c.b.narrow(x, axis, stop - n, stop) for n, stop in zip(lengths, stops, strict=True))


def _ranges(c: _Import, shape: Sequence[int]) -> list[slice]:
    starts, stops = c.integers(1, "starts"), c.integers(2, "ends")
    axes = c.integers(3, "axes", list(range(len(starts))))
    steps = c.integers(4, "steps", [1] * len(starts))
    ranges = [slice(None)] * len(shape)
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        ranges[axis_of(axis, len(shape))] = slice(start, None if stop < -(2**62) else stop, step)
    return ranges


@form("Slice")
def _slice(c: _Import) -> Any:
    operand = c.input(0)
    shape = c.shape(operand)
    ranges = _ranges(c, shape)
    if isinstance(operand, Data):
        return Data(operand.array[tuple(ranges)], operand.bf16)
    x = c.value(operand)
    for axis, part in enumerate(ranges):
        start, stop, step = part.indices(shape[axis])
        if step < 0:
            x = forms.take(c.b, x, c.b.constant(np.arange(start, stop, step), "i32"), axis)
        else:
            x = c.b.narrow(x, axis, start, max(start, stop), step)
    return x


@known("Gather")
def _known_gather(c: _Import, data: Data, indices: Data) -> Data | None:
    axis = axis_of(c.get("axis", 0), data.array.ndim)
    if data.array.size // max(1, data.array.shape[axis]) * indices.array.size > KNOWN_ELEMENTS:
        return None
    return as_data(np.take(data.array, indices.array.astype(np.int64), axis=axis), data)


@form("Gather")
def _gather(c: _Import) -> int:
    x, indices = c.tensor(0), c.input(1)
    axis = axis_of(c.get("axis", 0), len(c.b.shape(x)))
    length = c.b.shape(x)[axis]
    if isinstance(indices, Data) and indices.array.size == 1:
        at = int(indices.array.reshape(()))
        at = axis_of(at, length)
        part = c.b.narrow(x, axis, at, at + 1)
        shape = c.b.shape(x)
        return c.b.reshape(part, (*shape[:axis], *indices.array.shape, *shape[axis + 1 :]))
    if isinstance(indices, Data):
        return forms.take(c.b, x, forms.shift_negative(c.b, c.value(indices), length), axis)
    places = c.value(indices)
    # Token numbers never count from the end; a table of constants is where they look.
    if axis == 0 and isinstance(c.input(0), Data):
        return c.b.gather(x, places)
    return forms.take(c.b, x, forms.shift_negative(c.b, places, length), axis)


@form("GatherElements")
def _gather_elements(c: _Import) -> int:
    x = c.tensor(0)
    axis = axis_of(c.get("axis", 0), len(c.b.shape(x)))
    return forms.take_along(c.b, x, forms.shift_negative(c.b, c.tensor(1), c.b.shape(x)[axis]), axis)


@form("GatherND")
def _gather_nd(c: _Import) -> int:
    """Rows by several indices: one number into the first axes laid flat."""
    x, indices = c.tensor(0), c.tensor(1)
    if c.get("batch_dims", 0):
        raise c.refuse("batch_dims")
    shape, rank = c.b.shape(x), c.b.shape(indices)[-1]
    lengths = shape[:rank]
    flat: int | None = None
    for i, length in enumerate(lengths):
        place = forms.drop_axes(c.b, c.b.narrow(indices, -1, i, i + 1), (-1,))
        place = forms.shift_negative(c.b, place, length)
        flat = place if flat is None else c.b.binary("add", forms.scalar(c.b, "mul", flat, length), place)
    if flat is None or len(lengths) != rank:
        raise c.refuse(f"{rank} indices into {len(shape)} axes")
    return c.b.gather(c.b.reshape(x, (math.prod(lengths), *shape[rank:])), flat)


@form("Tile")
def _tile(c: _Import) -> int:
    return forms.repeat(c.b, c.tensor(0), c.integers(1, "numbers of repetitions"))


@form("Pad")
def _pad(c: _Import) -> int:
    x = c.tensor(0)
    rank = len(c.b.shape(x))
    pads = c.integers(1, "padding")
    axes = [axis_of(a, rank) for a in c.integers(3, "axes", list(range(rank)))]
    value = float(c.data(2, "a value").reshape(())) if c.input(2) is not None else 0.0
    low, high = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        low[axis], high[axis] = pads[i], pads[i + len(axes)]
    mode = c.get("mode", "constant")
    for axis in range(rank):
        length = c.b.shape(x)[axis]
        x = c.b.narrow(x, axis, max(0, -low[axis]), length - max(0, -high[axis]))
        more = (max(0, low[axis]), max(0, high[axis]))
        if mode != "constant" and any(more):
            limited(sum(more))
            places = np.pad(np.arange(c.b.shape(x)[axis]), more, mode=mode)
            x = forms.take(c.b, x, c.b.constant(places, "i32"), axis)
    if mode != "constant":
        return x
    return c.b.pad(x, [max(0, n) for n in low], [max(0, n) for n in high], value)


@known("Cast")
def _known_cast(c: _Import, x: Data) -> Data:
    kind = c.get("to")
    if kind not in onnx_format.FORMATS:
        raise c.refuse(f"numbers of format {kind}")
    if kind == onnx_format.BFLOAT16:
        raise c.refuse("calculated constants of format bfloat16")
    with np.errstate(all="ignore"):
        return as_data(x.array.astype(onnx_format.FORMATS[kind][1]))


def _cast_to(c: _Import, x: int, name: str) -> int:
    if name not in DTYPES:
        raise c.refuse(f"numbers of format {name}; supported are {sorted(DTYPES)}")
    if name == "bool":
        return c.b.unary("not", c.b.binary("equal", x, c.b.like(0, x)))
    if DTYPES[name] not in FLOATS and c.b.type(x).dtype in FLOATS:
        x = c.b.binary("mul", c.b.unary("floor", c.b.unary("abs", x)), c.b.unary("sign", x))
    return c.b.cast(x, DTYPES[name])


@form("Cast")
def _cast(c: _Import) -> int:
    return _cast_to(c, c.tensor(0), onnx_format.FORMATS.get(c.get("to"), (f"number {c.get('to')}",))[0])


@form("CastLike")
def _cast_like(c: _Import) -> int:
    wanted = c.b.type(c.tensor(1)).dtype
    return _cast_to(c, c.tensor(0), next(k for k, v in DTYPES.items() if v == wanted))


@known("Trilu")
def _known_triangle(c: _Import, x: Data, diagonal: Data | None = None) -> Data:
    limited(x.array.size)
    k = int(diagonal.array.reshape(())) if diagonal is not None else 0
    return as_data(np.triu(x.array, k) if c.get("upper", 1) else np.tril(x.array, k), x)


@form("Trilu")
def _triangle(c: _Import) -> int:
    x = c.tensor(0)
    k = int(c.data(1, "a diagonal").reshape(())) if c.input(1) is not None else 0
    limited(math.prod(c.b.shape(x)[-2:]))
    ones = np.ones(c.b.shape(x)[-2:], np.int8)
    keep = np.triu(ones, k) if c.get("upper", 1) else np.tril(ones, k)
    return c.b.select(c.b.constant(keep, "i8"), x, c.b.like(0, x))


@known("CumSum")
def _known_sum(c: _Import, x: Data, axis: Data) -> Data | None:
    if c.get("exclusive", 0) or c.get("reverse", 0) or x.array.size > KNOWN_ELEMENTS:
        return None
    return as_data(np.cumsum(x.array, axis=int(axis.array.reshape(()))).astype(x.array.dtype))


@form("CumSum")
def _cumulative_sum(c: _Import) -> int:
    x = c.tensor(0)
    if c.b.type(x).dtype not in FLOATS or c.get("exclusive", 0) or c.get("reverse", 0):
        raise c.refuse("running sums of integers, exclusive ones or from behind")
    axis = axis_of(int(c.data(1, "an axis").reshape(())), len(c.b.shape(x)))
    limited(c.b.shape(x)[axis] ** 2)
    return forms.cumulative_sum(c.b, x, axis)


@known("NonZero")
def _nonzero(c: _Import, x: Data) -> Data:
    limited(x.array.size)
    return as_data(np.array(np.nonzero(x.array), np.int64))


@known("ReduceProd")
def _product(c: _Import, x: Data, axes: Data | None = None) -> Data:
    limited(x.array.size)
    over = c.get("axes") if axes is None else axes.array.tolist()
    keep = bool(c.get("keepdims", 1))
    return as_data(np.prod(x.array, axis=None if not over else tuple(over), keepdims=keep, dtype=x.array.dtype))


@form("DepthToSpace", "SpaceToDepth")
def _depth_to_space(c: _Import) -> int:
    factor = c.get("blocksize")
    if c.node.kind == "SpaceToDepth":
        return forms.pixel_unshuffle(c.b, c.tensor(0), factor, depth_first=True)
    return forms.pixel_shuffle(c.b, c.tensor(0), factor, depth_first=c.get("mode", "DCR") == "DCR")


# Sums


def _axes(c: _Import, rank: int) -> list[int]:
    """As attribute, or as the second input; none means all (or nothing, where the node says so)."""
    given = c.get("axes")
    axes = c.integers(1, "axes", given or []) if len(c.node.inputs) > 1 else list(given or [])
    if not axes:
        return [] if c.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis_of(a, rank) for a in axes})


@form("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
def _reduce(c: _Import) -> int:
    x, kind = c.tensor(0), c.node.kind
    dtype, axes = c.b.type(x).dtype, _axes(c, len(c.b.shape(x)))
    if kind in ("ReduceMax", "ReduceMin"):
        y = c.b.reduce(kind[-3:].lower(), x, axes) if axes else x
    else:
        x = forms.wide(c.b, x)
        if kind in ("ReduceL2", "ReduceSumSquare"):
            x = c.b.binary("mul", x, x)
        elif kind == "ReduceL1":
            x = c.b.unary("abs", x)
        y = x
        if axes:
            y = forms.mean(c.b, x, axes) if kind == "ReduceMean" else c.b.reduce("sum", x, axes)
        y = c.b.cast(c.b.unary("sqrt", y) if kind == "ReduceL2" else y, dtype)
    return y if c.get("keepdims", 1) or not axes else forms.drop_axes(c.b, y, axes)


@form("ArgMax", "ArgMin")
def _arg(c: _Import) -> int:
    if c.get("select_last_index", 0):
        raise c.refuse("the last of equal values")
    axis = c.get("axis", 0)
    y = forms.arg_extreme(c.b, c.tensor(0), axis, c.node.kind[-3:].lower())
    return y if c.get("keepdims", 1) else forms.drop_axes(c.b, y, (axis,))


# Products


@form("MatMul")
def _matmul(c: _Import) -> int:
    a, b = c.tensor(0), c.tensor(1)
    if isinstance(c.input(0), Data) or isinstance(c.input(1), Data):
        return forms.matmul(c.b, a, b)
    # Exporters scale both sides of attention's product by the root of its scale; here the product is scaled.
    (a, first), (b, second) = forms.unscaled(c.b, a), forms.unscaled(c.b, b)
    product = forms.matmul(c.b, a, b)
    return product if first * second == 1.0 else forms.scalar(c.b, "mul", product, first * second)


@form("Gemm")
def _gemm(c: _Import) -> int:
    a, b = c.tensor(0), c.tensor(1)
    if c.get("transA", 0):
        a = c.b.transpose(a, (1, 0))
    if c.get("transB", 0):
        b = c.b.transpose(b, (1, 0))
    alpha, beta = c.get("alpha", 1.0), c.get("beta", 1.0)
    bias = c.maybe(2)
    if bias is not None and beta != 1.0:
        bias = forms.scalar(c.b, "mul", bias, beta)
    if alpha == 1.0 and bias is not None and len(c.b.shape(bias)) == 1:
        return forms.linear(c.b, a, b, bias)
    product = forms.linear(c.b, a, b, None)
    if alpha != 1.0:
        product = forms.scalar(c.b, "mul", product, alpha)
    return product if bias is None else c.b.binary("add", product, bias)


def _window(
    c: _Import, lengths: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    """Strides, padding and dilations of a convolution or pool."""
    rank = len(kernel)
    stride, dilation = c.get("strides") or [1] * rank, c.get("dilations") or [1] * rank
    pads = c.get("pads") or [0] * 2 * rank
    pairs = list(zip(pads[:rank], pads[rank:], strict=True))
    auto = c.get("auto_pad", "NOTSET")
    if auto == "VALID":
        pairs = [(0, 0)] * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for n, k, s, d in zip(lengths, kernel, stride, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            small = total // 2
            pairs.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
    elif auto != "NOTSET":
        raise c.refuse(f"auto_pad {auto!r}")
    return list(stride), pairs, list(dilation)


@form("Conv")
def _convolution(c: _Import) -> int:
    x, weight = c.tensor(0), c.tensor(1)
    kernel = c.b.shape(weight)[2:]
    stride, pairs, dilation = _window(c, c.b.shape(x)[2:], kernel)
    last = c.b.transpose(weight, (*range(2, 2 + len(kernel)), 1, 0))
    return forms.convolution(
        c.b, x, last, c.maybe(2), stride=stride, padding=pairs, dilation=dilation, groups=c.get("group", 1)
    )


@form("ConvTranspose")
def _transposed(c: _Import) -> int:
    if c.get("output_shape") or c.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise c.refuse("a transposed convolution given by its output's shape")
    x, weight = c.tensor(0), c.data(1, "a kernel")
    kernel = weight.shape[2:]
    stride, pairs, dilation = _window(c, c.b.shape(x)[2:], kernel)
    limited(math.prod(c.b.shape(x)) * math.prod(stride))
    return forms.transposed_convolution(
        c.b, x, weight, c.maybe(2), stride=stride, padding=pairs, dilation=dilation,
        output_padding=c.get("output_padding") or [0] * len(kernel), groups=c.get("group", 1),
    )  # fmt: skip


@form("Attention")
def _attention(c: _Import) -> tuple[Any, ...]:
    """Opset 23: (B, heads, M, E), or (B, M, heads·E) with the heads as attributes; past keys and values before."""
    if c.get("softcap", 0.0) or any(c.node.outputs[3:]):
        raise c.refuse("a soft cap, or the scores as an output")
    flat = len(c.shape(c.input(0))) == 3
    heads = [c.get("q_num_heads"), c.get("kv_num_heads"), c.get("kv_num_heads")]
    q, k, v = c.tensor(0), c.tensor(1), c.tensor(2)
    if flat:
        q, k, v = (_apart(c, y, n) for y, n in zip((q, k, v), heads, strict=True))
    if c.input(4) is not None:
        k, v = (c.b.concatenate([c.tensor(i), y], 2) for i, y in ((4, k), (5, v)))
    past = c.b.shape(k)[2] - c.b.shape(q)[2] if c.input(4) is not None else 0
    made = forms.attention(
        c.b, q, k, v, c.maybe(3), scale=c.get("scale"), causal_offset=past if c.get("is_causal", 0) else None
    )
    if flat:
        batch, count, length, width = c.b.shape(made)
        made = c.b.reshape(c.b.transpose(made, (0, 2, 1, 3)), (batch, length, count * width))
    return made, k, v


def _apart(c: _Import, x: int, heads: int) -> int:
    batch, length, width = c.b.shape(x)
    return c.b.transpose(c.b.reshape(x, (batch, length, heads, width // heads)), (0, 2, 1, 3))


# Normalisation


def _single(c: _Import) -> None:
    if any(c.node.outputs[1:]):
        raise c.refuse("statistics as outputs")


@form("LayerNormalization")
def _layer_norm(c: _Import) -> int:
    _single(c)
    x = c.tensor(0)
    rank = len(c.b.shape(x))
    count = rank - axis_of(c.get("axis", -1), rank)
    weight, bias = (_unless(c, i, n) for i, n in ((1, 1.0), (2, 0.0)))
    return forms.layer_norm(c.b, x, count, weight, bias, c.get("epsilon", 1e-5))


def _unless(c: _Import, index: int, number: float) -> int | None:
    """An input, or None where it is left out or is `number` everywhere: exporters write those in."""
    operand = c.input(index)
    if isinstance(operand, Data) and (operand.array == number).all():
        return None
    return c.maybe(index)


@form("RMSNormalization")
def _rms_norm(c: _Import) -> int:
    x = c.tensor(0)
    rank = len(c.b.shape(x))
    return forms.rms_norm(c.b, x, rank - axis_of(c.get("axis", -1), rank), _unless(c, 1, 1.0), c.get("epsilon", 1e-5))


@form("BatchNormalization")
def _batch_norm(c: _Import) -> int:
    _single(c)
    if c.get("training_mode", 0):
        raise c.refuse("batch norm in training")
    weight, bias, mean, variance = (c.data(i, "statistics and weights") for i in (1, 2, 3, 4))
    return forms.batch_norm(c.b, c.tensor(0), mean, variance, weight, bias, c.get("epsilon", 1e-5))


@form("InstanceNormalization")
def _instance_norm(c: _Import) -> int:
    """Also how exporters write a group norm: over (N, groups, rest), with weights of 1 and 0."""
    x, epsilon = c.tensor(0), c.get("epsilon", 1e-5)
    weight, bias = (_unless(c, i, n) for i, n in ((1, 1.0), (2, 0.0)))
    node, shape = c.b.nodes[x], c.b.shape(x)
    if weight is None and bias is None and node.op == "reshape" and len(shape) == 3:
        source = c.b.shape(node.inputs[0])
        if len(source) >= 3 and source[0] == shape[0] and shape[1] and source[1] % shape[1] == 0:
            return c.b.reshape(forms.group_norm(c.b, node.inputs[0], shape[1], None, None, epsilon), shape)
    return forms.group_norm(c.b, x, shape[1], weight, bias, epsilon)


@form("GroupNormalization")
def _group_norm(c: _Import) -> int:
    x, groups = c.tensor(0), c.get("num_groups")
    channels = c.b.shape(x)[1]
    weight, bias = c.tensor(1), c.tensor(2)
    if c.b.shape(weight) != (channels,):  # up to opset 20 one number a group
        weight, bias = (forms.repeat_each(c.b, y, channels // groups) for y in (weight, bias))
    return forms.group_norm(c.b, x, groups, weight, bias, c.get("epsilon", 1e-5))


# Pictures


def _ceiling(
    c: _Import, x: int, window: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]], list[tuple[int, int]]]:
    """Strides, the padding that lets windows hang over the border where ceil_mode asks for it, and what is given."""
    lengths = c.b.shape(x)[2:]
    stride, pairs, dilation = _window(c, lengths, window)
    if any(d != 1 for d in dilation):
        raise c.refuse("pooling with dilation")
    if not c.get("ceil_mode", 0):
        return stride, pairs, pairs
    more = []
    for n, w, s, (low, high) in zip(lengths, window, stride, pairs, strict=True):
        out = -(-(n + low + high - w) // s) + 1
        if (out - 1) * s >= n + low:  # no window begins in the padding behind
            out -= 1
        more.append((low, max(high, (out - 1) * s + w - n - low)))
    return stride, more, pairs


@form("MaxPool")
def _max_pool(c: _Import) -> Any:
    _single(c)
    x, window = c.tensor(0), c.get("kernel_shape")
    stride, pairs, _ = _ceiling(c, x, window)
    return forms.max_pool(c.b, x, window, stride, pairs)


@form("AveragePool")
def _average_pool(c: _Import) -> int:
    x, window = c.tensor(0), c.get("kernel_shape")
    stride, pairs, given = _ceiling(c, x, window)
    border = given if c.get("count_include_pad", 0) else [(0, 0)] * len(window)
    places = zip(c.b.shape(x)[2:], pairs, window, stride, strict=True)
    limited(math.prod((n + low + high - w) // s + 1 for n, (low, high), w, s in places))
    counts = forms.window_counts(c.b.shape(x)[2:], window, stride, pairs, border)
    return forms.average_pool(c.b, x, window, stride, pairs, counts)


@form("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(c: _Import) -> int:
    x = c.tensor(0)
    lengths = c.b.shape(x)[2:]
    if c.node.kind == "GlobalAveragePool":
        return forms.adaptive_average_pool(c.b, x, [1] * len(lengths))
    return forms.channels_first(c.b, c.b.reduce("max", forms.channels_last(c.b, x), range(1, 1 + len(lengths))))


@form("Resize")
def _resize(c: _Import) -> int:
    x = c.tensor(0)
    rank = len(c.b.shape(x))
    axes = [axis_of(a, rank) for a in c.get("axes") or range(rank)]
    if (
        c.get("antialias", 0)
        or c.get("exclude_outside", 0)
        or c.get("keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        raise c.refuse("antialias, exclude_outside or a kept aspect ratio")
    scales, sizes = list(c.b.shape(x)), list(c.b.shape(x))
    factors: list[float | None] = [None] * rank
    if c.input(3) is not None:
        for axis, n in zip(axes, c.integers(3, "sizes"), strict=True):
            sizes[axis] = n
    else:
        for axis, f in zip(axes, c.data(2, "scales").reshape(-1).tolist(), strict=True):
            sizes[axis], factors[axis] = math.floor(scales[axis] * f), f
    if any(a != b for a, b in zip(sizes[:2], scales[:2], strict=True)):
        raise c.refuse("resizing along the batch or the channels")
    return _resampled(c, x, scales[2:], sizes[2:], factors[2:])


def _resampled(c: _Import, x: int, old: Sequence[int], new: Sequence[int], factors: Sequence[float | None]) -> int:
    mode, coordinates = c.get("mode", "nearest"), c.get("coordinate_transformation_mode", "half_pixel")
    rounding = c.get("nearest_mode", "round_prefer_floor")
    if mode not in sampling.MODES or coordinates not in sampling.COORDINATES or rounding not in sampling.ROUNDINGS:
        raise c.refuse(f"mode {mode!r} with coordinates {coordinates!r} and rounding {rounding!r}")
    matrices: list[NDArray[np.float64] | None] = []
    for o, n, f in zip(old, new, factors, strict=True):
        limited(o * n)
        same = o == n and f in (None, 1.0)
        matrices.append(
            None
            if same
            else sampling.matrix(
                o, n, mode, coordinates, scale=f, rounding=rounding, cubic=c.get("cubic_coeff_a", -0.75)
            )
        )
    ratios = [n // o for o, n in zip(old, new, strict=True)]
    if mode == "nearest" and all(
        m is None or (n == o * r and np.array_equal(m, np.repeat(np.eye(o), r, axis=1)))
        for m, o, n, r in zip(matrices, old, new, ratios, strict=True)
    ):
        return forms.enlarge(c.b, x, ratios)
    return forms.resize(c.b, x, matrices)
