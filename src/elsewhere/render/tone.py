"""From exposed linear radiance to a picture: a filmic curve, then the sRGB transfer function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# 1.055·r^(5/3) − 0.055 for r in [0.0031308^(1/4), 1] to 6e-7, by rising power (fitted at Chebyshev's points).
_CURVE = (-0.05851341, 0.12453703, 1.45586885, -1.13820809, 1.17733616, -0.86538979, 0.37633484, -0.07196584)


def to_display(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """Exposed linear radiance of any shape to display values 0…1 (float32), monotone in every channel."""
    x: NDArray[np.float32] = np.maximum(np.asarray(linear, np.float32), 0.0)
    x *= 0.62
    below = 2.43 * x
    below += 0.59
    below *= x
    below += 0.14
    film: NDArray[np.float32] = 2.51 * x
    film += 0.03
    film *= x
    film /= below
    np.minimum(film, 1.0, out=film)
    # The sRGB power 1/2.4 of the film is 5/3 of its fourth root. A general power takes ten times as long on
    # processors for which NumPy has no vector code for it, and its last bits differ from one to the next.
    root: NDArray[np.float32] = np.sqrt(np.sqrt(film))
    curve: NDArray[np.float32] = _CURVE[-1] * root
    for coefficient in _CURVE[-2:0:-1]:
        curve += coefficient
        curve *= root
    curve += _CURVE[0]
    np.minimum(curve, 1.0, out=curve)
    film_low = film <= 0.0031308
    film *= 12.92
    np.copyto(curve, film, where=film_low)
    return curve
