"""Reads a picture: which place, light, weather and things it shows, by a small network of our own.

One layer of patches learnt without labels, pooled over quarters of the picture, then a linear map to words: Coates, Ng
& Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning". It learns from some hundred
reference clips (`reader_training`). How often it is right on reference pictures of scenes that training never saw is
its own accuracy, which stands beside whatever it says of films.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from elsewhere.judge.convolution import shrink

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
MOST_BYTES = 4_000_000
ASPECTS = ("place", "light", "weather", "things")
SIDE, PATCH, STRIDE = 64, 6, 2
"""Pictures are brought to 64 pixels a side; patches of 6 × 6 pixels every 2."""
MIDDLE = 0.6
"""Share of the side that the second look has."""
COARSE = 8
"""Side of the tiny picture that goes straight to the linear map: where light and colours are."""
NOISE_FLOOR = 0.01
"""Added to a patch's variance, so that flat sky is not amplified."""

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """What patches are compared with: `mean` (108,), `whitening` (108, 108) and `centres` (K, 108)."""

    mean: Array
    whitening: Array
    centres: Array

    def seen(self, looks: Array) -> Array:
        """(F,) of the looks (2, 64, 64, 3) at one picture, in [−1, 1]."""
        return np.concatenate([self.features(look) for look in looks])

    def features(self, picture: Array) -> Array:
        """(4 K + 3 · 8 · 8 + 6,) of one look (64, 64, 3)."""
        white = (patches_of(picture) - self.mean) @ self.whitening
        square = (white**2).sum(axis=1)[:, None] - 2.0 * white @ self.centres.T + (self.centres**2).sum(axis=1)
        away = np.sqrt(np.maximum(square, 0.0))
        near = np.maximum(away.mean(axis=1, keepdims=True) - away, 0.0)
        rows = round(np.sqrt(len(near)))
        grid = near.reshape(rows, rows, -1)
        half = rows // 2
        quarters = [grid[a, b].mean(axis=(0, 1)) for a in (slice(half), slice(half, None)) for b in _halves(half)]
        coarse = shrink(picture[None], SIDE // COARSE).ravel()
        both = [picture.mean(axis=(0, 1)), picture.std(axis=(0, 1))]
        return np.concatenate([*quarters, coarse, *both]).astype(np.float32)


def _halves(half: int) -> tuple[slice, slice]:
    return slice(half), slice(half, None)


def patches_of(picture: Array) -> Array:
    """(N, 108) patches of a picture (H, W, 3), each less its mean and over its spread."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), axis=(0, 1))[::STRIDE, ::STRIDE]
    flat = np.asarray(windows, np.float32).reshape(-1, 3 * PATCH * PATCH)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.sqrt(flat.var(axis=1, keepdims=True) + np.float32(NOISE_FLOOR)), np.float32)


def looks_at(picture: NDArray[Any]) -> Array:
    """(2, 64, 64, 3) in [−1, 1]: the square in the middle of a picture (H, W, 3), uint8 or float, and the middle of
    that, where a shot has its things."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    looks = []
    for side in (edge, max(1, round(MIDDLE * edge))):
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[top : top + side, left : left + side]
        if square.dtype != np.uint8:
            square = np.rint(255.0 * np.clip(square, 0.0, 1.0)).astype(np.uint8)
        small = Image.fromarray(np.ascontiguousarray(square)).resize((SIDE, SIDE), Image.Resampling.BOX)
        looks.append(np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1.0))
    return np.stack(looks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A layer, a linear map `head` (W, F) with `bias` (W,), and the W words by aspect. `card` says how it was made.

    `alike` maps words of captions to the word that stands for them here: what a still picture cannot tell apart.
    """

    layer: Layer
    head: Array
    bias: Array
    words: dict[str, tuple[str, ...]]
    alike: dict[str, str]
    card: dict[str, Any]

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Reader:
        """Reads a file of `elsewhere train reader`. Raises ValueError where it is none."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it must have at most {MOST_BYTES} bytes")
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
            words, card = json.loads(metadata["words"]), json.loads(metadata["card"])
            layer = Layer(mean=arrays["mean"], whitening=arrays["whitening"], centres=arrays["centres"])
            named = {aspect: tuple(map(str, words[aspect])) for aspect in ASPECTS}
            alike = {str(word): str(other) for word, other in json.loads(metadata["alike"]).items()}
            linear = {"head": arrays["head"], "bias": arrays["bias"]}
            made = cls(layer=layer, **linear, words=named, alike=alike, card=dict(card))
            made.scores([np.zeros((SIDE, SIDE, 3), np.uint8)])
            if len(made.head) != sum(map(len, named.values())):
                raise ValueError("its head does not fit its words")
            return made
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            wrong = f"{path} is not the weights of a reader: {error}"
            raise ValueError(f"{wrong}; make them with elsewhere train reader") from None

    def scores(self, pictures: list[NDArray[Any]]) -> Array:
        """(B, W) of display RGB pictures (H, W, 3), float in [0, 1] or uint8: the larger, the likelier."""
        seen = np.stack([self.layer.seen(looks_at(picture)) for picture in pictures])
        return np.asarray(seen @ self.head.T + self.bias, np.float32)

    def found(self, scores: NDArray[Any], tokens: tuple[str, ...]) -> dict[str, list[bool]]:
        """Of each aspect, whether each word that a caption names is among the likeliest, as many as it names.

        `scores` (W,) are those of one picture.
        """
        out: dict[str, list[bool]] = {}
        start = 0
        for aspect in ASPECTS:
            words = self.words[aspect]
            part, start = np.asarray(scores)[start : start + len(words)], start + len(words)
            meant = dict.fromkeys(self.alike.get(token, token) for token in tokens)
            named = [words.index(token) for token in meant if token in words]
            likeliest = set(np.argsort(-part, kind="stable")[: len(named)].tolist())
            out[aspect] = [number in likeliest for number in named]
        return out

    def shares(self, said: list[tuple[NDArray[Any], tuple[str, ...]]]) -> dict[str, float]:
        """Share of named words that it finds in pictures of (scores, tokens), by aspect, and the mean of those."""
        hits: dict[str, list[bool]] = {aspect: [] for aspect in ASPECTS}
        for scores, tokens in said:
            for aspect, found in self.found(scores, tokens).items():
                hits[aspect] += found
        share = {aspect: float(np.mean(found)) if found else float("nan") for aspect, found in hits.items()}
        known = [value for value in share.values() if np.isfinite(value)]
        return share | {"mean": float(np.mean(known)) if known else float("nan")}


@lru_cache(maxsize=1)
def shipped() -> Reader:
    """The reader that comes with the package."""
    return Reader.load()
