"""Meshes made ready for rays: smooth corner normals, a tree, and land that rises far from the middle."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.bvh import Tree, build
from elsewhere.render.noise import fbm2
from elsewhere.scene.kinds import Cloth, Mesh

CREASE = math.cos(math.radians(38.0))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A mesh in its tree's order: `triangles` (T, 9) corner and two edges, `normals` (T, 9), `slot` (T,)."""

    tree: Tree
    triangles: NDArray[np.float64]
    normals: NDArray[np.float64]
    slot: NDArray[np.int32]
    slots: tuple[str, ...]


def corner_normals(vertices: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """(T, 3, 3) unit normals at corners: faces that meet at less than the crease angle share theirs."""
    p = vertices[triangles]
    face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    length = np.linalg.norm(face, axis=1, keepdims=True)
    unit = face / np.maximum(length, 1e-30)
    extent = float(np.ptp(vertices, axis=0).max()) + 1e-9
    _, weld = np.unique(np.round(vertices / extent * 2e5).astype(np.int64), axis=0, return_inverse=True)
    corner = weld.reshape(-1)[triangles].reshape(-1)
    order = np.argsort(corner, kind="stable")
    start = np.searchsorted(corner[order], corner, "left")
    count = np.searchsorted(corner[order], corner, "right") - start
    total = np.zeros((len(corner), 3))
    own = np.arange(len(corner)) // 3
    for k in range(int(count.max())):
        has = count > k
        other = order[np.minimum(start + k, len(order) - 1)] // 3
        near = has & (np.einsum("ij,ij->i", unit[own], unit[other]) > CREASE)
        total += np.where(near[:, None], face[other], 0.0)
    norm = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(norm > 1e-30, total / np.maximum(norm, 1e-30), unit[own]).reshape(-1, 3, 3)


def prepare(mesh: Mesh) -> Prepared:
    """A mesh's rays-ready form. Raises ValueError when it has no triangles."""
    vertices = np.asarray(mesh.vertices, np.float64)
    p = vertices[mesh.triangles]
    tree = build(p)
    normals = corner_normals(vertices, mesh.triangles)[tree.order]
    p = p[tree.order]
    triangles = np.concatenate([p[:, 0], p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]], axis=1)
    return Prepared(
        tree, triangles, normals.reshape(-1, 9), np.asarray(mesh.slot, np.int32)[tree.order], tuple(mesh.slots)
    )


@functools.lru_cache(maxsize=64)
def prepare_built(builder: Callable[[], Mesh]) -> Prepared:
    """`prepare` of what `builder` makes, remembered."""
    return prepare(builder())


@functools.lru_cache(maxsize=64)
def cloth_grid(cloth: Cloth) -> tuple[Tree, NDArray[np.int32], NDArray[np.float64]]:
    """A cloth's tree over its grid, (T, 3) vertex of each corner in tree order, (rows·columns, 3) rest points."""
    v, u = np.meshgrid(np.linspace(0, 1, cloth.rows), np.linspace(0, 1, cloth.columns), indexing="ij")
    rest = np.asarray(cloth.corner) + u[..., None] * np.asarray(cloth.across) + v[..., None] * np.asarray(cloth.down)
    rest = rest.reshape(-1, 3)
    index = np.arange(cloth.rows * cloth.columns).reshape(cloth.rows, cloth.columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], axis=2).reshape(-1, 3)
    tree = build(rest[faces])
    return tree, faces[tree.order].astype(np.int32), rest


def hills(reach: float, relief: float, material: str) -> Mesh:
    """A ring of dunes or drifts from just outside `reach` to the haze; `relief` is their height in metres."""
    rings, spokes = 26, 84
    radius = reach * 1.15 * np.geomspace(1.0, 14.0, rings)
    angle = np.linspace(0.0, 2.0 * math.pi, spokes, endpoint=False)
    r, a = np.meshgrid(radius, angle, indexing="ij")
    x, z = r * np.cos(a), r * np.sin(a)
    rise = np.clip((r / reach - 1.15) / 4.0, 0.0, 1.0)
    places = np.stack([x, z], axis=-1).reshape(-1, 2) / reach * 0.7
    bumps = np.array([fbm2(u + 31.0, v + 17.0, 3) for u, v in places])
    ridge = 1.0 - np.abs(2.0 * bumps.reshape(r.shape) - 1.0) * 2.4
    y = relief * rise * (0.25 + 1.3 * ridge) * (1.0 + 0.12 * r / reach) - 0.02 * relief
    y[-1] = -relief
    index = np.arange(rings * spokes).reshape(rings, spokes)
    n = np.roll(index, -1, axis=1)
    p, q, s, t = index[:-1], n[:-1], index[1:], n[1:]
    faces = np.stack([np.stack([p, q, s], -1), np.stack([q, t, s], -1)], axis=2).reshape(-1, 3)
    faces = faces[(y.reshape(-1)[faces] > 0.0).any(axis=1)]
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)
    return Mesh(points, faces.astype(np.int32), np.zeros(len(faces), np.int32), (material,))
