"""Random legal graphs that can be compared between targets: with every value goes a bound on how far two correct
targets may differ there.

Inputs lie on a grid. As long as a value is exact on its grid in its format, functions with jumps (`floor`, comparisons,
casts to integers) may follow; once something was rounded, only continuous functions do, and the bound grows with
their slope. `graphs()` is the Hypothesis strategy; `draw` takes any `random.Random`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.ir.operations import TypeRule
from elsewhere.compiler.ir.types import convert
from elsewhere.compiler.targets import reference

Array = NDArray[Any]

LENGTHS = (1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 33)
MOST = 3000
"""Elements of a value."""

DIGITS = {"f32": 24, "bf16": 8, "f16": 11}
LIMIT = 1e4
"""Values stay below, so that no format overflows."""


class Refused(Exception):
    """This step would make a value that nothing can be said of."""


@dataclass(frozen=True)
class Fact:
    """|x| ≤ bound; x is a multiple of `unit` if that is not 0; two targets differ by `error` at most."""

    bound: float
    unit: float = 0.0
    error: float = 0.0


@dataclass
class Drawn:
    """A graph with inputs, and how far its outputs and states may be from the oracle's."""

    graph: Graph
    inputs: dict[str, Array]
    tolerance: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        from elsewhere.compiler.ir.text import show

        return show(self.graph)


class _Maker:
    def __init__(self, r: random.Random, dtypes: Sequence[str]) -> None:
        self.r, self.b, self.dtypes = r, Builder(), dtypes
        self.facts: dict[int, Fact] = {}
        self.inputs: dict[str, Array] = {}

    # -- values and what is known of them -------------------------------------------------------------------------

    def settle(self, value: int, fact: Fact) -> int:
        """Rounds the fact to the value's format."""
        dtype = self.b.type(value).dtype
        if self.b.type(value).size > MOST:
            raise Refused
        if dtype in ("i8", "i32"):
            if fact.error:
                raise Refused
            most = 128.0 if dtype == "i8" else 2.0**31
            fact = Fact(min(fact.bound, most), 1.0)
        else:
            if not fact.bound < LIMIT:
                raise Refused
            if fact.error or not fact.unit or fact.bound / fact.unit > 2.0 ** DIGITS[dtype]:
                fact = Fact(
                    fact.bound * 1.01 + 1e-6, 0.0, fact.error + (fact.bound + 1e-3) * 2.0 ** (2 - DIGITS[dtype])
                )
            if fact.error > 0.02 * max(fact.bound, 1.0):
                raise Refused
        self.facts.setdefault(value, fact)
        return value

    def data(self, dtype: str, shape: tuple[int, ...]) -> tuple[Array, Fact]:
        fine = dtype == "f32" and self.r.random() < 0.5
        unit = 1.0 if dtype in ("i8", "i32") else 2.0**-8 if fine else 0.25
        most = {"i8": 127, "i32": 9}.get(dtype, 8 if not fine else 512)
        generator = np.random.default_rng(self.r.randrange(1 << 30))
        numbers = generator.integers(-most, most + 1, shape) * unit
        return convert(numbers.astype(np.float64), dtype), Fact(most * unit, unit)

    def input(self, dtype: str, shape: tuple[int, ...]) -> int:
        data, fact = self.data(dtype, shape)
        name = f"x{len(self.inputs)}"
        self.inputs[name] = data
        return self.settle(self.b.input(name, dtype, shape), fact)

    def constant(self, dtype: str, shape: tuple[int, ...]) -> int:
        data, fact = self.data(dtype, shape)
        return self.settle(self.b.constant(data, dtype), fact)

    def number(self, number: float, like: int) -> int:
        return self.settle(self.b.like(number, like), Fact(abs(number), 2.0**-20 if number % 1 else 1.0))

    def source(self, dtype: str, shape: tuple[int, ...]) -> int:
        """A value of a type: one there is, an input or a constant."""
        found = [
            v for v, n in enumerate(self.b.nodes) if v in self.facts and (n.type.dtype, n.type.shape) == (dtype, shape)
        ]
        if found and self.r.random() < 0.7:
            return self.r.choice(found)
        return self.input(dtype, shape) if self.r.random() < 0.5 else self.constant(dtype, shape)

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.r.choice((0, 1, 2, 2, 3, 3, 4)) if rank is None else rank
        while True:
            shape = tuple(self.r.choice(LENGTHS) for _ in range(rank))
            if math.prod(shape) <= MOST:
                return shape

    def exact(self, value: int) -> bool:
        return self.facts[value].error == 0.0

    # -- steps ----------------------------------------------------------------------------------------------------

    def unary(self, function: str, x: int) -> int:
        f = self.facts[x]
        value = self.b.unary(function, x)
        if function in ("abs", "neg"):
            return self.settle(value, f)
        if function in ("floor", "ceil", "round", "sign", "not"):
            if not self.exact(x):
                raise Refused
            return self.settle(value, Fact(f.bound + 1.0, 1.0))
        slope, bound = {
            "tanh": (1.0, 1.0),
            "sigmoid": (0.25, 1.0),
            "sin": (1.0, 1.0),
            "cos": (1.0, 1.0),
            "erf": (1.13, 1.0),
            "exp": (math.exp(min(f.bound, 20.0)),) * 2,
            "sqrt": (0.5, math.sqrt(f.bound)),
            "rsqrt": (0.5, 1.0),
            "reciprocal": (1.0, 1.0),
            "log": (1.0, math.log1p(f.bound)),
        }[function]
        return self.settle(value, Fact(bound, 0.0, slope * f.error * 1.1))

    def binary(self, function: str, x: int, y: int) -> int:
        a, b = self.facts[x], self.facts[y]
        value = self.b.binary(function, x, y)
        if function in ("less", "less_equal", "equal", "and", "or"):
            if a.error or b.error:
                raise Refused
            return self.settle(value, Fact(1.0, 1.0))
        unit = min(a.unit, b.unit)
        if function in ("add", "sub"):
            return self.settle(value, Fact(a.bound + b.bound, unit, a.error + b.error))
        if function == "mul":
            error = a.bound * b.error + b.bound * a.error + a.error * b.error
            return self.settle(value, Fact(a.bound * b.bound, a.unit * b.unit, error))
        if function in ("max", "min"):
            return self.settle(value, Fact(max(a.bound, b.bound), unit, a.error + b.error))
        if function == "div" and self.b.type(x).dtype in ("i8", "i32"):
            return self.settle(value, Fact(a.bound, 1.0))
        if function == "div":  # b ≥ 1
            return self.settle(value, Fact(a.bound, 0.0, a.error + a.bound * b.error))
        assert function == "pow"  # 1 ≤ a, |b| ≤ 1
        top = a.bound
        return self.settle(value, Fact(top, 0.0, a.error + top * math.log(top + 2.0) * b.error))

    def above_one(self, x: int) -> int:
        magnitude = self.unary("abs", x)
        return self.binary("add", magnitude, self.number(1.0, magnitude))

    def reduce(self, function: str, x: int, axes: Sequence[int]) -> int:
        f, shape = self.facts[x], self.b.shape(x)
        count = math.prod(shape[a] for a in axes)
        value = self.b.reduce(function, x, axes)
        if function != "sum":
            return self.settle(value, f)
        return self.settle(value, self.summed(f, count))

    def summed(self, f: Fact, count: int) -> Fact:
        exact = f.error == 0.0 and f.unit and f.bound * count / f.unit <= 2.0**24
        error = 0.0 if exact else count * f.error + count * f.bound * 2.0**-22
        return Fact(f.bound * count, f.unit if exact else 0.0, error)

    def product(self, value: int, x: int, y: int, depth: int) -> int:
        a, b = self.facts[x], self.facts[y]
        error = a.bound * b.error + b.bound * a.error + a.error * b.error
        return self.settle(value, self.summed(Fact(a.bound * b.bound, a.unit * b.unit, error), depth))

    def matmul(self, x: int, y: int) -> int:
        return self.product(self.b.matmul(x, y), x, y, self.b.shape(x)[-1])

    def moved(self, value: int, x: int) -> int:
        return self.settle(value, self.facts[x])


def _elementwise(m: _Maker, x: int) -> int:
    r, dtype, shape = m.r, m.b.type(x).dtype, m.b.shape(x)
    other = m.source(dtype, tuple(n if r.random() < 0.7 else 1 for n in shape))
    if dtype in ("i8", "i32"):
        pick = r.randrange(4)
        if pick == 0:
            return m.unary(r.choice(("abs", "neg", "sign")), x)
        if pick == 1 and dtype == "i8":
            return m.unary("not", x) if r.random() < 0.5 else m.binary(r.choice(("and", "or")), x, other)
        if pick == 2:
            return m.binary(r.choice(("less", "less_equal", "equal")), x, other)
        return m.binary(r.choice(("add", "sub", "mul", "div", "max", "min")), x, other)
    pick = r.randrange(6)
    if pick == 0:
        return m.unary(r.choice(("abs", "neg", "tanh", "sigmoid", "sin", "cos", "erf", "exp")), x)
    if pick == 1:
        return m.unary(r.choice(("sqrt", "rsqrt", "reciprocal", "log")), m.above_one(x))
    if pick == 2:
        return m.unary(r.choice(("floor", "ceil", "round", "sign")), x)
    if pick == 3:
        if r.random() < 0.3:
            return m.binary("pow", m.above_one(x), m.unary("tanh", other))
        return m.binary(r.choice(("less", "less_equal", "equal")), x, other)
    if pick == 4:
        return m.binary("div", x, m.above_one(other))
    return m.binary(r.choice(("add", "sub", "mul", "max", "min")), *r.sample((x, other), 2))


def _select(m: _Maker, x: int) -> int:
    shape = m.b.shape(x)
    condition, other = m.source("i8", shape), m.source(m.b.type(x).dtype, shape)
    if not m.exact(condition):
        raise Refused
    a, b = m.facts[x], m.facts[other]
    fact = Fact(max(a.bound, b.bound), min(a.unit, b.unit), max(a.error, b.error))
    return m.settle(m.b.select(condition, x, other), fact)


def _cast(m: _Maker, x: int) -> int:
    dtype = m.r.choice(m.dtypes)
    value = m.b.cast(x, dtype)
    f = m.facts[x]
    return m.settle(value, Fact(f.bound + (0.5 if dtype in ("i8", "i32") else 0.0), f.unit, f.error))


def _reduce(m: _Maker, x: int) -> int:
    rank = len(m.b.shape(x))
    if not rank:
        raise Refused
    axes = (rank - 1,) if m.r.random() < 0.5 else tuple(m.r.sample(range(rank), m.r.randint(1, rank)))
    return m.reduce(m.r.choice(("sum", "max", "min")), x, axes)


def _normalise(m: _Maker, x: int) -> int:
    """(x - mean)·rsqrt(variance + 1), along the last axis."""
    shape = m.b.shape(x)
    if not shape or m.b.type(x).dtype != "f32":
        raise Refused
    last = (len(shape) - 1,)
    total = m.reduce("sum", x, last)
    mean = m.binary("mul", total, m.number(1.0 / shape[-1], total))
    off = m.binary("sub", x, mean)
    spread = m.reduce("sum", m.binary("mul", off, off), last)
    spread = m.binary("mul", spread, m.number(1.0 / shape[-1], spread))
    made = m.binary("mul", off, m.unary("rsqrt", m.binary("add", spread, m.number(1.0, spread))))
    return m.binary("mul", made, m.source("f32", shape[-1:]))


def _softmax(m: _Maker, x: int) -> int:
    if not m.b.shape(x) or m.b.type(x).dtype != "f32":
        raise Refused
    last, f = (len(m.b.shape(x)) - 1,), m.facts[x]
    raised = m.b.unary("exp", m.b.binary("sub", x, m.b.reduce("max", x, last)))
    value = m.b.binary("mul", raised, m.b.unary("reciprocal", m.b.reduce("sum", raised, last)))
    return m.settle(value, Fact(1.0, 0.0, 2.0 * f.error + 1e-5))


def _attention(m: _Maker, x: int) -> int:
    shape, r = m.b.shape(x), m.r
    if len(shape) < 3 or m.b.type(x).dtype != "f32" or shape[-1] > 64:
        raise Refused
    rank, keys = len(shape), r.choice((3, 8, 17))
    parts = r.choice((1, 2))
    k = [m.source("f32", (*shape[:-2], keys, shape[-1])) for _ in range(parts)]
    v = [m.source("f32", (*shape[:-2], keys, 8)) for _ in range(parts)]
    joined_k, joined_v = m.b.concatenate(k, rank - 2), m.b.concatenate(v, rank - 2)
    kf, vf = (Fact(max(m.facts[i].bound for i in p), 0.0, max(m.facts[i].error for i in p)) for p in (k, v))
    m.facts.setdefault(joined_k, kf)
    m.facts.setdefault(joined_v, vf)
    turned = m.b.transpose(joined_k, (*range(rank - 2), rank - 1, rank - 2))
    m.facts.setdefault(turned, kf)
    scores = m.matmul(x, turned)
    scores = m.binary("mul", scores, m.number(0.25, scores))
    if r.random() < 0.5:
        scores = m.binary("add", scores, m.source("f32", (*(1,) * (rank - 2), *m.b.shape(scores)[-2:])))
    error = 2.0 * m.facts[scores].error * vf.bound + vf.error + vf.bound * 1e-5
    share = _softmax(m, scores)
    return m.settle(m.b.matmul(share, joined_v), Fact(vf.bound, 0.0, error))


def _matmul(m: _Maker, x: int) -> int:
    """A product, often with what usually follows it."""
    shape, dtype, r = m.b.shape(x), m.b.type(x).dtype, m.r
    if len(shape) < 2 or dtype not in ("f32", "bf16", "i8"):
        raise Refused
    columns = r.choice((1, 3, 8, 16, 24, 33, shape[-1]))
    if r.random() < 0.6:
        w = m.b.spread(m.constant(dtype, (shape[-1], columns)), (*shape[:-2], shape[-1], columns))
        m.facts.setdefault(w, Fact(128.0, 1.0) if dtype == "i8" else Fact(2.0, 2.0**-8))
    else:
        w = m.source(dtype, (*shape[:-2], shape[-1], columns))
    y = m.matmul(x, w)
    if dtype == "i8":
        return y
    for _ in range(r.randint(0, 3)):
        match r.randrange(4):
            case 0:
                y = m.binary("add", y, m.source("f32", (columns,)))
            case 1:
                y = m.unary(r.choice(("tanh", "sigmoid", "erf")), y)
            case 2:
                y = m.binary("mul", y, m.source("f32", (*(1,) * (len(shape) - 1), columns)))
            case 3:
                y = m.binary("add", y, x if m.b.type(x) == m.b.type(y) else m.source("f32", m.b.shape(y)))
    return y


def _convolution(m: _Maker, x: int) -> int:
    r = m.r
    rank = r.choice((1, 2, 2, 3))
    groups = r.choice((1, 1, 2, 4))
    inside, outside = r.choice(((4, 4), (1, 1), (3, 5), (8, 16)))
    channels = groups * inside
    shape = (r.choice((1, 2)), *(r.choice((1, 3, 6, 9)) for _ in range(rank)), channels)
    x = x if len(m.b.shape(x)) == rank + 2 and m.b.type(x).dtype == "f32" else m.source("f32", shape)
    shape = m.b.shape(x)
    if shape[-1] % groups:
        groups = 1
    inside = shape[-1] // groups
    window = tuple(r.choice((1, 2, 3)) for _ in range(rank))
    w = m.constant("f32", (*window, inside, groups * outside))
    made = m.b.convolution(
        x,
        w,
        stride=tuple(r.choice((1, 1, 2)) for _ in range(rank)),
        padding=tuple((r.choice((0, 1)), r.choice((0, 1, 2))) for _ in range(rank)),
        dilation=tuple(r.choice((1, 1, 2)) for _ in range(rank)),
        groups=groups,
    )
    y = m.product(made, x, w, math.prod(window) * inside)
    if r.random() < 0.5:
        y = m.binary("add", y, m.source("f32", (groups * outside,)))
    return m.unary("tanh", y) if r.random() < 0.3 else y


def _pool(m: _Maker, x: int) -> int:
    rank = len(m.b.shape(x)) - 2
    if rank < 1 or m.b.type(x).dtype in ("bf16", "f16"):
        raise Refused
    window = tuple(m.r.choice((1, 2, 3)) for _ in range(rank))
    padding = tuple((m.r.randrange(w), m.r.randrange(w)) for w in window)
    function = m.r.choice(("max", "sum"))
    value = m.b.pool(function, x, window, tuple(m.r.choice((1, 2)) for _ in window), padding)
    f = m.facts[x]
    return m.settle(value, f if function == "max" else m.summed(f, math.prod(window)))


def _reshape(m: _Maker, x: int) -> int:
    size, shape = m.b.type(x).size, m.b.shape(x)
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    n = m.r.choice(divisors)
    kept = m.r.randint(0, len(shape))
    rest = math.prod(shape[kept:])
    few = m.r.choice([d for d in range(1, rest + 1) if rest % d == 0])
    choices = [(size,), (n, size // n), (*shape[:kept], few, rest // few), (1, *shape), (*shape, 1)]
    return m.moved(m.b.reshape(x, m.r.choice(choices)), x)


def _transpose(m: _Maker, x: int) -> int:
    rank = len(m.b.shape(x))
    return m.moved(m.b.transpose(x, m.r.sample(range(rank), rank)), x)


def _broadcast(m: _Maker, x: int) -> int:
    return m.moved(m.b.broadcast(x, [n if n > 1 else m.r.choice((1, 2, 3, 16)) for n in m.b.shape(x)]), x)


def _slice(m: _Maker, x: int) -> int:
    starts = [m.r.randrange(n) if m.r.random() < 0.5 else 0 for n in m.b.shape(x)]
    stops = [m.r.randint(a + 1, n) if m.r.random() < 0.5 else n for a, n in zip(starts, m.b.shape(x), strict=True)]
    return m.moved(m.b.slice(x, starts, stops, [m.r.choice((1, 1, 2, 3)) for _ in starts]), x)


def _concatenate(m: _Maker, x: int) -> int:
    shape = m.b.shape(x)
    if not shape:
        raise Refused
    axis = m.r.randrange(len(shape))
    parts = [x, m.source(m.b.type(x).dtype, (*shape[:axis], m.r.choice(LENGTHS), *shape[axis + 1 :]))]
    if m.r.random() < 0.3:
        parts.append(x)
    m.r.shuffle(parts)
    facts = [m.facts[p] for p in parts]
    fact = Fact(max(f.bound for f in facts), min(f.unit for f in facts), max(f.error for f in facts))
    return m.settle(m.b.concatenate(parts, axis), fact)


def _pad(m: _Maker, x: int) -> int:
    shape, f = m.b.shape(x), m.facts[x]
    low, high = ([m.r.choice((0, 0, 1, 2)) for _ in shape] for _ in range(2))
    value = m.r.choice((0.0, 1.0, -2.0))
    return m.settle(m.b.pad(x, low, high, value), replace(f, bound=max(f.bound, 2.0), unit=min(f.unit, 1.0)))


def _gather(m: _Maker, x: int) -> int:
    if not m.b.shape(x):
        raise Refused
    return m.moved(m.b.gather(x, m.source("i32", m.shape(m.r.choice((0, 1, 2))))), x)


def _update(m: _Maker, x: int) -> int:
    shape = m.b.shape(x)
    if not shape:
        raise Refused
    axis = m.r.randrange(len(shape))
    patch = m.source(m.b.type(x).dtype, (*shape[:axis], m.r.randint(1, shape[axis]), *shape[axis + 1 :]))
    a, b = m.facts[x], m.facts[patch]
    fact = Fact(max(a.bound, b.bound), min(a.unit, b.unit), max(a.error, b.error))
    return m.settle(m.b.update(x, patch, m.source("i32", ()), axis), fact)


STEPS = (
    *(_elementwise,) * 6,
    *(_select, _cast, _reduce, _reduce, _normalise, _softmax, _attention, _matmul, _matmul, _convolution, _pool),
    *(_reshape, _reshape, _transpose, _transpose, _broadcast, _slice, _concatenate, _pad, _gather, _update),
)


def draw(r: random.Random, size: int = 12, dtypes: Sequence[str] = ("f32", "f32", "i8", "i32", "bf16", "f16")) -> Drawn:
    """About `size` steps from one to three inputs; what nothing reads is an output, and some states move on."""
    m = _Maker(r, dtypes)
    for _ in range(r.randint(1, 3)):
        m.input(r.choice(tuple(dtypes)) if r.random() < 0.5 else "f32", m.shape())
    for number in range(size):
        m.b.place = f"step {number}"
        known = list(m.facts)
        step, x = r.choice(STEPS), r.choice(known[-6:] if r.random() < 0.7 else known)
        try:
            step(m, x)
        except (Refused, TypeRule):
            continue
    return finish(m, r)


def finish(m: _Maker, r: random.Random) -> Drawn:
    """Outputs and states of what was made."""
    b, users = m.b, m.b.graph().users()
    drawn = Drawn(b.graph(), m.inputs)
    for value in m.facts:
        if not users[value] or r.random() < 0.15:
            b.output(f"y{value}", value)
            drawn.tolerance[f"y{value}"] = m.facts[value].error
    for number, node in enumerate(tuple(b.nodes)):
        if number in m.facts and node.op == "input" and r.random() < 0.3:
            alike = [v for v, f in m.facts.items() if b.type(v) == b.type(number) and f.bound <= LIMIT]
            value = r.choice(alike or [number])
            name = node.attributes["name"]
            b.state(name, value)
            drawn.tolerance[name] = m.facts[value].error
    drawn.graph = b.graph()
    return drawn


@st.composite
def graphs(draw_: Any, size: int = 10, dtypes: Sequence[str] = ("f32", "f32", "i8", "i32", "bf16", "f16")) -> Drawn:
    """Hypothesis strategy."""
    return draw(random.Random(draw_(st.integers(0, 2**48))), draw_(st.integers(1, size)), dtypes)


def compare(got: Mapping[str, Array], drawn: Drawn, wanted: Mapping[str, Array], factor: float = 1.0) -> None:
    """Raises AssertionError unless `got` is `wanted` within what may differ."""
    for name, want in wanted.items():
        have = np.asarray(got[name], np.float64)
        assert have.shape == want.shape, name
        off = np.abs(have - want.astype(np.float64)).max(initial=0.0)
        assert off <= drawn.tolerance[name] * factor, (
            f"{name} is off by {off}, may be by {drawn.tolerance[name] * factor}"
        )


def same(before: Drawn, after: Graph, factor: float = 0.0) -> None:
    """Raises AssertionError unless the oracle finds the same in `after`; with factor 0, the same bits."""
    wanted, states = reference.run(before.graph, before.inputs)
    got, moved = reference.run(after, before.inputs)
    assert list(got) == list(wanted) and list(moved) == list(states)
    for name, want in {**wanted, **states}.items():
        have = {**got, **moved}[name]
        assert have.dtype == want.dtype
        if factor == 0.0:
            np.testing.assert_array_equal(have, want)
    compare({**got, **moved}, before, {**wanted, **states}, max(factor, 1e-30))
