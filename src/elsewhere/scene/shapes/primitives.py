"""Builders of small triangle meshes: solids, solids of revolution, tubes and lofts, and how to place and join them.

Legend: V vertices, T triangles, N points of a ring, R rings. Everything is in metres; triangles run counter-clockwise
seen from outside. It does not know what the shapes will be used for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elsewhere.scene.kinds import Mesh

Points = NDArray[np.float64]
Paint = str | Sequence[str]
"""One material for the whole part, or one for each strip (see the builder)."""


def mesh(vertices: ArrayLike, triangles: ArrayLike, paint: Paint, strips: ArrayLike | None = None) -> Mesh:
    """A mesh of (V, 3) vertices and (T, 3) triangles; `strips` (T,) picks one of `paint` where that is a list."""
    points = np.asarray(vertices, dtype=np.float32)
    faces = np.asarray(triangles, dtype=np.int32).reshape(-1, 3)
    names = (paint,) if isinstance(paint, str) else tuple(dict.fromkeys(paint))
    slot = np.zeros(len(faces), dtype=np.int32)
    if not isinstance(paint, str) and strips is not None:
        slot = np.array([names.index(name) for name in paint], dtype=np.int32)[np.asarray(strips)]
    return Mesh(points, faces, slot, names)


def moved(part: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
    """The part shifted by (x, y, z) metres."""
    return Mesh(part.vertices + np.array([x, y, z], np.float32), part.triangles, part.slot, part.slots)


def turned(part: Mesh, axis: str, angle: float) -> Mesh:
    """The part turned about the body axis "x", "y" or "z" by `angle` radians, right-handed."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    points = part.vertices.astype(np.float64)
    cosine, sine = np.cos(angle), np.sin(angle)
    out = points.copy()
    out[:, first] = cosine * points[:, first] - sine * points[:, second]
    out[:, second] = sine * points[:, first] + cosine * points[:, second]
    return Mesh(out.astype(np.float32), part.triangles, part.slot, part.slots)


def scaled(part: Mesh, x: float, y: float, z: float) -> Mesh:
    """The part stretched along its axes; a mirrored part keeps its outside out."""
    triangles = part.triangles[:, ::-1].copy() if x * y * z < 0 else part.triangles
    return Mesh(part.vertices * np.array([x, y, z], np.float32), triangles, part.slot, part.slots)


def mirrored(part: Mesh) -> Mesh:
    """The part reflected from starboard (+X) to port (−X)."""
    return scaled(part, -1.0, 1.0, 1.0)


def merge(*parts: Mesh) -> Mesh:
    """All parts as one mesh; the first part's slot 0 stays the main slot."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.slots))
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    slots = [np.array([names.index(name) for name in part.slots], np.int32)[part.slot] for part in parts]
    triangles = [part.triangles + offset for part, offset in zip(parts, offsets, strict=False)]
    return Mesh(
        np.concatenate([part.vertices for part in parts]).astype(np.float32),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(slots),
        names,
    )


def with_main(part: Mesh, name: str) -> Mesh:
    """The part with the material `name` as its slot 0, the one that takes a prompt's colour."""
    if name not in part.slots:
        raise ValueError(f"name must be one of the part's slots {part.slots}, got {name!r}")
    names = (name, *(slot for slot in part.slots if slot != name))
    order = np.array([names.index(slot) for slot in part.slots], dtype=np.int32)
    return Mesh(part.vertices, part.triangles, order[part.slot], names)


def box(width: float, height: float, depth: float, paint: str, taper: float = 1.0) -> Mesh:
    """A box about the origin, (x, y, z) extents in metres; its top is `taper` times as wide and deep as its bottom."""
    corners = [(x, y, z) for y in (-1, 1) for z in (-1, 1) for x in (-1, 1)]
    half = np.array([width, height, depth]) / 2
    points = np.array([(x * (taper if y > 0 else 1), y, z * (taper if y > 0 else 1)) for x, y, z in corners]) * half
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return mesh(points, [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], paint)


def loft(rings: ArrayLike, paint: Paint, *, caps: tuple[str | None, str | None] = ("", "")) -> Mesh:
    """Skin over (R, N, 3) closed rings, each counter-clockwise as seen from beyond the last ring.

    `paint` may name one material for each of the N strips along the rings. `caps` closes the first and last ring
    (with a fan) in the named material; "" takes the first of `paint`, None leaves it open.
    """
    points = np.asarray(rings, dtype=np.float64)
    ring_count, size = points.shape[:2]
    names = [paint] if isinstance(paint, str) else list(paint)
    triangles, strips = [], []
    for ring in range(ring_count - 1):
        for i in range(size):
            a, b = ring * size + i, ring * size + (i + 1) % size
            triangles += [(a, b, b + size), (a, b + size, a + size)]
            strips += [i % len(names)] * 2
    vertices = points.reshape(-1, 3)
    for cap, first in ((caps[0], 0), (caps[1], (ring_count - 1) * size)):
        if cap is None:
            continue
        centre = len(vertices)
        vertices = np.concatenate([vertices, vertices[first : first + size].mean(0, keepdims=True)])
        fan = [(centre, first + (i + 1) % size, first + i) for i in range(size)]
        triangles += fan if first == 0 else [(a, c, b) for a, b, c in fan]
        strips += [len(names)] * size
        names.append(cap or names[0])
    return drop_slivers(mesh(vertices, triangles, names, strips))


def drop_slivers(part: Mesh) -> Mesh:
    """The part with equal vertices made one and triangles without area removed."""
    extent = float(np.abs(part.vertices).max())
    keys = np.round(part.vertices.astype(np.float64) / max(extent, 1e-9) * 1e6).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    triangles = inverse.reshape(-1)[part.triangles].astype(np.int32)
    keep = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    return Mesh(part.vertices[first], triangles[keep], part.slot[keep], part.slots)


def circle(radius_x: float, radius_z: float, sides: int, y: float = 0.0, phase: float = 0.0) -> Points:
    """(N, 3) points of an ellipse in the plane y, ordered for a loft that rises along +Y."""
    angle = phase + 2 * np.pi * np.arange(sides) / sides
    return np.stack([radius_x * np.sin(angle), np.full(sides, y), radius_z * np.cos(angle)], axis=1)


def lathe(profile: Sequence[tuple[float, float]], sides: int, paint: Paint) -> Mesh:
    """Solid of revolution about +Y of (radius, y) points; going up the profile the outside is away from the axis.

    `paint` may name one material for each span between two points. Ends on the axis close the solid.
    """
    rings = np.stack([circle(radius, radius, sides, y) for radius, y in profile])
    names = [paint] * (len(profile) - 1) if isinstance(paint, str) else list(paint)
    spans = []
    for i, name in enumerate(names):
        spans.append(loft(rings[i : i + 2], name, caps=(None, None)))
    return drop_slivers(merge(*spans))


def cylinder(radius: float, height: float, sides: int, paint: str, top: float | None = None) -> Mesh:
    """A cylinder about the origin along +Y; `top` is the radius above, where it differs (0 makes a cone)."""
    upper = radius if top is None else top
    return lathe([(0.0, -height / 2), (radius, -height / 2), (upper, height / 2), (0.0, height / 2)], sides, paint)


def cone(radius: float, height: float, sides: int, paint: str) -> Mesh:
    """A cone whose base is at y = 0 and whose tip at y = height."""
    return lathe([(0.0, 0.0), (radius, 0.0), (0.0, height)], sides, paint)


def ellipsoid(radii: tuple[float, float, float], rings: int, sides: int, paint: Paint) -> Mesh:
    """An ellipsoid about the origin; `paint` may name one material for each of the `rings` bands, from below."""
    angle = np.pi * (np.arange(rings + 1) / rings - 0.5)
    profile = [(float(np.cos(a)) if 0 < i < rings else 0.0, float(np.sin(a))) for i, a in enumerate(angle)]
    return scaled(lathe(profile, sides, paint), *radii)


def tube(path: ArrayLike, radii: float | Sequence[float], sides: int, paint: str) -> Mesh:
    """A round tube with closed ends along (R, 3) points; `radii` in metres for all points or each."""
    points = np.asarray(path, dtype=np.float64)
    widths = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(points),))
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # The plane's normal is carried along the path, so that the tube does not twist.
    side = np.cross(tangents[0], (0.0, 1.0, 0.0) if abs(tangents[0][1]) < 0.9 else (1.0, 0.0, 0.0))
    angle = 2 * np.pi * np.arange(sides) / sides
    rings = []
    for point, tangent, radius in zip(points, tangents, widths, strict=True):
        side = side - tangent * (side @ tangent)
        side /= np.linalg.norm(side)
        up = np.cross(tangent, side)
        rings.append(point + radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up))
    return loft(np.stack(rings), paint)


def prism(outline: ArrayLike, depth: float, paint: Paint) -> Mesh:
    """A convex (or star-shaped about its mean) polygon of (x, y) points, counter-clockwise, extruded ±depth/2 along z.

    `paint` may name one material for each edge; the two faces take the first.
    """
    flat = np.asarray(outline, dtype=np.float64)
    ring = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    half = np.array([0.0, 0.0, depth / 2])
    return loft(np.stack([ring - half, ring + half]), paint)


def sheet(width: int, depth: int, corners: ArrayLike, paint: Sequence[str]) -> Mesh:
    """A flat grid of width × depth quads in checker of `paint` between 3 corners (origin, +width, +depth), open.

    It is seen from the side from which width → depth turns counter-clockwise.
    """
    origin, along, back = np.asarray(corners, dtype=np.float64)
    u, v = np.meshgrid(np.arange(width + 1) / width, np.arange(depth + 1) / depth)
    points = origin + u[..., None] * (along - origin) + v[..., None] * (back - origin)
    triangles, strips = [], []
    for row in range(depth):
        for column in range(width):
            a = row * (width + 1) + column
            triangles += [(a, a + 1, a + width + 2), (a, a + width + 2, a + width + 1)]
            strips += [(row + column) % len(paint)] * 2
    return mesh(points.reshape(-1, 3), triangles, list(paint), strips)


def roughened(part: Mesh, amount: float, key: int) -> Mesh:
    """The part with each vertex pushed at random by up to `amount` metres along each axis; repeatable by `key`."""
    random = np.random.Generator(np.random.Philox(key=key))
    return Mesh(
        (part.vertices + random.uniform(-amount, amount, part.vertices.shape)).astype(np.float32),
        part.triangles,
        part.slot,
        part.slots,
    )
