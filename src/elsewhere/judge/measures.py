"""How far one picture is from another: measures that need no pretrained network.

Pictures are (H, W, 3) float32, display RGB in [0, 1]; luminance is Rec. 709.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]


def luminance(picture: Picture) -> NDArray[np.float64]:
    """(H, W) Rec. 709 luma of display values."""
    return np.asarray(picture, np.float64) @ np.array([0.2126, 0.7152, 0.0722])


def blur(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Separable Gaussian of an (H, W) image, edges repeated; the kernel is cut at 3σ."""
    radius = max(1, round(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        image = windows @ kernel
    return image


def psnr(made: Picture, wanted: Picture) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; 99 where the pictures are equal."""
    error = float(np.mean((np.asarray(made, np.float64) - wanted) ** 2))
    return 99.0 if error == 0.0 else min(99.0, -10.0 * float(np.log10(error)))


def ssim(made: Picture, wanted: Picture) -> float:
    """Mean structural similarity of luminance (Wang et al. 2004: Gaussian window σ 1.5, K1 0.01, K2 0.03)."""
    x, y = luminance(made), luminance(wanted)
    mx, my = blur(x, 1.5), blur(y, 1.5)
    vx, vy = blur(x * x, 1.5) - mx * mx, blur(y * y, 1.5) - my * my
    cxy = blur(x * y, 1.5) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(value.mean())


def edges(picture: Picture, threshold: float = 0.08) -> NDArray[np.bool_]:
    """(H, W) pixels whose Sobel gradient of luminance (per pixel) exceeds `threshold`."""
    image = np.pad(luminance(picture), 1, mode="edge")
    across = (image[:, 2:] - image[:, :-2]) / 8.0
    down = (image[2:, :] - image[:-2, :]) / 8.0
    gx = across[:-2] + 2.0 * across[1:-1] + across[2:]
    gy = down[:, :-2] + 2.0 * down[:, 1:-1] + down[:, 2:]
    return np.asarray(np.hypot(gx, gy) > threshold, np.bool_)


def widen(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and its eight neighbours."""
    padded = np.pad(mask, 1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).any(axis=(2, 3)), np.bool_)


def edge_f1(made: Picture, wanted: Picture) -> float:
    """Harmonic mean of precision and recall of edge pixels, one pixel aside forgiven; 1 where neither has any."""
    a, b = edges(made), edges(wanted)
    if not a.any() and not b.any():
        return 1.0
    precision = float((a & widen(b)).sum()) / max(1, int(a.sum()))
    recall = float((b & widen(a)).sum()) / max(1, int(b.sum()))
    return 0.0 if precision + recall == 0.0 else 2.0 * precision * recall / (precision + recall)


def texture_energy(picture: Picture) -> float:
    """Mean square of what a Gaussian of σ 1.5 px takes away from luminance."""
    image = luminance(picture)
    return float(np.mean((image - blur(image, 1.5)) ** 2))
