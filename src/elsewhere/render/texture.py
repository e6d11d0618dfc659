"""Procedural patterns: what a texture name does to a material's colour and to its normal.

Coordinates are pattern units: the body frame at natural size (or the world for ground) times the
material's `texture_scale`. `blur` is the width of a pixel in the same units; detail finer than that fades
to its mean so that pictures do not shimmer.
"""

from __future__ import annotations

import math

from elsewhere.render.noise import device, fbm2, fbm3, inlined, lattice, noise2, noise3, pick, sine, smoothstep
from elsewhere.scene.kinds import TEXTURES

WOOD, STONE, SAND, SNOW = (TEXTURES.index(n) for n in ("wood", "stone", "sand", "snow"))
GRASS, FABRIC, LEAVES, BRICK = (TEXTURES.index(n) for n in ("grass", "fabric", "leaves", "brick"))
MARBLE, METAL, SKIN = (TEXTURES.index(n) for n in ("marble", "metal", "skin"))


@inlined
def detail(frequency, blur):  # type: ignore[no-untyped-def]
    """How much of a pattern of `frequency` a pixel can show, 0…1."""
    return min(1.0, max(0.0, 1.4 - 2.2 * frequency * blur))


@device
def wood(x, y, z, across, blur):  # type: ignore[no-untyped-def]
    """Planks along z, seen from above (`across` > 0.7) side by side in x, else stacked in y."""
    u = x if across > 0.7 else y
    u *= 2.5
    plank = math.floor(u)
    f = u - plank
    joint = z * 0.4 + pick(int(plank), int(plank) + 9) * 5.0
    piece = math.floor(joint)
    tint = 0.80 + 0.40 * pick(int(plank), int(piece))
    seam = min(f, 1.0 - f) * 12.0
    seam = min(1.0, 0.35 + 0.65 * seam)
    k = detail(4.0, blur)
    v = 1.0 + (tint * seam - 1.0) * k + (tint - 1.0) * (1.0 - k) * 0.4
    fine = detail(16.0, blur)
    if fine > 0.0:
        grain = noise3(x * 9.0 + 7.0 * plank, y * 9.0, z * 0.9)
        grain = sine(grain * 22.0 + x * 5.0 + y * 5.0)
        v *= 1.0 + 0.13 * grain * fine
    return v, v * (0.98 + 0.04 * tint), v * (0.94 + 0.08 * tint)


@device
def brick(x, y, z, across, blur):  # type: ignore[no-untyped-def]
    """Courses of bricks in y; flat areas get them in z."""
    row = y * 5.0 if across < 0.7 else z * 5.0
    course = math.floor(row)
    u = (x + (z if across < 0.7 else 0.0)) * 2.2 + 0.5 * course
    stone = math.floor(u)
    a = row - course
    b = u - stone
    edge = min(min(a, 1.0 - a) * 8.0, min(b, 1.0 - b) * 16.0)
    mortar = 1.0 - min(1.0, edge)
    k = detail(5.0, blur)
    tint = 1.0 + (pick(int(course), int(stone)) - 0.5) * 0.5 * k
    mortar *= k
    return (
        tint + (1.35 - tint) * mortar,
        tint * 0.97 + (1.6 - tint) * mortar,
        tint * 0.95 + (1.8 - tint) * mortar,
    )


@device
def texture(kind, x, y, z, across, blur):  # type: ignore[no-untyped-def]
    """Factor (r, g, b) on the albedo at pattern point (x, y, z); `across` is |normal y|."""
    if kind == WOOD:
        return wood(x, y, z, across, blur)
    if kind == BRICK:
        return brick(x, y, z, across, blur)
    if kind == STONE:
        f = fbm3(x * 2.0, y * 2.0, z * 2.0, 3)
        crack = 1.0 - 0.45 * detail(3.0, blur) * (
            1.0 - smoothstep(0.0, 0.05, abs(noise3(x * 3.0, y * 3.0, z * 3.0) - 0.5))
        )
        v = (0.62 + 0.76 * f) * crack
        return v, v * (0.99 + 0.03 * f), v * (0.96 + 0.06 * f)
    if kind == SAND:
        f = fbm2(x * 0.35, z * 0.35, 3)
        g = noise2(x * 24.0, z * 24.0) - 0.5
        v = 0.82 + 0.36 * f + 0.22 * g * detail(24.0, blur)
        return v, v * (0.97 + 0.05 * f), v * (0.93 + 0.10 * f)
    if kind == SNOW:
        f = fbm2(x * 0.5, z * 0.5, 3)
        v = 0.94 + 0.10 * f
        spark = detail(28.0, blur)
        if spark > 0.0 and lattice(math.floor(x * 28.0), math.floor(y * 28.0), math.floor(z * 28.0)) > 0.985:
            v += 0.35 * spark
        return v * (0.96 + 0.05 * f), v * (0.98 + 0.02 * f), v
    if kind == GRASS:
        f = fbm2(x * 0.8, z * 0.8, 3)
        g = noise3(x * 16.0, y * 6.0, z * 16.0) - 0.5
        v = 0.70 + 0.55 * f + 0.6 * g * detail(16.0, blur)
        return v * (0.75 + 0.55 * f), v, v * 0.85
    if kind == FABRIC:
        k = detail(3.0, blur)
        u = y * 1.5
        seam = u - math.floor(u)
        seam = 1.0 - 0.18 * k * (1.0 - smoothstep(0.0, 0.06, min(seam, 1.0 - seam)))
        f = noise3(x * 3.0, y * 3.0, z * 3.0)
        weave = 1.0 + 0.08 * detail(30.0, blur) * sine(x * 160.0) * sine(y * 160.0)
        v = seam * weave * (0.90 + 0.20 * f)
        return v, v, v * (0.96 + 0.06 * f)
    if kind == LEAVES:
        f = noise3(x * 4.0, y * 4.0, z * 4.0)
        g = noise3(x * 11.0, y * 11.0, z * 11.0)
        k = detail(11.0, blur)
        v = 0.45 + 0.75 * f + 0.5 * (g - 0.5) * k
        return v * (0.8 + 0.45 * f), v, v * 0.8
    if kind == MARBLE:
        f = fbm3(x * 2.0, y * 2.0, z * 2.0, 3)
        vein = abs(sine(3.0 * x + 2.0 * y + 9.0 * f))
        v = 0.62 + 0.42 * min(1.0, vein * 2.5)
        return v, v * 0.99, v * (0.96 + 0.05 * f)
    if kind == METAL:
        f = noise3(x * 2.0, y * 40.0, z * 2.0)
        v = 1.0 + 0.14 * (f - 0.5) * detail(40.0, blur)
        return v, v, v
    if kind == SKIN:
        f = fbm3(x * 2.5, y * 2.5, z * 2.5, 3)
        v = 0.84 + 0.32 * f
        return v, v, v
    return 1.0, 1.0, 1.0


@device
def relief(kind, x, y, z):  # type: ignore[no-untyped-def]
    """Height of the pattern in pattern units, for bump."""
    if kind == SAND:
        bend = noise2(x * 0.9, z * 0.9)
        return 0.022 * sine(9.0 * x + 3.5 * z + 7.0 * bend) * (0.4 + bend)
    if kind == SNOW:
        return 0.05 * noise2(x * 1.7, z * 1.7) + 0.012 * noise2(x * 6.0, z * 6.0)
    if kind == STONE:
        return 0.10 * noise3(x * 3.0, y * 3.0, z * 3.0)
    if kind == LEAVES:
        return 0.16 * noise3(x * 5.0, y * 5.0, z * 5.0)
    if kind == GRASS:
        return 0.045 * noise3(x * 9.0, y * 9.0, z * 9.0)
    return 0.0


@device
def bump(kind, x, y, z, nx, ny, nz, blur):  # type: ignore[no-untyped-def]
    """The normal tilted by the pattern's relief; both in the pattern's frame."""
    if kind != SAND and kind != SNOW and kind != STONE and kind != LEAVES and kind != GRASS:
        return nx, ny, nz
    k = detail(3.0, blur)
    if k <= 0.0:
        return nx, ny, nz
    e = 0.04
    h = relief(kind, x, y, z)
    gx = (relief(kind, x + e, y, z) - h) * k / e
    gy = 0.0
    if kind != SAND and kind != SNOW:
        gy = (relief(kind, x, y + e, z) - h) * k / e
    gz = (relief(kind, x, y, z + e) - h) * k / e
    along = gx * nx + gy * ny + gz * nz
    nx -= gx - along * nx
    ny -= gy - along * ny
    nz -= gz - along * nz
    s = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * s, ny * s, nz * s
