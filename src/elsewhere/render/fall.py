"""Rain and snow that fall through a picture, and the rings that drops leave on water.

A drop's place is a function of (seed, its number, time) alone: it hangs in the world and not on the screen. Three boxes
of drops, each larger and sparser than the last, go with the camera; what leaves one comes in again on the other side.
The same drops are laid over the guide's plain light and over the reference.
"""

from __future__ import annotations

import math

from numba import njit

from elsewhere.render.noise import device
from elsewhere.render.sky import AMBIENT, FOG, HORIZON, SUN_COLOR, ZENITH

BOXES = (4.0, 10.0, 24.0)
"""Sides of the boxes, in the place's unit of length."""
DROPS, FLAKES = 1500, 2200
"""Drops of one box in the heaviest rain, flakes in the heaviest snow."""
RINGS = 700
"""Rings on the water in the heaviest rain."""
RAIN_SPEED, SNOW_SPEED = 8.0, 1.1
"""Units per second."""
EXPOSURE = 1.0 / 45.0
"""Seconds for which the shutter is open: the length of a streak."""
RAIN_RADIUS, SNOW_RADIUS = 0.0045, 0.018
"""Units; drops are drawn larger than they are, as a camera's focus does."""
NEAREST = 0.25
RING_LIFE = 0.7
_TURN = 6.283185307179586


@device
def hashed(seed, a, b):  # type: ignore[no-untyped-def]
    """A number 0…1 of three whole ones (two rounds of a 64-bit multiply and shift)."""
    x = (seed * 0x9E3779B1 + a * 0x85EBCA77 + b * 0xC2B2AE3D + 0x27D4EB2F) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    x ^= x >> 16
    return x / 4294967296.0


@device
def put(image, depth, j, i, z, share, r, g, b):  # type: ignore[no-untyped-def]
    """Lays `share` of a colour over a pixel that is farther than z."""
    if 0 <= j < depth.shape[0] and 0 <= i < depth.shape[1] and depth[j, i] > z:
        image[j, i, 0] += share * (r - image[j, i, 0])
        image[j, i, 1] += share * (g - image[j, i, 1])
        image[j, i, 2] += share * (b - image[j, i, 2])


@device
def spread(image, depth, y, x, z, share, r, g, b):  # type: ignore[no-untyped-def]
    """Lays a point of one pixel's size over the four pixels that it touches; pixel middles are at whole numbers."""
    j = math.floor(y)
    i = math.floor(x)
    v = y - j
    u = x - i
    j = int(j)
    i = int(i)
    put(image, depth, j, i, z, share * (1.0 - u) * (1.0 - v), r, g, b)
    put(image, depth, j, i + 1, z, share * u * (1.0 - v), r, g, b)
    put(image, depth, j + 1, i, z, share * (1.0 - u) * v, r, g, b)
    put(image, depth, j + 1, i + 1, z, share * u * v, r, g, b)


@device
def wrapped(value, middle, side):  # type: ignore[no-untyped-def]
    """`value`, moved by whole sides to within half a side of `middle`."""
    return value - side * math.floor((value - middle) / side + 0.5)


@device
def looked(c, x, y, z):  # type: ignore[no-untyped-def]
    """A world point in the picture: column and row, pixel middles whole, and metres ahead."""
    px = x - c[3]
    py = y - c[7]
    pz = z - c[11]
    ahead = -(c[2] * px + c[6] * py + c[10] * pz)
    if ahead < 1e-6:
        return 0.0, 0.0, -1.0
    right = c[0] * px + c[4] * py + c[8] * pz
    up = c[1] * px + c[5] * py + c[9] * pz
    return c[13] + c[12] * right / ahead - 0.5, c[14] - c[12] * up / ahead - 0.5, ahead


@device
def fade(value, middle, side):  # type: ignore[no-untyped-def]
    """1 well inside a box, 0 at its sides."""
    return min(1.0, 5.0 * (1.0 - 2.0 * abs(value - middle) / side))


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def let_fall(image, depth, light, camera, unit, wind_x, wind_z, seconds, seed, amount, snowing, boxes):  # type: ignore[no-untyped-def]
    """Draws rain, or snow where `snowing`, of `amount` 0…1 over linear radiance `image` (H, W, 3).

    `depth` (H, W) metres; `camera` (16,) as in the guide; `unit` metres; wind in units per second.
    """
    c = camera
    focal = c[12]
    pace = SNOW_SPEED if snowing else RAIN_SPEED
    radius = (SNOW_RADIUS if snowing else RAIN_RADIUS) * unit
    z0 = ZENITH
    h0 = HORIZON
    s0 = SUN_COLOR
    a0 = AMBIENT
    if snowing:
        # A flake is lit from all sides and through, and so a little brighter than snow that lies.
        r = 1.15 * (light[a0] + 0.6 * light[s0])
        g = 1.15 * (light[a0 + 1] + 0.6 * light[s0 + 1])
        b = 1.15 * (light[a0 + 2] + 0.6 * light[s0 + 2])
    else:
        # A drop is a lens that shows the sky, and some of the sun.
        r = 0.55 * light[h0] + 0.45 * light[z0] + 0.15 * light[s0]
        g = 0.55 * light[h0 + 1] + 0.45 * light[z0 + 1] + 0.15 * light[s0 + 1]
        b = 0.55 * light[h0 + 2] + 0.45 * light[z0 + 2] + 0.15 * light[s0 + 2]
    for layer in range(len(boxes)):
        side = boxes[layer] * unit
        for k in range(int((FLAKES if snowing else DROPS) * amount)):
            number = 3 * k + layer
            own = pace * unit * (0.8 + 0.4 * hashed(seed, number, 1))
            fallen = own * seconds + side * hashed(seed, number, 2)
            # Each time that it has fallen through the box it comes down elsewhere.
            cycle = math.floor(fallen / side)
            y = wrapped(cycle * side - fallen, c[7], side)
            x = side * hashed(seed, number, 10 + 2 * cycle) + wind_x * unit * seconds
            z = side * hashed(seed, number, 11 + 2 * cycle) + wind_z * unit * seconds
            if snowing:
                turn = _TURN * hashed(seed, number, 3) + seconds * (1.0 + hashed(seed, number, 4))
                x += 0.12 * unit * math.sin(turn)
                z += 0.12 * unit * math.cos(0.8 * turn)
            x = wrapped(x, c[3], side)
            z = wrapped(z, c[11], side)
            seam = min(1.0, 8.0 * abs(y / side - math.floor(y / side + 0.5)))
            share = seam * min(fade(x, c[3], side), fade(y, c[7], side), fade(z, c[11], side))
            px, py, ahead = looked(c, x, y, z)
            if ahead < NEAREST * unit or share <= 0.0:
                continue
            size = radius * focal / ahead
            share *= math.exp(-light[FOG] * ahead)
            if snowing:
                if size <= 0.75:
                    spread(image, depth, py, px, ahead, min(1.0, 3.14 * size * size) * share, r, g, b)
                    continue
                size = min(size, 0.02 * depth.shape[0] + 2.0)
                reach = int(size + 1.5)
                for j in range(int(py) - reach, int(py) + reach + 2):
                    for i in range(int(px) - reach, int(px) + reach + 2):
                        away = math.sqrt((j - py) * (j - py) + (i - px) * (i - px))
                        cover = min(1.0, max(0.0, size + 0.5 - away))
                        if cover > 0.0:
                            put(image, depth, j, i, ahead, 0.85 * share * cover * (1.0 - 0.4 * away / size), r, g, b)
                continue
            tail = EXPOSURE * own
            qx, qy, _ = looked(c, x - EXPOSURE * wind_x * unit, y + tail, z - EXPOSURE * wind_z * unit)
            length = math.sqrt((qx - px) * (qx - px) + (qy - py) * (qy - py))
            steps = min(int(length) + 1, depth.shape[0])
            share *= 0.55 * min(1.0, 2.0 * size)
            for n in range(steps):
                along = (n + 0.5) / steps
                spread(image, depth, py + along * (qy - py), px + along * (qx - px), ahead, share, r, g, b)


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def let_ring(image, depth, instance, water, light, camera, unit, seconds, seed, amount):  # type: ignore[no-untyped-def]
    """Draws the rings of drops on water: pixels of `instance` equal to `water`, near the level y = 0."""
    c = camera
    h0 = HORIZON
    side = 24.0 * unit
    # The rings are about the place where the camera looks at the water.
    ahead = min(c[7] / max(c[6], 0.05), 14.0 * unit)
    middle_x = c[3] - ahead * c[2]
    middle_z = c[11] - ahead * c[10]
    for k in range(int(RINGS * amount)):
        clock = seconds / RING_LIFE + hashed(seed, k, 5)
        cycle = math.floor(clock)
        age = clock - cycle
        x = wrapped(side * hashed(seed, k, 6 + 2 * cycle), middle_x, side)
        z = wrapped(side * hashed(seed, k, 7 + 2 * cycle), middle_z, side)
        px, py, ahead = looked(c, x, 0.0, z)
        if ahead < NEAREST * unit or not (-9.0 < px < depth.shape[1] + 9.0 and -9.0 < py < depth.shape[0] + 9.0):
            continue
        radius = (0.02 + 0.2 * age) * unit
        size = radius * c[12] / ahead
        if size < 0.4:
            continue
        share = 0.42 * (1.0 - age) * math.exp(-light[FOG] * ahead) * min(1.0, 0.05 * unit * c[12] / ahead)
        share *= min(fade(x, middle_x, side), fade(z, middle_z, side))
        # Seen flat, all of a ring falls on few pixels.
        share *= min(1.0, max(0.1, 3.0 * c[7] / ahead))
        steps = 8 + min(int(5.0 * size), 56)
        for n in range(steps):
            turn = _TURN * n / steps
            qx, qy, far = looked(c, x + radius * math.cos(turn), 0.0, z + radius * math.sin(turn))
            j = math.floor(qy + 0.5)
            i = math.floor(qx + 0.5)
            if far > 0.0 and 0 <= j < depth.shape[0] and 0 <= i < depth.shape[1] and instance[j, i] == water:
                spread(image, depth, qy, qx, 0.7 * far, share, light[h0], light[h0 + 1], light[h0 + 2])
