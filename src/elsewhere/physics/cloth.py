"""Cloth by extended position-based dynamics: sails and flags in the wind.

Each sheet is a grid of points pinned to a body. One substep predicts, then satisfies edges and diagonals in
a fixed order. The body moves the cloth; the cloth does not move the body (`behaviour` gives the thrust).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from elsewhere.scene.kinds import Cloth

GRAVITY = 9.81
SHEET = 0.22
"""kg/m²"""
AIR = 1.2
SLACK = 1.07
"""A sail is cut this much longer than the distance between its yards, so that it can fill."""
ITERATIONS = 3
FASTEST = 30.0
"""m/s; no point of a sheet moves faster."""


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """All sheets of a world in one table, in the order of `State.cloth`.

    `start` (S+1,) offsets into the point arrays; `shape` (S, 2) rows, columns; `body` (S,); `rest` (S, 6): lengths
    in m of row edges, column edges, diagonals, then 1 for a sail, width and height; `anchor` (P, 3) m in the body
    frame; `free` (P,) 0 or 1.
    """

    start: NDArray[np.int64]
    shape: NDArray[np.int64]
    body: NDArray[np.int64]
    rest: NDArray[np.float64]
    anchor: NDArray[np.float64]
    free: NDArray[np.float64]


def wardrobe_of(sheets: list[tuple[int, Cloth, float]]) -> Wardrobe:
    """Packs (body index, cloth, scale) triples. Raises ValueError for unknown pins or grids under 2 × 2."""
    shapes, bodies, rests, anchors, frees = [], [], [], [], []
    for body, cloth, scale in sheets:
        if min(cloth.rows, cloth.columns) < 2:
            raise ValueError(
                f"cloth grid must be at least 2 x 2; got {cloth.rows} x {cloth.columns}; nearest valid is 2 x 2"
            )
        across, down = np.asarray(cloth.across) * scale, np.asarray(cloth.down) * scale
        u, v = np.meshgrid(np.linspace(0, 1, cloth.columns), np.linspace(0, 1, cloth.rows))
        points = np.asarray(cloth.corner) * scale + u[..., None] * across + v[..., None] * down
        free = np.ones(u.shape)
        sail = cloth.pinned == "first and last row"
        if sail:
            free[[0, -1], :] = 0.0
        elif cloth.pinned == "first column":
            free[:, 0] = 0.0
        else:
            raise ValueError(
                f'cloth.pinned must be "first column" or "first and last row"; got {cloth.pinned!r}; '
                'nearest is "first column"'
            )
        width, height = float(np.linalg.norm(across)), float(np.linalg.norm(down))
        edge_a, edge_d = width / (cloth.columns - 1), height / (cloth.rows - 1) * (SLACK if sail else 1.0)
        shapes.append((cloth.rows, cloth.columns))
        bodies.append(body)
        rests.append((edge_a, edge_d, math.hypot(edge_a, edge_d), float(sail), width, height))
        anchors.append(points.reshape(-1, 3))
        frees.append(free.reshape(-1))
    start = np.cumsum([0] + [len(a) for a in anchors]).astype(np.int64)
    return Wardrobe(
        start,
        np.array(shapes, np.int64).reshape(-1, 2),
        np.array(bodies, np.int64),
        np.array(rests, np.float64).reshape(-1, 6),
        np.concatenate([np.zeros((0, 3)), *anchors]),
        np.concatenate([np.zeros(0), *frees]),
    )


@njit(cache=True, error_model="numpy")
def _pull(point, free, a, b, rest, give):  # type: ignore[no-untyped-def]
    """Brings two points `rest` apart; `give` is compliance / Δt² in units of 1/mass."""
    dx, dy, dz = point[b, 0] - point[a, 0], point[b, 1] - point[a, 1], point[b, 2] - point[a, 2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    total = free[a] + free[b]
    if total == 0.0 or length < 1e-12:
        return
    # cloth resists stretching fully and pressing together hardly at all: it buckles
    ease = give if length > rest else give + 3.0
    move = (length - rest) / (length * (total + ease))
    p, q = free[a] * move, free[b] * move
    point[a, 0] += dx * p
    point[a, 1] += dy * p
    point[a, 2] += dz * p
    point[b, 0] -= dx * q
    point[b, 1] -= dy * q
    point[b, 2] -= dz * q


@njit(cache=True, error_model="numpy")
def _blow(point, velocity, push, rows, columns, offset, air_x, air_z, seconds, flutter, width):  # type: ignore[no-untyped-def]
    """Acceleration on each point by air of (air_x, 0, air_z) m/s: pressure along the sheet's normal, with eddies that
    run down it, and weight."""
    speed = math.sqrt(air_x * air_x + air_z * air_z) + 1e-6
    beat = 2.0 * math.pi * 0.55 * speed / width
    skin = 0.03 * speed
    limit = 30.0 * speed + 20.0
    for j in range(rows):
        for i in range(columns):
            p = offset + j * columns + i
            left, right, up, down = p, p, p, p
            if i > 0:
                left = p - 1
            if i < columns - 1:
                right = p + 1
            if j > 0:
                up = p - columns
            if j < rows - 1:
                down = p + columns
            ax, ay, az = (
                point[right, 0] - point[left, 0],
                point[right, 1] - point[left, 1],
                point[right, 2] - point[left, 2],
            )
            bx, by, bz = point[down, 0] - point[up, 0], point[down, 1] - point[up, 1], point[down, 2] - point[up, 2]
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
            nx, ny, nz = nx / length, ny / length, nz / length
            vx, vy, vz = air_x - velocity[p, 0], -velocity[p, 1], air_z - velocity[p, 2]
            u, row = i / (columns - 1), j / rows
            eddy = math.sin(7.5 * u + 1.7 * row - beat * seconds) + 0.5 * math.sin(
                4.1 * u - 2.3 * row - 0.63 * beat * seconds
            )
            across = nx * vx + ny * vy + nz * vz + flutter * speed * u * eddy
            force = 0.5 * AIR / SHEET * across * abs(across)
            if force > limit:
                force = limit
            elif force < -limit:
                force = -limit
            # a little skin friction carries the sheet along with the air
            push[p, 0] = force * nx + skin * vx
            push[p, 1] = force * ny + skin * vy - GRAVITY
            push[p, 2] = force * nz + skin * vz


@njit(cache=True, error_model="numpy")
def _pin(p, q, anchor, origin, body, point):  # type: ignore[no-untyped-def]
    """Puts a point where the body holds it."""
    x, y, z, w = q[body, 0], q[body, 1], q[body, 2], q[body, 3]
    a, b, c = anchor[p, 0], anchor[p, 1], anchor[p, 2]
    s, t, u = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    point[p, 0] = origin[body, 0] + a + w * s + y * u - z * t
    point[p, 1] = origin[body, 1] + b + w * t + z * s - x * u
    point[p, 2] = origin[body, 2] + c + w * u + x * t - y * s


@njit(cache=True, error_model="numpy")
def _step(
    start, shape, body, rest, anchor, free, point, velocity, before, push, position, orientation, wind, seconds, step
):  # type: ignore[no-untyped-def]
    """One substep of `step` seconds for every sheet; `wind` (3,) m/s."""
    calm = 1.0 - 1.2 * step
    for s in range(shape.shape[0]):
        offset, end, owner = start[s], start[s + 1], body[s]
        rows, columns = shape[s, 0], shape[s, 1]
        gust = 1.0 + 0.16 * math.sin(1.9 * seconds + 1.3 * s) + 0.1 * math.sin(4.7 * seconds + 2.1 * s)
        air_x, air_z = gust * wind[0], gust * wind[2]
        flutter = 0.5
        if rest[s, 3] > 0.0:
            # a crew trims sails so that they fill from astern; yards here cannot turn
            flutter = 0.04
            qx, qy, qz, qw = orientation[owner, 0], orientation[owner, 1], orientation[owner, 2], orientation[owner, 3]
            front_x, front_z = -2.0 * (qx * qz + qy * qw), 2.0 * (qx * qx + qy * qy) - 1.0
            lacking = 0.75 * math.sqrt(air_x * air_x + air_z * air_z) - air_x * front_x - air_z * front_z
            if lacking > 0.0:
                air_x, air_z = air_x + lacking * front_x, air_z + lacking * front_z
        _blow(point, velocity, push, rows, columns, offset, air_x, air_z, seconds + 0.37 * s, flutter, rest[s, 4])
        for p in range(offset, end):
            for k in range(3):
                before[p, k] = point[p, k]
                velocity[p, k] = (velocity[p, k] + step * push[p, k]) * calm
                point[p, k] += step * velocity[p, k]
            if free[p] == 0.0:
                _pin(p, orientation, anchor, position, owner, point)
        _satisfy(point, free, offset, rows, columns, rest[s, 0], rest[s, 1], rest[s, 2])
        for p in range(offset, end):
            fast = 0.0
            for k in range(3):
                velocity[p, k] = (point[p, k] - before[p, k]) / step
                fast += velocity[p, k] * velocity[p, k]
            if not fast < FASTEST * FASTEST:
                # absurd or not a number: back to where the sheet hangs at rest
                _pin(p, orientation, anchor, position, owner, point)
                for k in range(3):
                    velocity[p, k] = 0.0


@njit(cache=True, error_model="numpy")
def _satisfy(point, free, offset, rows, columns, across, down, diagonal):  # type: ignore[no-untyped-def]
    """Edges along both ways of the weave, a few times over, and diagonals, which yield more, after the last."""
    for turn in range(ITERATIONS):
        for j in range(rows):
            for i in range(columns):
                p = offset + j * columns + i
                if i < columns - 1:
                    _pull(point, free, p, p + 1, across, 0.02)
                if j < rows - 1:
                    _pull(point, free, p, p + columns, down, 0.02)
                    if turn == ITERATIONS - 1 and i < columns - 1:
                        _pull(point, free, p, p + columns + 1, diagonal, 0.6)
                        _pull(point, free, p + 1, p + columns, diagonal, 0.6)


class Sheets:
    """Moving cloth. `point`, `velocity` (P, 3) float64, world frame, m and m/s."""

    def __init__(
        self,
        wardrobe: Wardrobe,
        position: NDArray[np.float64],
        orientation: NDArray[np.float64],
        wind: NDArray[np.float64],
    ) -> None:
        self.wardrobe = wardrobe
        count = len(wardrobe.free)
        self.point, self.velocity = np.zeros((2, count, 3))
        self._before, self._push = np.zeros((2, count, 3))
        for s in range(len(wardrobe.shape)):
            self._hang(s, position, orientation, wind)

    def _hang(
        self, s: int, position: NDArray[np.float64], orientation: NDArray[np.float64], wind: NDArray[np.float64]
    ) -> None:
        """First shape: a sail slightly filled towards the front, a flag flying downwind."""
        from elsewhere.physics.rigid import rotation_matrix

        w = self.wardrobe
        part = slice(w.start[s], w.start[s + 1])
        body = int(w.body[s])
        turn = rotation_matrix(tuple(orientation[body]))
        rows, columns = w.shape[s]
        v, u = (
            g.reshape(-1, 1) for g in np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        )
        points = position[body] + w.anchor[part] @ turn.T
        speed = float(np.hypot(wind[0], wind[2]))
        if w.rest[s, 3] > 0.0:
            points += np.sin(np.pi * v) * (0.16 * w.rest[s, 5]) * (turn @ np.array([0.0, 0.0, -1.0]))
        elif speed > 0.5:
            grid = points.reshape(rows, columns, 3)
            downwind = wind / speed
            ripple = np.cross(downwind, (0.0, 1.0, 0.0))
            points = np.repeat(grid[:, :1], columns, axis=1).reshape(-1, 3) + u * w.rest[s, 4] * downwind
            points += 0.06 * w.rest[s, 4] * u * np.sin(7.0 * u) * ripple
        self.point[part] = points

    def advance(
        self,
        position: NDArray[np.float64],
        orientation: NDArray[np.float64],
        wind: NDArray[np.float64],
        seconds: float,
        step: float,
    ) -> None:
        """One substep of `step` s to `seconds`, pinned to bodies at `position`, `orientation`, in `wind` (3,) m/s."""
        w = self.wardrobe
        if len(w.shape) == 0:
            return
        _step(
            w.start,
            w.shape,
            w.body,
            w.rest,
            w.anchor,
            w.free,
            self.point,
            self.velocity,
            self._before,
            self._push,
            position,
            orientation,
            wind,
            seconds,
            step,
        )

    def take_over(self, other: Sheets, body: dict[int, int]) -> None:
        """Sheets of bodies that go on hang as in `other`; `body` gives the row here of one there."""
        here: dict[int, list[int]] = {}
        for s, owner in enumerate(self.wardrobe.body.tolist()):
            here.setdefault(owner, []).append(s)
        count: dict[int, int] = {}
        for s, owner in enumerate(other.wardrobe.body.tolist()):
            rank = count[owner] = count.get(owner, -1) + 1
            if owner in body:
                mine = here[body[owner]][rank]
                to = slice(self.wardrobe.start[mine], self.wardrobe.start[mine + 1])
                at = slice(other.wardrobe.start[s], other.wardrobe.start[s + 1])
                self.point[to], self.velocity[to] = other.point[at], other.velocity[at]

    def grids(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float32], ...]:
        """`point` or `velocity` as one (rows, columns, 3) float32 array for each sheet."""
        w = self.wardrobe
        return tuple(
            values[w.start[s] : w.start[s + 1]].reshape(*w.shape[s], 3).astype(np.float32) for s in range(len(w.shape))
        )
