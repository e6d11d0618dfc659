"""Camera rays per token, against closed forms."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.model.rays import rotation_vector, token_rays
from elsewhere.scene.camera import Camera


def camera(c2w: np.ndarray) -> Camera:
    return Camera(c2w=c2w, focal=100.0, center=(32.0, 24.0), width=64, height=48)


def turned(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


@given(st.integers(0, 2), st.floats(-3.0, 3.0))
def test_rotation_vector_is_axis_times_angle(axis: int, angle: float) -> None:
    wanted = np.zeros(3)
    wanted[axis] = angle
    np.testing.assert_allclose(rotation_vector(turned(axis, angle)), wanted, atol=1e-9)


def test_first_camera_has_no_moment_and_no_motion() -> None:
    first = camera(np.eye(4))
    rays = token_rays(first, first, first, 2.0)
    assert rays.shape == (12, 12)
    np.testing.assert_allclose(np.linalg.norm(rays[:, :3], axis=1), 1.0, rtol=1e-6)
    assert np.all(rays[:, 3:] == 0.0)
    assert np.all(rays[:, 2] < 0.0)


def test_motion_and_moment_of_a_step_aside() -> None:
    first = camera(np.eye(4))
    moved = np.eye(4)
    moved[:3, 3] = [0.1, 0.0, 0.0]
    rays = token_rays(camera(moved), first, first, 2.0)
    np.testing.assert_allclose(rays[:, 6:9], np.broadcast_to([24.0 * 0.05, 0.0, 0.0], (12, 3)), rtol=1e-5)
    np.testing.assert_allclose(rays[:, 3:6], np.cross([0.05, 0.0, 0.0], rays[:, :3]), atol=1e-6)
