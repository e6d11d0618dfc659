"""Trains the tokenizer: random crops and grounds, latents noised so that errors of one step are forgiven.

After a share of the run a small patch discriminator, told the lit guide, judges texture beside the random features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.model.configuration import TokenizerConfig
from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.grounds import draw_ground
from elsewhere.model.train.loop import (
    MEASURES,
    Checkpoints,
    Log,
    MovingAverage,
    Optimizers,
    choose_device,
    fits_bf16,
    learning_rate,
    mixed,
    to_device,
)
from elsewhere.model.train.losses import RandomFeatures, charbonnier, edge_loss
from elsewhere.model.train.networks.tokenizer import Tokenizer

CHECKPOINT_EVERY = 100
"""Steps."""
REPORT_EVERY = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerTraining:
    """One run. `adversarial` is the weight of the discriminator after the share `judged` of the run."""

    steps: int = 5000
    batch: int = 24
    crop: int = 64
    peak_rate: float = 1.2e-3
    latent_noise: float = 0.6
    adversarial: float = 0.02
    judged: float = 0.3
    seed: int = 3
    device: str = "auto"


class PatchDiscriminator(nn.Module):
    """(B, 3 + 3, H, W): picture and lit guide → a map of judgements at an eighth of the size."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, picture: Tensor, lit: Tensor) -> Tensor:
        out: Tensor = self.layers(torch.cat([picture, lit], dim=1) - 0.5)
        return out


class Judge:
    """A discriminator with its optimizer: how well it was fooled, and one step of its own learning."""

    def __init__(self, device: torch.device) -> None:
        network = PatchDiscriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = network
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=4e-4, betas=(0.5, 0.98), weight_decay=0.01)

    def fooling(self, made: Tensor, lit: Tensor) -> Tensor:
        """The loss of what made the pictures."""
        return F.softplus(-self.network(made, lit).float()).mean()

    def learn(self, wanted: Tensor, made: Tensor, lit: Tensor) -> Tensor:
        """One step; its own loss, ln 4 where it cannot tell."""
        real, false = self.network(wanted, lit).float(), self.network(made.detach(), lit).float()
        loss: Tensor = (F.softplus(-real) + F.softplus(false)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def draw_batch(clips: Clips, rng: np.random.Generator, batch: int, crop: int) -> tuple[Tensor, Tensor]:
    """Pictures (B, 4, crop, crop) and planes (B, P, crop, crop) at random places, offsets in multiples of 4.

    The planes are those of randomly drawn grounds; depth in the picture is always exact.
    """
    pictures, planes, weights, depths = [], [], [], []
    for _ in range(batch):
        clip = int(rng.integers(len(clips)))
        frame = int(rng.integers(len(clips.picture[clip])))
        y, x = (4 * int(rng.integers((s - crop) // 4 + 1)) for s in clips.picture[clip].shape[-2:])
        plane = clips.planes[clip][frame, :, y : y + crop, x : x + crop]
        pictures.append(clips.picture[clip][frame, :, y : y + crop, x : x + crop])
        planes.append(plane)
        depths.append(plane[15:16])
        weights.append(draw_ground(rng)[1])
    plane = torch.from_numpy(np.stack(planes)).float() / 127.0
    depth = torch.from_numpy(np.stack(depths)).float() / 127.0
    colour = torch.from_numpy(np.stack(pictures)).float() / 255.0
    return torch.cat([colour, depth], dim=1), plane * torch.from_numpy(np.stack(weights))[:, :, None, None]


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


def train(
    clips: Clips, config: TokenizerConfig, run: TokenizerTraining, directory: Path, start: Tokenizer | None = None
) -> Tokenizer:
    """Runs (or goes on with) one training, from the weights of `start` where given. Returns the averaged weights."""
    torch.manual_seed(run.seed)
    device, bf16 = choose_device(run.device), fits_bf16()
    network = Tokenizer(config)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = Optimizers(network, run.peak_rate, betas=(0.9, 0.98))
    average, judge, features = MovingAverage(network, 0.998), Judge(device), RandomFeatures().to(device)
    parts = {"network": network, "optimizers": optimizers, "average": average, "judge": judge}
    checkpoints = Checkpoints(directory / "tokenizer.ckpt", parts, asdict(run), CHECKPOINT_EVERY)
    first = checkpoints.restore()
    log = Log(directory / MEASURES, "tokenizer", run.steps, first)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        noise_rng = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        picture, planes = to_device(draw_batch(clips, rng, run.batch, run.crop), device)
        picture, planes = (x.contiguous(memory_format=torch.channels_last) for x in (picture, planes))
        strength = run.latent_noise * torch.rand(run.batch, 1, 1, 1, generator=noise_rng)
        noise = strength * torch.randn(run.batch, config.latent_channels, *(2 * (run.crop // 16,)), generator=noise_rng)
        with mixed(device, bf16):
            made = network(picture, planes, noise.to(device)).float()
        terms = reconstruction_loss(made, picture, features)
        if judged := step >= run.judged * run.steps and run.adversarial > 0.0:
            with mixed(device, bf16):
                terms["fooling"] = judge.fooling(made[:, :3], planes[:, :3])
            terms["loss"] = terms["loss"] + run.adversarial * terms["fooling"]
        optimizers.step(terms["loss"], learning_rate(step, run.steps, run.peak_rate))
        average.update(network, step)
        if judged:
            with mixed(device, bf16):
                terms["judging"] = judge.learn(picture[:, :3], made[:, :3], planes[:, :3])
        log.add(step, {name: term.detach() for name, term in terms.items()}, REPORT_EVERY)
        checkpoints.after(step + 1, run.steps)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            clips.refresh()  # a build may still be at work
    average.load_into(network)
    result: Tokenizer = network.cpu()
    return result
