"""Values that nothing reads vanish, equal ones are made once, inputs stay."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graph import graph, inputs_of

from elsewhere.compiler.ir import Builder, Graph, Node, Tensor, check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.targets import reference


@given(r=st.randoms(use_true_random=False), size=st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_no_bit_changes_and_nothing_unread_is_left(r: random.Random, size: int) -> None:
    whole = graph(r, size)
    before = Graph(whole.nodes, whole.outputs[::2], whole.states, whole.constants)
    after = check(remove_dead(before), "fused")
    given = inputs_of(r, before)
    for old, new in zip(reference.run(before, given), reference.run(after, given), strict=True):
        assert old.keys() == new.keys()
        for name in old:
            np.testing.assert_array_equal(new[name], old[name])
    kept = after.kept()
    for number, (node, users) in enumerate(zip(after.nodes, after.users(), strict=True)):
        assert users or number in kept or node.op == "input"
    assert list(after.inputs) == list(before.inputs)


def test_equal_values_are_made_once() -> None:
    f32 = Tensor("f32", (2,))
    exp = {"function": "exp"}
    nodes = (
        Node("input", (), f32, {"name": "x", "dtype": "f32", "shape": (2,)}),
        Node("unary", (0,), f32, exp, "first"),
        Node("unary", (0,), f32, exp, "second"),
        Node("binary", (1, 2), f32, {"function": "add"}),
    )
    after = remove_dead(Graph(nodes, (("y", 3),)))
    assert [(n.op, n.inputs, n.place) for n in after.nodes] == [
        ("input", (), ""),
        ("unary", (0,), "first"),
        ("binary", (1, 1), ""),
    ]


def test_constants_that_nothing_reads_go() -> None:
    b = Builder()
    b.input("unread", "i8", (3,))
    b.constant(np.ones(100), "f32")
    b.output("y", b.constant(np.zeros(3), "f32"))
    after = remove_dead(b.graph())
    assert list(after.inputs) == ["unread"]
    assert [d.shape for d in after.constants.values()] == [(3,)]
