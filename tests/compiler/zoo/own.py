"""The project's networks with the shipped weights, as pure functions of tensors at 128×128 pixels.

Shapes: N = 64 tokens of a frame, K = 6 heads, S = 9 cached frames (the sink and 8 more), E = 32, L = 24 text tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
from elsewhere.model.generator import CONTEXT_LEVEL
from elsewhere.model.train import weights
from elsewhere.model.train.networks import transformer
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Cache, Transformer
from elsewhere.model.train.painter import TorchGenerator, TorchStream
from elsewhere.model.weights import DIRECTORY

SIZE = 128
"""Pixels along a side."""
CACHED = 9
PROMPT = "two pirate ships battling each other as they sail inside a cup of coffee"


class RecordingTransformer(Transformer):
    """Hands out the new keys and values alone; the cache that they belong into stays the caller's."""

    @staticmethod
    def append(cache: Cache, index: int, keys: Tensor, values: Tensor) -> None:
        cache.new.extend((keys, values))  # type: ignore[attr-defined]


class WorldStep(nn.Module):
    """One frame as `TorchStream.sample` evaluates it: the last frame is remembered while the new one is predicted.

    Inputs: noisy (1, 2, 16, 8, 8), level (1, 2), step (1, 2), planes (1, 2, 24, 32, 32), camera (1, 2, 64, 12),
    text (1, 24) int64, positions (2,), cached positions (9,), then for each of the three temporal layers its cached
    keys and values (1, 64, 6, 9, 32). Outputs: clean latents of the new frame (1, 1, 16, 8, 8), then for each
    temporal layer the last frame's keys and values (1, 64, 6, 1, 32).
    """

    def __init__(self, network: RecordingTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        noisy: Tensor,
        level: Tensor,
        step: Tensor,
        planes: Tensor,
        camera: Tensor,
        text: Tensor,
        positions: Tensor,
        cached_positions: Tensor,
        *cached: Tensor,
    ) -> tuple[Tensor, ...]:
        cache = Cache(keys=list(cached[0::2]), values=list(cached[1::2]), positions=cached_positions)
        cache.new = []  # type: ignore[attr-defined]
        made = self.network(noisy, level, step, planes, camera, text, positions, cache, 1)
        return made[:, -1:], *cache.new  # type: ignore[attr-defined]


def tokenizer() -> Tokenizer:
    loaded = weights.load(DIRECTORY / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
    assert isinstance(loaded, Tokenizer)
    return loaded


def world_step() -> nn.Module:
    network = weights.load(DIRECTORY / "world.safetensors", RecordingTransformer, TransformerConfig)
    assert isinstance(network, RecordingTransformer)
    return WorldStep(network)


def decoder() -> nn.Module:
    """Latents (1, 16, 8, 8) and planes (1, 24, 128, 128) → picture (1, 4, 128, 128)."""
    return tokenizer().decoder


def encoder() -> nn.Module:
    """Picture (1, 4, 128, 128) and planes (1, 24, 128, 128) → latents (1, 16, 8, 8)."""
    return tokenizer().encoder


def smooth(generator: torch.Generator, channels: int, size: int) -> Tensor:
    """(1, channels, size, size) in [0, 1]: soft fields, as pictures and guides mostly are."""
    coarse = torch.rand(1, channels, 8, 8, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0.0, 1.0)


def planes_of(generator: torch.Generator) -> Tensor:
    """(1, 24, 128, 128): a stand-in for a guide, its last plane saying that it is one."""
    planes = smooth(generator, 24, SIZE)
    planes[:, 23] = 1.0
    return planes


def unit_latents(generator: torch.Generator) -> Tensor:
    """(1, 16, 8, 8) with unit RMS along the channels."""
    return F.normalize(torch.randn(1, 16, SIZE // 16, SIZE // 16, generator=generator), dim=1) * 4.0


def decoder_inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return unit_latents(generator), planes_of(generator)


def encoder_inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return smooth(generator, 4, SIZE), planes_of(generator)


def world_step_inputs(seed: int) -> tuple[Tensor, ...]:
    """A step in steady state whose cached keys are normalised like real ones."""
    generator = torch.Generator().manual_seed(seed)
    frames, tokens = 2, (SIZE // 16) ** 2
    old = CONTEXT_LEVEL * unit_latents(generator) + (1.0 - CONTEXT_LEVEL) * torch.randn(
        1, 16, 8, 8, generator=generator
    )
    noisy = torch.stack([old, torch.randn(1, 16, 8, 8, generator=generator)], dim=1)
    planes = F.avg_pool2d(torch.cat([planes_of(generator) for _ in range(frames)]), 4)[None]
    cached = []
    for _ in range(3):
        keys = torch.randn(1, tokens, 6, CACHED, 32, generator=generator)
        cached += [F.layer_norm(keys, (32,)), torch.randn(1, tokens, 6, CACHED, 32, generator=generator)]
    return (
        noisy,
        torch.tensor([[CONTEXT_LEVEL, 0.0]]),
        torch.tensor([[0.0, 1.0]]),
        planes,
        0.3 * torch.randn(1, frames, tokens, 12, generator=generator),
        torch.randint(2, 60, (1, 24), generator=generator),
        torch.tensor([20.0, 21.0]),
        torch.tensor([0.0, *range(12, 20)]),
        *cached,
    )


@contextmanager
def real_rotations() -> Iterator[None]:
    """Within, the transformer's rotary embedding is written without complex numbers, for tools that have none."""

    def turns(position: Tensor, pairs: int, base: float) -> Tensor:
        angle = position[..., None] * base ** (-torch.arange(pairs, dtype=torch.float32) / pairs)
        return torch.stack([angle.cos(), angle.sin()], dim=-2)

    def rotate(x: Tensor, turn: Tensor) -> Tensor:
        cosine, sine = turn.unbind(-2)
        real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
        return torch.stack(turned, dim=-1).flatten(-2)

    with patch.object(transformer, "turns", turns), patch.object(transformer, "rotate", rotate):
        yield


def recorded(count: int, prompt: str = PROMPT, seed: int = 0) -> dict[str, list[tuple[Tensor, ...]]]:
    """Inputs that a real film gives each network once its cache is full: `count` tuples a network.

    Slow: it simulates and draws the guides.
    """
    from elsewhere.physics import World
    from elsewhere.render import Stage
    from elsewhere.scene import camera_at, parse

    scene = parse(prompt).scene
    world = World(scene, seed)
    stage = Stage(scene, world.swell, world.water_cell)
    generator = TorchGenerator.load()
    stream = TorchStream(generator, scene, seed)
    found: dict[str, list[tuple[Tensor, ...]]] = {"world-step": [], "tokenizer-decoder": [], "tokenizer-encoder": []}

    def hear_step(_: nn.Module, given: tuple[object, ...]) -> None:
        noisy, level, step, planes, camera, text, positions, cache, _remember = given
        assert isinstance(cache, Cache)
        pairs = [tensor.clone() for pair in zip(cache.keys, cache.values, strict=True) for tensor in pair]
        told = (noisy, level, step, planes, camera, text, positions, cache.positions, *pairs)
        if cache.positions.numel() == CACHED:
            found["world-step"].append(tuple(t.clone().contiguous() for t in told))  # type: ignore[attr-defined]

    def hear_decoder(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        if len(found["tokenizer-decoder"]) < len(found["world-step"]):
            latents, planes = (t.clone().contiguous() for t in given)
            found["tokenizer-decoder"].append((latents, planes))
            found["tokenizer-encoder"].append((made.clone().contiguous(), planes))

    generator.transformer.register_forward_pre_hook(hear_step)
    generator.tokenizer.decoder.register_forward_hook(hear_decoder)
    previous = None
    for frame in range(CACHED + 1 + count):
        state = world.advance(10) if frame else world.state
        camera = camera_at(scene, frame / 24.0, SIZE, SIZE)
        guide = stage.guide(state, camera, previous)
        stream.frame(guide, stage, camera)
        previous = (state, camera)
    return found
