"""How many bits a second one client's line carries, told from the delay and the pace of its acknowledgements.

The answer is a rung of a short ladder, because watchers of one rung share one encoder. Time is an argument, in
seconds.
"""

from __future__ import annotations

from collections import deque

from elsewhere.server.codecs import RUNGS

FIRST_RUNG = 3
CONGESTED_SECONDS = 0.12
"""More delay than the line's own means that something queues."""
CLEAR_SECONDS = 0.05
SETTLE_SECONDS = 0.5
"""After a fall, what was sent before still arrives late."""
SHARE = 0.85
"""Of the measured rate, how much is asked for: the rest drains the queue."""
PATIENCE_LEAST, PATIENCE_MOST = 1.0, 8.0
PROBE_SECONDS = 3.0
"""A rise that is followed by a fall within this time was too early; the next waits twice as long."""
MEASURED_SECONDS = 0.5
SKIPS_MOST, SKIPPED_SECONDS = 3, 1.0
"""So many frames skipped within so many seconds are no accident."""
FLOOR_SECONDS = 10.0
"""How long the least round trip is remembered."""


class Estimator:
    """The rung for one client; `sent` and `acknowledged` for every frame, `rung` whenever it is wanted."""

    def __init__(self, rung: int = FIRST_RUNG) -> None:
        self.rung = rung
        self.round_trip = 0.0
        self._on_the_way: deque[tuple[int, int, float]] = deque()
        self._arrived: deque[tuple[float, int]] = deque()
        self._floors: deque[tuple[float, float]] = deque()
        self._clear_since: float | None = None
        self._changed_at = self._rose_at = float("-inf")
        self._patience = PATIENCE_LEAST
        self._delay = 0.0
        self._skips: deque[float] = deque()

    @property
    def floor(self) -> float:
        """The least round trip of the last seconds: the line's own delay."""
        return min((span for _, span in self._floors), default=0.0)

    @property
    def bytes_on_the_way(self) -> int:
        """What was sent and not yet acknowledged."""
        return sum(size for _, size, _ in self._on_the_way)

    def sent(self, frame_id: int, size: int, now: float) -> None:
        """A frame of `size` bytes was handed to the socket."""
        self._on_the_way.append((frame_id, size, now))

    def acknowledged(self, frame_id: int, now: float) -> None:
        """Everything up to `frame_id` has arrived."""
        while self._on_the_way and self._on_the_way[0][0] <= frame_id:
            sent_id, size, sent_at = self._on_the_way.popleft()
            self._arrived.append((now, size))
            if sent_id == frame_id:
                self._measure(now - sent_at, now)
        while self._arrived and self._arrived[0][0] < now - MEASURED_SECONDS:
            self._arrived.popleft()

    def check(self, now: float) -> None:
        """Notices that nothing arrives, which no acknowledgement tells."""
        if not self._on_the_way:
            return
        sent_at = self._on_the_way[0][2]
        if sent_at > self._changed_at and now - sent_at > self.floor + self._delay + 2 * CONGESTED_SECONDS:
            self._fall(now)

    def skipped(self, now: float) -> None:
        """A frame could not be sent, because too much was on its way: the line is slower than the stream."""
        self._clear_since = None
        self._skips.append(now)
        while self._skips[0] < now - SKIPPED_SECONDS:
            self._skips.popleft()
        if len(self._skips) >= SKIPS_MOST and self._skips[0] > self._changed_at:
            self._fall(now)

    def forget(self) -> None:
        """What is on the way will not be acknowledged: the client went to another world."""
        self._on_the_way.clear()

    def _measure(self, span: float, now: float) -> None:
        self.round_trip = span
        while self._floors and (self._floors[0][0] < now - FLOOR_SECONDS):
            self._floors.popleft()
        while self._floors and self._floors[-1][1] >= span:
            self._floors.pop()
        self._floors.append((now, span))
        delay = span - self.floor
        draining = delay < self._delay
        self._delay += 0.3 * (delay - self._delay)
        if delay > CONGESTED_SECONDS:
            self._clear_since = None
            if not draining:  # else the last fall was enough, and what queued before it is still coming out
                self._fall(now)
        elif delay > CLEAR_SECONDS:
            self._clear_since = None
        else:
            self._clear_since = now if self._clear_since is None else self._clear_since
            if now - self._clear_since >= self._patience and now - self._changed_at >= self._patience:
                self._rise(now)

    def _fall(self, now: float) -> None:
        self._clear_since = None
        if now - self._changed_at < SETTLE_SECONDS or self.rung == 0:
            return
        carried = 8.0 * sum(size for _, size in self._arrived) / MEASURED_SECONDS
        fits = [rung for rung, rate in enumerate(RUNGS) if rate <= SHARE * carried]
        self.rung = min(self.rung - 1, fits[-1] if fits else 0)
        if now - self._rose_at < PROBE_SECONDS:
            self._patience = min(2.0 * self._patience, PATIENCE_MOST)
        self._changed_at = now

    def _rise(self, now: float) -> None:
        if self.rung == len(RUNGS) - 1:
            return
        if now - self._rose_at > 4.0 * PROBE_SECONDS:
            self._patience = PATIENCE_LEAST
        self.rung += 1
        self._rose_at = self._changed_at = now
        self._clear_since = now
