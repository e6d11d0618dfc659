"""Fine-tunes the decoder on what the transformer really hands it in one step, so that the two agree at run time.

The encoder and the transformer stay as they are. A small patch discriminator, told the lit guide, judges texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.loop import Log, MovingAverage, learning_rate, load_checkpoint, save_checkpoint
from elsewhere.model.train.losses import RandomFeatures
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Transformer
from elsewhere.model.train.tokenizer import reconstruction_loss
from elsewhere.model.train.world import WorldTraining, at_level, draw_batch, encode_clips, predict

CONTEXT_LEVEL = 0.9
CHECKPOINT_EVERY = 100
"""Steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishTraining:
    """One run. `clean` is the share of pictures decoded from the encoder's own latents; `adversarial` the weight
    of the discriminator after the first fifth."""

    steps: int = 700
    batch: int = 4
    crop: int = 64
    pictures: int = 24
    peak_rate: float = 4e-4
    clean: float = 0.25
    adversarial: float = 0.02
    seed: int = 11


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


@torch.no_grad()
def predicted_latents(
    network: Transformer,
    clips: Clips,
    latents: list[tuple[np.ndarray, np.ndarray]],
    run: FinishTraining,
    rng: np.random.Generator,
    noise: torch.Generator,
) -> tuple[Tensor, Tensor, list[tuple[int, int, bool]]]:
    """Latents (M, C, h, w), predicted in one step from clean, slightly noised context; the encoder's own; and where
    each of the M is: (clip, frame, whether it is dreamt)."""
    batch = draw_batch(clips, latents, network.config, WorldTraining(batch=run.batch), rng)
    b, t = batch.latents.shape[:2]
    known = int(torch.randint(0, t, (), generator=noise))
    level = torch.where(torch.arange(t) < known, CONTEXT_LEVEL, 0.0).expand(b, t)
    noisy = at_level(batch.latents, torch.randn(batch.latents.shape, generator=noise), level)
    made = predict(network, batch, noisy, level, torch.where(level > 0, 0.0, 1.0))
    keep = [(i, f) for i in range(b) for f in range(known, t)]
    places = [(batch.numbers[i], f, batch.dreams[i]) for i, f in keep]
    index = torch.tensor([i * t + f for i, f in keep])
    return made.flatten(0, 1)[index], batch.latents.flatten(0, 1)[index], places


def crops(
    clips: Clips, made: Tensor, own: Tensor, places: list, run: FinishTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, pictures and planes of random token-aligned crops."""
    tokens = run.crop // 16
    latents, pictures, planes = [], [], []
    for _ in range(run.pictures):
        index = int(rng.integers(len(places)))
        number, frame, dream = places[index]
        rows, columns = made.shape[-2:]
        y, x = int(rng.integers(rows - tokens + 1)), int(rng.integers(columns - tokens + 1))
        source = own if rng.random() < run.clean else made
        latents.append(source[index, :, y : y + tokens, x : x + tokens])
        area = np.s_[frame, :, 16 * y : 16 * y + run.crop, 16 * x : 16 * x + run.crop]
        plane = torch.from_numpy(clips.planes[number][area]).float() / 127.0
        colour = torch.from_numpy(clips.picture[number][area]).float() / 255.0
        pictures.append(torch.cat([colour, plane[15:16]]))
        planes.append(plane * (0.0 if dream else 1.0))
    return torch.stack(latents), torch.stack(pictures), torch.stack(planes)


def train(clips: Clips, tokenizer: Tokenizer, network: Transformer, run: FinishTraining, directory: Path) -> Tokenizer:
    """Runs (or goes on with) one fine-tuning of `tokenizer.decoder`, in place. Returns the tokenizer."""
    torch.manual_seed(run.seed)
    latents = encode_clips(tokenizer, clips)
    decoder = tokenizer.decoder.requires_grad_(True)
    judge = PatchDiscriminator()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=run.peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    judge_optimizer = torch.optim.AdamW(judge.parameters(), lr=4e-4, betas=(0.5, 0.98), weight_decay=0.01)
    average = MovingAverage(decoder, 0.995)
    checkpoint, first = directory / "finish.ckpt", 0
    if state := load_checkpoint(checkpoint):
        for name, part in (("decoder", decoder), ("judge", judge), ("optimizer", optimizer), ("j", judge_optimizer)):
            part.load_state_dict(state[name])  # type: ignore[attr-defined]
        average.values, first = state["average"], state["step"]
    features = RandomFeatures()
    log = Log(directory / "finish.jsonl", run.steps)
    for step in range(first, run.steps):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, step]))
        noise = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        made, own, places = predicted_latents(network, clips, latents, run, rng, noise)
        z, picture, planes = (
            x.contiguous(memory_format=torch.channels_last) for x in crops(clips, made, own, places, run, rng)
        )
        out = decoder(z, planes)
        terms = reconstruction_loss(out, picture, features)
        lit = planes[:, :3]
        fooling = F.softplus(-judge(out[:, :3], lit)).mean()
        weight = run.adversarial if step > run.steps // 5 else 0.0
        optimizer.zero_grad(set_to_none=True)
        (terms["loss"] + weight * fooling).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(step, run.steps, run.peak_rate, 50)
        optimizer.step()
        average.update(decoder, step)
        real, false = judge(picture[:, :3], lit), judge(out[:, :3].detach(), lit)
        judging = (F.softplus(-real) + F.softplus(false)).mean()
        judge_optimizer.zero_grad(set_to_none=True)
        judging.backward()
        judge_optimizer.step()
        terms |= {"fooling": fooling, "judging": judging}
        log.add(step, {name: term.detach() for name, term in terms.items()}, 25)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == run.steps:
            state = {"decoder": decoder.state_dict(), "judge": judge.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"j": judge_optimizer.state_dict(), "average": average.values, "step": step + 1}
            save_checkpoint(checkpoint, state)
    average.load_into(decoder)
    return tokenizer
