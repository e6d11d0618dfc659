"""From a design to a `Kind`: a thing is drawn about its water line or foot, a body lives about its centre of mass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from elsewhere.scene.description import Quaternion, Vector3
from elsewhere.scene.kinds import Cloth, Collider, Kind, Mesh
from elsewhere.scene.shapes.primitives import moved

MOVERS = frozenset({"drift", "bounce", "roll", "fall", "sink", "rest", "spin", "circle"})
"""Verbs of everything that is not fixed."""


def kind(
    name: str,
    design: Callable[[], Mesh],
    *,
    synonyms: tuple[str, ...] = (),
    length: float,
    mass: float,
    colors: tuple[str, ...],
    colliders: tuple[Collider, ...],
    centre: Vector3 = (0.0, 0.0, 0.0),
    verbs: frozenset[str] = MOVERS,
    cloths: tuple[Cloth, ...] = (),
    fixed: bool = False,
    restitution: float = 0.3,
    materials: tuple[str, ...] = (),
) -> Kind:
    """A `Kind` whose mesh, colliders and cloths are given in the design frame; `centre` is its centre of mass there."""

    @lru_cache(maxsize=1)
    def build() -> Mesh:
        part = moved(design(), *(-c for c in centre))
        for array in (part.vertices, part.triangles, part.slot):
            array.flags.writeable = False
        return part

    return Kind(
        name=name,
        synonyms=synonyms,
        length=length,
        mass=mass,
        colors=colors,
        verbs=verbs,
        colliders=tuple(replace(c, position=_minus(c.position, centre)) for c in colliders),
        build=build,
        cloths=tuple(replace(c, corner=_minus(c.corner, centre)) for c in cloths),
        fixed=fixed,
        restitution=restitution,
        materials=materials,
    )


def box(half: Vector3, at: Vector3 = (0.0, 0.0, 0.0), orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> Collider:
    """A box collider of half extents `half` at `at`, metres."""
    return Collider(shape="box", half_size=half, position=at, orientation=orientation)


def ball(radius: float, at: Vector3 = (0.0, 0.0, 0.0)) -> Collider:
    """A sphere collider."""
    return Collider(shape="sphere", half_size=(radius, radius, radius), position=at)


def egg(half: Vector3, at: Vector3 = (0.0, 0.0, 0.0)) -> Collider:
    """An ellipsoid collider of half axes `half`."""
    return Collider(shape="ellipsoid", half_size=half, position=at)


def can(
    radius: float, half_height: float, at: Vector3 = (0.0, 0.0, 0.0), orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)
) -> Collider:
    """A cylinder collider along +Y before `orientation`."""
    return Collider(shape="cylinder", half_size=(radius, half_height, radius), position=at, orientation=orientation)


def _minus(a: Vector3, b: Vector3) -> Vector3:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])
