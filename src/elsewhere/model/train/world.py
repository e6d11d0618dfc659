"""Trains the transformer: diffusion forcing, shortcut steps, its own predictions, then guidance.

x_t = (1 − t)·noise + t·x with a level t of its own for every frame, and x̂ is what the network predicts. Shortcut
steps follow Frans et al. 2024 (arXiv 2410.12557), written for x-prediction: a step of size d from t moves by
d·(x̂ − x_t)/(1 − t). A share of the forcing steps lets every frame attend to all others, so that known frames may stand
anywhere. Guidance is distilled: the network told a strength w predicts what it would predict by
x̂ without text + w·(x̂ with text − x̂ without).

Shapes: B clips, T frames, C latent channels, h w tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elsewhere.model.configuration import TransformerConfig
from elsewhere.model.planes import plane_weights
from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.grounds import SHARES, draw_ground
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
)
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Transformer

CHECKPOINT_EVERY = 100
"""Steps."""
REPORT_EVERY = 25
CONTEXT_LEVEL = 0.9
"""Level of past frames when a film is made; see `elsewhere.model.generator`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldTraining:
    """One run. Parts of it: shortcut steps begin after `forcing`, own predictions after `shortcut`, guidance after
    `rollout`. `both_ways` is the share of forcing steps in which frames see their future; `recall` that of clips
    whose warped last picture is given."""

    steps: int = 2400
    batch: int = 4
    peak_rate: float = 1.0e-3
    forcing: float = 0.5
    shortcut: float = 0.75
    rollout: float = 0.88
    dream: float = 0.35
    both_ways: float = 0.25
    recall: float = 0.7
    text_dropout: float = 0.12
    short_text: float = 0.15
    muon: bool = True
    seed: int = 5
    device: str = "auto"


@dataclass
class Batch:
    """Clean latents (B, T, C, h, w) and everything that the transformer is told."""

    latents: Tensor
    planes: Tensor  # (B, T, P, 4h, 4w)
    rays: Tensor  # (B, T, N, 12)
    text: Tensor  # (B, L)
    positions: Tensor  # (T,)
    memory: Tensor | None  # (B, T, 4, 4h, 4w)
    numbers: list[int]  # which clips they are
    weights: NDArray[np.float32]  # (B, P): what each clip's guide was multiplied by

    def to(self, device: torch.device) -> Batch:
        """The same batch where the network is."""
        moved = {name: getattr(self, name).to(device) for name in ("latents", "planes", "rays", "text", "positions")}
        return replace(self, memory=None if self.memory is None else self.memory.to(device), **moved)


class Latents:
    """Latents of clips, by their ground: those of whole guides and of none are kept, the rest are coded anew."""

    def __init__(self, tokenizer: Tokenizer, clips: Clips, bf16: bool = False) -> None:
        self.tokenizer, self.clips, self.bf16 = tokenizer, clips, bf16
        self.device = next(tokenizer.parameters()).device
        self.kept: dict[tuple[int, bool], NDArray[np.float16]] = {}

    def of(self, number: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, C, h, w) of clip `number` with its planes times `weights` (P,)."""
        grounded = float(weights[-1])
        if grounded not in (0.0, 1.0):
            return self.code(number, grounded).astype(np.float32)
        key = (number, grounded == 1.0)
        if key not in self.kept:
            self.kept[key] = self.code(number, grounded)
        return self.kept[key].astype(np.float32)

    @torch.no_grad()
    def code(self, number: int, grounded: float) -> NDArray[np.float16]:
        """By the encoder, which sees of a guide only what the picture is built upon."""
        plane = torch.from_numpy(self.clips.planes[number]).float() / 127.0
        colour = torch.from_numpy(self.clips.picture[number]).float() / 255.0
        picture = torch.cat([colour, plane[:, 15:16]], dim=1).to(self.device)
        factors = torch.from_numpy(plane_weights("full", grounded))[:, None, None]
        both = [x.contiguous(memory_format=torch.channels_last) for x in (picture, (plane * factors).to(self.device))]
        with mixed(self.device, self.bf16):
            coded: Tensor = self.tokenizer.encoder(*both)
        return coded.half().cpu().numpy()


def corrupted(memory: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The warped last picture (T, 4, H/4, W/4) with errors like those of a picture that was made, not given.

    Its light and colour are off by a little, it is noisy, and for some frames it is missing.
    """
    out = memory.copy()
    gain = 1.0 + 0.08 * rng.standard_normal((1, 3, 1, 1))
    offset = 0.04 * rng.standard_normal((1, 3, 1, 1))
    noise = 0.12 * rng.random() * rng.standard_normal(out[:, :3].shape)
    out[:, :3] = np.clip(out[:, :3] * gain + offset + noise, 0.0, 1.0) * (out[:, 3:] > 0.0)
    return (out * (rng.random((len(out), 1, 1, 1)) >= 0.1)).astype(np.float32)


def alike(clips: Clips, number: int) -> list[int]:
    """Clips with the size, the length and the frame step of clip `number`."""
    return [n for n in range(len(clips)) if _format(clips, n) == _format(clips, number)]


def _format(clips: Clips, number: int) -> tuple[tuple[int, ...], bytes]:
    return clips.picture[number].shape, clips.positions[number].tobytes()


def draw_batch(
    clips: Clips, latents: Latents, config: TransformerConfig, run: WorldTraining, rng: np.random.Generator
) -> Batch:
    """Clips of one size and frame step, each with a ground of its own; texts are left out for some."""
    like = int(rng.integers(len(clips)))
    numbers = [int(number) for number in rng.choice(alike(clips, like), run.batch)]
    shares = SHARES | {"dream": run.dream}
    parts = []
    for number in numbers:
        weights = draw_ground(rng, shares)[1]
        coarse = clips.coarse[number].astype(np.float32) * weights[:, None, None]
        words = clips.text(number, config.vocabulary, config.text_length, short=rng.random() < run.short_text)
        words = words * (rng.random() >= run.text_dropout)
        clean, rays = latents.of(number, weights), clips.rays[number].astype(np.float32)
        seen = corrupted(clips.warped[number].astype(np.float32) / np.float32(255.0), rng)
        seen *= np.float32(rng.random() < run.recall)
        parts.append((clean, coarse, rays, words, seen, weights))
    clean, planes, rays, text, seen, factors = (np.stack(column) for column in zip(*parts, strict=True))
    return Batch(
        latents=torch.from_numpy(clean),
        planes=torch.from_numpy(planes),
        rays=torch.from_numpy(rays),
        text=torch.from_numpy(text),
        positions=torch.from_numpy(clips.positions[like]),
        memory=torch.from_numpy(seen) if config.memory else None,
        numbers=numbers,
        weights=factors,
    )


def draw_levels(batch: int, frames: int, rng: torch.Generator) -> Tensor:
    """(B, T) noise levels: a third exactly 0 (where a frame starts), the rest uniform, denser near clean."""
    level = torch.rand(batch, frames, generator=rng)
    level = torch.where(torch.rand(batch, frames, generator=rng) < 0.5, 0.5 + 0.5 * level, level)
    return torch.where(torch.rand(batch, frames, generator=rng) < 0.35, torch.zeros_like(level), level)


def draw_known(batch: int, frames: int, rng: torch.Generator) -> Tensor:
    """(B, T) noise levels with known frames anywhere: those at the context's level, all others at one, often 0."""
    share = torch.rand(batch, 1, generator=rng)
    known = torch.rand(batch, frames, generator=rng) < share
    level = torch.rand(batch, 1, generator=rng)
    level = torch.where(torch.rand(batch, 1, generator=rng) < 0.4, torch.zeros_like(level), level)
    return torch.where(known, torch.full((batch, frames), CONTEXT_LEVEL), level.expand(batch, frames))


def at_level(latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """x_t for levels (B, T)."""
    t = level[:, :, None, None, None]
    return (1.0 - t) * noise + t * latents


def predict(
    network: Transformer,
    batch: Batch,
    noisy: Tensor,
    level: Tensor,
    step: Tensor,
    *,
    guidance: Tensor | None = None,
    causal: bool = True,
) -> Tensor:
    """x̂ (B, T, C, h, w) in f32. Where frames see their future, none has a picture before it."""
    out: Tensor = network(
        noisy,
        level,
        step,
        batch.planes,
        batch.rays,
        batch.text,
        batch.positions,
        memory=batch.memory if causal else None,
        guidance=guidance,
        causal=causal,
    )
    return out.float()


def moving_weight(latents: Tensor) -> Tensor:
    """(B, T, 1, h, w) with mean 1: what stands still from one frame to the next counts half, what moves more."""
    moved = torch.zeros_like(latents[:, :, :1])
    moved[:, 1:] = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=2, keepdim=True)
    moved[:, :1] = moved[:, 1:].mean(dim=(1, 3, 4), keepdim=True)
    weight = 0.5 + (moved / moved.mean(dim=(1, 3, 4), keepdim=True).clamp_min(1e-4)).clamp_max(4.0)
    return weight / weight.mean(dim=(1, 3, 4), keepdim=True)


def shortcut_target(
    network: Transformer, batch: Batch, noisy: Tensor, level: Tensor, step: Tensor, causal: bool = True
) -> Tensor:
    """The x̂ that makes one step of size d equal to two of d/2, without gradient."""
    with torch.no_grad():
        rest = (1.0 - level).clamp_min(1e-3)[:, :, None, None, None]
        half = 0.5 * step
        smallest = step <= 1.0 / 2**network.config.shortcut_levels
        told = torch.where(smallest, torch.zeros_like(half), half)
        first = (predict(network, batch, noisy, level, told, causal=causal) - noisy) / rest
        middle_level = level + half
        middle = noisy + half[:, :, None, None, None] * first
        rest_middle = (1.0 - middle_level).clamp_min(1e-3)[:, :, None, None, None]
        second = (predict(network, batch, middle, middle_level, told, causal=causal) - middle) / rest_middle
        return noisy + rest * 0.5 * (first + second)


Terms = dict[str, Tensor]


def shortcut_loss(network: Transformer, batch: Batch, noise: Tensor, run: WorldTraining, rng: torch.Generator) -> Terms:
    """Steps of random power-of-two sizes from levels on their grid; frames before them as a film has them."""
    b, t = batch.latents.shape[:2]
    power = torch.randint(0, network.config.shortcut_levels + 1, (b, 1), generator=rng)
    step = (0.5**power).expand(b, t)
    level = (torch.rand(b, t, generator=rng) * 2.0**power).floor() * step
    # Half of the clips are as at run time: a known past, one frame in the making.
    past = torch.arange(t) < torch.randint(0, t, (b, 1), generator=rng)
    past = past & (torch.rand(b, 1, generator=rng) < 0.5)
    level, step = torch.where(past, CONTEXT_LEVEL, level), torch.where(past, 0.0, step)
    level, step = level.to(noise.device), step.to(noise.device)
    causal = float(torch.rand((), generator=rng)) >= run.both_ways
    noisy = at_level(batch.latents, noise, level)
    target = shortcut_target(network, batch, noisy, level, step, causal)
    error = (predict(network, batch, noisy, level, step, causal=causal) - target).square().mean(dim=(2, 3, 4))
    made = (step > 0.0).float()
    loss = (error * made).sum() / made.sum().clamp_min(1.0)
    return {"shortcut": loss, "loss": loss}


def rollout_loss(network: Transformer, batch: Batch, noise: Tensor, run: WorldTraining, rng: torch.Generator) -> Terms:
    """Frames behind a past that the network made itself in one step."""
    b, t = batch.latents.shape[:2]
    start = torch.zeros(b, t, device=noise.device)
    with torch.no_grad():
        own = predict(network, batch, noise, start, torch.ones_like(start))
    known = int(torch.randint(1, t, (), generator=rng))
    level = torch.where(torch.arange(t) < known, CONTEXT_LEVEL, 0.0).expand(b, t).to(noise.device)
    other = torch.randn(batch.latents.shape, generator=rng).to(noise.device)
    made = predict(network, batch, at_level(own, other, level), level, torch.where(level > 0, 0.0, 1.0))
    error = ((made - batch.latents).square() * moving_weight(batch.latents))[:, known:].mean()
    return {"rollout": error, "loss": error}


def guidance_loss(network: Transformer, batch: Batch, noise: Tensor, run: WorldTraining, rng: torch.Generator) -> Terms:
    """One pass told w learns what two passes give: x̂ without text + w·(x̂ with text − x̂ without), w in [1, 4]."""
    b, t = batch.latents.shape[:2]
    level = draw_levels(b, t, rng).to(noise.device)
    step = torch.zeros_like(level)
    noisy = at_level(batch.latents, noise, level)
    strength = 1.0 + 3.0 * torch.rand(b, generator=rng).to(noise.device)
    with torch.no_grad():
        with_text = predict(network, batch, noisy, level, step)
        without = predict(network, replace(batch, text=torch.zeros_like(batch.text)), noisy, level, step)
        target = without + strength[:, None, None, None, None] * (with_text - without)
    error = (predict(network, batch, noisy, level, step, guidance=strength) - target).square().mean()
    return {"guidance": error, "loss": error}


def forcing_loss(network: Transformer, batch: Batch, noise: Tensor, run: WorldTraining, rng: torch.Generator) -> Terms:
    """Diffusion forcing: a level for every frame; for a share of steps with known frames anywhere."""
    b, t = batch.latents.shape[:2]
    causal = float(torch.rand((), generator=rng)) >= run.both_ways
    level = (draw_levels if causal else draw_known)(b, t, rng).to(noise.device)
    noisy = at_level(batch.latents, noise, level)
    made = predict(network, batch, noisy, level, torch.zeros_like(level), causal=causal)
    error = ((made - batch.latents).square() * moving_weight(batch.latents)).mean(dim=(2, 3, 4))
    dreamt = torch.from_numpy(batch.weights.max(axis=1) == 0.0).to(noise.device)
    terms = {"forcing" if causal else "both ways": error.mean(), "loss": error.mean()}
    for name, rows in (("from noise, dreamt", dreamt), ("from noise, grounded", ~dreamt)):
        chosen = error[(level == 0.0) & rows[:, None]]
        if causal and chosen.numel():
            terms[name] = chosen.mean().detach()
    return terms


def loss_of(network: Transformer, batch: Batch, share: float, run: WorldTraining, rng: torch.Generator) -> Terms:
    """Terms at a point of the run; `share` is the part of it that is done."""
    noise = torch.randn(batch.latents.shape, generator=rng).to(batch.latents.device)
    draw = float(torch.rand((), generator=rng))
    kind: Callable[..., Terms] = forcing_loss
    if share > run.rollout and network.config.guidance and draw < 0.3:
        kind = guidance_loss
    elif share > run.shortcut and draw < 0.5:
        kind = rollout_loss
    elif share > run.forcing and draw < (0.75 if share > run.shortcut else 0.4):
        kind = shortcut_loss
    return kind(network, batch, noise, run, rng)


def begin(config: TransformerConfig, start: Transformer | None) -> Transformer:
    """A new network with the weights of `start`, where given. What `start` lacks begins as it would in a new one.

    Words are taken over by their name. Raises ValueError where anything else has another shape.
    """
    network = Transformer(config)
    if start is None:
        return network
    found, own = start.state_dict(), network.state_dict()
    for name, value in found.items():
        if name != "words.weight" and (name not in own or own[name].shape != value.shape):
            raise ValueError(
                f"start must have the sizes of the configuration: {name} is {tuple(value.shape)} there, "
                f"{tuple(own[name].shape) if name in own else 'nothing'} here"
            )
    words = own["words.weight"].clone()
    words[:2] = found["words.weight"][:2]
    old = {word: number + 2 for number, word in enumerate(start.config.vocabulary)}
    for number, word in enumerate(config.vocabulary):
        if word in old:
            words[number + 2] = found["words.weight"][old[word]]
    network.load_state_dict(own | found | {"words.weight": words})
    return network


def train(
    clips: Clips,
    tokenizer: Tokenizer,
    config: TransformerConfig,
    run: WorldTraining,
    directory: Path,
    start: Transformer | None = None,
) -> Transformer:
    """Runs (or goes on with) one training, from the weights of `start` where given. Returns the averaged weights."""
    torch.manual_seed(run.seed)
    device, bf16 = choose_device(run.device), fits_bf16()
    network = begin(config, start).to(device)
    optimizers = Optimizers(network, run.peak_rate, muon=run.muon, betas=(0.9, 0.98))
    average = MovingAverage(network, 0.998)
    parts = {"network": network, "optimizers": optimizers, "average": average}
    checkpoints = Checkpoints(directory / "world.ckpt", parts, asdict(run), CHECKPOINT_EVERY)
    first = checkpoints.restore()
    coder = tokenizer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    latents = Latents(coder, clips, bf16)
    log = Log(directory / MEASURES, "world", run.steps, first)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        torch_rng = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        batch = draw_batch(clips, latents, config, run, rng).to(device)
        with mixed(device, bf16):
            terms = loss_of(network, batch, step / run.steps, run, torch_rng)
        optimizers.step(terms["loss"], learning_rate(step, run.steps, run.peak_rate))
        average.update(network, step)
        log.add(step, {name: term.detach() for name, term in terms.items()}, REPORT_EVERY)
        checkpoints.after(step + 1, run.steps)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            clips.refresh()  # a build may still be at work
    average.load_into(network)
    result: Transformer = network.cpu()
    return result
