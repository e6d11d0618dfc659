"""The oracle against NumPy, SciPy's definitions by way of `math`, and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from elsewhere.compiler.ir import Builder
from elsewhere.compiler.ir.operations import UNARY
from elsewhere.compiler.ir.types import convert, round_bf16
from elsewhere.compiler.targets.reference import erf, run

Array = NDArray[Any]


def call(make: Callable[..., int], *arrays: tuple[Array, str]) -> Array:
    """`make(builder, values…)` evaluated on arrays given with their formats."""
    b = Builder()
    values = [b.input(f"x{i}", dtype, np.shape(data)) for i, (data, dtype) in enumerate(arrays)]
    b.output("y", make(b, *values))
    outputs, _ = run(b.graph(), {f"x{i}": data for i, (data, _) in enumerate(arrays)})
    return outputs["y"]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("function", [f for f in UNARY if f != "not"])
def test_functions_of_one_number(function: str) -> None:
    x = normal(100)
    if function in ("log", "rsqrt", "sqrt"):
        x = np.abs(x) + 0.1
    wanted = getattr(torch, function)(torch.from_numpy(x).double()).float().numpy()
    got = call(lambda b, v: b.unary(function, v), (x, "f32"))
    np.testing.assert_allclose(got, wanted, rtol=2e-7, atol=1e-7)


def test_error_function() -> None:
    # Both series meet at 3, where the first loses three digits of f64; beyond 6 the value is 1 to the last bit.
    x = np.linspace(-7.0, 7.0, 2001)
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=1e-13, atol=1e-15)


@given(st.floats(width=32))
def test_bf16_is_rounded_as_torch_does(number: float) -> None:
    wanted = torch.tensor(number).bfloat16().float().numpy()
    got = round_bf16(np.float32(number))
    assert got.shape == ()
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("number", "i8", "i32"),
    [(2.5, 2, 2), (3.5, 4, 4), (-0.5, 0, 0), (300.0, 127, 300), (-1e20, -128, -(2**31)), (np.nan, -128, 0),
     (np.inf, 127, 2**31 - 1), (126.5, 126, 126)],
)  # fmt: skip
def test_integers_are_rounded_to_even_and_saturate(number: float, i8: int, i32: int) -> None:
    value = np.array([number], np.float32)
    assert convert(value, "i8").tolist() == [i8]
    assert convert(value, "i32").tolist() == [i32]


@pytest.mark.parametrize(("a", "b", "wanted"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (5, 0, 0)])
def test_integers_divide_towards_zero(a: int, b: int, wanted: int) -> None:
    got = call(lambda g, x, y: g.binary("div", x, y), (np.array([a]), "i32"), (np.array([b]), "i32"))
    assert got.tolist() == [wanted]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3])
def test_convolution(rank: int, groups: int) -> None:
    x, w = normal(2, 6, *(9, 8, 7)[:rank]), normal(9, 6 // groups, *(3, 2, 3)[:rank], seed=1)
    stride, dilation, padding = (2, 1, 1)[:rank], (1, 2, 1)[:rank], (1, 0, 2)[:rank]
    theirs = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    wanted = theirs(torch.from_numpy(x), torch.from_numpy(w), None, stride, padding, dilation, groups).numpy()
    last = (0, *range(2, 2 + rank), 1)

    def make(b: Builder, data: int, weight: int) -> int:
        made = b.convolution(data, weight, stride=stride, dilation=dilation, groups=groups,
                             padding=[(p, p) for p in padding])  # fmt: skip
        return b.transpose(made, (0, rank + 1, *range(1, rank + 1)))

    got = call(make, (x.transpose(last), "f32"), (w.transpose(*range(2, 2 + rank), 1, 0), "f32"))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_products_of_bytes_are_exact_and_wrap() -> None:
    a, b = np.full((1, 4), -128, np.int8), np.full((4, 1), 127, np.int8)
    assert call(lambda g, x, y: g.matmul(x, y), (a, "i8"), (b, "i8")).tolist() == [[-65024]]


def test_pools() -> None:
    x = normal(1, 3, 7, 8)
    last = x.transpose(0, 2, 3, 1)
    wanted = F.max_pool2d(torch.from_numpy(x), 3, 2, 1).numpy()
    got = call(lambda b, v: b.pool("max", v, (3, 3), (2, 2), ((1, 1), (1, 1))), (last, "f32"))
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), wanted)
    total = 4.0 * F.avg_pool2d(torch.from_numpy(x), 2, 2).numpy()
    got = call(lambda b, v: b.pool("sum", v, (2, 2), (2, 2), ((0, 0), (0, 0))), (last, "f32"))
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), total, rtol=1e-6)


@pytest.mark.parametrize(("index", "start"), [(-3, 0), (1, 1), (2, 2), (9, 2)])
def test_update_is_clamped(index: int, start: int) -> None:
    state, patch = np.zeros((4, 2)), np.ones((2, 2))
    got = call(lambda b, s, p, i: b.update(s, p, i, 0), (state, "f32"), (patch, "f32"), (np.array(index), "i32"))
    assert np.flatnonzero(got[:, 0]).tolist() == [start, start + 1]


def test_gather_is_clamped() -> None:
    table = np.arange(6).reshape(3, 2)
    got = call(lambda b, t, i: b.gather(t, i), (table, "i32"), (np.array([[-1, 0], [2, 9]]), "i32"))
    assert got.tolist() == [[[0, 1], [0, 1]], [[4, 5], [4, 5]]]


def test_a_run_moves_states_on() -> None:
    b = Builder()
    count = b.input("count", "i32", ())
    more = b.binary("add", count, b.constant(np.array(2), "i32"))
    b.output("seen", count)
    b.state("count", more)
    outputs, states = run(b.graph(), {"count": np.array(5)})
    assert (int(outputs["seen"]), int(states["count"])) == (5, 7)


def test_inputs_are_checked() -> None:
    b = Builder()
    b.output("y", b.input("x", "f32", (2,)))
    with pytest.raises(ValueError, match="'x' is missing; given are \\['z'\\]"):
        run(b.graph(), {"z": np.zeros(2)})
    with pytest.raises(ValueError, match=r"must have shape \(2,\), got \(3,\)"):
        run(b.graph(), {"x": np.zeros(3)})
