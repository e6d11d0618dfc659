"""Trains the tokenizer: random crops, guides dropped for a share, latents noised so that errors are forgiven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elsewhere.model.configuration import TokenizerConfig
from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.loop import Log, MovingAverage, learning_rate, load_checkpoint, save_checkpoint
from elsewhere.model.train.losses import RandomFeatures, charbonnier, edge_loss
from elsewhere.model.train.networks.tokenizer import Tokenizer

CHECKPOINT_EVERY = 200
"""Steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerTraining:
    """One run. `minutes` (0: no limit) ends it early by the clock, with the schedule stretched over it."""

    steps: int = 5000
    batch: int = 24
    crop: int = 64
    peak_rate: float = 1.2e-3
    guide_dropout: float = 0.2
    latent_noise: float = 0.6
    seed: int = 3


def draw_batch(clips: Clips, rng: np.random.Generator, batch: int, crop: int) -> tuple[Tensor, Tensor]:
    """Pictures (B, 4, crop, crop) and planes (B, P, crop, crop) at random places, offsets in multiples of 4."""
    pictures, planes = [], []
    for _ in range(batch):
        clip = int(rng.integers(len(clips)))
        frame = int(rng.integers(len(clips.picture[clip])))
        y, x = (4 * int(rng.integers((s - crop) // 4 + 1)) for s in clips.picture[clip].shape[-2:])
        pictures.append(clips.picture[clip][frame, :, y : y + crop, x : x + crop])
        planes.append(clips.planes[clip][frame, :, y : y + crop, x : x + crop])
    plane = torch.from_numpy(np.stack(planes)).float() / 127.0
    colour = torch.from_numpy(np.stack(pictures)).float() / 255.0
    return torch.cat([colour, plane[:, 15:16]], dim=1), plane


def reconstruction_loss(made: Tensor, wanted: Tensor, features: RandomFeatures) -> dict[str, Tensor]:
    """The terms and their weighted sum ("loss") for pictures (B, 4, H, W)."""
    terms = {
        "pixel": charbonnier(made[:, :3] - wanted[:, :3]),
        "edge": edge_loss(made[:, :3], wanted[:, :3]),
        "feature": features(made[:, :3], wanted[:, :3]),
        "depth": charbonnier(made[:, 3:] - wanted[:, 3:]),
    }
    terms["loss"] = terms["pixel"] + 0.4 * terms["edge"] + 0.5 * terms["feature"] + 0.5 * terms["depth"]
    return terms


def train(clips: Clips, config: TokenizerConfig, run: TokenizerTraining, directory: Path) -> Tokenizer:
    """Runs (or goes on with) one training; checkpoints every 200 steps. Returns the averaged weights."""
    torch.manual_seed(run.seed)
    network = Tokenizer(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = MovingAverage(network, 0.998)
    features = RandomFeatures()
    checkpoint, first = directory / "tokenizer.ckpt", 0
    if state := load_checkpoint(checkpoint):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first = state["average"], state["step"]
    log = Log(directory / "tokenizer.jsonl", run.steps)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        noise_rng = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        picture, planes = draw_batch(clips, rng, run.batch, run.crop)
        planes = planes * torch.from_numpy(rng.random((run.batch, 1, 1, 1)) >= run.guide_dropout)
        picture, planes = (x.to(memory_format=torch.channels_last) for x in (picture, planes))
        strength = run.latent_noise * torch.rand(run.batch, 1, 1, 1, generator=noise_rng)
        noise = strength * torch.randn(run.batch, config.latent_channels, *(2 * (run.crop // 16,)), generator=noise_rng)
        terms = reconstruction_loss(network(picture, planes, noise), picture, features)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(step, run.steps, run.peak_rate)
        optimizer.step()
        average.update(network, step)
        log.add(step, {name: term.detach() for name, term in terms.items()}, 50)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == run.steps:
            clips.refresh()
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, state | {"average": average.values, "step": step + 1})
    average.load_into(network)
    return network
