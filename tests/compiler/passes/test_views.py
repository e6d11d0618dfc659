"""Transposes, concatenations and borders end where they cost least."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.passes.concatenations import sink_concatenations
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.padding import expose_padding
from elsewhere.compiler.passes.transposes import axis_groups, inverse, sink_transposes


def count(graph: Graph) -> Counter[str]:
    return Counter(n.op for n in remove_dead(graph).nodes)


def test_a_network_that_was_channels_first_is_channels_last_inside() -> None:
    b = Builder()
    x = b.input("x", "f32", (1, 3, 8, 8))
    for number in range(3):
        inside = b.transpose(x, (0, 2, 3, 1))
        w = b.constant(np.full((3, 3, b.shape(inside)[-1], 4), number + 1.0), "f32")
        y = b.transpose(b.convolution(inside, w, stride=(1, 1), padding=((1, 1), (1, 1))), (0, 3, 1, 2))
        x = b.unary("tanh", b.binary("add", y, b.constant(np.ones((1, 4, 1, 1)), "f32")))
    b.output("y", x)
    made = fold_constants(sink_transposes(fold_constants(b.graph())))
    assert count(made)["transpose"] == 2  # in and out
    assert made.nodes[made.outputs[0][1]].op == "transpose"


@pytest.mark.parametrize(
    ("a", "b", "groups"),
    [
        ((2, 3, 4), (6, 4), [([0, 1], [0]), ([2], [1])]),
        ((6,), (2, 3), [([0], [0, 1])]),
        ((2, 1, 3), (2, 3), [([0, 1], [0]), ([2], [1])]),
        ((4, 6), (3, 8), [([0, 1], [0, 1])]),
        ((0, 2), (0,), None),
    ],
)
def test_axes_that_hold_the_same_elements(a: tuple[int, ...], b: tuple[int, ...], groups: object) -> None:
    assert axis_groups(a, b) == groups


@given(st.permutations(range(5)))
def test_inverse(order: list[int]) -> None:
    assert [tuple(order)[i] for i in inverse(tuple(order))] == list(range(5))


def test_a_rolling_cache_reaches_its_reader_in_parts() -> None:
    b = Builder()
    cache, new = b.input("cache", "f32", (1, 9, 4, 8)), b.input("new", "f32", (1, 1, 4, 8))
    whole = b.concatenate((cache, b.unary("tanh", new)), 1)
    turned = b.transpose(b.binary("mul", whole, b.constant(np.ones((1, 1, 1, 8)), "f32")), (0, 2, 1, 3))
    b.output("y", turned)
    made = remove_dead(sink_concatenations(b.graph()))
    last = made.nodes[made.outputs[0][1]]
    assert last.op == "concatenate"
    assert last.attributes["axis"] == 2


def test_rotated_halves_are_made_in_place() -> None:
    b = Builder()
    x, cos, sin = (b.input(name, "f32", (4, 8)) for name in ("x", "cos", "sin"))
    half = b.concatenate((b.unary("neg", b.narrow(x, 1, 4, 8)), b.narrow(x, 1, 0, 4)), 1)
    b.output("y", b.binary("add", b.binary("mul", x, cos), b.binary("mul", half, sin)))
    made = remove_dead(sink_concatenations(b.graph()))
    assert made.nodes[made.outputs[0][1]].op == "concatenate"


@settings(max_examples=30)
@given(st.integers(0, 2), st.integers(0, 2), st.sampled_from(["max", "sum"]))
def test_borders_become_nodes(low: int, high: int, function: str) -> None:
    b = Builder()
    x = b.input("x", "f32", (1, 8, 2))
    w = b.constant(np.ones((3, 2, 2)), "f32")
    b.output("y", b.convolution(x, w, stride=(1,), padding=((low, high),)))
    b.output("z", b.pool(function, x, (3,), (1,), ((low, high),)))
    made = expose_padding(b.graph())
    for node in made.nodes:
        if node.op in ("convolution", "pool"):
            assert node.attributes["padding"] == ((0, 0),)
    values = {n.attributes["value"] for n in made.nodes if n.op == "pad"}
    assert values == (set() if low == high == 0 else {0.0} if function == "sum" else {0.0, float("-inf")})
