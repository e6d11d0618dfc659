"""Small scenes made by hand, with answers that can be worked out on paper."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from elsewhere.physics.state import State, Swell
from elsewhere.render import Stage
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Body, Scene, Weather
from elsewhere.scene.kinds import Cloth, Environment, Kind, Material, Mesh

SURFACES = {
    "grey": Material(name="grey", albedo=(0.5, 0.5, 0.5), roughness=1.0),
    "white": Material(name="white", albedo=(1.0, 1.0, 1.0), roughness=1.0),
    "red": Material(name="red", albedo=(0.7, 0.1, 0.1), roughness=1.0),
}
SAIL = Cloth(
    corner=(-0.5, 2.0, 0.0), across=(1.0, 0.0, 0.0), down=(0.0, -1.0, 0.0), rows=5, columns=5,
    pinned="first and last row", material="grey",
)  # fmt: skip


def box() -> Mesh:
    """A unit cube."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    return Mesh(corners, faces, np.zeros(12, np.int32), ("red",))


def ball(rings: int = 32) -> Mesh:
    """A sphere of radius one half."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.arange(2 * rings) * np.pi / rings, indexing="ij")
    points = 0.5 * np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1)
    index = np.arange(points.size // 3).reshape(theta.shape)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    faces = np.concatenate([np.stack([a, b, c], -1)[1:].reshape(-1, 3), np.stack([b, d, c], -1)[:-1].reshape(-1, 3)])
    return Mesh(
        points.reshape(-1, 3).astype(np.float32), faces.astype(np.int32), np.zeros(len(faces), np.int32), ("white",)
    )


def _kind(name: str, build: Callable[[], Mesh], cloths: tuple[Cloth, ...] = ()) -> Kind:
    return Kind(
        name=name,
        synonyms=(),
        length=1.0,
        mass=1.0,
        colors=(),
        verbs=frozenset(),
        colliders=(),
        build=build,
        cloths=cloths,
    )


KINDS = {"box": _kind("box", box), "ball": _kind("ball", ball), "boat": _kind("boat", box, (SAIL,))}


def _place(name: str, **more: object) -> Environment:
    fields: dict[str, object] = {
        "name": name, "synonyms": (), "has_water": False, "outline": "open", "half_size": (8.0, 8.0), "depth": 5.0,
        "reach": 6.0, "largest": 9.0, "ground": "grey",
    }  # fmt: skip
    return Environment(**{**fields, **more})  # type: ignore[arg-type]


PLACES = {
    "floor": _place("floor"),
    "air": _place("air", outline="box"),
    "sea": _place("sea", has_water=True),
}


def swell(*waves: tuple[float, float, float, float, float]) -> Swell:
    """A swell of (amplitude, kx, kz, ω, phase) waves."""
    table = np.array(waves, np.float32).reshape(-1, 5).T
    return Swell(amplitude=table[0], wave_x=table[1], wave_z=table[2], omega=table[3], phase=table[4])


def body(kind: str, *position: float, **more: object) -> Body:
    """A body at a position."""
    return Body(name=kind, kind=kind, position=position, **more)  # type: ignore[arg-type]


def state_of(bodies: tuple[Body, ...], *, water: bool = False, tick: int = 0) -> State:
    """The state in which bodies stand where they are described."""
    count = len(bodies)
    v, u = np.meshgrid(np.linspace(0, 1, SAIL.rows), np.linspace(0, 1, SAIL.columns), indexing="ij")
    flat = np.asarray(SAIL.corner) + u[..., None] * np.asarray(SAIL.across) + v[..., None] * np.asarray(SAIL.down)
    cloth = tuple((flat + b.position).astype(np.float32) for b in bodies if b.kind == "boat")
    grid = (32, 32) if water else (0, 0)
    return State(
        tick=tick,
        position=np.array([b.position for b in bodies], np.float64).reshape(count, 3),
        orientation=np.array([b.orientation for b in bodies], np.float64).reshape(count, 4),
        velocity=np.zeros((count, 3)),
        angular_velocity=np.zeros((count, 3)),
        water_height=np.zeros(grid, np.float32),
        water_flow=np.zeros((2, *grid), np.float32),
        cloth=cloth,
        cloth_velocity=cloth,
    )


def stage_of(
    place: str, bodies: tuple[Body, ...], *, threads: int = 1, waves: Swell | None = None, hour: float = 14.0
) -> Stage:
    """A stage of bodies, in clear air."""
    scene = Scene(prompt="", environment=place, bodies=bodies, hour=hour, weather=Weather(cloud_cover=0.0))
    return Stage(scene, waves or swell(), (0.5, 0.5), threads=threads, kinds=KINDS, surfaces=SURFACES, places=PLACES)


def camera_at(eye: tuple[float, float, float], target: tuple[float, float, float], size: int = 48) -> Camera:
    """A square camera with a field of view of 0.9 rad."""
    position = np.array(eye, np.float64)
    forward = np.array(target) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 1.0, 1e-9))
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, np.cross(right, forward), -forward, position], axis=1)
    return Camera(c2w=c2w, focal=size / 2 / np.tan(0.45), center=(size / 2, size / 2), width=size, height=size)


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """This file, for tests that build scenes."""
    return sys.modules[__name__]
