"""Pictures of any size to pictures that the networks take: sides that are multiples of 16, from 64 to 512 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elsewhere.live.options import SIZE_LEAST, SIZE_MOST, SIZE_STEP

AREA = 192 * 192
"""Pixels of a picture whose size nobody asked for, at most about."""


def size_for(width: int, height: int, area: int = AREA) -> tuple[int, int]:
    """Width and height that come nearest to this shape and are not larger than it must be, nor than `area`.

    A size that fits as it is stays. Raises ValueError for shapes that no size comes near (longer than 8 to 1).
    """
    if width < 1 or height < 1 or max(width, height) > 8 * min(width, height):
        raise ValueError(f"pictures must be at most 8 times as long as wide; got {width}x{height}. Crop it first")
    if all(SIZE_LEAST <= side <= SIZE_MOST and side % SIZE_STEP == 0 for side in (width, height)):
        return width, height
    scale = min(1.0, (area / (width * height)) ** 0.5)
    scale = min(max(scale, SIZE_LEAST / min(width, height)), SIZE_MOST / max(width, height))
    wide, high = (
        min(max(round(side * scale / SIZE_STEP) * SIZE_STEP, SIZE_LEAST), SIZE_MOST) for side in (width, height)
    )
    return wide, high


def fitted(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of any size, its middle cropped to the wanted shape and scaled by Lanczos's filter."""
    rows, columns = rgb.shape[:2]
    if (columns, rows) == (width, height):
        return rgb
    share = min(columns / width, rows / height)
    wide, high = share * width, share * height
    left, top = (columns - wide) / 2.0, (rows - high) / 2.0
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    box = (left, top, left + wide, top + high)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box=box), np.uint8)


def cut_away(size: tuple[int, int], width: int, height: int) -> float:
    """Share of a picture of `size` (width, height) that `fitted` leaves out."""
    share = min(size[0] / width, size[1] / height)
    return max(0.0, 1.0 - share * width * share * height / (size[0] * size[1]))
