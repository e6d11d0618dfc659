"""Trains the transformer: diffusion forcing with x-prediction, then shortcut steps, then on its own predictions.

x_t = (1 − t)·noise + t·x with a level t of its own for every frame. Shortcut steps follow Frans et al. 2024
(arXiv 2410.12557), written for x-prediction: a step of size d from t moves by d·(x̂ − x_t)/(1 − t).

Shapes: B clips, T frames, C latent channels, h w tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elsewhere.model.configuration import TransformerConfig
from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.loop import Log, MovingAverage, learning_rate, load_checkpoint, save_checkpoint
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Transformer

CHECKPOINT_EVERY = 100
"""Steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldTraining:
    """One run. Shares of its steps: shortcut steps begin after `forcing`, own predictions after `shortcut`."""

    steps: int = 2400
    batch: int = 4
    peak_rate: float = 1.0e-3
    forcing: float = 0.55
    shortcut: float = 0.8
    dream: float = 0.25
    text_dropout: float = 0.1
    seed: int = 5


@dataclass
class Batch:
    """Clean latents (B, T, C, h, w) and everything that the transformer is told."""

    latents: Tensor
    planes: Tensor  # (B, T, P, 4h, 4w)
    rays: Tensor  # (B, T, N, 12)
    text: Tensor  # (B, L)
    positions: Tensor  # (T,)
    numbers: list[int]  # which clips they are
    dreams: list[bool]  # which of them have no guide


@torch.inference_mode()
def encode_clips(tokenizer: Tokenizer, clips: Clips, first: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Latents (T, C, h, w) float16 of every clip from number `first` on: with its guide, and without."""
    out = []
    for number in range(first, len(clips)):
        plane = torch.from_numpy(clips.planes[number]).float() / 127.0
        colour = torch.from_numpy(clips.picture[number]).float() / 255.0
        picture = torch.cat([colour, plane[:, 15:16]], dim=1).contiguous(memory_format=torch.channels_last)
        plane = plane.contiguous(memory_format=torch.channels_last)
        pair = (tokenizer.encoder(picture, plane), tokenizer.encoder(picture, torch.zeros_like(plane)))
        out.append((pair[0].half().numpy(), pair[1].half().numpy()))
    return out


def draw_batch(
    clips: Clips, latents: list, config: TransformerConfig, run: WorldTraining, rng: np.random.Generator
) -> Batch:
    """Clips with one frame step; a share of them is dreamt: no guide, and latents that carry the whole picture."""
    stride = clips.positions[int(rng.integers(len(latents)))][1]
    same = [n for n in range(len(latents)) if clips.positions[n][1] == stride]
    numbers = [int(number) for number in rng.choice(same, run.batch)]
    dreams = [bool(draw) for draw in rng.random(run.batch) < run.dream]
    silent = rng.random(run.batch) < run.text_dropout
    parts = []
    for number, dream, mute in zip(numbers, dreams, silent, strict=True):
        coarse = clips.coarse[number].astype(np.float32) * (not dream)
        words = clips.text(number, config.vocabulary, config.text_length) * (dream or not mute)
        parts.append((latents[number][dream].astype(np.float32), coarse, clips.rays[number].astype(np.float32), words))
    clean, planes, rays, text = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
    positions = torch.from_numpy(clips.positions[numbers[0]])
    return Batch(clean, planes, rays, text, positions, numbers, dreams)


def draw_levels(batch: int, frames: int, rng: torch.Generator) -> Tensor:
    """(B, T) noise levels: a third exactly 0 (where a frame starts), the rest uniform, denser near clean."""
    level = torch.rand(batch, frames, generator=rng)
    level = torch.where(torch.rand(batch, frames, generator=rng) < 0.5, 0.5 + 0.5 * level, level)
    return torch.where(torch.rand(batch, frames, generator=rng) < 0.35, torch.zeros_like(level), level)


def at_level(latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """x_t for levels (B, T)."""
    t = level[:, :, None, None, None]
    return (1.0 - t) * noise + t * latents


def predict(network: Transformer, batch: Batch, noisy: Tensor, level: Tensor, step: Tensor) -> Tensor:
    """x̂ (B, T, C, h, w)."""
    out: Tensor = network(noisy, level, step, batch.planes, batch.rays, batch.text, batch.positions)
    return out


def shortcut_target(network: Transformer, batch: Batch, noisy: Tensor, level: Tensor, step: Tensor) -> Tensor:
    """The x̂ that makes one step of size d equal to two of d/2, without gradient."""
    with torch.no_grad():
        rest = (1.0 - level).clamp_min(1e-3)[:, :, None, None, None]
        half = 0.5 * step
        smallest = step <= 1.0 / 2**network.config.shortcut_levels
        told = torch.where(smallest, torch.zeros_like(half), half)
        first = (predict(network, batch, noisy, level, told) - noisy) / rest
        middle_level = level + half
        middle = noisy + half[:, :, None, None, None] * first
        rest_middle = (1.0 - middle_level).clamp_min(1e-3)[:, :, None, None, None]
        second = (predict(network, batch, middle, middle_level, told) - middle) / rest_middle
        return noisy + rest * 0.5 * (first + second)


def loss_of(network: Transformer, batch: Batch, share: float, run: WorldTraining, rng: torch.Generator) -> dict:
    """Terms at a point of the run; `share` is the part of it that is done."""
    b, t = batch.latents.shape[:2]
    noise = torch.randn(batch.latents.shape, generator=rng)
    draw = float(torch.rand((), generator=rng))
    if share > run.forcing and draw < 0.3:
        power = torch.randint(0, network.config.shortcut_levels + 1, (b, 1), generator=rng)
        step = (0.5**power).expand(b, t)
        level = (torch.rand(b, t, generator=rng) * 2.0**power).floor() * step
        noisy = at_level(batch.latents, noise, level)
        target = shortcut_target(network, batch, noisy, level, step)
        error = (predict(network, batch, noisy, level, step) - target).square().mean()
        return {"shortcut": error, "loss": error}
    if share > run.shortcut and draw < 0.8:
        start = torch.zeros(b, t)
        with torch.no_grad():
            own = predict(network, batch, noise, start, torch.ones(b, t))
        known = int(torch.randint(1, t, (), generator=rng))
        level = torch.where(torch.arange(t) < known, 0.9, 0.0).expand(b, t)
        other = torch.randn(batch.latents.shape, generator=rng)
        noisy = at_level(own, other, level)
        made = predict(network, batch, noisy, level, torch.where(level > 0, 0.0, 1.0))
        error = (made - batch.latents)[:, known:].square().mean()
        return {"rollout": error, "loss": error}
    level = draw_levels(b, t, rng)
    made = predict(network, batch, at_level(batch.latents, noise, level), level, torch.zeros(b, t))
    error = (made - batch.latents).square().mean(dim=(2, 3, 4))
    start_error = error[level == 0.0].mean() if bool((level == 0.0).any()) else error.mean()
    return {"forcing": error.mean(), "from noise": start_error.detach(), "loss": error.mean()}


def train(
    clips: Clips, tokenizer: Tokenizer, config: TransformerConfig, run: WorldTraining, directory: Path
) -> Transformer:
    """Runs (or goes on with) one training; checkpoints every 100 steps. Returns the averaged weights."""
    torch.manual_seed(run.seed)
    network = Transformer(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.peak_rate, betas=(0.9, 0.98), weight_decay=0.02)
    average = MovingAverage(network, 0.997)
    checkpoint, first = directory / "world.ckpt", 0
    if state := load_checkpoint(checkpoint):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first = state["average"], state["step"]
    latents = encode_clips(tokenizer, clips)
    log = Log(directory / "world.jsonl", run.steps)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        torch_rng = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        batch = draw_batch(clips, latents, config, run, rng)
        terms = loss_of(network, batch, step / run.steps, run, torch_rng)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(step, run.steps, run.peak_rate)
        optimizer.step()
        average.update(network, step)
        log.add(step, {name: term.detach() for name, term in terms.items()}, 25)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == run.steps:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, state | {"average": average.values, "step": step + 1})
    average.load_into(network)
    return network
