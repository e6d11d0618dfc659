"""Numbers taken into constants: fewer operations, results within roundings, nothing changed that is used as it is."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.scales import fold_scales, join_factors

R = np.random.Generator(np.random.Philox(5))


def gelu(*, beside: bool) -> Builder:
    """A scale and a bias a channel, GELU, and a step of 1/40; with `beside` the affine value is an output too."""
    b = Builder()
    x = b.input("x", "f32", (6, 32))
    scale, bias = (b.constant(R.uniform(0.5, 1.5, 32), "f32") for _ in range(2))
    inner = b.binary("add", b.binary("mul", x, b.spread(scale, (6, 32))), b.spread(bias, (6, 32)))
    curve = b.unary("erf", b.binary("mul", inner, b.like(0.5**0.5, inner)))
    half = b.binary("mul", inner, b.like(0.5, inner))
    made = b.binary("mul", half, b.binary("add", curve, b.like(1.0, curve)))
    b.output("y", b.binary("mul", made, b.like(40.0, made)))
    if beside:
        b.output("inner", inner)
    return b


def operations(graph: object) -> int:
    return sum(n.op in ("binary", "unary") for n in graph.nodes)  # type: ignore[attr-defined]


def test_a_gelu_takes_two_operations_less() -> None:
    graph = gelu(beside=False).graph()
    made = remove_dead(join_factors(fold_scales(graph)))
    assert operations(made) == operations(graph) - 2
    x = R.standard_normal((6, 32)).astype(np.float32) * 2
    wanted, found = (reference.run(g, {"x": x})[0]["y"].astype(np.float64) for g in (graph, made))
    # A handful of roundings of numbers below 40·(|x|·1.5 + 1.5), and of erf's argument, whose slope is below 1.2.
    assert np.abs(wanted - found).max() < 12 * 2.0**-24 * 40 * (1.5 * np.abs(x).max() + 1.5) ** 2


def test_what_is_used_as_it_is_stays() -> None:
    graph = gelu(beside=True).graph()
    assert [n.op for n in fold_scales(graph).nodes] == [n.op for n in graph.nodes]


def test_factors_that_would_overflow_stay_apart() -> None:
    b = Builder()
    x, y = b.input("x", "f32", (2, 4)), b.input("y", "f32", (2, 4))
    made = b.binary("mul", b.binary("mul", x, b.like(1e30, x)), y)
    b.output("z", b.binary("mul", made, b.like(1e30, made)))
    assert operations(remove_dead(join_factors(b.graph()))) == 3
