"""Rays against triangles, boxes and the instances of a stage (two levels, no stack).

A rigid instance keeps its tree in the body's frame: the ray is moved there and its direction keeps its
length, so that the parameter t (metres for a unit direction) is the same in both frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.noise import device, inlined

FAR = 1e30
ROOT, BODY, SLOTS, MOVES, FIRST = 0, 1, 2, 3, 4
"""Columns of `Geometry.info`."""
STATIC, RIGID, CLOTH = 0, 1, 2


class Geometry(NamedTuple):
    """All triangles of a stage at one instant.

    bounds (n, 6), links (8, n, 2), leaf (n, 2): trees (see `bvh`); triangles (T, 9) a corner and two edges;
    normals (T, 9) at the three corners; slot (T,); to_body and to_world (I, 12) rows of 3×4 matrices; box
    (I, 6) world bounds; info (I, 5) root node, body, offset into `materials_of`, how it moves, first triangle of
    all cloth; materials_of (S,) material of an instance's slot; clear (M,) 1 where light passes the material;
    rest (C, 9) corners of the cloth's triangles at rest, body frame, for its pattern.
    """

    bounds: NDArray[np.float64]
    links: NDArray[np.int32]
    leaf: NDArray[np.int32]
    triangles: NDArray[np.float64]
    normals: NDArray[np.float64]
    slot: NDArray[np.int32]
    to_body: NDArray[np.float64]
    to_world: NDArray[np.float64]
    box: NDArray[np.float64]
    info: NDArray[np.int32]
    materials_of: NDArray[np.int32]
    clear: NDArray[np.int32]
    rest: NDArray[np.float64]


@inlined
def inverse(d):  # type: ignore[no-untyped-def]
    """1/d, kept finite so that a box test never sees 0·∞."""
    if d >= 0.0:
        return 1.0 / d if d > 1e-12 else 1e12
    return 1.0 / d if d < -1e-12 else -1e12


@inlined
def ray_box(bounds, node, ox, oy, oz, ix, iy, iz, far):  # type: ignore[no-untyped-def]
    """Whether a ray with inverse direction i meets box `node` in [0, far]."""
    a = (bounds[node, 0] - ox) * ix
    b = (bounds[node, 3] - ox) * ix
    near = a if a < b else b
    stop = b if a < b else a
    a = (bounds[node, 1] - oy) * iy
    b = (bounds[node, 4] - oy) * iy
    low = a if a < b else b
    high = b if a < b else a
    near = low if low > near else near
    stop = high if high < stop else stop
    a = (bounds[node, 2] - oz) * iz
    b = (bounds[node, 5] - oz) * iz
    low = a if a < b else b
    high = b if a < b else a
    near = low if low > near else near
    stop = high if high < stop else stop
    return near <= stop and stop >= 0.0 and near < far


@inlined
def ray_triangle(triangles, t, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Distance and barycentrics (t, u, v) by Möller and Trumbore; t < 0 on a miss. Both sides count."""
    ax = triangles[t, 3]
    ay = triangles[t, 4]
    az = triangles[t, 5]
    bx = triangles[t, 6]
    by = triangles[t, 7]
    bz = triangles[t, 8]
    px = dy * bz - dz * by
    py = dz * bx - dx * bz
    pz = dx * by - dy * bx
    det = ax * px + ay * py + az * pz
    if det == 0.0:
        return -1.0, 0.0, 0.0
    inv = 1.0 / det
    sx = ox - triangles[t, 0]
    sy = oy - triangles[t, 1]
    sz = oz - triangles[t, 2]
    u = (sx * px + sy * py + sz * pz) * inv
    if u < 0.0 or u > 1.0:
        return -1.0, 0.0, 0.0
    qx = sy * az - sz * ay
    qy = sz * ax - sx * az
    qz = sx * ay - sy * ax
    v = (dx * qx + dy * qy + dz * qz) * inv
    if v < 0.0 or u + v > 1.0:
        return -1.0, 0.0, 0.0
    return (bx * qx + by * qy + bz * qz) * inv, u, v


@device
def closest(g, ox, oy, oz, dx, dy, dz, far):  # type: ignore[no-untyped-def]
    """The nearest triangle within `far`: (t, triangle, instance, u, v); instance −1 on a miss."""
    bounds = g.bounds
    links = g.links
    leaf = g.leaf
    triangles = g.triangles
    m = g.to_body
    info = g.info
    box = g.box
    best = far
    best_triangle = -1
    best_instance = -1
    best_u = 0.0
    best_v = 0.0
    wx = inverse(dx)
    wy = inverse(dy)
    wz = inverse(dz)
    for i in range(info.shape[0]):
        if not ray_box(box, i, ox, oy, oz, wx, wy, wz, best):
            continue
        px, py, pz, qx, qy, qz = ox, oy, oz, dx, dy, dz
        ix, iy, iz = wx, wy, wz
        if info[i, MOVES] == RIGID:
            px = m[i, 0] * ox + m[i, 1] * oy + m[i, 2] * oz + m[i, 3]
            py = m[i, 4] * ox + m[i, 5] * oy + m[i, 6] * oz + m[i, 7]
            pz = m[i, 8] * ox + m[i, 9] * oy + m[i, 10] * oz + m[i, 11]
            qx = m[i, 0] * dx + m[i, 1] * dy + m[i, 2] * dz
            qy = m[i, 4] * dx + m[i, 5] * dy + m[i, 6] * dz
            qz = m[i, 8] * dx + m[i, 9] * dy + m[i, 10] * dz
            ix = inverse(qx)
            iy = inverse(qy)
            iz = inverse(qz)
        octant = (1 if ix < 0.0 else 0) + (2 if iy < 0.0 else 0) + (4 if iz < 0.0 else 0)
        node = info[i, ROOT]
        while node >= 0:
            if not ray_box(bounds, node, px, py, pz, ix, iy, iz, best):
                node = links[octant, node, 1]
                continue
            count = leaf[node, 1]
            if count == 0:
                node = links[octant, node, 0]
                continue
            start = leaf[node, 0]
            for k in range(start, start + count):
                t, u, v = ray_triangle(triangles, k, px, py, pz, qx, qy, qz)
                if 0.0 < t < best:
                    best = t
                    best_triangle = k
                    best_instance = i
                    best_u = u
                    best_v = v
            node = links[octant, node, 1]
    return best, best_triangle, best_instance, best_u, best_v


@device
def blocked(g, ox, oy, oz, dx, dy, dz, far, skip):  # type: ignore[no-untyped-def]
    """Whether any opaque triangle lies within `far`; instance `skip` does not count."""
    bounds = g.bounds
    links = g.links
    leaf = g.leaf
    triangles = g.triangles
    m = g.to_body
    info = g.info
    box = g.box
    wx = inverse(dx)
    wy = inverse(dy)
    wz = inverse(dz)
    for i in range(info.shape[0]):
        if i == skip or not ray_box(box, i, ox, oy, oz, wx, wy, wz, far):
            continue
        px, py, pz, qx, qy, qz = ox, oy, oz, dx, dy, dz
        ix, iy, iz = wx, wy, wz
        if info[i, MOVES] == RIGID:
            px = m[i, 0] * ox + m[i, 1] * oy + m[i, 2] * oz + m[i, 3]
            py = m[i, 4] * ox + m[i, 5] * oy + m[i, 6] * oz + m[i, 7]
            pz = m[i, 8] * ox + m[i, 9] * oy + m[i, 10] * oz + m[i, 11]
            qx = m[i, 0] * dx + m[i, 1] * dy + m[i, 2] * dz
            qy = m[i, 4] * dx + m[i, 5] * dy + m[i, 6] * dz
            qz = m[i, 8] * dx + m[i, 9] * dy + m[i, 10] * dz
            ix = inverse(qx)
            iy = inverse(qy)
            iz = inverse(qz)
        octant = (1 if ix < 0.0 else 0) + (2 if iy < 0.0 else 0) + (4 if iz < 0.0 else 0)
        node = info[i, ROOT]
        while node >= 0:
            if not ray_box(bounds, node, px, py, pz, ix, iy, iz, far):
                node = links[octant, node, 1]
                continue
            count = leaf[node, 1]
            if count == 0:
                node = links[octant, node, 0]
                continue
            start = leaf[node, 0]
            for k in range(start, start + count):
                t, _, _ = ray_triangle(triangles, k, px, py, pz, qx, qy, qz)
                if 0.0 < t < far and g.clear[g.materials_of[info[i, SLOTS] + g.slot[k]]] == 0:
                    return True
            node = links[octant, node, 1]
    return False


@inlined
def corner_normal(g, triangle, instance, u, v):  # type: ignore[no-untyped-def]
    """Unit normal in the world, interpolated from the corners."""
    n = g.normals
    w = 1.0 - u - v
    x = w * n[triangle, 0] + u * n[triangle, 3] + v * n[triangle, 6]
    y = w * n[triangle, 1] + u * n[triangle, 4] + v * n[triangle, 7]
    z = w * n[triangle, 2] + u * n[triangle, 5] + v * n[triangle, 8]
    return turn(g.to_world, instance, x, y, z)


@inlined
def face_normal(g, triangle, instance):  # type: ignore[no-untyped-def]
    """Unit normal of the triangle's plane in the world."""
    e = g.triangles
    x = e[triangle, 4] * e[triangle, 8] - e[triangle, 5] * e[triangle, 7]
    y = e[triangle, 5] * e[triangle, 6] - e[triangle, 3] * e[triangle, 8]
    z = e[triangle, 3] * e[triangle, 7] - e[triangle, 4] * e[triangle, 6]
    return turn(g.to_world, instance, x, y, z)


@inlined
def turn(m, i, x, y, z):  # type: ignore[no-untyped-def]
    """A vector turned by the rotation of matrix `i` and made unit length."""
    a = m[i, 0] * x + m[i, 1] * y + m[i, 2] * z
    b = m[i, 4] * x + m[i, 5] * y + m[i, 6] * z
    c = m[i, 8] * x + m[i, 9] * y + m[i, 10] * z
    s = 1.0 / (a * a + b * b + c * c + 1e-30) ** 0.5
    return a * s, b * s, c * s


@inlined
def place(m, i, x, y, z):  # type: ignore[no-untyped-def]
    """A point moved by 3×4 matrix `i`."""
    return (
        m[i, 0] * x + m[i, 1] * y + m[i, 2] * z + m[i, 3],
        m[i, 4] * x + m[i, 5] * y + m[i, 6] * z + m[i, 7],
        m[i, 8] * x + m[i, 9] * y + m[i, 10] * z + m[i, 11],
    )
