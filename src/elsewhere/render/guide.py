"""The guide: per pixel what the calculated world says, with direct sun and hard shadows.

One primary ray and at most one shadow ray each pixel. Rows are owned by workers in a fixed way and pixels
do not know each other, so any number of threads gives the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from elsewhere.render.intersect import BODY, CLOTH, FAR, FIRST, MOVES, RIGID, closest, place
from elsewhere.render.noise import inlined
from elsewhere.render.shade import (
    MIRROR,
    ROUGHNESS,
    TEXTURE,
    fresnel,
    look,
    look_level,
    mirrored,
    refracted,
    sees_sun,
    sun_share,
    water_fresnel,
)
from elsewhere.render.sky import (
    AMBIENT,
    CLOUD_DARK,
    CLOUD_LIT,
    DISC,
    FOG_COLOR,
    SUN,
    SUN_COLOR,
    cloud_density,
    fog,
    sky_smooth,
    sun_disc,
)
from elsewhere.render.water import (
    BED,
    CLARITY,
    COLOR,
    DEPTH,
    KIND,
    MATERIAL,
    WATER,
    hit_surface,
    water_normal,
)


class Picture(NamedTuple):
    """The output arrays of the guide kernel, (H, W, …)."""

    albedo: NDArray[np.float32]
    normal: NDArray[np.float32]
    depth: NDArray[np.float32]
    material: NDArray[np.int16]
    instance: NDArray[np.int16]
    motion: NDArray[np.float32]
    direct: NDArray[np.float32]
    lit: NDArray[np.float32]
    mirror: NDArray[np.float32]
    reflect: NDArray[np.float32]
    roughness: NDArray[np.float32]
    clouds: NDArray[np.float32]


class Before(NamedTuple):
    """The previous instant: camera (16,) as world-to-camera rows, focal and centre, or [0] = 2 when there is
    none; to_world (I, 12); triangles (C, 9) of all cloth."""

    lens: NDArray[np.float64]
    to_world: NDArray[np.float64]
    triangles: NDArray[np.float64]


@inlined
def store(array, j, i, x, y, z):  # type: ignore[no-untyped-def]
    """Write a triple."""
    array[j, i, 0] = x
    array[j, i, 1] = y
    array[j, i, 2] = z


@inlined
def shift(before, i, j, x, y, z, w):  # type: ignore[no-untyped-def]
    """Pixels that point (w = 1) or direction (w = 0) has moved since the previous instant, seen now at (i, j)."""
    c = before.lens
    if c[15] == 0.0:
        return 0.0, 0.0
    a = c[0] * x + c[1] * y + c[2] * z + c[3] * w
    b = c[4] * x + c[5] * y + c[6] * z + c[7] * w
    d = -(c[8] * x + c[9] * y + c[10] * z + c[11] * w)
    if d <= 1e-6:
        return 0.0, 0.0
    return i + 0.5 - (c[13] + c[12] * a / d), j + 0.5 - (c[14] - c[12] * b / d)


@inlined
def bed_look(g, s, mats, light, px, py, pz, dx, dy, dz, nx, ny, nz, footprint):  # type: ignore[no-untyped-def]
    """Colour (3) of clear water seen from above at p: the bed behind a length of water, by Beer and Lambert."""
    rx, ry, rz = refracted(dx, dy, dz, nx, ny, nz, 0.75)
    ry = min(ry, -0.05)
    length = (s.param[DEPTH] + py) / -ry
    r, gr, b, _, _, _ = look_level(mats, int(s.param[BED]), px + length * rx, 0.0, pz + length * rz, footprint)
    keep = math.exp(-(length + s.param[DEPTH]) / s.param[CLARITY])
    c = COLOR
    return (
        s.param[c] + (r - s.param[c]) * keep * (0.35 + 0.65 * keep),
        s.param[c + 1] + (gr - s.param[c + 1]) * keep,
        s.param[c + 2] + (b - s.param[c + 2]) * keep,
    )


@inlined
def sky_pixel(out, light, before, j, i, dx, dy, dz):  # type: ignore[no-untyped-def]
    """A pixel that sees no surface."""
    r, gr, b = sky_smooth(light, dx, dy, dz)
    density = cloud_density(light, dx, dy, dz)
    k = CLOUD_LIT
    q = CLOUD_DARK
    r += (0.5 * (light[k] + light[q]) - r) * density
    gr += (0.5 * (light[k + 1] + light[q + 1]) - gr) * density
    b += (0.5 * (light[k + 2] + light[q + 2]) - b) * density
    disc = sun_disc(light, dx, dy, dz) * (1.0 - density)
    store(out.lit, j, i, r + disc * light[DISC], gr + disc * light[DISC + 1], b + disc * light[DISC + 2])
    store(out.albedo, j, i, 0.0, 0.0, 0.0)
    store(out.normal, j, i, 0.0, 0.0, 0.0)
    store(out.direct, j, i, 0.0, 0.0, 0.0)
    store(out.mirror, j, i, 0.0, 0.0, 0.0)
    store(out.reflect, j, i, 0.0, 0.0, 0.0)
    out.depth[j, i] = math.inf
    out.material[j, i] = -1
    out.instance[j, i] = -1
    out.roughness[j, i] = 0.0
    out.clouds[j, i] = density
    mx, my = shift(before, i, j, dx, dy, dz, 0.0)
    out.motion[j, i, 0] = mx
    out.motion[j, i, 1] = my


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def draw(out, g, s, mats, light, camera, before, bodies, start, step):  # type: ignore[no-untyped-def]
    """Rows start, start + step, … of the guide. `camera` (16,): c2w rows, focal, centre."""
    height = out.depth.shape[0]
    width = out.depth.shape[1]
    c = camera
    ox = c[3]
    oy = c[7]
    oz = c[11]
    pixel = 1.0 / c[12]
    lx = light[SUN]
    ly = light[SUN + 1]
    lz = light[SUN + 2]
    water_material = int(s.param[MATERIAL])
    is_water = s.param[KIND] == WATER
    for j in range(start, height, step):
        for i in range(width):
            u0 = (i + 0.5 - c[13]) * pixel
            v0 = -(j + 0.5 - c[14]) * pixel
            length = math.sqrt(u0 * u0 + v0 * v0 + 1.0)
            dx = (c[0] * u0 + c[1] * v0 - c[2]) / length
            dy = (c[4] * u0 + c[5] * v0 - c[6]) / length
            dz = (c[8] * u0 + c[9] * v0 - c[10]) / length
            t, triangle, instance, u, v = closest(g, ox, oy, oz, dx, dy, dz, FAR)
            level = hit_surface(s, ox, oy, oz, dx, dy, dz, t)
            if level < t:
                t = level
                instance = -2
            if t >= FAR:
                sky_pixel(out, light, before, j, i, dx, dy, dz)
                continue
            px = ox + t * dx
            py = oy + t * dy
            pz = oz + t * dz
            footprint = t * pixel
            kind = 0
            qx, qy, qz = px, py, pz
            lost = 0.0
            if instance >= 0:
                material, r, gr, b, nx, ny, nz, fx, fy, fz = look(
                    g, mats, triangle, instance, u, v, px, py, pz, dx, dy, dz, footprint
                )
                kind = int(mats[material, TEXTURE])
                body = g.info[instance, BODY]
                label = body if body >= 0 else bodies
                if before.lens[15] > 0.0:
                    if g.info[instance, MOVES] == RIGID:
                        qx, qy, qz = place(g.to_body, instance, px, py, pz)
                        qx, qy, qz = place(before.to_world, instance, qx, qy, qz)
                    elif g.info[instance, MOVES] == CLOTH:
                        e = before.triangles
                        k = triangle - g.info[instance, FIRST]
                        qx = e[k, 0] + u * e[k, 3] + v * e[k, 6]
                        qy = e[k, 1] + u * e[k, 4] + v * e[k, 7]
                        qz = e[k, 2] + u * e[k, 5] + v * e[k, 8]
            else:
                fx, fy, fz = 0.0, 1.0, 0.0
                material = water_material
                footprint /= math.sqrt(max(0.02, -dy))
                if is_water:
                    label = bodies + 1
                    nx, ny, nz, lost = water_normal(s, px, pz, footprint)
                    r, gr, b = s.param[COLOR], s.param[COLOR + 1], s.param[COLOR + 2]
                    if s.param[CLARITY] * 4.0 > s.param[DEPTH]:
                        r, gr, b = bed_look(g, s, mats, light, px, py, pz, dx, dy, dz, nx, ny, nz, footprint)
                else:
                    label = bodies
                    r, gr, b, nx, ny, nz = look_level(mats, material, px, py, pz, footprint)
            rough = mats[material, ROUGHNESS]
            share = sun_share(nx * lx + ny * ly + nz * lz, kind)
            if share > 0.0 and not sees_sun(g, instance, px, py, pz, fx, fy, fz, lx, ly, lz, 2e-4 * t + 1e-5):
                share = 0.0
            sr = share * light[SUN_COLOR]
            sg = share * light[SUN_COLOR + 1]
            sb = share * light[SUN_COLOR + 2]
            rx, ry, rz = mirrored(dx, dy, dz, nx, ny, nz)
            cosine = -(nx * dx + ny * dy + nz * dz)
            if instance < 0:
                ry = abs(ry)
            mr, mg, mb = sky_smooth(light, rx, ry, rz)
            if instance < 0 and is_water:
                k = water_fresnel(cosine, lost)
                mr, mg, mb = mr * k, mg * k, mb * k
            else:
                gloss = (1.0 - rough) * (1.0 - rough)
                mr *= gloss * fresnel(mats[material, MIRROR], cosine, rough)
                mg *= gloss * fresnel(mats[material, MIRROR + 1], cosine, rough)
                mb *= gloss * fresnel(mats[material, MIRROR + 2], cosine, rough)
            air = fog(light, t)
            a = AMBIENT
            f = FOG_COLOR
            store(
                out.lit,
                j,
                i,
                r * (sr + light[a]) * air + light[f] * (1.0 - air),
                gr * (sg + light[a + 1]) * air + light[f + 1] * (1.0 - air),
                b * (sb + light[a + 2]) * air + light[f + 2] * (1.0 - air),
            )
            store(out.albedo, j, i, r, gr, b)
            store(out.normal, j, i, nx, ny, nz)
            store(out.direct, j, i, sr, sg, sb)
            store(out.mirror, j, i, mr * air, mg * air, mb * air)
            store(out.reflect, j, i, rx, ry, rz)
            out.depth[j, i] = t / length
            out.material[j, i] = material
            out.instance[j, i] = label
            out.roughness[j, i] = rough
            out.clouds[j, i] = 0.0
            mx, my = shift(before, i, j, qx, qy, qz, 1.0)
            out.motion[j, i, 0] = mx
            out.motion[j, i, 1] = my
