"""Archimedes' lift on upright columns that fill a body's colliders.

A column is a thin prism along the body's own +Y. Its wetted part pushes along the normal of the water's
surface at its centroid; drag and wave damping act there too. Things float because of this and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from elsewhere.physics import swell as waves_on_water
from elsewhere.physics.rigid import rotation_matrix

if TYPE_CHECKING:
    from elsewhere.scene.kinds import Collider

GRAVITY = 9.81
DENSITY = 1000.0
"""kg/m³ of water; coffee differs by less than the catalogue's masses are known."""
ADDED_MASS = 0.5
"""Water that follows a body, as a share of the water it displaces."""
DAMPING = 0.16
"""Share of critical damping of heave, for the waves that a body radiates."""
COLUMNS = 13
"""Columns along the longer side of a body's footprint."""
RAYS = 4
"""Rays along each side of a column's footprint."""

JOLT = 200.0
"""m/s²; water accelerates no body more than this."""
TWIST = 500.0
"""rad/s², the same for rotation."""

_sample_swell = waves_on_water.sample


@dataclass(frozen=True, slots=True)
class Columns:
    """Prisms in the body frame. `x`, `z`, `low`, `high` (C,) m; `area` (C,) m²; `width` m of a square
    as large as one, `spacing` m the larger distance of two."""

    x: NDArray[np.float64]
    z: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    area: NDArray[np.float64]
    width: float
    spacing: float

    @property
    def volume(self) -> float:
        """m³ of the whole body."""
        return float(np.sum(self.area * (self.high - self.low)))


def _span(
    collider: Collider, x: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper y at which vertical lines enter and leave; low > high where they miss."""
    turn = rotation_matrix(collider.orientation)
    points = np.stack((x, np.zeros_like(x), z), axis=-1) - np.asarray(collider.position)
    start, along = points @ turn, turn[1]
    half = np.asarray(collider.half_size, np.float64)
    if collider.shape in ("sphere", "ellipsoid"):
        return _quadric(start / half, along / half)
    if collider.shape == "cylinder":
        keep = np.array([1.0, 0.0, 1.0]) / half
        low, high = _quadric(start * keep, along * keep)
        axes: tuple[int, ...] = (1,)
    else:
        low, high = np.full(x.shape, -1e9), np.full(x.shape, 1e9)
        axes = (0, 1, 2)
    for axis in axes:
        low, high = _slab(start[..., axis], float(along[axis]), float(half[axis]), low, high)
    return low, high


def _quadric(start: NDArray[np.float64], along: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = float(along @ along)
    b, c = start @ along, np.sum(start * start, axis=-1) - 1.0
    if a < 1e-18:
        return np.where(c <= 0, -1e9, 1.0), np.where(c <= 0, 1e9, -1.0)
    root = b * b - a * c
    reach = np.sqrt(np.maximum(root, 0.0))
    return np.where(root > 0, (-b - reach) / a, 1.0), np.where(root > 0, (-b + reach) / a, -1.0)


def _slab(
    start: NDArray[np.float64], along: float, half: float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if abs(along) < 1e-12:
        miss = np.abs(start) > half
        return np.where(miss, 1.0, low), np.where(miss, -1.0, high)
    first, second = (-half - start) / along, (half - start) / along
    return np.maximum(low, np.minimum(first, second)), np.minimum(high, np.maximum(first, second))


def _footprint(colliders: tuple[Collider, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest (x, y, z) of all colliders, body frame."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for c in colliders:
        turn, half = rotation_matrix(c.orientation), np.asarray(c.half_size)
        if c.shape in ("sphere", "ellipsoid"):
            reach = np.sqrt((turn**2) @ half**2)
        elif c.shape == "cylinder":
            reach = np.abs(turn[:, 1]) * half[1] + half[0] * np.sqrt(np.maximum(0.0, 1.0 - turn[:, 1] ** 2))
        else:
            reach = np.abs(turn) @ half
        low, high = np.minimum(low, c.position - reach), np.maximum(high, c.position + reach)
    return low, high


bounds = _footprint


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Disjoint intervals that cover the same points, so that overlapping colliders do not lift twice."""
    joined: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def columns_of(colliders: tuple[Collider, ...]) -> Columns:
    """Fills the union of `colliders` (real size, body frame) with columns.

    Raises ValueError for an empty body.
    """
    if not colliders:
        raise ValueError("colliders must hold at least one primitive; got none; nearest valid is one sphere")
    low, high = _footprint(colliders)
    spacing = max(high[0] - low[0], high[2] - low[2]) / COLUMNS
    counts = [max(3, round((high[k] - low[k]) / spacing)) for k in (0, 2)]
    sides = [(high[k] - low[k]) / n for k, n in zip((0, 2), counts, strict=True)]
    axes = [low[k] + s * (np.arange(n * RAYS) + 0.5) / RAYS for k, s, n in zip((0, 2), sides, counts, strict=True)]
    x, z = np.meshgrid(*axes)
    lows, highs = zip(*(_span(c, x, z) for c in colliders), strict=True)
    rows: list[tuple[float, ...]] = []
    patch = sides[0] * sides[1] / RAYS**2
    for j in range(counts[1]):
        for i in range(counts[0]):
            rows += _cell(x, z, lows, highs, slice(j * RAYS, (j + 1) * RAYS), slice(i * RAYS, (i + 1) * RAYS), patch)
    table = np.array(rows, np.float64).reshape(-1, 5)
    x_column, z_column, low, high, area = (np.ascontiguousarray(table[:, k]) for k in range(5))
    return Columns(
        x_column,
        z_column,
        low,
        high,
        area,
        width=float(math.sqrt(sides[0] * sides[1])),
        spacing=float(max(sides)),
    )


def _cell(x, z, lows, highs, rows: slice, columns: slice, patch: float) -> list[tuple[float, ...]]:  # type: ignore[no-untyped-def]
    """Mean columns of one cell: the first spans of its rays, then the second ones, and so on."""
    layers: dict[int, list[tuple[float, ...]]] = {}
    for j in range(rows.start, rows.stop):
        for i in range(columns.start, columns.stop):
            spans = [(float(a[j, i]), float(b[j, i])) for a, b in zip(lows, highs, strict=True) if b[j, i] > a[j, i]]
            for layer, (low, high) in enumerate(_merged(spans)):
                layers.setdefault(layer, []).append((float(x[j, i]), float(z[j, i]), low, high))
    return [(*np.mean(found, axis=0), patch * len(found)) for found in layers.values()]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The columns of all floating bodies in one table, in the form that the kernel takes.

    `start` (F+1,) offsets into `table` (C, 7: x, low, high, z, area, width, reach of the imprint); `index` (F,) is
    the scene's index.
    `trait` (F, 10): mass kg, damping kg/(s m²), drag along, across and vertical (1/m), lever x, y, z (m): where
    weight acts, body frame; volume m³, mean moment of inertia kg m².
    """

    start: NDArray[np.int64]
    table: NDArray[np.float64]
    index: NDArray[np.int64]
    trait: NDArray[np.float64]


def wetted(
    columns: Columns, y: float, surface: NDArray[np.float64] | float = 0.0
) -> tuple[float, float, NDArray[np.float64]]:
    """Of an upright body with its origin at height `y` m: volume m³, area of the cut m², centre (3,) body frame."""
    low, high = columns.low + y, columns.high + y
    depth = np.clip(surface - low, 0.0, high - low)
    volume = float(np.sum(columns.area * depth))
    cut = float(np.sum(columns.area * ((depth > 0.0) & (depth < high - low))))
    if volume <= 0.0:
        return 0.0, cut, np.zeros(3)
    weight = columns.area * depth / volume
    centre = np.array([weight @ columns.x, weight @ (columns.low + depth / 2), weight @ columns.z])
    return volume, cut, centre


def equilibrium(columns: Columns, mass: float, surface: NDArray[np.float64] | float = 0.0) -> float | None:
    """Height in metres of an upright body's origin at which lift equals weight; None if it sinks."""
    if mass >= DENSITY * columns.volume * 0.999:
        return None
    low = float(np.min(surface - columns.high))
    high = float(np.max(surface - columns.low))
    for _ in range(60):
        middle = (low + high) / 2
        if DENSITY * wetted(columns, middle, surface)[0] > mass:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def metacentric_radius(columns: Columns, y: float) -> tuple[float, float]:
    """Second moment of the cut over volume, about the body's z (roll) and x (pitch), metres."""
    volume, area, _ = wetted(columns, y)
    if volume <= 0.0 or area <= 0.0:
        return 0.0, 0.0
    cut = columns.area * ((columns.low + y < 0.0) & (columns.high + y > 0.0))
    mean_x, mean_z = float(cut @ columns.x) / area, float(cut @ columns.z) / area
    own = columns.width**2 / 12.0
    roll = float(cut @ ((columns.x - mean_x) ** 2 + own))
    pitch = float(cut @ ((columns.z - mean_z) ** 2 + own))
    return roll / volume, pitch / volume


@njit(cache=True, error_model="numpy")
def _rotation(q, i, out):  # type: ignore[no-untyped-def]
    x, y, z, w = q[i, 0], q[i, 1], q[i, 2], q[i, 3]
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)


@njit(cache=True, error_model="numpy")
def _bilinear(grid, column, row):  # type: ignore[no-untyped-def]
    """`grid` at fractional cell coordinates, clamped to its border."""
    rows, columns = grid.shape
    column = min(max(column, 0.0), columns - 1.001)
    row = min(max(row, 0.0), rows - 1.001)
    i, j = int(column), int(row)
    a, b = column - i, row - j
    top = grid[j, i] * (1.0 - a) + grid[j, i + 1] * a
    return top * (1.0 - b) + (grid[j + 1, i] * (1.0 - a) + grid[j + 1, i + 1] * a) * b


@njit(cache=True, error_model="numpy")
def _lift(
    start,
    table,
    index,
    trait,
    buoyancy,
    position,
    orientation,
    velocity,
    spin,
    height,
    flow_x,
    flow_z,
    cell_x,
    cell_z,
    waves,
    seconds,
    tick,
    force,
    torque,
    wet,
    share,
):  # type: ignore[no-untyped-def]
    """Adds lift, damping and drag of each floating body; writes `wet` (F,) m³ and `share` (C,), the wetted part."""
    turn = np.empty((3, 3))
    origin_x, origin_z = (height.shape[1] - 1) / 2.0, (height.shape[0] - 1) / 2.0
    for f in range(index.shape[0]):
        body = index[f]
        _rotation(orientation, body, turn)
        mass, damping = trait[f, 0], trait[f, 1]
        centre_x, centre_y, centre_z = position[body, 0], position[body, 1], position[body, 2]
        heavy = 4.0 * max(1.0, DENSITY * trait[f, 8] / mass)
        wet[f] = 0.0
        fx, fy, fz, tx, ty, tz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for c in range(start[f], start[f + 1]):
            lx, low, high = table[c, 0], table[c, 1], table[c, 2]
            lz, area, width = table[c, 3], table[c, 4], table[c, 5]
            middle = 0.5 * (low + high)
            half = 0.5 * (high - low)
            # arm of the column's middle, then of its wetted part's centroid
            ax = turn[0, 0] * lx + turn[0, 1] * middle + turn[0, 2] * lz
            ay = turn[1, 0] * lx + turn[1, 1] * middle + turn[1, 2] * lz
            az = turn[2, 0] * lx + turn[2, 1] * middle + turn[2, 2] * lz
            x, z = centre_x + ax, centre_z + az
            swell, slope_x, slope_z, rate = _sample_swell(waves, x, z, seconds)
            column, row = x / cell_x + origin_x, z / cell_z + origin_z
            surface = swell + _bilinear(height, column, row)
            upright = turn[1, 1]
            reach = half * abs(upright) + 0.5 * width * math.sqrt(max(0.0, 1.0 - upright * upright)) + 1e-9
            part = (surface - (centre_y + ay - reach)) / (2.0 * reach)
            part = min(max(part, 0.0), 1.0)
            share[c] = part
            if part <= 0.0:
                continue
            shift = -math.copysign(half * (1.0 - part), upright)
            ax += turn[0, 1] * shift
            ay += turn[1, 1] * shift
            az += turn[2, 1] * shift
            volume = area * 2.0 * half * part
            wet[f] += volume
            weight = DENSITY * GRAVITY * volume * buoyancy[body]
            px, py, pz = -weight * slope_x, weight, -weight * slope_z
            vx = velocity[body, 0] + spin[body, 1] * az - spin[body, 2] * ay - _bilinear(flow_x, column + 0.5, row)
            vy = velocity[body, 1] + spin[body, 2] * ax - spin[body, 0] * az
            vz = velocity[body, 2] + spin[body, 0] * ay - spin[body, 1] * ax - _bilinear(flow_z, column, row + 0.5)
            if part < 1.0:
                py -= damping * area * (vy - rate)
            # quadratic drag along the body's own axes, in a form that cannot reverse the motion within a tick
            water = DENSITY * volume
            for axis in range(3):
                gone = turn[0, axis] * vx + turn[1, axis] * vy + turn[2, axis] * vz
                hold = trait[f, 2 + axis] * abs(gone)
                pull = -water * gone * hold / (1.0 + hold * tick * heavy)
                px += turn[0, axis] * pull
                py += turn[1, axis] * pull
                pz += turn[2, axis] * pull
            fx += px
            fy += py
            fz += pz
            tx += ay * pz - az * py
            ty += az * px - ax * pz
            tz += ax * py - ay * px
        # weight acts at the lever, not at the origin: the same as ballast in the hold
        arm_x = turn[0, 0] * trait[f, 5] + turn[0, 1] * trait[f, 6] + turn[0, 2] * trait[f, 7]
        arm_z = turn[2, 0] * trait[f, 5] + turn[2, 1] * trait[f, 6] + turn[2, 2] * trait[f, 7]
        tx += arm_z * mass * GRAVITY
        tz -= arm_x * mass * GRAVITY
        # a jolt beyond what water does to a body would be the tick's fault: it is cut
        jolt = math.sqrt(fx * fx + fy * fy + fz * fz) / (mass * JOLT)
        twist = math.sqrt(tx * tx + ty * ty + tz * tz) / (trait[f, 9] * TWIST)
        jolt, twist = 1.0 / max(1.0, jolt), 1.0 / max(1.0, twist)
        force[body, 0] += fx * jolt
        force[body, 1] += fy * jolt
        force[body, 2] += fz * jolt
        torque[body, 0] += tx * twist
        torque[body, 1] += ty * twist
        torque[body, 2] += tz * twist


@njit(cache=True, error_model="numpy")
def _imprint(start, table, index, share, position, orientation, cell_x, cell_z, wet_cells, displaced):  # type: ignore[no-untyped-def]
    """Thickness of hull under water in each cell of `displaced` (Z, X) m, spread by a tent about each column."""
    displaced[:] = np.float32(0.0)
    rows, columns = displaced.shape
    turn = np.empty((3, 3))
    for f in range(index.shape[0]):
        body = index[f]
        _rotation(orientation, body, turn)
        for c in range(start[f], start[f + 1]):
            if share[c] <= 0.0:
                continue
            lx, low, high = table[c, 0], table[c, 1], table[c, 2]
            lz, area, width = table[c, 3], table[c, 4], table[c, 6]
            middle = 0.5 * (low + high)
            x = position[body, 0] + turn[0, 0] * lx + turn[0, 1] * middle + turn[0, 2] * lz
            z = position[body, 2] + turn[2, 0] * lx + turn[2, 1] * middle + turn[2, 2] * lz
            column, row = x / cell_x + (columns - 1) / 2.0, z / cell_z + (rows - 1) / 2.0
            wide_x, wide_z = max(2.0, width / cell_x), max(2.0, width / cell_z)
            i0, i1 = max(1, int(column - wide_x) + 1), min(columns - 2, int(column + wide_x))
            j0, j1 = max(1, int(row - wide_z) + 1), min(rows - 2, int(row + wide_z))
            total = 0.0
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    total += (
                        max(0.0, 1.0 - abs(i - column) / wide_x)
                        * max(0.0, 1.0 - abs(j - row) / wide_z)
                        * wet_cells[j, i]
                    )
            if total <= 0.0:
                continue
            amount = area * (high - low) * share[c] / (cell_x * cell_z * total)
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    tent = (
                        max(0.0, 1.0 - abs(i - column) / wide_x)
                        * max(0.0, 1.0 - abs(j - row) / wide_z)
                        * wet_cells[j, i]
                    )
                    displaced[j, i] += np.float32(amount * tent)


def fleet_of(
    columns: list[Columns],
    index: list[int],
    masses: list[float],
    lengths: list[tuple[float, float]],
    levers: list[NDArray[np.float64]],
    moments: list[float],
) -> Fleet:
    """Packs the floating bodies. `lengths` are (extent along z, extent along x) in metres."""
    start = np.cumsum([0] + [len(c.x) for c in columns]).astype(np.int64)
    table = np.zeros((int(start[-1]), 7))
    trait = np.zeros((len(columns), 10))
    for f, c in enumerate(columns):
        rows = table[start[f] : start[f + 1]]
        rows[:, :5] = np.stack([c.x, c.low, c.high, c.z, c.area], axis=1)
        rows[:, 5:] = c.width, 1.7 * c.spacing
        trait[f] = *_traits(c, masses[f], lengths[f], levers[f]), c.volume, moments[f]
    return Fleet(start, table, np.array(index, np.int64), trait)


def _traits(
    columns: Columns, mass: float, length: tuple[float, float], lever: NDArray[np.float64]
) -> NDArray[np.float64]:
    along, across = length
    slender = along / max(across, 1e-6) > 1.6
    y = equilibrium(columns, mass)
    area = wetted(columns, y)[1] if y is not None else float(columns.area.sum()) * 0.5
    area = max(area, 1e-6 * along * across, 1e-12)
    stiffness = DENSITY * GRAVITY * area
    damping = 2.0 * DAMPING * math.sqrt(stiffness * mass * (1.0 + ADDED_MASS)) / area
    # a hull slips ahead easily and resists sliding sideways; round things are the same all over
    drag = (1.6 / across, 1.2 / along, 0.35 / along) if slender else (0.5 / across, 0.8 / across, 0.5 / across)
    return np.array([mass, damping, *drag, *lever])
