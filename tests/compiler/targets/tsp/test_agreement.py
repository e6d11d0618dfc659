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
from elsewhere.compiler.targets.tsp.program import Op

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


def test_rows_written_whole_and_rows_joined_from_parts_lie_in_one_strip() -> None:
    """A convolution's windows: rows of padding are written whole, the others from pieces of neighbours."""
    r = np.random.Generator(np.random.Philox(1))
    b = Builder()
    x = b.input("x", "f32", (1, 28, 28, 128))
    w = b.constant(r.standard_normal((3, 3, 128, 128)), "f32")
    b.output("y", b.convolution(x, w, stride=(2, 2), padding=((1, 1), (1, 1))))
    made = compile_tsp(b.graph())
    code = made.program.code[made.program.code["op"] == Op.WRITE]
    whole = code["a"][:, 3] == made.program.machine.lanes << 16
    assert np.intersect1d(code["strip"][whole], code["strip"][~whole]).size
    assert check(made.program) == []


@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9))
def test_small_pictures_agree(data: st.DataObject, seed: int) -> None:
    """Convolutions, residuals and pools in int8 or f16: burst, cycle and oracle give one answer."""
    r = np.random.Generator(np.random.Philox(seed))
    b = Builder(place="picture")
    size, channels = data.draw(st.integers(4, 12)), data.draw(st.sampled_from([2, 3, 20, 40, 80]))
    whole = data.draw(st.booleans())
    kind = "i8" if whole else "f32"
    q = b.input("x", kind, (1, size, data.draw(st.integers(4, 12)), channels))
    for layer in range(data.draw(st.integers(1, 3))):
        b.place = f"layer{layer}"
        before, kernel = q, data.draw(st.sampled_from([1, 3]))
        shape, out = b.shape(q), data.draw(st.sampled_from([16, 40, 80]))
        stride = data.draw(st.integers(1, 2)) if min(shape[1:3]) > 3 else 1
        drawn = r.integers(-9, 10, (kernel, kernel, shape[3], out))
        w = b.constant(drawn.astype(np.int8) if whole else drawn / 16.0, kind)
        pads = ((kernel // 2, kernel // 2),) * 2
        y = b.cast(b.convolution(q, w, stride=(stride, stride), padding=pads), "f32")
        y = b.binary("add", b.binary("mul", y, b.like(0.02, y)), b.constant(r.uniform(-9, 9, out), "f32"))
        if b.shape(y) == b.shape(before):
            y = b.binary("add", y, b.cast(before, "f32"))
        q = b.cast(b.binary("max", y, b.like(0.0, y)), kind)
        if min(b.shape(q)[1:3]) > 3 and data.draw(st.booleans()):
            q = b.add("pool", (q,), function="max", window=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))
    b.output("y", q)
    made = compile_tsp(b.graph())
    assert check(made.program) == []
    shape = b.shape(0)
    given_x = r.integers(-99, 100, shape).astype(np.int8) if whole else r.standard_normal(shape, np.float32)
    wanted = oracle.run(made.graph, {"x": given_x}, made.program.facts["cuts"])["y"]
    np.testing.assert_array_equal(run_bursts(made.program, {"x": given_x})["y"], wanted)
    np.testing.assert_array_equal(run_cycles(made.program, {"x": given_x})["y"], wanted)
