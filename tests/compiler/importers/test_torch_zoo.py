"""Every network of the zoo, imported by `torch.export`, gives PyTorch's numbers when the oracle interprets it.

Tolerance: PyTorch sums in f32 in an order of its own, the oracle in f64 with one rounding a primitive; what is compared
is the root mean square of the difference over that of PyTorch's output, per output. A layer of n terms errs by about
√n·2⁻²⁴ and a hundred layers by a few 10⁻⁶ at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import zoo
from torch import Tensor, nn
from zoo import convolutional, language, pictures
from zoo.weights import settle, unequal

from elsewhere.compiler.importers.torch_export import from_module
from elsewhere.compiler.ir import check
from elsewhere.compiler.targets import reference

TOLERANCE = 1e-5
EVERY = [pytest.param(name, marks=[pytest.mark.slow] if entry.large else []) for name, entry in zoo.ENTRIES.items()]


def small_resnet() -> nn.Module:
    return pictures.resnet("bottleneck", [32, 64, 64, 128], [1, 1, 2, 1])


def small_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, num_labels=10)
    return pictures.Logits(ViTForImageClassification(config))


def small_bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, **language.SPREAD
    )
    return language.Encoded(BertModel(config))


def small_gpt_2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return language.NextToken(GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, **language.SPREAD)))


SMALL: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "resnet-50": (small_resnet, convolutional.picture_inputs),
    "vit-b-16": (small_vit, convolutional.picture_inputs),
    "bert-base": (small_bert, language.bert_inputs),
    "gpt-2": (small_gpt_2, language.gpt_2_inputs),
}
"""The large networks with few and narrow layers."""


@pytest.mark.parametrize("name", SMALL)
def test_the_oracle_agrees_with_pytorch_on_a_small_one(name: str) -> None:
    build, draw = SMALL[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, inputs = build().eval(), draw(0)
        unequal(module)
        settle(module, inputs)
    compare(module, inputs)


@pytest.mark.parametrize("name", EVERY)
def test_the_oracle_agrees_with_pytorch(name: str) -> None:
    compare(*zoo.build(name))


def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        made = module(*inputs)
    graph = check(from_module(module, inputs), "imported")
    given = dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True))
    outputs, states = reference.run(graph, given)
    assert not states
    for got, wanted in zip(outputs.values(), made if isinstance(made, tuple) else [made], strict=True):
        error = np.sqrt(np.mean((got - wanted.numpy()) ** 2) / np.mean(wanted.numpy() ** 2))
        assert error <= TOLERANCE
