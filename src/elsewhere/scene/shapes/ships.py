"""Things that sail: pirate ship, sailboat, paper boat. Drawn with the water line at y = 0 and the bow to −Z."""

from __future__ import annotations

from math import cos, sin

import numpy as np

from elsewhere.scene.description import Quaternion
from elsewhere.scene.kinds import Cloth, Mesh
from elsewhere.scene.shapes.assemble import MOVERS, can, egg, kind
from elsewhere.scene.shapes.assemble import box as block
from elsewhere.scene.shapes.primitives import (
    Points,
    box,
    cone,
    cylinder,
    drop_slivers,
    loft,
    merge,
    mesh,
    mirrored,
    moved,
    prism,
    tube,
    turned,
)

BRACE = 0.45
"""Angle of the yards about the mast, radians, so that the sails are seen from abeam too."""
SAILS = MOVERS | {"sail", "battle"}
PIRATE_CENTRE = (0.0, -0.4, 0.65)
SAILBOAT_CENTRE = (0.0, -0.15, 0.37)
PAPER_CENTRE = (0.0, 0.0, 0.0)


def _about_x(angle: float) -> Quaternion:
    return (sin(angle / 2), 0.0, 0.0, cos(angle / 2))


def _station(z: float, half_beam: float, keel: float, deck: float, rail: float, wall: float) -> Points:
    """One cross section of a hull: port rail, round the keel, starboard rail, and back along the deck."""
    bilge, inner = keel + 0.3 * (deck - keel), max(half_beam - wall, 0.3 * half_beam)
    side = [(half_beam, rail), (half_beam * 1.04, deck - 0.2 * (deck - keel)), (0.74 * half_beam, bilge)]
    outer = [(-x, y) for x, y in side] + [(0.0, keel)] + side[::-1]
    inside = [(inner, rail), (inner, deck), (-inner, deck), (-inner, rail)]
    return np.array([(x, y, z) for x, y in outer + inside])


def _hull(stations: list[tuple[float, float, float, float, float]], wall: float, main: str, bottom: str) -> Mesh:
    rings = np.stack([_station(*s, wall) for s in stations])
    rings[0, 7:, 2] += wall
    rings[-1, 7:, 2] -= wall
    sides = [main, main, bottom, bottom, main, main]
    skin = loft(rings, [*sides, main, main, "planks", main, main], caps=(None, None))
    # Stem and stern close the hull up to the rail; their inner faces stand on the deck.
    outer = [(3, (i + 1) % 7, i) for i in (4, 5, 6, 0, 1)]
    inner = [(0, 10, 9), (0, 9, 8), (0, 8, 6), (6, 8, 7)]
    faces = outer + inner
    bow = mesh(rings[0], faces, main)
    stern = mesh(rings[-1], [(a, c, b) for a, b, c in faces], main)
    return drop_slivers(merge(skin, bow, stern))


def _spar(y: float, z: float, length: float, radius: float) -> Mesh:
    bar = turned(cylinder(radius, length, 4, "dark wood"), "z", np.pi / 2)
    return moved(turned(bar, "y", -BRACE), 0.0, y, z)


def _mast(z: float, foot: float, top: float, radius: float, paint: str = "dark wood") -> Mesh:
    return moved(cylinder(radius, top - foot, 5, paint, top=0.55 * radius), 0.0, (foot + top) / 2, z)


def _sail(z: float, bottom: float, top: float, width: float) -> Cloth:
    across = (width * cos(BRACE), 0.0, width * sin(BRACE))
    return Cloth(
        corner=(-across[0] / 2 - 0.3 * sin(BRACE), top, z - across[2] / 2 - 0.3),
        across=across,
        down=(0.0, bottom - top, 0.0),
        rows=6,
        columns=6,
        pinned="first and last row",
        material="canvas",
    )


def pirate_ship() -> Mesh:
    """24 m: tall stern castle with lit windows, three masts, bowsprit."""
    hull = _hull(
        [
            (-9.6, 0.12, 0.2, 2.9, 3.6),
            (-8.0, 1.5, -1.5, 2.3, 3.1),
            (-5.0, 2.7, -2.0, 1.8, 2.6),
            (0.0, 3.15, -2.1, 1.5, 2.3),
            (4.0, 3.05, -2.0, 1.6, 2.4),
            (7.5, 2.7, -1.8, 2.0, 2.8),
            (9.4, 2.3, -0.9, 2.4, 3.0),
        ],
        0.35,
        "wood",
        "dark wood",
    )
    quarter = [(3.6, 2.85, 1.6, 4.3), (7.0, 2.65, 2.0, 4.7), (9.9, 2.35, 2.2, 5.2)]
    poop = [(6.4, 2.6, 4.5, 6.4), (10.3, 2.3, 5.0, 7.2)]
    castle = [
        loft(
            [[(-b, y1, z), (-b, y0, z), (b, y0, z), (b, y1, z)] for z, b, y0, y1 in part],
            ["wood", "wood", "wood", "planks"],
        )
        for part in (quarter, poop)
    ]
    forecastle = moved(box(3.6, 1.5, 2.6, "wood", taper=0.9), 0.0, 2.9, -6.6)
    trims = [moved(box(w, 0.3, d, "gold"), 0.0, y, z) for w, d, y, z in ((5.5, 0.5, 4.9, 9.8), (5.0, 0.5, 7.15, 10.15))]
    windows = [moved(box(0.85, 0.9, 0.2, "lamp"), x, 6.0, 10.25) for x in (-1.3, 0.0, 1.3)]
    windows += [moved(box(0.95, 0.9, 0.2, "lamp"), x, 3.7, 9.85) for x in (-1.3, 1.3)]
    ports = [moved(box(0.2, 0.6, 0.7, "black gloss"), 3.12, 1.35, z) for z in (-3.0, -0.4, 2.2)]
    masts = [_mast(-5.4, 1.6, 15.0, 0.32), _mast(0.8, 1.4, 18.2, 0.38), _mast(6.2, 4.0, 13.6, 0.28)]
    yards = [
        _spar(y, z, w, 0.16)
        for y, z, w in ((9.0, -5.7, 7.2), (13.4, -5.7, 5.2), (10.4, 0.45, 8.4), (15.8, 0.45, 6.0), (12.4, 5.9, 5.0))
    ]
    nest = moved(cylinder(0.55, 0.8, 6, "wood", top=0.85), 0.0, 16.4, 0.8)
    bowsprit = tube([(0, 3.2, -8.6), (0, 5.5, -13.5)], [0.3, 0.14], 5, "dark wood")
    jib = moved(turned(prism([(0.0, 0.0), (6.6, -0.6), (7.0, 6.2)], 0.08, "canvas"), "y", -np.pi / 2), 0.0, 5.25, -12.9)
    rudder = moved(box(0.25, 3.2, 1.0, "dark wood"), 0.0, 0.3, 9.7)
    lantern = moved(cylinder(0.3, 0.8, 5, "lamp"), 0.0, 7.8, 10.0)
    figure = turned(cone(0.45, 1.4, 5, "gold"), "x", -1.2)
    return merge(
        hull,
        *castle,
        forecastle,
        *trims,
        *windows,
        *ports,
        *(mirrored(p) for p in ports),
        *masts,
        *yards,
        nest,
        bowsprit,
        jib,
        rudder,
        lantern,
        moved(figure, 0.0, 2.7, -9.3),
    )


def sailboat() -> Mesh:
    """6 m dinghy with one mast, boom and jib."""
    hull = _hull(
        [
            (-2.95, 0.04, 0.25, 0.62, 0.80),
            (-2.0, 0.62, -0.22, 0.50, 0.70),
            (-0.5, 1.02, -0.36, 0.42, 0.62),
            (1.2, 1.05, -0.34, 0.42, 0.60),
            (2.9, 0.78, -0.10, 0.46, 0.62),
        ],
        0.12,
        "white paint",
        "red paint",
    )
    mast = _mast(-0.75, 0.3, 5.5, 0.07, "planks")
    boom = turned(cylinder(0.05, 3.0, 4, "planks"), "x", np.pi / 2)
    main = prism([(0.0, 0.0), (2.85, 0.0), (1.5, 2.2), (0.0, 4.3)], 0.05, "canvas")
    jib = prism([(0.0, 0.0), (1.85, 0.1), (1.98, 3.6)], 0.05, "red cloth")
    keel = moved(box(0.1, 0.45, 1.0, "dark wood", taper=1.2), 0.0, -0.3, 0.2)
    cabin = moved(box(1.1, 0.4, 1.2, "white paint", taper=0.85), 0.0, 0.65, -1.2)
    return merge(
        hull,
        mast,
        moved(boom, 0.0, 1.15, 0.8),
        moved(turned(main, "y", -np.pi / 2), 0.0, 1.2, -0.66),
        moved(turned(jib, "y", -np.pi / 2), 0.0, 0.95, -2.75),
        keel,
        cabin,
    )


def paper_boat() -> Mesh:
    """0.25 m folded boat: pointed ends, peaked middle, hollow between."""
    length, beam, rise = 0.125, 0.045, 0.055
    bow, stern = (0.0, rise, -length), (0.0, rise, length)
    port, starboard = (-beam, 0.028, 0.0), (beam, 0.028, 0.0)
    keel = [(0.0, -0.022, -0.07), (0.0, -0.022, 0.07)]
    bilge = [(-0.028, -0.022, 0.0), (0.028, -0.022, 0.0)]
    points = np.array([bow, stern, port, starboard, *keel, *bilge, (0.0, 0.0, -0.06), (0.0, 0.0, 0.06)])
    outside = [
        (0, 2, 4),
        (2, 6, 4),
        (2, 5, 6),
        (2, 1, 5),
        (0, 4, 3),
        (3, 4, 7),
        (3, 7, 5),
        (3, 5, 1),
        (4, 6, 7),
        (6, 5, 7),
    ]
    inside = [(0, 8, 2), (8, 9, 2), (9, 1, 2), (0, 3, 8), (8, 3, 9), (9, 3, 1)]
    boat = mesh(points, [(a, c, b) for a, b, c in outside + inside], "paper")
    foot = np.array([(-0.012, 0, 0.055), (0.012, 0, 0.055), (0.012, 0, -0.055), (-0.012, 0, -0.055)])
    top = foot * (0.08, 0.0, 0.055) + (0.0, 0.085, 0.0)
    peak = loft(np.stack([foot, top]), "paper")
    return merge(boat, moved(peak, 0.0, -0.005, 0.0))


SHIPS = (
    kind(
        "pirate ship",
        pirate_ship,
        synonyms=(
            "ship",
            "galleon",
            "frigate",
            "corsair",
            "pirate boat",
            "tall ship",
            "warship",
            "sailing ship",
            "pirate",
        ),
        length=24.0,
        mass=150e3,
        colors=("brown", "red", "black", "blue", "green", "white", "purple"),
        verbs=SAILS,
        centre=PIRATE_CENTRE,
        colliders=(
            block((2.55, 1.9, 4.7), (0.0, 0.1, 2.2)),
            block((2.1, 1.5, 1.4), (0.0, 0.6, 8.1)),
            egg((2.3, 2.3, 6.0), (0.0, 0.4, -3.6)),
            block((2.4, 1.3, 3.1), (0.0, 3.3, 6.8)),
            block((2.3, 1.1, 1.9), (0.0, 5.9, 8.4)),
            can(0.3, 6.6, (0.0, 8.4, -5.4)),
            can(0.36, 8.2, (0.0, 10.0, 0.8)),
            can(0.26, 4.8, (0.0, 8.8, 6.2)),
            can(0.25, 2.7, (0.0, 4.4, -11.1), _about_x(-1.127)),
        ),
        cloths=(
            _sail(-5.65, 4.2, 8.9, 6.6),
            _sail(-5.65, 9.3, 13.3, 4.8),
            _sail(0.5, 4.4, 10.3, 7.8),
            _sail(0.5, 10.8, 15.7, 5.6),
            _sail(5.95, 7.9, 12.3, 4.6),
            Cloth(
                corner=(0.0, 18.1, 1.0),
                across=(0.0, 0.0, 3.2),
                down=(0.0, -2.0, 0.0),
                rows=5,
                columns=8,
                pinned="first column",
                material="black cloth",
            ),
        ),
        materials=(
            "wood",
            "dark wood",
            "planks",
            "gold",
            "porcelain",
            "steel",
            "ice",
            "paper",
            "marble",
            "glass",
            "plastic",
        ),
    ),
    kind(
        "sailboat",
        sailboat,
        synonyms=("sail boat", "boat", "yacht", "dinghy", "sailing boat", "small boat", "skiff"),
        length=6.0,
        mass=2150.0,
        colors=("white", "red", "blue", "yellow", "green", "orange"),
        verbs=SAILS,
        centre=SAILBOAT_CENTRE,
        colliders=(
            block((0.85, 0.31, 1.6), (0.0, 0.06, 1.2)),
            egg((0.9, 0.40, 2.2), (0.0, 0.10, -0.75)),
            can(0.07, 2.5, (0.0, 3.0, -0.75)),
            block((0.06, 0.22, 0.5), (0.0, -0.3, 0.2)),
        ),
        cloths=(
            Cloth(
                corner=(0.0, 5.5, -0.7),
                across=(0.0, 0.0, 0.9),
                down=(0.0, -0.4, 0.0),
                rows=4,
                columns=6,
                pinned="first column",
                material="red cloth",
            ),
        ),
        materials=("white paint", "wood", "plastic", "paper", "steel", "gold", "ice", "glass"),
    ),
    kind(
        "paper boat",
        paper_boat,
        synonyms=("origami boat", "folded boat", "paper ship", "paper sailboat"),
        length=0.25,
        mass=0.225,
        colors=("white", "red", "yellow", "blue", "pink", "green"),
        verbs=SAILS,
        centre=PAPER_CENTRE,
        colliders=(block((0.026, 0.017, 0.06), (0.0, -0.004, 0.0)), egg((0.036, 0.026, 0.118), (0.0, 0.014, 0.0))),
        materials=("paper", "gold", "plastic", "canvas"),
    ),
)
"""All that sails."""
