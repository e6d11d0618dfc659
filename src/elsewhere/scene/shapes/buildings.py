"""Things that people built and that stay where they are: lighthouse, house, flag. The foot is y = 0."""

from __future__ import annotations

import numpy as np

from elsewhere.scene.kinds import Cloth, Mesh
from elsewhere.scene.shapes.assemble import box as block
from elsewhere.scene.shapes.assemble import can, kind
from elsewhere.scene.shapes.primitives import (
    box,
    cone,
    cylinder,
    ellipsoid,
    lathe,
    merge,
    moved,
    prism,
    roughened,
    turned,
    with_main,
)


def lighthouse() -> Mesh:
    """20 m: red and white bands, gallery, lantern, red roof, on a rock that goes on below y = 0."""
    heights = np.linspace(1.6, 15.0, 7)
    radii = np.linspace(2.6, 1.65, 7)
    bands = ["red paint", "white paint", "red paint", "white paint", "red paint", "white paint"]
    tower = lathe(
        [(0.0, 1.6), *zip(radii.tolist(), heights.tolist(), strict=True), (0.0, 15.0)], 14, ["stone", *bands, "iron"]
    )
    gallery = lathe(
        [(0.0, 14.8), (1.7, 14.8), (2.5, 15.2), (2.5, 15.9), (2.35, 15.9), (2.35, 15.4), (0.0, 15.4)], 14, "iron"
    )
    room = moved(cylinder(1.25, 2.0, 10, "lamp"), 0.0, 16.4, 0.0)
    bars = [
        moved(box(0.15, 2.0, 0.15, "iron"), 1.28 * np.sin(a), 16.4, 1.28 * np.cos(a))
        for a in np.arange(5) * 2 * np.pi / 5
    ]
    roof = moved(cone(1.8, 1.9, 12, "red paint"), 0.0, 17.4, 0.0)
    knob = moved(ellipsoid((0.28, 0.28, 0.28), 4, 6, "gold"), 0.0, 19.4, 0.0)
    door = moved(box(1.1, 2.2, 0.3, "dark wood"), 0.0, 2.7, -2.5)
    windows = [
        moved(turned(box(0.7, 1.0, 0.3, "window"), "y", a), 2.1 * np.sin(a), y, 2.1 * np.cos(a))
        for a, y in ((np.pi, 7.3), (np.pi / 2, 9.5), (0.0, 7.3), (-np.pi / 2, 11.5))
    ]
    rock = roughened(lathe([(0.0, -2.5), (6.2, -2.5), (5.4, 0.4), (3.6, 1.7), (0.0, 1.9)], 10, "stone"), 0.35, key=11)
    return with_main(merge(tower, gallery, room, *bars, roof, knob, door, *windows, rock), "red paint")


def house() -> Mesh:
    """8 m house: pitched tile roof, chimney, door, windows with white frames. The door looks to −Z."""
    gable = [(-3.0, 0.0), (3.0, 0.0), (3.0, 3.4), (0.0, 6.2), (-3.0, 3.4)]
    walls = turned(prism(gable, 7.2, "plaster"), "y", np.pi / 2)
    slope, tilt = 4.6, np.arctan2(2.8, 3.0)
    slab = box(8.0, 0.28, slope, "roof tile")
    south = moved(turned(slab, "x", -tilt), 0.0, 4.72, -1.68)
    north = moved(turned(slab, "x", tilt), 0.0, 4.72, 1.68)
    chimney = moved(box(0.9, 2.4, 0.9, "brick"), 2.1, 6.0, 1.0)
    door = moved(box(1.2, 2.3, 0.2, "dark wood"), 0.0, 1.15, -3.02)
    step = moved(box(1.8, 0.2, 0.9, "stone"), 0.0, 0.1, -3.4)
    parts = [walls, south, north, chimney, door, step]
    for x, z, turn in (
        (-2.2, -3.0, 0.0),
        (2.2, -3.0, 0.0),
        (-2.2, 3.0, 0.0),
        (2.2, 3.0, 0.0),
        (3.6, 0.0, 1.0),
        (-3.6, 0.0, 1.0),
    ):
        frame = merge(box(1.35, 1.35, 0.16, "white paint"), box(1.05, 1.05, 0.24, "window"))
        parts.append(moved(turned(frame, "y", turn * np.pi / 2), x, 1.9, z))
    return merge(*parts)


def flag_pole() -> Mesh:
    """4 m pole with a gold knob on a stone foot; the cloth is calculated."""
    foot = moved(cylinder(0.22, 0.2, 8, "stone", top=0.16), 0.0, 0.1, 0.0)
    pole = moved(cylinder(0.04, 3.8, 6, "white paint", top=0.03), 0.0, 1.95, 0.0)
    knob = moved(ellipsoid((0.07, 0.07, 0.07), 4, 8, "gold"), 0.0, 3.9, 0.0)
    sleeve = moved(cylinder(0.05, 1.25, 6, "red cloth"), 0.0, 3.155, 0.0)
    return merge(sleeve, pole, foot, knob)


BUILDINGS = (
    kind(
        "lighthouse",
        lighthouse,
        synonyms=("light house", "light tower", "beacon tower", "tower"),
        length=22.3,
        mass=900e3,
        colors=("red", "blue", "black", "green", "white"),
        verbs=frozenset({"rest"}),
        colliders=(can(5.6, 2.1, (0.0, -0.5, 0.0)), can(2.2, 6.7, (0.0, 8.3, 0.0)), can(2.2, 2.2, (0.0, 17.2, 0.0))),
        fixed=True,
        materials=("red paint", "white paint", "brick", "stone", "gold"),
    ),
    kind(
        "house",
        house,
        synonyms=("cottage", "hut", "home", "cabin", "building", "farmhouse"),
        length=8.0,
        mass=120e3,
        colors=("beige", "white", "red", "yellow", "blue", "pink"),
        verbs=frozenset({"rest"}),
        colliders=(block((3.6, 1.7, 3.0), (0.0, 1.7, 0.0)), block((3.8, 1.4, 1.9), (0.0, 4.8, 0.0))),
        fixed=True,
        materials=("plaster", "brick", "wood", "stone", "planks"),
    ),
    kind(
        "flag",
        flag_pole,
        synonyms=("banner", "flagpole", "pennant", "flag pole"),
        length=4.0,
        mass=60.0,
        colors=("red", "blue", "green", "yellow", "white", "black", "orange", "purple"),
        verbs=frozenset({"rest", "wave"}),
        colliders=(can(0.06, 1.98, (0.0, 1.98, 0.0)), can(0.2, 0.1, (0.0, 0.1, 0.0))),
        cloths=(
            Cloth(
                corner=(0.04, 3.78, 0.0),
                across=(1.9, 0.0, 0.0),
                down=(0.0, -1.25, 0.0),
                rows=9,
                columns=13,
                pinned="first column",
                material="red cloth",
            ),
        ),
        fixed=True,
        materials=("red cloth", "canvas", "black cloth"),
    ),
)
"""All that is built on the ground."""
