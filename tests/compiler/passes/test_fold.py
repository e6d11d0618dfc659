"""What depends on constants alone is calculated ahead, without making broadcasts large."""

from __future__ import annotations

import random
import time
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graph import graph, inputs_of

from elsewhere.compiler.ir import Builder, Graph, check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.targets import reference


def operations(graph: Graph) -> Counter[str]:
    return Counter(n.op for n in graph.nodes)


@given(r=st.randoms(use_true_random=False), size=st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_no_bit_changes(r: random.Random, size: int) -> None:
    before = graph(r, size)
    after = check(remove_dead(fold_constants(before)), "fused")
    given = inputs_of(r, before)
    for old, new in zip(reference.run(before, given), reference.run(after, given), strict=True):
        assert old.keys() == new.keys()
        for name in old:
            np.testing.assert_array_equal(new[name], old[name])


def test_a_chain_of_constants_is_one() -> None:
    b = Builder()
    x = b.input("x", "f32", (3, 4))
    scale = b.unary("rsqrt", b.binary("add", b.constant(np.arange(4.0), "f32"), b.constant(np.ones(4), "f32")))
    b.output("y", b.binary("mul", x, b.spread(scale, (3, 4))))
    made = remove_dead(fold_constants(b.graph()))
    assert operations(made) == {"input": 1, "constant": 1, "broadcast": 1, "binary": 1}
    (data,) = made.constants.values()
    np.testing.assert_allclose(data.reshape(-1), 1.0 / np.sqrt(np.arange(1.0, 5.0)), rtol=1e-7)


def test_a_broadcast_stays_narrow_through_arithmetic() -> None:
    b = Builder()
    shape = (1000, 1000, 1000)
    wide = b.broadcast(b.constant(np.full((1, 1, 1), 2.0), "f32"), shape)
    row = b.broadcast(b.constant(np.ones((1, 1, 1000)), "f32"), shape)
    x = b.input("x", "f32", shape)
    b.output("y", b.binary("mul", x, b.unary("exp", b.binary("add", wide, row))))
    made = remove_dead(fold_constants(b.graph()))
    assert operations(made) == {"input": 1, "constant": 1, "broadcast": 1, "binary": 1}
    assert [d.shape for d in made.constants.values()] == [(1, 1, 1000)]


def test_what_would_be_large_or_slow_is_left() -> None:
    b = Builder()
    one = b.constant(np.ones((1, 1)), "f32")
    a, c = b.broadcast(one, (1, 2**20)), b.broadcast(one, (2**20, 1))
    b.output("sum of many", b.matmul(a, c))
    column = b.constant(np.arange(2000.0).reshape(2000, 1), "f32")
    row = b.constant(np.arange(2000.0).reshape(1, 2000), "f32")
    b.output("outer", b.matmul(column, row))
    picture = b.constant(np.ones((1, 2, 1)), "f32")
    padded = b.convolution(picture, b.constant(np.ones((2, 1, 1)), "f32"), stride=(2**30,), padding=((2**30, 2**29),))
    b.output("padded", padded)
    start = time.perf_counter()
    made = remove_dead(fold_constants(b.graph()))
    assert time.perf_counter() - start < 5.0
    assert operations(made)["matmul"] == 1  # 2²⁰ products are few, four million results are not
    assert operations(made)["convolution"] == 1
