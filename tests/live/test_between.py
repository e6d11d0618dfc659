"""What is mixed of calculated worlds: ends are the ends, and nothing jumps where a film is continued."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from elsewhere.live.between import blend_cameras, blend_scenes, blend_states, rescaled, turn_matrix
from elsewhere.live.calculated import Calculated, closed
from elsewhere.live.options import Options
from elsewhere.model.rays import rotation_vector
from elsewhere.physics import World
from elsewhere.physics.period import periodic, whole_turns
from elsewhere.physics.swell import swell_height
from elsewhere.scene import camera_at, parse

SHIPS = parse("two pirate ships sailing on the open sea, orbiting").scene
SMALL = Options(width=64, height=64)


def test_the_ends_of_a_mix_are_the_states() -> None:
    world = World(SHIPS, 0)
    a, b = world.state, world.advance(120)
    for share, wanted in ((0.0, a), (1.0, b)):
        made = blend_states(SHIPS, a, b, share, wanted.tick)
        np.testing.assert_allclose(made.position, wanted.position, atol=1e-9)
        np.testing.assert_allclose(np.abs((made.orientation * wanted.orientation).sum(-1)), 1.0, atol=1e-9)
        for x, y in zip(made.cloth, wanted.cloth, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-3)
    half = blend_states(SHIPS, a, b, 0.5, 60)
    np.testing.assert_allclose(half.position, 0.5 * (a.position + b.position))


def test_cameras_go_the_short_way() -> None:
    a, b = camera_at(SHIPS, 0.0, 64, 64), camera_at(SHIPS, 8.0, 64, 64)
    np.testing.assert_allclose(blend_cameras(a, b, 1.0).c2w, b.c2w, atol=1e-9)
    np.testing.assert_allclose(blend_cameras(a, b, 0.0).c2w, a.c2w, atol=1e-12)
    turned = blend_cameras(a, b, 0.37).c2w[:3, :3]
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-9)
    vector = np.array([0.3, -1.1, 0.4])
    np.testing.assert_allclose(rotation_vector(turn_matrix(vector)), vector, atol=1e-9)
    there = rescaled(a, (np.zeros(3), 2.0), (np.ones(3), 4.0))
    np.testing.assert_allclose(there.position, 1.0 + 2.0 * a.position)


def test_scenes_change_steadily() -> None:
    noon = parse("a red sailboat on the open sea at noon").scene
    night = parse("a blue sailboat on the open sea at night, stormy").scene
    assert blend_scenes(noon, night, 0.0) == noon
    hours = [blend_scenes(noon, night, s).hour for s in (0.25, 0.5, 0.75, 1.0)]
    assert all(abs(h - night.hour) <= abs(g - night.hour) for g, h in zip([noon.hour, *hours], hours, strict=False))
    assert hours[-1] == pytest.approx(night.hour)
    whole = blend_scenes(noon, night, 1.0)
    assert whole.weather.wind_speed == pytest.approx(night.weather.wind_speed)
    assert whole.weather.wind_heading == noon.weather.wind_heading
    assert [b.position for b in whole.bodies] == [b.position for b in noon.bodies]
    assert whole.bodies[0].color == pytest.approx(night.bodies[0].color)
    other = parse("a rubber duck in a bathtub").scene
    assert blend_scenes(noon, other, 0.4).environment == "open sea"
    assert blend_scenes(noon, other, 0.6).bodies == other.bodies


def test_before_the_beginning_nothing_jumps() -> None:
    calculated = Calculated(SHIPS, SMALL)
    later = [calculated.at(index) for index in range(1, 13)]
    earlier = calculated.earlier(later)
    places = [m.state.position for m in earlier] + [calculated.start.state.position] + [m.state.position for m in later]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=-1).max(axis=-1)
    assert steps[11:13].max() < 1.5 * np.median(steps) + 1e-3
    assert [m.state.tick for m in earlier] == [-10 * n for n in range(12, 0, -1)]
    eyes = [m.camera.position for m in [*earlier, *later]]
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=-1).max() < 0.2 * np.linalg.norm(eyes[0])


def test_a_swell_with_a_period() -> None:
    swell = World(SHIPS, 0).swell
    made = periodic(swell, 3.0)
    x, z = np.meshgrid(np.linspace(-20, 20, 5), np.linspace(-20, 20, 5))
    np.testing.assert_allclose(swell_height(made, x, z, 1.0), swell_height(made, x, z, 4.0), atol=1e-4)
    assert not np.allclose(swell_height(swell, x, z, 1.0), swell_height(swell, x, z, 4.0), atol=1e-4)
    assert whole_turns(np.array([0.01]), 3.0)[0] == pytest.approx(2 * np.pi / 3.0)
    with pytest.raises(ValueError, match="seconds must be positive"):
        periodic(swell, 0.0)


def test_a_closed_round_closes() -> None:
    count = 16
    calculated = Calculated(replace(SHIPS), SMALL, period=count / 24)
    found = closed(calculated, count, 0.5)
    places = np.array([m.state.position for m in [*found, found[0]]])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=-1).max(axis=-1)
    assert steps[-1] < 2.0 * np.median(steps) + 1e-3
    eyes = np.array([m.camera.position for m in [*found, found[0]]])
    way = np.linalg.norm(np.diff(eyes, axis=0), axis=-1)
    assert way[-1] < 2.0 * np.median(way) + 1e-3
