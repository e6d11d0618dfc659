"""Reads a picture: which place, light, weather and things it shows, by a small network of our own.

It is trained on reference pictures (`elsewhere train reader`) and runs in NumPy. How often it is right on reference
pictures of scenes that training never saw is its own accuracy, which stands beside whatever it says of films.
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

from elsewhere.judge.convolution import convolve

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
MOST_BYTES = 4_000_000
ASPECTS = ("place", "light", "weather", "things")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Layers of kernels (D, C, 3, 3) and biases with their strides, a linear head (words, 2 D), and the words by
    aspect. Pictures are brought to `side` pixels a side first."""

    side: int
    strides: tuple[int, ...]
    kernels: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    head: NDArray[np.float32]
    head_bias: NDArray[np.float32]
    words: dict[str, tuple[str, ...]]
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
            config, card = json.loads(metadata["config"]), json.loads(metadata["card"])
            layers = range(len(config["strides"]))
            made = cls(
                side=int(config["side"]),
                strides=tuple(int(stride) for stride in config["strides"]),
                kernels=tuple(arrays[f"kernel {layer}"] for layer in layers),
                biases=tuple(arrays[f"bias {layer}"] for layer in layers),
                head=arrays["head"],
                head_bias=arrays["head bias"],
                words={aspect: tuple(map(str, config["words"][aspect])) for aspect in ASPECTS},
                card=card,
            )
            if made.head.shape != (sum(map(len, made.words.values())), 2 * len(made.biases[-1])):
                raise ValueError("its head does not fit its words")
            return made
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not the weights of a reader: {error}; make them: elsewhere train reader"
            ) from None

    def scores(self, pictures: list[NDArray[Any]]) -> NDArray[np.float32]:
        """(B, words) logits of display RGB pictures (H, W, 3): float in [0, 1] or uint8."""
        x = np.stack([fitted(picture, self.side) for picture in pictures])
        for kernel, bias, stride in zip(self.kernels, self.biases, self.strides, strict=True):
            x = np.maximum(convolve(x, kernel, bias, stride=stride), 0.0)
        seen = np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)
        return np.asarray(seen @ self.head.T + self.head_bias, np.float32)

    def found(self, scores: NDArray[Any], tokens: tuple[str, ...]) -> dict[str, list[bool]]:
        """Of each aspect, whether each word that a caption names is among the likeliest, as many as it names.

        `scores` (words,) are those of one picture.
        """
        out: dict[str, list[bool]] = {}
        start = 0
        for aspect in ASPECTS:
            words = self.words[aspect]
            part, start = np.asarray(scores)[start : start + len(words)], start + len(words)
            named = [words.index(token) for token in dict.fromkeys(tokens) if token in words]
            likeliest = set(np.argsort(-part, kind="stable")[: len(named)].tolist())
            out[aspect] = [number in likeliest for number in named]
        return out


def fitted(picture: NDArray[Any], side: int) -> NDArray[np.float32]:
    """(side, side, 3) in [−1, 1]: the square in the middle of a picture, averaged down."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = picture[top : top + edge, left : left + edge]
    if square.dtype != np.uint8:
        square = np.rint(255.0 * np.clip(square, 0.0, 1.0)).astype(np.uint8)
    small = Image.fromarray(square).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1.0)


@lru_cache(maxsize=1)
def shipped() -> Reader:
    """The reader that comes with the package."""
    return Reader.load()
