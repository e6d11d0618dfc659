"""Planes and disparity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.model.planes import (
    GROUNDS,
    PLANES,
    depth_to_disparity,
    disparity_to_depth,
    guide_planes,
    plane_weights,
)
from elsewhere.physics import World
from elsewhere.render import Stage, to_display
from elsewhere.scene import camera_at, parse


@given(st.floats(0.01, 400.0), st.floats(0.1, 50.0))
def test_disparity_and_back(depth: float, scale: float) -> None:
    disparity = depth_to_disparity(np.array([depth], np.float32), scale)
    assert 0.0 < float(disparity[0]) < 1.0
    if disparity[0] >= 1e-3:
        np.testing.assert_allclose(disparity_to_depth(disparity, scale), [depth], rtol=2e-3)


def test_infinity_is_zero() -> None:
    assert depth_to_disparity(np.array([np.inf], np.float32), 3.0)[0] == 0.0
    assert np.isinf(disparity_to_depth(np.zeros(1, np.float32), 3.0)[0])


def test_planes_of_a_guide() -> None:
    scene = parse("a red ball drifting on a lake").scene
    world = World(scene, 0)
    stage = Stage(scene, world.swell, world.water_cell)
    guide = stage.guide(world.state, camera_at(scene, 0.0, 96, 64), None)
    planes = guide_planes(guide, stage)
    assert planes.shape == (24, 64, 96) == (len(PLANES), 64, 96)
    assert np.all(np.abs(planes) <= 1.0)
    np.testing.assert_array_equal(planes[0:3], np.moveaxis(to_display(guide.lit), -1, 0))
    assert planes[PLANES.index("sky")].mean() == (guide.material < 0).mean()
    assert planes[PLANES.index("water")].sum() == (guide.instance == 2).sum() > 0
    assert np.all(planes[PLANES.index("grounded")] == 1.0)


@given(st.sampled_from(GROUNDS), st.floats(0.0, 1.0))
def test_a_ground_gives_its_planes_and_no_others(ground: str, strength: float) -> None:
    weights = dict(zip(PLANES, plane_weights(ground, strength), strict=True))
    assert weights["grounded"] == np.float32(strength * (ground == "full"))
    assert (weights["disparity"] > 0.0) == (ground != "layout" and np.float32(strength) > 0.0)
    assert (weights["albedo red"] > 0.0) == (ground != "depth" and np.float32(strength) > 0.0)
    assert ground == "full" or weights["lit red"] == weights["direct"] == weights["mirror green"] == 0.0
    assert not any(plane_weights(ground, 0.0))


def test_grounds_that_cannot_be_say_what_can() -> None:
    with pytest.raises(ValueError, match="ground must be one of full, depth, layout; got 'sky'"):
        plane_weights("sky")
    for strength, nearest in ((1.01, 1), (-1.0, 0), (float("nan"), 0)):
        with pytest.raises(ValueError, match=f"strength must be from 0 to 1.*The nearest is {nearest}"):
            plane_weights("full", strength)
