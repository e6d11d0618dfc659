"""A water surface by the shallow-water equations on a staggered grid.

Heights live in cells, flow on the faces between them. Each cell gathers from its neighbours, rows run in
order on one thread, and all arithmetic is float32, so that the same input gives the same bits. Hulls
enter as displaced thickness; this file knows no bodies.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

GRAVITY = 9.81
GRID = 128
COURANT = 0.6
"""Largest allowed c·Δt·√(1/Δx² + 1/Δz²); forward-backward stepping is stable below 1."""
SPONGE = 18
"""Cells over which waves fade at an open border."""
SMOOTHING = 0.012
"""Diffusion of height per step in units of Δ²/Δt: keeps the grid's shortest waves quiet, conserves volume."""
THINNEST, THICKEST = 0.3, 2.0
"""The layer that carries flow stays within these multiples of its rest thickness."""

_DROP = np.array([[0.05, 0.2, 0.05], [0.2, -1.0, 0.2], [0.05, 0.2, 0.05]], np.float32)
"""Rise of the nine cells about a drop; the sum is 0."""
_HALF = np.float32(0.5)
_QUARTER = np.float32(0.25)
_ZERO = np.float32(0.0)


@njit(cache=True, error_model="numpy")
def _step_flow_x(height, flow_x, flow_z, out, opening, pull, carry_x, carry_z, limit, keep):  # type: ignore[no-untyped-def]
    """Flow through the faces between columns; `pull` = g Δt/Δx, `carry` = Δt/Δ, `keep` = 1 − friction·Δt."""
    rows, columns = height.shape
    for z in range(rows):
        here = flow_x[z]
        above = flow_x[max(z - 1, 0)]
        below = flow_x[min(z + 1, rows - 1)]
        near, far = flow_z[z], flow_z[z + 1]
        left_height, right_height = height[z, :-1], height[z, 1:]
        left, centre, right = here[:-2], here[1:-1], here[2:]
        up, down = above[1:-1], below[1:-1]
        target, gate = out[z, 1:-1], opening[z, 1:-1]
        near_left, near_right, far_left, far_right = near[:-1], near[1:], far[:-1], far[1:]
        for x in range(columns - 1):
            u = centre[x]
            w = _QUARTER * (near_left[x] + near_right[x] + far_left[x] + far_right[x])
            along = (u - left[x]) if u > _ZERO else (right[x] - u)
            across = (u - up[x]) if w > _ZERO else (down[x] - u)
            new = u - pull * (right_height[x] - left_height[x]) - carry_x * u * along - carry_z * w * across
            new = min(max(new * keep, -limit), limit)
            target[x] = new * gate[x]


@njit(cache=True, error_model="numpy")
def _step_flow_z(height, flow_x, flow_z, out, opening, pull, carry_x, carry_z, limit, keep):  # type: ignore[no-untyped-def]
    """Flow through the faces between rows, the same scheme."""
    rows, columns = height.shape
    for z in range(1, rows):
        upper, lower = height[z - 1], height[z]
        left, centre, right = flow_z[z, :-2], flow_z[z, 1:-1], flow_z[z, 2:]
        up, down = flow_z[z - 1, 1:-1], flow_z[z + 1, 1:-1]
        a, b, c, d = flow_x[z - 1, 1:-2], flow_x[z - 1, 2:-1], flow_x[z, 1:-2], flow_x[z, 2:-1]
        target, gate = out[z, 1:-1], opening[z, 1:-1]
        for x in range(columns - 2):
            w = centre[x]
            u = _QUARTER * (a[x] + b[x] + c[x] + d[x])
            along = (w - up[x]) if w > _ZERO else (down[x] - w)
            across = (w - left[x]) if u > _ZERO else (right[x] - w)
            new = w - pull * (lower[x + 1] - upper[x + 1]) - carry_z * w * along - carry_x * u * across
            new = min(max(new * keep, -limit), limit)
            target[x] = new * gate[x]


@njit(cache=True, error_model="numpy")
def _step_height(height, flow_x, flow_z, out, opening_x, opening_z, fade, depth, carry_x, carry_z, low, high, soft):  # type: ignore[no-untyped-def]
    """Volume balance of each cell; a face's flux is the same number seen from both of its sides."""
    rows, columns = height.shape
    for z in range(1, rows - 1):
        here, north, south = height[z, 1:-1], height[z - 1, 1:-1], height[z + 1, 1:-1]
        west, east = height[z, :-2], height[z, 2:]
        u0, u1, w0, w1 = flow_x[z, 1:-2], flow_x[z, 2:-1], flow_z[z, 1:-1], flow_z[z + 1, 1:-1]
        g0, g1, g2, g3 = opening_x[z, 1:-2], opening_x[z, 2:-1], opening_z[z, 1:-1], opening_z[z + 1, 1:-1]
        target, sponge = out[z, 1:-1], fade[z, 1:-1]
        for x in range(columns - 2):
            h = here[x]
            own = min(max(depth + h, low), high)
            a = min(max(depth + west[x], low), high)
            b = min(max(depth + east[x], low), high)
            c = min(max(depth + north[x], low), high)
            d = min(max(depth + south[x], low), high)
            flux = carry_x * (u1[x] * (_HALF * (own + b)) - u0[x] * (_HALF * (a + own)))
            flux += carry_z * (w1[x] * (_HALF * (own + d)) - w0[x] * (_HALF * (c + own)))
            mix = g0[x] * (west[x] - h) + g1[x] * (east[x] - h) + g2[x] * (north[x] - h) + g3[x] * (south[x] - h)
            target[x] = (h - flux + soft * mix) * sponge[x]


def _scatter(seed: int, tick: int, count: int) -> NDArray[np.uint64]:
    """(count,) hashes of (seed, tick, number), all 64 bits well mixed (SplitMix64)."""
    key = np.arange(count, dtype=np.uint64) + np.uint64(
        (tick * 0x9E3779B97F4A7C15 ^ seed * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    )
    for _ in range(2):
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    return key


def outline_mask(outline: str, half_size: tuple[float, float], grid: int = GRID) -> NDArray[np.bool_]:
    """(grid, grid) bool, true for cells of water."""
    centre = (np.arange(grid) + 0.5) / grid * 2.0 - 1.0
    x, z = np.meshgrid(centre, centre)
    if outline == "disc":
        mask = x * x + z * z <= 1.0
    elif outline in ("box", "open"):
        mask = np.ones((grid, grid), bool)
    else:
        raise ValueError(f'outline must be "open", "disc" or "box"; got {outline!r}; nearest valid is "open"')
    return mask


class Water:
    """The surface over one basin: `height` (Z+2, X+2) m, `flow_x` (Z+2, X+3), `flow_z` (Z+3, X+2) m/s, float32.

    The outermost ring of cells is a dry halo; `surface()` and `flow()` leave it out, and so does `mask`.
    `half_size` (x, z) and `depth` in metres; `period` is the time in seconds that `advance` covers. Raises
    ValueError for sizes that are not positive.
    """

    def __init__(
        self,
        outline: str,
        half_size: tuple[float, float],
        depth: float,
        period: float,
        *,
        friction: float = 0.03,
        grid: int = GRID,
        smoothing: float = SMOOTHING,
    ) -> None:
        for name, value in (("half_size", min(half_size)), ("depth", depth), ("period", period)):
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive and finite; got {value}; nearest valid is 1e-3")
        self.mask = outline_mask(outline, half_size, grid)
        self.cell = (2.0 * half_size[0] / grid, 2.0 * half_size[1] / grid)
        self.depth, self.period, self.smoothing = depth, period, smoothing
        fastest = math.sqrt(GRAVITY * depth * THICKEST)
        rate = fastest * math.hypot(1.0 / self.cell[0], 1.0 / self.cell[1])
        self.substeps = max(1, math.ceil(period * rate / COURANT))
        self.step = period / self.substeps
        self.keep = np.float32(1.0 - friction * self.step)
        self._allocate(outline, grid + 2)

    def _allocate(self, outline: str, grid: int) -> None:
        self.wet = np.pad(self.mask, 1).astype(np.float32)
        self.height, self._height = np.zeros((2, grid, grid), np.float32)
        self.flow_x, self._flow_x = np.zeros((2, grid, grid + 1), np.float32)
        self.flow_z, self._flow_z = np.zeros((2, grid + 1, grid), np.float32)
        self.displaced, self._before = np.zeros((2, grid, grid), np.float32)
        self._open_x = np.zeros((grid, grid + 1), np.float32)
        self._open_z = np.zeros((grid + 1, grid), np.float32)
        self._open_x[:, 1:-1] = self.wet[:, 1:] * self.wet[:, :-1]
        self._open_z[1:-1, :] = self.wet[1:, :] * self.wet[:-1, :]
        self._fade = self.wet.copy()
        if outline == "open":
            distance = np.minimum(np.arange(grid), np.arange(grid)[::-1]) - 1
            near = np.minimum(distance[:, None], distance[None, :])
            depth_in = np.clip((SPONGE - near) / SPONGE, 0.0, 1.0)
            self._fade *= np.exp(-6.0 * self.step * depth_in**2 * self._sponge_rate()).astype(np.float32)

    def _sponge_rate(self) -> float:
        """1/s: a wave is damped by e⁻² or so while it crosses the sponge."""
        return math.sqrt(GRAVITY * self.depth) / (SPONGE * min(self.cell)) + 0.3

    def advance(self) -> None:
        """Moves the water on by `period`."""
        carry_x, carry_z = np.float32(self.step / self.cell[0]), np.float32(self.step / self.cell[1])
        pull_x, pull_z = np.float32(GRAVITY) * carry_x, np.float32(GRAVITY) * carry_z
        limit = np.float32(0.45 * min(self.cell) / self.step)
        depth, low = np.float32(self.depth), np.float32(THINNEST * self.depth)
        high, soft = np.float32(THICKEST * self.depth), np.float32(self.smoothing)
        for _ in range(self.substeps):
            _step_flow_x(
                self.height,
                self.flow_x,
                self.flow_z,
                self._flow_x,
                self._open_x,
                pull_x,
                carry_x,
                carry_z,
                limit,
                self.keep,
            )
            _step_flow_z(
                self.height,
                self.flow_x,
                self.flow_z,
                self._flow_z,
                self._open_z,
                pull_z,
                carry_x,
                carry_z,
                limit,
                self.keep,
            )
            self.flow_x, self._flow_x = self._flow_x, self.flow_x
            self.flow_z, self._flow_z = self._flow_z, self.flow_z
            _step_height(
                self.height,
                self.flow_x,
                self.flow_z,
                self._height,
                self._open_x,
                self._open_z,
                self._fade,
                depth,
                carry_x,
                carry_z,
                low,
                high,
                soft,
            )
            self.height, self._height = self._height, self.height

    def displace(self, gain: float) -> None:
        """Adds `gain` times the change of `displaced` (Z, X; metres of hull under water) since the last call."""
        self.height += np.float32(gain) * (self.displaced - self._before) * self.wet
        self._before[:] = self.displaced

    def settle(self) -> None:
        """Takes the hulls as they lie now for granted: they displaced their water before the film began."""
        self._before[:] = self.displaced

    def rain(self, seed: int, tick: int, count: int, drop: float) -> None:
        """Lets `count` drops fall, each of `drop` metres in one cell; conserves volume."""
        inner, key = self.mask.shape[0] - 2, _scatter(seed, tick, count)
        for z, x in zip(
            (key % np.uint64(inner)).tolist(), ((key >> np.uint64(32)) % np.uint64(inner)).tolist(), strict=True
        ):
            # each drop digs a pit and lifts a rim; places beside a wall are left out
            patch = np.s_[z + 1 : z + 4, x + 1 : x + 4]
            if self.wet[patch].all():
                self.height[patch] += np.float32(drop) * _DROP

    def splash(self, x: float, z: float, height: float, radius: float) -> None:
        """Raises a Gaussian of `height` m and `radius` m, and takes its volume from a ring around it."""
        grid = self.height.shape[0]
        along = (np.arange(grid) + 0.5 - grid / 2) * self.cell[0] - x
        across = (np.arange(grid) + 0.5 - grid / 2) * self.cell[1] - z
        squared = (across[:, None] ** 2 + along[None, :] ** 2) / radius**2
        bump = np.exp(-squared) * self.wet
        ring = squared * np.exp(-squared) * self.wet
        total = float(ring.sum())
        if total > 0.0:
            bump = bump - ring * (float(bump.sum()) / total)
        self.height += (height * bump).astype(np.float32)

    def volume(self) -> float:
        """m³ above the rest level."""
        return float(self.height.astype(np.float64).sum()) * self.cell[0] * self.cell[1]

    def surface(self) -> NDArray[np.float32]:
        """(Z, X) m above rest, a copy."""
        return self.height[1:-1, 1:-1].copy()

    def flow(self) -> NDArray[np.float32]:
        """(2, Z, X) m/s in cells: x, then z."""
        half = np.float32(0.5)
        u, w = self.flow_x[1:-1, 1:-1], self.flow_z[1:-1, 1:-1]
        return np.stack((half * (u[:, 1:] + u[:, :-1]), half * (w[1:] + w[:-1])))
