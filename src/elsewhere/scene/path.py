"""A camera's path: poses at times, and the camera between them. Files of paths are `path_files`' business."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.scene.camera import Camera

ROWS_MOST = 20_000
FARTHEST = 1000.0
"""Metres from the world's middle: what is farther away sees nothing of these small worlds."""
SLANT = 1e-3
"""Most that the columns of a rotation may miss length 1 and right angles by; files have few digits."""
_EXACT = 1e-9
SECONDS_MOST = 3600.0
FOCAL_MOST = 1e6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraPath:
    """K poses. Camera to world, right-handed, +Y up, the camera looks along its −Z; metres and seconds.

    `focals` are in pixels of a picture `height` pixels high, or, where that is None, of the film's own; without them
    the scene's lens is kept. `free` lets cameras stand under water or ground. Raises ValueError that names the row.
    """

    times: NDArray[np.float64]  # (K,) s, rising
    c2w: NDArray[np.float64]  # (K, 4, 4)
    focals: NDArray[np.float64] | None = None  # (K,) pixels
    height: int | None = None
    free: bool = False

    @classmethod
    def make(
        cls,
        c2w: Any,
        times: Any = None,
        focals: Any = None,
        *,
        height: int | None = None,
        free: bool = False,
        fps: float = 24.0,
        rows: Sequence[str] | None = None,
    ) -> CameraPath:
        """A checked path of (K, 4, 4) matrices; without `times` they follow each other `fps` times a second.

        `focals` may be one number for all. `rows` are names of the rows for messages, such as "line 7".
        """
        poses = _numbers("c2w", c2w)
        if poses.ndim != 3 or poses.shape[1:] != (4, 4):
            hint = ": add the row 0 0 0 1 to each" if poses.ndim == 3 and poses.shape[1:] == (3, 4) else ""
            raise ValueError(f"c2w must have the shape (frames, 4, 4); got {_shape(poses)}{hint}")
        count = len(poses)
        if not 1 <= count <= ROWS_MOST:
            raise ValueError(f"a camera path must have from 1 to {ROWS_MOST} rows; got {count}")
        names = list(rows) if rows is not None else [f"row {k}" for k in range(count)]
        clock = np.arange(count) / fps if times is None else _numbers("time", times)
        if clock.shape != (count,):
            raise ValueError(f"time must have one number for each of the {count} rows; got {_shape(clock)}")
        _check_times(clock, names)
        turned = np.stack([_checked_pose(pose, name) for pose, name in zip(poses, names, strict=True)])
        lens = None
        if focals is not None:
            lens = _numbers("focal", focals)
            lens = np.full(count, float(lens)) if lens.ndim == 0 else lens
            if lens.shape != (count,):
                raise ValueError(f"focal must be one number or one for each of the {count} rows; got {_shape(lens)}")
            for focal, name in zip(lens, names, strict=True):
                if not 0.0 < focal <= FOCAL_MOST:
                    raise ValueError(
                        f"{name}: focal must be more than 0 and at most {FOCAL_MOST:g} pixels; got {focal}"
                    )
        if height is not None and not 1 <= height <= 100_000:
            raise ValueError(f"height must be from 1 to 100000 pixels; got {height}")
        return cls(times=clock, c2w=turned, focals=lens, height=height, free=bool(free))

    @property
    def seconds(self) -> float:
        """When the last row is reached."""
        return float(self.times[-1])

    def at(self, seconds: float, width: int, height: int, *, lens: float) -> Camera:
        """The camera after `seconds`; before the first row and after the last it stands still.

        At a row's time it is that row, bit for bit. Between rows positions follow a cubic through them (Catmull–Rom
        for uneven times) and rotations the shortest turn. `lens` is the focal length, pixels, where the path has none.
        """
        pose = self._pose(seconds)
        focal = lens
        if self.focals is not None:
            focal = float(np.interp(seconds, self.times, self.focals))
            if self.height is not None and self.height != height:
                focal *= height / self.height
        return Camera(c2w=pose, focal=focal, center=(0.5 * width, 0.5 * height), width=width, height=height)

    def _pose(self, seconds: float) -> NDArray[np.float64]:
        after = bisect_right(self.times, seconds)
        if after == 0 or after == len(self.times) or self.times[after - 1] == seconds:
            return self.c2w[max(after - 1, 0)].copy()
        before = after - 1
        span = self.times[after] - self.times[before]
        share = (seconds - self.times[before]) / span
        pose = np.eye(4)
        pose[:3, :3] = _between(self.c2w[before, :3, :3], self.c2w[after, :3, :3], share)
        start, end = self.c2w[before, :3, 3], self.c2w[after, :3, 3]
        first, last = span * self._pace(before), span * self._pace(after)
        s2, s3 = share * share, share * share * share
        pose[:3, 3] = (
            (2 * s3 - 3 * s2 + 1) * start + (s3 - 2 * s2 + share) * first + (3 * s2 - 2 * s3) * end + (s3 - s2) * last
        )
        return pose

    def _pace(self, row: int) -> NDArray[np.float64]:
        """m/s through a row: the mean of the paces before and after it, the nearer one counting more."""
        low, high = max(row - 1, 0), min(row + 1, len(self.times) - 1)
        if low == row or high == row:
            span = self.times[high] - self.times[low]
            step: NDArray[np.float64] = self.c2w[high, :3, 3] - self.c2w[low, :3, 3]
            return step / span
        before, after = self.times[row] - self.times[low], self.times[high] - self.times[row]
        come = (self.c2w[row, :3, 3] - self.c2w[low, :3, 3]) / before
        go = (self.c2w[high, :3, 3] - self.c2w[row, :3, 3]) / after
        pace: NDArray[np.float64] = (after * come + before * go) / (before + after)
        return pace


def _shape(array: NDArray[Any]) -> str:
    return "×".join(map(str, array.shape)) or "one number"


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Values as float64; ValueError when they are none or do not make a regular array."""
    try:
        found = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be numbers in rows of one length") from None
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers in rows of one length; got {str(values)[:60]!r}")
    return found.astype(np.float64)


def _check_times(times: NDArray[np.float64], names: Sequence[str]) -> None:
    previous = -math.inf
    for time, name in zip(times, names, strict=True):
        if not 0.0 <= time <= SECONDS_MOST:
            raise ValueError(f"{name}: time must be from 0 to {SECONDS_MOST:.0f} seconds; got {time}")
        if time <= previous:
            raise ValueError(f"{name}: time must be later than the row before ({previous:g} s); got {time:g} s")
        previous = time


def _checked_pose(pose: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """A pose as it is or, where its digits were cut, with its rotation made exact. ValueError names the rule."""
    if not np.isfinite(pose).all():
        row, column = np.argwhere(~np.isfinite(pose))[0]
        raise ValueError(f"{name}: c2w must be finite; got {pose[row, column]} in row {row}, column {column}")
    if not np.allclose(pose[3], (0.0, 0.0, 0.0, 1.0), atol=SLANT):
        turned = np.allclose(pose[:, 3], (0.0, 0.0, 0.0, 1.0), atol=SLANT)
        hint = ". It looks transposed" if turned else ""
        raise ValueError(f"{name}: c2w's last row must be 0 0 0 1; got {' '.join(f'{v:g}' for v in pose[3])}{hint}")
    rotation = pose[:3, :3]
    miss = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if miss > SLANT:
        scale = float(np.cbrt(abs(np.linalg.det(rotation))))
        hint = f". It is scaled by {scale:.4g}: divide by that" if abs(scale - 1.0) > SLANT else ""
        raise ValueError(f"{name}: c2w's rotation must be orthonormal to {SLANT:g}; it misses by {miss:.3g}{hint}")
    if np.linalg.det(rotation) < 0.0:
        raise ValueError(f"{name}: c2w must be right-handed (determinant 1); it is mirrored (determinant −1)")
    distance = float(np.linalg.norm(pose[:3, 3]))
    if distance > FARTHEST:
        raise ValueError(
            f"{name}: the camera must be within {FARTHEST:.0f} m of the world's middle; it is {distance:.0f} m away. "
            "Are these millimetres?"
        )
    made = pose.copy()
    made[3] = (0.0, 0.0, 0.0, 1.0)
    if miss > _EXACT:
        u, _, v = np.linalg.svd(rotation)
        made[:3, :3] = u @ v
    return made


def _between(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The rotation at `share` of the shortest turn from a to b (Rodrigues' formula)."""
    turn = a.T @ b
    cosine = min(max(0.5 * (float(np.trace(turn)) - 1.0), -1.0), 1.0)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = float(np.linalg.norm(axis))
    angle = math.atan2(0.5 * length, cosine)
    if angle < 1e-12:
        return a.copy()
    if length < 1e-8:
        # Half a turn: the axis is the column of (turn + 1)/2 that is the longest.
        square = 0.5 * (turn + np.eye(3))
        axis = square[:, int(np.argmax(np.diag(square)))]
        length = float(np.linalg.norm(axis))
    x, y, z = axis / length
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    part = share * angle
    made: NDArray[np.float64] = a @ (np.eye(3) + math.sin(part) * cross + (1.0 - math.cos(part)) * cross @ cross)
    return made
