"""`compile --target tsp` and the verbs of `tsp`: from a file to figures, and what is said when it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from elsewhere.cli.app import app
from elsewhere.compiler.cache import VARIABLE


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "programs"))


def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)


def onnx_file(path: Path, last: str = "Relu", held: np.ndarray | None = None) -> Path:
    """x (4, K) → MatMul → Relu (or another operator) → y (4, N); K, N are 32, 48 or those of what is `held`."""
    held = weights() if held is None else held
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(last, ["h"], ["y"], name="the_last")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, held.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, held.shape[1]])],
        [numpy_helper.from_array(held, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_file(tmp_path / "model.onnx")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).standard_normal((4, 32)).astype(np.float32))
    return tmp_path / "x.npz"


@pytest.fixture
def program(model: Path, tmp_path: Path) -> Path:
    assert call("tsp", "compile", model, "-o", tmp_path / "made.tsp").exit_code == 0
    return tmp_path / "made.tsp"


def wanted(inputs: Path) -> np.ndarray:
    return np.maximum(np.load(inputs)["x"] @ weights(), 0)


@pytest.mark.parametrize("mode", ["burst", "cycle"])
def test_both_doors_make_one_program_that_runs(model: Path, inputs: Path, tmp_path: Path, mode: str) -> None:
    first, second, out = tmp_path / "a.tsp", tmp_path / "b.tsp", tmp_path / "y.npz"
    result = call("compile", model, "--target", "tsp", "-o", first, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["file"], said["machine"], said["precision"]) == (str(first), "groqchip1", "f16")
    assert said["multiplications"] == 4 * 32 * 48
    assert said["bytes"] == first.stat().st_size
    assert said["microseconds"] == pytest.approx(said["cycles"] / 900, abs=1e-6)
    assert call("tsp", "compile", model, "-o", second).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    result = call("tsp", "run", second, "--input", inputs, "-o", out, "--mode", mode, "--json")
    assert result.exit_code == 0, result.output
    ran = json.loads(result.stdout)
    assert ran["cycles"] == said["cycles"]
    assert ran["faults"] == 0
    assert ran["outputs"][0]["shape"] == [4, 48]
    np.testing.assert_allclose(np.load(out)["y"], wanted(inputs), atol=0.05)


def test_int8_is_calibrated_or_says_that_it_is_not(model: Path, inputs: Path, tmp_path: Path) -> None:
    made, out = tmp_path / "made.tsp", tmp_path / "y.npz"
    result = call("tsp", "compile", model, "-o", made, "--precision", "int8", "--calibration", inputs, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["calibrated_on"] == [str(inputs)]
    assert call("tsp", "run", made, "--input", inputs, "-o", out).exit_code == 0
    exact = wanted(inputs)
    assert 0 < np.sqrt(np.square(np.load(out)["y"] - exact).mean() / np.square(exact).mean()) < 0.05
    drawn = call("compile", model, "--target", "tsp", "-o", made, "--precision", "int8")
    assert drawn.exit_code == 0
    assert "drawn from a seed" in drawn.stderr


def test_saved_programs_are_taken(model: Path, inputs: Path, tmp_path: Path) -> None:
    frozen = tmp_path / "model.ew"
    flags = ("--precision", "int8", "--calibration", inputs)
    assert call("compile", model, "-o", frozen, *flags).exit_code == 0
    result = call("compile", frozen, "--target", "tsp", "-o", tmp_path / "a.tsp", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["precision"] == "int8"


def test_a_machine_of_ones_own_travels_with_its_program(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("clock_hz = 500e6\nvector_function = 9\n", encoding="utf-8")
    made = tmp_path / "made.tsp"
    result = call("compile", model, "--target", "tsp", "--machine", tmp_path / "mine.toml", "-o", made, "--json")
    said = json.loads(result.stdout)
    assert said["machine"] == "mine"
    assert said["microseconds"] == pytest.approx(said["cycles"] / 500, abs=1e-6)
    assert call("tsp", "run", made).exit_code == 0
    assert call("tsp", "run", made, "--machine", tmp_path / "mine.toml").exit_code == 0
    result = call("tsp", "run", made, "--machine", "groqchip1")
    assert result.exit_code == 2
    assert "made for mine, not for groqchip1" in result.stderr
    assert "clock_hz is 500000000.0 there and 900000000.0 here" in result.stderr


def test_a_report_adds_up(program: Path, tmp_path: Path) -> None:
    result = call("tsp", "report", program, "-o", tmp_path / "page.html", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert sum(part["cycles"] for part in said["critical"]) == said["cycles"]
    assert sum(layer["critical_cycles"] for layer in said["layers"]) == said["cycles"]
    assert sum(layer["instructions"] for layer in said["layers"]) == said["instructions"]
    assert sum(layer["multiplications"] for layer in said["layers"]) == 4 * 32 * 48
    assert "switch_permute" in said["assumed"] and "clock_hz" not in said["assumed"]
    assert (tmp_path / "page.html").stat().st_size == said["bytes"]
    assert call("tsp", "report", program).exit_code == 0
    assert program.with_suffix(".html").exists()


def test_check_finds_what_was_changed(program: Path) -> None:
    from elsewhere.compiler.targets.tsp.assembly import load, save

    assert "no rule broken" in call("tsp", "check", program).stdout
    broken = load(program.read_bytes())
    broken.code["issue"][len(broken.code) // 2] += 1
    program.write_bytes(save(broken))
    result = call("tsp", "check", program, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"]
    result = call("tsp", "run", program)
    assert result.exit_code == 2
    assert "breaks" in result.stderr


def test_a_program_reads_as_text(program: Path) -> None:
    rows = json.loads(call("tsp", "show", program, "--json").stdout)
    assert rows == sorted(rows, key=lambda r: r["issue"])
    said = " ".join(r["text"] for r in rows)
    for word in ("Read [", "LW ", "IW", "ABC lanes 0–31", "ACC set", "max.f32", "Write ["):
        assert word in said
    assert len(call("tsp", "show", program, "--limit", "3").stdout.splitlines()) == 3


SMALL, TINY = "rows_per_slice = 32", "rows_per_slice = 16"
"""Machines with 880 and 440 KiB, for weights of 800 KiB."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compile", "model.bin", "--target", "tsp"], "MODEL must be a file that ends in .ew, .onnx, .pt2"),
        (["compile", "nowhere.onnx", "--target", "tsp"], "there is no file nowhere.onnx"),
        (["compile", "model.onnx", "--machine", "lp30-public"], "--machine goes with --target tsp"),
        (["compile", "model.onnx", "--target", "tsp", "--precision", "bf16"], "one of f16, int8 for a tsp, got 'bf16'"),
        (["compile", "model.onnx", "--target", "tsp", "-o", "model.ew"], "model.ew must end in .tsp"),
        (["compile", "model.onnx", "--target", "tsp", "-o", "no/model.tsp"], "the folder no does not exist"),
        (["compile", "model.onnx", "--target", "tsp", "--report", "page.pdf"], "page.pdf must end in .html"),
        (["compile", "odd.onnx", "--target", "tsp"], "Det (node 'the_last')"),
        (["compile", "large.onnx", "--target", "tsp", "--machine", "tiny.toml"], "0.4 MiB too much, which 2 chips"),
        (["compile", "large.onnx", "--target", "tsp", "--machine", "small.toml"], "chips would hold"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "abacus"], "machine must be one of"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "nowhere.toml"], "nowhere.toml"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "text.toml"], "text.toml is no TOML file"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "typo.toml"], "nearest is 'clock_hz'"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "wrong.toml"], "streams must be at least 1"),
        (["tsp", "compile", "cut.onnx"], "cut.onnx is not a sound ONNX file: byte 5"),
        (["compile", "model.onnx", "--target", "tsp", "--machine", "gone.toml"], "there is no file gone.toml"),
        (["run", "made.tsp", "--input", "name.npz"], "made.tsp is compiled already; `elsewhere tsp run made.tsp`"),
        (["tsp", "run", "model.onnx"], "PROGRAM must be a .tsp file"),
        (["tsp", "run", "nowhere.tsp"], "there is no file nowhere.tsp"),
        (["tsp", "run", "text.tsp"], "this is no program"),
        (["tsp", "run", "flipped.tsp"], "flipped.tsp: the program is damaged"),
        (["tsp", "run", "cut.tsp"], "cut.tsp: the program is damaged"),
        (["tsp", "run", "made.tsp", "--machine", "lp30-public"], "made for groqchip1, not for lp30-public"),
        (["tsp", "run", "made.tsp", "--mode", "guess"], "--mode must be burst or cycle, got 'guess'"),
        (["tsp", "run", "made.tsp", "--input", "shape.npz"], "input 'x' must have shape (4, 32), got (5, 32)"),
        (["tsp", "run", "made.tsp", "--input", "name.npz"], "there is no input 'z'; the inputs are x"),
        (["tsp", "run", "made.tsp", "--input", "empty.npz"], "lacks input 'x'"),
        (["tsp", "run", "made.tsp", "--input", "words.npz"], "input 'x' must be f32"),
        (["tsp", "run", "made.tsp", "-o", "y.txt"], "y.txt must end in .npz"),
        (["tsp", "report", "made.tsp", "-o", "page.txt"], "page.txt must end in .html"),
        (["tsp", "report", "flipped.tsp"], "flipped.tsp: the program is damaged"),
        (["tsp", "check", "flipped.tsp"], "flipped.tsp: the program is damaged"),
        (["tsp", "picture", "made.tsp", "-o", "a.png", "--of", "moon"], "--of must be one of units, flow, chip"),
        (["tsp", "picture", "made.tsp", "-o", "a.png", "--of", "chip"], "a.png must end in .svg"),
        (["tsp", "picture", "made.tsp", "-o", "a.svg", "--of", "flow", "--instruction", "9999"], "must be from 0 to"),
        (["tsp", "show", "made.tsp", "--layer", "nowhere"], "no place begins with 'nowhere'"),
    ],
)
def test_mistakes_are_told(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = program.read_bytes()
    Path("cut.onnx").write_bytes(Path("model.onnx").read_bytes()[:3000])
    onnx_file(Path("odd.onnx"), "Det")
    onnx_file(Path("large.onnx"), held=np.ones((640, 640), np.float32))
    Path("tiny.toml").write_text(TINY, encoding="utf-8")
    Path("small.toml").write_text(SMALL, encoding="utf-8")
    Path("text.toml").write_text("clock: 5", encoding="utf-8")
    Path("typo.toml").write_text("clock_h = 5", encoding="utf-8")
    Path("wrong.toml").write_text("streams = 0", encoding="utf-8")
    Path("text.tsp").write_text("no program", encoding="utf-8")
    Path("cut.tsp").write_bytes(content[: len(content) // 2])
    Path("flipped.tsp").write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    np.savez("shape.npz", x=np.zeros((5, 32), np.float32))
    np.savez("name.npz", z=np.zeros((4, 32), np.float32))
    np.savez("words.npz", x=np.full((4, 32), "a"))
    np.savez("empty.npz")
    before = {p: p.read_bytes() for p in Path().iterdir()}
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


def test_pictures_and_the_example(program: Path, tmp_path: Path) -> None:
    for arguments in (["-o", "units.png"], ["--of", "chip", "-o", "chip.svg"], ["--of", "flow", "-o", "flow.svg"]):
        result = call("tsp", "picture", program, *arguments[:-1], tmp_path / arguments[-1], "--json")
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        assert (tmp_path / arguments[-1]).stat().st_size == said["bytes"] > 1000
    three = tmp_path / "three.tsp"
    assert json.loads(call("tsp", "example", "-o", three, "--json").stdout)["instructions"] == 3
    assert "no rule broken" in call("tsp", "run", three).stdout
    assert len(call("tsp", "show", three).stdout.splitlines()) == 3


VERBS = ("compile", "run", "check", "show", "report", "picture", "example", "realtime", "validate", "sweep")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(verb: str) -> None:
    result = call("tsp", verb, "--help")
    assert result.exit_code == 0
    assert f"elsewhere tsp {verb}" in result.stdout
    assert "--json" in result.stdout
