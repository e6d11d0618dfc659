"""The last picture seen from the new camera: each of its points is carried there by its depth.

It knows no motion of things, only of the camera, and says where it knows nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from elsewhere.scene.camera import Camera

REDUCTION = 4
"""The result has a quarter of the picture's width and height."""
SAME_SURFACE = 1.03
"""Points that land in one cell are averaged when none is this much farther away than the nearest."""
FARTHEST = 1e7
"""Metres: what is at infinity turns with the camera and does not move."""


def warp(
    picture: NDArray[Any], depth: NDArray[np.float32], camera_from: Camera, camera_to: Camera
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`picture` of `camera_from` as `camera_to` sees it, at a quarter of the size.

    picture (H, W, 3): uint8, or float32 in [0, 1]; depth (H, W) metres along the camera's −Z, inf for sky. Returns
    colours (H/4, W/4, 3) float32 in [0, 1], zero where nothing is known, and validity (H/4, W/4) float32, 1 or 0.
    Same input, same bits. Raises ValueError for shapes that do not fit each other or are no multiples of 4.
    """
    height, width = camera_from.height, camera_from.width
    if picture.shape != (height, width, 3) or depth.shape != (height, width):
        raise ValueError(
            f"picture and depth must be {(height, width, 3)} and {(height, width)} as camera_from says; "
            f"got {picture.shape} and {depth.shape}"
        )
    for name, camera in (("camera_from", camera_from), ("camera_to", camera_to)):
        if camera.height % REDUCTION or camera.width % REDUCTION:
            raise ValueError(f"{name} must have multiples of {REDUCTION} pixels; got {camera.width}x{camera.height}")
    if picture.dtype == np.uint8:
        picture = picture.astype(np.float32) * np.float32(1.0 / 255.0)
    turn_from, turn_to = (np.asarray(camera.c2w, np.float64)[:3, :3] for camera in (camera_from, camera_to))
    # By hand: the last bits of a library's product may depend on where in memory its operands lie.
    turn = (turn_to[:, :, None] * turn_from[:, None, :]).sum(axis=0)
    apart = camera_from.position - camera_to.position
    move = (turn_to * apart[:, None]).sum(axis=0)
    lens = np.array([camera_from.focal, *camera_from.center, camera_to.focal, *camera_to.center], np.float64)
    cells = camera_to.height // REDUCTION, camera_to.width // REDUCTION
    nearest = np.full(cells, np.inf)
    colours, valid = np.zeros((*cells, 3), np.float32), np.zeros(cells, np.float32)
    row = np.empty((height, width), np.int32)
    column, away = np.empty((height, width), np.int32), np.empty((height, width), np.float64)
    _carry(np.ascontiguousarray(depth, np.float32), turn, move, lens, row, column, away, nearest)
    _gather(np.ascontiguousarray(picture, np.float32), row, column, away, nearest, colours, valid)
    return colours, valid


@njit(nogil=True, cache=True, error_model="numpy")
def _carry(depth, turn, move, lens, row, column, away, nearest):  # type: ignore[no-untyped-def]
    """Cell and distance of each source pixel in the new view, row −1 where it is not there; each cell's nearest."""
    rows, columns = nearest.shape
    for j in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            z = min(float(depth[j, i]), FARTHEST)
            x = (i + 0.5 - lens[1]) / lens[0] * z
            y = -(j + 0.5 - lens[2]) / lens[0] * z
            a = turn[0, 0] * x + turn[0, 1] * y - turn[0, 2] * z + move[0]
            b = turn[1, 0] * x + turn[1, 1] * y - turn[1, 2] * z + move[1]
            c = -(turn[2, 0] * x + turn[2, 1] * y - turn[2, 2] * z + move[2])
            row[j, i] = -1
            if c < 1e-6:
                continue
            u = (lens[3] * a / c + lens[4]) / REDUCTION
            v = (-lens[3] * b / c + lens[5]) / REDUCTION
            if u < 0.0 or v < 0.0 or u >= columns or v >= rows:
                continue
            q, p = int(v), int(u)
            row[j, i], column[j, i], away[j, i] = q, p, c
            nearest[q, p] = min(nearest[q, p], c)


@njit(nogil=True, cache=True, error_model="numpy")
def _gather(picture, row, column, away, nearest, colours, valid):  # type: ignore[no-untyped-def]
    """Mean of what lands in each cell on its nearest surface."""
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            q, p = row[j, i], column[j, i]
            if q < 0 or away[j, i] > SAME_SURFACE * nearest[q, p]:
                continue
            valid[q, p] += 1.0
            for k in range(3):
                colours[q, p, k] += picture[j, i, k]
    for q in range(valid.shape[0]):
        for p in range(valid.shape[1]):
            if valid[q, p] > 0.0:
                for k in range(3):
                    colours[q, p, k] /= valid[q, p]
                valid[q, p] = 1.0
