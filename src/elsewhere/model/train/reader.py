"""Training of the reader: a small network that says what a reference picture shows, so that films can be read too.

Legend: B pictures, W words.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file
from torch import Tensor, nn

from elsewhere.model.train.loop import Log, learning_rate, load_checkpoint, save_checkpoint
from elsewhere.scene import catalogue
from elsewhere.scene.words import light

ASPECTS: dict[str, tuple[str, ...]] = {
    "place": tuple(catalogue.ENVIRONMENTS),
    "light": tuple(light.HOURS),
    "weather": tuple(light.WEATHERS),
    "things": tuple(catalogue.KINDS),
}
"""Words by aspect. A picture has one place and one light, and any number of the others."""
ONE_OF = ("place", "light")
SAVE_EVERY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderTraining:
    """A run. Pictures are `side` pixels a side; layers have `channels` and `strides`."""

    steps: int = 3000
    batch: int = 64
    side: int = 64
    channels: tuple[int, ...] = (32, 64, 128, 192)
    strides: tuple[int, ...] = (2, 2, 1, 2)
    rate: float = 2e-3
    seed: int = 7


class Network(nn.Module):
    """Convolutions of 3 × 3 with batch norm, then a linear layer on means and maxima."""

    def __init__(self, plan: ReaderTraining) -> None:
        super().__init__()
        before, layers = 3, []
        for channels, stride in zip(plan.channels, plan.strides, strict=True):
            layers.append(nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False))
            layers.append(nn.BatchNorm2d(channels))
            before = channels
        self.layers = nn.ModuleList(layers)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(2 * before, sum(map(len, ASPECTS.values())))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) in [−1, 1] → (B, W) logits."""
        for convolution, norm in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = torch.relu(norm(convolution(x)))
        return self.head(self.drop(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)))

    def folded(self) -> dict[str, NDArray[np.float16]]:
        """Numbers without batch norm, which is a factor and a shift of each convolution once training is over."""
        arrays: dict[str, Tensor] = {"head": self.head.weight, "head bias": self.head.bias}
        for number, (convolution, norm) in enumerate(zip(self.layers[::2], self.layers[1::2], strict=True)):
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            arrays[f"kernel {number}"] = convolution.weight * factor[:, None, None, None]
            arrays[f"bias {number}"] = norm.bias - factor * norm.running_mean
        return {name: value.detach().to(torch.float16).numpy() for name, value in arrays.items()}


def read_clips(directory: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[int]]:
    """Pictures (B, side, side, 3), words (B, W) of 0 and 1, and the clip that each is of.

    Raises ValueError where there are none.
    """
    words = [word for group in ASPECTS.values() for word in group]
    index = {word: number for number, word in enumerate(words)}
    pictures, said, clips = [], [], []
    for number, path in enumerate(sorted(directory.glob("clip-*.npz"))):
        with np.load(path, allow_pickle=False) as arrays:
            shown, tokens = arrays["picture"], str(arrays["caption"]).split("|")
        row = np.zeros(len(words), np.float32)
        row[[index[token] for token in tokens if token in index]] = 1.0
        for picture in shown.transpose(0, 2, 3, 1):
            pictures.append(_fitted(picture, side))
            said.append(row)
            clips.append(number)
    if not pictures:
        raise ValueError(f"no clips in {directory}: build some with `elsewhere data build {directory}`")
    return np.stack(pictures), np.stack(said), clips


def _fitted(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The square in the middle of a picture, averaged down."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = np.ascontiguousarray(picture[top : top + edge, left : left + edge])
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BOX))


def loss_of(logits: Tensor, said: Tensor) -> Tensor:
    """Cross-entropy of one-of-many aspects, binary cross-entropy of the others."""
    total, start = logits.new_zeros(()), 0
    for aspect, words in ASPECTS.items():
        part, wanted = logits[:, start : start + len(words)], said[:, start : start + len(words)]
        start += len(words)
        if aspect in ONE_OF:
            total = total + nn.functional.cross_entropy(part, wanted / wanted.sum(1, keepdim=True).clamp(min=1.0))
        else:
            total = total + 4.0 * nn.functional.binary_cross_entropy_with_logits(part, wanted)
    return total


def accuracy(logits: NDArray[np.floating], said: NDArray[np.floating]) -> dict[str, float]:
    """Share of the named words that are among the likeliest of their aspect, as many as are named; and their mean."""
    out, start = {}, 0
    for aspect, words in ASPECTS.items():
        part, wanted = logits[:, start : start + len(words)], said[:, start : start + len(words)]
        start += len(words)
        rank = np.argsort(np.argsort(-part, axis=1), axis=1)
        found = (rank < wanted.sum(axis=1, keepdims=True)) & (wanted > 0.0)
        out[aspect] = float(found.sum() / max(1.0, wanted.sum()))
    return out | {"mean": float(np.mean(list(out.values())))}


def varied(pictures: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    """(B, 3, side, side) in [−1, 1], each picture mirrored or not, shifted by up to four pixels, with some grain."""
    side = pictures.shape[1]
    padded = np.pad(pictures, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    out = np.empty(pictures.shape, np.float32)
    for number, picture in enumerate(padded):
        top, left = rng.integers(0, 9, 2)
        cut = picture[top : top + side, left : left + side]
        out[number] = cut[:, ::-1] if rng.random() < 0.5 else cut
    out = out / np.float32(127.5) - np.float32(1.0)
    out += np.float32(0.04) * rng.random() * rng.standard_normal(out.shape, dtype=np.float32)
    return torch.from_numpy(out.transpose(0, 3, 1, 2).copy())


def train(directory: Path, held_out: Path, plan: ReaderTraining, run: Path) -> Path:
    """Trains on the clips of `directory`, tests on those of `held_out`, writes `run`/reader.safetensors.

    A run that was cut off goes on from its last checkpoint, with the same numbers.
    """
    torch.manual_seed(plan.seed)
    pictures, said, clips = read_clips(directory, plan.side)
    test, test_said, _ = read_clips(held_out, plan.side)
    network = Network(plan)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.05)
    begun, path = 0, run / "reader.pt"
    if state := load_checkpoint(path):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        begun = int(state["step"])
    log = Log(run / "reader.jsonl", plan.steps)
    for step in range(begun, plan.steps):
        # What a step does depends on its number alone, so that a run that was cut off repeats nothing.
        rng = np.random.Generator(np.random.Philox(key=[plan.seed, step]))
        torch.manual_seed(plan.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.rate, warmup=100)
        chosen = rng.integers(0, len(pictures), plan.batch)
        network.train()
        loss = loss_of(network(varied(pictures[chosen], rng)), torch.from_numpy(said[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.add(step, {"loss": loss.item()}, every=50)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            scores = {name: round(value, 4) for name, value in accuracy(predict(network, test), test_said).items()}
            print(f"held out: {scores}", flush=True)
            save_checkpoint(
                path, {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            )
    scores = {name: round(value, 4) for name, value in accuracy(predict(network, test), test_said).items()}
    card = {"kind": "reader", "clips": len(set(clips)), "pictures": len(pictures), "held out pictures": len(test)}
    card |= {"held out accuracy": scores} | asdict(plan)
    return save(run / "reader.safetensors", network, plan, card)


def predict(network: Network, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(B, W) logits, as in use."""
    network.eval()
    out = []
    with torch.no_grad():
        for start in range(0, len(pictures), 64):
            part = pictures[start : start + 64].astype(np.float32) / np.float32(127.5) - np.float32(1.0)
            out.append(network(torch.from_numpy(part.transpose(0, 3, 1, 2).copy())).numpy())
    return np.concatenate(out)


def save(path: Path, network: Network, plan: ReaderTraining, card: dict[str, Any]) -> Path:
    """Writes the numbers that the judge reads, whole or not at all."""
    config = {"side": plan.side, "strides": plan.strides, "words": ASPECTS}
    partial = path.with_suffix(".part")
    save_file(network.eval().folded(), partial, metadata={"config": json.dumps(config), "card": json.dumps(card)})
    os.replace(partial, path)
    return path
