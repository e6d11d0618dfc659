"""Places: water or ground, how far it goes, and what stands around it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from elsewhere.scene.kinds import Environment, Mesh
from elsewhere.scene.shapes.nature import cactus, pine
from elsewhere.scene.shapes.primitives import (
    Points,
    box,
    cone,
    cylinder,
    ellipsoid,
    lathe,
    loft,
    merge,
    mesh,
    moved,
    scaled,
    sheet,
    tube,
    turned,
)


@lru_cache(maxsize=1)
def cup_of_coffee() -> Mesh:
    """A porcelain cup 10 m across inside, its rim 0.8 m above the coffee, on a saucer on a table."""
    cup = lathe(
        [
            (0.0, -6.1),
            (2.7, -6.1),
            (2.8, -5.7),
            (3.6, -5.2),
            (4.7, -3.6),
            (5.2, -1.6),
            (5.42, 0.6),
            (5.40, 0.78),
            (5.28, 0.85),
            (5.13, 0.80),
            (5.04, 0.55),
            (5.0, -0.3),
            (4.9, -2.5),
            (0.0, -2.6),
        ],
        48,
        "porcelain",
    )
    ring = lathe([(5.36, 0.05), (5.385, 0.05), (5.42, 0.35), (5.39, 0.35), (5.36, 0.05)], 48, "gold")
    angle = np.linspace(-1.35, 1.45, 11)
    handle = tube([(4.9 + 2.3 * np.cos(a), -2.1 + 1.9 * np.sin(a), 0.0) for a in angle], 0.42, 8, "porcelain")
    saucer = lathe(
        [(0.0, -6.9), (5.0, -6.9), (9.6, -5.75), (9.8, -5.6), (9.6, -5.5), (5.2, -6.4), (3.4, -6.45), (0.0, -6.45)],
        40,
        "porcelain",
    )
    table = mesh([(x, -6.9, z) for x in (-500, 500) for z in (-500, 500)], [(0, 1, 3), (0, 3, 2)], "giant wood")
    bowl = moved(ellipsoid((1.5, 0.35, 2.2), 4, 10, "steel"), -7.0, -5.5, -3.0)
    stem = tube([(-7.0, -5.4, -1.2), (-7.1, -5.1, 2.0), (-7.3, -5.2, 6.6)], [0.25, 0.2, 0.38], 6, "steel")
    sugar = [
        moved(turned(box(1.6, 1.6, 1.6, "snow"), "y", a), x, -5.4, z) for a, x, z in ((0.3, 3.0, 7.3), (1.1, 4.9, 6.4))
    ]
    return merge(cup, ring, turned(handle, "y", -0.5), saucer, table, bowl, stem, *sugar)


def _rounded(half_x: float, half_z: float, radius: float, y: float) -> Points:
    """(20, 3) points of a rectangle with round corners, counter-clockwise seen from above."""
    points = []
    for quarter, (sx, sz) in enumerate(((1, 1), (1, -1), (-1, -1), (-1, 1))):
        for step in range(5):
            angle = np.pi / 2 * (quarter + step / 4)
            x, z = radius * np.sin(angle), radius * np.cos(angle)
            points.append((sx * (half_x - radius) + x, y, sz * (half_z - radius) + z))
    return np.array(points)


@lru_cache(maxsize=1)
def bathtub() -> Mesh:
    """A white enamel tub for 1.7 × 0.8 m of water, with a tap, before a tiled wall."""
    rings = [
        (0.80, 0.35, 0.10, -0.50),
        (0.90, 0.45, 0.12, -0.30),
        (0.93, 0.48, 0.12, 0.05),
        (0.97, 0.52, 0.13, 0.10),
        (0.97, 0.52, 0.13, 0.135),
        (0.93, 0.48, 0.12, 0.15),
        (0.875, 0.425, 0.09, 0.13),
        (0.855, 0.405, 0.07, 0.06),
        (0.85, 0.40, 0.06, -0.10),
        (0.83, 0.38, 0.06, -0.25),
    ]
    tub = loft(np.stack([_rounded(*ring) for ring in rings]), "enamel")
    spout = tube(
        [(0.55, 0.10, -0.50), (0.55, 0.30, -0.50), (0.55, 0.36, -0.44), (0.55, 0.34, -0.34), (0.55, 0.29, -0.32)],
        0.022,
        8,
        "steel",
    )
    knobs = [moved(cylinder(0.035, 0.06, 8, "steel"), x, 0.18, -0.48) for x in (0.43, 0.67)]
    wall = sheet(24, 8, [(-4.8, -0.55, -2.0), (4.8, -0.55, -2.0), (-4.8, 2.65, -2.0)], ["tile", "white tile"])
    floor = sheet(16, 14, [(-4.8, -0.55, 6.4), (4.8, -0.55, 6.4), (-4.8, -0.55, -2.0)], ["white tile", "slate"])
    feet = [
        moved(ellipsoid((0.06, 0.06, 0.06), 4, 8, "gold"), x, -0.50, z) for x in (-0.68, 0.68) for z in (-0.25, 0.25)
    ]
    return merge(tub, spout, *knobs, wall, floor, *feet)


def _ring_land(radii: list[float], heights: Points, sides: int, paint: list[str], wobble: Points | None = None) -> Mesh:
    """Land around the middle: (R, N) heights in metres over rings of the given radii, seen from above."""
    rings = []
    for ring, radius in enumerate(radii):
        angle = 2 * np.pi * np.arange(sides) / sides
        reach = radius * (1.0 if wobble is None else 1.0 + wobble[ring])
        rings.append(np.stack([reach * np.sin(angle), heights[ring], reach * np.cos(angle)], axis=1))
    # Rings go outward, so a loft over them looks down; the order is turned to look up.
    spans = [loft(np.stack(rings[i : i + 2])[::-1], paint[i], caps=(None, None)) for i in range(len(radii) - 1)]
    return merge(*spans)


@lru_cache(maxsize=1)
def lake_shore() -> Mesh:
    """Hills with pines around a lake."""
    random = np.random.Generator(np.random.Philox(key=61))
    sides, radii = 40, [46.0, 52.0, 62.0, 80.0, 110.0, 170.0]
    level = np.array([-1.5, 0.25, 1.2, 5.0, 12.0, 26.0])
    spread = np.array([0.0, 0.1, 0.6, 2.5, 6.0, 14.0])
    heights = level[:, None] + spread[:, None] * random.uniform(-1, 1, (6, sides))
    wobble = np.array([0.08, 0.08, 0.05, 0.03, 0.0, 0.0])[:, None] * random.uniform(-1, 1, (1, sides))
    land = _ring_land(radii, heights, sides, ["sand", "grass", "grass", "pine needles", "stone"], wobble)
    trees = []
    for _ in range(44):
        place, reach, size = random.uniform(0, 2 * np.pi), random.uniform(58, 78), random.uniform(0.7, 1.2)
        ground = np.interp(reach, radii, level) - 0.8
        tree = merge(moved(cone(2.4, 6.0, 5, "pine needles"), 0, 1.2, 0), cylinder(0.4, 4.0, 3, "bark"))
        trees.append(moved(scaled(tree, size, size, size), reach * np.sin(place), ground, reach * np.cos(place)))
    return merge(land, *trees)


def _dune_height(x: Points, z: Points) -> Points:
    """Height in metres of dunes with sharp crests; the plain in the middle is flat."""
    distance = np.hypot(x, z)
    rise = np.clip((distance - 20.0) / 60.0, 0.0, 1.0)
    bend = 0.9 * np.sin(0.043 * x + 1.0) + 0.7 * np.sin(0.061 * z - 0.4)
    long_crest = 1.0 - np.abs(np.sin(0.045 * x + 0.030 * z + bend))
    short_crest = 1.0 - np.abs(np.sin(0.11 * z - 0.07 * x + 1.3 * bend))
    return -0.3 + rise * (1.0 + 9.0 * long_crest + 3.5 * short_crest) + 0.9 * np.sqrt(rise)


@lru_cache(maxsize=1)
def desert_dunes() -> Mesh:
    """A ring of dunes that rises out of the plain, with cacti."""
    random = np.random.Generator(np.random.Philox(key=71))
    sides, radii = 64, np.geomspace(20.0, 190.0, 14)
    angle = 2 * np.pi * np.arange(sides) / sides
    heights = _dune_height(radii[:, None] * np.sin(angle), radii[:, None] * np.cos(angle))
    heights[-1] = -1.0
    parts = [_ring_land(radii.tolist(), heights, sides, ["sand"] * 13)]
    for i in range(7):
        place, reach = 2 * np.pi * (i + random.uniform(0, 0.7)) / 7, random.uniform(19, 34)
        size, x, z = random.uniform(0.9, 1.6), reach * np.sin(place), reach * np.cos(place)
        plant = turned(scaled(cactus(), size, size, size), "y", random.uniform(0, 2 * np.pi))
        parts.append(moved(plant, x, max(float(_dune_height(x, z)), 0.0) - 0.1, z))
    return merge(*parts)


@lru_cache(maxsize=1)
def snow_drifts() -> Mesh:
    """Snow drifts, pines and far mountains."""
    random = np.random.Generator(np.random.Philox(key=81))
    sides, radii = 40, [22.0, 30.0, 42.0, 70.0, 120.0, 155.0, 195.0]
    crest = np.array([-0.3, 0.4, 0.8, 1.5, 9.0, 22.0, 42.0])
    heights = crest[:, None] * (0.5 + 0.9 * random.uniform(0, 1, (7, sides)))
    heights[0] = -0.3
    land = _ring_land(
        radii,
        heights,
        sides,
        ["snow", "snow", "snow", "snow", "stone", "snow"],
        0.08 * random.uniform(-1, 1, (7, sides)),
    )
    trees = [land]
    for i in range(9):
        place, reach = 2 * np.pi * i / 9 + random.uniform(-0.3, 0.3), random.uniform(24, 46)
        size = random.uniform(0.7, 1.2)
        trees.append(moved(scaled(pine(), size, size, size), reach * np.sin(place), -0.2, reach * np.cos(place)))
    return merge(*trees)


@lru_cache(maxsize=1)
def tabletop() -> Mesh:
    """A wooden table of 1.6 × 1.0 m whose top is y = 0, in a room with a floor and two far walls."""
    top = moved(box(1.6, 0.04, 1.0, "table wood"), 0.0, -0.02, 0.0)
    legs = [moved(box(0.07, 0.70, 0.07, "table wood"), x, -0.39, z) for x in (-0.72, 0.72) for z in (-0.42, 0.42)]
    floor = sheet(12, 12, [(-3.0, -0.74, 3.0), (3.0, -0.74, 3.0), (-3.0, -0.74, -3.0)], ["planks", "wood"])
    wall = moved(box(6.0, 3.2, 0.1, "plaster"), 0.0, 0.86, -2.4)
    side = moved(box(0.1, 3.2, 6.0, "plaster"), -3.0, 0.86, 0.0)
    picture = merge(
        moved(box(1.0, 0.7, 0.04, "dark wood"), 0.5, 0.75, -2.33),
        moved(box(0.88, 0.58, 0.05, "blue paint"), 0.5, 0.75, -2.32),
    )
    return merge(top, *legs, floor, wall, side, picture)


ENVIRONMENTS: dict[str, Environment] = {
    place.name: place
    for place in (
        Environment(
            name="cup of coffee",
            synonyms=("coffee", "coffee cup", "cup", "mug of coffee", "mug", "espresso", "cappuccino", "cup of tea"),
            has_water=True,
            outline="disc",
            half_size=(5.0, 5.0),
            depth=2.5,
            reach=3.4,
            largest=3.2,
            ground="porcelain",
            water_color=(0.16, 0.075, 0.03),
            water_clarity=0.0,
            swell=0.012,
            build=cup_of_coffee,
        ),
        Environment(
            name="open sea",
            synonyms=("sea", "ocean", "open ocean", "high sea", "high seas", "the deep", "waves"),
            has_water=True,
            outline="open",
            half_size=(32.0, 32.0),
            depth=30.0,
            reach=20.0,
            largest=24.0,
            ground="sand",
            water_color=(0.006, 0.060, 0.085),
            water_clarity=4.0,
            swell=0.25,
        ),
        Environment(
            name="bathtub",
            synonyms=("bath", "bath tub", "tub", "bathroom", "bathwater", "bath water"),
            has_water=True,
            outline="box",
            half_size=(0.85, 0.4),
            depth=0.25,
            reach=0.45,
            largest=0.22,
            ground="enamel",
            water_color=(0.05, 0.22, 0.25),
            water_clarity=1.2,
            swell=0.002,
            indoor=True,
            build=bathtub,
        ),
        Environment(
            name="lake",
            synonyms=("pond", "lagoon", "mountain lake", "river", "loch", "fjord", "harbour", "harbor", "bay"),
            has_water=True,
            outline="open",
            half_size=(24.0, 24.0),
            depth=6.0,
            reach=14.0,
            largest=12.0,
            ground="stone",
            water_color=(0.014, 0.065, 0.060),
            water_clarity=2.0,
            swell=0.04,
            build=lake_shore,
        ),
        Environment(
            name="snowy field",
            synonyms=(
                "snow",
                "snow field",
                "snowfield",
                "winter",
                "field of snow",
                "snowy landscape",
                "tundra",
                "field",
            ),
            has_water=False,
            outline="open",
            half_size=(20.0, 20.0),
            depth=0.0,
            reach=9.0,
            largest=16.0,
            ground="snow",
            build=snow_drifts,
        ),
        Environment(
            name="desert",
            synonyms=("sand", "dunes", "sand dunes", "sahara", "beach", "wasteland"),
            has_water=False,
            outline="open",
            half_size=(20.0, 20.0),
            depth=0.0,
            reach=9.0,
            largest=16.0,
            ground="sand",
            build=desert_dunes,
        ),
        Environment(
            name="tabletop",
            synonyms=("table", "desk", "table top", "kitchen table", "wooden table", "desktop", "kitchen", "room"),
            has_water=False,
            outline="box",
            half_size=(0.8, 0.5),
            depth=0.0,
            reach=0.42,
            largest=0.3,
            ground="table wood",
            indoor=True,
            build=tabletop,
        ),
    )
}
"""Places by name."""
