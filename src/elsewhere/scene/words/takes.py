"""Words of one shot, "3s: close-up of the red ship, orbit left", to a camera, a subject, moves and a length."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from elsewhere.scene.description import Body, Scene, Shot
from elsewhere.scene.moves import Move
from elsewhere.scene.path import CameraPath
from elsewhere.scene.words.grammar import read
from elsewhere.scene.words.lexicon import CAMERAS
from elsewhere.scene.words.moves import Timeline, read_moves
from elsewhere.scene.words.subjects import check_known, find_bodies
from elsewhere.scene.words.tokens import PromptError, checked

USUAL_SECONDS = 3.0
"""How long a shot is of which nothing is said."""
TAKES_MOST = 100
_LENGTH = re.compile(r"^\s*(\d+(?:\.\d+)?|\.\d+)\s*(?:s|sec|secs|seconds?)?\s*:\s*")
_OF = re.compile(r"\b(?:of|on|at|with|following|showing)\s+((?:the|all|every|everything)\b.*)$")
_BEARINGS = {"from behind": 0.0, "from the side": math.pi / 2, "from the front": math.pi}


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """One shot of a film, from `begin` for `seconds`.

    `subject` names the bodies that it shows and follows, all when empty. With `bearing` the camera's side counts from
    behind the subject (radians, +X after +Z), which it is as the shot begins. `path` replaces all of these.
    """

    begin: float = 0.0
    seconds: float = math.inf
    shot: Shot = field(default_factory=Shot)
    subject: tuple[str, ...] = ()
    bearing: float | None = None
    moves: tuple[Move, ...] = ()
    path: CameraPath | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    seconds: float | None
    take: Take
    timeline: Timeline | None


def read_takes(
    texts: Sequence[str], scene: Scene, seconds: float | None = None, later: Sequence[Body] = ()
) -> tuple[Take, ...]:
    """The shots of a film of `seconds`, one after the other, each over the things of `scene` and those still to come.

    Shots without a length share what the others leave; where the film has no length either, they take that of their
    moves or 3 s. Raises PromptError for words that are not known, camera words against each other, things that do not
    exist, and lengths that do not add up.
    """
    if len(texts) > TAKES_MOST:
        raise PromptError(f"a film must have at most {TAKES_MOST} shots; got {len(texts)}")
    found = [_read_take(text, scene, later) for text in texts]
    given = sum(one.seconds for one in found if one.seconds is not None)
    open_count = sum(one.seconds is None for one in found)
    if seconds is not None:
        if open_count and seconds - given < 0.1 * open_count:
            nearest = given + USUAL_SECONDS * open_count
            raise PromptError(
                f"shots: {given:g} s are given, and {open_count} more must fit into a film of {seconds:g} s; "
                f"the nearest length is {nearest:g} s"
            )
        if not open_count and abs(given - seconds) > 1e-6:
            raise PromptError(f"shots take {given:g} s, but the film {seconds:g} s; the nearest length is {given:g} s")
    takes: list[Take] = []
    begin = 0.0
    for one in found:
        share = (seconds - given) / open_count if seconds is not None and open_count else None
        length = one.seconds if one.seconds is not None else share
        moves = one.timeline.lasting(length) if one.timeline else ()
        if length is None:
            length = sum(move.seconds for move in moves) or USUAL_SECONDS
        takes.append(replace(one.take, begin=begin, seconds=length, moves=moves))
        begin += length
    return tuple(takes)


def read_framing(text: str, scene: Scene, what: str) -> tuple[Shot, list[str]]:
    """The scene's shot as camera words change it, and these words; PromptError where two of them contradict."""
    draft = read(text)
    words = list(dict.fromkeys(draft.camera))
    values: dict[str, Any] = {}
    said: dict[str, str] = {}
    for word in words:
        for name, value in CAMERAS[word].items():
            if name in values and values[name] != value:
                raise PromptError(f"{what}: {said[name]!r} and {word!r} contradict each other; leave one out")
            values[name], said[name] = value, word
    return replace(scene.shot, **values), words


def _read_take(text: str, scene: Scene, later: Sequence[Body]) -> _Read:
    text = checked(text)
    what = f"shot {text[:60]!r}"
    seconds = None
    length = _LENGTH.match(text)
    if length:
        seconds = float(length[1])
        text = text[length.end() :]
        if not 0.1 <= seconds <= 3600.0:
            raise PromptError(f"{what}: a shot must last from 0.1 to 3600 s; got {seconds:g}")
    if not text.strip():
        raise PromptError(f"{what}: say how to look, such as 'wide shot' or 'close-up of the red ship'")
    timeline = read_moves(text)
    framing = text if timeline is None else timeline.framing
    subject: tuple[str, ...] = ()
    about = _OF.search(framing.lower())
    if about:
        phrase, more = _cut(about[1])
        subject = find_bodies(phrase, (*scene.bodies, *later), what)
        framing = f"{framing[: about.start()]} {more}"
    shot, words = read_framing(framing, scene, what)
    draft = read(framing)
    check_known(draft, what)
    strange = [group.kind for group in draft.groups] + [word for word, _no in draft.weather]
    strange += [word for word in (draft.environment, draft.hour) if word]
    if strange:
        raise PromptError(f"{what}: {strange[0]!r} is no way to look. Say 'of the …' before a thing; "
                          "place and light belong into the prompt or an --event")  # fmt: skip
    if not words and not subject and timeline is None:
        raise PromptError(f"{what}: says nothing of how to look; it may be {', '.join(CAMERAS)}")
    bearing = next((_BEARINGS[word] for word in words if word in _BEARINGS), None)
    if "motion" not in {name for word in words for name in CAMERAS[word]}:
        shot = replace(shot, motion="still")
    take = Take(shot=shot, subject=subject, bearing=bearing, words=text.strip())
    return _Read(seconds, take, timeline)


def _cut(phrase: str) -> tuple[str, str]:
    """The words of a thing, and the camera words after them: "the red ship from above"."""
    found = re.search(r"(,|\bfrom\b|\bseen\b|\blow\b|\bwide\b|\bclose\b|\bhigh\b|\bat eye\b)", phrase)
    return (phrase[: found.start()], phrase[found.start() :]) if found else (phrase, "")
