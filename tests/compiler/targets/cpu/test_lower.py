"""Graphs of every kind, compiled at every level, against the oracle."""

from __future__ import annotations

import random
from typing import Any

import drawn
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.ir.operations import BINARY, UNARY
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.build import build, prepare
from elsewhere.compiler.targets.cpu.lower import LoweringError
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe
from elsewhere.compiler.targets.cpu.runtime import Network

Array = NDArray[Any]
HERE = LEVELS[LEVELS.index(best_level()) :]
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-40, 3e38, -7.0], np.float32)


def everything(graph: Graph, inputs: dict[str, Array], level: str, threads: int = 1, **more: Any) -> dict[str, Array]:
    """Outputs and states after one run."""
    machine = describe(level)
    network = Network(build(graph, machine, **more), machine, threads)
    for name, values in inputs.items():
        network.write(name, values)
    network.run()
    found = {name: network.read(name) for name in (*network.outputs, *dict(graph.states))}
    network.close()
    return found


def wanted(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    outputs, states = reference.run(graph, inputs)
    return {**outputs, **states}


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(14))
@pytest.mark.parametrize("level", HERE)
def test_random_graphs(level: str, graph: drawn.Drawn) -> None:
    made = everything(graph.graph, graph.inputs, level)
    drawn.compare(made, graph, wanted(graph.graph, graph.inputs))
    again = everything(graph.graph, graph.inputs, level, threads=2)
    for name, value in made.items():
        np.testing.assert_array_equal(value, again[name], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("level", HERE)
def test_many_random_graphs(level: str) -> None:
    for seed in range(150):
        graph = drawn.draw(random.Random(seed), 24)
        drawn.compare(everything(graph.graph, graph.inputs, level), graph, wanted(graph.graph, graph.inputs))


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), precision=st.sampled_from(["bf16", "int8"]))
def test_random_graphs_in_other_precisions(seed: int, precision: str) -> None:
    """What the passes made of the graph is the standard here; whether they keep the meaning is tested with them."""
    graph = drawn.draw(random.Random(seed), 10, ("f32",))
    prepared, _ = prepare(graph.graph, precision, [graph.inputs])
    made = everything(graph.graph, graph.inputs, best_level(), precision=precision, samples=[graph.inputs])
    for name, want in wanted(prepared, graph.inputs).items():
        # A number that lies between two of the narrow ones may be rounded to either.
        scale = 1.0 + np.abs(want).max(initial=0.0)
        np.testing.assert_allclose(made[name], want, atol=0.04 * scale, rtol=0)


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_numbers_that_are_none_and_infinities(level: str, dtype: str) -> None:
    b = Builder()
    x, y = b.input("x", dtype, (13,)), b.input("y", dtype, (13,))
    for function in UNARY:
        if function not in ("not", "sin", "cos"):
            b.output(f"u {function}", b.unary(function, x))
    for function in BINARY:
        if function not in ("and", "or", "pow"):
            b.output(f"b {function}", b.binary(function, x, y))
    for other in ("f32", "f16", "bf16", "i32", "i8"):
        if other != dtype:
            b.output(f"cast {other}", b.cast(x, other))
            b.output(f"cast {other} and back", b.cast(b.cast(x, other), dtype))
    for function in ("sum", "max", "min"):
        b.output(f"r {function}", b.reduce(function, x, (0,)))
        column = b.reshape(x, (13, 1))
        b.output(f"c {function}", b.reduce(function, b.broadcast(column, (13, 5)), (0,)))
    inputs = {"x": SPECIAL, "y": np.roll(SPECIAL, 5)}
    made = everything(b.graph(), inputs, level)
    close = {"f32": 1e-6, "f16": 2e-3, "bf16": 2e-2}[dtype]
    for name, want in wanted(b.graph(), inputs).items():
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(made[name], want, rtol=close, atol=1e-37, err_msg=name)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("dtype", ["i8", "i32"])
def test_integers_wrap_around(level: str, dtype: str) -> None:
    low, high = (-128, 127) if dtype == "i8" else (-(2**31), 2**31 - 1)
    numbers = np.array([low, low + 1, -100, -7, -1, 0, 1, 3, 50, 100, high - 1, high])
    first, second = (part.ravel() for part in np.meshgrid(numbers, numbers))
    b = Builder()
    x, y = b.input("x", dtype, first.shape), b.input("y", dtype, first.shape)
    for function in ("add", "sub", "mul", "div", "max", "min", "less", "less_equal", "equal"):
        b.output(function, b.binary(function, x, y))
    chain = b.binary("add", b.binary("mul", x, y), x)
    b.output("chain", b.cast(chain, "f32"))
    for function in ("abs", "neg", "sign"):
        b.output(function, b.unary(function, x))
    table = b.reshape(x, (12, 12))
    for function in ("sum", "max", "min"):
        for axis in (0, 1):
            b.output(f"{function} {axis}", b.reduce(function, table, (axis,)))
    for function in ("sum", "max"):
        b.output(f"{function} pool", b.pool(function, b.reshape(x, (1, 12, 12)), (3,), (1,), ((1, 1),)))
    b.output("select", b.select(b.binary("less", x, y), x, y))
    b.output("to i8", b.cast(x, "i8"))
    b.output("to i32", b.cast(x, "i32"))
    b.output("border", b.pad(x, (1,), (2,), -np.inf))
    inputs = {"x": first, "y": second}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_array_equal(made[name], want, err_msg=name, strict=True)


@pytest.mark.parametrize("level", HERE)
def test_long_sums_of_bytes_are_exact(level: str) -> None:
    b = Builder()
    x = b.input("x", "i8", (3, 200_001))
    b.output("rows", b.reduce("sum", x, (1,)))
    b.output("all", b.reduce("sum", x, (0, 1)))
    inputs = {"x": np.random.default_rng(0).integers(100, 128, (3, 200_001))}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_array_equal(made[name], want)


# -- shapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", HERE)
def test_lengths_of_zero(level: str) -> None:
    b = Builder()
    x, none = b.input("x", "f32", (3, 4)), b.input("none", "f32", (0, 4))
    b.output("same", none)
    b.output("unary", b.unary("exp", none))
    b.output("joined", b.concatenate((x, b.unary("neg", none), x), 0))
    b.output("sum", b.reduce("sum", none, (0,)))
    b.output("product", b.matmul(b.transpose(none, (1, 0)), b.constant(np.ones((0, 5)), "f32")))
    b.output("border", b.pad(none, (1, 0), (2, 0), 7.0))
    b.output("rows", b.gather(x, b.constant(np.zeros((0,)), "i32")))
    b.output("updated", b.update(x, none, b.constant(np.int32(1), "i32"), 0))
    b.output("flat", b.reshape(none, (4, 0, 2)))
    b.output("cut", b.slice(x, (1, 0), (1, 4)))
    inputs = {"x": np.arange(12.0).reshape(3, 4), "none": np.zeros((0, 4))}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_array_equal(made[name], want, err_msg=name, strict=True)


@pytest.mark.parametrize("level", HERE)
def test_single_numbers_and_axes_of_one(level: str) -> None:
    b = Builder()
    x, one, index = b.input("x", "f32", ()), b.input("one", "f32", (1, 1, 1)), b.input("index", "i32", ())
    b.output("tanh", b.unary("tanh", x))
    b.output("sum", b.reduce("sum", b.binary("mul", one, one), (2,)))
    b.output("max", b.reduce("max", one, (0, 1, 2)))
    b.output("spread", b.spread(b.binary("add", x, x), (5, 7)))
    b.output("product", b.matmul(one, one))
    b.output("soft", b.binary("div", b.unary("exp", one), b.reduce("sum", b.unary("exp", one), (2,))))
    column = b.input("column", "f32", (9, 1))
    total = b.reduce("sum", b.binary("mul", column, column), (1,))
    b.output("norm", b.binary("mul", column, b.unary("rsqrt", total)))
    b.output("index", b.binary("add", index, index))
    b.output("picked", b.gather(column, index))
    rng = np.random.default_rng(1)
    inputs = {
        "x": np.float32(0.3),
        "one": rng.random((1, 1, 1)),
        "index": np.int32(4),
        "column": rng.random((9, 1)) + 1,
    }
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        assert made[name].shape == want.shape
        np.testing.assert_allclose(made[name], want, rtol=2e-6, err_msg=name)


@pytest.mark.parametrize("level", HERE)
def test_products_of_single_rows_columns_and_numbers(level: str) -> None:
    r = np.random.default_rng(2)
    b = Builder()
    x, w = b.input("x", "f32", (4, 1, 7)), b.input("w", "f32", (4, 7, 3))
    bias = b.input("bias", "f32", (4, 1, 3))
    b.output("rows", b.binary("add", b.matmul(x, w), bias))
    b.output("columns", b.unary("tanh", b.matmul(b.transpose(x, (0, 2, 1)), x)))
    picture = b.input("picture", "f32", (1, 3, 2))
    kernel = b.constant(r.standard_normal((3, 1, 2)), "f32")
    b.output("depthwise", b.convolution(picture, kernel, stride=(1,), padding=((0, 0),), groups=2))
    one = b.constant(np.full((1, 1), 3.0), "f32")
    tall = b.input("tall", "f32", (5, 1))
    b.output("number", b.binary("mul", b.matmul(tall, one), b.broadcast(one, (5, 1))))
    square = b.input("square", "f32", (6, 6))
    b.output("kept", b.binary("add", b.matmul(square, square), square))
    inputs = {name: r.standard_normal(b.graph().nodes[i].type.shape) for name, i in b.graph().inputs.items()}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_allclose(made[name], want, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("length", [1, 2, 15, 17, 256, 257, 5001])
def test_rows_of_every_length(level: str, length: int) -> None:
    """Normalised rows, a number a row as an output, and both halves of a region with several outputs."""
    b = Builder()
    x, gain = b.input("x", "f32", (3, length)), b.input("gain", "f32", (length,))
    mean = b.binary("mul", b.reduce("sum", x, (1,)), b.constant(np.full((1, 1), 1.0 / length), "f32"))
    off = b.binary("sub", x, mean)
    variance = b.binary(
        "mul", b.reduce("sum", b.binary("mul", off, off), (1,)), b.constant(np.full((1, 1), 1.0 / length), "f32")
    )
    scale = b.unary("rsqrt", b.binary("add", variance, b.constant(np.full((1, 1), 1e-5), "f32")))
    b.output("normal", b.binary("mul", b.binary("mul", off, scale), gain))
    b.output("mean", mean)
    b.output("scale", scale)
    b.output("wide", b.broadcast(scale, (3, length)))
    b.output("narrow", b.cast(off, "i8"))
    b.output("half", b.cast(off, "bf16"))
    b.output("turned", b.transpose(off, (1, 0)))
    generator = np.random.default_rng(length)
    inputs = {"x": generator.standard_normal((3, length)), "gain": generator.standard_normal(length)}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        close = {"half": 1e-2, "narrow": 1.0, "scale": 2e-5, "wide": 2e-5}.get(name, 3e-5)
        np.testing.assert_allclose(made[name], want, atol=close * (1 + np.abs(want).max()), rtol=0, err_msg=name)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "i8", "i32"])
def test_copies_in_every_order_keep_every_bit(level: str, dtype: str) -> None:
    b = Builder()
    x = b.input("x", dtype, (5, 7, 18))
    for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        b.output(f"{order}", b.transpose(x, order))
    b.output("backwards joined", b.concatenate((b.narrow(x, 2, 9, 18), b.narrow(x, 2, 0, 9)), 2))
    b.output("thirds", b.slice(x, (0, 1, 2), (5, 7, 18), (2, 3, 3)))
    b.output("flat", b.reshape(b.transpose(x, (2, 0, 1)), (18 * 35,)))
    numbers = np.random.default_rng(0).integers(-128, 128, (5, 7, 18))
    inputs = {"x": numbers.astype(np.float32) if dtype[0] != "i" else numbers}
    made = everything(b.graph(), inputs, level)
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_array_equal(made[name], want, err_msg=name)


def test_a_region_with_many_outputs() -> None:
    b = Builder()
    x = b.input("x", "f32", (40,))
    for number in range(30):
        x = b.unary("tanh", b.binary("add", x, x))
        b.output(f"y{number}", x)
    inputs = {"x": np.linspace(-1, 1, 40)}
    made = everything(b.graph(), inputs, best_level())
    for name, want in wanted(b.graph(), inputs).items():
        np.testing.assert_allclose(made[name], want, atol=1e-5)


# -- what there is no kernel for ---------------------------------------------------------------------------------------


def product(a: str, b: str) -> Graph:
    builder = Builder("layers.3.mix")
    builder.output("y", builder.matmul(builder.input("x", a, (2, 4)), builder.input("w", b, (4, 3))))
    return builder.graph()


@pytest.mark.parametrize(("a", "b"), [("f16", "f16"), ("f32", "bf16")])
def test_what_has_no_kernel_is_named_with_its_place(a: str, b: str) -> None:
    with pytest.raises(LoweringError, match=rf"{a}.*{b}.*layers\.3\.mix"):
        build(product(a, b))
