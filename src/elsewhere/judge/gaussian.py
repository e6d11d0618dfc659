"""The Fréchet distance between two clouds of features, and what of it is due to how few they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Cloud = NDArray[np.floating]


def frechet(one: Cloud, other: Cloud) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) of two clouds (N, D), each taken for a Gaussian (Dowson & Landau 1982).

    Covariances divide by N: a cloud of one point is a point. Raises ValueError for clouds of unequal dimension.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"clouds must be (N, D) with the same D and N of at least 1, got {a.shape} and {b.shape}")
    gap = a.mean(axis=0) - b.mean(axis=0)
    # Σ = XᵀX = RᵀR. tr (Σ₁Σ₂)^½ is the sum of the singular values of R₁R₂ᵀ: no root of a nearly singular product.
    spread: list[Any] = [np.linalg.qr((cloud - cloud.mean(axis=0)) / np.sqrt(len(cloud)), mode="r") for cloud in (a, b)]
    cross = np.linalg.svd(spread[0] @ spread[1].T, compute_uv=False).sum()
    return max(0.0, float(gap @ gap + (spread[0] ** 2).sum() + (spread[1] ** 2).sum() - 2.0 * cross))


def distance(one: Cloud, other: Cloud) -> float:
    """Mean Fréchet distance over networks, of features (N, K, D)."""
    return float(np.mean([frechet(one[:, k], other[:, k]) for k in range(one.shape[1])]))


def extrapolated(one: Cloud, other: Cloud, *, draws: int = 24, seed: int = 0) -> float:
    """The distance that endless samples would give: a line in 1/N through subsets of scenes, taken at 1/N = 0.

    Chong & Forsyth 2020, "Effectively Unbiased FID and Inception Score". Clouds (S, M, K, D) of S scenes with M samples
    each; a subset takes the same scenes on both sides. Below 0 is possible: distances near 0 are then noise.
    """
    scenes = len(one)
    sizes = sorted({max(2, round(scenes * share)) for share in (0.5, 0.6, 0.75, 0.9)} | {scenes})
    if scenes < 4:
        return distance(_flat(one), _flat(other))
    rng = np.random.Generator(np.random.Philox(key=[seed, scenes]))
    x, y = [], []
    for size in sizes:
        for _ in range(1 if size == scenes else draws):
            chosen = rng.permutation(scenes)[:size]
            x.append(1.0 / size)
            y.append(distance(_flat(one[chosen]), _flat(other[chosen])))
    # Least squares; the whole set, of which there is only one, counts as much as each of the other sizes.
    weight = np.array([np.sqrt(draws) if value == 1.0 / scenes else 1.0 for value in x])
    table = np.stack([np.ones(len(x)), np.array(x)], axis=1)
    return float(np.linalg.lstsq(table * weight[:, None], np.array(y) * weight, rcond=None)[0][0])


def _flat(cloud: Cloud) -> Cloud:
    return cloud.reshape(-1, *cloud.shape[2:])
