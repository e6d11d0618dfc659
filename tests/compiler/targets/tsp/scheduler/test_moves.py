"""Values whose lanes run along another's rows: the transposers' diagonals bring them home, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.program import Op


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


def test_heads_side_by_side_are_multiplied_where_they_lie() -> None:
    """Rows, weights and results of five heads share vectors: nothing passes the switch unit."""
    b = Builder()
    shares, values = b.input("p", "f16", (5, 32, 48)), b.input("v", "f16", (48, 320))
    mixed = b.matmul(shares, b.transpose(b.reshape(values, (48, 5, 64)), (1, 0, 2)))
    b.output("y", b.unary("neg", b.reshape(b.transpose(mixed, (1, 0, 2)), (32, 320))))
    made = compile_tsp(b.graph())
    assert check(made.program) == []
    assert not np.isin(made.program.code["op"], [Op.SHIFT, Op.PERMUTE]).any()
    r = np.random.Generator(np.random.Philox(9))
    given = {
        "p": r.random((5, 32, 48)).astype(np.float16),
        "v": r.standard_normal((48, 320)).astype(np.float16),
    }
    wanted = oracle.run(made.graph, given, made.program.facts["cuts"])["y"]
    np.testing.assert_array_equal(run_bursts(made.program, given)["y"], wanted)
