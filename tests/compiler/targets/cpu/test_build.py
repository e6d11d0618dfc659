"""What a program is built for: levels, precisions, threads; what the report needs to know of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.targets.cpu import machine as machines
from elsewhere.compiler.targets.cpu.build import PRECISIONS, build, observe, prepare
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, VARIABLE, best_level, describe
from elsewhere.compiler.targets.cpu.runtime import Network


def layer(factor: float = 1.0, columns: int = 64) -> Graph:
    b = Builder("layer")
    x = b.input("x", "f32", (48, 64))
    w = b.constant(np.random.default_rng(0).standard_normal((64, columns)) * factor, "f32")
    b.output("y", b.unary("tanh", b.matmul(x, w)))
    return b.graph()


def test_an_unknown_level_is_answered_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"'avx512', 'avx2', 'portable'.*'sse9'"):
        describe("sse9")
    monkeypatch.setenv(VARIABLE, "mmx")
    with pytest.raises(ValueError, match="'mmx'"):
        build(layer())
    monkeypatch.setenv(VARIABLE, "portable")
    assert build(layer()).machine.startswith("portable ")


def test_a_level_that_the_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "best_level", lambda: "portable")
    with pytest.raises(ValueError, match="this processor has no avx2; it has portable"):
        describe("avx2")


def test_an_unknown_precision_is_answered_with_the_known_ones() -> None:
    assert PRECISIONS == ("f32", "bf16", "int8")
    with pytest.raises(ValueError, match="'int4'"):
        build(layer(), precision="int4")


def test_the_same_graph_gives_the_same_program() -> None:
    first, second = build(layer()), build(layer())
    assert first.code == second.code
    np.testing.assert_array_equal(first.data, second.data)
    assert first.entries == second.entries


def test_watching_sees_every_pass_once() -> None:
    seen: list[str] = []
    prepare(layer(), "bf16", watch=lambda name, graph: seen.append(name))
    assert "to_bf16" in seen
    assert seen.count("fuse") == 1


@pytest.mark.parametrize("level", LEVELS[LEVELS.index(best_level()) :])
def test_a_program_tells_of_its_kernels_memory_and_ports(level: str) -> None:
    program = build(layer(), describe(level), (1, 2))
    assert [(p.name, p.dtype, p.shape) for p in program.inputs] == [("x", "f32", (48, 64))]
    assert [(p.name, p.dtype, p.shape) for p in program.outputs] == [("y", "f32", (48, 64))]
    (entry,) = program.entries
    assert (entry.kind, entry.place, entry.precision) == ("contract", "layer", "f32")
    assert entry.multiplications == 48 * 64 * 64
    assert entry.weights >= 64 * 64 * 4
    assert program.live_bytes <= program.arena_bytes
    for count, ranges in program.schedules.items():
        assert ranges.shape == (count, 1, 2)
        assert (ranges[:, 0, 1] - ranges[:, 0, 0]).sum() == entry.units


def test_a_library_names_a_function_that_it_lacks() -> None:
    program = build(layer())
    library = Library(program.code, describe())
    assert library.address("run")
    with pytest.raises(KeyError, match="walk"):
        library.address("walk")


def test_networks_share_code() -> None:
    program, machine = build(layer()), describe()
    library = Library(program.code, machine)
    x = np.ones((48, 64), np.float32)
    made = [Network(program, machine, threads, library)({"x": x})["y"] for threads in (1, 2)]
    np.testing.assert_array_equal(*made)


def test_observing_never_takes_another_graphs_program() -> None:
    x = np.ones((48, 64), np.float32)
    for factor in (1.0, 2.0, 3.0):
        wanted = np.tanh(x @ layer(factor).constants[next(iter(layer(factor).constants))])
        np.testing.assert_allclose(observe(layer(factor), {"x": x})["y"], wanted, atol=1e-5)


def test_a_machine_without_dot_products_carries_narrow_programs() -> None:
    plain = dataclasses.replace(describe(), dot_int8=False, dot_bf16=False)
    samples = [{"x": np.random.default_rng(3).standard_normal((48, 64)).astype(np.float32)}]
    wanted = Network(build(layer(0.1), plain), plain)(samples[0])["y"]
    for precision in ("bf16", "int8"):
        made = Network(build(layer(0.1), plain, (1,), precision, samples), plain)(samples[0])["y"]
        np.testing.assert_allclose(made, wanted, atol=0.05)
