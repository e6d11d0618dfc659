"""A contact sheet: a film at one glance, in rows of evenly spaced frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GAP = 4
PAPER = 18


def spread(frame_count: int, picture_count: int) -> list[int]:
    """Indices of `picture_count` frames, first and last included, evenly spread and never twice."""
    wanted = min(frame_count, max(1, picture_count))
    return sorted({round(i) for i in np.linspace(0, frame_count - 1, wanted)})


def contact_sheet(frames: Sequence[NDArray[np.uint8]], columns: int = 0) -> NDArray[np.uint8]:
    """All `frames`, each (H, W, 3), laid out left to right, top to bottom, on dark paper.

    `columns` 0 takes about as many as rows. ValueError without frames.
    """
    if len(frames) == 0:
        raise ValueError("frames must have at least one picture; got none")
    columns = columns or math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    height, width = frames[0].shape[:2]
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, dtype=np.uint8)
    for index, frame in enumerate(frames):
        top = GAP + (index // columns) * (height + GAP)
        left = GAP + (index % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = frame
    return sheet
