"""A scene back to canonical words: what the model reads, whatever words the prompt had."""

from __future__ import annotations

from elsewhere.scene import catalogue
from elsewhere.scene.description import Body, Scene, Shot
from elsewhere.scene.words import light
from elsewhere.scene.words.lexicon import CAMERAS, COUNTS, RELATIONS, SIZES

MAXIMUM_TOKENS = 24


def vocabulary() -> tuple[str, ...]:
    """All canonical tokens that a caption may have, sorted."""
    tokens = {
        *catalogue.KINDS, *catalogue.COLORS, *catalogue.MATERIALS, *catalogue.ENVIRONMENTS, *catalogue.VERBS,
        *RELATIONS, *light.HOURS, *light.WEATHERS, *CAMERAS, *SIZES, *COUNTS,
    }  # fmt: skip
    return tuple(sorted(tokens))


def caption_tokens(scene: Scene) -> tuple[str, ...]:
    """At most 24 tokens of `vocabulary()`: place, light, weather, camera, then the things, group by group.

    It reads the scene and not its prompt, so that every wording of a world gives the same tokens.
    """
    head = [scene.environment, light.hour_word(scene.hour), *light.weather_words(scene.weather)[:2]]
    head += camera_words(scene.shot)[:2]
    groups = groups_of(scene.bodies)
    tokens: list[str] = []
    for bodies in groups:
        phrase = _phrase(bodies)
        if len(head) + len(tokens) + len(phrase) > MAXIMUM_TOKENS:
            phrase = [bodies[0].kind]
        if len(head) + len(tokens) + len(phrase) > MAXIMUM_TOKENS:
            break
        tokens += phrase
    return tuple(head + tokens)


def short_tokens(scene: Scene) -> tuple[str, ...]:
    """The few of `vocabulary()` that a hurried prompt says: the place and the kinds of things, in the scene's order."""
    return (scene.environment, *dict.fromkeys(body.kind for body in scene.bodies))


def groups_of(bodies: tuple[Body, ...]) -> list[list[Body]]:
    """Bodies that share kind, looks and verbs, in the order of the first one, the largest groups included."""
    found: dict[tuple[object, ...], list[Body]] = {}
    for body in bodies:
        verbs = tuple(behaviour.verb for behaviour in body.behaviours)
        found.setdefault((body.kind, body.color_name, body.material, verbs), []).append(body)
    return list(found.values())


def _phrase(bodies: list[Body]) -> list[str]:
    """Count, colour, material, kind and up to two verbs of a group."""
    first = bodies[0]
    words = [_count(len(bodies))]
    if first.color_name in catalogue.COLORS:
        words.append(str(first.color_name))
    if first.material in catalogue.MATERIALS:
        words.append(str(first.material))
    verbs = dict.fromkeys(behaviour.verb for behaviour in first.behaviours)
    return [*words, first.kind, *list(verbs)[:2]]


def _count(count: int) -> str:
    """The word of a count; more than the largest word is the largest."""
    return min(COUNTS, key=lambda word: (abs(COUNTS[word] - count), COUNTS[word]))


def camera_words(shot: Shot) -> list[str]:
    """Motion, then framing, as far as they are out of the ordinary."""
    words = [shot.motion] if shot.motion in CAMERAS and shot.motion != "still" else []
    if shot.elevation > 0.8:
        words.append("aerial")
    elif shot.elevation < 0.1:
        words.append("low angle")
    elif shot.elevation < 0.2:
        words.append("eye level")
    if shot.distance < 0.8:
        words.append("close-up")
    elif shot.distance > 1.4:
        words.append("wide")
    return words
