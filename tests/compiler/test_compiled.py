"""Modules and graphs made callable: their source's results, by position and by name, with and without copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elsewhere.compiler import compile_graph, compile_module
from elsewhere.compiler.cache import VARIABLE
from elsewhere.compiler.ir import Builder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "programs"))


class Several(nn.Module):
    """Two outputs, a mask, and nested inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 8)

    def forward(self, pair: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = pair
        made = torch.tanh(self.linear(x)) + y
        return made.masked_fill(mask, 0.0), made.sum(-1)


class Named(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"double": x * 2, "half": x / 2}


class Counting(nn.Module):
    """Remembers what it has seen."""

    total: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((3,), 10.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total.add_(x)
        return self.total * 1.0


def several() -> tuple[Any, ...]:
    torch.manual_seed(0)
    return (torch.randn(5, 12), torch.randn(5, 8)), torch.rand(5, 8) > 0.5


@pytest.mark.parametrize("threads", [1, 2])
def test_a_module_with_several_outputs_and_nested_inputs(threads: int) -> None:
    module = Several().eval()
    inputs = several()
    compiled = compile_module(module, inputs, threads=threads)
    wanted = module(*inputs)
    made = compiled(*inputs)
    assert isinstance(made, tuple)
    for a, b in zip(made, wanted, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-6)
    named = dict(zip(compiled.input_names, (*inputs[0], inputs[1]), strict=True))
    again = compiled(**named)
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
    compiled.close()


def test_one_output_is_an_array_and_names_make_a_dictionary() -> None:
    x = torch.randn(4, 6)
    compiled = compile_module(nn.Linear(6, 3).eval(), (x,))
    assert isinstance(compiled(x), np.ndarray)
    made = compile_module(Named(), (x,))(x)
    np.testing.assert_array_equal(made["double"], x.numpy() * 2)
    np.testing.assert_array_equal(made["half"], x.numpy() / 2)


def test_without_copies() -> None:
    x = torch.randn(4, 6)
    module = nn.Linear(6, 3).eval()
    compiled = compile_module(module, (x,))
    (name,) = compiled.input_names
    compiled.inputs[name][...] = x.numpy()
    compiled.run()
    seen = compiled.outputs["output"]
    np.testing.assert_allclose(seen, module(x).detach().numpy(), atol=1e-6)
    compiled.inputs[name][...] = 0
    compiled.run()
    np.testing.assert_allclose(seen, np.broadcast_to(module.bias.detach().numpy(), (4, 3)), atol=1e-6)


def test_states_start_where_the_module_is_and_can_be_put_back() -> None:
    module = Counting()
    compiled = compile_module(module, (torch.ones(3),))
    assert [float(compiled(torch.ones(3))[0]) for _ in range(3)] == [11.0, 12.0, 13.0]
    compiled.reset()
    assert float(compiled(torch.ones(3))[0]) == 11.0
    assert float(module.total[0]) == 10.0


def test_other_formats_are_converted() -> None:
    b = Builder()
    b.output("output", b.binary("add", b.input("x", "f32", (3,)), b.cast(b.input("n", "i32", (3,)), "f32")))
    compiled = compile_graph(b.graph())
    x, n = np.arange(3.0), np.array([1, 2, 2**40])
    made = compiled(x, n)
    np.testing.assert_array_equal(made, [1.0, 3.0, 2.0 + np.float32(2**31 - 1)])
    np.testing.assert_array_equal(
        compiled(torch.arange(3, dtype=torch.bfloat16), torch.tensor([True, False, True])), [1, 1, 3]
    )


def test_the_second_time_is_from_the_cache() -> None:
    module, inputs = Several().eval(), several()
    compile_module(module, inputs)
    again = compile_module(module, inputs)
    assert again.from_cache
    assert again.seconds < 0.5


def test_mistakes_are_told() -> None:
    compiled = compile_module(Several().eval(), several())
    x = np.zeros((5, 12), np.float32)
    with pytest.raises(ValueError, match=r"inputs must be 3: pair_0 f32\[5,12\].*got 1"):
        compiled(x)
    with pytest.raises(ValueError, match="there is no input 'other'"):
        compiled(x, x, x, other=x)
    with pytest.raises(ValueError, match=r"input 'pair_1' must have shape \(5, 8\), got \(5, 12\)"):
        compiled(x, x, x)
    with pytest.raises(ValueError, match="precision must be one of"):
        compile_graph(compiled.graph, precision="f8")
    with pytest.raises(ValueError, match="threads must be from 1 to"):
        compile_graph(compiled.graph, threads=0)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.01), ("int8", 0.06)])
def test_other_precisions(precision: str, tolerance: float) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 32)).eval()
    inputs = [(torch.randn(16, 64),) for _ in range(4)]
    compiled = compile_module(module, inputs[0], precision=precision, calibration=inputs[1:])
    wanted = module(*inputs[0]).detach().numpy()
    error = np.sqrt(np.square(compiled(*inputs[0]) - wanted).mean() / np.square(wanted).mean())
    assert 1e-5 < error < tolerance
    assert compile_module(module, inputs[0], precision=precision, calibration=inputs[1:]).from_cache


def test_calibration_must_say_something() -> None:
    module, x = nn.Linear(16, 16).eval(), torch.randn(4, 16)
    with pytest.raises(ValueError, match="int8 needs at least one calibration input"):
        compile_module(module, (x,), precision="int8")
    with pytest.raises(ValueError, match="not finite"):
        compile_module(module, (x,), precision="int8", calibration=[(torch.full((4, 16), torch.nan),)])
    with pytest.raises(ValueError, match=r"calibration input 'input' must have shape \(4, 16\), got \(5, 16\)"):
        compile_module(module, (x,), precision="int8", calibration=[torch.randn(5, 16)])
