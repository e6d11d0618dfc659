"""The networks that the compiler has to carry, with seeded weights and inputs.

`build(name)` gives a module in evaluation mode and a tuple of example inputs: nothing here knows the compiler, and
nothing is downloaded. Definitions come from `transformers` where it has a public one; the others are written from
their papers. `samples(name, count)` gives further inputs, to calibrate or to compare on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo import convolutional, diffusion, language, own, pictures
from zoo.weights import settle, unequal

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One network: how to build it, and how to draw its inputs from a seed."""

    module: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    trained: bool = False
    """Its weights are the project's own; the others are random."""
    large: bool = False
    """More than about 20 million weights: seconds to build, export or interpret."""


ENTRIES: dict[str, Entry] = {
    "world-step": Entry(module=own.world_step, inputs=own.world_step_inputs, trained=True),
    "tokenizer-decoder": Entry(module=own.decoder, inputs=own.decoder_inputs, trained=True),
    "tokenizer-encoder": Entry(module=own.encoder, inputs=own.encoder_inputs, trained=True),
    "dit-block": Entry(module=diffusion.dit_block, inputs=diffusion.dit_block_inputs),
    "dit-block-swiglu": Entry(module=diffusion.dit_block_swiglu, inputs=diffusion.dit_block_inputs),
    "dit-d384": Entry(module=diffusion.dit_d384, inputs=diffusion.dit_d384_inputs, large=True),
    "unet": Entry(module=diffusion.unet, inputs=diffusion.unet_inputs),
    "resnet-18": Entry(module=pictures.resnet_18, inputs=convolutional.picture_inputs),
    "resnet-50": Entry(module=pictures.resnet_50, inputs=convolutional.picture_inputs, large=True),
    "mobilenet-v3-small": Entry(module=convolutional.mobilenet_v3_small, inputs=convolutional.picture_inputs),
    "mobilenet-v3-large": Entry(module=convolutional.mobilenet_v3_large, inputs=convolutional.picture_inputs),
    "conv3d": Entry(module=convolutional.video_network, inputs=convolutional.video_inputs),
    "vit-b-16": Entry(module=pictures.vit_b_16, inputs=convolutional.picture_inputs, large=True),
    "bert-base": Entry(module=language.bert_base, inputs=language.bert_inputs, large=True),
    "minilm-l6": Entry(module=language.minilm_l6, inputs=language.bert_inputs),
    "gpt-2": Entry(module=language.gpt_2, inputs=language.gpt_2_inputs, large=True),
    "llama-block": Entry(module=language.llama_block, inputs=language.llama_block_inputs),
}


def build(name: str) -> tuple[nn.Module, Inputs]:
    """The network `name` in evaluation mode without gradients, and example inputs (batch 1). Same bits every time."""
    if name not in ENTRIES:
        raise ValueError(f"name must be one of {sorted(ENTRIES)}, got {name!r}")
    entry = ENTRIES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = entry.module().eval().requires_grad_(False)
        inputs = entry.inputs(0)
        if not entry.trained:
            unequal(module)
            settle(module, inputs)
    return module, inputs


def samples(name: str, count: int, first_seed: int = 1) -> list[Inputs]:
    """`count` further input tuples of `name`, each drawn from its own seed."""
    with torch.random.fork_rng(devices=[]):
        return [ENTRIES[name].inputs(seed) for seed in range(first_seed, first_seed + count)]
