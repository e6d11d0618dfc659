"""Who is in one world: names, heads, who blocks whom, and who may show someone out.

It lives in the event loop's thread. It does not know how words travel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from elsewhere.server.schema import Head, Heads, People, Person, Pose
from elsewhere.server.watcher import Watcher

HEAD_REACH = 100.0
"""Metres. A head farther than this from the world's origin is shown at this distance."""


def place_head(watcher: Watcher, pose: Pose) -> None:
    """Notes where a client's head is. What is no rotation, or very far away, becomes the nearest that can be."""
    distance = math.hypot(*pose.position)
    scale = min(1.0, HEAD_REACH / distance) if distance > 0 else 1.0
    length = math.hypot(*pose.turn)
    x, y, z, w = (part / length for part in pose.turn) if length > 1e-3 else (0.0, 0.0, 0.0, 1.0)
    px, py, pz = (scale * part for part in pose.position)
    whole = pose.hands[: len(pose.hands) // 3 * 3]
    hands = tuple(max(-HEAD_REACH, min(HEAD_REACH, part)) for part in whole)
    watcher.head = Head(watcher.number, (px, py, pz), (x, y, z, w), hands)
    watcher.head_moved = True


def see_each_other(one: Watcher, other: Watcher) -> bool:
    """Whether neither has blocked the other."""
    return one.number not in other.blocked and other.number not in one.blocked


def list_people(watcher: Watcher, watchers: Iterable[Watcher], host: Watcher | None) -> People:
    """Those of one world as `watcher` may see them."""
    shown = [other for other in watchers if see_each_other(watcher, other)]
    return People(tuple(Person(o.number, o.name, o.watch_only, o is host, o.voice) for o in shown))


def show_heads(watchers: list[Watcher], clock: float) -> None:
    """Gives everyone the heads of the others that moved since the last time; `clock` in milliseconds."""
    moved = [other for other in watchers if other.head_moved and other.head is not None]
    if not moved:
        return
    for watcher in watchers:
        seen = tuple(o.head for o in moved if o is not watcher and o.head is not None and see_each_other(watcher, o))
        if seen:
            watcher.show_heads(Heads(clock, seen))
    for other in moved:
        other.head_moved = False
