"""Which values become one region, and that large graphs take no long time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fuse import fuse, refine


def regions(b: Builder) -> list[str]:
    made = remove_dead(fuse(remove_dead(b.graph())))
    return [n.attributes["kind"] for n in made.nodes if n.op == "fused"]


def weights(b: Builder, *shape: int) -> int:
    return b.constant(np.random.default_rng(0).standard_normal(shape), "f32")


def bodies(graph: Graph) -> list[Graph]:
    return [n.attributes["body"] for n in graph.nodes if n.op == "fused"]


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([(128, 192), (2, 64, 192)], (2, 64, 192)),
        ([(6, 4), (4, 6)], None),
        ([(6, 4), (3, 8)], (3, 2, 4)),
        ([(2, 3), (6,)], (2, 3)),
        ([()], ()),
        ([(1, 1)], ()),
        ([(12,), (3, 4), (2, 6)], None),
    ],
)
def test_the_coarsest_common_lengths(shapes: list[tuple[int, ...]], wanted: tuple[int, ...] | None) -> None:
    assert refine(shapes) == wanted


def test_a_product_takes_in_bias_activation_gate_and_residual() -> None:
    b = Builder()
    x, gate, skip = b.input("x", "f32", (8, 16)), b.input("gate", "f32", (1, 32)), b.input("skip", "f32", (8, 32))
    y = b.binary("add", b.matmul(x, weights(b, 16, 32)), weights(b, 32))
    y = b.binary("mul", b.binary("mul", y, b.unary("sigmoid", y)), gate)
    b.output("y", b.binary("add", y, skip))
    assert regions(b) == ["contract"]


def test_what_a_product_multiplies_may_be_added_to_it() -> None:
    b = Builder()
    x = b.input("x", "f32", (8, 16))
    b.output("y", b.binary("add", b.matmul(x, weights(b, 16, 16)), x))
    assert regions(b) == ["contract"]


def test_an_adaptive_norm_is_one_region() -> None:
    b = Builder()
    x, scale, shift = b.input("x", "f32", (8, 64)), b.input("scale", "f32", (1, 64)), b.input("shift", "f32", (1, 64))
    share = b.constant(np.full((1, 1), 1 / 64), "f32")
    off = b.binary("sub", x, b.binary("mul", b.reduce("sum", x, (1,)), share))
    spread = b.binary("mul", b.reduce("sum", b.binary("mul", off, off), (1,)), share)
    y = b.binary("mul", off, b.unary("rsqrt", spread))
    b.output("y", b.binary("add", b.binary("mul", y, scale), shift))
    assert regions(b) == ["rows"]


def test_elementwise_values_over_different_shapes_share_a_region() -> None:
    b = Builder()
    x = b.input("x", "f32", (6, 8))
    b.output("y", b.unary("sin", b.reshape(b.unary("tanh", x), (2, 3, 8))))
    assert regions(b) == ["map"]


def test_two_products_are_two_regions_and_wait_for_each_other() -> None:
    b = Builder()
    x = b.input("x", "f32", (8, 8))
    first = b.unary("tanh", b.matmul(x, weights(b, 8, 8)))
    second = b.matmul(first, weights(b, 8, 4))
    b.output("y", b.binary("add", second, b.reduce("max", first, (1,))))
    assert sorted(regions(b)) == ["contract", "contract", "rows"]


def test_single_numbers_lie_in_the_body_but_for_operands_of_products() -> None:
    b = Builder()
    one = b.constant(np.full((1, 1), 3.0), "f32")
    y = b.matmul(b.input("x", "f32", (5, 1)), one)
    b.output("y", b.binary("mul", y, b.broadcast(one, (5, 1))))
    (body,) = bodies(fuse(b.graph()))
    assert len(body.inputs) == 2
    assert [n.op for n in body.nodes].count("constant") == 1


def test_a_region_that_meets_itself_over_a_reshape_has_no_cycle() -> None:
    b = Builder()
    x, w = b.input("x", "f32", (4, 6)), b.input("w", "f32", (24,))
    first = b.unary("tanh", x)
    flat = b.reshape(first, (24,))
    second = b.unary("sin", w)
    b.output("y", b.binary("add", flat, second))
    b.output("flat", flat)
    b.output("turned", b.transpose(first, (1, 0)))
    made = fuse(b.graph())
    assert [n.op for n in made.nodes].count("fused") >= 1


def test_long_chains_take_no_long_time() -> None:
    b = Builder()
    x = b.input("x", "f32", (16, 16))
    for number in range(400):
        y = b.matmul(x, b.constant(np.full((16, 16), number + 1.0), "f32"))
        x = b.binary("add", x, b.unary("tanh", b.binary("add", y, b.reduce("max", y, (1,)))))
    b.output("y", x)
    graph = b.graph()
    start = time.process_time()
    made = fuse(graph)
    assert time.process_time() - start < 4.0
    assert sum(n.op == "fused" for n in made.nodes) <= 2 * 400
