"""Pictures carried along by what is calculated, and pictures that change over place by place.

Shapes: H W pixels; a map is (H, W, 2), column and row in the first frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.render import Guide

SOFT = 0.06
"""Motion is smoothed over this share of the picture's width: a foreign picture's edges are not those of the world."""
BEND = 0.12
"""How far calculated waves shift what lies on water, as a share of the picture's width for a slope of 1."""

EDGE = 0.2
"""Width of a dissolve's edge, as a share of all places."""
PURPOSE = 0xD155
"""Second word of the Philox key of a dissolve's patches."""


def start_map(height: int, width: int) -> NDArray[np.float32]:
    """Every pixel where it is."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def moved(places: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map one frame later: a pixel comes from where it was, `motion` (H, W, 2) pixels ago."""
    height, width = motion.shape[:2]
    soft = blurred(motion, max(1.0, SOFT * width))
    return sampled(places, start_map(height, width) - soft)


def sampled(image: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, …) of an image at places (H, W, 2), bilinear; outside, its edge goes on."""
    height, width = image.shape[:2]
    x = np.clip(places[..., 0], 0.0, width - 1.0)
    y = np.clip(places[..., 1], 0.0, height - 1.0)
    left, top = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - across) + image[top, left + 1] * across
    lower = image[top + 1, left] * (1 - across) + image[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def blurred(image: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """(H, W, …) under three boxes of about this radius in pixels; edges repeat."""
    half = max(1, round(radius))
    for _ in range(3):
        for axis in (0, 1):
            padded = np.pad(image, [(half + 1, half) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
            sums = np.cumsum(padded, axis=axis, dtype=np.float64)
            count = image.shape[axis]
            high = np.take(sums, range(2 * half + 1, 2 * half + 1 + count), axis=axis)
            image = ((high - np.take(sums, range(count), axis=axis)) / (2 * half + 1)).astype(np.float32)
    return image


def bent(guide: Guide, first: Guide, water: int) -> NDArray[np.float32]:
    """(H, W, 2) pixels by which waves shift what is seen on water now, against the first frame."""
    wet = ((guide.instance == water) & (first.instance == water))[..., None]
    slope = (guide.normal - first.normal)[..., [0, 2]]
    width = guide.depth.shape[1]
    return np.asarray(np.where(wet, slope, 0.0) * np.float32(BEND * width), np.float32)


def dissolve(share: float, key: NDArray) -> NDArray[np.float32]:
    """(H, W) how far each pixel has changed over when `share` of all has: those with the least `key` first."""
    flat = np.asarray(key, np.float64).ravel()
    rank = np.empty(flat.size)
    rank[np.argsort(flat, kind="stable")] = np.linspace(0.0, 1.0, flat.size)
    edge = np.clip((share * (1.0 + EDGE) - rank.reshape(key.shape)) / EDGE, 0.0, 1.0)
    return np.asarray(edge * edge * (3.0 - 2.0 * edge), np.float32)


def smooth_noise(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """(H, W) soft patches in 0…1, the same for the same seed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, PURPOSE]))
    patches = blurred(rng.standard_normal((height, width, 1)).astype(np.float32), width / 12.0)[..., 0]
    low, high = float(patches.min()), float(patches.max())
    return np.asarray((patches - low) / (high - low), np.float32)


def detail_weight(now: NDArray[np.float32], then: NDArray[np.float32], spread: float = 0.08) -> NDArray[np.float32]:
    """(H, W, 1) how much of a picture's own detail still belongs: 1 where the network shows what it showed then."""
    apart = blurred(np.square(now - then).mean(axis=-1, keepdims=True), 2.0)
    return np.asarray(np.exp(-apart / (spread * spread)), np.float32)
