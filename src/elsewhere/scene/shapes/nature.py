"""Things that grow, live or freeze: island, tree, whale, iceberg, snowman, rock, mushroom, penguin."""

from __future__ import annotations

import numpy as np

from elsewhere.scene.kinds import Mesh
from elsewhere.scene.shapes.assemble import MOVERS, ball, can, egg, kind
from elsewhere.scene.shapes.assemble import box as block
from elsewhere.scene.shapes.primitives import (
    box,
    cone,
    cylinder,
    ellipsoid,
    lathe,
    loft,
    merge,
    mirrored,
    moved,
    roughened,
    tube,
    turned,
    with_main,
)


def palm(height: float, lean: float) -> Mesh:
    """A palm tree: a bent trunk and eight drooping fronds, foot at the origin."""
    steps = np.linspace(0.0, 1.0, 5)
    path = [(lean * s * s, height * s, 0.0) for s in steps]
    trunk = tube(path, (0.34 - 0.16 * steps).tolist(), 6, "bark")
    frond_path = [(0.0, 0.0), (1.3, 0.5), (2.5, 0.15), (3.3, -0.9)]
    widths = [0.12, 0.5, 0.42, 0.03]
    fronds = []
    for i in range(8):
        rings = [
            [(-w, y - 0.25 * w, x), (0.0, y - 0.07, x), (w, y - 0.25 * w, x), (0.0, y + 0.12, x)]
            for (x, y), w in zip(frond_path, widths, strict=True)
        ]
        frond = turned(loft(rings, "leaves"), "y", 2 * np.pi * i / 8 + 0.2 * (i % 2))
        fronds.append(moved(frond, lean, height - 0.1, 0.0))
    nuts = [
        moved(ellipsoid((0.2, 0.22, 0.2), 3, 5, "dark wood"), lean + x, height - 0.3, z)
        for x, z in ((0.25, 0.1), (-0.2, 0.2))
    ]
    return merge(trunk, *fronds, *nuts)


def island() -> Mesh:
    """16 m sandy mound with a green crown, a palm tree and rocks; it goes on below the water line y = 0."""
    mound = roughened(
        lathe(
            [(0.0, -2.4), (7.6, -2.4), (7.3, -0.8), (6.2, 0.0), (4.7, 0.7), (2.8, 1.25), (0.0, 1.5)],
            14,
            ["sand", "sand", "sand", "sand", "grass", "grass"],
        ),
        0.22,
        key=21,
    )
    rocks = [
        moved(roughened(ellipsoid((r, 0.8 * r, r), 4, 6, "stone"), 0.12, key=k), x, 0.6, z)
        for r, x, z, k in ((0.9, 3.6, 2.4, 1), (0.6, -3.8, -2.6, 2))
    ]
    return merge(mound, moved(palm(6.2, 1.5), -0.6, 1.2, 0.3), *rocks)


def tree() -> Mesh:
    """7 m broad-leaved tree: trunk and five clumps of leaves."""
    trunk = tube(
        [(0, -0.2, 0), (0.05, 1.2, 0), (-0.05, 2.6, 0.05), (0.0, 4.2, 0.0)], [0.42, 0.28, 0.24, 0.14], 7, "bark"
    )
    branch = tube([(0, 2.2, 0), (0.7, 3.0, 0.3), (1.2, 3.7, 0.5)], [0.15, 0.12, 0.07], 5, "bark")
    clumps = []
    for i, (x, y, z, r) in enumerate(
        (
            (0, 4.6, 0, 1.75),
            (1.25, 4.0, 0.5, 1.25),
            (-1.2, 4.2, 0.4, 1.3),
            (0.1, 4.1, -1.2, 1.3),
            (0.1, 5.75, 0.1, 1.15),
        )
    ):
        clumps.append(moved(roughened(ellipsoid((r, 0.86 * r, r), 5, 8, "leaves"), 0.16, key=30 + i), x, y, z))
    return merge(*clumps, trunk, branch)


def pine() -> Mesh:
    """9 m conifer: four cones of needles on a trunk."""
    trunk = moved(cylinder(0.32, 2.0, 6, "bark", top=0.25), 0.0, 0.8, 0.0)
    tiers = [(2.4, 3.0, 1.2), (2.0, 2.8, 3.0), (1.55, 2.5, 4.8), (1.05, 2.5, 6.5)]
    cones = [
        moved(turned(cone(r, h, 9, "pine needles"), "y", 0.3 * i), 0.0, y, 0.0) for i, (r, h, y) in enumerate(tiers)
    ]
    return merge(*cones, trunk)


def whale() -> Mesh:
    """14 m: blunt head, pale belly, flippers, tail flukes at +Z."""
    rows = [  # z, half width, bottom, top
        (-6.6, 0.5, -0.7, 0.5),
        (-6.2, 1.25, -1.35, 1.15),
        (-4.2, 1.75, -1.75, 1.65),
        (-1.2, 1.85, -1.8, 1.75),
        (2.0, 1.35, -1.3, 1.4),
        (4.6, 0.65, -0.4, 1.0),
        (6.3, 0.22, 0.35, 0.9),
    ]
    angle = 2 * np.pi * np.arange(12) / 12 + np.pi / 12
    rings = [
        np.stack([w * np.cos(angle), (low + high) / 2 + (high - low) / 2 * np.sin(angle), np.full(12, z)], axis=1)
        for z, w, low, high in rows
    ]
    body = loft(np.stack(rings), ["whale skin"] * 6 + ["belly skin"] * 5 + ["whale skin"])
    fluke = loft(_fin([(0.0, 5.4, 6.9, 0.24), (1.4, 5.9, 7.3, 0.16), (2.8, 7.0, 7.7, 0.03)]), "whale skin")
    fluke = moved(turned(fluke, "z", 0.22), 0.0, 0.62, -0.2)
    flipper = moved(
        turned(
            loft(_fin([(0.0, -3.4, -2.0, 0.2), (1.3, -2.7, -1.5, 0.14), (2.6, -1.5, -0.8, 0.04)]), "whale skin"),
            "z",
            -0.55,
        ),
        1.4,
        -0.8,
        0.0,
    )
    fin = moved(
        turned(loft(_fin([(0.0, 1.6, 3.0, 0.2), (0.9, 2.6, 3.2, 0.05)]), "whale skin"), "z", np.pi / 2), 0.0, 1.35, 0.0
    )
    eye = moved(ellipsoid((0.13, 0.17, 0.17), 3, 6, "black gloss"), 1.6, -0.05, -4.7)
    return merge(body, fluke, mirrored(fluke), flipper, mirrored(flipper), fin, eye, mirrored(eye))


def _fin(rows: list[tuple[float, float, float, float]]) -> list[list[tuple[float, float, float]]]:
    """Sections of a fin that grows along +X: (x, front z, back z, half thickness)."""
    return [[(x, 0.0, a), (x, -t, (a + b) / 2), (x, 0.0, b), (x, t, (a + b) / 2)][::-1] for x, a, b, t in rows]


def cactus() -> Mesh:
    """2.6 m saguaro with two arms, foot at y = 0."""
    trunk = tube(
        [(0, -0.1, 0), (0, 1.2, 0), (0, 2.2, 0), (0, 2.5, 0), (0, 2.62, 0)],
        [0.26, 0.28, 0.25, 0.17, 0.04],
        8,
        "cactus skin",
    )
    arm = tube(
        [(0.15, 1.0, 0), (0.6, 1.02, 0), (0.78, 1.25, 0), (0.78, 1.75, 0), (0.78, 1.95, 0), (0.78, 2.02, 0)],
        [0.15, 0.15, 0.16, 0.15, 0.10, 0.03],
        7,
        "cactus skin",
    )
    flower = moved(ellipsoid((0.09, 0.06, 0.09), 3, 6, "red paint"), 0.0, 2.64, 0.0)
    return merge(trunk, arm, moved(turned(arm, "y", np.pi), 0.0, 0.35, 0.0), flower)


def iceberg() -> Mesh:
    """12 m irregular block of ice, two peaks above the water line y = 0, most of it below."""
    random = np.random.Generator(np.random.Philox(key=41))
    sides, rings = 11, []
    spread = 1 + 0.22 * random.uniform(-1, 1, sides)
    for y, r in ((-6.0, 1.2), (-4.6, 3.4), (-2.4, 4.8), (-0.4, 5.2), (0.6, 4.7), (1.8, 3.6), (2.4, 1.2)):
        angle = 2 * np.pi * (np.arange(sides) + 0.2 * random.uniform(-1, 1, sides)) / sides
        radius = r * spread * (1 + 0.12 * random.uniform(-1, 1, sides))
        lift = y + 0.35 * random.uniform(-1, 1, sides)
        rings.append(np.stack([radius * np.sin(angle), lift, 0.85 * radius * np.cos(angle)], axis=1))
    base = loft(np.stack(rings), "ice", caps=("ice", "snow"))
    peak = roughened(
        lathe([(0.0, 0.0), (2.3, 0.4), (1.7, 2.4), (0.8, 4.3), (0.0, 5.6)], 7, ["ice", "ice", "ice", "snow"]),
        0.35,
        key=42,
    )
    small = roughened(lathe([(0.0, 0.0), (1.5, 0.3), (0.9, 1.8), (0.0, 2.8)], 6, ["ice", "ice", "snow"]), 0.25, key=43)
    return merge(base, moved(peak, -1.3, 0.8, 0.4), moved(small, 2.0, 1.0, -0.9))


def snowman() -> Mesh:
    """1.8 m: three balls of snow, carrot, coal, hat, scarf, arms of twigs. It looks to −Z."""
    balls = [
        moved(ellipsoid((r, 0.92 * r, r), 6, 10, "snow"), 0.0, y, 0.0)
        for r, y in ((0.46, 0.38), (0.34, 0.94), (0.24, 1.36))
    ]
    carrot = moved(turned(cone(0.045, 0.26, 6, "orange rubber"), "x", -np.pi / 2), 0.0, 1.36, -0.22)
    coal = [
        moved(box(0.05, 0.05, 0.04, "black gloss"), x, y, z)
        for x, y, z in (
            (-0.085, 1.44, -0.215),
            (0.085, 1.44, -0.215),
            (0, 1.10, -0.30),
            (0, 0.95, -0.34),
            (0, 0.80, -0.31),
        )
    ]
    hat = [
        moved(cylinder(0.26, 0.03, 10, "black cloth"), 0, 1.55, 0),
        moved(cylinder(0.17, 0.26, 10, "black cloth"), 0, 1.68, 0),
    ]
    scarf = moved(cylinder(0.235, 0.09, 10, "red cloth"), 0.0, 1.19, 0.0)
    end = moved(box(0.10, 0.32, 0.05, "red cloth"), 0.12, 1.04, -0.31)
    arm = tube([(0.28, 1.0, 0), (0.55, 1.14, -0.03), (0.78, 1.34, -0.05)], [0.028, 0.022, 0.014], 4, "bark")
    return merge(*balls, carrot, *coal, *hat, scarf, end, arm, mirrored(arm))


def rock() -> Mesh:
    """1.2 m boulder."""
    return roughened(ellipsoid((0.55, 0.40, 0.48), 6, 9, "stone"), 0.06, key=51)


def mushroom() -> Mesh:
    """0.2 m toadstool: red cap with white dots, foot at y = 0."""
    stem = lathe([(0.0, 0.0), (0.034, 0.0), (0.026, 0.04), (0.024, 0.12), (0.0, 0.12)], 8, "belly skin")
    cap = lathe(
        [(0.0, 0.108), (0.088, 0.100), (0.094, 0.112), (0.078, 0.156), (0.042, 0.186), (0.0, 0.194)],
        12,
        ["belly skin", "red paint", "red paint", "red paint", "red paint"],
    )
    dots = []
    for i in range(7):
        a, r, y = 2 * np.pi * i / 6 + 0.3, (0.066 if i < 6 else 0.0), (0.168 if i < 6 else 0.193)
        dots.append(moved(ellipsoid((0.015, 0.008, 0.015), 3, 6, "white paint"), r * np.sin(a), y, r * np.cos(a)))
    return with_main(merge(cap, stem, *dots), "red paint")


def penguin() -> Mesh:
    """0.9 m: black back, white belly, orange beak and feet. It looks to −Z, feet on y = 0."""
    body = lathe(
        [
            (0.0, 0.03),
            (0.15, 0.06),
            (0.22, 0.26),
            (0.20, 0.46),
            (0.135, 0.62),
            (0.125, 0.72),
            (0.10, 0.83),
            (0.0, 0.89),
        ],
        12,
        "black gloss",
    )
    belly = moved(ellipsoid((0.175, 0.28, 0.16), 6, 10, "white paint"), 0.0, 0.345, -0.092)
    cheek = moved(ellipsoid((0.066, 0.058, 0.055), 4, 6, "white paint"), 0.055, 0.735, -0.082)
    beak = moved(turned(cone(0.035, 0.14, 6, "orange rubber"), "x", -np.pi / 2), 0.0, 0.73, -0.11)
    foot = moved(ellipsoid((0.075, 0.035, 0.11), 4, 6, "orange rubber"), 0.085, 0.035, -0.06)
    wing = moved(turned(ellipsoid((0.03, 0.20, 0.075), 4, 6, "black gloss"), "z", 0.35), 0.255, 0.40, 0.0)
    eye = moved(ellipsoid((0.014, 0.016, 0.014), 3, 5, "black gloss"), 0.065, 0.75, -0.125)
    return merge(body, belly, *(q for p in (cheek, foot, wing, eye) for q in (p, mirrored(p))), beak)


NATURE = (
    kind(
        "island",
        island,
        synonyms=("desert island", "tropical island", "isle", "atoll", "sandbank", "palm island"),
        length=16.0,
        mass=800e3,
        colors=("beige", "yellow", "white"),
        verbs=frozenset({"rest"}),
        colliders=(
            can(7.3, 1.2, (0.0, -1.2, 0.0)),
            egg((6.2, 1.4, 6.2), (0.0, 0.0, 0.0)),
            can(0.3, 3.1, (-0.1, 4.3, 0.3)),
        ),
        fixed=True,
        materials=("sand", "snow", "stone", "grass"),
    ),
    kind(
        "tree",
        tree,
        synonyms=("oak", "broadleaf", "apple tree", "trees"),
        length=7.1,
        mass=4000.0,
        colors=("green", "orange", "red", "yellow", "pink"),
        verbs=frozenset({"rest"}),
        colliders=(can(0.28, 1.6, (0.0, 1.6, 0.0)), egg((2.4, 2.2, 2.3), (0.0, 4.8, 0.0))),
        fixed=True,
        materials=("leaves", "snow", "gold"),
    ),
    kind(
        "pine",
        pine,
        synonyms=("pine tree", "fir", "fir tree", "christmas tree", "spruce", "conifer"),
        length=9.25,
        mass=3000.0,
        colors=("green", "white", "blue"),
        verbs=frozenset({"rest"}),
        colliders=(can(0.3, 0.9, (0.0, 0.9, 0.0)), egg((2.0, 3.9, 2.0), (0.0, 5.0, 0.0))),
        fixed=True,
        materials=("pine needles", "snow", "leaves"),
    ),
    kind(
        "cactus",
        cactus,
        synonyms=("saguaro", "cacti", "cactuses"),
        length=2.8,
        mass=400.0,
        colors=("green", "pink", "turquoise"),
        verbs=frozenset({"rest"}),
        colliders=(can(0.26, 1.3, (0.0, 1.3, 0.0)), block((0.93, 0.68, 0.16), (0.0, 1.6, 0.0))),
        fixed=True,
        materials=("cactus skin", "gold", "porcelain"),
    ),
    kind(
        "whale",
        whale,
        synonyms=("sperm whale", "orca", "humpback", "sea monster"),
        length=14.2,
        mass=72e3,
        colors=("blue", "grey", "white", "black", "pink"),
        verbs=MOVERS | {"sail"},
        centre=(0.0, -0.35, -0.8),
        colliders=(
            egg((1.85, 1.78, 5.4), (0.0, 0.0, -1.4)),
            egg((0.7, 0.7, 3.0), (0.0, 0.3, 4.2)),
            block((2.4, 0.1, 0.6), (0.0, 0.55, 6.6)),
        ),
        materials=("whale skin", "rubber", "gold", "porcelain", "glass", "ice", "steel"),
    ),
    kind(
        "iceberg",
        iceberg,
        synonyms=("ice berg", "ice floe", "glacier", "block of ice"),
        length=13.0,
        mass=300e3,
        colors=("sky blue", "white", "turquoise"),
        centre=(0.0, -2.2, 0.0),
        colliders=(
            egg((5.0, 4.0, 4.3), (0.0, -1.8, 0.0)),
            egg((1.9, 3.2, 1.9), (-1.3, 2.8, 0.4)),
            egg((1.2, 1.8, 1.2), (2.0, 1.9, -0.9)),
        ),
        materials=("ice", "snow", "glass", "marble", "stone"),
    ),
    kind(
        "snowman",
        snowman,
        synonyms=("snow man", "frosty"),
        length=1.86,
        mass=250.0,
        colors=("white", "sky blue", "pink"),
        verbs=frozenset({"rest"}),
        colliders=(
            ball(0.44, (0.0, 0.40, 0.0)),
            ball(0.33, (0.0, 0.94, 0.0)),
            ball(0.24, (0.0, 1.36, 0.0)),
            can(0.19, 0.14, (0.0, 1.67, 0.0)),
        ),
        fixed=True,
        materials=("snow", "ice", "sand", "porcelain"),
    ),
    kind(
        "rock",
        rock,
        synonyms=("boulder", "cliff"),
        length=1.25,
        mass=1100.0,
        colors=("grey", "brown", "black", "white"),
        colliders=(egg((0.54, 0.40, 0.47)),),
        materials=("stone", "marble", "ice", "gold", "brick", "snow"),
    ),
    kind(
        "mushroom",
        mushroom,
        synonyms=("toadstool", "fly agaric", "fungus"),
        length=0.205,
        mass=0.65,
        colors=("red", "brown", "orange", "white", "purple"),
        centre=(0.0, 0.10, 0.0),
        colliders=(can(0.03, 0.055, (0.0, 0.055, 0.0)), egg((0.092, 0.05, 0.092), (0.0, 0.145, 0.0))),
        materials=("red paint", "wood", "gold", "glass", "porcelain"),
    ),
    kind(
        "penguin",
        penguin,
        synonyms=("penguins", "emperor penguin"),
        length=0.92,
        mass=55.0,
        colors=("black", "blue", "grey"),
        centre=(0.0, 0.34, 0.0),
        colliders=(
            egg((0.22, 0.33, 0.24), (0.0, 0.33, -0.02)),
            ball(0.135, (0.0, 0.74, 0.0)),
            block((0.15, 0.03, 0.13), (0.0, 0.03, -0.04)),
        ),
        materials=("black gloss", "gold", "porcelain", "ice", "plastic"),
    ),
)
"""All that grew."""
