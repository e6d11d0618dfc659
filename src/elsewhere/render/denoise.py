"""Takes the grain of few paths per pixel out of a reference picture, guided by what is calculated exactly.

Only light that has been scattered by rough surfaces is filtered: the hard-shadowed sun and the surface's own
pattern are divided out first and put back after, so that edges, shadows and grain of the material stay.
Edge-avoiding à-trous filter (Dammertz et al. 2010, "Edge-Avoiding À-Trous Wavelet Transform").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from elsewhere.render.stage import Guide

_KERNEL = (0.25, 0.5, 0.25)


def shifted(image: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """The image moved by (dy, dx), border rows and columns repeated."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows[:, None], columns[None, :]]


def denoise(
    linear: NDArray[np.float32], guide: Guide, water_instance: int, *, levels: int = 3, keep: float = 0.25
) -> NDArray[np.float32]:
    """(H, W, 3) exposed linear radiance → the same with less grain on rough surfaces; sky, water, mirrors as before.

    A share `keep` of the grainy picture stays: the guide has one sample a pixel, so what is divided by it
    carries its jagged edges, and the two errors are independent.
    """
    rough = (guide.material >= 0) & (guide.instance != water_instance) & (guide.roughness > 0.25)
    albedo = np.maximum(guide.albedo, 0.02)
    light = np.where(rough[..., None], (linear - guide.albedo * guide.direct) / albedo, 0.0).astype(np.float32)
    depth = np.where(np.isfinite(guide.depth), guide.depth, 1e6).astype(np.float32)
    key = guide.instance.astype(np.int32) * 64 + guide.material
    lum = light.mean(axis=-1)
    for level in range(levels):
        step = 2**level
        total = np.zeros_like(light)
        weights = np.zeros(lum.shape, np.float32)
        sigma = 0.35 * 0.6**level
        for a, wa in zip((-step, 0, step), _KERNEL, strict=True):
            for b, wb in zip((-step, 0, step), _KERNEL, strict=True):
                same = (shifted(key, a, b) == key) & shifted(rough, a, b)
                facing = np.maximum((shifted(guide.normal, a, b) * guide.normal).sum(axis=-1), 0.0) ** 16
                near = np.exp(-np.abs(shifted(depth, a, b) - depth) / (0.05 * depth * step))
                alike = np.exp(-np.abs(shifted(lum, a, b) - lum) / (sigma + 0.5 * lum.clip(0)))
                weight = (wa * wb * same * facing * near * alike).astype(np.float32)
                total += weight[..., None] * shifted(light, a, b)
                weights += weight
        light = np.where(weights[..., None] > 0.0, total / np.maximum(weights, 1e-6)[..., None], light)
        lum = light.mean(axis=-1)
    clean = keep * linear + (1.0 - keep) * (light * albedo + guide.albedo * guide.direct)
    return np.where(rough[..., None], np.maximum(clean, 0.0), linear).astype(np.float32)
