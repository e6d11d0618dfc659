"""The shape of a catalogue entry: what can be said of a kind of thing, a surface or a place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.scene.description import Quaternion, Vector3

TEXTURES = ("plain", "wood", "stone", "sand", "snow", "grass", "fabric", "leaves", "brick", "marble", "metal", "skin")
"""Procedural surface patterns that the renderer knows, in the order of its texture ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """A surface. `albedo` is linear RGB; `density` in kg/m³; `restitution` of a bounce 0…1."""

    name: str
    albedo: Vector3
    roughness: float = 0.8
    metallic: float = 0.0
    transmission: float = 0.0
    refractive_index: float = 1.5
    texture: str = "plain"
    texture_scale: float = 1.0
    """Pattern repeats per metre."""
    density: float = 700.0
    restitution: float = 0.3
    friction: float = 0.6


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles in the body frame at natural size (metres, +Y up, the front looks to −Z, origin at the
    centre of mass). `slots[slot[t]]` is the material name of triangle t; slot 0 is the *main* slot,
    the one that takes the colour a prompt asks for."""

    vertices: NDArray[np.float32]  # (V, 3)
    triangles: NDArray[np.int32]  # (T, 3), counter-clockwise seen from outside
    slot: NDArray[np.int32]  # (T,)
    slots: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collider:
    """A primitive for contact and buoyancy. `shape`: "box" (half extents), "sphere" (r, r, r),
    "ellipsoid" (half axes) or "cylinder" (r, half height, r; axis along body +Y before `orientation`)."""

    shape: str
    half_size: Vector3
    position: Vector3 = (0.0, 0.0, 0.0)
    orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloth:
    """A rectangle of cloth: sail or flag. Its grid is rows × columns; the first column (flag) or the
    first and last rows (sail) are pinned to the body. `corner` + u·`across` + v·`down`, body frame."""

    corner: Vector3
    across: Vector3
    down: Vector3
    rows: int
    columns: int
    pinned: str  # "first column" | "first and last row"
    material: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One thing of the catalogue. `length` is the longest natural extent in metres; `mass` in kg at
    natural size; `fixed` things never move; `verbs` are what it can do; `build` makes its mesh."""

    name: str
    synonyms: tuple[str, ...]
    length: float
    mass: float
    colors: tuple[str, ...]
    verbs: frozenset[str]
    colliders: tuple[Collider, ...]
    build: Callable[[], Mesh]
    cloths: tuple[Cloth, ...] = ()
    fixed: bool = False
    restitution: float = 0.3
    materials: tuple[str, ...] = ()
    """Materials that its main slot may take; the first is the default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A place. With water, y = 0 is its rest level and `depth` its depth in metres; without, y = 0 is
    the ground. `outline` is "open", "disc" or "box" with half extents `half_size` (x, z), metres.
    `walls` is the catalogue mesh of what surrounds it (cup, tub, table), world frame, or None.
    `reach` is the radius in which things are placed; `largest` the longest a thing may be there."""

    name: str
    synonyms: tuple[str, ...]
    has_water: bool
    outline: str
    half_size: tuple[float, float]
    depth: float
    reach: float
    largest: float
    ground: str
    """Material of the ground, or of the water's bed."""
    water_color: Vector3 = (0.02, 0.08, 0.10)
    """Diffuse colour of light scattered back by the water's body (linear RGB)."""
    water_clarity: float = 0.0
    """Length in metres after which 1/e of the light is left; 0 is opaque (coffee)."""
    swell: float = 0.0
    """Root-mean-square height of ambient waves at 5 m/s wind, metres."""
    indoor: bool = False
    relief: float = 0.0
    """Height in metres of dunes or drifts far from the middle."""
    build: Callable[[], Mesh] | None = None
