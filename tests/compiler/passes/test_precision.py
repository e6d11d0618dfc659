"""Narrow products: how far from the exact ones, what calibration refuses, and what the report says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from elsewhere.compiler.ir import Builder, Graph, check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.precision import CalibrationError, calibrate, combine, quantise, to_bf16
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.build import prepare

Array = NDArray[Any]


def oracle(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return reference.run(graph, inputs)[0]


def network(channels: int = 32, *, one_sided: bool = False) -> tuple[Graph, list[dict[str, Array]]]:
    """Two linear layers and a convolution whose channels differ a hundredfold, with inputs."""
    r = np.random.default_rng(0)
    unequal = 10.0 ** r.uniform(-1, 1, channels)
    b = Builder("first")
    x = b.input("x", "f32", (2, 6, 6, channels))
    flat = b.reshape(x, (72, channels))
    y = b.matmul(flat, b.constant(r.standard_normal((channels, 24)) / unequal[:, None] / channels**0.5, "f32"))
    b.place = "second"
    y = b.unary("tanh", y) if not one_sided else b.binary("max", y, b.like(0.0, y))
    y = b.matmul(y, b.constant(r.standard_normal((24, 16)) / 5.0, "f32"))
    b.place = "third"
    w = b.constant(r.standard_normal((3, 3, 16, 8)) / 12.0, "f32")
    b.output("y", b.convolution(b.reshape(y, (2, 6, 6, 16)), w, stride=(1, 1), padding=((1, 1), (1, 1))))
    return b.graph(), [{"x": (r.standard_normal((2, 6, 6, channels)) * unequal).astype(np.float32)} for _ in range(3)]


def error(graph: Graph, other: Graph, inputs: Mapping[str, Array]) -> float:
    wanted, made = oracle(graph, inputs)["y"], oracle(other, inputs)["y"]
    return float(np.sqrt(np.square(made - wanted).mean() / np.square(wanted).mean()))


def test_bf16_products_round_their_operands_only() -> None:
    graph, samples = network()
    assert error(graph, check(to_bf16(graph), "imported"), samples[0]) < 6e-3


def test_products_of_odd_depth_stay_in_f32() -> None:
    b = Builder()
    b.output("y", b.matmul(b.input("x", "f32", (3, 7)), b.constant(np.ones((7, 4)), "f32")))
    assert all(n.type.dtype == "f32" for n in to_bf16(b.graph()).nodes)


@pytest.mark.parametrize("one_sided", [False, True])
def test_int8_products_are_within_two_per_cent_and_the_report_says_so(one_sided: bool) -> None:
    graph, samples = network(one_sided=one_sided)
    made, report = quantise(graph, calibrate(graph, samples, oracle))
    check(made, "imported")
    assert error(graph, made, samples[0]) < 0.025
    assert [layer.place for layer in report.layers] == ["first", "second", "third"]
    assert all(0.0 < layer.relative < 0.02 for layer in report.layers)
    if one_sided:  # what is never negative uses all 256 steps
        assert report.layers[1].zero == -128


def test_layers_may_be_kept() -> None:
    graph, samples = network()
    activations = calibrate(graph, samples, oracle)
    made, report = quantise(graph, activations, keep=lambda node: node.place == "second")
    assert report.kept == ["second"]
    assert [n.type.dtype for n in made.nodes if n.op in ("matmul", "convolution")] == ["i32", "f32", "i32"]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_calibration_refuses_what_is_not_finite_and_names_the_layer(number: float) -> None:
    graph, samples = network()
    samples[1]["x"][0, 0, 0, 0] = number
    with pytest.raises(CalibrationError, match="not finite before first"):
        prepare(graph, "int8", samples)


def test_calibration_needs_inputs() -> None:
    graph, _ = network()
    with pytest.raises(CalibrationError, match="at least one calibration input"):
        prepare(graph, "int8", [])


def test_a_graph_without_weights_needs_none() -> None:
    b = Builder()
    b.output("y", b.unary("tanh", b.input("x", "f32", (4,))))
    _, report = prepare(b.graph(), "int8", [])
    assert report is not None
    assert report.layers == []


def test_calibration_inputs_must_fit() -> None:
    graph, samples = network()
    with pytest.raises(ValueError, match="shape"):
        prepare(graph, "int8", [{"x": samples[0]["x"][:1]}])


def test_an_unknown_precision_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'f32', 'bf16', 'int8'.*'fp8'"):
        prepare(network()[0], "fp8")


def test_dead_channels_and_constant_inputs_are_no_trouble() -> None:
    b = Builder()
    w = np.random.default_rng(0).standard_normal((8, 4))
    w[:, 2] = 0.0
    b.output("y", b.matmul(b.input("x", "f32", (3, 8)), b.constant(w, "f32")))
    x = np.zeros((3, 8), np.float32)
    made, _ = quantise(b.graph(), calibrate(b.graph(), [{"x": x}], oracle))
    assert np.abs(oracle(made, {"x": x})["y"]).max() < 1e-3


def test_factors_and_shifts_are_joined() -> None:
    b = Builder()
    x = b.input("x", "f32", (3, 4))
    y = b.binary("mul", x, b.constant(np.full((4,), 2.0), "f32"))
    y = b.binary("mul", y, b.constant(np.full((1, 4), 3.0), "f32"))
    b.output("y", b.binary("add", b.binary("add", y, b.like(1.0, y)), b.like(2.0, y)))
    made = combine(b.graph())
    assert sum(n.op == "binary" for n in remove_dead(made).nodes) == 2
    inputs = {"x": np.ones((3, 4), np.float32)}
    np.testing.assert_array_equal(oracle(made, inputs)["y"], np.full((3, 4), 9.0))


def test_a_number_that_is_repeated_to_a_matrix_stays() -> None:
    b = Builder()
    one = b.broadcast(b.constant(np.full((1, 1), 0.5), "f32"), (8, 4))
    b.output("y", b.matmul(b.input("x", "f32", (3, 8)), one))
    assert all(n.type.dtype == "f32" for n in to_bf16(b.graph()).nodes)
    assert calibrate(b.graph(), [], oracle) == {}
