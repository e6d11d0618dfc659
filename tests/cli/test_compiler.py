"""`compile`, `run` and `bench model`: from a file of somebody's to numbers, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from typer.testing import CliRunner, Result

import elsewhere
from elsewhere.cli.app import app
from elsewhere.compiler.cache import VARIABLE


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "programs"))


def onnx_file(path: Path, last: str = "Relu") -> Path:
    """x (4, 32) → MatMul → Relu (or another operator) → y (4, 48)."""
    weights = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(last, ["h"], ["y"], name="the_last")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 48])],
        [numpy_helper.from_array(weights, "w")],
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


def wanted(inputs: Path) -> np.ndarray:
    weights = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)
    return np.maximum(np.load(inputs)["x"] @ weights, 0)


def test_compile_then_run(model: Path, inputs: Path, tmp_path: Path) -> None:
    made, out = tmp_path / "made.ew", tmp_path / "y.npz"
    result = call("compile", model, "-o", made, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["file"] == str(made)
    assert said["precision"] == "f32"
    assert said["multiplications"] == 4 * 32 * 48
    assert said["bytes"] == made.stat().st_size
    assert 1.0 <= said["arena_over_live"] <= 1.1
    result = call("run", made, "--input", inputs, "-o", out, "--threads", "2", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["from_cache"]
    np.testing.assert_allclose(np.load(out)["y"], wanted(inputs), atol=1e-4)
    alone = json.loads(call("run", made, "--input", inputs, "--json").stdout)
    assert alone["outputs"][0]["sha256"] == said["outputs"][0]["sha256"]


def test_int8_is_calibrated_and_its_file_needs_nothing_more(model: Path, inputs: Path, tmp_path: Path) -> None:
    made, page, out = tmp_path / "made.ew", tmp_path / "page.html", tmp_path / "y.npz"
    flags = ("--precision", "int8", "--calibration", inputs, "--report", page, "--json")
    result = call("compile", model, "-o", made, *flags)
    assert result.exit_code == 0, result.output
    assert 0 < json.loads(result.stdout)["worst_layer"]["relative_error"] < 0.05
    assert "Error of quantisation" in page.read_text(encoding="utf-8")
    assert call("run", made, "--input", inputs, "-o", out).exit_code == 0
    exact = wanted(inputs)
    error = np.sqrt(np.square(np.load(out)["y"] - exact).mean() / np.square(exact).mean())
    assert 0 < error < 0.05
    again = call("compile", made, "-o", tmp_path / "again.ew", "--json")
    assert json.loads(again.stdout)["precision"] == "int8"
    assert (tmp_path / "again.ew").read_bytes() == made.read_bytes()


def test_arrays_without_names_are_taken_in_order(model: Path, inputs: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", np.load(inputs)["x"])
    result = call("run", model, "--input", tmp_path / "plain.npz")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("y: float32 4×48")


def test_torch_programs_are_taken(tmp_path: Path) -> None:
    module, x = nn.Linear(8, 3).eval(), torch.randn(2, 8)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "program.pt2")
    np.savez(tmp_path / "x.npz", x.numpy())
    out = tmp_path / "y.npz"
    result = call("run", tmp_path / "program.pt2", "--input", tmp_path / "x.npz", "-o", out)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(out)["output"], module(x).detach().numpy(), atol=1e-6)
    chip, out = tmp_path / "program.tsp", tmp_path / "z.npz"
    assert call("compile", tmp_path / "program.pt2", "--target", "tsp", "-o", chip).exit_code == 0
    assert call("tsp", "run", chip, "--input", tmp_path / "x.npz", "-o", out).exit_code == 0
    np.testing.assert_allclose(np.load(out)["output"], module(x).detach().numpy(), atol=0.01)


def test_bench_prints_times_and_kernels(model: Path) -> None:
    result = call("bench", "model", model, "--runs", "30", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["runs"] == 30
    assert 0 < said["milliseconds"]["least"] <= said["milliseconds"]["p50"] <= said["milliseconds"]["p99.9"]
    assert sum(k["multiplications"] for k in said["kernels"]) == 4 * 32 * 48
    assert all(k["reason"] for k in said["kernels"])
    shown = call("bench", "model", model, "--runs", "30", "--precision", "bf16").stdout
    assert "contract bf16" in shown
    assert "p99.9" in shown


@pytest.mark.slow
def test_the_projects_own_networks_have_names(tmp_path: Path) -> None:
    result = call("compile", "tokenizer-decoder", "-o", tmp_path / "d.ew", "--size", "64", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kernels"] > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compile", "model.bin"], "MODEL must be a file that ends in .ew, .onnx, .pt2, or one of world-step"),
        (["compile", "nowhere.onnx"], "there is no file nowhere.onnx"),
        (["compile", "model.onnx", "--target", "abacus"], "--target must be one of cpu, tsp, got 'abacus'"),
        (["compile", "model.onnx", "--precision", "f8"], "--precision must be one of f32, bf16, int8, got 'f8'"),
        (["compile", "model.onnx", "--precision", "int8"], "--calibration inputs.npz"),
        (["compile", "model.onnx", "--precision", "int8", "--calibration", "nan.npz"], "not finite"),
        (["compile", "model.onnx", "-o", "model.txt"], "model.txt must end in .ew"),
        (["compile", "model.onnx", "-o", "no/folder.ew"], "the folder no does not exist"),
        (["compile", "model.onnx", "--report", "page.pdf"], "page.pdf must end in .html"),
        (["compile", "world-step", "--size", "13"], "width must be"),
        (["compile", "cut.onnx"], "cut.onnx is not a sound ONNX file: byte 5"),
        (["compile", "hostile.ew", "-o", "made.ew"], "no program file"),
        (["compile", "damaged.pt2"], "not a program that torch.export.save wrote"),
        (["compile", "odd.onnx"], "the_last"),
        (["run", "model.onnx", "--input", "nowhere.npz"], "nowhere.npz"),
        (["run", "model.onnx", "--input", "model.onnx"], "not a sound .npz file"),
        (["run", "model.onnx", "--input", "pickled.npz"], "not a sound .npz file"),
        (["run", "model.onnx", "--input", "shape.npz"], "input 'x' must have shape (4, 32), got (5, 32)"),
        (["run", "model.onnx", "--input", "name.npz"], "there is no input 'z'"),
        (["run", "model.onnx", "--input", "x.npz", "--threads", "999"], "threads must be from 1 to"),
        (["run", "model.onnx", "--input", "x.npz", "-o", "y.txt"], "y.txt must end in .npz"),
    ],
)
def test_mistakes_are_told(
    model: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.onnx").write_bytes(model.read_bytes()[:3000])
    Path("hostile.ew").write_bytes(b"\x80\x04" * 500)
    Path("damaged.pt2").write_bytes(b"PK" * 500)
    onnx_file(Path("odd.onnx"), "Det")
    np.savez("nan.npz", x=np.full((4, 32), np.nan, np.float32))
    np.savez("pickled.npz", x=np.array([{}], object))
    np.savez("shape.npz", x=np.zeros((5, 32), np.float32))
    np.savez("name.npz", z=np.zeros((4, 32), np.float32))
    before = sorted(Path().iterdir())
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert sorted(Path().iterdir()) == before


def test_an_unknown_operator_is_named_with_its_place(tmp_path: Path) -> None:
    result = call("compile", onnx_file(tmp_path / "odd.onnx", "Det"), "-o", tmp_path / "odd.ew")
    assert result.exit_code == 2
    assert "Det" in result.stderr
    assert "the_last" in result.stderr


def test_torch_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.pt2").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    result = call("compile", tmp_path / "program.pt2", "-o", tmp_path / "p.ew")
    assert result.exit_code == 2
    assert "pip install torch" in result.stderr


def test_a_disk_that_is_full_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = call("compile", model, "-o", tmp_path / "made.ew")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.slow
def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(elsewhere.__file__).parents[1]), VARIABLE: str(tmp_path / "c")}
    command = [sys.executable, "-m", "elsewhere.cli", "compile", "world-step", "--size", "512", "-o"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "step.ew")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell's background jobs, and so what they start, ignore Ctrl-C unless told otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - sent < 3.0
    assert process.returncode == 130
    assert "Nothing was written" in said
    assert "Traceback" not in said
    assert not (tmp_path / "step.ew").exists()


def test_help_has_examples() -> None:
    for verb in (("compile",), ("run",), ("bench", "model")):
        result = call(*verb, "--help")
        assert result.exit_code == 0
        assert "elsewhere " + " ".join(verb) in result.stdout
