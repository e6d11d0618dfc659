"""Things of the kitchen: teapot, spoon, sugar cube. Drawn standing on y = 0."""

from __future__ import annotations

import numpy as np

from elsewhere.scene.kinds import Mesh
from elsewhere.scene.shapes.assemble import MOVERS, can, egg, kind
from elsewhere.scene.shapes.assemble import box as block
from elsewhere.scene.shapes.primitives import box, ellipsoid, lathe, merge, moved, tube


def teapot() -> Mesh:
    """0.25 m from the spout (to −Z) to the handle, with a lid."""
    body = lathe(
        [
            (0.0, 0.0),
            (0.045, 0.0),
            (0.050, 0.008),
            (0.074, 0.030),
            (0.082, 0.062),
            (0.074, 0.094),
            (0.050, 0.116),
            (0.0, 0.118),
        ],
        16,
        "porcelain",
    )
    band = lathe([(0.070, 0.056), (0.0835, 0.057), (0.0835, 0.067), (0.070, 0.068), (0.070, 0.056)], 16, "gold")
    lid = lathe([(0.0, 0.112), (0.054, 0.112), (0.054, 0.118), (0.030, 0.134), (0.0, 0.138)], 14, "porcelain")
    knob = moved(ellipsoid((0.014, 0.014, 0.014), 4, 8, "gold"), 0.0, 0.148, 0.0)
    spout = tube(
        [(0, 0.040, -0.060), (0, 0.052, -0.094), (0, 0.090, -0.112), (0, 0.116, -0.134)],
        [0.024, 0.018, 0.011, 0.009],
        8,
        "porcelain",
    )
    angle = np.linspace(-1.75, 1.85, 8)
    handle = tube([(0.0, 0.066 + 0.040 * np.sin(a), 0.068 + 0.048 * np.cos(a)) for a in angle], 0.009, 6, "porcelain")
    return merge(body, band, lid, knob, spout, handle)


def sugar_cube() -> Mesh:
    """0.016 m cube of sugar."""
    return box(0.016, 0.016, 0.016, "snow")


def cup() -> Mesh:
    """0.08 m porcelain cup with a handle."""
    bowl = lathe(
        [
            (0.0, 0.0),
            (0.024, 0.0),
            (0.026, 0.006),
            (0.038, 0.03),
            (0.042, 0.07),
            (0.0395, 0.071),
            (0.035, 0.03),
            (0.022, 0.010),
            (0.0, 0.008),
        ],
        14,
        "porcelain",
    )
    angle = np.linspace(-1.3, 1.3, 6)
    handle = tube([(0.036 + 0.022 * np.cos(a), 0.038 + 0.02 * np.sin(a), 0.0) for a in angle], 0.0045, 5, "porcelain")
    return merge(bowl, handle)


KITCHEN = (
    kind(
        "teapot",
        teapot,
        synonyms=("tea pot", "kettle", "coffee pot", "pot"),
        length=0.265,
        mass=0.9,
        colors=("white", "blue", "red", "green", "pink", "turquoise"),
        centre=(0.0, 0.046, 0.0),
        colliders=(
            egg((0.080, 0.062, 0.080), (0.0, 0.060, 0.0)),
            can(0.045, 0.06, (0.0, 0.06, 0.0)),
            can(0.025, 0.02, (0.0, 0.138, 0.0)),
            block((0.014, 0.045, 0.038), (0.0, 0.072, -0.104)),
            block((0.009, 0.045, 0.026), (0.0, 0.066, 0.098)),
        ),
        materials=("porcelain", "steel", "gold", "copper", "glass", "marble", "wood"),
    ),
    kind(
        "sugar cube",
        sugar_cube,
        synonyms=("sugar", "lump of sugar", "dice"),
        length=0.016,
        mass=0.003,
        colors=("white", "brown"),
        colliders=(block((0.008, 0.008, 0.008)),),
        materials=("snow", "marble", "glass"),
    ),
    kind(
        "teacup",
        cup,
        synonyms=("tea cup", "small cup"),
        length=0.11,
        mass=0.12,
        colors=("white", "blue", "red", "green", "yellow"),
        verbs=MOVERS,
        centre=(0.0, 0.032, 0.0),
        colliders=(can(0.036, 0.035, (0.0, 0.035, 0.0)), block((0.012, 0.02, 0.005), (0.048, 0.038, 0.0))),
        materials=("porcelain", "steel", "gold", "glass", "copper"),
    ),
)
"""All that stands on a table."""
