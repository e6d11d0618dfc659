"""The path tracer where its answer is known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from elsewhere.render.sky import constant_light


def test_a_white_ball_in_a_white_world_cannot_be_seen(scenes: ModuleType) -> None:
    # Furnace: albedo 1 under radiance 1 all around reflects 1 everywhere.
    bodies = (scenes.body("ball", 0.0, 0.0, 0.0),)
    stage = scenes.stage_of("air", bodies)
    stage.light = constant_light((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    image = stage.reference(scenes.state_of(bodies), scenes.camera_at((0, 0.3, 1.6), (0, 0, 0), 32), samples=16, seed=1)
    np.testing.assert_allclose(image, 1.0, atol=1e-3)


def test_open_ground_reflects_sun_and_sky(scenes: ModuleType) -> None:
    stage = scenes.stage_of("floor", ())
    stage.light = constant_light((0.4, 0.4, 0.4), (1.0, 1.0, 1.0), (0.0, 1.0, 0.0))
    image = stage.reference(scenes.state_of(()), scenes.camera_at((0, 3, 1), (0, 0, 0), 16), samples=32, seed=1)
    # L = albedo (E_sun cos θ / π + L_sky), with the sun's numbers given as irradiance / π.
    np.testing.assert_allclose(image, 0.5 * (1.0 + 0.4), rtol=2e-3)


def test_seed_decides_and_threads_do_not(scenes: ModuleType) -> None:
    bodies = (scenes.body("boat", 0.0, 0.5, 0.0),)
    state, camera = scenes.state_of(bodies), scenes.camera_at((1, 2, 4), (0, 0.7, 0), 24)
    one = scenes.stage_of("floor", bodies, threads=1).reference(state, camera, samples=4, seed=5)
    two = scenes.stage_of("floor", bodies, threads=2).reference(state, camera, samples=4, seed=5)
    other = scenes.stage_of("floor", bodies, threads=1).reference(state, camera, samples=4, seed=6)
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    assert np.isfinite(one).all()


def test_no_samples_is_an_error(scenes: ModuleType) -> None:
    with pytest.raises(ValueError, match="samples must be at least 1; got 0"):
        scenes.stage_of("floor", ()).reference(
            scenes.state_of(()), scenes.camera_at((0, 1, 3), (0, 0, 0)), samples=0, seed=0
        )
