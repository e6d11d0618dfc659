"""Resizing one axis as a matrix: which old places make a new one, and with what weight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MODES = ("nearest", "linear", "cubic")
COORDINATES: dict[str, Callable[[NDArray[np.float64], float, int, int], NDArray[np.float64]]] = {
    "asymmetric": lambda i, scale, old, new: i / scale,
    "half_pixel": lambda i, scale, old, new: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, old, new: (i + 0.5) / scale - 0.5 if new > 1 else 0.0 * i,
    "align_corners": lambda i, scale, old, new: i * ((old - 1) / (new - 1)) if new > 1 else 0.0 * i,
}
"""Where in the old axis the new place i lies, in places. The names are those of ONNX."""

ROUNDINGS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def matrix(
    old: int,
    new: int,
    mode: str,
    coordinates: str,
    *,
    scale: float | None = None,
    rounding: str = "floor",
    cubic: float = -0.75,
) -> NDArray[np.float64]:
    """(old, new) weights; `scale` is new/old where the caller does not know better. Places outside are clamped."""
    place = COORDINATES[coordinates](np.arange(new, dtype=np.float64), scale or new / old, old, new)
    weights = np.zeros((old, new))
    columns = np.arange(new)

    def add(index: NDArray[np.float64], weight: NDArray[np.float64] | float) -> None:
        np.add.at(weights, (np.clip(index, 0, old - 1).astype(int), columns), weight)

    if mode == "nearest":
        add(ROUNDINGS[rounding](place), 1.0)
        return weights
    if mode == "linear":
        place = np.clip(place, 0.0, old - 1.0)
    low = np.floor(place)
    share = place - low
    if mode == "linear":
        add(low, 1.0 - share)
        add(low + 1, share)
        return weights
    for step in range(-1, 3):
        t = np.abs(share - step)
        near = ((cubic + 2.0) * t - (cubic + 3.0)) * t * t + 1.0
        far = cubic * (((t - 5.0) * t + 8.0) * t - 4.0)
        add(low + step, np.where(t <= 1.0, near, far))
    return weights
