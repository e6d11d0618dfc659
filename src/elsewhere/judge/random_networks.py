"""Features of pictures and short clips by convolution networks whose weights are random and never change.

Random convolution features rank generators without any training: Naeem et al. 2020, "Reliable Fidelity and Diversity
Metrics for Generative Models", use them where pretrained ones do not fit. One network is one random draw, so several
are asked, and the mean of what they say is reported.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.convolution import convolve

NETWORKS = 8
DIMENSIONS = 16
"""Numbers of a feature: few, so that some dozens of scenes say what their covariance is."""
CHANNELS = (16, 32, 48)
CLIP_FRAMES = 3
MOTION_GAIN = 4.0
"""How much stronger than pictures their differences over time enter, since they are that much smaller."""
SEED = 20261122

Array = NDArray[np.float32]


@lru_cache(maxsize=32)
def network(number: int, inputs: int) -> tuple[tuple[Array, ...], Array]:
    """Kernels (D, C, 3, 3) of three layers, and the projection (2 · Σ D, 16) of what they give."""
    rng = np.random.Generator(np.random.Philox(key=[SEED, 1000 * inputs + number]))
    kernels, before = [], inputs
    for layer, channels in enumerate(CHANNELS):
        kernel = rng.standard_normal((channels, before, 3, 3)) * np.sqrt(2.0 / (9 * before))
        if layer == 0:
            # Half of the first filters do not see plain colour, only change: edges and texture.
            kernel[::2] -= kernel[::2].mean(axis=(2, 3), keepdims=True)
        kernels.append(kernel.astype(np.float32))
        before = channels
    size = 2 * sum(CHANNELS)
    projection = np.linalg.qr(rng.standard_normal((size, size)))[0][:, :DIMENSIONS]
    return tuple(kernels), projection.astype(np.float32)


def features(x_BHWC: Array) -> Array:
    """(B, 8 networks, 16) features of pictures (B, H, W, C) with values of about −1 to 1."""
    out = []
    for number in range(NETWORKS):
        kernels, projection = network(number, x_BHWC.shape[-1])
        x, found = x_BHWC, []
        for kernel in kernels:
            x = convolve(x, kernel, stride=2)
            x = np.maximum(x, np.float32(0.2) * x)
            found += [x.mean(axis=(1, 2)), x.std(axis=(1, 2))]
        out.append(np.concatenate(found, axis=1) @ projection)
    return np.stack(out, axis=1)


def picture_features(pictures_BHWC: Array) -> Array:
    """(B, 8, 16) of display RGB pictures (B, H, W, 3) in [0, 1]."""
    return features(np.float32(2.0) * np.asarray(pictures_BHWC, np.float32) - np.float32(1.0))


def clip_features(clip_THWC: Array) -> Array:
    """(1, 8, 16) of a clip of three pictures (3, H, W, 3): its first, and what changes from each to the next.

    Raises ValueError for another number of pictures.
    """
    if len(clip_THWC) != CLIP_FRAMES:
        raise ValueError(f"a clip must have {CLIP_FRAMES} pictures, got {len(clip_THWC)}; nearest: {CLIP_FRAMES}")
    clip = np.asarray(clip_THWC, np.float32)
    changes = np.float32(MOTION_GAIN) * (clip[1:] - clip[:-1])
    return features(np.concatenate([2.0 * clip[0] - 1.0, *changes], axis=-1)[None].astype(np.float32))
