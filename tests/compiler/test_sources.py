"""Files of every kind become sources; a frozen network keeps its precision, states and report in its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler import load, program_file
from elsewhere.compiler.cache import VARIABLE
from elsewhere.compiler.freeze import freeze, save
from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.sources import Source, example_inputs, from_file


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "programs"))


def network() -> Graph:
    """A product, and a state that counts what went in."""
    b = Builder("layer")
    x, total = b.input("x", "f32", (8, 32)), b.input("total", "f32", (8, 16))
    weights = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32)
    later = b.binary("add", total, b.add("matmul", (x, b.constant(weights, "f32"))))
    b.output("output", later)
    b.state("total", later)
    return b.graph()


def source() -> Source:
    return Source(graph=network(), kind="test", name="counting", states={"total": np.full((8, 16), 100.0, np.float32)})


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("bf16", 0.1), ("int8", 0.5)])
def test_a_file_holds_precision_states_and_report(tmp_path: Path, precision: str, tolerance: float) -> None:
    given = source()
    sample = example_inputs(given.graph) | dict(given.states)
    frozen = freeze(given, precision, [sample])
    assert frozen.stages[0][1] is given.graph
    held = {n.type.dtype for n in frozen.source.graph.nodes if n.op == "constant" and n.type.shape == (32, 16)}
    assert held == {{"f32": "f32", "bf16": "bf16", "int8": "i8"}[precision]}
    save(tmp_path / "a.ew", frozen.source)
    read = from_file(tmp_path / "a.ew")
    assert (read.precision, read.kind, read.name) == (precision, "test", "counting")
    assert np.array_equal(read.states["total"], given.states["total"])
    if precision == "int8":
        assert read.quantisation is not None
        assert [layer.place for layer in read.quantisation.layers] == ["layer"]
        assert read.quantisation == frozen.quantisation
    compiled = load(tmp_path / "a.ew")
    weights = next(iter(v for v in given.graph.constants.values() if v.shape == (32, 16)))
    product = sample["x"] @ weights
    for count in (1, 2):
        np.testing.assert_allclose(compiled(sample["x"]), 100.0 + count * product, atol=count * tolerance)
    compiled.reset()
    np.testing.assert_allclose(compiled(sample["x"]), 100.0 + product, atol=tolerance)


def test_a_narrowed_network_stays_as_it_is() -> None:
    given = source()
    narrowed = freeze(given, "bf16").source
    again = freeze(narrowed, "bf16").source
    assert sum(n.type.dtype == "bf16" for n in again.graph.nodes) == sum(
        n.type.dtype == "bf16" for n in narrowed.graph.nodes
    )
    with pytest.raises(ValueError, match="is in bf16 already and cannot be made int8"):
        freeze(narrowed, "int8", [example_inputs(given.graph)])


@pytest.mark.parametrize(
    "metadata",
    [
        {"precision": "f8"},
        {"precision": 3},
        {"provenance": [1]},
        {"quantisation": {"layers": [{}], "kept": []}},
        {"quantisation": {"layers": 3}},
        {"quantisation": "yes"},
        {"quantisation": {"layers": [{"place": "", "op": "", "relative": "x", "scale": 1, "zero": 0}], "kept": []}},
    ],
)
def test_hostile_metadata_is_refused(tmp_path: Path, metadata: dict[str, Any]) -> None:
    program_file.save(tmp_path / "a.ew", network(), json.loads(json.dumps(metadata)))
    with pytest.raises(program_file.ProgramFileError, match=r"a\.ew: its"):
        from_file(tmp_path / "a.ew")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a model must end in \.ew, \.onnx, \.pt2, got 'a\.pth'"):
        from_file(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError):
        from_file(tmp_path / "a.onnx")


def test_example_inputs_fit_and_leave_states_out() -> None:
    b = Builder()
    b.output("output", b.gather(b.input("table", "f32", (5, 3)), b.input("rows", "i32", (2,))))
    found = example_inputs(b.graph())
    assert {name: (a.shape, a.dtype.kind) for name, a in found.items()} == {"table": ((5, 3), "f"), "rows": ((2,), "i")}
    assert list(example_inputs(network())) == ["x"]


def test_a_file_that_was_loaded_before_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder("layer")
    x = b.input("x", "f32", (8, 32))
    weights = np.random.default_rng(5).standard_normal((32, 16)).astype(np.float32)
    b.output("output", b.add("matmul", (x, b.constant(weights, "f32"))))
    path = tmp_path / "a.ew"
    program_file.save(path, b.graph())
    given = np.random.default_rng(6).standard_normal((8, 32)).astype(np.float32)
    first = load(path)
    wanted = first(given)
    read = []
    monkeypatch.setattr("elsewhere.compiler.sources.from_file", lambda path: read.append(path) or from_file(path))
    again = load(path)
    assert again.from_cache and not read
    assert np.array_equal(again(given), wanted)
    with pytest.raises(ValueError, match=r"x f32\[8,32\]"):
        again()
    assert again.signature == first.signature
    assert len(again.graph.nodes) == len(first.graph.nodes) and read == [path]
    # Another content under the same name is another network; a damaged note is as none.
    b = Builder("layer")
    b.output("output", b.unary("neg", b.input("x", "f32", (8, 32))))
    program_file.save(path, b.graph())
    assert np.array_equal(load(path)(given), -given)
    import os

    for note in Path(os.environ[VARIABLE]).glob("*.note"):
        note.write_bytes(b"{" + note.read_bytes())
    assert np.array_equal(load(path)(given), -given)


def test_states_with_values_come_from_their_file(tmp_path: Path) -> None:
    save(tmp_path / "a.ew", freeze(source(), "f32").source)
    for _ in range(2):
        compiled = load(tmp_path / "a.ew")
        assert np.array_equal(compiled.network.read("total"), np.full((8, 16), 100.0))
