"""Random prompts that `parse` understands in full and that make physical sense: what a model is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elsewhere.scene import catalogue
from elsewhere.scene.words import light
from elsewhere.scene.words.lexicon import CAMERAS, COUNTS, SIZES


@dataclass(frozen=True, slots=True)
class _Stage:
    """What suits a place: kinds and how the place is said. Kinds that a catalogue lacks are skipped."""

    phrases: tuple[str, ...]
    kinds: tuple[str, ...]
    scenery: tuple[str, ...] = ()
    """Kinds that stand still and come once."""
    weathers: tuple[str, ...] = (
        "clear",
        "sunny",
        "cloudy",
        "overcast",
        "foggy",
        "misty",
        "rainy",
        "stormy",
        "windy",
        "calm",
    )


_STAGES: dict[str, _Stage] = {
    "cup of coffee": _Stage(
        ("inside a cup of coffee", "in a cup of coffee", "in a giant cup of coffee", "in a coffee cup"),
        ("pirate ship", "sailboat", "paper boat", "rubber duck", "whale", "buoy", "barrel", "crate", "iceberg", "ball"),
        ("island", "lighthouse"),
    ),
    "open sea": _Stage(
        ("on the open sea", "at sea", "on the ocean"),
        ("pirate ship", "sailboat", "whale", "buoy", "barrel", "crate", "iceberg"),
        ("island", "lighthouse"),
        ("clear", "sunny", "cloudy", "overcast", "foggy", "misty", "rainy", "stormy", "windy", "calm", "snowing"),
    ),
    "bathtub": _Stage(
        ("in a bathtub", "in the bath", "in a tub"),
        ("rubber duck", "paper boat", "sailboat", "ball", "whale", "pirate ship"),
        (),
        ("clear", "sunny", "cloudy", "overcast", "misty", "calm"),
    ),
    "lake": _Stage(
        ("on a lake", "in a lake", "on a pond"),
        ("sailboat", "paper boat", "rubber duck", "pirate ship", "barrel", "crate", "ball", "buoy"),
        ("island",),
        ("clear", "sunny", "cloudy", "overcast", "foggy", "misty", "rainy", "windy", "calm", "snowing"),
    ),
    "snowy field": _Stage(
        ("in a snowy field", "in a field of snow"),
        ("snowman", "ball", "crate", "barrel", "penguin", "flag", "rock", "pine tree"),
        ("house", "tree", "lighthouse"),
        ("clear", "sunny", "cloudy", "overcast", "foggy", "misty", "windy", "calm", "snowing"),
    ),
    "desert": _Stage(
        ("in the desert", "in a desert"),
        ("ball", "barrel", "crate", "toy car", "teapot", "flag", "rock"),
        ("house", "tree"),
        ("clear", "sunny", "cloudy", "overcast", "misty", "windy", "calm"),
    ),
    "tabletop": _Stage(
        ("on a table", "on a tabletop", "on a wooden table"),
        ("toy car", "teapot", "ball", "rubber duck", "crate", "paper boat", "snowman", "mushroom", "teacup", "barrel"),
        (),
        ("clear", "sunny", "cloudy", "overcast"),
    ),
}

_WATER_VERBS = ("sail", "battle", "circle", "drift", "sink", "spin", "fall")
_LAND_VERBS = ("bounce", "roll", "fall", "wave", "rest", "spin", "circle")
_ROUND = frozenset({"ball", "barrel", "toy car"})
_ELASTIC = frozenset({"ball", "rubber duck"})
FORMS = {
    "sail": ("sailing", "cruising"), "battle": ("battling", "fighting"), "circle": ("circling",),
    "drift": ("drifting", "floating"), "bounce": ("bouncing",), "roll": ("rolling",), "fall": ("falling", "dropping"),
    "sink": ("sinking",), "wave": ("waving", "fluttering"), "rest": ("resting", "standing"), "spin": ("spinning",
    "turning"),
}  # fmt: skip
HOUR_PHRASES = {
    "dawn": "at dawn", "sunrise": "at sunrise", "morning": "in the morning", "noon": "at noon",
    "afternoon": "in the afternoon", "sunset": "at sunset", "dusk": "at dusk", "night": "at night",
}  # fmt: skip
CAMERA_PHRASES = {
    "aerial": "seen from above", "close-up": "close-up", "crane": "crane shot", "dolly in": "zooming in",
    "dolly out": "zooming out", "eye level": "at eye level", "from behind": "from behind",
    "from the front": "from the front", "from the side": "from the side", "low angle": "low angle",
    "orbit": "orbiting shot", "pan": "panning shot", "still": "still camera", "wide": "wide shot",
}  # fmt: skip
_RELATIONS = ("next to", "behind", "in front of", "near", "left of", "right of", "around")
_IRREGULAR = {"snowman": "snowmen"}


def sample_prompt(rng: np.random.Generator) -> str:
    """A prompt of one to four groups of things in a place, with light, weather and camera now and then."""
    name = _pick(rng, [name for name in _STAGES if name in catalogue.ENVIRONMENTS])
    stage = _STAGES[name]
    has_water = catalogue.ENVIRONMENTS[name].has_water
    kinds = [kind for kind in stage.kinds if kind in catalogue.KINDS]
    order = [kinds[index] for index in rng.permutation(len(kinds))]
    count = int(rng.choice([1, 2, 3, 4], p=[0.45, 0.33, 0.15, 0.07]))
    phrases = [_thing(kind, has_water, rng, verb=True) for kind in order[:count]]
    scenery = [kind for kind in stage.scenery if kind in catalogue.KINDS]
    if scenery and rng.random() < 0.3:
        phrases.append(_thing(_pick(rng, scenery), has_water, rng, verb=False))
    elif count < 4 and rng.random() < 0.25:
        other = _thing(order[count], has_water, rng, verb=False)
        phrases[-1] += f" {_pick(rng, _RELATIONS)} {other}"
    hour = _pick(rng, list(light.HOURS)) if rng.random() < 0.75 else ""
    text = " and ".join(phrases) + " " + _pick(rng, stage.phrases) + (" " + HOUR_PHRASES[hour] if hour else "")
    return ", ".join([text, *_weather(stage, hour, rng), *_camera(rng)])


def place_phrases(environment: str) -> tuple[str, ...]:
    """Ways to say where something is."""
    return _STAGES[environment].phrases if environment in _STAGES else (f"in the {environment}",)


def things_of(environment: str) -> tuple[str, ...]:
    """Kinds that feel at home in a place and are known."""
    kinds = _STAGES[environment].kinds if environment in _STAGES else tuple(catalogue.KINDS)
    return tuple(kind for kind in kinds if kind in catalogue.KINDS)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _thing(kind: str, has_water: bool, rng: np.random.Generator, *, verb: bool) -> str:
    """Count, size, look, name and deed of one group."""
    entry = catalogue.KINDS[kind]
    count = int(rng.choice([1, 2, 3, 4, 5, 7], p=[0.5, 0.25, 0.12, 0.06, 0.04, 0.03])) if not entry.fixed else 1
    words: list[str] = []
    if rng.random() < 0.2:
        words.append(_pick(rng, list(SIZES)))
    look = rng.random()
    materials = [name for name in entry.materials if name in _plain_materials()]
    if look < 0.45:
        words.append(_pick(rng, list(catalogue.COLORS)))
    elif look < 0.6 and materials:
        words.append(_pick(rng, materials))
    words.append(kind if count == 1 else plural(kind))
    number = next(word for word, value in COUNTS.items() if value == count)
    first = ("an" if words[0][0] in "aeiou" else "a") if count == 1 else number
    deed = _deed(kind, count, has_water, rng) if verb and rng.random() < 0.85 else ""
    return " ".join([first, *words]) + deed


def _plain_materials() -> tuple[str, ...]:
    """Materials that an adjective says well."""
    return ("gold", "glass", "marble", "stone", "steel", "wood", "copper", "porcelain", "ice", "plastic")


def plural(kind: str) -> str:
    """Name of several of a kind."""
    if kind in _IRREGULAR:
        return _IRREGULAR[kind]
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")


def _deed(kind: str, count: int, has_water: bool, rng: np.random.Generator) -> str:
    """What the things do, as far as their kind and place let them."""
    verbs = [verb for verb in (_WATER_VERBS if has_water else _LAND_VERBS) if verb in catalogue.KINDS[kind].verbs]
    verbs = [verb for verb in verbs if verb != "roll" or kind in _ROUND]
    verbs = [verb for verb in verbs if verb != "bounce" or kind in _ELASTIC]
    verbs = [verb for verb in verbs if verb != "battle" or count > 1]
    verbs = [verb for verb in verbs if verb != "circle" or has_water or kind in _ROUND]
    if not verbs:
        return ""
    # Rare ends of a story (sinking, falling) come less often than its course.
    weights = np.array([0.35 if verb in ("sink", "fall", "spin") else 1.0 for verb in verbs])
    verb = verbs[int(rng.choice(len(verbs), p=weights / weights.sum()))]
    said = _pick(rng, FORMS[verb])
    if verb == "battle":
        return f" {said} each other" + (" and sailing" if rng.random() < 0.3 else "")
    return f" {said}"


def _weather(stage: _Stage, hour: str, rng: np.random.Generator) -> list[str]:
    """Weather for half of the prompts; no sun at night."""
    fitting = [word for word in stage.weathers if word != "sunny" or hour != "night"]
    return [_pick(rng, fitting)] if rng.random() < 0.5 else []


def _camera(rng: np.random.Generator) -> list[str]:
    """A camera word for half of the prompts."""
    return [CAMERA_PHRASES[_pick(rng, list(CAMERAS))]] if rng.random() < 0.5 else []
