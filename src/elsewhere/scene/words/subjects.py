"""Words to the things of a scene that they mean: "the red ship", "the second duck"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from elsewhere.scene import catalogue
from elsewhere.scene.description import Body
from elsewhere.scene.words.grammar import Draft, Group, read
from elsewhere.scene.words.tokens import PromptError

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_EVERYTHING = frozenset({"everything", "all", "all things", "everyone"})


def find_bodies(phrase: str, bodies: Sequence[Body], what: str) -> tuple[str, ...]:
    """Names of the bodies that `phrase` means, in the scene's order; all of them for "everything".

    `what` begins the message of the PromptError for things that are not there and words that are not known.
    """
    plain = re.sub(r"\b(the|a|an)\b", " ", phrase.lower())
    if " ".join(plain.split()) in _EVERYTHING:
        return tuple(body.name for body in bodies)
    exact = next((body.name for body in bodies if body.name == " ".join(plain.split())), None)
    if exact is not None:
        return (exact,)
    words, rank = _without_ordinal(phrase)
    draft = read(words)
    check_known(draft, what)
    if not draft.groups:
        raise PromptError(f"{what}: {phrase.strip()[:60]!r} names no thing; there is {told(bodies)}")
    return tuple(dict.fromkeys(name for group in draft.groups for name in match(group, bodies, what, rank)))


def check_known(draft: Draft, what: str) -> None:
    """PromptError for words that are not known, each with the nearest that is."""
    if draft.unknown:
        listed = ", ".join(f"{word!r} (nearest: {near!r})" for word, near in draft.unknown[:4])
        raise PromptError(f"{what}: not known: {listed}")


def match(group: Group, bodies: Sequence[Body], what: str, rank: int | None = None) -> tuple[str, ...]:
    """Names of the bodies of a group's kind and looks; of these only number `rank` where one is given."""
    alike = [body for body in bodies if body.kind == group.kind]
    if not alike:
        kinds = sorted({body.kind for body in bodies})
        near = difflib.get_close_matches(group.kind, kinds, 1, 0.0)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise PromptError(f"{what}: there is no {group.kind}; there is {told(bodies)}{hint}")
    found = [body for body in alike if _looks(body, group)]
    if not found:
        look = " ".join(word for word in (group.color, group.material) if word)
        raise PromptError(f"{what}: no {group.kind} is {look}; there is {told(alike)}")
    if rank is not None:
        if rank >= len(found):
            raise PromptError(
                f"{what}: there is no {_ORDINALS[rank]} {group.kind}; the nearest is the {_ORDINALS[len(found) - 1]}"
            )
        found = [found[rank]]
    return tuple(body.name for body in found)


def _looks(body: Body, group: Group) -> bool:
    """Whether a body has the colour and material that a group asks for, where it asks."""
    kind = catalogue.KINDS[body.kind]
    colors = {body.color_name} if body.color_name else set(kind.colors[:1]) if body.material is None else set()
    materials = {body.material} if body.material else set(kind.materials[:1])
    color = group.color is None or group.color in colors or group.color == body.material
    return color and (group.material is None or group.material in materials or group.material == body.color_name)


def told(bodies: Sequence[Body]) -> str:
    """What there is, for a message."""
    listed = [" ".join(word for word in (body.color_name, body.material, body.name) if word) for body in bodies]
    return ", ".join(listed[:12]) + (" …" if len(listed) > 12 else "") if listed else "nothing"


def _without_ordinal(phrase: str) -> tuple[str, int | None]:
    """The phrase without "second", and the row that it means."""
    for rank, word in enumerate(_ORDINALS):
        shorter, count = re.subn(rf"\b{word}\b", " ", phrase, count=1, flags=re.IGNORECASE)
        if count:
            return shorter, rank
    return phrase, None
