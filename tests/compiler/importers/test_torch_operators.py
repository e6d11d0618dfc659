"""Every operator that the torch importer knows, on its own, against PyTorch.

Functions are given as modules of one line. Those of PyTorch's options that change a result each have a case.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.compiler.importers.torch_export import from_module
from elsewhere.compiler.targets import reference


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0))


def compare(module: nn.Module, *inputs: Tensor, tolerance: float = 2e-6) -> None:
    module.eval()
    with torch.no_grad():
        made = module(*inputs)
    graph = from_module(module, inputs)
    outputs, _ = reference.run(graph, dict(zip(graph.inputs, (t.float().numpy() if t.dtype == torch.bfloat16
                                               else t.numpy() for t in inputs), strict=True)))  # fmt: skip
    for got, wanted in zip(outputs.values(), made if isinstance(made, (tuple, list)) else [made], strict=True):
        assert got.shape == tuple(wanted.shape)
        expected = wanted.float().numpy() if wanted.dtype == torch.bfloat16 else wanted.numpy()
        scale = float(np.sqrt(np.sum(np.square(expected, dtype=np.float64)) / max(1, expected.size)))
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(scale, 1.0))


X = normal(2, 3, 4)
MATRIX, VECTOR, BIAS, ROWS, SQUARE = (normal(*n, seed=2) for n in ((3, 7), (4,), (5,), (4, 5), (4, 4)))
TURNS = normal(3, 2)
PICTURE = normal(2, 4, 9, 8)
MASK = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.bool)
A, B = normal(2, 3), normal(2, 3, seed=1)
N, M = whole(9, 2, 3) - 4, whole(4, 2, 3) + 1

ELEMENTWISE: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "add with factor": (lambda a, b: torch.add(a, b, alpha=2.5), (A, B)),
    "sub with factor": (lambda a, b: torch.sub(a, b, alpha=0.5), (A, B)),
    "number first": (lambda a: 3.0 - a, (A,)),
    "broadcast": (lambda a, b: a * b[:, None], (X, normal(2, 4))),
    "integers and floats": (lambda i, a: i + a * 2, (N, A)),
    "integer and number": (lambda i: i * 2.5, (N,)),
    "true division": (lambda i, j: i / j, (N, M)),
    "floor division": (lambda i, j: (i // j, i % j, i // 2, i % -3), (N, M)),
    "division rounded": (
        lambda a, b: (torch.div(a, b, rounding_mode="floor"), torch.div(a, b, rounding_mode="trunc")), (A, B)
    ),
    "remainder": (lambda a: torch.remainder(a, 0.7), (A,)),
    "division by a number and a root": (lambda a, b: (a / 3.0, a / (b * b + 1.0).sqrt(), 1.0 / b), (A, B)),
    "comparisons": (lambda a, b: (a < b, a <= b, a > b, a >= b, a == b, a != b, a > 0.5), (A, B)),
    "comparison of truths": (lambda m, i: (m == (i > 0), m < (i > 0)), (MASK, N)),
    "logic": (lambda m, i: (m & (i > 0), m | (i > 0), ~m, torch.logical_not(i), torch.logical_and(m, i)), (MASK, N)),
    "truths times numbers": (lambda m, a: (m * a, m * m, m + m, m.float() - 0.5), (MASK, A)),
    "powers": (lambda a: (a**2, a**3, a**4, a.abs() ** 0.5, a.abs() ** -0.5, a**-1, a.abs() ** 1.7, 2.0**a), (A,)),
    "powers of tensors": (lambda a, b: a.abs() ** b, (A, B)),
    "whole powers": (lambda i: (i**2, i**3), (N,)),
    "clamp": (lambda a: (a.clamp(-0.5, 0.5), a.clamp(min=0.0), a.clamp_max(0.3), F.hardtanh(a), F.relu6(a * 9)), (A,)),
    "clamp by tensors": (lambda a, b: a.clamp(min=b), (A, B)),
    "clamp of integers": (lambda i: i.clamp(-1, 2), (N,)),
    "fused products": (
        lambda a, b: (torch.addcmul(a, a, b, value=0.5), torch.addcdiv(a, b, b.abs() + 1), torch.lerp(a, b, 0.3)),
        (A, B),
    ),
    "where": (lambda m, a, b: (torch.where(m, a, b), torch.where(m, a, 0.0), torch.where(a > 0, 1, 2)), (MASK, A, B)),
    "masked fill": (lambda m, a: a.masked_fill(m, -math.inf).masked_fill(~m, 2.0), (MASK, A)),
    "triangles": (lambda a: (a.tril(), a.triu(1), a.tril(-1)), (X,)),
    "extremes": (lambda a, b: (torch.maximum(a, b), torch.minimum(a, b), torch.max(a, b)), (A, B)),
    "roundings": (lambda a: (a.floor(), a.ceil(), a.round(), a.trunc(), a.sign(), a.abs(), -a), (3 * A,)),
    "functions": (
        lambda a: (a.exp(), a.abs().log(), a.sin(), a.cos(), a.tanh(), a.erf(), a.sigmoid(), a.abs().sqrt()), (A,)
    ),
    "near one": (lambda a: (a.abs().log1p(), a.expm1(), a.square(), a.reciprocal(), a.abs().rsqrt()), (A,)),
    "casts": (lambda a, i: (a.long(), (a * 3).int(), a.bool(), i.float(), i.bool(), a.to(torch.bfloat16)), (A, N)),
    "activations": (lambda a: (F.relu(a), F.silu(a), F.gelu(a), F.gelu(a, approximate="tanh")), (3 * A,)),
    "hard activations": (lambda a: (F.hardswish(a), F.hardsigmoid(a), F.leaky_relu(a, 0.2)), (5 * A,)),
    "soft activations": (lambda a: (F.elu(a), F.selu(a), F.softplus(a), F.mish(a), F.softplus(a, 2.0)), (3 * A,)),
    "more activations": (lambda a: (F.glu(a[:, :2]), F.softsign(a), F.tanhshrink(a), F.logsigmoid(a), F.celu(a)), (A,)),
    "dropout when evaluated": (lambda a: F.dropout(a, 0.5, training=False), (A,)),
}  # fmt: skip

SHAPES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "views": (lambda x: (x.view(6, 4), x.flatten(1), x.reshape(-1), x[:, None], x.unflatten(2, (2, 2))), (X,)),
    "squeeze": (lambda x: (x[:1].squeeze(0), x[:1, :1].squeeze((0, 1)), x[:1].squeeze()), (X,)),
    "orders": (lambda x: (x.transpose(1, 2), x.permute(2, 0, 1), x[0].t(), x.mT, x.movedim(0, 2)), (X,)),
    "expand": (lambda x: (x[:, :1].expand(-1, 5, -1), x[0, :1].expand_as(x[0])), (X,)),
    "slices": (lambda x: (x[:, 1:], x[..., ::2], x[:, -2:-1], x[1], x[..., -1], x.narrow(1, 1, 2), x[:, 5:]), (X,)),
    "parts": (lambda x: (*x.split(2, 1), *x.chunk(2, -1), *x.unbind(0), *x.split([1, 3], 2)), (X,)),
    "joins": (lambda x: (torch.cat([x, x], 1), torch.stack([x, x], 2), torch.cat([x, x.long()], 0)), (X,)),
    "repeats": (lambda x: (x.repeat(2, 1, 3), x.tile(2), x.repeat_interleave(2, 1), x.repeat_interleave(2)), (X,)),
    "uneven repeats": (lambda x: x.repeat_interleave(torch.tensor([1, 0, 2]), 1, output_size=3), (X,)),
    "turns": (lambda x: (x.flip(0, 2), x.roll(1, 1), x.roll((1, -1), (0, 2)), x.roll(5)), (X,)),
    "padding": (lambda x: (F.pad(x, (1, 2), value=3.0), F.pad(x, (0, -1, 2, 0)), F.pad(x, (0, 0, 1, 0, 0, 1))), (X,)),
    "padding that repeats": (
        lambda x: (F.pad(x, (1, 2), "reflect"), F.pad(x, (1, 1), "replicate"), F.pad(x, (2, 1), "circular")), (X,)
    ),
    "padding of pictures": (
        lambda p: (F.pad(p, (1, 2, 3, 0), "reflect"), F.pad(p, (1, 2, 3, 0), "replicate")), (PICTURE,)
    ),
    "made tensors": (
        lambda x: (x + torch.ones_like(x) + torch.zeros(4) + torch.full((3, 1), 2.0), torch.zeros_like(x)),
        (X,),
    ),
    "einsum": (lambda x, y: torch.einsum("bmk,bnk->bmn", x, y), (X, normal(2, 5, 4))),
    "rotation by complex numbers": (
        lambda x: torch.view_as_real(
            torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(TURNS.abs(), TURNS)
        ).flatten(-2),
        (X,),
    ),
    "rotation by turns that are not known": (
        lambda x, a: torch.view_as_real(
            torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.complex(a.cos(), a.sin())
        ).flatten(-2),
        (X, normal(3, 2)),
    ),
    "pixel shuffles": (lambda p: (F.pixel_shuffle(p, 2), F.pixel_unshuffle(p[..., :8, :], 2)), (PICTURE,)),
    "meshgrid": (lambda x: x + sum(torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")), (X,)),
}  # fmt: skip

CHOICES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "embedding": (lambda i, w: F.embedding(i, w), (whole(10, 2, 5), normal(10, 6))),
    "index": (lambda x, i: (x[:, i], x[i[0, :2] % 2], x[..., i]), (X, whole(3, 2, 2))),
    "index from the end": (lambda x, i: x[:, i - 3], (X, whole(3, 4))),
    "several indices": (lambda x, i: (x[i % 2, i], x[i % 2, :, i], x[:, i, i]), (X, whole(3, 4))),
    "index of rows": (lambda x, i: x.index_select(1, i), (X, whole(3, 4))),
    "gather": (lambda x, i: (x.gather(1, i), x.gather(-1, i)), (X, whole(3, 2, 2, 4))),
    "arguments of extremes": (lambda x: (x.argmax(-1), x.argmin(1, keepdim=True), x.argmax()), (X,)),
    "extremes with places": (lambda x: (*x.max(1), *x.min(-1, keepdim=True)), (X,)),
    "write a part": (
        lambda x, y: (x.slice_scatter(y, 1, 1, 3), x.select_scatter(y[:, 0], 1, -1)), (X, normal(2, 2, 4))
    ),
    "write at a place": (lambda x, y, i: x.index_copy(1, i, y), (X, normal(2, 1, 4), torch.tensor([2]))),
    "write at known places": (lambda x, y: x.index_copy(1, torch.tensor([1, 2]), y), (X, normal(2, 2, 4))),
    "put": (lambda x, y, i: torch.ops.aten.index_put(x, [None, i], y), (X, normal(2, 1, 4), torch.tensor([-1]))),
}  # fmt: skip

SUMS: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "means": (lambda x: (x.mean(), x.mean(1), x.mean((0, 2), keepdim=True)), (X,)),
    "sums": (lambda x: (x.sum(), x.sum(-1), (x > 0).sum(1)), (X,)),
    "extremes": (lambda x: (x.amax(1), x.amin((0, 1)), x.max(), x.min()), (X,)),
    "any and all": (lambda m: (m.any(), m.all(1), m.any(0, keepdim=True)), (MASK,)),
    "variances": (lambda x: (x.var(1), x.var(1, unbiased=False), x.std(-1), x.std()), (X,)),
    "norms": (lambda x: (x.norm(dim=1), x.norm(1, dim=2), F.normalize(x, dim=-1)), (X,)),
    "running sums": (lambda x: x.cumsum(1), (X,)),
    "softmax": (lambda x: (x.softmax(-1), x.softmax(1), x.log_softmax(-1), F.softmin(x, -1)), (X,)),
    "logarithm of sums": (lambda x: x.logsumexp(-1), (X,)),
    "cosines": (lambda x: F.cosine_similarity(x[:, 0], x[:, 1], -1), (X,)),
}


@pytest.mark.parametrize("name", [*ELEMENTWISE, *SHAPES, *CHOICES, *(f"sums: {n}" for n in SUMS)])
def test_functions(name: str) -> None:
    function, inputs = ({**ELEMENTWISE, **SHAPES, **CHOICES} | {f"sums: {n}": case for n, case in SUMS.items()})[name]
    compare(Function(function), *inputs)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 5), (2, 3, 4)),
    "linear of a vector": (lambda: nn.Linear(4, 5, bias=False), (4,)),
    "bilinear": (lambda: Function(lambda x: x @ x.mT @ MATRIX), (2, 3, 4)),
    "vectors and matrices": (lambda: Function(lambda x: (x @ VECTOR, VECTOR[:3] @ x, x[0] @ x[1].t())), (2, 3, 4)),
    "sums of products": (
        lambda: Function(
            lambda x: (
                torch.addmm(BIAS, x[0], ROWS),
                torch.addmm(x[0], x[0], SQUARE, beta=2, alpha=0.5),
                torch.baddbmm(x, x @ x.mT, x),
            )
        ),
        (2, 3, 4),
    ),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 8)),
    "convolution without batch": (lambda: nn.Conv2d(4, 6, 3), (4, 9, 8)),
    "convolution in groups": (lambda: nn.Conv2d(4, 8, 3, groups=2, dilation=2, bias=False), (2, 4, 9, 8)),
    "convolution of each channel": (lambda: nn.Conv2d(4, 4, 5, groups=4, padding="same"), (2, 4, 9, 8)),
    "convolution 1d": (lambda: nn.Conv1d(3, 5, 4, padding="valid"), (2, 3, 9)),
    "convolution 3d": (lambda: nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1)), (1, 2, 3, 5, 6)),
    "transposed convolution": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (2, 4, 5, 6)
    ),
    "transposed convolution in groups": (lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2, dilation=1), (1, 4, 5, 6)),
    "transposed convolution that is cut": (lambda: nn.ConvTranspose1d(3, 2, 2, 3, padding=2), (1, 3, 7)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (2, 4, 9, 8)),
    "batch norm of vectors": (lambda: nn.BatchNorm1d(4, affine=False), (3, 4)),
    "layer norm": (lambda: nn.LayerNorm((3, 4)), (2, 3, 4)),
    "layer norm without bias": (lambda: nn.LayerNorm(4, bias=False, eps=1e-3), (2, 3, 4)),
    "rms norm": (lambda: nn.RMSNorm(4), (2, 3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (2, 4, 9, 8)),
    "instance norm": (lambda: nn.InstanceNorm2d(4, affine=True), (2, 4, 9, 8)),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), (2, 4, 9, 8)),
    "max pool over the border": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), (2, 4, 8, 8)),
    "max pool 1d": (lambda: nn.MaxPool1d(2), (2, 4, 8)),
    "average pool": (lambda: nn.AvgPool2d(3, 2, 1), (2, 4, 9, 8)),
    "average pool without its padding": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 4, 9, 8)),
    "average pool over the border": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 4, 8, 8)),
    "average pool by a number": (lambda: nn.AvgPool2d(2, divisor_override=3), (2, 4, 8, 8)),
    "adaptive pool to one": (lambda: nn.AdaptiveAvgPool2d(1), (2, 4, 9, 8)),
    "adaptive pool, whole ratio": (lambda: nn.AdaptiveAvgPool2d((3, 4)), (2, 4, 9, 8)),
    "adaptive pool, any ratio": (lambda: nn.AdaptiveAvgPool2d((4, 3)), (2, 4, 9, 8)),
    "nearest": (lambda: nn.Upsample(scale_factor=2), (2, 4, 5, 6)),
    "nearest of a fraction": (lambda: nn.Upsample(size=(7, 4)), (2, 4, 5, 6)),
    "nearest exact": (lambda: nn.Upsample(size=(7, 4), mode="nearest-exact"), (2, 4, 5, 6)),
    "bilinear up": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 5, 6)),
    "bilinear down": (lambda: nn.Upsample(size=(3, 4), mode="bilinear"), (2, 4, 5, 6)),
    "bilinear by corners": (lambda: nn.Upsample(size=(9, 6), mode="bilinear", align_corners=True), (2, 4, 5, 6)),
    "bilinear by a fraction": (lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"), (2, 4, 5, 6)),
    "bicubic": (lambda: nn.Upsample(scale_factor=1.5, mode="bicubic"), (2, 4, 6, 6)),
    "trilinear": (lambda: nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 3, 4, 5)),
    "attention layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "recurrence": (lambda: Recurrence(), (2, 4, 3)),
}  # fmt: skip


class Recurrence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(x.shape[0], 5)
        for step in x.unbind(1):
            hidden = self.cell(step, hidden)
        return hidden


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    make, shape = LAYERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
            weight = getattr(part, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 1:
                nn.init.uniform_(weight, 0.5, 1.5)
    compare(module, normal(*shape), tolerance=5e-6)


Q, K, V = normal(2, 6, 5, 8), normal(2, 6, 7, 8, seed=1), normal(2, 6, 7, 4, seed=2)
ATTENTION: dict[str, Callable[..., Tensor]] = {
    "plain": F.scaled_dot_product_attention,
    "scale": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.1),
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :, :5], v[:, :, :5], is_causal=True),
    "causal, unequal lengths": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "known mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.ones(5, 7).tril(1).bool()),
    "known mask of floats": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, torch.zeros(5, 7).masked_fill(torch.ones(5, 7).triu(2).bool(), -math.inf)
    ),
    "mask that hides everything from a row": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, torch.ones(5, 7).tril(-2).bool()
    ),
    "mask that hides nothing": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.ones(1, 7).bool()),
    "mask from inputs": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, k[:1, :1, :, 0][None] > -1.0),
    "mask of floats from inputs": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, q[..., :7]),
    "shared keys": lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True),
    "three axes": lambda q, k, v: F.scaled_dot_product_attention(q[0], k[0], v[0]),
    "five axes": lambda q, k, v: F.scaled_dot_product_attention(q[None], k[None], v[None]),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str) -> None:
    compare(Function(ATTENTION[name]), Q, K, V)


@pytest.mark.parametrize("layer", [nn.Linear(4, 5), nn.LayerNorm(4), nn.RMSNorm(4)])
def test_bf16(layer: nn.Module) -> None:
    # PyTorch rounds to bf16 between the steps of a norm, twice in RMSNorm: two units in the last place at 2.
    compare(copy.deepcopy(layer).bfloat16(), normal(2, 3, 4).bfloat16(), tolerance=0.04)


def test_bf16_convolution() -> None:
    compare(nn.Conv2d(4, 6, 3).bfloat16(), normal(1, 4, 5, 5).bfloat16(), tolerance=0.01)
