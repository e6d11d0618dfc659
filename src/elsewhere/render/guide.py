"""The guide: per pixel what the calculated world says, with direct sun and hard shadows.

One primary ray and at most one shadow ray each pixel, a tile of pixels at a time. Tiles are owned by workers in a
fixed way and do not know each other, so any number of threads gives the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from elsewhere.render.intersect import BODY, CLOTH, FAR, FIRST, MOVES, RIGID, place
from elsewhere.render.noise import device, inlined
from elsewhere.render.shade import (
    MIRROR,
    ROUGHNESS,
    TEXTURE,
    fresnel,
    look,
    look_level,
    mirrored,
    refracted,
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
from elsewhere.render.tile import (
    AX,
    AY,
    AZ,
    INSTANCE,
    OPEN,
    OWN,
    RAYS,
    SIDE,
    SKIP,
    TRIANGLE,
    T,
    U,
    V,
    X,
    Y,
    Z,
    block,
    closest_of,
)
from elsewhere.render.water import (
    BED,
    CLARITY,
    COLOR,
    DEPTH,
    KIND,
    LOST,
    MATERIAL,
    SLOPE_X,
    SLOPE_Z,
    WATER,
    WATER_X,
    WATER_Z,
    WIDTH,
    add_waves,
    hit_surface,
    still_slopes,
)

RED, GREEN, BLUE, SHARE, AIR, LENGTH = (OWN + k * RAYS for k in range(6, 12))
"""What a tile remembers of its pixels until the sun is known: albedo, the sun's share if it is free, the share of
light that the air lets pass; and the length of a ray of depth one. `water` has the first six."""
SCRATCH = OWN + 12 * RAYS


class Picture(NamedTuple):
    """The output arrays of the guide kernel, (H, W, …), zero at first."""

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
def shift(lens, i, j, x, y, z, w):  # type: ignore[no-untyped-def]
    """Pixels that point (w = 1) or direction (w = 0) has moved since the previous instant, seen now at (i, j)."""
    c = lens
    if c[15] == 0.0:
        return 0.0, 0.0
    a = c[0] * x + c[1] * y + c[2] * z + c[3] * w
    b = c[4] * x + c[5] * y + c[6] * z + c[7] * w
    d = -(c[8] * x + c[9] * y + c[10] * z + c[11] * w)
    if d <= 1e-6:
        return 0.0, 0.0
    return i + 0.5 - (c[13] + c[12] * a / d), j + 0.5 - (c[14] - c[12] * b / d)


@inlined
def bed_look(s, mats, px, py, pz, dx, dy, dz, nx, ny, nz, footprint):  # type: ignore[no-untyped-def]
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


@device
def sky_look(light, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Colour (3) of the sky with flat clouds and the sun's disc, and how dense the clouds are."""
    r, gr, b = sky_smooth(light, dx, dy, dz)
    density = cloud_density(light, dx, dy, dz)
    k = CLOUD_LIT
    q = CLOUD_DARK
    r += (0.5 * (light[k] + light[q]) - r) * density
    gr += (0.5 * (light[k + 1] + light[q + 1]) - gr) * density
    b += (0.5 * (light[k + 2] + light[q + 2]) - b) * density
    disc = sun_disc(light, dx, dy, dz) * (1.0 - density)
    return r + disc * light[DISC], gr + disc * light[DISC + 1], b + disc * light[DISC + 2], density


@device
def aim(rays, camera, row, column, height, width):  # type: ignore[no-untyped-def]
    """Unit directions through the pixels of the tile at (row, column); beyond the picture's edge its last pixels
    once more."""
    c = camera
    pixel = 1.0 / c[12]
    for p in range(RAYS):
        u = (min(column + p % SIDE, width - 1) + 0.5 - c[13]) * pixel
        v = -(min(row + p // SIDE, height - 1) + 0.5 - c[14]) * pixel
        length = math.sqrt(u * u + v * v + 1.0)
        x = (c[0] * u + c[1] * v - c[2]) / length
        y = (c[4] * u + c[5] * v - c[6]) / length
        z = (c[8] * u + c[9] * v - c[10]) / length
        rays[X + p] = x
        rays[Y + p] = y
        rays[Z + p] = z
        rays[AX + p] = x
        rays[AY + p] = y
        rays[AZ + p] = z
        rays[LENGTH + p] = length
        rays[T + p] = FAR
        rays[INSTANCE + p] = -1.0


@device
def find_level(rays, s, ox, oy, oz, pixel):  # type: ignore[no-untyped-def]
    """Rays that meet the level surface before anything else get instance −2; where it is water, its waves."""
    is_water = s.param[KIND] == WATER
    count = 0
    for p in range(RAYS):
        dx = rays[X + p]
        dy = rays[Y + p]
        dz = rays[Z + p]
        t = hit_surface(s, ox, oy, oz, dx, dy, dz, rays[T + p])
        if t < rays[T + p]:
            rays[T + p] = t
            rays[INSTANCE + p] = -2.0
            if is_water:
                x = ox + t * dx
                z = oz + t * dz
                sx, sz = still_slopes(s, x, z)
                rays[WATER_X + count] = x
                rays[WATER_Z + count] = z
                rays[WIDTH + count] = t * pixel / math.sqrt(max(0.02, -dy))
                rays[SLOPE_X + count] = sx
                rays[SLOPE_Z + count] = sz
                rays[LOST + count] = 0.0
                count += 1
    if count > 0:
        add_waves(rays, s, count)


@device
def close_ranks(rays, some):  # type: ignore[no-untyped-def]
    """Rays without a way to the sun start where ray `some` does; A gets all starts."""
    x = rays[X + some]
    y = rays[Y + some]
    z = rays[Z + some]
    for p in range(RAYS):
        free = rays[OPEN + p] > 0.0
        rays[X + p] = rays[X + p] if free else x
        rays[Y + p] = rays[Y + p] if free else y
        rays[Z + p] = rays[Z + p] if free else z
        rays[AX + p] = rays[X + p]
        rays[AY + p] = rays[Y + p]
        rays[AZ + p] = rays[Z + p]


@device
def paint(out, g, s, mats, light, before, bodies, rays, row, column, ox, oy, oz, pixel):  # type: ignore[no-untyped-def]
    """All that needs no light from the sun. What asks for it leaves a ray to it; returns one such pixel, or −1."""
    lx = light[SUN]
    ly = light[SUN + 1]
    lz = light[SUN + 2]
    water_material = int(s.param[MATERIAL])
    is_water = s.param[KIND] == WATER
    seen = 0
    some = -1
    for p in range(RAYS):
        j = row + p // SIDE
        i = column + p % SIDE
        dx = rays[X + p]
        dy = rays[Y + p]
        dz = rays[Z + p]
        t = rays[T + p]
        instance = int(rays[INSTANCE + p])
        rays[OPEN + p] = 0.0
        if j >= out.depth.shape[0] or i >= out.depth.shape[1]:
            seen += 1 if instance == -2 else 0
            continue
        if t >= FAR:
            # All else of the sky is zero, as the arrays are.
            r, gr, b, density = sky_look(light, dx, dy, dz)
            store(out.lit, j, i, r, gr, b)
            out.depth[j, i] = math.inf
            out.material[j, i] = -1
            out.instance[j, i] = -1
            out.clouds[j, i] = density
            mx, my = shift(before.lens, i, j, dx, dy, dz, 0.0)
            out.motion[j, i, 0] = mx
            out.motion[j, i, 1] = my
            continue
        px = ox + t * dx
        py = oy + t * dy
        pz = oz + t * dz
        footprint = t * pixel
        kind = 0
        qx, qy, qz = px, py, pz
        lost = 0.0
        if instance >= 0:
            triangle = int(rays[TRIANGLE + p])
            u = rays[U + p]
            v = rays[V + p]
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
                nx = -rays[SLOPE_X + seen]
                nz = -rays[SLOPE_Z + seen]
                lost = rays[LOST + seen]
                seen += 1
                ny = 1.0 / math.sqrt(1.0 + nx * nx + nz * nz)
                nx *= ny
                nz *= ny
                r, gr, b = s.param[COLOR], s.param[COLOR + 1], s.param[COLOR + 2]
                if s.param[CLARITY] * 4.0 > s.param[DEPTH]:
                    r, gr, b = bed_look(s, mats, px, py, pz, dx, dy, dz, nx, ny, nz, footprint)
            else:
                label = bodies
                r, gr, b, nx, ny, nz = look_level(mats, material, px, py, pz, footprint)
        rough = mats[material, ROUGHNESS]
        share = sun_share(nx * lx + ny * ly + nz * lz, kind)
        if share > 0.0:
            some = p
            lift = 2e-4 * t + 1e-5
            if fx * lx + fy * ly + fz * lz < 0.0:
                lift = -lift
            rays[X + p] = px + lift * fx
            rays[Y + p] = py + lift * fy
            rays[Z + p] = pz + lift * fz
            rays[OPEN + p] = 1.0
            # A sheet of cloth is too coarse to shade itself.
            rays[SKIP + p] = instance if instance >= 0 and g.info[instance, MOVES] == CLOTH else -1
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
        rays[RED + p] = r
        rays[GREEN + p] = gr
        rays[BLUE + p] = b
        rays[SHARE + p] = share
        rays[AIR + p] = air
        store(out.albedo, j, i, r, gr, b)
        store(out.normal, j, i, nx, ny, nz)
        store(out.mirror, j, i, mr * air, mg * air, mb * air)
        store(out.reflect, j, i, rx, ry, rz)
        out.depth[j, i] = t / rays[LENGTH + p]
        out.material[j, i] = material
        out.instance[j, i] = label
        out.roughness[j, i] = rough
        mx, my = shift(before.lens, i, j, qx, qy, qz, 1.0)
        out.motion[j, i, 0] = mx
        out.motion[j, i, 1] = my
    return some


@device
def expose(direct, lit, light, rays, row, column):  # type: ignore[no-untyped-def]
    """Sun, ambient light and air on the pixels that see a surface."""
    sun_r, sun_g, sun_b = light[SUN_COLOR], light[SUN_COLOR + 1], light[SUN_COLOR + 2]
    sky_r, sky_g, sky_b = light[AMBIENT], light[AMBIENT + 1], light[AMBIENT + 2]
    fog_r, fog_g, fog_b = light[FOG_COLOR], light[FOG_COLOR + 1], light[FOG_COLOR + 2]
    for p in range(RAYS):
        j = row + p // SIDE
        i = column + p % SIDE
        if rays[T + p] >= FAR or j >= lit.shape[0] or i >= lit.shape[1]:
            continue
        share = rays[SHARE + p] * rays[OPEN + p]
        air = rays[AIR + p]
        haze = 1.0 - air
        store(direct, j, i, share * sun_r, share * sun_g, share * sun_b)
        store(
            lit,
            j,
            i,
            rays[RED + p] * (share * sun_r + sky_r) * air + fog_r * haze,
            rays[GREEN + p] * (share * sun_g + sky_g) * air + fog_g * haze,
            rays[BLUE + p] * (share * sun_b + sky_b) * air + fog_b * haze,
        )


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def draw(out, g, s, mats, light, camera, before, bodies, rays, start, step):  # type: ignore[no-untyped-def]
    """Tiles start, start + step, … of the guide. `camera` (16,): c2w rows, focal, centre; `rays` (SCRATCH,)."""
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
    across = (width + SIDE - 1) // SIDE
    for tile in range(start, across * ((height + SIDE - 1) // SIDE), step):
        row = tile // across * SIDE
        column = tile % across * SIDE
        aim(rays, camera, row, column, height, width)
        closest_of(rays, g.bounds, g.links, g.leaf, g.triangles, g.to_body, g.box, g.info, ox, oy, oz)
        find_level(rays, s, ox, oy, oz, pixel)
        some = paint(out, g, s, mats, light, before, bodies, rays, row, column, ox, oy, oz, pixel)
        if some >= 0:
            close_ranks(rays, some)
            block(
                rays, g.bounds, g.links, g.leaf, g.triangles, g.to_body, g.box, g.info, g.slot, g.materials_of, g.clear,
                lx, ly, lz,
            )  # fmt: skip
        expose(out.direct, out.lit, light, rays, row, column)
