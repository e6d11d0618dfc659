"""Controls by the tick they are meant for: what a person did holds from the frame at that tick on.

One thread puts, another reads. This file does not know how controls came.
"""

from __future__ import annotations

import threading

from elsewhere.live.frame import Controls

WAITING_MOST = 256
AHEAD_MOST = 480
"""Ticks (2 s): controls for later than this hold now, because a clock that jumped must not silence a person."""


class ControlTrack:
    """The controls in force, and those that are not due yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Controls()
        self._tick = 0
        self._waiting: list[tuple[int, Controls]] = []

    def put(self, controls: Controls, tick: int = 0) -> None:
        """`controls` hold from `tick` on; 0, a tick that has passed or one that is too far ahead mean the next frame.

        What came before for the same or a later tick is forgotten: the latest word wins.
        """
        with self._lock:
            tick = self._tick if tick > self._tick + AHEAD_MOST else max(tick, self._tick)
            self._waiting = [item for item in self._waiting if item[0] < tick][-(WAITING_MOST - 1) :]
            self._waiting.append((tick, controls))

    def at(self, tick: int) -> Controls:
        """The controls for the frame at `tick`; ticks only go up."""
        with self._lock:
            self._tick = max(tick, self._tick)
            while self._waiting and self._waiting[0][0] <= tick:
                self._now = self._waiting.pop(0)[1]
            return self._now
