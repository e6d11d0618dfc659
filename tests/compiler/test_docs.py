"""What the documents show is run: Python as it stands, then every command, in one empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elsewhere.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"


def blocks(document: str, language: str) -> list[str]:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELSEWHERE_CACHE", str(tmp_path / "programs"))


def test_compiler_in_python() -> None:
    import torch

    torch.manual_seed(0)
    space: dict[str, object] = {}
    found = blocks("compiler.md", "python")
    assert len(found) >= 3
    for block in found:
        exec(compile(block, "docs/compiler.md", "exec"), space)  # one document, one program


def test_compiler_on_the_command_line() -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.standard_normal((32, 48)).astype(np.float32), "w")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, k]) for n, k in (("x", 32), ("y", 48))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "small", ports[:1], ports[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "model.onnx")
    np.savez("x.npz", x=random.standard_normal((4, 32)).astype(np.float32))
    commands = [line for block in blocks("compiler.md", "sh") for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "elsewhere"
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
    for made in ("model.ew", "model.html", "y.npz", "small.ew"):
        assert Path(made).is_file()
