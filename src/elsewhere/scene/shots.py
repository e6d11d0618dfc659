"""Where the camera of a scene stands at a time: a film maker's words to a pinhole camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from elsewhere.scene import catalogue
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Body, Scene, Vector3
from elsewhere.scene.moves import Move, Moves, Rig

ORBIT_RATE = 0.14
"""Radians per second of an orbit at rate 1."""
_STEEPEST = 1.45
_OVER_RIM = 0.45
"""Least elevation of a camera that looks into a cup or tub from outside."""
_MARGIN = 1.2
"""Room around the bodies for where they will go."""
_LEAST_VIEW = 0.25
"""Radius shown where nothing stands, as a share of the place's reach."""


def camera_at(
    scene: Scene,
    seconds: float,
    width: int,
    height: int,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    offset: Vector3 = (0.0, 0.0, 0.0),
    focus: Vector3 | None = None,
) -> Camera:
    """The camera of the scene's shot after `seconds`, for a picture of width × height pixels.

    The shot's azimuth counts from +Z to +X: 0 looks along −Z at the subject, π/2 looks along −X. At
    distance 1 the bounding sphere of all bodies, as they start, just fits. `focus` (metres, world) is looked
    at instead of that sphere's middle. The person's `yaw` (left is positive) and `pitch` (up is positive),
    radians, turn the camera where it stands; `offset` moves it in metres to its right, up and back. The
    camera stays above water and ground, and above the rim of a cup or tub. Raises ValueError for a size
    below one pixel or a number that is not finite.
    """
    _check(seconds, width, height, (yaw, pitch, *offset, *(focus or ())))
    shot = scene.shot
    middle, radius = subject(scene)
    target = middle if focus is None else np.array(focus, dtype=np.float64)
    azimuth, elevation, distance, turn = _moved(scene, seconds)
    lens = _Lens.of(shot.field_of_view, width, height)
    fitting = lens.fitting(radius)
    azimuth += _swing(scene.environment, _rounded(middle), fitting * shot.distance, shot.azimuth, shot.elevation)
    reach, wind = distance * fitting, scene.weather.wind_speed
    if shot.motion == "orbit":
        elevation = _orbit_elevation(scene.environment, wind, _rounded(middle), radius, reach, elevation)
    else:
        elevation = _clear_elevation(scene.environment, wind, target, radius, reach, azimuth, elevation)
    stand = _Stand(target, radius, azimuth, elevation, reach, turn + yaw, pitch, offset)
    return _camera(scene, stand, lens, width, height)


class RiggedShot:
    """The shot of `scene`, carried by `moves` as a rig carries a camera; seconds count from the shot's beginning.

    The shot's own motion is left out. One elevation that clears rim and walls all along the way is kept to, so that the
    camera does not hop where a rim comes nearer.
    """

    def __init__(self, scene: Scene, moves: tuple[Move, ...], width: int, height: int) -> None:
        self.scene, self._width, self._height = scene, width, height
        self.size = (width, height)
        shot = scene.shot
        self._middle, self._radius = subject(scene)
        self._lens = _Lens.of(shot.field_of_view, width, height)
        fitting = self._lens.fitting(self._radius)
        self._reach = shot.distance * fitting
        self.moves = Moves(moves, self._reach)
        swing = _swing(scene.environment, _rounded(self._middle), self._reach, shot.azimuth, shot.elevation)
        self._azimuth = shot.azimuth + swing
        self._floor = self._clear()

    @property
    def seconds(self) -> float:
        """When the last move ends."""
        return self.moves.seconds

    def at(
        self,
        seconds: float,
        *,
        yaw: float = 0.0,
        pitch: float = 0.0,
        offset: Vector3 = (0.0, 0.0, 0.0),
    ) -> Camera:
        """The camera after `seconds`; a person's hands as in `camera_at`. ValueError for a number not finite."""
        _check(seconds, self._width, self._height, (yaw, pitch, *offset))
        rig, shot = self.moves.at(seconds), self.scene.shot
        azimuth, reach = self._azimuth + rig.azimuth, self._reach_of(rig)
        elevation = min(max(shot.elevation + rig.elevation, self._floor), _STEEPEST)
        moved = (offset[0] + rig.across, offset[1] + rig.up, offset[2])
        stand = _Stand(
            self._middle, self._radius, azimuth, elevation, reach, yaw + rig.turn, pitch + rig.tilt, moved
        )  # fmt: skip
        lens = replace(self._lens, half_up=math.atan(math.tan(self._lens.half_up) * math.exp(-rig.zoom)))
        return _camera(self.scene, stand, lens, self._width, self._height)

    def _reach_of(self, rig: Rig) -> float:
        return max(self._reach * math.exp(rig.distance) - rig.near, 0.25 * self._radius)

    def _clear(self) -> float:
        """The least elevation that is clear wherever the moves lead."""
        scene, wind = self.scene, self.scene.weather.wind_speed
        found = 0.02
        for seconds in np.linspace(0.0, self.seconds, 1 + min(round(4 * self.seconds), 400)):
            rig = self.moves.at(float(seconds))
            azimuth, reach = self._azimuth + rig.azimuth, self._reach_of(rig)
            place = (scene.environment, wind, self._middle, self._radius, reach, azimuth)
            found = max(found, _clear_elevation(*place, 0.02))
        return found


def least_height(scene: Scene, position: NDArray[np.float64]) -> float:
    """Lowest y, metres, at which a camera over the (x, z) of `position` is above waves, ground and rim."""
    return _least_height(scene.environment, scene.weather.wind_speed, position, subject(scene)[1])


@dataclass(frozen=True, slots=True)
class _Lens:
    """Half the angles of view, up and across, radians."""

    half_up: float
    half_across: float

    @classmethod
    def of(cls, field_of_view: float, width: int, height: int) -> _Lens:
        half_up = 0.5 * field_of_view
        return cls(half_up, math.atan(math.tan(half_up) * width / height))

    def fitting(self, radius: float) -> float:
        """Distance at which a sphere just fits."""
        return _MARGIN * radius / math.sin(min(self.half_up, self.half_across))


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a camera stands about its target, and how it is turned and moved there."""

    target: NDArray[np.float64]
    radius: float
    azimuth: float
    elevation: float
    reach: float
    yaw: float
    pitch: float
    offset: Vector3


def _camera(scene: Scene, stand: _Stand, lens: _Lens, width: int, height: int) -> Camera:
    """The camera of a stand, kept off walls and above water and ground."""
    target, toward = stand.target, _toward(stand.azimuth, stand.elevation)
    position = target + min(stand.reach, 0.93 * _free_length(scene.environment, target, toward)) * toward
    back = _unit(position - target)
    heading, tilt = math.atan2(back[0], back[2]) + stand.yaw, math.asin(-back[1]) + stand.pitch
    rotation = _rotation(heading, min(max(tilt, -1.54), 1.54))
    level = _rotation(heading, 0.0)
    position = position + level @ np.array(stand.offset, dtype=np.float64)
    lowest = _least_height(scene.environment, scene.weather.wind_speed, position, stand.radius)
    position[1] = max(position[1], lowest)
    c2w = np.eye(4)
    c2w[:3, :3], c2w[:3, 3] = rotation, position
    focal = 0.5 * height / math.tan(lens.half_up)
    return Camera(c2w=c2w, focal=focal, center=(0.5 * width, 0.5 * height), width=width, height=height)


def subject(scene: Scene) -> tuple[NDArray[np.float64], float]:
    """Middle (3,) and radius in metres of a sphere around all bodies as they start."""
    if not scene.bodies:
        return np.zeros(3), max(_LEAST_VIEW * catalogue.ENVIRONMENTS[scene.environment].reach, 0.05)
    middle, radius = _enclosing(scene.bodies)
    return np.array(middle), radius


@lru_cache(maxsize=64)
def _enclosing(bodies: tuple[Body, ...]) -> tuple[Vector3, float]:
    """Sphere around bodies."""
    spheres = [_sphere(body.kind, body.size, body.position, body.orientation) for body in bodies]
    centres = np.array([centre for centre, _radius in spheres])
    radii = np.array([radius for _centre, radius in spheres])
    low, high = (centres - radii[:, None]).min(axis=0), (centres + radii[:, None]).max(axis=0)
    middle = 0.5 * (low + high)
    radius = float((np.linalg.norm(centres - middle, axis=1) + radii).max())
    return (float(middle[0]), float(middle[1]), float(middle[2])), max(radius, 1e-3)


def _sphere(
    kind: str, size: float, position: Vector3, orientation: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], float]:
    """A body's bounding sphere, world frame."""
    centre, radius = _kind_sphere(kind)
    axis, w = np.array(orientation[:3]), orientation[3]
    local = np.array(centre)
    turned = local + 2.0 * np.cross(axis, np.cross(axis, local) + w * local)
    return np.array(position) + size * turned, size * radius


@lru_cache(maxsize=64)
def _kind_sphere(name: str) -> tuple[Vector3, float]:
    """Middle and radius of what is seen of a kind, body frame, metres. Fixed things show only what is above y = 0."""
    kind = catalogue.KINDS[name]
    vertices = kind.build().vertices.astype(np.float64)
    if kind.fixed:
        vertices = np.maximum(vertices, (-np.inf, 0.0, -np.inf))
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    radius = float(np.linalg.norm(vertices - middle, axis=1).max())
    return (float(middle[0]), float(middle[1]), float(middle[2])), radius


def _check(seconds: float, width: int, height: int, numbers: tuple[float, ...]) -> None:
    """Raises ValueError for arguments that give no camera."""
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1 pixel, got {width} x {height}; nearest: 1 x 1")
    if not all(math.isfinite(number) for number in (seconds, *numbers)):
        raise ValueError(f"seconds, yaw, pitch, offset and focus must be finite, got {(seconds, *numbers)}; nearest: 0")


def _moved(scene: Scene, seconds: float) -> tuple[float, float, float, float]:
    """Azimuth, elevation, distance and turn of the head after `seconds` of the shot's motion."""
    shot = scene.shot
    azimuth, elevation, distance, turn = shot.azimuth, shot.elevation, shot.distance, 0.0
    progress = shot.rate * seconds
    if shot.motion == "orbit":
        azimuth += ORBIT_RATE * progress
    elif shot.motion == "dolly in":
        distance *= 0.45 + 0.55 * math.exp(-max(progress, 0.0) / 9.0)
    elif shot.motion == "dolly out":
        distance *= 2.2 - 1.2 * math.exp(-max(progress, 0.0) / 9.0)
    elif shot.motion == "pan":
        turn = 0.3 * math.sin(0.35 * progress)
    elif shot.motion == "crane":
        elevation += 0.35 * (1.0 - math.cos(0.25 * progress))
    return azimuth, min(max(elevation, 0.02), _STEEPEST), distance, turn


def _toward(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Unit vector from the subject to the camera."""
    flat = math.cos(elevation)
    return np.array([math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat])


@lru_cache(maxsize=64)
def _orbit_elevation(
    environment: str, wind: float, target: Vector3, radius: float, reach: float, elevation: float
) -> float:
    """One elevation that is clear from all sides, so that an orbit does not hop where the rim comes nearer."""
    sides = [side * math.pi / 4 for side in range(8)]
    point = np.array(target)
    return max(_clear_elevation(environment, wind, point, radius, reach, side, elevation) for side in sides)


def _clear_elevation(
    environment: str,
    wind: float,
    target: NDArray[np.float64],
    radius: float,
    reach: float,
    azimuth: float,
    elevation: float,
) -> float:
    """The least elevation, from the wanted one up, from which the target is seen over the rim."""
    rim = rim_height(environment)
    for step in range(40):
        tried = min(elevation + 0.04 * step, _STEEPEST)
        position = target + reach * _toward(azimuth, tried)
        if rim is not None and tried < _OVER_RIM and _crossing(environment, target, position) is not None:
            continue
        above = position[1] >= _least_height(environment, wind, position, radius)
        if (above or step == 39) and _sees_over(environment, rim, target, position, radius):
            return tried
        if tried >= _STEEPEST:
            break
    return _STEEPEST if rim is not None else max(elevation, 0.04)


def _sees_over(
    environment: str,
    rim: float | None,
    target: NDArray[np.float64],
    position: NDArray[np.float64],
    radius: float,
) -> bool:
    """Whether the line from the camera to the foot of the target clears the rim where it crosses it."""
    if rim is None:
        return True
    share = _crossing(environment, target, position)
    if share is None:
        return True
    foot = min(float(target[1]), 0.15 * radius)
    return foot + share * (float(position[1]) - foot) > rim


def _crossing(environment: str, target: NDArray[np.float64], position: NDArray[np.float64]) -> float | None:
    """Share of the way from target to camera at which the outline is crossed, or None when it is not."""
    place = catalogue.ENVIRONMENTS[environment]
    half = np.array(place.half_size)
    start, end = target[[0, 2]] / half, position[[0, 2]] / half
    shares = np.linspace(0.0, 1.0, 65)
    along = start + shares[:, None] * (end - start)
    size = np.linalg.norm(along, axis=1) if place.outline == "disc" else np.abs(along).max(axis=1)
    beyond = np.nonzero(size > 1.0)[0]
    return None if not len(beyond) else float(shares[beyond[0]])


@lru_cache(maxsize=16)
def rim_height(environment: str) -> float | None:
    """Height of the walls close around water, metres above its level; None where there are none."""
    place = catalogue.ENVIRONMENTS[environment]
    if place.build is None or place.outline == "open" or not place.has_water:
        return None
    vertices = place.build().vertices
    half = np.array(place.half_size)
    scaled = vertices[:, [0, 2]] / half
    size = np.linalg.norm(scaled, axis=1) if place.outline == "disc" else np.abs(scaled).max(axis=1)
    # Taps and tiled walls stand higher than the rim, so that only what is near the water counts.
    near = (size > 0.97) & (size < 1.25) & (vertices[:, 1] < 0.35 * half.min() + 0.05)
    return float(vertices[near, 1].max()) if near.any() else None


@lru_cache(maxsize=16)
def _walls(environment: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """First corners and two edges (T, 3) of the triangles that stand around a place."""
    build = catalogue.ENVIRONMENTS[environment].build
    if build is None:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))
    mesh = build()
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    return corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


def _free_length(environment: str, origin: NDArray[np.float64], toward: NDArray[np.float64]) -> float:
    """Metres from `origin` along the unit vector `toward` to the first wall; inf where there is none."""
    corner, first, second = _walls(environment)
    start = np.array([origin[0], max(origin[1], 0.01), origin[2]])
    across = np.cross(toward, second)
    volume = (first * across).sum(axis=1)
    safe = np.where(np.abs(volume) < 1e-12, np.inf, volume)
    to_start = start - corner
    u = (to_start * across).sum(axis=1) / safe
    turned = np.cross(to_start, first)
    v = (turned @ toward) / safe
    length = (second * turned).sum(axis=1) / safe
    hit = (np.abs(volume) > 1e-12) & (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (length > 1e-6)
    return float(length[hit].min()) if hit.any() else math.inf


def _rounded(point: NDArray[np.float64]) -> Vector3:
    return (round(float(point[0]), 6), round(float(point[1]), 6), round(float(point[2]), 6))


@lru_cache(maxsize=256)
def _swing(environment: str, target: Vector3, reach: float, azimuth: float, elevation: float) -> float:
    """Radians that a shot is turned to the side because a wall of the room is in the way."""
    for step in (0.0, 0.3, -0.3, 0.6, -0.6, 0.9, -0.9, 1.2, -1.2, 1.6, -1.6, 2.0, -2.0, 2.5, -2.5, 3.1):
        for lifted in (elevation, elevation + 0.35):
            toward = _toward(azimuth + step, min(max(lifted, 0.02), _STEEPEST))
            if _free_length(environment, np.array(target), toward) > reach:
                return step
    return 0.0


def _least_height(environment: str, wind: float, position: NDArray[np.float64], radius: float) -> float:
    """Lowest y for a camera at a horizontal place: above waves, ground, and the rim when beyond it."""
    place = catalogue.ENVIRONMENTS[environment]
    least = max(0.06 * radius, 0.01)
    if place.has_water:
        least += 3.0 * place.swell * max(wind / 5.0, 0.2)
    half = np.array(place.half_size)
    beyond = float(np.abs(position[[0, 2]] / half).max()) > 0.93
    rim = rim_height(environment)
    if rim is not None and beyond:
        least = max(least, rim + 0.04 * float(half.min()))
    if place.outline == "open" and place.build is not None:
        least = max(least, _land_height(environment, float(position[0]), float(position[2])) + 0.03 * float(half.min()))
    return least


def _land_height(environment: str, x: float, z: float) -> float:
    """Highest y near (x, z) of the land around an open place, metres; −inf where none is near."""
    place = catalogue.ENVIRONMENTS[environment]
    if place.build is None or math.hypot(x, z) < 0.8 * min(place.half_size):
        return -math.inf
    vertices = place.build().vertices
    distance = np.hypot(vertices[:, 0] - x, vertices[:, 2] - z)
    near = distance < 0.25 * max(place.half_size)
    return float(vertices[near, 1].max()) if near.any() else -math.inf


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _rotation(heading: float, tilt: float) -> NDArray[np.float64]:
    """(3, 3) columns right, up, back of a camera with a heading about +Y and a tilt upward, radians."""
    ch, sh, ct, st = math.cos(heading), math.sin(heading), math.cos(tilt), math.sin(tilt)
    right = np.array([ch, 0.0, -sh])
    back = np.array([sh * ct, -st, ch * ct])
    return np.stack([right, np.cross(back, right), back], axis=1)
