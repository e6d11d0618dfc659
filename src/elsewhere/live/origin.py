"""What a film says of itself: the world that it was made of, so that it can be calculated again and go on.

It travels as JSON in the comment of an mp4, webm or gif and in a text chunk of a png. Nothing in it is executed, and
every field is checked when it is read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from elsewhere.live.options import Options
from elsewhere.scene.description import Scene
from elsewhere.scene.json import from_json, to_json

FORMAT = "elsewhere.film"
VERSION = 1
CHARACTERS_MOST = 60_000
"""An mp4's comment has two bytes for its length."""
FRAMES_MOST = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A film's world. `first` is the world's frame (of `options.fps`) that the film begins with, below 0 before tick 0;
    `exact` where the same command gives the same pictures again, and not only the same calculated world."""

    scene: Scene
    options: Options
    first: int = 0
    frames: int = 1
    exact: bool = True


def write_origin(origin: Origin) -> str | None:
    """One line of ASCII; None for a world too large to travel in a comment."""
    tree = {
        "format": FORMAT,
        "version": VERSION,
        "scene": json.loads(to_json(origin.scene)),
        "options": asdict(origin.options),
        "first": origin.first,
        "frames": origin.frames,
        "exact": origin.exact,
    }
    text = json.dumps(tree, ensure_ascii=True, separators=(",", ":"))
    return text if len(text) <= CHARACTERS_MOST else None


def read_origin(text: str | None) -> Origin | None:
    """The origin in a comment, or None where it holds none that can be read."""
    if text is None or len(text) > CHARACTERS_MOST or FORMAT not in text:
        return None
    try:
        tree = json.loads(text)
        return _origin(tree)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _origin(tree: dict[str, Any]) -> Origin:
    if tree["format"] != FORMAT or tree["version"] != VERSION:
        raise ValueError("not an origin of this version")
    first, frames, exact = tree["first"], tree["frames"], tree["exact"]
    if not all(type(n) is int and abs(n) <= FRAMES_MOST for n in (first, frames)) or type(exact) is not bool:
        raise ValueError("first and frames must be whole numbers")
    scene = from_json(json.dumps(tree["scene"]))
    return Origin(scene=scene, options=Options(**tree["options"]), first=first, frames=frames, exact=exact)
