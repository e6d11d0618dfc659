"""Every network of the zoo, as an ONNX file, gives PyTorch's numbers when the oracle interprets it.

The tolerance is that of test_torch_zoo: an exporter reorders sums, but not by more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from zoo import onnx_file

from elsewhere.compiler.importers.onnx import from_onnx
from elsewhere.compiler.ir import Graph
from elsewhere.compiler.targets import reference

TOLERANCE = 1e-5
QUICK = ("tokenizer-decoder", "dit-block", "resnet-18", "minilm-l6")
EVERY = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in zoo.ENTRIES]


def largest_error(graph: Graph, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    with torch.no_grad():
        made = module(*inputs)
    outputs, _ = reference.run(graph, dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True)))
    wanted = [t.numpy() for t in (made if isinstance(made, tuple) else [made])]
    pairs = zip(outputs.values(), wanted, strict=True)
    return max(float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in pairs)


@pytest.mark.parametrize("name", EVERY)
def test_files_of_the_present_exporter(name: str, tmp_path: Path) -> None:
    module, inputs = zoo.build(name)
    onnx_file.write(module, inputs, tmp_path / "network.onnx")
    assert largest_error(from_onnx(tmp_path / "network.onnx"), module, inputs) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tokenizer-decoder", "dit-block", "unet", "minilm-l6", "llama-block"])
def test_files_of_opset_23_with_attention_as_an_operator(name: str, tmp_path: Path) -> None:
    module, inputs = zoo.build(name)
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(module, inputs, path, dynamo=True, external_data=False, verbose=False, opset_version=23)
    assert largest_error(from_onnx(path), module, inputs) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", ["tokenizer-decoder", "resnet-18", "unet", "minilm-l6"])
def test_files_of_the_older_exporter(name: str, opset: int, tmp_path: Path) -> None:
    if opset == 13 and name in ("unet", "minilm-l6"):
        pytest.skip("that exporter writes attention from opset 14 on")
    module, inputs = zoo.build(name)
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(module, inputs, path, dynamo=False, opset_version=opset)
    assert largest_error(from_onnx(path), module, inputs) <= TOLERANCE
