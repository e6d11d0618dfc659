"""A frame's id painted as a bar code into the first rows, so that latency can be measured from a canvas's pixels.

Black and white bars, the lowest bit at the left: 24 bits of the id, then its 8-bit check sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS, CHECK_BITS = 24, 8
ROWS = 8


def paint_bars(rgb: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A copy of the (H, W, 3) picture whose first `ROWS` rows are the bars of `number`, modulo 2**24."""
    width = rgb.shape[1]
    number %= 1 << BITS
    word = number | check_sum(number) << BITS
    which = np.arange(width) * (BITS + CHECK_BITS) // width
    painted = rgb.copy()
    painted[:ROWS] = np.where(word >> which & 1, 255, 0).astype(np.uint8)[None, :, None]
    return painted


def read_bars(row: NDArray[np.uint8]) -> int | None:
    """The number in a (W,) row of grey levels, or None where its check sum is wrong."""
    width, count = len(row), BITS + CHECK_BITS
    middles = (np.arange(count) * width + width // 2) // count
    word = sum(1 << bit for bit, level in enumerate(row[middles]) if level > 127)
    number = word & ((1 << BITS) - 1)
    return number if word >> BITS == check_sum(number) else None


def check_sum(number: int) -> int:
    """Eight bits that a stripe of one colour, or a shift, does not get right."""
    return (number * 2654435761 >> 13 ^ 0xA5) & 0xFF
