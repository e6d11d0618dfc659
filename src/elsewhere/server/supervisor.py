"""Looks after the process that makes frames: when it dies or says nothing, another one goes on from the same tick.

Everything that a world needs to be the same again is kept here: its blueprint, what happened in it and when, the last
controls, and how far it had come. It does not know who watches.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import elsewhere
from elsewhere.live.frame import Controls
from elsewhere.scene.description import Event
from elsewhere.server.channel import pack, read, read_report, write_demand
from elsewhere.server.runner import Batch, Failed, Happened, Refused, Report
from elsewhere.server.schema import News
from elsewhere.server.watcher import Stream
from elsewhere.server.worlds import Blueprint, Hear, Opened

log = logging.getLogger("elsewhere.server")

WATCH_SECONDS = 0.25
SILENCE_SECONDS = 3.0
"""A worker that says nothing for so long is taken for stuck. It beats four times a second from a thread of its own."""
RESTARTS_MOST, RESTARTS_SECONDS = 3, 60.0
"""More deaths than this within the time, and its worlds are given up: one of them kills it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """When a worker is given up, in seconds."""

    silence: float = SILENCE_SECONDS
    restarts: int = RESTARTS_MOST
    within: float = RESTARTS_SECONDS


class RemoteEngine:
    """One world in the worker, and all that is needed to have it again."""

    def __init__(self, supervisor: Supervisor, number: int, blueprint: Blueprint, hear: Hear) -> None:
        self.number, self.hear = number, hear
        self._supervisor, self._blueprint = supervisor, blueprint
        self._next = 0
        self._events: list[Event] = []
        self._waiting: list[Event] = []
        self._controls: dict[int, Controls] = {}
        self._streams: dict[Stream, bool] = {}
        self._watched = False
        self._previews: list[asyncio.Future[bytes | None]] = []

    def open(self) -> None:
        """Tells the worker to run this world from where it stood."""
        self._say(
            "open",
            prompt=self._blueprint.prompt,
            options=asdict(self._blueprint.options),
            frame=self._next,
            events=[asdict(event) for event in self._events],
        )
        for view, controls in self._controls.items():
            self._say("look", controls=asdict(controls), tick=0, view=view)
        self._say("demand", streams=write_demand(self._streams))
        self._say("watch", watched=self._watched)
        for event in self._waiting:
            self._say("apply", event=asdict(event))

    def take(self, report: Report) -> None:
        """What the worker says of this world."""
        match report:
            case Batch():
                self._next = report.frame_id + 1
            case Happened():
                self._events.append(report.event)
                self._waiting[:1] = []
            case Refused():
                self._waiting[:1] = []
            case Failed():
                self._supervisor.forget(self)
        self.hear(report)

    def take_preview(self, picture: bytes) -> None:
        """The answer to `preview`."""
        waiting, self._previews = self._previews, []
        for future in waiting:
            if not future.done():
                future.set_result(picture or None)

    def demand(self, streams: Mapping[Stream, bool]) -> None:
        """What to encode from the next frame on."""
        self._streams = dict(streams)
        views = {0, *(stream.view for stream in streams)}
        self._controls = {view: controls for view, controls in self._controls.items() if view in views}
        self._say("demand", streams=write_demand(streams))

    def watch(self, watched: bool) -> None:
        """Whether time goes on."""
        self._watched = watched
        self._say("watch", watched=watched)

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None:
        """`controls` of camera `view` hold from `tick` on."""
        self._controls[view] = controls
        self._say("look", controls=asdict(controls), tick=tick, view=view)

    def apply(self, event: Event) -> None:
        """Lets `event` happen."""
        self._waiting.append(event)
        self._say("apply", event=asdict(event))

    async def preview(self) -> bytes | None:
        """The last frame as JPEG; None before the first, or while there is nobody to ask."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._previews.append(future)
        self._say("preview")
        try:
            return await asyncio.wait_for(future, 2.0)
        except TimeoutError:
            return None

    def stop(self) -> None:
        """Ends the world."""
        self._supervisor.forget(self)
        self._say("close")

    def wait(self, seconds: float) -> None:
        """Nothing to wait for: the worker ends with its supervisor."""

    def _say(self, kind: str, **fields: Any) -> None:
        self._supervisor.send({"type": kind, "world": self.number, **fields})


class Supervisor:
    """One worker process at a time, made when the first world is. Methods are for the event loop's thread."""

    def __init__(self, *, bars: bool = False, patience: Patience | None = None) -> None:
        self._bars, self._patience = bars, patience or Patience()
        self._worlds: dict[int, RemoteEngine] = {}
        self._opened = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._outbox: list[bytes] = []
        self._heard_at = 0.0
        self._deaths: deque[float] = deque()

    @property
    def process_id(self) -> int | None:
        """Of the worker; None when there is none."""
        return None if self._process is None else self._process.pid

    def make(self, blueprint: Blueprint, opened: Opened, hear: Hear) -> RemoteEngine:
        """A world that runs in the worker."""
        if self._process is None:
            self._spawn()
        self._opened += 1
        world = self._worlds[self._opened] = RemoteEngine(self, self._opened, blueprint, hear)
        world.open()
        return world

    def forget(self, world: RemoteEngine) -> None:
        """`world` is over: it is not brought back."""
        self._worlds.pop(world.number, None)

    def send(self, head: dict[str, Any]) -> None:
        """One message to the worker, if there is one."""
        message = pack(head)
        if self._writer is not None:
            self._writer.write(message)
        else:
            self._outbox.append(message)

    def close(self) -> None:
        """Ends the worker, whatever it is doing."""
        self._worlds.clear()
        self._end()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "elsewhere.server.worker", str(theirs.fileno())]
        root = str(Path(elsewhere.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            # Its own session: Ctrl-C at the terminal is for the door, which ends the worker itself.
            self._process = subprocess.Popen(
                command + ["--bars"] * self._bars,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        finally:
            theirs.close()
        self._outbox.clear()
        self._heard_at = float("inf")  # nothing is expected before its first word, but its death is noticed
        self._tasks = [asyncio.create_task(self._listen(ours)), asyncio.create_task(self._watch_over())]

    async def _listen(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._writer = writer
        writer.writelines(self._outbox)
        self._outbox.clear()
        while (message := await read(reader)) is not None:
            self._heard_at = time.monotonic()
            self._take(*message)

    def _take(self, head: dict[str, Any], body: bytes) -> None:
        if head["type"] == "beat":
            return
        world = self._worlds.get(head["world"])
        if world is None:
            return
        if head["type"] == "preview":
            world.take_preview(body)
        else:
            world.take(read_report(head, body))

    async def _watch_over(self) -> None:
        woken = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            if now - woken > 4 * WATCH_SECONDS:
                # It was us who slept (a suspended machine, a stopped process): what was said meanwhile is unread.
                self._heard_at = max(self._heard_at, now)
            woken = now
            process = self._process
            assert process is not None
            if process.poll() is not None:
                log.error("worker died", extra={"code": process.returncode})
                self._restart("The process that makes this world was killed", now)
                return
            if now - self._heard_at > self._patience.silence:
                log.error("worker is silent")
                self._restart(
                    f"The process that makes this world has not answered for {self._patience.silence:.0f} s", now
                )
                return

    def _restart(self, why: str, now: float) -> None:
        self._deaths.append(now)
        while self._deaths[0] < now - self._patience.within:
            self._deaths.popleft()
        self._end(me=asyncio.current_task())
        worlds = list(self._worlds.values())
        if len(self._deaths) > self._patience.restarts:
            self._deaths.clear()
            for world in worlds:
                world.take(Failed(f"{why}, {self._patience.restarts + 1} times in a row"))
            return
        if not worlds:
            return
        self._spawn()
        for world in worlds:
            world.hear(News("restarting", f"{why}. Another one takes over; the world comes back as it was"))
            world.open()

    def _end(self, me: asyncio.Task[None] | None = None) -> None:
        for task in self._tasks:
            if task is not me:
                task.cancel()
        self._tasks = []
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is not None:
            self._process.kill()  # also ends one that was stopped
            self._process.wait()
            self._process = None
