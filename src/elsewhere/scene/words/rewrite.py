"""A few words to a detailed prompt, without a language model: what the words leave open is filled from the catalogue.

Materials, colours, deeds, neighbours, light, weather and camera are drawn by (prompt, seed) from what suits the place.
What comes out is read again and compared: nothing that was asked for may be lost, and no word may be unknown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from elsewhere.scene import catalogue
from elsewhere.scene.description import Scene
from elsewhere.scene.words import light, sample
from elsewhere.scene.words.grammar import Draft, Group, read
from elsewhere.scene.words.lexicon import CAMERAS, COUNTS
from elsewhere.scene.words.parse import Parsed, _key, parse
from elsewhere.scene.words.tokens import checked

_BODIES_MOST = 7
"""Neighbours come only where fewer things than this are about."""
_LIKELY = 3
"""A kind's first colours are those that one expects of it."""
_TRIES = 8
_FRAMINGS = ("aerial", "close-up", "eye level", "from the front", "from the side", "low angle", "wide")
_MOTIONS = ("crane", "dolly in", "orbit", "pan")
_PACES = ("slowly", "gently", "peacefully", "swiftly")
_AIR = {"cup of coffee": ("misty", "calm", "cloudy", "sunny"), "bathtub": ("calm", "misty", "sunny")}
"""Weather that becomes a place better than all that it could have."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`text` is what was written for `prompt`; `added` are the phrases that it has beyond it."""

    prompt: str
    text: str
    added: tuple[str, ...]
    parsed: Parsed


def rewrite(prompt: str, seed: int = 0) -> Rewritten:
    """A detailed prompt that keeps every thing, count, colour, material, deed, place and light of `prompt`.

    The same (prompt, seed) gives the same text, and `parse` knows all of its words. Raises PromptError when `prompt`
    names nothing that is known.
    """
    text = checked(prompt)
    wanted = parse(text, seed)
    rng = np.random.Generator(np.random.Philox(key=_key(f"rewrite {text}", seed)))
    for attempt in range(_TRIES):
        # Later tries add less, in case a detail pushed something out.
        written, added = _write(read(text), wanted.scene, rng, detail=attempt < _TRIES - 2)
        made = parse(written, seed)
        if not made.unknown and keeps(made, wanted):
            return Rewritten(text, written, tuple(added), made)
    plain = _known_words(text, wanted)
    for tail in (_tail(read(text), wanted.scene, rng), []):
        written = ", ".join([plain, *tail])
        made = parse(written, seed)
        if not made.unknown and keeps(made, wanted):
            break
    return Rewritten(text, written, tuple(tail), made)


def keeps(made: Parsed, wanted: Parsed) -> bool:
    """Whether all that `wanted` has is in `made`: its place, and bodies of each kind with their looks and deeds."""
    new, old = made.scene, wanted.scene
    if new.environment != old.environment:
        return False
    return not _missing(new, old, looks=True) and not _missing(new, old, looks=False)


def _missing(new: Scene, old: Scene, *, looks: bool) -> Counter[tuple[object, ...]]:
    """Bodies of `old` that `new` lacks, by kind and what was said of their looks or deeds."""
    have: Counter[tuple[object, ...]] = Counter()
    for body in new.bodies:
        for color in {body.color_name, None} if looks else {None}:
            for material in {body.material, None} if looks else {None}:
                have[(body.kind, color, material, *(() if looks else _deeds(body)))] += 1
    need: Counter[tuple[object, ...]] = Counter()
    for body in old.bodies:
        if looks:
            need[(body.kind, body.color_name, body.material)] += 1
        elif _deeds(body) not in (("rest",), ("drift",), ("wave",), ()):
            need[(body.kind, None, None, *_deeds(body))] += 1
    return need - have


def _deeds(body: object) -> tuple[str, ...]:
    return tuple(sorted(deed.verb for deed in body.behaviours))  # type: ignore[attr-defined]


def _write(draft: Draft, scene: Scene, rng: np.random.Generator, *, detail: bool) -> tuple[str, list[str]]:
    """A text of the draft with details, and what was added."""
    added: list[str] = []
    place = catalogue.ENVIRONMENTS[scene.environment]
    objects = {id(other) for group in draft.groups for _name, other in group.relations}
    objects |= {id(a.target) for group in draft.groups for a in group.actions if isinstance(a.target, Group)}
    subjects = [group for group in draft.groups if id(group) not in objects] or draft.groups[:1]
    phrases = [_phrase(group, place.has_water, rng, added, detail=detail) for group in subjects]
    text = " and ".join(phrases)
    stage = sample._STAGES.get(scene.environment)
    where = sample._pick(rng, stage.phrases) if stage else f"in a {scene.environment}"
    text = f"{text} {where}" if text else where.partition(" ")[2] if where.startswith("in a ") else where
    if draft.environment is None:
        added.append(where)
    if detail and stage and sum(group.count for group in draft.groups) < _BODIES_MOST:
        text += _neighbours(draft, stage, place.has_water, rng, added)
    tail = _tail(draft, scene, rng)
    known = _said(draft)
    added += [phrase for phrase in tail if phrase not in known]
    return ", ".join([text, *tail]), added


def _phrase(group: Group, has_water: bool, rng: np.random.Generator, added: list[str], *, detail: bool) -> str:
    """Everything of one group, its relations and targets too."""
    text = _noun(group, rng, added, detail=detail)
    verbs = catalogue.KINDS[group.kind].verbs
    actions = [action for action in group.actions if action.verb in verbs and action.verb in sample.FORMS]
    carried = any(name in ("on", "in") for name, _other in group.relations)
    if not actions and detail and not carried:
        deed = sample._deed(group.kind, group.count, has_water, rng)
        if deed and not ({"sink", "fall"} & {read(f"a {group.kind}{deed}").groups[0].actions[0].verb}):
            pace = f" {sample._pick(rng, _PACES)}" if rng.random() < 0.5 and "each other" not in deed else ""
            text += deed + pace
            added.append((deed + pace).strip())
    for rank, action in enumerate(actions):
        text += (" and " if rank else " ") + sample.FORMS[action.verb][0]
        if isinstance(action.target, Group):
            text += f" {_noun(action.target, rng, added, detail=detail)}"
        elif action.verb == "battle" and group.count > 1:
            text += " each other"
        text += {0.5: " slowly", 0.6: " gently", 1.6: " fast", 1.5: " fiercely"}.get(action.speed, "")
    for name, other in group.relations:
        text += f" {name} {_noun(other, rng, added, detail=detail)}"
    return text


def _noun(group: Group, rng: np.random.Generator, added: list[str], *, detail: bool) -> str:
    """Count, size, colour, material and name. What has no look gets one."""
    kind = catalogue.KINDS[group.kind]
    color, material = group.color, group.material
    if detail and color is None and material is None:
        plain = [name for name in kind.materials if name in sample._plain_materials()]
        if kind.colors and rng.random() < 0.65:
            color = sample._pick(rng, kind.colors[:_LIKELY])
            added.append(color)
        elif plain:
            material = sample._pick(rng, plain)
            added.append(material)
    words = [word for word in (group.size, color, material if material != color else None) if word]
    words.append(kind.name if group.count == 1 else sample.plural(kind.name))
    number = next((word for word, count in COUNTS.items() if count == group.count), "twelve")
    first = ("an" if words[0][0] in "aeiou" else "a") if group.count == 1 else number
    return " ".join([first, *words])


def _neighbours(draft: Draft, stage: sample._Stage, has_water: bool, rng: np.random.Generator, added: list[str]) -> str:
    """One or two groups of other things that are at home here."""
    taken = {group.kind for group in draft.groups}
    near = [kind for kind in (*stage.kinds, *stage.scenery) if kind in catalogue.KINDS and kind not in taken]
    text = ""
    for rank in range(int(rng.integers(1, 3))):
        if len(near) <= rank:
            break
        kind = near[int(rng.integers(len(near)))]
        near.remove(kind)
        few = 1 if catalogue.KINDS[kind].fixed else int(rng.integers(1, 4))
        other = Group(kind, few)
        phrase = _noun(other, rng, [], detail=True)
        if has_water and not rank and not catalogue.KINDS[kind].fixed:
            phrase += " drifting"
        text += (" with " if not rank else " and ") + phrase
        added.append(phrase)
    return text


def _said(draft: Draft) -> set[str]:
    """Phrases of light, weather and camera that the prompt had."""
    found = {sample.HOUR_PHRASES[draft.hour]} if draft.hour else set()
    found |= {word for word, negated in draft.weather if not negated}
    return found | {sample.CAMERA_PHRASES[word] for word in draft.camera if word in sample.CAMERA_PHRASES}


def _tail(draft: Draft, scene: Scene, rng: np.random.Generator) -> list[str]:
    """Light, weather and camera: those said, else some that suit the place."""
    stage = sample._STAGES.get(scene.environment)
    hour = draft.hour or sample._pick(rng, list(light.HOURS))
    tail = [sample.HOUR_PHRASES[hour]]
    said = [("no " if negated else "") + word for word, negated in draft.weather]
    fitting = _AIR.get(scene.environment) or (stage.weathers if stage else ("clear", "cloudy"))
    fitting = tuple(word for word in fitting if word != "sunny" or hour not in ("night", "dusk", "dawn"))
    tail += said or [sample._pick(rng, fitting)]
    cameras = [sample.CAMERA_PHRASES[word] for word in draft.camera if word in CAMERAS]
    if not cameras:
        cameras = [sample.CAMERA_PHRASES[sample._pick(rng, names)] for names in (_FRAMINGS, _MOTIONS)]
    return [*tail, *cameras]


def _known_words(text: str, parsed: Parsed) -> str:
    """The prompt without the words that are not known."""
    unknown = {word for word, _near in parsed.unknown}
    return " ".join(word for word in text.split() if word.lower().strip(".,;:!?'\"()") not in unknown) or text
