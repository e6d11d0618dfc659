"""From exposed linear radiance to a picture: a filmic curve, then the sRGB transfer function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_display(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """Exposed linear radiance of any shape to display values 0…1 (float32), monotone in every channel."""
    x = np.maximum(np.asarray(linear, np.float32), 0.0) * np.float32(0.62)
    film = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    film = np.clip(film, 0.0, 1.0)
    return np.where(film <= 0.0031308, 12.92 * film, 1.055 * film ** (1 / 2.4) - 0.055).astype(np.float32)
