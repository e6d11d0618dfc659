"""The last picture carried to the new camera lands where a fresh picture would have it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from elsewhere.model.warp import warp
from elsewhere.scene.camera import Camera

SIDE = 64


def camera(yaw: float = 0.0, position: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Camera:
    c2w = np.eye(4)
    c2w[:3, :3] = [[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0], [-np.sin(yaw), 0.0, np.cos(yaw)]]
    c2w[:3, 3] = position
    return Camera(c2w=c2w, focal=60.0, center=(SIDE / 2, SIDE / 2), width=SIDE, height=SIDE)


def wall(seen_by: Camera, away: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Picture and depth of a wall z = −away with smooth stripes, as a camera sees it."""
    j, i = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    local = np.stack([(i - SIDE / 2) / 60.0, -(j - SIDE / 2) / 60.0, -np.ones_like(i)], axis=-1)
    rays = local @ seen_by.c2w[:3, :3].T
    depth = (-away - seen_by.position[2]) / rays[..., 2]
    point = seen_by.position + depth[..., None] * rays
    colours = 0.5 + 0.5 * np.sin(np.stack([2.0 * point[..., 0], 2.0 * point[..., 1], point[..., 0]], axis=-1))
    return colours.astype(np.float32), depth.astype(np.float32)


def quarter(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return picture.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("yaw", "position"), [(0.0, (0.0, 0.0, 0.0)), (0.2, (0.0, 0.0, 0.0)), (-0.1, (0.4, -0.3, 0.5))]
)
def test_a_wall_lands_where_it_is_seen(yaw: float, position: tuple[float, float, float]) -> None:
    before, now = camera(), camera(yaw, position)
    colours, valid = warp(*wall(before, 4.0), before, now)
    wanted = quarter(wall(now, 4.0)[0])
    known = valid > 0
    assert known.mean() > 0.7
    # A cell is 4 pixels; its points are spread unevenly in it, so up to half a pixel of stripes is off.
    assert np.abs(colours - wanted)[known].max() < 0.06
    assert not colours[~known].any()


def test_what_did_not_move_is_the_mean_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    colours, valid = warp(picture, np.full((SIDE, SIDE), np.inf, np.float32), camera(), camera())
    assert valid.all()
    np.testing.assert_allclose(colours, quarter(picture.astype(np.float32) / 255.0), atol=1e-6)


def test_the_sky_turns_and_does_not_move() -> None:
    picture = np.random.default_rng(1).random((SIDE, SIDE, 3)).astype(np.float32)
    sky = np.full((SIDE, SIDE), np.inf, np.float32)
    still = warp(picture, sky, camera(), camera(position=(5.0, 3.0, 5.0)))[0]
    np.testing.assert_allclose(still, quarter(picture), atol=1e-6)


def test_what_is_near_hides_what_is_far() -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    picture[:, 24:40] = 1.0
    depth = np.full((SIDE, SIDE), 20.0, np.float32)
    depth[:, 24:40] = 2.0
    colours, valid = warp(picture, depth, camera(), camera(position=(0.4, 0.0, 0.0)))
    row, known = colours[8, :, 0], valid[8] > 0
    # The bar moves by 60 · 0.4 / 2 = 12 pixels to the left and leaves a hole behind itself.
    assert row[3:7].min() == 1.0
    assert not known[7:9].any()
    assert row[known & (np.arange(16) > 8)].max() == 0.0


def test_shapes_are_checked() -> None:
    picture, depth = wall(camera(), 4.0)
    with pytest.raises(ValueError, match="picture and depth must be"):
        warp(picture[:32], depth, camera(), camera())
    odd = replace(camera(), width=SIDE + 2)
    with pytest.raises(ValueError, match="camera_to must have multiples of 4"):
        warp(picture, depth, camera(), odd)
