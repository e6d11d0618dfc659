"""What waits to be sent to one client: words in order, and frames of one stream.

A client that reads slowly gets fewer frames, never older ones: what piles up is dropped to the next key frame. This
file does not know about sockets.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from dataclasses import dataclass

from elsewhere.server.codecs import RUNGS
from elsewhere.server.rate import Estimator
from elsewhere.server.schema import TIMINGS, Head, Heads, People, Words
from elsewhere.server.wire import read_timings, stamp_packet, write_words

WINDOW = 3
"""Frames on their way without an acknowledgement, on a line without delay; with more, the wire itself would be the
queue."""
WINDOW_MOST = 32
WINDOW_SECONDS = 0.08
"""What a client may take to draw a frame without losing any."""
WAITING_MOST = 2
"""Frames that need the one before and wait for the window; with more, all are dropped."""
WORDS_MOST = 64
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one encoder makes: a codec at a rung of `codecs.RUNGS`, of one camera of the world; 0 is the shared one."""

    codec: str
    rung: int
    view: int = 0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A packed frame of a stream, `made` at seconds of the clock; without it, when it is offered."""

    frame_id: int
    packet: bytes
    key: bool
    made: float | None = None


JPEG = Stream("jpeg", len(RUNGS) - 1)


class Watcher:
    """One connected client. All methods are for the event loop's thread; times are seconds of one clock."""

    def __init__(self, now: float, *, fps: int = 24) -> None:
        self.heard_at = self.born_at = now
        self.number = next(_numbers)
        self.name = ""
        self.watch_only = False
        self.blocked: set[int] = set()
        self.head: Head | None = None
        self.head_moved = False
        self.removed = self.voice = False
        self.view = 0
        self.skipped = 0
        self.estimator = Estimator(JPEG.rung)
        self.stream = self.target = JPEG
        self._fps = fps
        self._words: deque[str] = deque()
        self._heads: Heads | None = None
        self._people: People | None = None
        self._waiting: deque[tuple[Parcel, float]] = deque()
        self._lost = True
        self._on_the_way: deque[tuple[int, float, tuple[float, ...]]] = deque()
        self._ready = asyncio.Event()

    @property
    def round_trip(self) -> float:
        """Milliseconds from handing a frame to the socket to its acknowledgement, of the last one."""
        return 1e3 * self.estimator.round_trip

    @property
    def window(self) -> int:
        """Frames that may be on their way: more on a line with more delay."""
        frames = math.ceil(self._fps * (self.estimator.floor + WINDOW_SECONDS))
        return min(max(WINDOW, frames), WINDOW_MOST)

    @property
    def wanted(self) -> Stream:
        """The stream that the line carries; `demand.plan_streams` decides which one is the `target`."""
        return Stream(self.target.codec, self.estimator.rung, self.view)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What must be encoded for this client: its stream, and the one it goes over to."""
        return (self.stream,) if self.stream == self.target else (self.stream, self.target)

    def wants_key(self, stream: Stream) -> bool:
        """Whether this client can take a key frame of `stream`, and nothing else."""
        if stream == self.target != self.stream:
            return True
        return stream == self.stream and self._lost and len(self._on_the_way) < self.window

    def choose(self, codec: str, now: float) -> None:
        """Frames come as `codec` from now on, at the rung of a line that is not known yet."""
        self.estimator = Estimator(JPEG.rung) if codec == "jpeg" else Estimator()
        self.stream = self.target = Stream(codec, self.estimator.rung, self.view)
        self.lose()

    def look_with(self, view: int, now: float) -> None:
        """Frames come from camera `view` from now on."""
        self.view = view
        self.choose(self.target.codec, now)

    def lose(self) -> None:
        """The client can use nothing but a key frame."""
        self.skipped += len(self._waiting)
        self._waiting.clear()
        self._lost = True
        self._update()

    def say(self, words: Words) -> None:
        """Queues words. A client that lets them pile up is past helping: the oldest go."""
        self._words.append(write_words(words))
        while len(self._words) > WORDS_MOST:
            self._words.popleft()
        self._ready.set()

    def show_heads(self, heads: Heads) -> None:
        """Where the others are; of each, the latest wins."""
        latest = {head.id: head for head in (*(self._heads.heads if self._heads else ()), *heads.heads)}
        self._heads = Heads(heads.clock, tuple(latest.values()))
        self._ready.set()

    def show_people(self, people: People) -> None:
        """Who is here; the latest wins, so that coming and going cannot push other words out."""
        self._people = people
        self._ready.set()

    def offer(self, stream: Stream, parcel: Parcel, now: float) -> None:
        """A new frame of `stream`. What waits is kept in order, or dropped where that would queue."""
        if stream == self.target != self.stream and parcel.key:
            self.stream = stream
            self.lose()
        if stream != self.stream:
            return
        if self._lost and not parcel.key:
            self.skipped += 1
            return
        if parcel.key:
            if self._waiting:
                self._skip(now, len(self._waiting))
            self._waiting.clear()
            self._lost = False
        elif len(self._waiting) >= WAITING_MOST:
            self.lose()
            self._skip(now)
            return
        self._waiting.append((parcel, now if parcel.made is None else parcel.made))
        self._update()

    def acknowledge(self, frame_id: int, now: float) -> None:
        """Everything up to `frame_id` has arrived."""
        self.estimator.acknowledged(frame_id, now)
        while self._on_the_way and self._on_the_way[0][0] <= frame_id:
            self._on_the_way.popleft()
        self._update()

    def adapt(self, now: float) -> None:
        """Lets the estimate of the line fall when nothing arrives."""
        self.estimator.check(now)

    def timings(self, frame_id: int) -> dict[str, float] | None:
        """The milliseconds that were sent with a frame that is on its way."""
        for sent_id, _, timings in self._on_the_way:
            if sent_id == frame_id:
                return dict(zip(TIMINGS, timings, strict=True))
        return None

    def forget(self) -> None:
        """Drops the frames that wait and what is on its way: the client goes to another world."""
        self._waiting.clear()
        self._lost = True
        self._on_the_way.clear()
        self._heads = self._people = self.head = None
        self.head_moved = False
        self.estimator.forget()
        self._update()

    def silent_for(self, now: float) -> float:
        """Seconds that the oldest unacknowledged frame has been on its way; 0 when there is none."""
        return now - self._on_the_way[0][1] if self._on_the_way else 0.0

    async def ready(self) -> None:
        """Waits until `take` has something."""
        await self._ready.wait()

    def take(self, now: float) -> str | bytes | None:
        """The next thing to send: words first, then heads, then a frame if the client keeps up."""
        item: str | bytes | None = None
        if self._words:
            item = self._words.popleft()
        elif self._people is not None:
            item = write_words(self._people)
            self._people = None
        elif self._heads is not None:
            item = write_words(self._heads)
            self._heads = None
        elif self._waiting and len(self._on_the_way) < self.window:
            parcel, made = self._waiting.popleft()
            self.estimator.sent(parcel.frame_id, len(parcel.packet), now)
            item = stamp_packet(parcel.packet, 1e3 * (now - made), self.round_trip, 1e3 * now)
            self._on_the_way.append((parcel.frame_id, now, read_timings(item)))
        self._update()
        return item

    def _skip(self, now: float, count: int = 1) -> None:
        self.skipped += count
        self.estimator.skipped(now)

    def _update(self) -> None:
        if self._words or self._people or self._heads or (self._waiting and len(self._on_the_way) < self.window):
            self._ready.set()
        else:
            self._ready.clear()
