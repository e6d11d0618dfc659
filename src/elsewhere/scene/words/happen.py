"""Words on a time line to events: "2s: it starts to rain", "3s: add a whale", "4s: push the red ball left"."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.scene import catalogue
from elsewhere.scene.description import Body, Event, Scene
from elsewhere.scene.json import read_events as check_events
from elsewhere.scene.words import light
from elsewhere.scene.words.grammar import Draft, Group, read
from elsewhere.scene.words.lexicon import SIZES
from elsewhere.scene.words.parse import _key, _look, _second, _settle_actions
from elsewhere.scene.words.subjects import find_bodies, match, told
from elsewhere.scene.words.tokens import PromptError, checked

TICKS_PER_SECOND = 240
SECONDS_MOST = 3600.0
EVENTS_MOST = 500
BYTES_MOST = 4_000_000
EXAMPLES = (
    "it starts to rain", "the rain stops", "it starts to snow", "fog rolls in", "the fog lifts", "a storm comes up",
    "the wind picks up", "the wind dies down", "it clears up", "night falls", "the sun sets", "add a whale",
    "add a red ball next to the ship", "drop a crate", "a whale appears", "remove the ship", "the ship disappears",
    "push the red ball left", "push the ship hard toward the island", "splash next to the ship",
    "the ship starts to sink",
)  # fmt: skip
_TIME = re.compile(r"^\s*(?:at\s+)?(\d+(?:\.\d+)?|\.\d+)\s*(?:s|sec|secs|seconds?)?\s*:\s*", re.IGNORECASE)
_PUSH = re.compile(r"^(?:push|shove|kick|nudge|hit|tap|knock|bump)(?:e?s|ing)?\s+(.*)$")
_ADD = re.compile(r"^(?:add|spawn|put|place|bring in|bring)(?:s|ing)?\s+(.*)$")
_DROP = re.compile(r"^(?:drop|throw in|throw)(?:s|ping|ing)?\s+(.*)$")
_COMES = re.compile(r"^(.*?)\s+(?:appears?|arrives?|comes? (?:in|into view)|shows? up|joins?)$")
_REMOVE = re.compile(r"^(?:remove|delete|erase|take away|get rid of)(?:s|ing)?\s+(.*)$")
_GOES = re.compile(r"^(.*?)\s+(?:disappears?|vanish(?:es)?|leaves?|(?:is|are) gone)$")
_SPLASH = re.compile(r"^(?:(?:a |there is a |make a )?splash(?:es)?)\b\s*(.*)$")
_WAY = re.compile(r"\b(?:to the |to its )?(left|right|forwards?|ahead|away|backwards?|back|closer|upwards?|up)\b")
_TOWARD = re.compile(r"\b(?:towards?|into|against|at)\s+(.*)$")
_SPEED = re.compile(r"\b(?:at|with|by)?\s*(\d+(?:\.\d+)?)\s*m/s")
_FORCES = {"gently": 0.5, "softly": 0.5, "slightly": 0.4, "hard": 2.0, "strongly": 2.0, "violently": 3.0}
_ENDS = re.compile(
    r"\b(stops?|ends?|ceases?|lifts?|dies? (?:down|away)|calms? down|clears? away|no more|fades?|passes|over)\b"
)
_CLEARS = re.compile(r"\b(?:it|sky|weather|skies)\s+clears?(?:\s+up)?\b|\bclears up\b|\bsun comes out\b")
_FILLERS = re.compile(
    r"\b(it|there|is|are|starts?|begins?|starting|to|comes?|coming|in|up|down|out|rolls?|rolling|gets?|turns?|becomes?|"
    r"grows?|falls?|picks?|sets in|now|suddenly|slowly|gradually|then|breaks?|be|a|an|the|getting|with|again|moves?|"
    r"blows?|stops?|ends?|ceases?|lifts?|dies?|away|calms?|clears?|no|more|fades?|passes|over|heavy|heavily|hard|light|"
    r"lightly)\b"
)
_ROUND_SUN = ((r"\bsun (?:goes down|sets)\b", "sunset"), (r"\bsun (?:comes up|rises)\b", "sunrise"))
_FADED = {"rain": 0.0, "snow": 0.0, "fog": 0.0, "cloud_cover": 0.3, "wind_speed": 0.8}
_ACTIONS = {"rain": "rain", "snow": "snow", "fog": "fog", "cloud_cover": "clouds"}


def read_events(items: Sequence[str | dict[str, Any]], scene: Scene, seed: int = 0) -> tuple[Event, ...]:
    """Events in the order of their ticks (1/240 s), from texts "TIME: WORDS" and objects as in an events file.

    Each may speak of what earlier ones added. Directions are as the scene's camera sees them. The same (items, scene,
    seed) gives the same events. Raises PromptError with the nearest that can happen.
    """
    if len(items) > EVENTS_MOST:
        raise PromptError(f"a film must have at most {EVENTS_MOST} events; got {len(items)}")
    timed = sorted((_timed(item) for item in items), key=lambda pair: pair[0])
    found: list[Event] = []
    reader = _Reader(scene, seed)
    for tick, item in timed:
        made = reader.words(tick, item) if isinstance(item, str) else [reader.plain(tick, item)]
        found += made
    return tuple(found)


def read_event_file(file: Path) -> list[str | dict[str, Any]]:
    """Items of a JSON file: a list of "TIME: WORDS", {"time": s, "words": …} or {"time": s or "tick": 1/240 s,
    "action": …, "arguments": {…}}. Raises ValueError, OSError."""
    if file.stat().st_size > BYTES_MOST:
        raise ValueError(f"{file.name} must have at most {BYTES_MOST // 10**6} MB")
    try:
        tree = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file.name} must be JSON: {str(error)[:200]}") from None
    if not isinstance(tree, list) or not all(isinstance(item, str | dict) for item in tree):
        raise ValueError(f"{file.name} must be a list of texts such as '2s: it starts to rain', or of objects")
    return tree


def added_bodies(events: Sequence[Event]) -> tuple[Body, ...]:
    """The things that events bring, as far as is known before they come."""
    return tuple(
        Body(
            name=str(event.arguments["name"]),
            kind=str(event.arguments["kind"]),
            color_name=_maybe(event.arguments.get("color_name")),
            material=_maybe(event.arguments.get("material")),
        )
        for event in events
        if event.action == "add"
    )


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)


def _timed(item: str | dict[str, Any]) -> tuple[int, str | dict[str, Any]]:
    """Tick of an item, and what is left of it."""
    if isinstance(item, str):
        text = checked(item)
        time = _TIME.match(text)
        if not time:
            raise PromptError(f"event {text[:60]!r} must begin with its time, such as '2s: {EXAMPLES[0]}'")
        return _tick(float(time[1]), text[:60]), text[time.end() :]
    rest = dict(item)
    shown = json.dumps(item, default=str)[:60]
    if ("time" in rest) == ("tick" in rest):
        raise PromptError(f"event {shown}: must have either a time in seconds or a tick of 1/240 s")
    value = rest.pop("time" if "time" in rest else "tick")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PromptError(f"event {shown}: time must be a number; got {value!r}")
    tick = _tick(float(value) / (1 if "time" in item else TICKS_PER_SECOND), shown)
    if "words" in rest:
        if set(rest) != {"words"} or not isinstance(rest["words"], str):
            raise PromptError(f"event {shown}: beside words there must be nothing but the time")
        return tick, rest["words"]
    return tick, rest


def _tick(seconds: float, shown: str) -> int:
    if not 0.0 <= seconds <= SECONDS_MOST:
        raise PromptError(f"event {shown!r}: time must be from 0 to {SECONDS_MOST:.0f} s; got {seconds:g}")
    return round(seconds * TICKS_PER_SECOND)


@dataclass(slots=True)
class _Reader:
    """Reads events one after the other, and knows what is there by then."""

    scene: Scene
    seed: int

    @property
    def azimuth(self) -> float:
        return self.scene.shot.azimuth

    def plain(self, tick: int, item: dict[str, Any]) -> Event:
        """An event as data."""
        (event,) = check_events([{"tick": tick, **item}])
        if event.action == "add" and isinstance(event.arguments.get("name"), str):
            body = added_bodies([event]) if event.arguments.get("kind") in catalogue.KINDS else ()
            self.scene = replace(self.scene, bodies=(*self.scene.bodies, *body))
        return event

    def words(self, tick: int, text: str) -> list[Event]:
        """The events that a text means."""
        plain = " ".join(checked(text).lower().rstrip(" .!").split())
        what = f"event {text[:60]!r}"
        for pattern, rule in (
            (_PUSH, self._push), (_SPLASH, self._splash), (_REMOVE, self._remove), (_GOES, self._remove),
        ):  # fmt: skip
            found = pattern.match(plain)
            if found:
                return [replace(event, tick=tick) for event in rule(found[1], what)]
        for pattern, falling in ((_ADD, False), (_DROP, True), (_COMES, False)):
            found = pattern.match(plain)
            if found:
                return self._add(tick, found[1], what, falling=falling)
        weather = self._weather(plain, what)
        if weather:
            return [replace(event, tick=tick) for event in weather]
        return [replace(event, tick=tick) for event in self._do(plain, what)]

    # What is done to things

    def _push(self, phrase: str, what: str) -> list[Event]:
        speed = _SPEED.search(phrase)
        phrase = _SPEED.sub(" ", phrase, count=1)
        force = 1.0
        for word, factor in _FORCES.items():
            phrase, count = re.subn(rf"\b{word}\b", " ", phrase)
            force = factor if count else force
        toward = _TOWARD.search(phrase)
        arguments: dict[str, float | int | str | bool | None] = {}
        way = None
        if toward and "camera" in toward[1]:
            way, phrase = "closer", phrase[: toward.start()]
        elif toward:
            arguments["toward"] = find_bodies(toward[1], self.scene.bodies, what)[0]
            phrase = phrase[: toward.start()]
        else:
            said = _WAY.search(phrase)
            way = said[1] if said else "away"
            phrase = _WAY.sub(" ", phrase, count=1)
        events = []
        for name in find_bodies(phrase, self.scene.bodies, what):
            body = next(body for body in self.scene.bodies if body.name == name)
            kind = catalogue.KINDS[body.kind]
            if kind.fixed:
                raise PromptError(f"{what}: a {kind.name} stands fast and cannot be pushed")
            # A body that is pushed so moves about its own length before it comes to rest.
            pace = float(speed[1]) if speed else force * 0.6 * math.sqrt(9.81 * kind.length * body.size)
            own = {"body": name, **arguments}
            own.update({"speed": pace} if way is None else self._velocity(way, pace))
            events.append(Event(tick=0, action="push", arguments=own))
        return events

    def _velocity(self, way: str, pace: float) -> dict[str, float]:
        """m/s along a direction as the camera sees it."""
        if way.startswith("up"):
            return {"y": round(pace, 6)}
        viewer = np.array([math.sin(self.azimuth), math.cos(self.azimuth)])
        right = np.array([viewer[1], -viewer[0]])
        x, z = {"left": -right, "right": right, "closer": viewer, "back": viewer, "backward": viewer,
                "backwards": viewer}.get(way, -viewer)  # fmt: skip
        return {"x": round(float(pace * x), 6), "z": round(float(pace * z), 6)}

    def _remove(self, phrase: str, what: str) -> list[Event]:
        names = find_bodies(phrase, self.scene.bodies, what)
        self.scene = replace(self.scene, bodies=tuple(body for body in self.scene.bodies if body.name not in names))
        return [Event(tick=0, action="remove", arguments={"body": name}) for name in names]

    def _splash(self, phrase: str, what: str) -> list[Event]:
        if not catalogue.ENVIRONMENTS[self.scene.environment].has_water:
            raise PromptError(f"{what}: there is no water in a {self.scene.environment}")
        phrase = re.sub(r"^(next to|near|beside|by|at|around|in)\b", " ", phrase).strip()
        x = z = 0.0
        if phrase and not re.fullmatch(r"(the )?(water|middle|coffee|sea|lake)", phrase):
            name = find_bodies(phrase, self.scene.bodies, what)[0]
            body = next(body for body in self.scene.bodies if body.name == name)
            reach = 0.8 * catalogue.KINDS[body.kind].length * body.size
            x = body.position[0] + reach * math.sin(self.azimuth)
            z = body.position[2] + reach * math.cos(self.azimuth)
        height = 0.04 * min(catalogue.ENVIRONMENTS[self.scene.environment].half_size)
        return [Event(tick=0, action="splash", arguments={"x": round(x, 6), "z": round(z, 6), "height": height})]

    # Things that come

    def _add(self, tick: int, phrase: str, what: str, *, falling: bool) -> list[Event]:
        draft = read(phrase)
        objects = {id(other) for group in draft.groups for _name, other in group.relations}
        objects |= {id(a.target) for group in draft.groups for a in group.actions if isinstance(a.target, Group)}
        kinds = {body.kind for body in self.scene.bodies}
        fresh = [group for group in draft.groups if id(group) not in objects or group.kind not in kinds]
        if not fresh:
            near = ", ".join(f"{word!r} (nearest: {near!r})" for word, near in draft.unknown[:3]) or "none"
            raise PromptError(
                f"{what}: names no thing that could come; unknown words: {near}; "
                f"things: {', '.join(sorted(catalogue.KINDS))}"
            )
        events = []
        for group in fresh:
            for rank in range(group.count):
                events.append(self._newcomer(tick, group, rank, draft, what, falling=falling))
        return events

    def _newcomer(self, tick: int, group: Group, rank: int, draft: Draft, what: str, *, falling: bool) -> Event:
        place, kind = catalogue.ENVIRONMENTS[self.scene.environment], catalogue.KINDS[group.kind]
        if len(self.scene.bodies) >= 64:
            raise PromptError(f"{what}: a world holds 64 things; remove one first")
        if not rank:
            _settle_actions(group, place, draft)
        numbers = [int(n[len(kind.name) :]) for b in self.scene.bodies if (n := b.name).startswith(kind.name)
                   and n[len(kind.name) :].strip().isdigit()]  # fmt: skip
        name = f"{kind.name} {max(numbers, default=0) + 1}"
        rng = np.random.Generator(np.random.Philox(key=_key(f"{tick} {name}", self.seed)))
        _color, color_name, material = _look(group, draft)
        arguments: dict[str, float | int | str | bool | None] = {
            "name": name,
            "kind": kind.name,
            "size": self._size(group),
            "yaw": round(float(rng.uniform(-math.pi, math.pi)), 4),
        }
        if color_name:
            arguments["color_name"] = color_name
        if material:
            arguments["material"] = material
        if second := _second(group, draft):
            arguments["second_color_name"] = second
        if falling:
            arguments |= {"lift": round(1.5 * kind.length * float(arguments["size"] or 1.0), 6), "verb": "fall"}
        elif group.actions:
            deed = group.actions[0]
            arguments |= {"verb": deed.verb, "speed": deed.speed}
            if isinstance(deed.target, Group):
                arguments["target"] = match(deed.target, self.scene.bodies, what)[0]
        # Where nothing is said, it comes behind what is there, so that the camera sees it.
        arguments["bearing"] = round(self.azimuth + math.pi + float(rng.uniform(-0.8, 0.8)), 4)
        self._near(group, arguments, what)
        body = Body(name=name, kind=kind.name, size=float(arguments["size"] or 1.0), color_name=color_name,
                    material=material)  # fmt: skip
        self.scene = replace(self.scene, bodies=(*self.scene.bodies, body))
        return Event(tick=tick, action="add", arguments=arguments)

    def _near(self, group: Group, arguments: dict[str, Any], what: str) -> None:
        """Where a newcomer is wanted."""
        for relation, other in group.relations:
            turns = {"behind": math.pi, "in front of": 0.0, "left of": -math.pi / 2, "right of": math.pi / 2}
            if relation in ("on", "in", "under", "between"):
                raise PromptError(f"{what}: a thing cannot come {relation!r} another; the nearest is 'next to'")
            arguments["near"] = match(other, self.scene.bodies, what)[0]
            if relation in turns:
                arguments["bearing"] = round(self.azimuth + turns[relation], 4)
            return

    def _size(self, group: Group) -> float:
        """Natural size times the size word, as large as the place takes and no less than an eighth of the largest."""
        place, kind = catalogue.ENVIRONMENTS[self.scene.environment], catalogue.KINDS[group.kind]
        factor = SIZES.get(group.size or "", 1.0)
        length = min(min(kind.length, 0.8 * place.largest) * factor, place.largest)
        lengths = [catalogue.KINDS[body.kind].length * body.size for body in self.scene.bodies]
        return round(max(length, 0.12 * min(factor, 1.0) * max(lengths, default=0.0)) / kind.length, 6)

    # Light and weather

    def _weather(self, plain: str, what: str) -> list[Event]:
        """Events of the sky, or none where the words are about something else."""
        if _CLEARS.search(plain):
            return [self._amount(name, value) for name, value in
                    (("rain", 0.0), ("snow", 0.0), ("fog", 0.0), ("cloud_cover", 0.08))]  # fmt: skip
        for pattern, word in _ROUND_SUN:
            plain = re.sub(pattern, word, plain)
        ends = bool(_ENDS.search(plain))
        words = " ".join(_FILLERS.sub(" ", plain).split())
        if not words:
            return []
        draft = read(words)
        if draft.groups or draft.unknown or not (draft.weather or draft.hour):
            return []
        changes: dict[str, float] = {}
        for word, negated in draft.weather:
            for name, value in light.WEATHERS[word].items():
                over = ends or negated
                changes[name] = _FADED[name] if over else value
        strength = 1.35 if re.search(r"\b(heavy|heavily|hard)\b", plain) else 1.0
        strength = 0.5 if re.search(r"\b(light|lightly|drizzle|drizzling)\b", plain) else strength
        for name in ("rain", "snow"):
            if changes.get(name):
                changes[name] = min(changes[name] * strength, 1.0)
                if catalogue.ENVIRONMENTS[self.scene.environment].indoor:
                    raise PromptError(f"{what}: no rain or snow falls in a {self.scene.environment}")
        found = [self._amount(name, value) for name, value in changes.items()]
        if draft.hour:
            found.append(Event(tick=0, action="hour", arguments={"hour": light.HOURS[draft.hour]}))
        return found

    def _amount(self, name: str, value: float) -> Event:
        if name == "wind_speed":
            heading = self.scene.weather.wind_heading
            return Event(tick=0, action="wind", arguments={"speed": value, "heading": heading})
        return Event(tick=0, action=_ACTIONS[name], arguments={"amount": value})

    # What things begin to do

    def _do(self, plain: str, what: str) -> list[Event]:
        words = re.sub(r"\b(starts?|begins?|starting|suddenly|now|to|will)\b", " ", plain)
        draft = read(" ".join(words.split()))
        subjects = [group for group in draft.groups if group.actions]
        if draft.unknown or not subjects or not draft.groups:
            self._refuse(plain, draft, what)
        events = []
        for group in subjects:
            for name in match(group, self.scene.bodies, what):
                kind = catalogue.KINDS[group.kind]
                deed = group.actions[0]
                if deed.verb not in kind.verbs:
                    able = ", ".join(sorted(kind.verbs)) or "only be"
                    raise PromptError(f"{what}: a {kind.name} cannot {deed.verb}; it can {able}")
                arguments: dict[str, Any] = {"body": name, "verb": deed.verb, "speed": deed.speed}
                if isinstance(deed.target, Group):
                    arguments["target"] = match(deed.target, self.scene.bodies, what)[0]
                events.append(Event(tick=0, action="do", arguments=arguments))
        return events

    def _refuse(self, plain: str, draft: Draft, what: str) -> None:
        near = difflib.get_close_matches(plain[:60], EXAMPLES, 1, 0.0)[0]
        unknown = ", ".join(f"{word!r} (nearest: {near!r})" for word, near in draft.unknown[:3])
        unknown = f"; not known: {unknown}" if unknown else ""
        raise PromptError(
            f"{what}: nothing that can happen{unknown}. Things here: {told(self.scene.bodies)}. "
            f"The nearest event is {near!r}"
        )
