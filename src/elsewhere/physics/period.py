"""A swell that repeats: every wave's frequency goes to the nearest one that a period holds a whole number of times."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics.state import Swell


def whole_turns(omega: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Angular frequencies (W,) in rad/s → the nearest that turn wholly in `seconds`, at least once.

    Raises ValueError where `seconds` is not a positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0.0):
        raise ValueError(f"seconds must be positive and finite; got {seconds}; nearest valid is 1")
    base = 2.0 * math.pi / seconds
    return np.asarray(np.maximum(np.rint(omega / base), 1.0) * base)


def periodic(swell: Swell, seconds: float) -> Swell:
    """`swell` with a period of `seconds`: the same heights and lengths of waves, speeds a little changed."""
    return replace(swell, omega=whole_turns(swell.omega.astype(np.float64), seconds).astype(np.float32))
