"""A scene in a person's words, several ways: what may be typed for a world that is already there.

Each sentence is checked by reading it again: it must lead back to the tokens that it is listed with.
"""

from __future__ import annotations

import numpy as np

from elsewhere.scene import catalogue
from elsewhere.scene.description import Body, Scene
from elsewhere.scene.words import light
from elsewhere.scene.words.caption import caption_tokens, groups_of, short_tokens
from elsewhere.scene.words.lexicon import COUNTS
from elsewhere.scene.words.parse import parse
from elsewhere.scene.words.sample import CAMERA_PHRASES, FORMS, HOUR_PHRASES, place_phrases, plural
from elsewhere.scene.words.tokens import PromptError

TRIES = 6


def paraphrases(scene: Scene, rng: np.random.Generator) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Pairs of a sentence and its canonical tokens: one or two short, then up to three detailed and the prompt itself.

    Short ones name place and things and have `caption_tokens(scene, short)`; detailed ones lead by `parse` to the same
    `caption_tokens` as the scene.
    """
    full, short = caption_tokens(scene), short_tokens(scene)
    found: dict[str, tuple[str, ...]] = {}
    for _ in range(2):
        text = _short(scene, rng)
        if text != scene.prompt and short_tokens_of(text) == short:
            found[text] = short
    details = 0
    for _ in range(TRIES):
        text = _detailed(scene, rng)
        if details < 3 and text not in {*found, scene.prompt} and tokens_of(text) == full:
            found[text] = full
            details += 1
    found[scene.prompt] = full
    return tuple(found.items())


def tokens_of(text: str) -> tuple[str, ...] | None:
    """Canonical tokens of a sentence, as the live path makes them; None for one that names nothing."""
    try:
        return caption_tokens(parse(text).scene)
    except PromptError:
        return None


def short_tokens_of(text: str) -> tuple[str, ...] | None:
    try:
        return short_tokens(parse(text).scene)
    except PromptError:
        return None


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _thing(bodies: list[Body], rng: np.random.Generator, *, plain: bool) -> str:
    """Count, looks and name of a group; `plain` leaves the looks out."""
    first = bodies[0]
    looks = [] if plain else [str(w) for w in (first.color_name, first.material) if w]
    name = first.kind if len(bodies) == 1 else plural(first.kind)
    words = [*dict.fromkeys(looks), name]
    if len(bodies) == 1:
        article = "an" if words[0][0] in "aeiou" else "a"
        return " ".join([article, *words])
    if plain:
        return name
    count = next((word for word, value in COUNTS.items() if value == len(bodies)), str(len(bodies)))
    return " ".join([count, *words])


def _deeds(bodies: list[Body], rng: np.random.Generator) -> str:
    verbs = list(dict.fromkeys(behaviour.verb for behaviour in bodies[0].behaviours))
    said = [_pick(rng, FORMS[verb]) for verb in verbs if verb in FORMS]
    return " and ".join(said[:2])


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _short(scene: Scene, rng: np.random.Generator) -> str:
    """Things and place: what a hurried person types."""
    names = dict.fromkeys(_thing(bodies, rng, plain=True) for bodies in groups_of(scene.bodies))
    return f"{_listed(list(names))} {_pick(rng, place_phrases(scene.environment))}"


def _detailed(scene: Scene, rng: np.random.Generator) -> str:
    """All that the canonical tokens say, as sentences in one of several orders."""
    place = _pick(rng, place_phrases(scene.environment))
    things = []
    for bodies in groups_of(scene.bodies):
        deeds = _deeds(bodies, rng)
        things.append(_thing(bodies, rng, plain=False) + (f" {deeds}" if deeds else ""))
    hour = HOUR_PHRASES[light.hour_word(scene.hour)]
    weather = " and ".join(light.weather_words(scene.weather)[:2])
    tokens = caption_tokens(scene)
    camera = [CAMERA_PHRASES[token] for token in tokens if token in CAMERA_PHRASES and token not in catalogue.VERBS]
    world = _listed(things)
    order = int(rng.integers(4))
    if order == 0:
        text = f"{world} {place} {hour}, {weather}"
    elif order == 1:
        text = f"{hour}, {place}: {world}. The weather is {weather}"
    elif order == 2:
        several = len(groups_of(scene.bodies)[0]) > 1
        text = f"There {'are' if several else 'is'} {world}, {place}. It is {weather}, {hour}"
    else:
        text = f"{weather}, {hour}. {world} {place}"
    parts = ". ".join([text, *camera]).split(". ")
    return ". ".join(part[0].upper() + part[1:] for part in parts)
