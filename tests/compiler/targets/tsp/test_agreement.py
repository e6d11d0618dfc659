"""Programs keep every rule, and both simulators give the oracle's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.assembly import save
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.cycle import run_cycles

Compiled = tuple[TspCompiled, dict[str, Any]]


def test_the_checker_proves_it(compiled: Compiled) -> None:
    assert check(compiled[0].program) == []


def test_both_modes_give_the_oracles_bits(compiled: Compiled) -> None:
    made, inputs = compiled
    wanted = oracle.run(made.graph, inputs, made.program.facts["cuts"])
    for run in (run_bursts, run_cycles):
        found = run(made.program, inputs)
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_compiling_twice_gives_the_same_bytes(compiled: Compiled) -> None:
    made, _ = compiled
    again = compile_tsp(made.graph)
    assert save(again.program) == save(compile_tsp(made.graph).program)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 300),
    inner=st.integers(2, 700),
    columns=st.integers(2, 400),
    seed=st.integers(0, 9),
)
def test_int8_products_of_any_size(rows: int, inner: int, columns: int, seed: int) -> None:
    r = np.random.Generator(np.random.Philox(seed))
    b = Builder()
    x = b.input("x", "i8", (rows, inner))
    w = r.integers(-128, 128, (inner, columns)).astype(np.int8)
    b.output("y", b.matmul(x, b.constant(w, "i8")))
    made = compile_tsp(b.graph())
    assert check(made.program) == []
    given_x = r.integers(-128, 128, (rows, inner)).astype(np.int8)
    found = run_bursts(made.program, {"x": given_x})["y"]
    np.testing.assert_array_equal(found, given_x.astype(np.int32) @ w.astype(np.int32))
