"""Graphs survive being written and read, and text that is no graph is refused with its line."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graph import graph, inputs_of

from elsewhere.compiler.ir import Builder, Graph, TextError, check, parse, show
from elsewhere.compiler.targets import reference


def constants_of(made: Graph) -> dict[str, np.ndarray]:
    """Data of all constants, those of regions included."""
    found = dict(made.constants)
    for node in made.nodes:
        if node.op == "fused":
            found |= node.attributes["body"].constants
    return found


@given(r=st.randoms(use_true_random=False), size=st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_a_graph_read_back_is_the_same_text_and_gives_the_same_bits(r: random.Random, size: int) -> None:
    made = check(graph(r, size), "fused")
    text = show(made)
    again = check(parse(text, constants_of(made)), "fused")
    assert show(again) == text
    given = inputs_of(r, made)
    for before, after in zip(reference.run(made, given), reference.run(again, given), strict=True):
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])


def test_text_looks_like_this() -> None:
    b = Builder("blocks.0")
    x = b.input("x", "f32", (2, 3))
    b.output("y", b.binary("add", x, b.like(1.5, x)))
    assert show(b.graph()).splitlines() == [
        '%0 = input() : f32[2,3] {"name": "x"} at "blocks.0"',
        '%1 = constant() : f32[1,1] {"key": "' + b.nodes[1].attributes["key"]
        + '", "data": ["0x1.8000000000000p+0"]} at "blocks.0"',
        '%2 = broadcast(%1) : f32[2,3] {"shape": [2, 3]} at "blocks.0"',
        '%3 = binary(%0, %2) : f32[2,3] {"function": "add"} at "blocks.0"',
        'output "y" %3',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%0 = dance() : f32[2] {}", "line 1: there is no primitive 'dance'"),
        ('%1 = input() : f32[2] {"name": "x"}', "line 1: not a value, or not number 0"),
        ('%0 = constant() : f32[20] {"key": "missing"}', "line 1: 'missing'"),
        ('%0 = constant() : f32[3] {"key": "k", "data": ["0x1p0"]}', "line 1: cannot reshape"),
        ('%0 = constant() : i8[1] {"key": "k", "data": [300]}', "line 1: .*300"),
        ('%0 = input() : f32[2] {"name": "x"', "line 1: not a value"),
        ('output "y" %x', "line 1"),
        ("%0 = fused() : f32[2] {}", "line 1: a fused region needs one body"),
        ('%0 = fused() : f32[2] {}\n(\n%0 = input() : f32[2] {"name": "x"}', "the body does not end"),
        (")", "line 1: nothing may follow"),
        ("%0 = " + "9" * 5000 + "() : f32[] {}", "line 1"),
        ("%0 = cast(%0) : f32[" + "9" * 5000 + "] {}", "line 1"),
        ('%0 = cast(%0) : f32[] {"a": ' + "[" * 100_000 + "}", "line 1"),
    ],
)
def test_what_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse(text)
