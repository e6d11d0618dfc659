"""Words on a time line to camera moves: "dolly in 2s, orbit left 3s, pan right 20 degrees, hold 1s"."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, replace

from elsewhere.scene.moves import Move
from elsewhere.scene.words.tokens import PromptError, checked

USUAL_SECONDS = 2.0
"""How long a move takes of which nothing is said."""
PARTS_MOST = 200
SECONDS_MOST = 3600.0
EXAMPLE = "dolly in 2s, orbit left 3s, crane up, pan right 20 degrees, hold 1s"


@dataclass(frozen=True, slots=True)
class _Way:
    """What a move does: `pace` of its channel per second, in radians, metres or shares, or a logarithm."""

    channel: str
    pace: float
    unit: str
    """Of an amount: "degrees", "metres", "times" or "" (none)."""
    shares: bool = False


_ORBIT, _CRANE, _PAN, _TILT = (math.radians(value) for value in (14.0, 8.0, 10.0, 7.0))
_WAYS: dict[str, dict[str, _Way]] = {
    "orbit": {"left": _Way("azimuth", -_ORBIT, "degrees"), "right": _Way("azimuth", _ORBIT, "degrees")},
    "dolly": {"in": _Way("distance", -0.2, "metres"), "out": _Way("distance", 0.2, "metres")},
    "crane": {"up": _Way("elevation", _CRANE, "degrees"), "down": _Way("elevation", -_CRANE, "degrees")},
    "pan": {"left": _Way("turn", _PAN, "degrees"), "right": _Way("turn", -_PAN, "degrees")},
    "tilt": {"up": _Way("tilt", _TILT, "degrees"), "down": _Way("tilt", -_TILT, "degrees")},
    "truck": {
        "left": _Way("across", -0.12, "metres", True),
        "right": _Way("across", 0.12, "metres", True),
    },
    "pedestal": {"up": _Way("up", 0.08, "metres", True), "down": _Way("up", -0.08, "metres", True)},
    "zoom": {"in": _Way("zoom", 0.2, "times"), "out": _Way("zoom", -0.2, "times")},
    "hold": {"": _Way("", 0.0, "")},
}
"""Moves by name and direction; the first direction is the one that is meant when none is said."""

_NAMES = {
    "orbit": "orbit", "arc": "orbit", "circle": "orbit", "revolve": "orbit", "go around": "orbit",
    "dolly": "dolly", "push": "dolly in", "pull": "dolly out", "push in": "dolly in", "pull back": "dolly out",
    "pull out": "dolly out", "move closer": "dolly in", "move in": "dolly in", "move forward": "dolly in",
    "move away": "dolly out", "move back": "dolly out", "move out": "dolly out", "approach": "dolly in",
    "retreat": "dolly out", "forward": "dolly in", "backward": "dolly out",
    "crane": "crane", "boom": "crane", "jib": "crane", "climb": "crane up", "descend": "crane down",
    "pan": "pan", "turn": "pan", "look": "pan", "swing": "pan", "look up": "tilt up", "look down": "tilt down",
    "tilt": "tilt", "truck": "truck", "track": "truck", "slide": "truck", "strafe": "truck", "move": "truck",
    "pedestal": "pedestal", "rise": "pedestal up", "lift": "pedestal up", "sink": "pedestal down",
    "lower": "pedestal down", "move up": "pedestal up", "move down": "pedestal down", "zoom": "zoom",
    "hold": "hold", "stay": "hold", "wait": "hold", "pause": "hold", "still": "hold", "static": "hold",
    "stand": "hold", "stop": "hold", "rest": "hold", "freeze": "hold",
}  # fmt: skip
_DIRECTIONS = {
    "left": "left", "right": "right", "leftward": "left", "rightward": "right", "leftwards": "left",
    "rightwards": "right", "up": "up", "down": "down", "upward": "up", "upwards": "up", "downward": "down",
    "downwards": "down", "in": "in", "closer": "in", "forward": "in", "forwards": "in", "out": "out", "back": "out",
    "away": "out", "backward": "out", "backwards": "out", "clockwise": "left", "anticlockwise": "right",
    "counterclockwise": "right",
}  # fmt: skip
_PACES = {"slowly": 0.5, "slow": 0.5, "gently": 0.6, "softly": 0.6, "fast": 1.8, "quickly": 1.8, "swiftly": 1.8}
_FILLERS = frozenset("the camera to by for over a an it then and of around shot while with its".split())  # noqa: SIM905
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_SECONDS = re.compile(rf"(?:\b(?:for|over|in|during)\s+)?{_NUMBER}\s*(?:s|sec|secs|second|seconds)\b")
_AMOUNT = re.compile(
    rf"(?:\b(?:by|to)\s+)?{_NUMBER}\s*(°|degrees?\b|deg\b|metres?\b|meters?\b|m\b|times\b|x\b|×)"
)  # fmt: skip
_UNITS = {"d": "degrees", "°": "degrees", "m": "metres", "t": "times", "x": "times", "×": "times"}
_SPLIT = re.compile(r"[,;\n]|\bthen\b")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Moves in a row, with None for lengths that nothing is said of, and the words that say how the shot begins."""

    moves: tuple[tuple[Move, bool], ...]
    """Each with whether its length is open."""
    framing: str = ""

    def lasting(self, seconds: float | None) -> tuple[Move, ...]:
        """The moves; those of open length share what is left of `seconds`, or take 2 s each. PromptError when nothing
        is left."""
        given = sum(move.seconds for move, is_open in self.moves if not is_open)
        count = sum(is_open for _move, is_open in self.moves)
        if seconds is not None and count and seconds - given < 0.05 * count:
            raise PromptError(
                f"camera moves take {given:g} s, and {count} more must fit into {seconds:g} s; "
                f"the nearest length is {given + USUAL_SECONDS * count:g} s"
            )
        share = USUAL_SECONDS if seconds is None else (seconds - given) / max(count, 1)
        return tuple(_stretched(move, share) if is_open else move for move, is_open in self.moves)


def _stretched(move: Move, seconds: float) -> Move:
    """A move of open length at its usual pace."""
    return replace(move, seconds=seconds, amount=move.amount * seconds / move.seconds)


def read_moves(text: str) -> Timeline | None:
    """The moves that `text` puts on a time line, or None when it says only how to look ("from above", "orbiting").

    Words become moves when one of them has a length, an amount, or a direction to the left or right, or when there
    are several. Raises PromptError for what is no move, beside moves.
    """
    parts = [part.strip(" .") for part in _SPLIT.split(checked(text).lower())]
    parts = [part for part in parts if part]
    if len(parts) > PARTS_MOST:
        raise PromptError(f"a camera's time line must have at most {PARTS_MOST} moves; got {len(parts)}")
    found = [_read_part(part) for part in parts]
    moves = [part for part in found if isinstance(part, _Said)]
    if not moves or not (len(moves) > 1 or moves[0].is_explicit):
        return None
    first = next(index for index, said in enumerate(found) if said is not None)
    late = next((part for part, said in zip(parts[first:], found[first:], strict=True) if said is None), None)
    if late is not None:
        _refuse(late)
    total = sum(said.move.seconds for said in moves)
    if total > SECONDS_MOST:
        raise PromptError(f"camera moves must take at most {SECONDS_MOST:.0f} s in all; got {total:g} s")
    return Timeline(tuple((said.move, said.is_open) for said in moves), ", ".join(parts[:first]))


def _refuse(part: str) -> None:
    known = sorted({f"{name} {way}".strip() for name, ways in _WAYS.items() for way in ways})
    near = difflib.get_close_matches(part[:40], known, 1, 0.0)[0]
    raise PromptError(
        f"camera: {part[:60]!r} is no move; it may be {', '.join(known)}, each with seconds, degrees or metres. "
        f"The nearest is {near!r}. Say how a shot begins before its moves"
    )


@dataclass(frozen=True, slots=True)
class _Said:
    move: Move
    is_open: bool
    is_explicit: bool


def _read_part(part: str) -> _Said | None:
    """One move, or None when the words are none."""
    seconds = _SECONDS.search(part)
    rest = _SECONDS.sub(" ", part, count=1)
    amount = _AMOUNT.search(rest)
    rest = _AMOUNT.sub(" ", rest, count=1)
    words = [word for word in re.findall(r"[a-z°×]+|\d[\d.]*", rest.replace("-", " ")) if word not in _FILLERS]
    pace = 1.0
    for word in [word for word in words if word in _PACES]:
        words.remove(word)
        pace = _PACES[word]
    numbers = seconds is not None or amount is not None
    name, direction, left = _named([_plain(word) for word in words])
    if name is None or left:
        if numbers and name is None and words:
            _refuse(part)
        if numbers and left:
            raise PromptError(
                f"camera: {' '.join(left)!r} in {part[:60]!r} is not known; write for example {EXAMPLE!r}"
            )
        return None
    ways = _WAYS[name]
    if direction and direction not in ways:
        allowed = " or ".join(repr(f"{name} {way}".strip()) for way in ways)
        if numbers or len(ways) == 1:
            raise PromptError(f"camera: {part[:60]!r} has no such direction; it may be {allowed}")
        return None
    way = ways[direction or next(iter(ways))]
    span = float(seconds[1]) if seconds else None
    if span is not None and not 0.0 < span <= SECONDS_MOST:
        raise PromptError(f"camera: {part[:60]!r} must take more than 0 and at most {SECONDS_MOST:.0f} s; got {span:g}")
    move, is_open = _move(part, way, span, amount, pace)
    return _Said(move, is_open, numbers or direction in ("left", "right") or name in ("tilt", "truck", "pedestal"))


def _move(part: str, way: _Way, span: float | None, amount: re.Match[str] | None, pace: float) -> tuple[Move, bool]:
    """The move, and whether its length is open."""
    if amount is None:
        seconds = USUAL_SECONDS if span is None else span
        move = Move(channel=way.channel, amount=way.pace * pace * seconds, seconds=seconds, shares=way.shares)
        return move, span is None
    value, unit = float(amount[1]), _UNITS[amount[2][0]]
    if unit != way.unit:
        asked = f"in {way.unit}" if way.unit else "without an amount"
        raise PromptError(f"camera: {part[:60]!r} must be {asked}; got {amount[0].strip()!r}")
    sign = math.copysign(1.0, way.pace)
    if unit == "degrees":
        if not 0.0 < value <= 3600.0:
            raise PromptError(f"camera: {part[:60]!r} must turn more than 0 and at most 3600 degrees")
        total = sign * math.radians(value)
        return Move(channel=way.channel, amount=total, seconds=span or total / (way.pace * pace)), False
    if unit == "times":
        if not 1.0 < value <= 20.0:
            raise PromptError(f"camera: {part[:60]!r} must be more than 1 and at most 20 times")
        total = sign * math.log(value)
        return Move(channel=way.channel, amount=total, seconds=span or total / (way.pace * pace)), False
    if not 0.0 < value <= 1000.0:
        raise PromptError(f"camera: {part[:60]!r} must be more than 0 and at most 1000 metres")
    channel = "near" if way.channel == "distance" else way.channel
    total = -sign * value if channel == "near" else sign * value
    return Move(channel=channel, amount=total, seconds=span or USUAL_SECONDS), False


def _plain(word: str) -> str:
    """A verb's plain form: "orbiting" and "orbits" are "orbit"."""
    if word in _DIRECTIONS or word in _NAMES:
        return word
    for ending in ("ing", "s"):
        stem = word.removesuffix(ending)
        for tried in (stem, stem + "e", stem[:-1]):
            if stem != word and tried in _NAMES:
                return tried
    return word


def _named(words: list[str]) -> tuple[str | None, str, list[str]]:
    """Name of the move, its direction, and words that are left over."""
    for length in (2, 1):
        phrase = " ".join(words[:length])
        if len(words) >= length and phrase in _NAMES:
            name, _space, direction = _NAMES[phrase].partition(" ")
            rest = words[length:]
            for word in [word for word in rest if word in _DIRECTIONS]:
                rest.remove(word)
                direction = _DIRECTIONS[word]
            return name, direction, rest
    return None, "", words
