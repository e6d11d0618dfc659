"""Scene to JSON text and back, exactly; what is read is checked field by field. Nothing in it can execute."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from elsewhere.scene import catalogue
from elsewhere.scene.description import Behaviour, Body, Event, Scene, Shot, Weather

FORMAT = "elsewhere.scene"
VERSION = 1
MAXIMUM_CHARACTERS = 8_000_000
MAXIMUM_BODIES = 64
MAXIMUM_EVENTS = 20_000
MOTIONS = ("crane", "dolly in", "dolly out", "orbit", "pan", "still")

Check = Callable[[Any, str], Any]


def to_json(scene: Scene) -> str:
    """One line of JSON; `from_json` gives an equal scene. Raises ValueError for what it would refuse to read."""
    tree = {"format": FORMAT, "version": VERSION, **asdict(scene)}
    _scene(json.loads(json.dumps(tree, allow_nan=True)))
    return json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> Scene:
    """The scene in `text`. Raises ValueError that names the field, the rule and the value got."""
    if not isinstance(text, str):
        raise ValueError(f"text must be str, got {type(text).__name__}")
    if len(text) > MAXIMUM_CHARACTERS:
        raise ValueError(f"text must have at most {MAXIMUM_CHARACTERS} characters, got {len(text)}")
    try:
        tree = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("text must be JSON of a scene, got one nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"text must be JSON of a scene: {error}") from None
    return _scene(tree)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"text must not repeat a field, got fields {[name for name, _value in pairs][:20]}")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"text must have finite numbers only, got {name}")


def _fail(path: str, rule: str, value: Any) -> ValueError:
    shown = repr(value)
    return ValueError(f"{path} must be {rule}, got {shown if len(shown) <= 80 else shown[:77] + '...'}")


def _nearest(value: str, allowed: list[str]) -> str:
    import difflib

    found = difflib.get_close_matches(value[:80], allowed, n=1, cutoff=0.0)
    return f" (nearest: {found[0]!r})" if found else ""


def _number(low: float, high: float) -> Check:
    def check(value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _fail(path, f"a number in {low:g} to {high:g}", value)
        if not math.isfinite(value) or not low <= value <= high:
            raise _fail(path, f"a number in {low:g} to {high:g} (nearest: {_clip(value, low, high):g})", value)
        return float(value)

    return check


def _clip(value: float, low: float, high: float) -> float:
    return low if math.isnan(value) else min(max(value, low), high)


def _integer(low: int, high: int) -> Check:
    def check(value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _fail(path, f"a whole number in {low} to {high}", value)
        return value

    return check


def _text(longest: int, shortest: int = 0) -> Check:
    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise _fail(path, f"text of {shortest} to {longest} characters", value)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _fail(path, "text without lone surrogates", value) from None
        return value

    return check


def _one_of(names: Callable[[], Any]) -> Check:
    def check(value: Any, path: str) -> str:
        allowed = sorted(names())
        if not isinstance(value, str) or value not in allowed:
            hint = _nearest(value, allowed) if isinstance(value, str) else ""
            raise _fail(path, f"one of {', '.join(allowed)}{hint}", value)
        return value

    return check


def _optional(inner: Check) -> Check:
    return lambda value, path: None if value is None else inner(value, path)


def _vector(length: int, low: float, high: float) -> Check:
    number = _number(low, high)

    def check(value: Any, path: str) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) != length:
            raise _fail(path, f"a list of {length} numbers", value)
        return tuple(number(item, f"{path}[{index}]") for index, item in enumerate(value))

    return check


def _quaternion(value: Any, path: str) -> tuple[float, ...]:
    found: tuple[float, ...] = _vector(4, -1.001, 1.001)(value, path)
    if abs(math.hypot(*found) - 1.0) > 1e-3:
        raise _fail(path, "a quaternion of length 1 (nearest: divide it by its length)", value)
    return found


def _list(inner: Check, longest: int) -> Check:
    def check(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > longest:
            raise _fail(path, f"a list of at most {longest}", value)
        return tuple(inner(item, f"{path}[{index}]") for index, item in enumerate(value))

    return check


def _record(make: Callable[..., Any], fields: dict[str, Check], required: frozenset[str]) -> Check:
    """A check of an object: no field missing that is required, none unknown."""

    def check(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _fail(path, "an object", value)
        for name in value:
            if name not in fields:
                raise _fail(f"{path}.{name}"[:120], f"no such field; known: {', '.join(fields)}", value[name])
        for name in required:
            if name not in value:
                raise _fail(f"{path}.{name}", "given", None)
        return make(**{name: fields[name](item, f"{path}.{name}") for name, item in value.items()})

    return check


def _arguments(value: Any, path: str) -> dict[str, float | int | str | bool | None]:
    if not isinstance(value, dict) or len(value) > 32:
        raise _fail(path, "an object of at most 32 plain values", value)
    for name, item in value.items():
        _text(80)(name, path)
        if isinstance(item, str):
            _text(2000)(item, f"{path}.{name}")
        elif item is not None and not isinstance(item, bool | int | float):
            raise _fail(f"{path}.{name}", "a number, text, true, false or null", item)
        elif isinstance(item, int | float) and not (math.isfinite(item) and abs(item) < 2**63):
            raise _fail(f"{path}.{name}", "a finite number below 2^63", item)
    return dict(value)


_PLACE, _SPEED, _FRACTION, _ANGLE = (-1e5, 1e5), (-1e3, 1e3), (0.0, 1.0), (-100.0, 100.0)

_BEHAVIOUR = _record(
    Behaviour,
    {
        "verb": _one_of(lambda: catalogue.VERBS),
        "target": _optional(_text(80, 1)),
        "speed": _number(0.0, 20.0),
    },
    frozenset({"verb"}),
)
_BODY = _record(
    Body,
    {
        "name": _text(80, 1),
        "kind": _one_of(lambda: catalogue.KINDS),
        "size": _number(1e-4, 1e4),
        "color": _optional(_vector(3, 0.0, 1.0)),
        "color_name": _optional(_text(40)),
        "material": _optional(_one_of(lambda: catalogue.MATERIALS)),
        "second_color_name": _optional(_one_of(lambda: catalogue.COLORS)),
        "position": _vector(3, *_PLACE),
        "orientation": _quaternion,
        "velocity": _vector(3, *_SPEED),
        "angular_velocity": _vector(3, *_SPEED),
        "behaviours": _list(_BEHAVIOUR, 16),
    },
    frozenset({"name", "kind"}),
)
_WEATHER = _record(
    Weather,
    {
        **dict.fromkeys(("cloud_cover", "fog", "rain", "snow"), _number(*_FRACTION)),
        "wind_speed": _number(0.0, 60.0),
        "wind_heading": _number(*_ANGLE),
    },
    frozenset(),
)
_SHOT = _record(
    Shot,
    {
        "distance": _number(0.05, 50.0),
        "elevation": _number(-math.pi / 2, math.pi / 2),
        "azimuth": _number(*_ANGLE),
        "motion": _one_of(lambda: MOTIONS),
        "rate": _number(-10.0, 10.0),
        "field_of_view": _number(0.05, 2.8),
    },
    frozenset(),
)
_EVENT = _record(
    Event,
    {"tick": _integer(0, 2**53), "action": _text(80, 1), "arguments": _arguments},
    frozenset({"tick", "action"}),
)
_SCENE = _record(
    lambda format, version, **fields: Scene(**fields),
    {
        "format": _one_of(lambda: (FORMAT,)),
        "version": _integer(VERSION, VERSION),
        "prompt": _text(2000),
        "environment": _one_of(lambda: catalogue.ENVIRONMENTS),
        "bodies": _list(_BODY, MAXIMUM_BODIES),
        "hour": _number(0.0, 24.0),
        "weather": _WEATHER,
        "shot": _SHOT,
        "events": _list(_EVENT, MAXIMUM_EVENTS),
    },
    frozenset({"format", "version", "prompt", "environment", "bodies"}),
)


def _scene(tree: Any) -> Scene:
    """The scene of a JSON tree, with names unique and targets known."""
    scene: Scene = _SCENE(tree, "scene")
    names = {body.name for body in scene.bodies}
    if len(names) != len(scene.bodies):
        raise _fail("scene.bodies", "of different names", sorted(body.name for body in scene.bodies))
    for index, body in enumerate(scene.bodies):
        for behaviour in body.behaviours:
            if behaviour.target is not None and behaviour.target not in names:
                hint = _nearest(behaviour.target, sorted(names))
                raise _fail(f"scene.bodies[{index}].behaviours.target", f"the name of a body{hint}", behaviour.target)
    return scene


def read_events(items: list[dict[str, Any]]) -> tuple[Event, ...]:
    """Events of plain JSON objects {tick, action, arguments}. Raises ValueError as `from_json`."""
    return tuple(_list(_EVENT, MAXIMUM_EVENTS)(items, "events"))
