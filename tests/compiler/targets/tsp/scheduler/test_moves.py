"""Values whose lanes run along another's rows: the transposers' diagonals bring them home, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp


@pytest.mark.parametrize(("rows", "heads", "width"), [(128, 7, 64), (96, 5, 32), (40, 3, 16)])
def test_keys_turned_for_their_queries(rows: int, heads: int, width: int) -> None:
    b = Builder()
    keys, queries = b.input("k", "f16", (rows, heads * width)), b.input("q", "f16", (heads, 16, width))
    turned = b.transpose(b.reshape(keys, (rows, heads, width)), (1, 2, 0))
    b.output("y", b.matmul(queries, turned))
    made = compile_tsp(b.graph())
    assert check(made.program) == []
    r = np.random.Generator(np.random.Philox(rows))
    given = {
        "k": r.standard_normal((rows, heads * width)).astype(np.float16),
        "q": r.standard_normal((heads, 16, width)).astype(np.float16),
    }
    wanted = oracle.run(made.graph, given, made.program.facts["cuts"])["y"]
    np.testing.assert_array_equal(run_bursts(made.program, given)["y"], wanted)
