"""The zoo itself: every network is the same each time, gives sane numbers, and leaves torch whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from torch import Tensor
from zoo import onnx_file

SMALL = [name for name, entry in zoo.ENTRIES.items() if not entry.large]
EVERY = [pytest.param(name, marks=[pytest.mark.slow] if entry.large else []) for name, entry in zoo.ENTRIES.items()]


def run(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        made = module(*inputs)
    return list(made) if isinstance(made, tuple) else [made]


@pytest.mark.parametrize("name", EVERY)
def test_exports_to_torch_and_gives_sane_numbers(name: str) -> None:
    module, inputs = zoo.build(name)
    outputs = run(module, inputs)
    for output in outputs:
        assert output.isfinite().all()
        assert 0.01 < output.std() < 30.0
    program = torch.export.export(module, inputs)
    for output, exported in zip(outputs, run(program.module(), inputs), strict=True):
        torch.testing.assert_close(exported, output)


@pytest.mark.parametrize("name", SMALL)
def test_the_same_bits_every_time_and_other_inputs_for_other_seeds(name: str) -> None:
    module, inputs = zoo.build(name)
    again, same_inputs = zoo.build(name)
    assert all(torch.equal(a, b) for a, b in zip(inputs, same_inputs, strict=True))
    state, other = module.state_dict(), again.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    (others,) = zoo.samples(name, 1)
    assert [t.shape for t in others] == [t.shape for t in inputs]
    assert any(not torch.equal(a, b) for a, b in zip(inputs, others, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_exports_to_onnx(name: str, tmp_path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    module, inputs = zoo.build(name)
    path = tmp_path / "network.onnx"
    onnx_file.write(module, inputs, path)
    network = onnx.load(path)
    onnx.checker.check_model(network)
    if name in ("world-step", "dit-block", "tokenizer-decoder"):
        names = [value.name for value in network.graph.input]
        given = {key: value.numpy() for key, value in zip(names, inputs, strict=True)}
        for output, made in zip(run(module, inputs), ReferenceEvaluator(network).run(None, given), strict=True):
            np.testing.assert_allclose(made, output.numpy(), atol=2e-3)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="resnet-50"):
        zoo.build("resnet-51")
