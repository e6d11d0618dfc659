"""Sums and maxima along lanes: the oracle's bits for any shape, close to NumPy, and fewer cycles than rows by steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.cycle import run_cycles
from elsewhere.compiler.targets.tsp.scheduler.reduction import steps

LOW = {"sum": np.sum, "max": np.max, "min": np.min}


@settings(max_examples=10, deadline=None)
@given(
    rows=st.integers(1, 200),
    columns=st.integers(2, 700),
    function=st.sampled_from(sorted(LOW)),
    dtype=st.sampled_from(["f32", "i32"]),
)
def test_any_shape(rows: int, columns: int, function: str, dtype: str) -> None:
    b = Builder()
    b.output("y", b.reduce(function, b.input("x", dtype, (rows, columns)), (1,)))
    made = compile_tsp(b.graph())
    assert check(made.program) == []
    r = np.random.Generator(np.random.Philox(rows))
    x = (r.standard_normal((rows, columns)) * 100).astype({"f32": np.float32, "i32": np.int32}[dtype])
    found = run_bursts(made.program, {"x": x})["y"]
    np.testing.assert_array_equal(found, oracle.run(made.graph, {"x": x}, made.program.facts["cuts"])["y"])
    # A sum of n numbers below b errs by at most about log2(n) roundings of n·b; here the depth is at most 14.
    bound = 14 * 2.0**-24 * np.abs(x.astype(np.float64)).sum(axis=1, keepdims=True)
    assert (np.abs(found - LOW[function](x.astype(np.float64), axis=1, keepdims=True)) <= bound).all()


def test_both_simulators_agree_on_a_partial_vector() -> None:
    b = Builder()
    b.output("y", b.reduce("sum", b.input("x", "f32", (20, 48)), (1,)))
    made = compile_tsp(b.graph())
    x = np.random.Generator(np.random.Philox(1)).standard_normal((20, 48), np.float32)
    np.testing.assert_array_equal(run_bursts(made.program, {"x": x})["y"], run_cycles(made.program, {"x": x})["y"])


@pytest.mark.parametrize("function", ["sum", "max"])
@pytest.mark.parametrize("superlanes", [1, 2, 3, 7, 8, 12, 20, 28])
def test_steps_reach_every_superlane(superlanes: int, function: str) -> None:
    held = [{i} for i in range(superlanes)]
    for kind, numbers in steps(superlanes, 4, function):
        if kind == "group":
            (size,) = numbers
            held = [set().union(*held[i // size * size : (i // size + 1) * size]) for i in range(superlanes)]
        else:
            held = [held[i].union(*(held[(i + d) % superlanes] for d in numbers)) for i in range(superlanes)]
    assert all(h == set(range(superlanes)) for h in held)
