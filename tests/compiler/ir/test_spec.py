"""Every rule of legality refuses what breaks it, and names the node and its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.ir import Builder, Graph, Node, SpecError, Tensor, check

F32 = Tensor("f32", (2, 3))


def simple() -> Graph:
    """y = exp(x) + 1."""
    b = Builder("layer")
    x = b.input("x", "f32", (2, 3))
    b.output("y", b.binary("add", b.unary("exp", x), b.like(1.0, x)))
    return b.graph()


def fused() -> Graph:
    inside = Builder()
    x = inside.input("x", "f32", (2, 3))
    inside.output("a", inside.unary("exp", x))
    inside.output("b", inside.unary("sin", x))
    b = Builder()
    first, second = b.fused("map", [b.input("x", "f32", (2, 3))], inside.graph())
    b.output("sum", b.binary("add", first, second))
    return b.graph()


def changed(graph: Graph, number: int, **changes: Any) -> Graph:
    nodes = list(graph.nodes)
    nodes[number] = replace(nodes[number], **changes)
    return replace(graph, nodes=tuple(nodes))


def test_legal_graphs_pass() -> None:
    graph = simple()
    assert check(graph, "imported") is graph
    check(fused(), "fused")


BROKEN: dict[str, tuple[Callable[[], Graph], str, str]] = {
    "later operand": (lambda: changed(simple(), 1, inputs=(4,)), "imported", "%1 unary at layer: operands are earlier"),
    "negative operand": (lambda: changed(simple(), 1, inputs=(-1,)), "imported", "operands must be earlier values"),
    "operand count": (lambda: changed(simple(), 1, inputs=(0, 0)), "imported", "takes 1 operands, got 2"),
    "missing attribute": (lambda: changed(simple(), 1, attributes={}), "imported", "attributes are missing"),
    "unknown function": (
        lambda: changed(simple(), 1, attributes={"function": "dance"}), "imported", "function must be one of"
    ),
    "attribute of another kind": (
        lambda: changed(simple(), 1, attributes={"function": 3}), "imported", "function must be a text, is '3'"
    ),
    "truth instead of a length": (
        lambda: changed(simple(), 3, attributes={"shape": (2, True)}), "imported", "a tuple of integers"
    ),
    "fraction instead of a length": (
        lambda: changed(simple(), 3, attributes={"shape": (2.0, 3)}), "imported", "a tuple of integers"
    ),
    "wrong type": (
        lambda: changed(simple(), 1, type=Tensor("f32", (3, 2))), "imported", r"must be f32\[2,3\], is f32\[3,2\]"
    ),
    "no data": (lambda: replace(simple(), constants={}), "imported", "there is no data under"),
    "data of another type": (
        lambda: replace(simple(), constants=dict.fromkeys(simple().constants, np.zeros((1, 1), np.int8))),
        "imported", "its data has type int8",
    ),
    "region before fusion": (fused, "imported", "not allowed in a graph that is imported"),
    "region in a region": (
        lambda: changed(fused(), 1, attributes={"kind": "map", "body": fused()}), "fused", "in its body"
    ),
    "unknown kind of region": (
        lambda: changed(fused(), 1, attributes={**fused().nodes[1].attributes, "kind": "magic"}), "fused",
        "kind must be one of",
    ),
    "output that the region has not": (
        lambda: changed(fused(), 2, attributes={**fused().nodes[2].attributes, "index": 2}), "fused", "no number 2"
    ),
    "projection of no region": (lambda: changed(fused(), 2, inputs=(0,)), "fused", "not a fused region"),
    "output of no value": (lambda: replace(simple(), outputs=(("y", 9),)), "imported", "'y' is no value"),
    "two outputs of one name": (
        lambda: replace(simple(), outputs=(("y", 1), ("y", 2))), "imported", "two outputs have one name"
    ),
    "state without input": (lambda: replace(simple(), states=(("z", 1),)), "imported", "state 'z' must be an input"),
    "two states of one name": (
        lambda: replace(simple(), states=(("x", 1), ("x", 1))), "imported", "two states have one name"
    ),
    "too large": (
        lambda: Graph((Node("input", (), Tensor("i8", (2**20, 2**20)),
                            {"name": "x", "dtype": "i8", "shape": (2**20, 2**20)}),), ()),
        "imported", "elements or more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graphs_are_refused(name: str) -> None:
    make, stage, message = BROKEN[name]
    with pytest.raises(SpecError, match=message):
        check(make(), stage)
