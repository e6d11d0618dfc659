"""What waits to be sent to one client: words in order, and the latest frame only.

A client that reads slowly gets fewer frames, never older ones. This file does not know about sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

from elsewhere.server.wire import stamp_packet

WINDOW = 3
"""Frames on their way without an acknowledgement; with more, the wire itself would be the queue."""
WORDS_MOST = 64


class Watcher:
    """One connected client. All methods are for the event loop's thread; times are seconds of one clock."""

    def __init__(self, now: float) -> None:
        self.heard_at = self.born_at = now
        self.skipped = 0
        self.round_trip = 0.0
        self._words: deque[str] = deque()
        self._packet: tuple[int, bytes, float] | None = None
        self._on_the_way: deque[tuple[int, float]] = deque()
        self._ready = asyncio.Event()

    def say(self, **fields: Any) -> None:
        """Queues words. A client that lets them pile up is past helping: the oldest go."""
        self._words.append(json.dumps(fields, ensure_ascii=False))
        while len(self._words) > WORDS_MOST:
            self._words.popleft()
        self._ready.set()

    def offer(self, frame_id: int, packet: bytes, now: float) -> None:
        """Puts a frame in the one place there is; what was there is skipped."""
        self.skipped += self._packet is not None
        self._packet = (frame_id, packet, now)
        self._update()

    def acknowledge(self, frame_id: int, now: float) -> None:
        """Everything up to `frame_id` has arrived."""
        while self._on_the_way and self._on_the_way[0][0] <= frame_id:
            sent_id, sent_at = self._on_the_way.popleft()
            if sent_id == frame_id:
                self.round_trip = 1e3 * (now - sent_at)
        self._update()

    def forget(self) -> None:
        """Drops the frame that waits and what is on its way: the client goes to another world."""
        self._packet = None
        self._on_the_way.clear()
        self._update()

    def silent_for(self, now: float) -> float:
        """Seconds that the oldest unacknowledged frame has been on its way; 0 when there is none."""
        return now - self._on_the_way[0][1] if self._on_the_way else 0.0

    async def ready(self) -> None:
        """Waits until `take` has something."""
        await self._ready.wait()

    def take(self, now: float) -> str | bytes | None:
        """The next thing to send: words first, then the latest frame if the client keeps up."""
        item: str | bytes | None = None
        if self._words:
            item = self._words.popleft()
        elif self._packet is not None and len(self._on_the_way) < WINDOW:
            frame_id, packet, offered_at = self._packet
            self._packet = None
            self._on_the_way.append((frame_id, now))
            item = stamp_packet(packet, 1e3 * (now - offered_at), self.round_trip)
        self._update()
        return item

    def _update(self) -> None:
        if self._words or (self._packet is not None and len(self._on_the_way) < WINDOW):
            self._ready.set()
        else:
            self._ready.clear()
