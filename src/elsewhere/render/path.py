"""The reference: a path tracer for pictures that the guide only hints at.

Soft sun, light from the sky and between things, glossy and refracting surfaces, water that mirrors the
things on it. The sun is always sampled towards its disc; mirrored paths see the sky without the disc and a
lobe stands in for it, so that there are no fireflies. Pixels stop early once their mean is certain.
"""

from __future__ import annotations

import math

from numba import njit

from elsewhere.render.intersect import FAR, blocked, closest, face_normal
from elsewhere.render.noise import device, inlined, noise2
from elsewhere.render.sampling import cosine_direction, disc_direction, facet_normal, pair, pixel_key
from elsewhere.render.shade import (
    INDEX,
    METALLIC,
    MIRROR,
    ROUGHNESS,
    TEXTURE,
    TRANSMISSION,
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
    DISC,
    FOG_COLOR,
    SUN,
    SUN_COLOR,
    SUN_RADIUS,
    fog,
    mean_sky,
    sky_clouds,
    sky_smooth,
    sun_disc,
)
from elsewhere.render.water import BED, CLARITY, COLOR, DEPTH, KIND, MATERIAL, WATER, hit_surface, water_normal

STEPS = 7
"""Most surfaces that one path may touch, glass and mirrors included."""
BRIGHTEST = 10.0
EARLY, CERTAIN = 8, 0.006
"""Samples before a pixel may stop, and the standard error of its compressed mean that stops it."""


@inlined
def lobe(cosine_light, nx, ny, nz, dx, dy, dz, lx, ly, lz, alpha):  # type: ignore[no-untyped-def]
    """π times the GGX lobe times the cosine, without Fresnel, for light from l seen along d."""
    hx, hy, hz = lx - dx, ly - dy, lz - dz
    s = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
    nh = (nx * hx + ny * hy + nz * hz) * s
    lh = (lx * hx + ly * hy + lz * hz) * s
    if nh <= 0.0 or lh <= 0.0:
        return 0.0
    a2 = alpha * alpha
    k = nh * nh * (a2 - 1.0) + 1.0
    return cosine_light * a2 / (k * k * 4.0 * max(0.05, lh * lh))


@device
def under(g, s, mats, light, px, py, pz, dx, dy, dz, footprint, lx, ly, lz, seen):  # type: ignore[no-untyped-def]
    """Radiance (3) that comes up through clear water along d, a direction below the surface at p."""
    lift = 1e-4
    t, triangle, instance, u, v = closest(g, px + lift * dx, py + lift * dy, pz + lift * dz, dx, dy, dz, FAR)
    bed = (s.param[DEPTH] + py) / max(1e-3, -dy)
    if bed < t:
        t = bed
        instance = -1
    qx = px + t * dx
    qy = py + t * dy
    qz = pz + t * dz
    kind = 0
    if instance >= 0:
        material, r, gr, b, nx, ny, nz, fx, fy, fz = look(
            g, mats, triangle, instance, u, v, qx, qy, qz, dx, dy, dz, footprint
        )
        kind = int(mats[material, TEXTURE])
    else:
        r, gr, b, nx, ny, nz = look_level(mats, int(s.param[BED]), qx, 0.0, qz, footprint)
        fx, fy, fz = 0.0, 1.0, 0.0
    # The sun's ray is bent at the surface too.
    wx, wy, wz = refracted(-lx, -ly, -lz, 0.0, 1.0, 0.0, 0.75)
    wx, wy, wz = -wx, -wy, -wz
    share = sun_share(nx * wx + ny * wy + nz * wz, kind)
    if share > 0.0 and not sees_sun(g, instance, qx, qy, qz, fx, fy, fz, wx, wy, wz, 2e-4 * t + 1e-4):
        share = 0.0
    depth = max(0.0, py - qy)
    scale = 5.0 / (0.4 + min(2.0, s.param[DEPTH]))
    phase = 10.0 * s.waves[0, 3] if s.waves.shape[0] > 0 else 0.0
    c = noise2(qx * scale + 0.05 * phase, qz * scale)
    e = noise2(qz * scale * 1.3 + 40.0, qx * scale * 1.3 - 0.05 * phase)
    net = 1.0 - min(1.0, 3.0 * abs(c - e))
    share *= 0.72 + 0.9 * net * net
    keep = math.exp(-(t + depth) / s.param[CLARITY])
    mr, mg, mb = mean_sky(light, 0.0, 1.0, 0.0)
    dim = 0.80
    k = COLOR
    w = max(0.0, ly) if seen else 0.0
    sr = light[SUN_COLOR]
    sg = light[SUN_COLOR + 1]
    sb = light[SUN_COLOR + 2]
    red = keep * (0.35 + 0.65 * keep)
    return (
        r * (share * sr + dim * mr) * red + s.param[k] * (w * sr + mr) * (1.0 - red),
        gr * (share * sg + dim * mg) * keep + s.param[k + 1] * (w * sg + mg) * (1.0 - keep),
        b * (share * sb + dim * mb) * keep + s.param[k + 2] * (w * sb + mb) * (1.0 - keep),
    )


@device
def radiance(g, s, mats, light, points, key, index, ox, oy, oz, dx, dy, dz, spread, bounces):  # type: ignore[no-untyped-def]
    """Radiance (3) of one path from o along the unit direction d; `spread` is a pixel's angle."""
    r = 0.0
    gr = 0.0
    b = 0.0
    tr = 1.0
    tg = 1.0
    tb = 1.0
    sharp = True
    diffuse = 0
    travelled = 0.0
    nx, ny, nz = 0.0, 1.0, 0.0
    is_water = s.param[KIND] == WATER
    for step in range(STEPS):
        t, triangle, instance, u, v = closest(g, ox, oy, oz, dx, dy, dz, FAR)
        level = hit_surface(s, ox, oy, oz, dx, dy, dz, t)
        if level < t:
            t = level
            instance = -2
        if t >= FAR:
            if sharp:
                ar, ag, ab = sky_clouds(light, dx, dy, dz)
                if step == 0:
                    disc = sun_disc(light, dx, dy, dz)
                    ar += disc * light[DISC]
                    ag += disc * light[DISC + 1]
                    ab += disc * light[DISC + 2]
            elif dy < 0.0:
                ar, ag, ab = sky_smooth(light, dx, dy, dz)
            else:
                ar, ag, ab = mean_sky(light, nx, ny, nz)
            r += tr * ar
            gr += tg * ag
            b += tb * ab
            break
        px = ox + t * dx
        py = oy + t * dy
        pz = oz + t * dz
        if sharp:
            air = fog(light, t)
            f = FOG_COLOR
            r += tr * light[f] * (1.0 - air)
            gr += tg * light[f + 1] * (1.0 - air)
            b += tb * light[f + 2] * (1.0 - air)
            tr *= air
            tg *= air
            tb *= air
        travelled += t
        # After a diffuse bounce fine detail does not matter.
        footprint = travelled * (spread if sharp else 0.05)
        lift = 2e-4 * t + 1e-5
        purpose = 1 + 4 * step
        u0, v0 = pair(points, key, purpose, index)
        lx, ly, lz = disc_direction(light[SUN], light[SUN + 1], light[SUN + 2], light[SUN_RADIUS], u0, v0)
        u1, v1 = pair(points, key, purpose + 1, index)
        if instance == -2 and is_water:
            footprint /= math.sqrt(max(0.02, -dy))
            nx, ny, nz, lost = water_normal(s, px, pz, footprint)
            cosine = -(nx * dx + ny * dy + nz * dz)
            k = water_fresnel(cosine, lost)
            share = max(0.0, nx * lx + ny * ly + nz * lz)
            seen = share > 0.0 and not blocked(g, px, py + lift, pz, lx, ly, lz, FAR, instance)
            if s.param[CLARITY] > 0.0:
                rx, ry, rz = refracted(dx, dy, dz, nx, ny, nz, 0.75)
                ar, ag, ab = under(g, s, mats, light, px, py, pz, rx, min(ry, -0.05), rz, footprint, lx, ly, lz, seen)
            else:
                ar, ag, ab = mean_sky(light, 0.0, 1.0, 0.0)
                if step == 0:
                    qx, qy, qz = cosine_direction(0.0, 1.0, 0.0, u1, v1)
                    # Only what stands near darkens the water.
                    if blocked(g, px, py + lift, pz, qx, qy, qz, FAR, instance):
                        ar, ag, ab = 0.25 * ar, 0.25 * ag, 0.25 * ab
                if seen:
                    ar += share * light[SUN_COLOR]
                    ag += share * light[SUN_COLOR + 1]
                    ab += share * light[SUN_COLOR + 2]
                ar *= s.param[COLOR]
                ag *= s.param[COLOR + 1]
                ab *= s.param[COLOR + 2]
            k1 = 1.0 - k
            r += tr * k1 * ar
            gr += tg * k1 * ag
            b += tb * k1 * ab
            if seen:
                glint = min(6.0, lobe(share, nx, ny, nz, dx, dy, dz, lx, ly, lz, 0.07 + 0.8 * math.sqrt(lost)))
                glint *= fresnel(0.02, nx * lx + ny * ly + nz * lz, 0.0)
                r += tr * glint * light[SUN_COLOR]
                gr += tg * glint * light[SUN_COLOR + 1]
                b += tb * glint * light[SUN_COLOR + 2]
            dx, dy, dz = mirrored(dx, dy, dz, nx, ny, nz)
            dy = abs(dy) + 1e-3
            tr *= k
            tg *= k
            tb *= k
            if not sharp or tr + tg + tb < 0.03:
                ar, ag, ab = sky_smooth(light, dx, dy, dz)
                r += tr * ar
                gr += tg * ag
                b += tb * ab
                break
            ox, oy, oz = px, py + lift, pz
            continue
        kind = 0
        if instance >= 0:
            material, cr, cg, cb, nx, ny, nz, fx, fy, fz = look(
                g, mats, triangle, instance, u, v, px, py, pz, dx, dy, dz, footprint
            )
            kind = int(mats[material, TEXTURE])
        else:
            material = int(s.param[MATERIAL])
            cr, cg, cb, nx, ny, nz = look_level(mats, material, px, py, pz, footprint)
            fx, fy, fz = 0.0, 1.0, 0.0
        rough = mats[material, ROUGHNESS]
        cosine = -(nx * dx + ny * dy + nz * dz)
        if mats[material, TRANSMISSION] > 0.5 and instance >= 0:
            gx, gy, gz = face_normal(g, triangle, instance)
            entering = gx * dx + gy * dy + gz * dz < 0.0
            ratio = 1.0 / mats[material, INDEX] if entering else mats[material, INDEX]
            rx, ry, rz = refracted(dx, dy, dz, nx, ny, nz, ratio)
            k = fresnel(mats[material, MIRROR], cosine if entering else -(rx * nx + ry * ny + rz * nz), 0.0)
            if rx == 0.0 and ry == 0.0 and rz == 0.0:
                k = 1.0
            if u1 < k:
                dx, dy, dz = mirrored(dx, dy, dz, nx, ny, nz)
                ox, oy, oz = px + lift * fx, py + lift * fy, pz + lift * fz
            else:
                dx, dy, dz = rx, ry, rz
                ox, oy, oz = px - lift * fx, py - lift * fy, pz - lift * fz
                tr *= math.sqrt(cr)
                tg *= math.sqrt(cg)
                tb *= math.sqrt(cb)
            continue
        gloss = (1.0 - rough) * (1.0 - rough)
        matte = 1.0 - mats[material, METALLIC]
        kr = gloss * fresnel(mats[material, MIRROR], cosine, rough)
        kg = gloss * fresnel(mats[material, MIRROR + 1], cosine, rough)
        kb = gloss * fresnel(mats[material, MIRROR + 2], cosine, rough)
        cr *= matte * (1.0 - kr)
        cg *= matte * (1.0 - kg)
        cb *= matte * (1.0 - kb)
        facing = nx * lx + ny * ly + nz * lz
        share = sun_share(facing, kind)
        if share > 0.0 and sees_sun(g, instance, px, py, pz, fx, fy, fz, lx, ly, lz, lift):
            shine = 0.0
            alpha = max(0.05, rough * rough)
            if kg > 0.0 and facing > 0.0:
                shine = min(8.0, lobe(facing, nx, ny, nz, dx, dy, dz, lx, ly, lz, alpha)) if sharp else 0.0
            r += tr * light[SUN_COLOR] * (cr * share + kr * shine)
            gr += tg * light[SUN_COLOR + 1] * (cg * share + kg * shine)
            b += tb * light[SUN_COLOR + 2] * (cb * share + kb * shine)
        diffuse += 1
        if diffuse >= bounces:
            ar, ag, ab = mean_sky(light, nx, ny, nz)
            r += tr * ar * (cr + kr)
            gr += tg * ag * (cg + kg)
            b += tb * ab * (cb + kb)
            break
        spec = max(kr, kg, kb)
        chance = spec / (spec + max(cr, cg, cb) + 1e-9)
        if chance < 0.004:
            chance = 0.0
        pick, _ = pair(points, key, purpose + 2, index)
        ox, oy, oz = px + lift * fx, py + lift * fy, pz + lift * fz
        if pick < chance:
            hx, hy, hz = facet_normal(nx, ny, nz, max(0.002, rough * rough), u1, v1)
            dx, dy, dz = mirrored(dx, dy, dz, hx, hy, hz)
            tr *= kr / chance
            tg *= kg / chance
            tb *= kb / chance
            sharp = sharp and rough < 0.5
            # A mirrored view is part of the picture: it does not use up a bounce.
            diffuse -= 1 if sharp else 0
        else:
            dx, dy, dz = cosine_direction(nx, ny, nz, u1, v1)
            k = 1.0 / (1.0 - chance)
            tr *= cr * k
            tg *= cg * k
            tb *= cb * k
            sharp = False
        down = fx * dx + fy * dy + fz * dz
        if down < 0.0:
            dx, dy, dz = mirrored(dx, dy, dz, fx, fy, fz)
        if tr + tg + tb < 1e-4:
            break
    return min(r, BRIGHTEST), min(gr, BRIGHTEST), min(b, BRIGHTEST)


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def trace(image, g, s, mats, light, camera, points, samples, seed, bounces, start, step):  # type: ignore[no-untyped-def]
    """Rows start, start + step, … of `image` (H, W, 3): the mean of up to `samples` paths a pixel."""
    c = camera
    pixel = 1.0 / c[12]
    for j in range(start, image.shape[0], step):
        for i in range(image.shape[1]):
            key = pixel_key(seed, image.shape[1], i, j)
            r = 0.0
            gr = 0.0
            b = 0.0
            total = 0.0
            square = 0.0
            done = samples
            for k in range(samples):
                u, v = pair(points, key, 0, k)
                x = (i + u - c[13]) * pixel
                y = -(j + v - c[14]) * pixel
                n = 1.0 / math.sqrt(x * x + y * y + 1.0)
                dx = (c[0] * x + c[1] * y - c[2]) * n
                dy = (c[4] * x + c[5] * y - c[6]) * n
                dz = (c[8] * x + c[9] * y - c[10]) * n
                ar, ag, ab = radiance(g, s, mats, light, points, key, k, c[3], c[7], c[11], dx, dy, dz, pixel, bounces)
                r += ar
                gr += ag
                b += ab
                w = 0.3 * ar + 0.5 * ag + 0.2 * ab
                w = w / (0.3 + w)
                total += w
                square += w * w
                n = k + 1
                if n >= EARLY and n % 4 == 0 and samples <= 256:
                    spread = max(0.0, square / n - (total / n) * (total / n)) / n
                    if spread < CERTAIN * CERTAIN:
                        done = n
                        break
            image[j, i, 0] = r / done
            image[j, i, 1] = gr / done
            image[j, i, 2] = b / done
