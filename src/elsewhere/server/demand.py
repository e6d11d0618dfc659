"""What a world encodes for those who watch it: few streams, each for as many as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from elsewhere.server.watcher import Stream, Watcher

STREAMS_MOST = 4
"""Encoders of one world at a time, not counting those that watchers are leaving."""


def plan_streams(watchers: Iterable[Watcher]) -> dict[Stream, bool]:
    """Gives every watcher a target. The streams to encode; True for those of which someone needs a key frame.

    With more targets than `STREAMS_MOST`, those with the fewest watchers go over to a neighbour of the same codec and
    view.
    """
    watchers = list(watchers)
    wanted = Counter(watcher.wanted for watcher in watchers)
    kept = list(wanted) if len(wanted) <= STREAMS_MOST else _keep(wanted)
    for watcher in watchers:
        watcher.target = _nearest(watcher.wanted, kept)
    demand: dict[Stream, bool] = {}
    for watcher in watchers:
        for stream in watcher.streams:
            demand[stream] = demand.get(stream, False) or watcher.wants_key(stream)
    return demand


def _keep(wanted: Counter[Stream]) -> list[Stream]:
    ranked = [stream for stream, _ in wanted.most_common()]
    # Each codec of a view keeps one stream at least: nobody can go over to a codec that they do not know.
    kinds = sorted({(s.view, s.codec) for s in ranked})
    firsts = [next(s for s in ranked if (s.view, s.codec) == kind) for kind in kinds]
    others = [stream for stream in ranked if stream not in firsts]
    return firsts + others[: max(0, STREAMS_MOST - len(firsts))]


def _nearest(stream: Stream, kept: list[Stream]) -> Stream:
    """The best that asks no more of the line than `stream`, else the poorest there is."""
    same = sorted((s for s in kept if (s.view, s.codec) == (stream.view, stream.codec)), key=lambda s: s.rung)
    below = [s for s in same if s.rung <= stream.rung]
    return below[-1] if below else same[0]
