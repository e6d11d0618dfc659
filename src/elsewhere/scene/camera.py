"""A pinhole camera at one instant. Where it stands is decided by `shots`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """`c2w` is (4, 4) float64, camera looks along its own −Z, +Y up; `focal` and `center` in pixels.

    The ray of pixel (column i, row j), both counted from the top left, has the camera-space direction
    ((i + 0.5 − cx) / f, −(j + 0.5 − cy) / f, −1).
    """

    c2w: NDArray[np.float64]
    focal: float
    center: tuple[float, float]
    width: int
    height: int

    @property
    def position(self) -> NDArray[np.float64]:
        """(3,) metres, world frame."""
        return self.c2w[:3, 3]
