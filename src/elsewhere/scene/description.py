"""What a world is: frozen data that names bodies, light, weather, cameras and events.

Units are SI, angles radians, +Y up, −Z forward, quaternions xyzw. This file does not know how a
thing looks or moves: `catalogue` holds shapes, `elsewhere.physics` motion.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """What a body tries to do. `verb` is a key of `catalogue.VERBS`; `target` names another body."""

    verb: str
    target: str | None = None
    speed: float = 1.0
    """Multiple of the usual pace of the verb."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """One thing in the world.

    `size` multiplies the natural size that the catalogue gives. `color` (linear RGB, 0…1) and
    `material` override what the catalogue's *main* slot has; None keeps it.
    """

    name: str
    kind: str
    size: float = 1.0
    color: Vector3 | None = None
    color_name: str | None = None
    material: str | None = None
    second_color_name: str | None = None
    """A key of `catalogue.COLORS` for the slot in `catalogue.SECOND_SLOTS` of its kind."""
    position: Vector3 = (0.0, 0.0, 0.0)
    orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)
    velocity: Vector3 = (0.0, 0.0, 0.0)
    angular_velocity: Vector3 = (0.0, 0.0, 0.0)
    behaviours: tuple[Behaviour, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Weather:
    """Air and sky. Fractions 0…1; wind in m/s, `wind_heading` the way it blows to, radians from −Z to +X."""

    cloud_cover: float = 0.2
    fog: float = 0.0
    rain: float = 0.0
    snow: float = 0.0
    wind_speed: float = 3.0
    wind_heading: float = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """How the camera looks, in a film maker's words.

    `distance` multiplies the distance at which everything of interest just fits; `elevation` and
    `azimuth` are the camera's direction as seen from the subject; `motion` is one of
    "still", "orbit", "dolly in", "dolly out", "pan", "crane".
    """

    distance: float = 1.0
    elevation: float = 0.35
    azimuth: float = 0.5
    motion: str = "still"
    rate: float = 1.0
    field_of_view: float = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happens at a tick (1/240 s): `action` with plain JSON arguments."""

    tick: int
    action: str
    arguments: dict[str, float | int | str | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A whole world at tick 0. Immutable; `hour` is the local solar time, 0…24."""

    prompt: str
    environment: str
    bodies: tuple[Body, ...]
    hour: float = 14.0
    weather: Weather = Weather()
    shot: Shot = Shot()
    events: tuple[Event, ...] = ()
