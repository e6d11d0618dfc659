"""Makes the weights of the reader from reference clips: patches by k-means, then ridge regression in closed form.

There are no steps to resume: the same clips and plan give the same weights in about a minute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from elsewhere.judge.reader import Layer, Reader, looks_at, patches_of
from elsewhere.scene import catalogue
from elsewhere.scene.words import light

ALIKE = {
    **{"dusk": "dawn", "sunset": "sunrise", "morning": "noon", "afternoon": "noon"},
    **{"sunny": "clear", "misty": "foggy", "stormy": "rainy", "overcast": "cloudy"},
}
"""Light before and after noon is the same, and so are degrees of the same weather."""
UNSEEN = ("windy", "calm")
"""Weather that a still picture does not show."""
WORDS: dict[str, tuple[str, ...]] = {
    "place": tuple(catalogue.ENVIRONMENTS),
    "light": tuple(word for word in light.HOURS if word not in ALIKE),
    "weather": tuple(word for word in light.WEATHERS if word not in (*ALIKE, *UNSEEN)),
    "things": tuple(catalogue.KINDS),
}
RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Strengths of the ridge that are tried, over standardised features."""
FOLDS = 5

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderTraining:
    """`frames` of each clip, evenly spread; `centres` of patches, from `patches` of them in `rounds` of k-means."""

    centres: int = 500
    frames: int = 3
    patches: int = 40_000
    rounds: int = 8
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Example:
    """The looks (2, 64, 64, 3) at a reference picture, the words of its caption, and the number of its clip."""

    looks: Array
    tokens: tuple[str, ...]
    clip: int


def examples(directory: Path, frames: int) -> list[Example]:
    """Pictures of all clips of a folder. Raises ValueError where there are none, or a file is no clip."""
    found = []
    for number, path in enumerate(sorted(directory.glob("clip-*.npz"))):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                film, tokens = arrays["picture"], tuple(str(arrays["caption"]).split("|"))
        except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path} is not a clip: {error}") from error
        for at in np.unique(np.linspace(0, len(film) - 1, frames).round().astype(int)):
            found.append(Example(looks_at(film[at].transpose(1, 2, 0)), tokens, number))
    if not found:
        raise ValueError(f"no clips in {directory}: build some with `elsewhere data build {directory}`")
    return found


def learn_layer(pictures: list[Array], plan: ReaderTraining) -> Layer:
    """Whitens random patches (ZCA) and finds centres among them by k-means."""
    rng = np.random.Generator(np.random.Philox(key=[plan.seed, 1]))
    each = max(1, plan.patches // len(pictures))
    drawn = [patches_of(picture)[rng.integers(0, 900, each)] for picture in pictures]
    patches = np.concatenate(drawn).astype(np.float64)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    whitening = vectors @ np.diag(1.0 / np.sqrt(values + 0.1)) @ vectors.T
    white = ((patches - mean) @ whitening).astype(np.float32)
    centres = white[rng.permutation(len(white))[: plan.centres]].copy()
    for _ in range(plan.rounds):
        nearest = np.argmax(white @ centres.T - 0.5 * (centres**2).sum(axis=1), axis=1)
        count = np.bincount(nearest, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, white)
        centres = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centres).astype(np.float32)
    return Layer(mean=mean.astype(np.float32), whitening=whitening.astype(np.float32), centres=centres)


def ridge(seen: Array, wanted: Array, strength: float) -> tuple[Array, Array]:
    """`head` (W, F) and `bias` (W,) that give −1 or 1 for each word, features standardised and then folded back."""
    middle, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-3
    x = ((seen - middle) / spread).astype(np.float64)
    centre = wanted.mean(axis=0)
    # As many unknowns as pictures, not as features: (XXᵀ + λ)⁻¹ is the smaller of the two.
    inner = np.linalg.solve(x @ x.T + strength * np.eye(len(x)), wanted - centre)
    head = (x.T @ inner).T / spread
    return head.astype(np.float32), (centre - head @ middle).astype(np.float32)


def train(
    directory: Path, held_out: Path, plan: ReaderTraining, path: Path, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Learns from the clips of one folder, is tested on those of another, writes `path`; returns the card."""
    known, test = examples(directory, plan.frames), examples(held_out, plan.frames)
    say(f"{len(known)} pictures to learn from, {len(test)} held out")
    layer = learn_layer([look for example in known for look in example.looks], plan)
    say(f"{len(layer.centres)} centres of patches")
    # Each picture and its mirror image: the world has no left and right.
    both = (side for example in known for side in (example.looks, np.ascontiguousarray(example.looks[:, :, ::-1])))
    seen = np.stack([layer.seen(looks) for looks in both])
    clips = np.repeat([example.clip for example in known], 2)
    wanted = np.repeat(np.stack([_wanted(example.tokens) for example in known]), 2, axis=0)
    chosen = np.flatnonzero(clips % FOLDS == 0)
    rest = np.flatnonzero(clips % FOLDS != 0)
    tokens = [example.tokens for example in known for _ in range(2)]
    scores = {}
    for strength in RIDGES if len(rest) and len(chosen) else ():
        tried = Reader(layer=layer, **_map(seen[rest], wanted[rest], strength), words=WORDS, alike=ALIKE, card={})
        scores[strength] = tried.shares([(seen[n] @ tried.head.T + tried.bias, tokens[n]) for n in chosen])["mean"]
        say(f"ridge {strength:g}: {scores[strength]:.4f} of words found in a fifth of the clips that it did not see")
    best = max(scores, key=lambda strength: scores[strength], default=RIDGES[2])
    reader = Reader(layer=layer, **_map(seen, wanted, best), words=WORDS, alike=ALIKE, card={})
    found = reader.shares([(layer.seen(e.looks) @ reader.head.T + reader.bias, e.tokens) for e in test])
    accuracy = {aspect: round(share, 4) for aspect, share in found.items() if np.isfinite(share)}
    card = {"kind": "reader", "clips": len(set(clips.tolist())), "held out clips": len({e.clip for e in test})}
    card |= {"ridge": best, "held out accuracy": accuracy, **asdict(plan)}
    save(path, reader, card)
    return card


def _map(seen: Array, wanted: Array, strength: float) -> dict[str, Any]:
    head, bias = ridge(seen, wanted, strength)
    return {"head": head, "bias": bias}


def _wanted(tokens: tuple[str, ...]) -> Array:
    """(W,) 1 for words that are named, −1 for the others."""
    meant = {ALIKE.get(token, token) for token in tokens}
    return np.array([1.0 if word in meant else -1.0 for group in WORDS.values() for word in group], np.float32)


def save(path: Path, reader: Reader, card: dict[str, Any]) -> None:
    """Writes a reader whole or not at all; its numbers in half precision."""
    layer = reader.layer
    arrays = {"mean": layer.mean, "whitening": layer.whitening, "centres": layer.centres, "head": reader.head}
    halves = {name: np.ascontiguousarray(array, np.float16) for name, array in (arrays | {"bias": reader.bias}).items()}
    partial = path.with_suffix(".part")
    try:
        words = {"words": json.dumps(reader.words), "alike": json.dumps(reader.alike)}
        save_file(halves, partial, metadata=words | {"card": json.dumps(card)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
