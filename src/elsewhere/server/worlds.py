"""The worlds of a server: who watches each, what is encoded for them, made when someone asks, freed when nobody stays.

Frames are made elsewhere: by a `runner` in this process, or by one in the worker process that `supervisor` looks
after. This file does not know how words and frames travel.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from elsewhere.live.frame import Controls
from elsewhere.live.ladder import Rung
from elsewhere.live.options import Options
from elsewhere.scene.description import Event
from elsewhere.server.demand import plan_streams
from elsewhere.server.people import list_people, show_heads
from elsewhere.server.runner import Batch, Failed, Happened, Refused, Replaying, Report, Runner, Running
from elsewhere.server.schema import Failure, News
from elsewhere.server.watcher import Stream, Watcher

log = logging.getLogger("elsewhere.server")

CAMERA_LOAD_MOST = 0.75
"""Share of the time that all cameras of a world may take when another one is lent."""
CAMERA_SECONDS = 0.3
"""After so long without time for all cameras one is taken back: sooner than the ladder lets quality fall."""
LOAD_SHARE = 0.1
"""Of a new measurement, in what is known of the load."""
STEERING_SECONDS = 3.0
"""A client that is not heard of for this long no longer steers."""

Made = Callable[[int, float], None]
"""Told of each frame's number and the milliseconds of the clock when it was ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """All that decides a world. Equal blueprints are one world."""

    prompt: str
    options: Options


@dataclass(frozen=True, slots=True)
class Opened:
    """A world that was read from its prompt and can be run. `unknown` words come each with the nearest known.

    `pace` is a walker's speed in metres a second, in proportion to what is there to see; `lens` is the shot's focal
    length in widths of the picture, 0 where it is not known.
    """

    open: Callable[[], Running]
    pace: float = 1.0
    lens: float = 0.0
    unknown: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class Engine(Protocol):
    """What makes a world's frames. All methods return at once."""

    def demand(self, streams: Mapping[Stream, bool]) -> None: ...

    def watch(self, watched: bool) -> None: ...

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None: ...

    def apply(self, event: Event) -> None: ...

    async def preview(self) -> bytes | None: ...

    def stop(self) -> None: ...

    def wait(self, seconds: float) -> None: ...


Hear = Callable[[Report | News], None]
Maker = Callable[["Blueprint", Opened, Hear], Engine]
"""Makes the engine of a world, which reports in the event loop's thread."""


class ThreadEngine:
    """A runner in this process: it shares the interpreter with the door, and nobody restarts it."""

    def __init__(self, blueprint: Blueprint, opened: Opened, report: Hear, *, bars: bool = False) -> None:
        loop = asyncio.get_running_loop()

        def tell(said: Report) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(report, said)

        self._runner = Runner(opened.open, blueprint.options, tell, bars=bars)
        self.demand = self._runner.demand
        self.watch = self._runner.watch
        self.look = self._runner.look
        self.apply = self._runner.apply
        self.stop = self._runner.stop
        self.wait = self._runner.wait

    async def preview(self) -> bytes | None:
        """The last frame as JPEG."""
        return await asyncio.to_thread(self._runner.preview)


class LiveWorld:
    """One world and those who watch it. All methods are for the event loop's thread."""

    def __init__(self, blueprint: Blueprint, opened: Opened, make: Maker, *, made: Made | None = None) -> None:
        self.blueprint = blueprint
        self.opened = opened
        self.watchers: list[Watcher] = []
        self.left_at = time.monotonic()
        self.tick = 0
        self.failure: str | None = None
        self.late = self.frames = 0
        self.quality: Rung | None = None
        self.busy = 0.0
        self.fallen = 0
        self._views = 0
        self._lent: dict[int, Watcher] = {}
        self._over_since: float | None = None
        self._people_changed = self._stopped = False
        self._demand: dict[Stream, bool] = {}
        self._made = made
        self._engine = make(blueprint, opened, self._hear)

    def enter(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)
        self.introduce()
        self.plan()
        self._engine.watch(True)

    @property
    def host(self) -> Watcher | None:
        """Who has the host's rights: the one here longest who does not only watch."""
        return next((watcher for watcher in self.watchers if not watcher.watch_only), None)

    def leave(self, watcher: Watcher) -> None:
        if watcher in self.watchers:
            self.watchers.remove(watcher)
            self.take_camera(watcher, time.monotonic())
            self.introduce()
            self.plan()
        if not self.watchers:
            self.left_at = time.monotonic()
            self._engine.watch(False)

    def steers(self, watcher: Watcher, now: float) -> bool:
        """Whether `watcher` looks around: with a camera of its own, or as the first of those still heard of who came to
        do so."""
        if watcher.view:
            return True
        for other in self.watchers:
            if other.watch_only or other.view:
                continue
            if other is watcher or now - other.heard_at < STEERING_SECONDS:
                return other is watcher
        return False

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None:
        """`controls` of camera `view` hold from `tick` on; those for a tick that has passed from the next frame on."""
        self._engine.look(controls, tick, view)

    def lend_camera(self, watcher: Watcher, now: float) -> str:
        """Gives `watcher` a camera of its own while the machine can keep up; the reason where it cannot, else ""."""
        if watcher.view:
            return ""
        if watcher.watch_only:
            return "Who only watches sees what the others do"
        share = self.busy * (self.cameras + 1) / self.cameras
        if self.tick == 0 or share > CAMERA_LOAD_MOST or self.fallen:
            return (
                f"This machine is busy for {100 * self.busy:.0f} % of the time; another camera would need "
                f"{100 * share:.0f} %, and {100 * CAMERA_LOAD_MOST:.0f} % is the most"
            )
        self.busy = share  # until it is measured: two who ask at once are not both let in on the same room
        self._views += 1
        watcher.look_with(self._views, now)
        self._lent[self._views] = watcher
        self.plan()
        return ""

    def take_camera(self, watcher: Watcher, now: float) -> None:
        """`watcher` looks with everyone's camera again."""
        if self._lent.pop(watcher.view, None) is not None:
            watcher.look_with(0, now)
            self.plan()

    @property
    def cameras(self) -> int:
        """How many there are."""
        return 1 + len(self._lent)

    def apply(self, event: Event) -> None:
        """Lets `event` happen; everyone here is told of it."""
        self._engine.apply(event)

    async def preview(self) -> bytes | None:
        """The last frame as JPEG; None before the first."""
        return await self._engine.preview()

    def introduce(self) -> None:
        """Tells everyone who is here, with the next frame: once, however many come and go meanwhile."""
        self._people_changed = True

    def plan(self) -> None:
        """Decides what to encode for those who watch now."""
        demand = plan_streams(self.watchers)
        if demand != self._demand:
            self._demand = demand
            self._engine.demand(demand)

    def stop(self) -> None:
        """Ends the world."""
        self._stopped = True
        self._engine.stop()

    def wait(self, seconds: float) -> None:
        """Waits for its end."""
        self._engine.wait(seconds)

    def tell_all(self, news: News) -> None:
        """Everyone here reads it."""
        for watcher in self.watchers:
            watcher.say(news)

    def _hear(self, report: Report | News) -> None:
        if self._stopped:
            return
        match report:
            case Batch():
                self._publish(report)
            case Happened():
                self.tell_all(News("event", describe(report.event)))
            case Refused():
                self.tell_all(News("event", f"That cannot happen here: {report.reason}"))
            case Replaying():
                self.tell_all(News("replaying", f"Bringing the world back to where it was: {100 * report.share:.0f} %"))
            case News():
                for watcher in self.watchers:
                    watcher.lose()  # pictures that need one which was never finished are of no use
                self.tell_all(report)
            case Failed():
                self._fail(report.reason)

    def _publish(self, batch: Batch) -> None:
        if batch.view:
            self._hand_out(batch, time.monotonic())
            return
        self._notice_quality(batch)
        self.tick, self.late, self.quality = batch.tick, batch.late, batch.quality
        self.frames += 1
        if self._made is not None:
            self._made(batch.frame_id, batch.ready)
        now = time.monotonic()
        show_heads(self.watchers, 1e3 * now)
        if self._people_changed:
            self._people_changed = False
            for watcher in self.watchers:
                watcher.show_people(list_people(watcher, self.watchers, self.host))
        self._hand_out(batch, now)
        self._mind_the_load(batch.busy, now)
        self.plan()

    def _hand_out(self, batch: Batch, now: float) -> None:
        for watcher in self.watchers:
            for stream, parcel in batch.parcels:
                watcher.offer(stream, parcel, now)
            if watcher.view == batch.view:
                watcher.adapt(now)

    def _notice_quality(self, batch: Batch) -> None:
        if self.quality is not None and batch.fallen != self.fallen:
            fell = batch.fallen > self.fallen
            why = "The machine has too little time" if fell else "There is time again"
            self.tell_all(News("quality", f"{why}: {describe_quality(batch.quality)}"))
        self.fallen = batch.fallen

    def _mind_the_load(self, busy: float, now: float) -> None:
        """Takes back the camera that was lent last when there is no time for it, before everyone's quality falls."""
        self.busy += LOAD_SHARE * (busy - self.busy)
        if busy <= 1.0 or not self._lent:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = now
        elif now - self._over_since > CAMERA_SECONDS:
            watcher = self._lent[max(self._lent)]
            self.take_camera(watcher, now)
            watcher.say(
                News("camera", "This machine has no time for your own camera any more: you look with the others")
            )
            self._over_since = None

    def _fail(self, reason: str) -> None:
        log.error("world failed", extra={"code": reason.partition(":")[0]})
        self.failure = reason
        for watcher in self.watchers:
            watcher.say(Failure("world", f"This world stopped. {reason}"))


def describe_quality(quality: Rung) -> str:
    """A subtitle for what is shown."""
    rate = "" if quality.every == 1 else f", one frame in {quality.every}"
    return f"{quality.width}×{quality.height} pixels, {quality.steps} evaluations{rate}".replace(
        "1 evaluations", "1 evaluation"
    )


def describe(event: Event) -> str:
    """A subtitle for what happened."""

    def number(name: str, default: float) -> float:
        return float(event.arguments.get(name, default) or 0.0)

    match event.action:
        case "rain":
            return "It begins to rain" if number("amount", 1.0) > 0 else "The rain ends"
        case "wind":
            return f"The wind blows with {number('speed', 0.0):.0f} m/s"
        case "splash":
            return "Something splashes"
        case "add":
            return f"A {event.arguments.get('kind')} appears"
        case "remove":
            return f"The {event.arguments.get('body')} disappears"
        case "do":
            return f"The {event.arguments.get('body')} begins to {event.arguments.get('verb')}"
        case "hour":
            return f"It becomes {number('hour', 14.0):.0f} o'clock"
        case "snow" | "fog" | "clouds":
            return "The weather turns"
        case _:
            body = event.arguments.get("body")
            return f"The {body.replace('_', ' ')} is pushed" if isinstance(body, str) else "Something is pushed"


class MisunderstoodError(ValueError):
    """A prompt that makes no world; `unknown` are its words that are not known, each with the nearest that is."""

    def __init__(self, message: str, unknown: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.unknown = unknown


class FullError(RuntimeError):
    """No room for another world."""


class Worlds:
    """All worlds of a server. `most` run at a time; one that nobody watches stays for `linger` seconds."""

    def __init__(self, make: Maker, *, most: int, linger: float, made: Made | None = None) -> None:
        self._most, self._linger, self._make, self._made = most, linger, make, made
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
        world = LiveWorld(blueprint, opened, self._make, made=self._made)
        self._worlds[blueprint] = world
        return world

    def sweep(self, now: float) -> None:
        """Frees what nobody has watched for a while."""
        for blueprint, world in list(self._worlds.items()):
            if blueprint != self._kept and not world.watchers and now - world.left_at > self._linger:
                self._drop(blueprint)

    def close(self) -> None:
        """Ends all worlds, and waits a little for their ends."""
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
