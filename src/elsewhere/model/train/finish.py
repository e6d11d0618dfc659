"""Fine-tunes the decoder on what the transformer really hands it in one step, so that the two agree at run time.

The encoder and the transformer stay as they are. A small patch discriminator, told the lit guide, judges texture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elsewhere.model.train.dataset import Clips
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
from elsewhere.model.train.losses import RandomFeatures
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Transformer
from elsewhere.model.train.tokenizer import Judge, reconstruction_loss
from elsewhere.model.train.world import CONTEXT_LEVEL, Latents, WorldTraining, at_level, draw_batch, predict

CHECKPOINT_EVERY = 50
"""Steps."""
REPORT_EVERY = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishTraining:
    """One run. `clean` is the share of pictures decoded from the encoder's own latents; `adversarial` the weight
    of the discriminator after the share `judged`."""

    steps: int = 700
    batch: int = 4
    crop: int = 64
    pictures: int = 24
    peak_rate: float = 4e-4
    clean: float = 0.25
    adversarial: float = 0.02
    judged: float = 0.2
    dream: float = 0.15
    seed: int = 11
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Place:
    """Which picture latents are of, and the factors (P,) of its planes."""

    clip: int
    frame: int
    weights: NDArray[np.float32]


@torch.no_grad()
def predicted_latents(
    network: Transformer,
    clips: Clips,
    latents: Latents,
    run: FinishTraining,
    rng: np.random.Generator,
    noise: torch.Generator,
    bf16: bool = False,
) -> tuple[Tensor, Tensor, list[Place]]:
    """Latents (M, C, h, w), predicted in one step from clean, slightly noised context; the encoder's own; and where
    each of the M is."""
    device = next(network.parameters()).device
    batch = draw_batch(clips, latents, network.config, WorldTraining(batch=run.batch, dream=run.dream), rng).to(device)
    b, t = batch.latents.shape[:2]
    known = int(torch.randint(0, t, (), generator=noise))
    level = torch.where(torch.arange(t) < known, CONTEXT_LEVEL, 0.0).expand(b, t).to(device)
    noisy = at_level(batch.latents, torch.randn(batch.latents.shape, generator=noise).to(device), level)
    with mixed(device, bf16):
        made = predict(network, batch, noisy, level, torch.where(level > 0, 0.0, 1.0))
    keep = [(i, f) for i in range(b) for f in range(known, t)]
    places = [Place(batch.numbers[i], f, batch.weights[i]) for i, f in keep]
    index = torch.tensor([i * t + f for i, f in keep], device=device)
    return made.flatten(0, 1)[index], batch.latents.flatten(0, 1)[index], places


def crops(
    clips: Clips, made: Tensor, own: Tensor, places: list[Place], run: FinishTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, pictures and planes of random token-aligned crops."""
    tokens = run.crop // 16
    latents, pictures, planes = [], [], []
    for _ in range(run.pictures):
        index = int(rng.integers(len(places)))
        place = places[index]
        rows, columns = made.shape[-2:]
        y, x = int(rng.integers(rows - tokens + 1)), int(rng.integers(columns - tokens + 1))
        source = own if rng.random() < run.clean else made
        latents.append(source[index, :, y : y + tokens, x : x + tokens])
        area = np.s_[place.frame, :, 16 * y : 16 * y + run.crop, 16 * x : 16 * x + run.crop]
        plane = torch.from_numpy(clips.planes[place.clip][area]).float() / 127.0
        colour = torch.from_numpy(clips.picture[place.clip][area]).float() / 255.0
        pictures.append(torch.cat([colour, plane[15:16]]))
        planes.append(plane * torch.from_numpy(place.weights)[:, None, None])
    return torch.stack(latents), torch.stack(pictures), torch.stack(planes)


def train(clips: Clips, tokenizer: Tokenizer, network: Transformer, run: FinishTraining, directory: Path) -> Tokenizer:
    """Runs (or goes on with) one fine-tuning of `tokenizer.decoder`, in place. Returns the tokenizer."""
    torch.manual_seed(run.seed)
    device, bf16 = choose_device(run.device), fits_bf16()
    network = network.to(device)
    tokenizer = tokenizer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder = tokenizer.decoder.requires_grad_(True)
    latents = Latents(tokenizer, clips, bf16)
    optimizers = Optimizers(decoder, run.peak_rate, betas=(0.9, 0.98))
    average, judge, features = MovingAverage(decoder, 0.995), Judge(device), RandomFeatures().to(device)
    parts = {"decoder": decoder, "optimizers": optimizers, "average": average, "judge": judge}
    checkpoints = Checkpoints(directory / "finish.ckpt", parts, asdict(run), CHECKPOINT_EVERY)
    first = checkpoints.restore()
    log = Log(directory / MEASURES, "finish", run.steps, first)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        noise = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        made, own, places = predicted_latents(network, clips, latents, run, rng, noise, bf16)
        z, picture, planes = (
            x.contiguous(memory_format=torch.channels_last)
            for x in to_device(crops(clips, made, own, places, run, rng), device)
        )
        lit = planes[:, :3]
        with mixed(device, bf16):
            out = decoder(z, planes).float()
        terms = reconstruction_loss(out, picture, features)
        with mixed(device, bf16):
            terms["fooling"] = judge.fooling(out[:, :3], lit)
        weight = run.adversarial if step >= run.judged * run.steps else 0.0
        terms["loss"] = terms["loss"] + weight * terms["fooling"]
        optimizers.step(terms["loss"], learning_rate(step, run.steps, run.peak_rate, 50))
        average.update(decoder, step)
        with mixed(device, bf16):
            terms["judging"] = judge.learn(picture[:, :3], out[:, :3], lit)
        log.add(step, {name: term.detach() for name, term in terms.items()}, REPORT_EVERY)
        checkpoints.after(step + 1, run.steps)
    average.load_into(decoder)
    result: Tokenizer = tokenizer.cpu()
    return result
