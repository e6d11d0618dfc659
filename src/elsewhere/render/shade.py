"""What a surface looks like where a ray meets it: colour, normal, Fresnel and the sun's share."""

from __future__ import annotations

import math

from elsewhere.render.intersect import (
    CLOTH,
    FAR,
    FIRST,
    MOVES,
    RIGID,
    SLOTS,
    blocked,
    corner_normal,
    face_normal,
    place,
    turn,
)
from elsewhere.render.noise import device, inlined
from elsewhere.render.sky import SUN
from elsewhere.render.texture import FABRIC, bump, texture

ROUGHNESS, METALLIC, TRANSMISSION, INDEX, TEXTURE, SCALE, MIRROR = 3, 4, 5, 6, 7, 8, 9
"""Columns of the material table (M, 12); 0…2 is the albedo, 9…11 the reflectance at normal incidence."""
MATERIAL_SIZE = 12
WATER_MIRROR = 0.02
THROUGH = 0.35
"""Share of the sun that shines through a cloth from behind."""


@device
def look(g, mats, triangle, i, u, v, px, py, pz, dx, dy, dz, footprint):  # type: ignore[no-untyped-def]
    """Material, albedo (3), shading normal (3) and face normal (3), both towards the viewer, of a triangle
    hit at p by a ray along d whose pixel is `footprint` metres wide there."""
    material = g.materials_of[g.info[i, SLOTS] + g.slot[triangle]]
    nx, ny, nz = corner_normal(g, triangle, i, u, v)
    fx, fy, fz = face_normal(g, triangle, i)
    if fx * dx + fy * dy + fz * dz > 0.0:
        fx, fy, fz = -fx, -fy, -fz
    if nx * fx + ny * fy + nz * fz < 0.0:
        nx, ny, nz = -nx, -ny, -nz
    r = mats[material, 0]
    gr = mats[material, 1]
    b = mats[material, 2]
    kind = int(mats[material, TEXTURE])
    if kind > 0:
        scale = mats[material, SCALE]
        m = g.to_body
        # Seen at a slant a pixel is long: the mean of its two sides keeps most of the pattern.
        blur = footprint * scale / math.sqrt(max(0.02, abs(fx * dx + fy * dy + fz * dz)))
        if g.info[i, MOVES] == CLOTH:
            k = triangle - g.info[i, FIRST]
            w = 1.0 - u - v
            e = g.rest
            x = w * e[k, 0] + u * e[k, 3] + v * e[k, 6]
            y = w * e[k, 1] + u * e[k, 4] + v * e[k, 7]
            z = w * e[k, 2] + u * e[k, 5] + v * e[k, 8]
            ax, ay, az = nx, ny, nz
        else:
            x, y, z = place(m, i, px, py, pz)
            ax, ay, az = turn(m, i, nx, ny, nz)
            blur *= math.sqrt(m[i, 0] * m[i, 0] + m[i, 1] * m[i, 1] + m[i, 2] * m[i, 2])
        x *= scale
        y *= scale
        z *= scale
        tr, tg, tb = texture(kind, x, y, z, abs(ay), blur)
        r *= tr
        gr *= tg
        b *= tb
        if g.info[i, MOVES] != CLOTH:
            ax, ay, az = bump(kind, x, y, z, ax, ay, az, blur)
            if g.info[i, MOVES] == RIGID:
                nx, ny, nz = turn(g.to_world, i, ax, ay, az)
            else:
                nx, ny, nz = ax, ay, az
    # A smooth normal that leans away from the viewer would reflect into the body.
    away = nx * dx + ny * dy + nz * dz
    if away > -0.02:
        k = away + 0.02
        nx -= k * dx
        ny -= k * dy
        nz -= k * dz
        s = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * s, ny * s, nz * s
    return material, min(r, 1.0), min(gr, 1.0), min(b, 1.0), nx, ny, nz, fx, fy, fz


@device
def look_level(mats, material, px, py, pz, footprint):  # type: ignore[no-untyped-def]
    """Albedo (3) and normal (3) of level ground of a material at p."""
    r = mats[material, 0]
    gr = mats[material, 1]
    b = mats[material, 2]
    nx, ny, nz = 0.0, 1.0, 0.0
    kind = int(mats[material, TEXTURE])
    if kind > 0:
        scale = mats[material, SCALE]
        tr, tg, tb = texture(kind, px * scale, py * scale, pz * scale, 1.0, footprint * scale)
        r *= tr
        gr *= tg
        b *= tb
        nx, ny, nz = bump(kind, px * scale, py * scale, pz * scale, 0.0, 1.0, 0.0, footprint * scale)
    return min(r, 1.0), min(gr, 1.0), min(b, 1.0), nx, ny, nz


@inlined
def fresnel(base, cosine, roughness):  # type: ignore[no-untyped-def]
    """Schlick's reflectance, damped on rough surfaces."""
    c = 1.0 - min(1.0, max(0.0, cosine))
    c2 = c * c
    top = max(1.0 - roughness, base)
    return base + (top - base) * c2 * c2 * c


@inlined
def water_fresnel(cosine, lost):  # type: ignore[no-untyped-def]
    """Reflectance of water whose unseen waves have mean square slope `lost`: they tilt towards the viewer."""
    c = 1.0 - min(1.0, max(0.0, cosine))
    c2 = c * c
    return WATER_MIRROR + (1.0 - WATER_MIRROR) * c2 * c2 * c / (1.0 + 16.0 * math.sqrt(lost))


@inlined
def sun_share(cosine, kind):  # type: ignore[no-untyped-def]
    """Diffuse share of the sun: the cosine, or what shines through a cloth from behind."""
    if cosine >= 0.0:
        return cosine
    return -THROUGH * cosine if kind == FABRIC else 0.0


@inlined
def sees_sun(g, instance, px, py, pz, fx, fy, fz, lx, ly, lz, lift):  # type: ignore[no-untyped-def]
    """Whether the direction l is free of things from p of an instance, lifted off its face towards the light. A
    sheet of cloth is too coarse to shade itself."""
    skip = instance if instance >= 0 and g.info[instance, MOVES] == CLOTH else -1
    if fx * lx + fy * ly + fz * lz < 0.0:
        lift = -lift
    return not blocked(g, px + lift * fx, py + lift * fy, pz + lift * fz, lx, ly, lz, FAR, skip)


@inlined
def sun_direction_of(light):  # type: ignore[no-untyped-def]
    """The unit vector to the sun."""
    return light[SUN], light[SUN + 1], light[SUN + 2]


@inlined
def mirrored(dx, dy, dz, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Direction d reflected at a surface of normal n."""
    k = 2.0 * (dx * nx + dy * ny + dz * nz)
    return dx - k * nx, dy - k * ny, dz - k * nz


@inlined
def refracted(dx, dy, dz, nx, ny, nz, ratio):  # type: ignore[no-untyped-def]
    """Direction d bent at a surface of normal n (against d) with `ratio` of indices; total reflection gives
    the zero vector."""
    c = -(dx * nx + dy * ny + dz * nz)
    k = 1.0 - ratio * ratio * (1.0 - c * c)
    if k < 0.0:
        return 0.0, 0.0, 0.0
    s = ratio * c - math.sqrt(k)
    return ratio * dx + s * nx, ratio * dy + s * ny, ratio * dz + s * nz
