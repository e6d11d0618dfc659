"""Camera rays per token: what the transformer knows of where the picture is taken from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.configuration import PATCH
from elsewhere.scene.camera import Camera


def rotation_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation → (3,) axis times angle in radians, for angles below π."""
    twist = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    angle = np.arctan2(np.linalg.norm(twist), np.trace(rotation) - 1.0)
    sine = np.linalg.norm(twist)
    return twist * (angle / sine if sine > 1e-9 else 0.5)


def token_rays(camera: Camera, first: Camera, last: Camera, scale: float) -> NDArray[np.float32]:
    """(N, 12) float32 for the tokens of `camera`, row by row.

    Unit ray direction in the first camera's frame (3), its moment about the first camera in units of
    `scale` metres (3): Plücker coordinates; then the motion from `last` to `camera` in the camera's own
    frame: translation in units of `scale` (3) and rotation vector (3), both times 24.
    """
    rows, columns = camera.height // PATCH, camera.width // PATCH
    j, i = np.mgrid[0:rows, 0:columns]
    x = ((i + 0.5) * PATCH - camera.center[0]) / camera.focal
    y = -((j + 0.5) * PATCH - camera.center[1]) / camera.focal
    local = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    to_first = first.c2w[:3, :3].T @ camera.c2w[:3, :3]
    direction = local @ to_first.T
    offset = first.c2w[:3, :3].T @ (camera.position - first.position) / scale
    moment = np.cross(np.broadcast_to(offset, direction.shape), direction)
    moved = camera.c2w[:3, :3].T @ (camera.position - last.position) / scale
    turned = rotation_vector(last.c2w[:3, :3].T @ camera.c2w[:3, :3])
    motion = np.broadcast_to(24.0 * np.concatenate([moved, turned]), (len(direction), 6))
    return np.clip(np.concatenate([direction, moment, motion], axis=-1), -4.0, 4.0).astype(np.float32)
