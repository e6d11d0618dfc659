"""What share of training has which part of the guide: all of it, none, a half, shapes alone, or layout alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.planes import plane_weights

SHARES = {"full": 0.45, "dream": 0.35, "between": 0.10, "depth": 0.05, "layout": 0.05}
"""How often each ground is drawn."""


def draw_ground(rng: np.random.Generator, shares: dict[str, float] = SHARES) -> tuple[str, NDArray[np.float32]]:
    """A ground by `shares` and the (24,) factors of its planes; in between, the strength is uniform in [0, 1]."""
    kinds = list(shares)
    weight = np.array(list(shares.values()))
    kind = kinds[int(rng.choice(len(kinds), p=weight / weight.sum()))]
    strength = float(rng.random())  # drawn always, so that shares change nothing but the kind
    if kind == "dream":
        return kind, plane_weights("full", 0.0)
    if kind == "between":
        return kind, plane_weights("full", strength)
    return kind, plane_weights(kind, 1.0)
