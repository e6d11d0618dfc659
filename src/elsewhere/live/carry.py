"""Pictures carried along by what is calculated, and pictures that change over place by place.

Shapes: H W pixels; a map is (H, W, 2), column and row in the first frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.render import Guide

SOFT = 0.06
"""Motion is smoothed over this share of the picture's width: a foreign picture's edges are not those of the world."""
OWN_MOST = 0.015
"""How far things of a world move what is no picture of them, as a share of its width."""
BEND = 0.06
"""How far calculated waves shift what lies on water, as a share of the picture's width for a slope of 1."""

EDGE = 0.2
"""Width of a dissolve's edge, as a share of all places."""
PURPOSE = 0xD155
"""Second word of the Philox key of a dissolve's patches."""


def start_map(height: int, width: int) -> NDArray[np.float32]:
    """Every pixel where it is."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


class Way:
    """Where a foreign picture's pixels have gone, under the motion of a world whose shapes it need not have.

    The picture moves as a whole, by the shift and zoom that are nearest to the world's motion, so that nothing in it
    bends; what the world's things do beside that is smoothed, and moves it by a few pixels at most.
    """

    def __init__(self, height: int, width: int) -> None:
        self._start = start_map(height, width)
        self._whole = np.eye(3)
        self._own = np.zeros((height, width, 2), np.float32)
        self._most = OWN_MOST * width

    def go(self, motion: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map (H, W, 2) one frame later; `motion` (H, W, 2) is in pixels since the last frame."""
        width = motion.shape[1]
        step = nearest_zoom(motion)
        whole = self._start @ step[:2, :2].T.astype(np.float32) + step[:2, 2].astype(np.float32)
        rest = blurred(motion - (self._start - whole), max(1.0, SOFT * width))
        self._own = sampled(self._own, whole) - rest
        self._whole = self._whole @ step
        places = self._start @ self._whole[:2, :2].T.astype(np.float32) + self._whole[:2, 2].astype(np.float32)
        return np.asarray(places + self._most * np.tanh(self._own / self._most), np.float32)


def nearest_zoom(motion: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3, 3): where a pixel (column, row, 1) was, for a motion (H, W, 2), by least squares over shifts and zooms; what
    moves otherwise than most is left out."""
    height, width = motion.shape[:2]
    stride = max(1, width // 32)
    places = start_map(height, width)[::stride, ::stride].reshape(-1, 2).astype(np.float64)
    came = places - motion[::stride, ::stride].reshape(-1, 2)
    kept = np.ones(len(places), bool)
    for _ in range(3):
        middle, before = places[kept].mean(axis=0), came[kept].mean(axis=0)
        spread = places[kept] - middle
        zoom = float((spread * (came[kept] - before)).sum() / max(float((spread * spread).sum()), 1e-9))
        error = np.linalg.norm(before + zoom * (places - middle) - came, axis=1)
        kept = error <= 2.0 * np.median(error) + 1e-6
    shift = before - zoom * middle
    return np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]], [0.0, 0.0, 1.0]])


def moved(places: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map one frame later, in the world that the motion (H, W, 2) is of: a pixel comes from where it was."""
    return sampled(places, start_map(*motion.shape[:2]) - motion)


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


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2,) pixels, across and down, by which what `a` (H, W, 3) shows lies elsewhere in `b`, as a whole.

    Phase correlation (Kuglin and Hines 1975), to whole pixels and at most an eighth of the picture.
    """
    height, width = a.shape[:2]
    fade = np.outer(np.hanning(height), np.hanning(width))
    first, second = (np.fft.rfft2((x.mean(axis=-1) - x.mean()) * fade) for x in (a, b))
    cross = second * np.conj(first)
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=(height, width))
    rows, columns = (np.minimum(np.arange(n), n - np.arange(n)) for n in (height, width))
    peak[(rows > height // 8)[:, None] | (columns > width // 8)[None, :]] = -np.inf
    down, across = np.unravel_index(int(np.argmax(peak)), peak.shape)
    return np.array([across - width * (across > width // 2), down - height * (down > height // 2)], np.float64)


def shifted(
    a: NDArray[np.float32], b: NDArray[np.float32], share: float, way: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures `a` and `b`, in which all lies `way` (2,) pixels elsewhere, each shifted to where its things are when
    `share` of the way has been gone."""
    places, there = start_map(*a.shape[:2]), (share * way).astype(np.float32)
    return sampled(a, places - there), sampled(b, places + way.astype(np.float32) - there)


def detail_weight(now: NDArray[np.float32], then: NDArray[np.float32], spread: float = 0.08) -> NDArray[np.float32]:
    """(H, W, 1) how much of a picture's own detail still belongs: 1 where the network shows what it showed then."""
    apart = blurred(np.square(now - then).mean(axis=-1, keepdims=True), 2.0)
    return np.asarray(np.exp(-apart / (spread * spread)), np.float32)
