"""What a program as a whole becomes: names, places, states, constants; and what is refused, with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.compiler.importers import UnsupportedError
from elsewhere.compiler.importers.torch_export import from_exported, from_module, initial_states
from elsewhere.compiler.targets import reference


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


class Counting(nn.Module):
    """Adds each input to a running sum, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((3,), 0.5))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("step", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(x)
        self.count += 1
        return self.total * self.step * self.count


def test_changed_buffers_become_states() -> None:
    module, x = Counting(), torch.arange(3.0)
    program = torch.export.export(module, (x,))
    graph = from_exported(program)
    held = initial_states(program)
    assert list(graph.inputs) == ["total", "count", "x"]
    assert {name for name, _ in graph.states} == {"total", "count"}
    np.testing.assert_array_equal(held["total"], [0.5, 0.5, 0.5])
    assert int(held["count"]) == 7
    for _ in range(3):
        outputs, held = reference.run(graph, {"x": x.numpy(), **held})
        np.testing.assert_array_equal(outputs["output"], module(x).numpy())
    assert int(held["count"]) == 10


class RollingCache(nn.Module):
    """Writes a row into a cache at a place that the caller gives."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(1, 4, 2))

    def forward(self, row: Tensor, place: Tensor) -> Tensor:
        self.rows.index_copy_(1, place, row)
        return self.rows.sum(1)


def test_a_cache_is_updated_in_place() -> None:
    module = RollingCache()
    inputs = (torch.ones(1, 1, 2), torch.tensor([2]))
    graph = from_exported(torch.export.export(module, inputs))
    assert Counter(n.op for n in graph.nodes)["update"] == 1
    held = {"rows": np.zeros((1, 4, 2), np.float32)}
    given = dict(zip(("row", "place"), (t.numpy() for t in inputs), strict=True))
    outputs, held = reference.run(graph, {**given, **held})
    np.testing.assert_array_equal(outputs["output"], [[1.0, 1.0]])
    np.testing.assert_array_equal(held["rows"][0, :, 0], [0, 0, 1, 0])


def test_names_and_places() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
            return {"sum": self.blocks[0](first) + self.blocks[1](second), "first": first}

    graph = from_module(Named(), (torch.ones(2, 3), torch.ones(2, 3)))
    assert list(graph.inputs) == ["first", "second"]
    assert [name for name, _ in graph.outputs] == ["sum", "first"]
    assert {n.place for n in graph.nodes if n.op == "matmul"} == {"blocks.0", "blocks.1"}
    several = from_module(Function(lambda x: (x, x + 1)), (torch.ones(2),))
    assert [name for name, _ in several.outputs] == ["output_0", "output_1"]


def test_what_no_input_changes_is_calculated_while_importing() -> None:
    weight = torch.arange(6.0, dtype=torch.float64).view(2, 3)

    def function(x: Tensor) -> Tensor:
        table = torch.fft.fft(weight).abs().float()
        return x @ table[:, :1].expand(2, 1000)

    graph = from_module(Function(function), (torch.ones(4, 2),))
    # Neither f64 nor Fourier's transform is in the language, and what is repeated is stored once.
    assert [data.shape for data in graph.constants.values()] == [(2, 1)]
    outputs, _ = reference.run(graph, {"inputs_0": np.ones((4, 2), np.float32)})
    np.testing.assert_allclose(outputs["output"], function(torch.ones(4, 2)).numpy(), rtol=1e-6)


def test_the_module_is_left_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_module(module, (torch.ones(2, 3),))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_canonical_forms_look_like_this() -> None:
    def operations(function: Callable[..., Any], *inputs: Tensor) -> list[str]:
        graph = from_module(Function(function), inputs)
        shown = [n.attributes.get("function", n.op) for n in graph.nodes]
        return [name for name in shown if name not in ("input", "constant", "broadcast")]

    x, weight, bias = torch.ones(2, 3, 4), torch.ones(5, 4), torch.ones(5)
    assert operations(lambda x: F.linear(x, weight, bias), x) == ["reshape", "matmul", "add", "reshape"]
    assert operations(lambda x: x.softmax(-1), x) == ["max", "sub", "exp", "sum", "reciprocal", "mul"]
    normal = ["sum", "mul", "sub", "mul", "sum", "mul", "add", "rsqrt", "mul"]
    assert operations(lambda x: F.layer_norm(x, (4,)), x) == normal
    assert operations(lambda x: F.rms_norm(x, (4,)), x) == ["mul", "sum", "mul", "add", "rsqrt", "mul"]
    assert operations(lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6), x) == [
        "mul", "sum", "mul", "add", "rsqrt", "mul"
    ]  # fmt: skip
    assert operations(F.silu, x) == ["sigmoid", "mul"]
    assert operations(F.hardswish, x) == ["add", "max", "min", "mul", "mul"]
    attention = ["transpose", "matmul", "mul", *operations(lambda x: x.softmax(-1), x), "matmul"]
    assert operations(F.scaled_dot_product_attention, x, 2 * x, 3 * x)[-len(attention) :] == attention


class Deep(nn.Module):
    """A function at the place blocks.0.inner."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Module()])
        self.blocks[0].inner = Function(function)

    def forward(self, *inputs: Tensor) -> Any:
        return self.blocks[0].inner(*inputs)


X = torch.ones(2, 3)
REFUSED: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], str]] = {
    "an operator without form": (lambda x: torch.linalg.svd(x)[1], (X,), r"linalg_svd.* at blocks.0.inner.*no form"),
    "random numbers": (lambda x: x + torch.rand(3), (X,), "random numbers inside a program; make them an input"),
    "double precision": (lambda x: x.double() * 2.5, (X,), r"at blocks.0.inner.*format float64; supported are"),
    "an input in double precision": (lambda x: x + 1, (X.double(),), "input .* holds numbers of format torch.float64"),
    "complex numbers": (
        lambda x: torch.view_as_real(torch.exp(torch.view_as_complex(x.reshape(3, 2)))), (X,),
        r"exp.*complex numbers beyond rotation",
    ),
    "complex sums": (
        lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(3, 2)) + 1j), (X,), "`add` of complex numbers"
    ),
    "single bits": (lambda i: i & 6, (X.long(),), "operations on single bits"),
    "a count known while running": (lambda x: x[x > 0].sum(), (X,), "a length that is known only while running"),
    "dilated pools": (lambda x: F.max_pool2d(x[None], 2, 1, dilation=2), (torch.ones(1, 5, 5),), "with dilation"),
    "whole running sums": (lambda i: i.cumsum(1), (X.long(),), "running sums of integers"),
    "large integers": (lambda i: i + 2**40, (X.long(),), "an integer outside 32 bits"),
    "scattered writing": (
        lambda x: x.index_copy(1, torch.tensor([0, 2]), x[:, :2]), (X,), "places that do not follow one another"
    ),
    "adding at places": (
        lambda x: torch.ops.aten.index_put(x, [torch.tensor([0])], x[:1], True), (X,), "or adding there"
    ),
    "an unknown norm": (lambda x: x.norm(3, dim=1), (X,), "the norm of order 3"),
    "dropout in training": (lambda x: F.dropout(x, 0.5, training=True), (X,), "dropout|random|bernoulli"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_is_named(name: str) -> None:
    function, inputs, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        from_module(Deep(function), inputs)


def test_dynamic_lengths_are_refused() -> None:
    free = torch.export.Dim("length", min=2, max=64)
    program = torch.export.export(Function(torch.exp), (torch.ones(4, 3),), dynamic_shapes=(({0: free},),))
    with pytest.raises(UnsupportedError, match=r"dynamic length at axis 0 \(shape .*; export with fixed shapes"):
        from_exported(program)


def test_inputs_that_are_written_into_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="writes into its input"):
        from_module(Function(lambda x: x.add_(1.0)), (torch.ones(3),))


def test_batch_norm_in_training_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no form|in training"):
        from_module(nn.BatchNorm1d(3).train(), (X,))


def test_control_flow_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))

    with pytest.raises(UnsupportedError, match="control flow"):
        from_module(Function(function), (X,))
