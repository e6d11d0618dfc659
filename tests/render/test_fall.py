"""Rain and snow: seen where they fall, the same in guide and reference, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics import World
from elsewhere.render import Guide, Stage
from elsewhere.scene import Camera, Scene, Weather, camera_at, parse

SEA = parse("a pirate ship on the open sea, overcast", 1).scene
FIELD = parse("a house in a snowy field, overcast", 1).scene


def weather(scene: Scene, **changes: float) -> Weather:
    return replace(scene.weather, **changes)


def shown(scene: Scene, ticks: int = 48, seed: int = 1) -> tuple[Guide, Stage, World, Camera]:
    world = World(scene, seed)
    stage = Stage(scene, world.swell, world.water_cell, threads=1)
    camera = camera_at(scene, 0.0, 96, 96)
    return stage.guide(world.advance(ticks), camera), stage, world, camera


def dry(scene: Scene, ticks: int = 48, seed: int = 1) -> NDArray[np.float32]:
    """The same light and state without what falls."""
    world = World(scene, seed)
    stage = Stage(scene, world.swell, world.water_cell, threads=1)
    light = stage.light
    stage.relight(scene.hour, weather(scene, rain=0.0, snow=0.0))
    stage.light = light
    return stage.guide(world.advance(ticks), camera_at(scene, 0.0, 96, 96)).lit


def test_drops_and_flakes_are_seen_and_move() -> None:
    for scene, falls in ((SEA, {"rain": 0.7}), (FIELD, {"snow": 0.8})):
        wet = replace(scene, weather=weather(scene, **falls))
        guide, *_ = shown(wet)
        change = np.abs(guide.lit - dry(wet)).max(axis=-1)
        assert 0.01 < (change > 0.02).mean() < 0.4
        again, *_ = shown(wet)
        np.testing.assert_array_equal(guide.lit, again.lit)
        later = np.abs(shown(wet, 58)[0].lit - dry(wet, 58)).max(axis=-1)
        both = (change > 0.02) & (later > 0.02)
        assert both.mean() < 0.6 * (change > 0.02).mean(), "they have moved on"


def test_more_rain_is_more_drops() -> None:
    seen = []
    for amount in (0.2, 0.9):
        wet = replace(SEA, weather=weather(SEA, rain=amount))
        seen.append((np.abs(shown(wet)[0].lit - dry(wet)).max(axis=-1) > 0.02).mean())
    assert seen[1] > 2 * seen[0]


def test_what_stands_near_hides_them() -> None:
    wet = replace(FIELD, weather=weather(FIELD, snow=1.0))
    _, stage, world, _ = shown(wet)
    # A camera at the wall of the house sees the wall and no flake between, for none is so near.
    close = camera_at(wet, 0.0, 96, 96)
    c2w = close.c2w.copy()
    guide = stage.guide(world.state, replace(close, c2w=c2w))
    depth = np.where(guide.instance == 0, guide.depth, np.inf).min()
    c2w[:3, 3] -= (depth - 0.1) * c2w[:3, 2]
    near = stage.guide(world.state, replace(close, c2w=c2w, focal=4000.0))
    assert np.isfinite(near.depth).all()
    light = stage.light
    stage.relight(wet.hour, weather(wet, snow=0.0))
    stage.light = light
    np.testing.assert_array_equal(stage.guide(world.state, replace(close, c2w=c2w, focal=4000.0)).lit, near.lit)


def test_the_reference_has_the_same_drops() -> None:
    wet = replace(SEA, weather=weather(SEA, rain=0.8))
    guide, stage, world, camera = shown(wet)
    reference = stage.reference(world.state, camera, samples=4, seed=3)
    light = stage.light
    stage.relight(wet.hour, weather(wet, rain=0.0))
    stage.light = light
    bare = stage.reference(world.state, camera, samples=4, seed=3)
    in_guide = np.abs(guide.lit - dry(wet)).max(axis=-1) > 0.02
    in_reference = np.abs(reference - bare).max(axis=-1) > 0.02
    assert (in_guide & in_reference).sum() > 0.7 * max(in_guide.sum(), in_reference.sum())


def test_dry_scenes_and_rooms_are_left_alone() -> None:
    _, stage, _, _ = shown(SEA)
    assert not stage._falls
    bath = parse("a duck in a bathtub").scene
    world = World(bath, 0)
    stage = Stage(bath, world.swell, world.water_cell, threads=1)
    stage.relight(14.0, Weather(rain=1.0))
    assert not stage._falls
