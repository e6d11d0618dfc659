"""Rewrites before scheduling: what they change, how far results may move, and what they leave alone."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.prepare import (
    divide_late,
    move_late,
    prepare,
    split_columns,
    spread_late,
    sum_on_planes,
)


def softmax(b: Builder, scores: int) -> int:
    shape, last = b.shape(scores), (len(b.shape(scores)) - 1,)
    raised = b.unary("exp", b.binary("sub", scores, b.spread(b.reduce("max", scores, last), shape)))
    return b.binary("mul", raised, b.spread(b.unary("reciprocal", b.reduce("sum", raised, last)), shape))


def attention() -> tuple[Builder, dict[str, np.ndarray]]:
    b = Builder()
    scores, values = b.input("s", "f32", (3, 20, 48)), b.input("v", "f16", (3, 48, 16))
    b.output("y", b.matmul(b.cast(softmax(b, scores), "f16"), values))
    r = np.random.Generator(np.random.Philox(0))
    given = {
        "s": r.standard_normal((3, 20, 48), np.float32) * 8,
        "v": r.standard_normal((3, 48, 16)).astype(np.float16),
    }
    return b, given


def test_a_softmax_is_divided_behind_its_product() -> None:
    b, given = attention()
    graph = b.graph()
    made = divide_late(graph)
    product = next(i for i, n in enumerate(made.nodes) if n.op == "matmul")
    assert any(n.op == "binary" and product in n.inputs and n.attributes["function"] == "mul" for n in made.nodes)
    wanted, found = (reference.run(g, given)[0]["y"].astype(np.float64) for g in (graph, made))
    # Each exponential is rounded to f16 once, before or after the division: a part in 2^11 of it, in either way.
    bound = 2 * 2.0**-11 * np.abs(given["v"].astype(np.float64)).max()
    assert np.abs(wanted - found).max() < bound


def test_other_products_of_scaled_rows_stay() -> None:
    b = Builder()
    x, w = b.input("x", "f32", (4, 32)), b.constant(np.ones((32, 8)), "f32")
    scale = b.unary("reciprocal", b.reduce("sum", x, (1,)))
    b.output("y", b.matmul(b.binary("mul", x, b.spread(scale, (4, 32))), w))
    graph = b.graph()
    assert [n.op for n in divide_late(graph).nodes] == [n.op for n in graph.nodes]


def test_one_number_a_row_is_spread_before_it_is_calculated_with() -> None:
    b = Builder()
    x = b.input("x", "f32", (4, 32))
    mean = b.binary("mul", b.reduce("sum", x, (1,)), b.like(1 / 32, b.reduce("sum", x, (1,))))
    b.output("y", b.binary("sub", x, b.spread(b.unary("rsqrt", mean), (4, 32))))
    graph = b.graph()
    made = remove_dead(spread_late(graph))
    assert all(n.type.shape != (4, 1) for n in made.nodes if n.op in ("unary", "binary"))
    given = {"x": np.random.Generator(np.random.Philox(1)).uniform(1, 2, (4, 32)).astype(np.float32)}
    np.testing.assert_array_equal(reference.run(graph, given)[0]["y"], reference.run(made, given)[0]["y"])


def test_preparing_twice_changes_no_result() -> None:
    b, given = attention()
    once = prepare(b.graph())
    np.testing.assert_array_equal(reference.run(once, given)[0]["y"], reference.run(prepare(once), given)[0]["y"])


def test_columns_that_are_only_used_apart_become_products_of_their_own() -> None:
    r, b = np.random.Generator(np.random.Philox(2)), Builder()
    x = b.input("x", "i8", (5, 40))
    joint = b.cast(b.matmul(x, b.constant(r.integers(-9, 9, (40, 1050), np.int8), "i8")), "f32")
    joint = b.binary("mul", joint, b.spread(b.constant(r.standard_normal(1050, np.float32), "f32"), (5, 1050)))
    for i in range(3):
        b.output(f"y{i}", b.narrow(joint, 1, i * 350, (i + 1) * 350))
    graph = b.graph()
    made = remove_dead(split_columns(graph))
    assert sorted(n.type.shape[-1] for n in made.nodes if n.op == "matmul") == [350, 350, 350]
    given = {"x": r.integers(-9, 9, (5, 40)).astype(np.int8)}
    wanted, found = reference.run(graph, given)[0], reference.run(made, given)[0]
    assert all(np.array_equal(wanted[k], found[k]) for k in wanted)


def test_functions_of_one_value_come_before_its_transposition() -> None:
    b = Builder()
    x = b.unary("exp", b.input("x", "f32", (3, 8, 16)))
    turned = b.reshape(b.transpose(x, (1, 0, 2)), (8, 48))
    b.output("y", b.cast(b.binary("mul", turned, b.like(60.0, turned)), "i8"))
    graph = b.graph()
    made = remove_dead(move_late(graph))
    last = made.nodes[dict(made.outputs)["y"]]
    assert last.op == "reshape" and last.type.dtype == "i8"
    given = {"x": np.random.Generator(np.random.Philox(3)).standard_normal((3, 8, 16), np.float32) - 1}
    np.testing.assert_array_equal(reference.run(graph, given)[0]["y"], reference.run(made, given)[0]["y"])


def halves(rows: int, columns: int) -> Builder:
    """What is held in f16, divided by its sum."""
    b = Builder()
    x = b.cast(b.input("x", "f16", (rows, columns)), "f32")
    b.output("y", b.binary("mul", x, b.spread(b.unary("reciprocal", b.reduce("sum", x, (1,))), (rows, columns))))
    return b


def test_sums_of_halves_are_products_with_ones() -> None:
    x = np.random.Generator(np.random.Philox(3)).uniform(0, 2, (40, 200)).astype(np.float16)
    made = compile_tsp(halves(40, 200).graph())
    assert [n.op for n in made.graph.nodes].count("matmul") == 1 and all(n.op != "reduce" for n in made.graph.nodes)
    assert check(made.program) == []
    found = run_bursts(made.program, {"x": x})["y"]
    np.testing.assert_array_equal(found, oracle.run(made.graph, {"x": x}, made.program.facts["cuts"])["y"])
    wide = x.astype(np.float64)
    # 200 additions round to f32 at most, and the reciprocal and the product once each.
    np.testing.assert_allclose(found, wide / wide.sum(axis=1, keepdims=True), rtol=202 * 2.0**-24)


def test_other_sums_stay_on_the_vector_unit() -> None:
    b = Builder()
    x = b.input("x", "f32", (4, 32))
    b.output("sum", b.reduce("sum", x, (1,)))
    b.output("max", b.reduce("max", b.cast(b.cast(x, "f16"), "f32"), (1,)))
    b.output("rows", b.reduce("sum", b.cast(b.cast(x, "f16"), "f32"), (0,)))
    assert all(n.op != "matmul" for n in sum_on_planes(b.graph()).nodes)
    assert all(n.op != "matmul" for n in sum_on_planes(halves(4, 700).graph()).nodes)
