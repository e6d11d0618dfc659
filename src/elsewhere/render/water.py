"""The level surface of a place: a water height field, or flat ground, and where rays meet it.

Near the middle the height is a grid (`State.water_height` plus the swell); beyond it the surface is the
plane y = 0 and only its normal keeps the waves. Waves shorter than a pixel are left out of the normal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.intersect import FAR
from elsewhere.render.noise import device, inlined, sine
from elsewhere.render.tile import OWN, RAYS

KIND, OUTLINE, HALF_X, HALF_Z, LOW, HIGH, DEPTH, CLARITY, COLOR, MATERIAL = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11
BED, SWELL_WAVES, CHOP, CELLS_X, CELLS_Z, SLOPE = 12, 13, 14, 15, 16, 17
NOTHING, GROUND, WATER = 0, 1, 2
OPEN, DISC, BOX = 0, 1, 2
SIZE = 18
WATER_X, WATER_Z, WIDTH, SLOPE_X, SLOPE_Z, LOST = (OWN + k * RAYS for k in range(6))
"""A tile's places on water, one after the other: where, how wide a pixel is there, and the waves (see `tile`)."""
STEEP = 0.3
"""Steepest slope that the ways to the surface allow for; that of the field where it is less."""
NEWTON = 8
"""Most steps of the short way to the surface, which rays take that fall more steeply than it rises."""
CLOSE = 2e-5
"""How near to the surface the short way ends, as a share of the surface's range of heights."""


class Surface(NamedTuple):
    """`field` (Z, X, 3) height in m and the two slopes without swell; `waves` (W, 5) amplitude m, wave vector
    rad/m, phase rad now, wave number, the swell's first and then ripples that only tilt the normal, by rising
    wave number each; `param` (SIZE,) see the constants of this file."""

    field: NDArray[np.float32]
    waves: NDArray[np.float64]
    param: NDArray[np.float64]


@inlined
def fill(field, height, waves, param, start, step):  # type: ignore[no-untyped-def]
    """Rows start, start + step, … of `field` from the simulated `height` (Z, X) and the swell."""
    rows, columns = height.shape
    dx = 2.0 * param[HALF_X] / columns
    dz = 2.0 * param[HALF_Z] / rows
    for j in range(start, rows, step):
        z = (j - 0.5 * (rows - 1)) * dz
        for i in range(columns):
            field[j, i, 0] = 0.0
        for w in range(int(param[SWELL_WAVES])):
            phase = waves[w, 1] * -0.5 * (columns - 1) * dx + waves[w, 2] * z + waves[w, 3]
            s = waves[w, 0] * sine(phase)
            c = waves[w, 0] * sine(phase + 0.5 * math.pi)
            turn_s = math.sin(waves[w, 1] * dx)
            turn_c = math.cos(waves[w, 1] * dx)
            for i in range(columns):
                field[j, i, 0] += s
                s, c = s * turn_c + c * turn_s, c * turn_c - s * turn_s
        up = max(j - 1, 0)
        down = min(j + 1, rows - 1)
        for i in range(columns):
            left = max(i - 1, 0)
            right = min(i + 1, columns - 1)
            level = float(field[j, i, 0])
            if param[OUTLINE] == OPEN:
                # The plane beyond has no swell: lead over to it within the last eighth.
                edge = min(min(i, columns - 1 - i) / (0.125 * columns), min(j, rows - 1 - j) / (0.125 * rows))
                level *= min(1.0, edge)
            field[j, i, 0] = level + height[j, i]
            field[j, i, 1] = (height[j, right] - height[j, left]) / (dx * max(1, right - left))
            field[j, i, 2] = (height[down, i] - height[up, i]) / (dz * max(1, down - up))


@inlined
def set_range(field, param):  # type: ignore[no-untyped-def]
    """Lowest and highest level of the field, its cells per metre and its steepest slope, into `param`."""
    low = 0.0
    high = 0.0
    across = 0.0
    along = 0.0
    for j in range(field.shape[0]):
        for i in range(field.shape[1]):
            level = float(field[j, i, 0])
            low = min(low, level)
            high = max(high, level)
            across = max(across, abs(level - field[j, max(i - 1, 0), 0]))
            along = max(along, abs(level - field[max(j - 1, 0), i, 0]))
    param[LOW] = low - 1e-5
    param[HIGH] = high + 1e-5
    param[CELLS_X] = 0.5 * field.shape[1] / param[HALF_X]
    param[CELLS_Z] = 0.5 * field.shape[0] / param[HALF_Z]
    across *= param[CELLS_X]
    along *= param[CELLS_Z]
    param[SLOPE] = min(STEEP, math.sqrt(across * across + along * along) + 1e-3)


@inlined
def cell_of(s, x, z):  # type: ignore[no-untyped-def]
    """Cell (row, column) whose corners surround (x, z), and where in it (0…1, 0…1)."""
    rows = s.field.shape[0]
    columns = s.field.shape[1]
    u = x * s.param[CELLS_X] + 0.5 * columns - 0.5
    v = z * s.param[CELLS_Z] + 0.5 * rows - 0.5
    u = min(max(u, 0.0), columns - 1.001)
    v = min(max(v, 0.0), rows - 1.001)
    i = int(u)
    j = int(v)
    return j, i, v - j, u - i


@inlined
def level_at(s, x, z):  # type: ignore[no-untyped-def]
    """Height of the field at (x, z), bilinear."""
    j, i, v, u = cell_of(s, x, z)
    f = s.field
    a = f[j, i, 0] * (1.0 - u) + f[j, i + 1, 0] * u
    b = f[j + 1, i, 0] * (1.0 - u) + f[j + 1, i + 1, 0] * u
    return a * (1.0 - v) + b * v


@inlined
def slopes_at(s, x, z):  # type: ignore[no-untyped-def]
    """The two slopes of the field without swell at (x, z), bilinear."""
    j, i, v, u = cell_of(s, x, z)
    f = s.field
    w00 = (1.0 - u) * (1.0 - v)
    w01 = u * (1.0 - v)
    w10 = (1.0 - u) * v
    w11 = u * v
    return (
        f[j, i, 1] * w00 + f[j, i + 1, 1] * w01 + f[j + 1, i, 1] * w10 + f[j + 1, i + 1, 1] * w11,
        f[j, i, 2] * w00 + f[j, i + 1, 2] * w01 + f[j + 1, i, 2] * w10 + f[j + 1, i + 1, 2] * w11,
    )


@inlined
def inside(s, x, z):  # type: ignore[no-untyped-def]
    """Whether there is surface at (x, z); walls hide the last two percent."""
    u = x / s.param[HALF_X]
    v = z / s.param[HALF_Z]
    if s.param[OUTLINE] == DISC:
        return u * u + v * v < 1.04
    if s.param[OUTLINE] == BOX:
        return -1.02 < u < 1.02 and -1.02 < v < 1.02
    return True


@inlined
def hit_surface(s, ox, oy, oz, dx, dy, dz, far):  # type: ignore[no-untyped-def]
    """Distance to the surface from above, FAR on a miss."""
    kind = s.param[KIND]
    if kind == NOTHING or dy >= -1e-9 or oy <= s.param[LOW]:
        return FAR
    flat = -oy / dy
    if kind == GROUND or s.param[HIGH] - s.param[LOW] < 1e-4:
        if 0.0 < flat < far and inside(s, ox + flat * dx, oz + flat * dz):
            return flat
        return FAR
    start = max(0.0, (s.param[HIGH] - oy) / dy)
    stop = min(far, (s.param[LOW] - oy) / dy)
    hx = s.param[HALF_X]
    hz = s.param[HALF_Z]
    if abs(dx) > 1e-9:
        a = (-hx - ox) / dx
        b = (hx - ox) / dx
        start = max(start, min(a, b))
        stop = min(stop, max(a, b))
    elif abs(ox) > hx:
        stop = -1.0
    if abs(dz) > 1e-9:
        a = (-hz - oz) / dz
        b = (hz - oz) / dz
        start = max(start, min(a, b))
        stop = min(stop, max(a, b))
    elif abs(oz) > hz:
        stop = -1.0
    flow = s.param[SLOPE] * math.sqrt(dx * dx + dz * dz)
    if start < stop and -dy > 1.25 * flow:
        # There is one hit only, and each step to where a level surface would be brings it nearer.
        t = min(max(flat, start), stop)
        for _ in range(NEWTON):
            f = oy + t * dy - level_at(s, ox + t * dx, oz + t * dz)
            if abs(f) < CLOSE * (s.param[HIGH] - s.param[LOW]):
                if start <= t <= stop and t < far:
                    return t if inside(s, ox + t * dx, oz + t * dz) else FAR
                break
            t -= f / dy
    if start < stop:
        # Steps by which a surface no steeper than SLOPE cannot be missed.
        rate = 1.0 / (flow - dy)
        tiny = 0.02 * (s.param[HIGH] - s.param[LOW])
        t0 = start
        f0 = oy + t0 * dy - level_at(s, ox + t0 * dx, oz + t0 * dz)
        for _ in range(24):
            t1 = min(stop, t0 + max(f0, tiny) * rate)
            f1 = oy + t1 * dy - level_at(s, ox + t1 * dx, oz + t1 * dz)
            if f0 >= 0.0 > f1:
                t = t0
                for _ in range(2):
                    t = t0 + (t1 - t0) * f0 / (f0 - f1)
                    f = oy + t * dy - level_at(s, ox + t * dx, oz + t * dz)
                    if f >= 0.0:
                        t0 = t
                        f0 = f
                    else:
                        t1 = t
                        f1 = f
                if t < far and inside(s, ox + t * dx, oz + t * dz):
                    return t
                return FAR
            if t1 >= stop:
                break
            t0 = t1
            f0 = f1
    if 0.0 < flat < far and inside(s, ox + flat * dx, oz + flat * dz):
        return flat
    return FAR


@inlined
def still_slopes(s, x, z):  # type: ignore[no-untyped-def]
    """The two slopes of the simulated water at (x, z), without swell and ripples; none beyond the field."""
    if abs(x) < s.param[HALF_X] and abs(z) < s.param[HALF_Z]:
        return slopes_at(s, x, z)
    return 0.0, 0.0


@device
def add_waves(rays, s, count):  # type: ignore[no-untyped-def]
    """Slopes of all waves at the first `count` places of a tile, added to SLOPE, and the mean square slope of those
    that a pixel WIDTH metres wide cannot show, added to LOST: `water_normal`, wave by wave."""
    waves = s.waves
    for w in range(waves.shape[0]):
        kx, kz, number = waves[w, 1], waves[w, 2], waves[w, 4]
        height = waves[w, 0]
        phase = waves[w, 3] + 0.5 * math.pi
        energy = 0.5 * height * height * number * number
        for p in range(count):
            keep = min(1.0, max(0.0, 2.2 - number * rays[WIDTH + p]))
            c = keep * height * sine(kx * rays[WATER_X + p] + kz * rays[WATER_Z + p] + phase)
            rays[SLOPE_X + p] += c * kx
            rays[SLOPE_Z + p] += c * kz
            rays[LOST + p] += energy * (1.0 - keep * keep)


@inlined
def water_normal(s, x, z, footprint):  # type: ignore[no-untyped-def]
    """Unit normal of the water at (x, z), and the mean square slope of the waves that a pixel `footprint`
    metres wide cannot show."""
    lost = 0.0
    sx, sz = still_slopes(s, x, z)
    waves = s.waves
    for w in range(waves.shape[0]):
        keep = 2.2 - waves[w, 4] * footprint
        slope = waves[w, 0] * waves[w, 4]
        if keep <= 0.0:
            lost += 0.5 * slope * slope
            continue
        keep = min(1.0, keep)
        lost += 0.5 * slope * slope * (1.0 - keep * keep)
        c = keep * waves[w, 0] * sine(waves[w, 1] * x + waves[w, 2] * z + waves[w, 3] + 0.5 * math.pi)
        sx += c * waves[w, 1]
        sz += c * waves[w, 2]
    n = 1.0 / math.sqrt(1.0 + sx * sx + sz * sz)
    return -sx * n, n, -sz * n, lost
