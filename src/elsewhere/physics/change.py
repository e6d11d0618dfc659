"""What changes a running world's scene: things come and go, change their mind, and the weather turns.

A change is a function of the event and of where things are then, so that the same events give the same states.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics.state import TICKS_PER_SECOND
from elsewhere.scene.catalogue import COLORS, ENVIRONMENTS, KINDS, MATERIALS, VERBS
from elsewhere.scene.description import Behaviour, Body, Event, Scene, Weather
from elsewhere.scene.kinds import Environment

SCENE_ACTIONS = ("add", "clouds", "do", "fog", "hour", "rain", "remove", "snow", "wind")
"""Events that change the scene itself."""
ACTIONS = tuple(sorted((*SCENE_ACTIONS, "push", "splash")))
BODIES_MOST = 64
TURNING = 2.0
"""Seconds in which light and weather pass from the old to the new."""
GAP = 1.12
"""Least distance of a new thing to others, in sums of their radii."""
_BEARINGS = 16
_AMOUNTS = {"clouds": "cloud_cover", "fog": "fog", "rain": "rain", "snow": "snow"}


@dataclass(frozen=True, slots=True)
class Climate:
    """Hour and weather on their way from what they were at `tick` to what the scene says."""

    tick: int
    hour: float
    weather: Weather

    def at(self, tick: int, scene: Scene) -> tuple[float, Weather]:
        """Hour and weather at a tick."""
        share = min(max((tick - self.tick) / (TURNING * TICKS_PER_SECOND), 0.0), 1.0)
        if share >= 1.0 or (self.hour == scene.hour and self.weather == scene.weather):
            return scene.hour, scene.weather
        share = share * share * (3.0 - 2.0 * share)
        # The shorter way round the clock.
        way = (scene.hour - self.hour + 12.0) % 24.0 - 12.0
        names = ("cloud_cover", "fog", "rain", "snow", "wind_speed")
        old, new = self.weather, scene.weather
        values = {n: (1.0 - share) * getattr(old, n) + share * getattr(new, n) for n in names}
        return (self.hour + share * way) % 24.0, replace(new, **values)


def changed(scene: Scene, event: Event, position: NDArray[np.float64]) -> Scene:
    """`scene` after one of `SCENE_ACTIONS`, whose things are at `position` (N, 3). Raises ValueError."""
    check(scene, event)
    arguments = event.arguments
    if event.action == "add":
        return replace(scene, bodies=(*scene.bodies, _new_body(scene, arguments, position)))
    if event.action == "remove":
        index = body_index(scene.bodies, arguments.get("body"))
        gone = scene.bodies[index].name
        kept = tuple(_forgetting(body, gone) for body in scene.bodies if body.name != gone)
        return replace(scene, bodies=kept)
    if event.action == "do":
        index = body_index(scene.bodies, arguments.get("body"))
        deed = Behaviour(
            verb=str(arguments["verb"]), target=_text(arguments, "target"), speed=_number(arguments, "speed", 1.0)
        )
        bodies = [replace(b, behaviours=(deed,)) if i == index else b for i, b in enumerate(scene.bodies)]
        return replace(scene, bodies=tuple(bodies))
    if event.action == "hour":
        return replace(scene, hour=_number(arguments, "hour", 14.0))
    weather = scene.weather
    if event.action == "wind":
        speed = min(max(_number(arguments, "speed", 0.0), 0.0), 30.0)
        heading = _number(arguments, "heading", weather.wind_heading)
        return replace(scene, weather=replace(weather, wind_speed=speed, wind_heading=heading))
    amount = min(max(_number(arguments, "amount", 1.0), 0.0), 1.0)
    if event.action in ("rain", "snow") and ENVIRONMENTS[scene.environment].indoor:
        return scene
    return replace(scene, weather=replace(weather, **{_AMOUNTS[event.action]: amount}))


def check(scene: Scene, event: Event) -> None:
    """Raises ValueError when the event cannot happen to the things that there are, or names what is not known."""
    arguments, names = event.arguments, [body.name for body in scene.bodies]
    if event.action == "add":
        _one_of("kind", arguments.get("kind"), KINDS)
        name = arguments.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 80 or name in names:
            raise ValueError(f"event add: name must be new, of 1 to 80 characters; got {name!r}")
        if len(names) >= BODIES_MOST:
            raise ValueError(f"event add: a world holds {BODIES_MOST} things; nearest valid is to remove one first")
        for argument, table in (
            ("color_name", COLORS),
            ("second_color_name", COLORS),
            ("material", MATERIALS),
            ("verb", VERBS),
            ("near", names),
        ):
            if arguments.get(argument) is not None:
                _one_of(argument, arguments[argument], table)
        size = _number(arguments, "size", 1.0)
        if not 1e-4 <= size <= 1e4:
            raise ValueError(f"event add: size must be from 1e-4 to 1e4; got {size:g}")
    elif event.action in ("do", "remove"):
        body_index(scene.bodies, arguments.get("body"))
        if event.action == "do":
            _one_of("verb", arguments.get("verb"), VERBS)
            if arguments.get("target") is not None:
                _one_of("target", arguments["target"], names)


def check_action(action: str) -> str:
    """`action` when it is one of `ACTIONS`; ValueError names the nearest."""
    return _one_of("event.action", action, ACTIONS)


def body_index(bodies: Sequence[Body], body: object) -> int:
    """The row of a body given by name or number. ValueError names the nearest."""
    names = [one.name for one in bodies]
    if isinstance(body, str):
        return names.index(_one_of("body", body, names))
    count = len(names)
    if not isinstance(body, int) or isinstance(body, bool) or not 0 <= body < count:
        raise ValueError(f"body must be a name or an index from 0 to {count - 1}; got {body!r}; nearest valid is 0")
    return body


def _one_of(argument: str, name: object, table: Any) -> str:
    names = sorted(table)
    if isinstance(name, str) and name in names:
        return name
    near = difflib.get_close_matches(str(name)[:80], names, 1, 0.0)
    raise ValueError(f"{argument} must be one of {names}; got {name!r}; nearest is {near[0] if near else None!r}")


def _number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    value = arguments.get(name, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
            f"event argument {name!r} must be a finite number; got {value!r}; nearest valid is {default:g}"
        )
    return float(value)


def _text(arguments: Mapping[str, Any], name: str) -> str | None:
    value = arguments.get(name)
    return None if value is None else str(value)


def _forgetting(body: Body, gone: str) -> Body:
    """A body without what it did to a thing that is no more."""
    kept = tuple(deed for deed in body.behaviours if deed.target != gone)
    return body if kept == body.behaviours else replace(body, behaviours=kept)


def _new_body(scene: Scene, arguments: Mapping[str, Any], position: NDArray[np.float64]) -> Body:
    kind, size = KINDS[str(arguments["kind"])], _number(arguments, "size", 1.0)
    x, z = _spot(scene, arguments, position, 0.5 * kind.length * size)
    yaw = _number(arguments, "yaw", 0.0)
    color_name, verb = _text(arguments, "color_name"), _text(arguments, "verb")
    deeds: tuple[Behaviour, ...] = ()
    if verb is not None:
        deeds = (Behaviour(verb=verb, target=_text(arguments, "target"), speed=_number(arguments, "speed", 1.0)),)
    return Body(
        name=str(arguments["name"]),
        kind=kind.name,
        size=size,
        color=COLORS[color_name] if color_name else None,
        color_name=color_name,
        material=_text(arguments, "material"),
        second_color_name=_text(arguments, "second_color_name"),
        position=(x, 0.0 if kind.fixed else max(_number(arguments, "lift", 0.0), 0.0), z),
        orientation=(0.0, math.sin(0.5 * yaw), 0.0, math.cos(0.5 * yaw)),
        behaviours=deeds,
    )


def _spot(
    scene: Scene, arguments: Mapping[str, Any], position: NDArray[np.float64], radius: float
) -> tuple[float, float]:
    """(x, z) of the free place nearest to the one that is meant; where there is none, the freest of those tried."""
    place = ENVIRONMENTS[scene.environment]
    radii = [0.5 * KINDS[body.kind].length * body.size for body in scene.bodies]
    around = [(float(p[0]), float(p[2]), r) for p, r in zip(position, radii, strict=True)]
    middle, first = (0.0, 0.0), 0.0
    if around:
        middle = sum(a for a, _, _ in around) / len(around), sum(b for _, b, _ in around) / len(around)
    near = _text(arguments, "near")
    if arguments.get("x") is not None or arguments.get("z") is not None:
        middle = _number(arguments, "x", 0.0), _number(arguments, "z", 0.0)
    elif near is not None:
        x, z, other = around[body_index(scene.bodies, near)]
        middle, first = (x, z), GAP * (radius + other)
    bearing = _number(arguments, "bearing", _number(arguments, "yaw", 0.0))
    best, room = middle, -math.inf
    # First on the side that is meant, then anywhere.
    tries = [(ring, step) for steps in (_BEARINGS // 2, _BEARINGS) for ring in range(24) for step in range(steps)]
    for ring, step in tries:
        reach = first + 0.6 * radius * ring
        # The bearing that is meant comes first, then those ever farther from it on both sides.
        angle = bearing + (step + 1) // 2 * (1 if step % 2 else -1) * 2.0 * math.pi / _BEARINGS
        x, z = middle[0] + reach * math.sin(angle), middle[1] + reach * math.cos(angle)
        free = min((math.hypot(x - a, z - b) / (GAP * (radius + r)) for a, b, r in around), default=2.0)
        if not _holds(place, x, z, radius):
            continue
        if free >= 1.0 - 1e-9:
            return x, z
        if free > room:
            best, room = (x, z), free
    return best


def _holds(place: Environment, x: float, z: float, radius: float) -> bool:
    """Whether a thing of this radius is inside the place and its reach."""
    half_x, half_z = place.half_size
    if place.outline == "box":
        return abs(x) + radius <= 0.96 * half_x and abs(z) + radius <= 0.96 * half_z
    limit = place.reach if place.outline == "open" else min(place.reach, 0.95 * min(half_x, half_z) - radius)
    return math.hypot(x, z) <= max(limit, 0.0)
