"""Small convolution networks in NumPy: enough to look at a picture without a framework.

Legend: B pictures, H × W pixels, C channels in, D channels out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def convolve(x_BHWC: Array, kernel_DCkk: Array, bias_D: Array | None = None, *, stride: int = 1) -> Array:
    """Cross-correlation with an odd square kernel, border of zeros of half its width: (B, ⌈H/s⌉, ⌈W/s⌉, D)."""
    side = kernel_DCkk.shape[-1]
    edge = side // 2
    padded = np.pad(x_BHWC, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    batch, rows, columns = windows.shape[:3]
    flat = windows.reshape(batch * rows * columns, -1)  # channel, row, column: the kernel's own order
    out = flat @ kernel_DCkk.reshape(len(kernel_DCkk), -1).T
    if bias_D is not None:
        out += bias_D
    return np.asarray(out.reshape(batch, rows, columns, -1), np.float32)


def shrink(x_BHWC: Array, factor: int) -> Array:
    """Means of factor × factor pixels; rows and columns that do not fill a block at the end are left out."""
    batch, height, width, channels = x_BHWC.shape
    rows, columns = height // factor, width // factor
    blocks = x_BHWC[:, : rows * factor, : columns * factor].reshape(batch, rows, factor, columns, factor, channels)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)
