"""Kernels that move a stage's geometry to a state: instance matrices, cloth triangles, boxes."""

from __future__ import annotations

import math

from numba import njit

from elsewhere.render.bvh import refit
from elsewhere.render.intersect import BODY, MOVES, RIGID, ROOT
from elsewhere.render.water import fill, set_range


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def pose_bodies(position, orientation, size, info, to_body, to_world):  # type: ignore[no-untyped-def]
    """Matrices (I, 12) of rigid instances from bodies' positions, quaternions (xyzw) and sizes."""
    for i in range(info.shape[0]):
        if info[i, MOVES] != RIGID:
            continue
        body = info[i, BODY]
        x = orientation[body, 0]
        y = orientation[body, 1]
        z = orientation[body, 2]
        w = orientation[body, 3]
        n = 1.0 / math.sqrt(x * x + y * y + z * z + w * w)
        x, y, z, w = x * n, y * n, z * n, w * n
        k = size[body]
        m = to_world
        m[i, 0] = k * (1.0 - 2.0 * (y * y + z * z))
        m[i, 1] = k * 2.0 * (x * y - z * w)
        m[i, 2] = k * 2.0 * (x * z + y * w)
        m[i, 4] = k * 2.0 * (x * y + z * w)
        m[i, 5] = k * (1.0 - 2.0 * (x * x + z * z))
        m[i, 6] = k * 2.0 * (y * z - x * w)
        m[i, 8] = k * 2.0 * (x * z - y * w)
        m[i, 9] = k * 2.0 * (y * z + x * w)
        m[i, 10] = k * (1.0 - 2.0 * (x * x + y * y))
        for row in range(3):
            m[i, 4 * row + 3] = position[body, row]
        for row in range(3):
            far = 0.0
            for column in range(3):
                v = m[i, 4 * column + row] / (k * k)
                to_body[i, 4 * row + column] = v
                far += v * position[body, column]
            to_body[i, 4 * row + 3] = -far


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def cloth_triangles(points, corners, triangles, first):  # type: ignore[no-untyped-def]
    """Triangles [first, …) from cloth `points` (V, 3) and `corners` (C, 3)."""
    for k in range(corners.shape[0]):
        for axis in range(3):
            a = points[corners[k, 0], axis]
            triangles[first + k, axis] = a
            triangles[first + k, 3 + axis] = points[corners[k, 1], axis] - a
            triangles[first + k, 6 + axis] = points[corners[k, 2], axis] - a


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def pose_cloth(points, corners, smooth, g, first, first_node):  # type: ignore[no-untyped-def]
    """Cloth triangles, their normals (through the scratch `smooth` (V, 3)) and their boxes."""
    triangles = g.triangles
    cloth_triangles(points, corners, triangles, first)
    smooth[:] = 0.0
    for k in range(corners.shape[0]):
        t = first + k
        nx = triangles[t, 4] * triangles[t, 8] - triangles[t, 5] * triangles[t, 7]
        ny = triangles[t, 5] * triangles[t, 6] - triangles[t, 3] * triangles[t, 8]
        nz = triangles[t, 3] * triangles[t, 7] - triangles[t, 4] * triangles[t, 6]
        for corner in range(3):
            smooth[corners[k, corner], 0] += nx
            smooth[corners[k, corner], 1] += ny
            smooth[corners[k, corner], 2] += nz
    for k in range(corners.shape[0]):
        for corner in range(3):
            for axis in range(3):
                g.normals[first + k, 3 * corner + axis] = smooth[corners[k, corner], axis]
    refit(g.bounds, g.links, g.leaf, triangles, first_node, g.bounds.shape[0])


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def pose_boxes(g):  # type: ignore[no-untyped-def]
    """World boxes of all instances."""
    m = g.to_world
    for i in range(g.info.shape[0]):
        root = g.info[i, ROOT]
        for axis in range(3):
            if g.info[i, MOVES] == RIGID:
                middle = m[i, 4 * axis + 3]
                half = 0.0
                for k in range(3):
                    middle += m[i, 4 * axis + k] * 0.5 * (g.bounds[root, k] + g.bounds[root, 3 + k])
                    half += abs(m[i, 4 * axis + k]) * 0.5 * (g.bounds[root, 3 + k] - g.bounds[root, k])
                half = half * 1.0001 + 1e-6
                g.box[i, axis] = middle - half
                g.box[i, 3 + axis] = middle + half
            else:
                g.box[i, axis] = g.bounds[root, axis] - 1e-6
                g.box[i, 3 + axis] = g.bounds[root, 3 + axis] + 1e-6


@njit(nogil=True, error_model="numpy", cache=True, _nrt=False)
def pose_water(height, surface):  # type: ignore[no-untyped-def]
    """The surface's height field and its range."""
    fill(surface.field, height, surface.waves, surface.param, 0, 1)
    set_range(surface.field, surface.param)
