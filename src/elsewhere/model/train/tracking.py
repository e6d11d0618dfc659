"""Where a thing is in pictures, by its colours: learnt from frames in which that is known, found in others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 8
"""Of each colour channel."""
LOST = 0.25
"""A thing of whose colours less than this share is found is lost."""
NEAR = 1.6
"""Only what lies within so many times of the thing's radius counts, and so much more as it may move."""
AROUND = 4.0
"""What a thing is told from lies within so many of its radii: its shadow is there, and what it passes."""


@dataclass(frozen=True, slots=True)
class Look:
    """A thing's colours against all others."""

    share: NDArray[np.float64]
    """(BINS, BINS, BINS) how likely a pixel of a colour belongs to the thing, 0…1."""
    amount: float
    """What `find` adds up in the last frame that it was learnt from."""
    offset: NDArray[np.float64]
    """(2,) from the middle of what is found to the thing's own middle, there."""


def _bins(pictures: NDArray[np.float64]) -> tuple[NDArray[np.intp], ...]:
    index = np.clip((pictures * BINS).astype(np.intp), 0, BINS - 1)
    return index[..., 0], index[..., 1], index[..., 2]


def _histogram(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of colours (N, 3), blurred by one bin, because what is drawn anew is never of quite the same colour."""
    found = np.zeros((BINS,) * 3)
    np.add.at(found, _bins(colours), 1.0 / max(1, len(colours)))
    for axis in range(3):
        padded = np.pad(found, [(1, 1) if a == axis else (0, 0) for a in range(3)])
        parts = [np.take(padded, range(k, k + BINS), axis) for k in range(3)]
        found = 0.2 * parts[0] + 0.6 * parts[1] + 0.2 * parts[2]
    return found


def learn(
    pictures: NDArray[np.float64], masks: NDArray[np.bool_], track: NDArray[np.float64], others: NDArray[np.bool_]
) -> Look | None:
    """A look from known frames: pictures (K, H, W, 3) in [0, 1], masks (K, H, W), track (K, 2) pixels right and down;
    `others` (K, H, W) is where other things are that it must not be taken for.

    None where the thing is not seen in the last frame.
    """
    if not masks[-1].any():
        return None
    radius = float(np.sqrt(masks[-1].sum() / np.pi))
    away = np.stack([_away(pictures.shape[1:3], middle) for middle in track])
    around = ~masks & ((away < AROUND * radius) | others)
    inside = _histogram(pictures[masks])
    # Others weigh as much as all the ground, however small they are.
    parts = [pictures[part] for part in (around & ~others, around & others) if part.any()]
    outside = np.mean([_histogram(part) for part in parts], axis=0)
    share = inside / np.maximum(inside + 3.0 * outside, 1e-4)
    share[share < 0.5] = 0.0
    middle, amount = find(share, pictures[-1], track[-1], NEAR * radius)
    return None if middle is None else Look(share, amount, track[-1] - middle)


def _away(shape: tuple[int, ...], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W) pixels from `middle` (right, down)."""
    j, i = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    found: NDArray[np.float64] = np.hypot(i - middle[0], j - middle[1])
    return found


def find(
    share: NDArray[np.float64], picture: NDArray[np.float64], near: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float64] | None, float]:
    """Middle (2,) of the thing's colours within `radius` pixels of `near`, and their sum; None where there are none."""
    weight = share[_bins(picture)] * (_away(picture.shape, near) < radius)
    amount = float(weight.sum())
    if amount <= 0.5:
        return None, amount
    j, i = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]] + 0.5
    return np.array([(i * weight).sum(), (j * weight).sum()]) / amount, amount


def follow(
    look: Look, pictures: NDArray[np.float64], last: NDArray[np.float64], step: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """(T, 2) where the thing is in pictures (T, H, W, 3) that follow a frame in which it was at `last` and moved by
    `step` pixels a frame; NaN from where it is lost. `radius` is its own, in pixels."""
    out = np.full((len(pictures), 2), np.nan)
    here = last.copy()
    for at, picture in enumerate(pictures):
        # First anywhere between standing still and moving on, faster than before; then only as far as it is large.
        reach = NEAR * radius + 1.2 * float(np.linalg.norm(step)) + 2.0
        middle, _ = find(look.share, picture, here - look.offset + 0.5 * step, reach)
        for _ in range(3):
            if middle is not None:
                middle, amount = find(look.share, picture, middle, NEAR * radius)
        if middle is None or amount < LOST * look.amount:
            break
        out[at] = middle + look.offset
        step, here = out[at] - here, out[at]
    return out
