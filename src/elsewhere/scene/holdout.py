"""Which scenes are kept for evaluation: a combination's hash decides, so training and judging cannot disagree."""

from __future__ import annotations

import hashlib

import numpy as np

from elsewhere.scene.description import Scene
from elsewhere.scene.words import caption_tokens, parse, sample_prompt

HELD_OUT_SHARE = 16
"""One combination in this many is never trained on."""


def held_out(scene: Scene) -> bool:
    """Whether this combination of things, colours, place and light is kept for evaluation."""
    combination = "|".join(caption_tokens(scene))
    return hashlib.sha256(combination.encode()).digest()[0] % HELD_OUT_SHARE == 0


def draw_scene(rng: np.random.Generator, *, evaluation: bool) -> Scene:
    """A random scene on the wanted side of the hash."""
    while True:
        scene = parse(sample_prompt(rng), seed=int(rng.integers(2**31))).scene
        if held_out(scene) == evaluation:
            return scene
