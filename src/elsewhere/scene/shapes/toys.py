"""Toys and floating odds and ends: rubber duck, ball, toy car, crate, barrel, buoy."""

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
    turned,
    with_main,
)


def rubber_duck() -> Mesh:
    """0.10 m: yellow body with an upturned tail, round head, orange beak, dark eyes. The water line is y = 0."""
    rows = [  # z, half width, bottom, top
        (-0.040, 0.008, 0.004, 0.018),
        (-0.034, 0.024, -0.010, 0.030),
        (-0.015, 0.037, -0.018, 0.034),
        (0.010, 0.038, -0.018, 0.030),
        (0.032, 0.028, -0.010, 0.033),
        (0.047, 0.010, 0.016, 0.046),
        (0.052, 0.003, 0.040, 0.052),
    ]
    angle = 2 * np.pi * np.arange(8) / 8 + np.pi / 8
    rings = [
        np.stack([w * np.cos(angle), (low + high) / 2 + (high - low) / 2 * np.sin(angle), np.full(8, z)], axis=1)
        for z, w, low, high in rows
    ]
    body = loft(np.stack(rings), "yellow rubber")
    head = moved(ellipsoid((0.0255, 0.025, 0.0255), 6, 10, "yellow rubber"), 0.0, 0.054, -0.020)
    beak = moved(ellipsoid((0.014, 0.006, 0.016), 4, 6, "orange rubber"), 0.0, 0.049, -0.044)
    upper = moved(ellipsoid((0.009, 0.006, 0.011), 4, 6, "orange rubber"), 0.0, 0.054, -0.043)
    eye = moved(ellipsoid((0.005, 0.0065, 0.005), 4, 6, "black gloss"), 0.0135, 0.061, -0.0395)
    wing = moved(turned(ellipsoid((0.006, 0.011, 0.021), 4, 6, "yellow rubber"), "x", 0.25), 0.036, 0.014, 0.012)
    return merge(body, head, beak, upper, eye, mirrored(eye), wing, mirrored(wing))


def striped_ball() -> Mesh:
    """0.22 m: twelve gores in two colours and white poles."""
    sphere = ellipsoid((0.11, 0.11, 0.11), 9, 18, "rubber")
    middle = sphere.vertices[sphere.triangles].mean(axis=1)
    gore = np.floor((np.arctan2(middle[:, 0], middle[:, 2]) / (2 * np.pi) % 1.0) * 18 / 3).astype(np.int32) % 2
    gore[np.abs(middle[:, 1]) > 0.103] = 1
    return type(sphere)(sphere.vertices, sphere.triangles, gore, ("rubber", "white paint"))


def crate() -> Mesh:
    """0.6 m wooden box with a frame on every face."""
    size, bar = 0.6, 0.07
    panel = box(size - 0.04, size - 0.04, size - 0.04, "planks")
    middle = size / 2 - bar / 2
    bars = []
    for axis in "xyz":
        for a in (-middle, middle):
            for b in (-middle, middle):
                width, height, depth = (size if axis == k else bar for k in "xyz")
                beam = box(width, height, depth, "wood")
                x, y, z = {"x": (0, a, b), "y": (a, 0, b), "z": (a, b, 0)}[axis]
                bars.append(moved(beam, x, y, z))
    brace = box(0.72, 0.07, 0.02, "wood")
    braces = [moved(turned(brace, "z", np.pi / 4), 0, 0, s * 0.285) for s in (-1, 1)]
    braces += [turned(b, "y", np.pi / 2) for b in braces]
    return merge(*bars, panel, *braces)


def barrel() -> Mesh:
    """0.9 m wooden barrel with iron hoops, standing."""
    profile = [
        (0.0, -0.42),
        (0.24, -0.42),
        (0.25, -0.45),
        (0.275, -0.45),
        (0.305, -0.30),
        (0.318, -0.295),
        (0.333, -0.20),
        (0.325, -0.19),
        (0.34, 0.0),
        (0.325, 0.19),
        (0.333, 0.20),
        (0.318, 0.295),
        (0.305, 0.30),
        (0.275, 0.45),
        (0.25, 0.45),
        (0.24, 0.42),
        (0.0, 0.42),
    ]
    names = ["planks", "wood", "wood", "wood", "iron", "iron", "iron", "wood"]
    return with_main(lathe(profile, 14, names + names[::-1]), "wood")


def buoy() -> Mesh:
    """1.5 m navigation buoy: striped float, lattice top, lamp. The water line is y = 0."""
    float_part = lathe(
        [
            (0.0, -0.42),
            (0.30, -0.36),
            (0.46, -0.12),
            (0.46, 0.16),
            (0.34, 0.24),
            (0.24, 0.48),
            (0.155, 0.72),
            (0.0, 0.74),
        ],
        12,
        ["red paint", "red paint", "red paint", "white paint", "red paint", "white paint", "red paint"],
    )
    pole = moved(cylinder(0.06, 0.2, 6, "iron"), 0.0, 0.8, 0.0)
    lamp = moved(ellipsoid((0.10, 0.10, 0.10), 4, 8, "lamp"), 0.0, 0.96, 0.0)
    cap = moved(cone(0.12, 0.07, 6, "red paint"), 0.0, 1.01, 0.0)
    return merge(float_part, pole, lamp, cap)


def toy_car() -> Mesh:
    """0.12 m toy car on four wheels; wheels stand on y = 0."""
    base = np.array(
        [
            (0.058, 0.012),
            (0.060, 0.030),
            (0.052, 0.038),
            (-0.030, 0.041),
            (-0.056, 0.034),
            (-0.060, 0.024),
            (-0.058, 0.012),
        ]
    )
    half = 0.024
    sections = [(-half, 0.94), (-half * 0.86, 1.0), (half * 0.86, 1.0), (half, 0.94)]
    body = loft([[(x, y, s) for x, y in base * np.array((k, 1.0))] for s, k in sections], "plastic")
    # Drawn in (length, height) with the front at −x, then turned so that the front looks to −Z.
    roof = [(-0.026, 0.0185, 0.038), (-0.012, 0.016, 0.058), (0.024, 0.016, 0.058), (0.040, 0.0185, 0.038)]
    cabin = loft([[(x, y, -w), (x, y, w), (x, 0.036, w), (x, 0.036, -w)] for x, w, y in roof], "window")
    top = moved(box(0.042, 0.004, 0.034, "plastic"), 0.006, 0.0595, 0.0)
    lights = [moved(box(0.004, 0.007, 0.009, "lamp"), -0.0585, 0.028, s * 0.015) for s in (-1, 1)]
    wheels = []
    for x in (-0.036, 0.036):
        for s in (-1, 1):
            tyre = turned(cylinder(0.0135, 0.012, 10, "black rubber"), "x", np.pi / 2)
            hub = turned(cylinder(0.0065, 0.014, 6, "steel"), "x", np.pi / 2)
            wheels.append(moved(merge(tyre, hub), x, 0.0135, s * 0.0225))
    return turned(merge(body, cabin, top, *lights, *wheels), "y", -np.pi / 2)


TOYS = (
    kind(
        "rubber duck",
        rubber_duck,
        synonyms=("duck", "bath duck", "rubber ducky", "ducky", "duckling", "toy duck"),
        length=0.113,
        mass=0.085,
        colors=("yellow", "pink", "white", "blue", "red", "green", "purple"),
        verbs=MOVERS | {"sail"},
        centre=(0.0, 0.008, 0.006),
        colliders=(egg((0.039, 0.026, 0.046), (0.0, 0.008, 0.006)), ball(0.025, (0.0, 0.054, -0.020))),
        restitution=0.5,
        materials=(
            "yellow rubber",
            "rubber",
            "gold",
            "porcelain",
            "wood",
            "steel",
            "glass",
            "ice",
            "marble",
            "plastic",
        ),
    ),
    kind(
        "ball",
        striped_ball,
        synonyms=("beach ball", "rubber ball", "sphere", "football"),
        length=0.22,
        mass=1.9,
        colors=("red", "blue", "green", "yellow", "orange", "purple", "pink", "white", "black"),
        colliders=(ball(0.11),),
        restitution=0.75,
        materials=(
            "rubber",
            "plastic",
            "steel",
            "gold",
            "glass",
            "marble",
            "wood",
            "stone",
            "porcelain",
            "ice",
            "copper",
        ),
    ),
    kind(
        "toy car",
        toy_car,
        synonyms=("car", "model car", "racing car", "toy truck", "automobile"),
        length=0.122,
        mass=0.08,
        colors=("red", "blue", "green", "yellow", "orange", "white", "black"),
        centre=(0.0, 0.024, 0.0),
        colliders=(
            block((0.024, 0.014, 0.060), (0.0, 0.027, 0.0)),
            block((0.017, 0.0125, 0.030), (0.0, 0.049, 0.007)),
            *(
                can(0.0135, 0.006, (x, 0.0135, z), (0.0, 0.0, 0.7071067811865476, 0.7071067811865476))
                for x in (-0.0225, 0.0225)
                for z in (-0.036, 0.036)
            ),
        ),
        materials=("plastic", "wood", "steel", "gold", "red paint", "glass"),
    ),
    kind(
        "crate",
        crate,
        synonyms=("box", "wooden box", "chest", "cargo", "wooden crate", "cube"),
        length=0.6,
        mass=85.0,
        colors=("brown", "red", "blue", "green", "white", "beige"),
        colliders=(block((0.3, 0.3, 0.3)),),
        materials=("wood", "dark wood", "planks", "steel", "gold", "ice", "plastic", "stone", "glass"),
    ),
    kind(
        "barrel",
        barrel,
        synonyms=("cask", "keg", "drum", "barrels of rum", "wooden barrel"),
        length=0.9,
        mass=115.0,
        colors=("brown", "red", "blue", "green", "black"),
        colliders=(can(0.32, 0.45),),
        materials=("wood", "dark wood", "steel", "gold", "plastic"),
    ),
    kind(
        "buoy",
        buoy,
        synonyms=("navigation buoy", "beacon"),
        length=1.52,
        mass=215.0,
        colors=("red", "green", "yellow", "orange", "white"),
        centre=(0.0, -0.2, 0.0),
        colliders=(can(0.43, 0.29, (0.0, -0.11, 0.0)), can(0.22, 0.29, (0.0, 0.45, 0.0)), ball(0.11, (0.0, 0.95, 0.0))),
        materials=("red paint", "white paint", "steel", "plastic", "wood"),
    ),
)
"""Small things to float, bounce and roll."""
