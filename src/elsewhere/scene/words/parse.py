"""A prompt to a scene: reads it, fills in what it leaves open, and builds bodies, light and camera."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elsewhere.scene import catalogue
from elsewhere.scene.description import Behaviour, Body, Scene, Shot, Vector3
from elsewhere.scene.kinds import Environment, Kind
from elsewhere.scene.words import light
from elsewhere.scene.words.grammar import Action, Draft, Group, read
from elsewhere.scene.words.lexicon import CAMERAS, SIZES
from elsewhere.scene.words.place import Item, lowest, place
from elsewhere.scene.words.tokens import PromptError, checked

MAXIMUM_BODIES = 24
_LAND = {
    "tree": "snowy field", "pine": "snowy field", "snowman": "snowy field", "penguin": "snowy field",
    "toy car": "tabletop",
    "teapot": "tabletop", "teacup": "tabletop", "mushroom": "tabletop", "sugar cube": "tabletop",
}  # fmt: skip
_WATER = {"rubber duck": "bathtub", "paper boat": "lake"}
_AFLOAT = frozenset({"pirate ship", "sailboat", "whale", "buoy", "iceberg", "lighthouse", "island"})
_WET_VERBS = frozenset({"sail", "drift", "sink"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A scene, the words that were not known with the nearest known ones, and what else was decided."""

    scene: Scene
    unknown: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def parse(prompt: str, seed: int = 0) -> Parsed:
    """The scene that a prompt describes.

    The same (prompt, seed) gives the same scene; the seed varies what the words leave open: places, the wind's
    heading, a little of the camera's side. Raises PromptError with a way out when
    the prompt is empty, too long, no plain text, or names nothing that is known.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ValueError(f"seed must be a whole number, got {seed!r}")
    text = checked(prompt)
    draft = read(text)
    if not draft.groups and draft.environment is None:
        raise PromptError(_nothing_known(draft))
    rng = np.random.Generator(np.random.Philox(key=_key(text, int(seed))))
    scene = _scene(prompt, draft, rng)
    return Parsed(scene, tuple(draft.unknown), tuple(dict.fromkeys(draft.notes)))


def _key(text: str, seed: int) -> int:
    """128-bit key of a prompt and a seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{text}".encode()).digest()[:16], "little")


def _nothing_known(draft: Draft) -> str:
    """What to say when no thing and no place was found."""
    nearest = ", ".join(f"{word!r} (nearest: {near!r})" for word, near in draft.unknown[:5]) or "none"
    return (
        "prompt must name a thing or a place that is known; "
        f"unknown words: {nearest}; things: {', '.join(sorted(catalogue.KINDS))}; "
        f"places: {', '.join(sorted(catalogue.ENVIRONMENTS))}"
    )


def _scene(prompt: str, draft: Draft, rng: np.random.Generator) -> Scene:
    """Light, weather, camera and bodies of a draft."""
    name = draft.environment or _default_environment(draft)
    environment = catalogue.ENVIRONMENTS[name]
    weather = light.weather_of(draft.weather, heading=round(float(rng.uniform(-np.pi, np.pi)), 4))
    if environment.indoor and (weather.rain or weather.snow):
        draft.notes.append(f"no rain or snow falls in a {name!r}")
        weather = replace(weather, rain=0.0, snow=0.0)
    shot = _shot(draft.camera, rng)
    _ground(draft, environment)
    _limit(draft)
    bodies, shrunk = _bodies(draft, environment, shot, rng)
    if shrunk:
        draft.notes.append(f"things were made smaller to fit into the {name!r}")
    hour = light.HOURS[draft.hour] if draft.hour else light.DEFAULT_HOUR
    return Scene(prompt=prompt, environment=name, bodies=bodies, hour=hour, weather=weather, shot=shot)


def _default_environment(draft: Draft) -> str:
    """A place where the first things feel at home."""
    first = draft.groups[0]
    verbs = {action.verb for group in draft.groups for action in group.actions}
    kinds = {group.kind for group in draft.groups}
    snowing = any(word == "snowing" and not negated for word, negated in draft.weather)
    if kinds & _AFLOAT:
        wanted = "open sea"
    elif first.kind in _WATER:
        wanted = _WATER[first.kind]
    elif first.kind in _LAND:
        wanted = _LAND[first.kind]
    elif verbs & _WET_VERBS:
        wanted = "lake"
    else:
        wanted = "snowy field" if snowing else "desert"
    return wanted if wanted in catalogue.ENVIRONMENTS else min(catalogue.ENVIRONMENTS)


def _shot(words: list[str], rng: np.random.Generator) -> Shot:
    """The camera that the words ask for, its side a little varied."""
    values: dict[str, Any] = {"azimuth": 0.5}
    for word in words:
        values.update(CAMERAS[word])
    values["azimuth"] = round(values["azimuth"] + float(rng.uniform(-0.35, 0.35)), 4)
    return replace(Shot(), **values)


def _ground(draft: Draft, environment: Environment) -> None:
    """In water, a house or a tree needs an island to stand on."""
    if not environment.has_water or "island" not in catalogue.KINDS:
        return
    groups = [group for group in draft.groups if _needs_ground(group)]
    if not groups:
        return
    island = next((group for group in draft.groups if group.kind == "island"), None)
    if island is None:
        island = Group("island")
        draft.groups.append(island)
        draft.notes.append(f"put an island under the {groups[0].kind}, as it does not float")
    for group in groups:
        group.relations.insert(0, ("on", island))


def _needs_ground(group: Group) -> bool:
    """Whether a thing neither floats nor reaches below the water, and stands on nothing yet."""
    kind = catalogue.KINDS[group.kind]
    stands = any(relation in ("on", "in") for relation, _other in group.relations)
    return kind.fixed and not stands and lowest(kind.name) > -0.06 * kind.length


def _limit(draft: Draft) -> None:
    """No more bodies than a world holds; the largest groups give way first."""
    if len(draft.groups) > MAXIMUM_BODIES:
        draft.notes.append(f"a world holds {MAXIMUM_BODIES} things: left out the last ones")
        kept = draft.groups[:MAXIMUM_BODIES]
        draft.groups[:] = kept
        for group in kept:
            group.relations = [(name, other) for name, other in group.relations if other in kept]
            for action in group.actions:
                action.target = (
                    None if isinstance(action.target, Group) and action.target not in kept else action.target
                )
    total = sum(group.count for group in draft.groups)
    if total > MAXIMUM_BODIES:
        draft.notes.append(f"a world holds {MAXIMUM_BODIES} things: took fewer than the {total} asked for")
    while sum(group.count for group in draft.groups) > MAXIMUM_BODIES:
        max(draft.groups, key=lambda group: group.count).count -= 1


def _bodies(
    draft: Draft, environment: Environment, shot: Shot, rng: np.random.Generator
) -> tuple[tuple[Body, ...], bool]:
    """Bodies of all groups, placed; and whether they had to be shrunk."""
    members: list[list[int]] = []
    items: list[Item] = []
    for index, group in enumerate(draft.groups):
        _settle_actions(group, environment, draft)
        members.append(list(range(len(items), len(items) + group.count)))
        verbs = tuple(action.verb for action in group.actions)
        items += [Item(group.kind, index, SIZES.get(group.size or "", 1.0), verbs) for _ in range(group.count)]
    names = _names(draft.groups)
    behaviours: list[tuple[Behaviour, ...]] = []
    for group, own in zip(draft.groups, members, strict=True):
        for rank, index in enumerate(own):
            items[index].relations = _relations(group, members, draft)
            behaviours.append(_behaviours(group, rank, own, members, draft, items[index], names))
    shrunk = place(items, environment, shot.azimuth, rng)
    looks = [_look(group, draft) for group in draft.groups]
    seconds = [_second(group, draft) for group in draft.groups]
    bodies = [
        _body(item, name, done, looks[item.group], seconds[item.group])
        for item, name, done in zip(items, names, behaviours, strict=True)
    ]
    return tuple(bodies), shrunk


def _relations(group: Group, members: list[list[int]], draft: Draft) -> list[tuple[str, tuple[int, ...]]]:
    """Relations of a group by item indices; "between" has all its things in one."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for name, other in group.relations:
        indices = tuple(members[draft.groups.index(other)])
        if name == "between" and found and found[-1][0] == name:
            indices = found.pop()[1] + indices
        found.append((name, indices))
    return found


def _settle_actions(group: Group, environment: Environment, draft: Draft) -> None:
    """Keeps the verbs that the kind can do; gives floating and flying things their usual one."""
    kind = catalogue.KINDS[group.kind]
    kept: dict[str, Action] = {}
    for action in group.actions:
        if action.verb not in kind.verbs:
            _stand_in(action, kind, environment, draft)
        if action.verb in kind.verbs:
            kept.setdefault(action.verb, action)
            if action.target is not None:
                kept[action.verb].target = action.target
        else:
            draft.notes.append(
                f"a {kind.name} cannot {action.verb}; it can {', '.join(sorted(kind.verbs)) or 'only be'}"
            )
    if not kept:
        usual = _usual_verb(kind, group, environment)
        kept = {usual: Action(usual)} if usual in kind.verbs else {}
    group.actions = list(kept.values())


def _stand_in(action: Action, kind: Kind, environment: Environment, draft: Draft) -> None:
    """Replaces a verb that the kind cannot do by the most alike one that it can: cars "sail" by rolling."""
    instead = {"sail": "drift" if environment.has_water else "roll", "battle": "circle"}.get(action.verb)
    if instead is not None and instead in kind.verbs:
        if (action.verb, instead) != ("sail", "roll"):
            draft.notes.append(f"a {kind.name} cannot {action.verb}: it will {instead}")
        action.verb = instead


def _usual_verb(kind: Kind, group: Group, environment: Environment) -> str:
    """What a thing does when nothing is said."""
    carried = any(relation in ("on", "in") for relation, _other in group.relations)
    if "wave" in kind.verbs and kind.fixed:
        return "wave"
    return "drift" if environment.has_water and not kind.fixed and not carried else "rest"


def _names(groups: list[Group]) -> list[str]:
    """ "pirate ship 1", "pirate ship 2", …: numbers run through all groups of a kind."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for group in groups:
        for _ in range(group.count):
            counts[group.kind] = counts.get(group.kind, 0) + 1
            names.append(f"{group.kind} {counts[group.kind]}")
    return names


def _behaviours(
    group: Group, rank: int, own: list[int], members: list[list[int]], draft: Draft, item: Item, names: list[str]
) -> tuple[Behaviour, ...]:
    """Behaviours of the `rank`th body of a group; tells the item whom they are about."""
    found: list[Behaviour] = []
    for action in group.actions:
        target = _target(action, group, rank, own, members, draft)
        if target is not None:
            item.targets[action.verb] = (target,)
        found.append(Behaviour(verb=action.verb, target=None if target is None else names[target], speed=action.speed))
    return tuple(found)


def _target(
    action: Action, group: Group, rank: int, own: list[int], members: list[list[int]], draft: Draft
) -> int | None:
    """Index of the body that a verb is about: the named one, else in a fight the next of the fighters."""
    if isinstance(action.target, Group) and action.target is not group:
        others = members[draft.groups.index(action.target)]
        return others[rank % len(others)]
    if action.verb != "battle" and action.target != "mutual":
        return None
    if len(own) > 1:
        return own[(rank + 1) % len(own)]
    fighters = [
        index
        for other, indices in zip(draft.groups, members, strict=True)
        if other is not group and any(deed.verb == "battle" for deed in other.actions)
        for index in indices
    ]
    return fighters[0] if fighters else None


def _look(group: Group, draft: Draft) -> tuple[Vector3 | None, str | None, str | None]:
    """Colour, its name and material of a group; what the prompt leaves open stays as the catalogue has it."""
    kind = catalogue.KINDS[group.kind]
    material, color = group.material, group.color
    if material is not None and kind.materials and material not in kind.materials:
        if material in catalogue.COLORS:
            color = color or material
        else:
            draft.notes.append(f"a {kind.name} is not made of {material}; it can be of {', '.join(kind.materials)}")
        material = None
    elif material is not None and color == material:
        color = None
    return (catalogue.COLORS[color] if color else None), color, material


def _second(group: Group, draft: Draft) -> str | None:
    """Its second colour, where the kind has a part for it."""
    if group.second is None or group.second == group.color:
        return None
    if group.kind in catalogue.SECOND_SLOTS:
        return group.second
    two = ", ".join(sorted(catalogue.SECOND_SLOTS))
    draft.notes.append(f"a {group.kind} has one colour: left out {group.second!r}; two colours suit {two}")
    return None


def _body(
    item: Item,
    name: str,
    behaviours: tuple[Behaviour, ...],
    look: tuple[Vector3 | None, str | None, str | None],
    second: str | None,
) -> Body:
    """A placed item as a body of the scene."""
    color, color_name, material = look
    velocity = item.velocity
    if "fall" in item.verbs or "bounce" in item.verbs:
        velocity = (0.0, 0.0, 0.0)
    angular = _angular_velocity(item)
    return Body(
        name=name,
        kind=item.kind,
        size=float(item.size),
        color=color,
        color_name=color_name,
        material=material,
        second_color_name=second,
        position=item.position,
        orientation=item.orientation,
        velocity=velocity,
        angular_velocity=angular,
        behaviours=behaviours,
    )


def _angular_velocity(item: Item) -> Vector3:
    """Radians per second at the start: rolling without sliding, or one turn in four seconds."""
    if catalogue.KINDS[item.kind].fixed:
        return (0.0, 0.0, 0.0)
    if "roll" in item.verbs and item.carrier is None:
        rate = item.speed / item.radius
        front = item.front
        # ω = up × v / radius
        return (float(front[1] * rate), 0.0, float(-front[0] * rate))
    return (0.0, 1.57, 0.0) if "spin" in item.verbs else (0.0, 0.0, 0.0)
