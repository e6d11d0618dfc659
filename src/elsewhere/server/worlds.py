"""The worlds that run in this process: one thread each, made when someone asks, freed when nobody stays.

A world has one view in this slice: who came first looks around, the others watch. This file does not know how words
and frames travel.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from elsewhere.live.controls import ControlTrack
from elsewhere.live.frame import Controls, Frame
from elsewhere.live.ladder import Ladder, Rung, quality_rungs
from elsewhere.live.options import Options
from elsewhere.server.demand import plan_streams
from elsewhere.server.pace import Pace
from elsewhere.server.people import list_people, show_heads
from elsewhere.server.schema import Failure
from elsewhere.server.studio import Studio
from elsewhere.server.watcher import Parcel, Stream, Watcher

log = logging.getLogger("elsewhere.server")

STEERING_SECONDS = 3.0
"""A client that is not heard of for this long no longer steers."""

Made = Callable[[int, float], None]
"""Told of each frame's number and the milliseconds of the clock when it was ready."""


class Running(Protocol):
    """A session: anything that makes frames."""

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame: ...


@runtime_checkable
class Adjustable(Protocol):
    """A session whose quality can change while it runs."""

    @property
    def adjustable(self) -> bool: ...

    def adjust(self, steps: int, width: int, height: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """All that decides a world. Equal blueprints are one world."""

    prompt: str
    options: Options


@dataclass(frozen=True, slots=True)
class Opened:
    """A world that was read from its prompt and can be run. `unknown` words come each with the nearest known.

    `pace` is a walker's speed in metres a second, in proportion to what is there to see.
    """

    open: Callable[[], Running]
    pace: float = 1.0
    unknown: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class LiveWorld:
    """One world in its own thread, at most `options.fps` frames a second, still while nobody watches."""

    def __init__(
        self,
        blueprint: Blueprint,
        opened: Opened,
        loop: asyncio.AbstractEventLoop,
        *,
        bars: bool = False,
        made: Made | None = None,
    ) -> None:
        self.blueprint = blueprint
        self.opened = opened
        self.watchers: list[Watcher] = []
        self.left_at = time.monotonic()
        self.latest: Frame | None = None
        self.failure: str | None = None
        self._loop = loop
        self.late = self.frames = 0
        self.quality: Rung | None = None
        self._people_changed = False
        self._controls = ControlTrack()
        self._demand: dict[Stream, bool] = {}
        self._bars, self._made = bars, made
        self._watched = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="world", daemon=True)
        self._thread.start()

    def enter(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)
        self.introduce()
        self.plan()
        self._watched.set()

    @property
    def host(self) -> Watcher | None:
        """Who has the host's rights: the one here longest who does not only watch."""
        return next((watcher for watcher in self.watchers if not watcher.watch_only), None)

    def leave(self, watcher: Watcher) -> None:
        if watcher in self.watchers:
            self.watchers.remove(watcher)
            self.introduce()
            self.plan()
        if not self.watchers:
            self.left_at = time.monotonic()
            self._watched.clear()

    def steers(self, watcher: Watcher, now: float) -> bool:
        """Whether `watcher` is the one who looks around: the first of those still heard of who came to do so."""
        for other in self.watchers:
            if other.watch_only:
                continue
            if other is watcher or now - other.heard_at < STEERING_SECONDS:
                return other is watcher
        return False

    def look(self, controls: Controls, tick: int = 0) -> None:
        """`controls` hold from `tick` on; what names a tick that has passed holds from the next frame on."""
        self._controls.put(controls, tick)

    def introduce(self) -> None:
        """Tells everyone who is here, with the next frame: once, however many come and go meanwhile."""
        self._people_changed = True

    def plan(self) -> None:
        """Tells the world's thread what to encode for those who watch now."""
        self._demand = plan_streams(self.watchers)

    def stop(self) -> None:
        """Lets the thread end after its frame."""
        self._stopped.set()
        self._watched.set()

    def wait(self, seconds: float) -> None:
        """Waits for the thread's end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._play(self.opened.open())
        except Exception as failure:  # one world's failure must not reach the others
            log.exception("world failed", extra={"code": type(failure).__name__})
            self._tell(self._fail, f"{type(failure).__name__}: {failure}")

    def _play(self, session: Running) -> None:
        pace = Pace(self.blueprint.options.fps)
        studio = Studio(self.blueprint.options.fps, bars=self._bars)
        options = self.blueprint.options
        adjust = session.adjust if isinstance(session, Adjustable) and session.adjustable else None
        ladder = Ladder(quality_rungs(options, adjustable=adjust is not None), 1.0 / options.fps)
        self.quality = ladder.rung
        shown, skip = self._make_frame(session, studio, 0), 0
        pace.begin(shown, time.monotonic())
        while not self._stopped.is_set():
            if not self._watched.is_set():
                self._watched.wait()
                ladder.rest()
                pace.begin(shown, time.monotonic())
            self._stopped.wait(pace.wait(time.monotonic()))
            following = shown + 1 + skip
            start = time.monotonic()
            late = pace.skip(start)
            self.late += late
            skip = late + ladder.rung.every - 1
            shown = self._make_frame(session, studio, following, skip)
            pace.show(shown, skip)
            if ladder.observe(time.monotonic() - start, time.monotonic()):
                self.quality = ladder.rung
                if adjust is not None:
                    adjust(self.quality.steps, self.quality.width, self.quality.height)

    def _make_frame(self, session: Running, studio: Studio, number: int, skip: int = 0) -> int:
        """Makes and publishes frame `number`; its number. `skip` frames are left out after it."""
        controls = self._controls.at(self.blueprint.options.tick_of(number))
        frame = session.frame(controls, skip=skip)
        if self._made is not None:
            self._made(frame.frame_id, 1e3 * time.monotonic())
        self._tell(self._publish, frame, studio.encode(frame, self._demand))
        return frame.frame_id

    def _tell(self, action: Callable[..., None], *arguments: Any) -> None:
        if not self._stopped.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action, *arguments)

    def _publish(self, frame: Frame, parcels: list[tuple[Stream, Parcel]]) -> None:
        self.latest = frame
        self.frames += 1
        now = time.monotonic()
        show_heads(self.watchers, 1e3 * now)
        if self._people_changed:
            self._people_changed = False
            for watcher in self.watchers:
                watcher.show_people(list_people(watcher, self.watchers, self.host))
        for watcher in self.watchers:
            for stream, parcel in parcels:
                watcher.offer(stream, parcel, now)
            watcher.adapt(now)
        self.plan()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        for watcher in self.watchers:
            watcher.say(Failure("world", f"This world stopped. {reason}"))


class MisunderstoodError(ValueError):
    """A prompt that makes no world; `unknown` are its words that are not known, each with the nearest that is."""

    def __init__(self, message: str, unknown: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.unknown = unknown


class FullError(RuntimeError):
    """No room for another world."""


class Worlds:
    """All worlds of a server. `most` run at a time; one that nobody watches stays for `linger` seconds."""

    def __init__(self, *, most: int, linger: float, bars: bool = False, made: Made | None = None) -> None:
        self._most, self._linger, self._bars, self._made = most, linger, bars, made
        self._worlds: dict[Blueprint, LiveWorld] = {}
        self._kept: Blueprint | None = None

    def __len__(self) -> int:
        return len(self._worlds)

    def keep(self, blueprint: Blueprint) -> None:
        """Names the world that is never freed: the one the server was started for."""
        self._kept = blueprint

    @property
    def running(self) -> tuple[LiveWorld, ...]:
        """All worlds."""
        return tuple(self._worlds.values())

    def find(self, blueprint: Blueprint) -> LiveWorld | None:
        """The running world, when there is one that has not failed."""
        world = self._worlds.get(blueprint)
        if world is not None and world.failure is not None:
            self._drop(blueprint)
            return None
        return world

    def open(self, blueprint: Blueprint, opened: Opened) -> LiveWorld:
        """Starts a world, or gives the one that runs. FullError when all places are watched."""
        running = self.find(blueprint)
        if running is not None:
            return running
        self.sweep(time.monotonic())
        if len(self._worlds) >= self._most:
            self._make_room()
        world = LiveWorld(blueprint, opened, asyncio.get_running_loop(), bars=self._bars, made=self._made)
        self._worlds[blueprint] = world
        return world

    def sweep(self, now: float) -> None:
        """Frees what nobody has watched for a while."""
        for blueprint, world in list(self._worlds.items()):
            if blueprint != self._kept and not world.watchers and now - world.left_at > self._linger:
                self._drop(blueprint)

    def close(self) -> None:
        """Ends all worlds, and waits a little for their threads."""
        worlds = list(self._worlds.values())
        for blueprint in list(self._worlds):
            self._drop(blueprint)
        for world in worlds:
            world.wait(2.0)

    def _make_room(self) -> None:
        idle = [b for b, world in self._worlds.items() if not world.watchers and b != self._kept]
        if not idle:
            raise FullError(f"All {self._most} worlds of this server are being watched. Try again in a minute")
        self._drop(min(idle, key=lambda b: self._worlds[b].left_at))

    def _drop(self, blueprint: Blueprint) -> None:
        self._worlds.pop(blueprint).stop()
