"""What lies between two states, cameras or scenes, and before the first state.

Mixing what is calculated, and not pictures of it, leaves no ghosts: a hull between two places is one hull.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.rays import rotation_vector
from elsewhere.physics.state import State, Swell
from elsewhere.physics.swell import swell_height
from elsewhere.scene.camera import Camera
from elsewhere.scene.catalogue import ENVIRONMENTS, KINDS, MATERIALS
from elsewhere.scene.description import Body, Scene, Vector3, Weather

TICKS_PER_SECOND = 240.0


def smooth(share: float) -> float:
    """0…1 → 0…1, flat at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def blend_states(scene: Scene, a: State, b: State, share: float, tick: int) -> State:
    """`share` of the way from `a` to `b`, at `tick`. Both are states of `scene`'s bodies.

    Cloth is mixed as its body sees it, so that a ship that turns keeps the size of its sails.
    """

    def mixed(x: NDArray, y: NDArray) -> NDArray:
        return np.asarray(x + (y - x) * x.dtype.type(share), x.dtype)

    position, orientation = mixed(a.position, b.position), blend_turns(a.orientation, b.orientation, share)
    cloth = []
    for index, (x, y) in zip(cloth_bodies(scene), zip(a.cloth, b.cloth, strict=True), strict=True):
        first = (x - a.position[index]) @ quaternion_matrix(a.orientation[index])
        second = (y - b.position[index]) @ quaternion_matrix(b.orientation[index])
        local = first + share * (second - first)
        cloth.append((local @ quaternion_matrix(orientation[index]).T + position[index]).astype(np.float32))
    return replace(
        a if share < 0.5 else b,
        tick=tick,
        position=position,
        orientation=orientation,
        velocity=mixed(a.velocity, b.velocity),
        angular_velocity=mixed(a.angular_velocity, b.angular_velocity),
        water_height=mixed(a.water_height, b.water_height),
        water_flow=mixed(a.water_flow, b.water_flow),
        cloth=tuple(cloth),
        cloth_velocity=tuple(mixed(x, y) for x, y in zip(a.cloth_velocity, b.cloth_velocity, strict=True)),
    )


def blend_turns(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Spherical interpolation of unit quaternions (…, 4), the short way round."""
    cosine = (a * b).sum(axis=-1, keepdims=True)
    near = np.where(cosine < 0.0, -b, b)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    flat = sine < 1e-6
    safe = np.where(flat, 1.0, sine)
    first = np.where(flat, 1.0 - share, np.sin((1.0 - share) * angle) / safe)
    second = np.where(flat, share, np.sin(share * angle) / safe)
    mixed = first * a + second * near
    return np.asarray(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))


def before(scene: Scene, swell: Swell, start: State, after: State) -> State:
    """The state as long before `start` as `after` is after it: not calculated, but mirrored in time.

    Bodies come along the path that they will go, point-mirrored at their start, with the heading that they will have;
    heights are those of later, on the swell of then. Velocities are continuous at `start`.
    """
    tick = 2 * start.tick - after.tick
    position, velocity = after.position.copy(), after.velocity.copy()
    position[:, [0, 2]] = 2.0 * start.position[:, [0, 2]] - after.position[:, [0, 2]]
    velocity[:, 1] = -velocity[:, 1]
    if ENVIRONMENTS[scene.environment].has_water and len(position):

        def surface(where: NDArray[np.float64], at: int) -> NDArray[np.float64]:
            return swell_height(swell, where[:, 0], where[:, 2], at / TICKS_PER_SECOND)

        afloat = ~np.array([KINDS[body.kind].fixed for body in scene.bodies], bool)
        rise = surface(position, tick) - surface(after.position, after.tick)
        # At the start itself nothing may jump.
        position[:, 1] += np.where(afloat, rise, 0.0)
    moved = (position - after.position).astype(np.float32)
    return replace(
        after,
        tick=tick,
        position=position,
        velocity=velocity,
        angular_velocity=-after.angular_velocity,
        water_flow=-after.water_flow,
        cloth=tuple(points + moved[body] for points, body in zip(after.cloth, cloth_bodies(scene), strict=True)),
    )


def cloth_bodies(scene: Scene) -> list[int]:
    """The body that each cloth of a state belongs to."""
    return [index for index, body in enumerate(scene.bodies) for _ in KINDS[body.kind].cloths]


def quaternion_matrix(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation, body to world, of a unit quaternion xyzw."""
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


# -- cameras


def turn_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation of an axis times an angle in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle > 1e-12 else vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross)


def blend_cameras(a: Camera, b: Camera, share: float) -> Camera:
    """`share` of the way from `a` to `b`: places along a line, rotations the short way round."""
    c2w = a.c2w.copy()
    turn = rotation_vector(a.c2w[:3, :3].T @ b.c2w[:3, :3])
    c2w[:3, :3] = a.c2w[:3, :3] @ turn_matrix(share * turn)
    c2w[:3, 3] += share * (b.c2w[:3, 3] - a.c2w[:3, 3])
    return replace(a, c2w=c2w, focal=a.focal + share * (b.focal - a.focal))


def rescaled(camera: Camera, old: tuple[NDArray, float], new: tuple[NDArray, float]) -> Camera:
    """The camera that sees the sphere `new` (middle, radius) as `camera` sees the sphere `old`."""
    c2w = camera.c2w.copy()
    c2w[:3, 3] = new[0] + (camera.c2w[:3, 3] - old[0]) * (new[1] / old[1])
    return replace(camera, c2w=c2w)


# -- scenes


def blend_scenes(a: Scene, b: Scene, share: float) -> Scene:
    """`share` of the way from `a` to `b`, seen with `a`'s shot.

    Hour, weather, colours and sizes change steadily; places, kinds and materials change at one half. Things of the same
    kinds in the same place stay where they are, and the wind keeps its heading: what words leave open does not change.
    """
    if share <= 0.0:
        return a
    same = a.environment == b.environment and [x.kind for x in a.bodies] == [x.kind for x in b.bodies]
    if same:
        bodies = tuple(_blend_bodies(x, y, share) for x, y in zip(a.bodies, b.bodies, strict=True))
    else:
        bodies = a.bodies if share < 0.5 else b.bodies
    nearer = a if share < 0.5 else b
    return replace(
        nearer,
        bodies=bodies,
        shot=a.shot,
        hour=_blend_hours(a.hour, b.hour, share),
        weather=_blend_weather(a.weather, b.weather, share),
        events=a.events if same else nearer.events,
    )


def _blend_bodies(a: Body, b: Body, share: float) -> Body:
    first, second = _color(a), _color(b)
    color: Vector3 | None = a.color if share < 0.5 else b.color
    if first is not None and second is not None and first != second:
        red, green, blue = ((1.0 - share) * x + share * y for x, y in zip(first, second, strict=True))
        color = (red, green, blue)
    nearer = a if share < 0.5 else b
    return replace(
        a,
        color=color,
        color_name=nearer.color_name,
        material=nearer.material,
        size=a.size ** (1.0 - share) * b.size**share,
        behaviours=_behaviours(a, nearer),
    )


def _behaviours(a: Body, nearer: Body) -> tuple:
    """Those of `nearer`, unless they name bodies by names that only its own scene has."""
    return a.behaviours if any(x.target is not None for x in nearer.behaviours) else nearer.behaviours


def _color(body: Body) -> Vector3 | None:
    """What is seen of its main material."""
    if body.color is not None:
        return body.color
    name = body.material or next(iter(KINDS[body.kind].materials), None)
    return None if name is None else MATERIALS[name].albedo


def _blend_hours(a: float, b: float, share: float) -> float:
    """The short way round the clock."""
    way = (b - a + 12.0) % 24.0 - 12.0
    return min((a + share * way) % 24.0, 24.0)


def _blend_weather(a: Weather, b: Weather, share: float) -> Weather:
    def mixed(name: str) -> float:
        x, y = float(getattr(a, name)), float(getattr(b, name))
        return x + share * (y - x)

    names = ("cloud_cover", "fog", "rain", "snow", "wind_speed")
    return replace(a, **{name: mixed(name) for name in names})
