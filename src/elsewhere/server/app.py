"""The Starlette application: page, health, the world's card, tokens, and the WebSocket.

This file does not know how a world runs (`worlds`) nor what the bytes mean (`wire`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

import elsewhere
from elsewhere.live.frame import Controls
from elsewhere.live.options import Options
from elsewhere.scene.description import Event
from elsewhere.server.codecs import RUNGS, choose_codec
from elsewhere.server.gate import LOCAL_HOSTS, Bucket, Tokens, host_name, may_enter
from elsewhere.server.latency import Latency
from elsewhere.server.metrics import CONTENT_TYPE, Metric, write_metrics
from elsewhere.server.people import place_head, see_each_other
from elsewhere.server.replay import ReplayEngine
from elsewhere.server.runner import Running
from elsewhere.server.schema import (
    PROTOCOL,
    PROTOCOL_PREFIX,
    TOKEN_PROTOCOL,
    Acknowledge,
    AskClock,
    Block,
    Camera,
    Failure,
    Happen,
    Join,
    Key,
    Look,
    MessageError,
    News,
    Pose,
    Quality,
    Remove,
    Signal,
    Signalled,
    Steering,
    TellClock,
    Unknown,
    Voice,
    Welcome,
)
from elsewhere.server.schema import (
    Message as ClientMessage,
)
from elsewhere.server.supervisor import Patience, Supervisor
from elsewhere.server.watcher import Watcher
from elsewhere.server.wire import read_message
from elsewhere.server.worlds import (
    Blueprint,
    FullError,
    Hear,
    LiveWorld,
    Maker,
    MisunderstoodError,
    Opened,
    ThreadEngine,
    Worlds,
)

BAD_POLICY, BAD_DATA, TRY_LATER = 1008, 1003, 1013
OTHER_VERSION = 4002
"""A WebSocket is closed with this when the page and the server are of different versions."""
QUALITY_SECONDS = 1.0
"""How often a client is told what it is shown with, and what was lost."""

log = logging.getLogger("elsewhere.server")

Reader = Callable[[Blueprint], Opened]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one server, one address and one client may use."""

    worlds: int = 3
    clients: int = 64
    clients_per_address: int = 16
    first_word_seconds: float = 5.0
    unread_seconds: float = 20.0
    linger_seconds: float = 60.0
    messages_per_second: float = 200.0
    joins_per_second: float = 1.0
    joins_at_once: float = 6.0
    bad_messages: int = 8


class House:
    """What the routes share: the worlds, the people, the rules."""

    def __init__(self, first: Blueprint, reader: Reader, make: Maker, limits: Limits, local_only: bool) -> None:
        self.first = first
        self.limits = limits
        self.local_only = local_only
        self.tokens = Tokens()
        self.latency = Latency()
        self.refused = 0
        self.metrics_for_all = False
        self.worlds = Worlds(make, most=limits.worlds, linger=limits.linger_seconds, made=self.latency.made)
        self.worlds.keep(first)
        self.addresses: Counter[str] = Counter()
        self._reader = reader

    async def open(self, blueprint: Blueprint) -> LiveWorld:
        """The world of `blueprint`. ValueError when it cannot be understood, FullError when there is no room."""
        running = self.worlds.find(blueprint)
        if running is not None:
            return running
        opened = await asyncio.to_thread(self._reader, blueprint)
        return self.worlds.open(blueprint, opened)

    def refuse(self, websocket: WebSocket) -> str | None:
        """Why this handshake is turned away; None lets it in. A token is used up only by the last check."""
        headers = websocket.headers
        if not may_enter(headers.get("origin"), headers.get("host"), local_only=self.local_only):
            return "this address is for the page that the server itself sends"
        if sum(self.addresses.values()) >= self.limits.clients:
            return "the server is full"
        if self.addresses[_address(websocket)] >= self.limits.clients_per_address:
            return "too many connections from one address"
        offered = websocket.scope.get("subprotocols", [])
        if not any(name.startswith(PROTOCOL_PREFIX) for name in offered):
            return f"the client must offer the protocol {PROTOCOL}"
        token = next((name[len(TOKEN_PROTOCOL) :] for name in offered if name.startswith(TOKEN_PROTOCOL)), "")
        if not self.tokens.redeem(token, time.time()):
            return "the token is missing, used or too old; reload the page"
        return None


class Visit:
    """One client from hello to goodbye."""

    def __init__(self, house: House, websocket: WebSocket) -> None:
        now = time.monotonic()
        self._house, self._websocket = house, websocket
        self._watcher = Watcher(now, fps=house.first.options.fps)
        self._world: LiveWorld | None = None
        self._steering: bool | None = None
        self._messages = Bucket(house.limits.messages_per_second, 2 * house.limits.messages_per_second)
        self._joins = Bucket(house.limits.joins_per_second, house.limits.joins_at_once)
        self._happenings = Bucket(house.limits.joins_per_second, house.limits.joins_at_once)
        self._bad = 0
        self._quality_at = now

    @property
    def number(self) -> int:
        """Who this is, for logs and for others."""
        return self._watcher.number

    async def run(self) -> None:
        """Serves the client until it goes, breaks a rule or stops reading."""
        endings: list[tuple[int, str]] = []
        try:
            async with anyio.create_task_group() as group:

                async def until_over(job: Callable[[], Awaitable[tuple[int, str]]]) -> None:
                    endings.append(await job())
                    group.cancel_scope.cancel()

                for job in (self._listen, self._speak, self._watch_over):
                    group.start_soon(until_over, job)
            await self._farewell(*endings[0])
        finally:
            if self._world is not None:
                self._world.leave(self._watcher)

    async def _listen(self) -> tuple[int, str]:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return 1000, ""
            now = time.monotonic()
            self._watcher.heard_at = now
            if not self._messages.take(now):
                return BAD_POLICY, "too many messages"
            try:
                if message.get("text") is None:
                    raise MessageError("a message must be text")
                await self._answer(read_message(message["text"]), now)
            except MessageError as error:
                self._bad += 1
                self._watcher.say(Failure("message", str(error)))
                if self._bad >= self._house.limits.bad_messages:
                    return BAD_DATA, "too many messages that say nothing"

    async def _answer(self, message: ClientMessage, now: float) -> None:
        watcher, world = self._watcher, self._world
        match message:
            case Join():
                await self._join(message, now)
            case Acknowledge():
                self._note(message)
                watcher.acknowledge(message.frame, now)
            case AskClock():
                watcher.say(TellClock(message.client, 1e3 * now, world.tick if world is not None else 0))
            case Key():
                if message.codecs:
                    watcher.choose(choose_codec(message.codecs), now)
                watcher.lose()
            case Pose():
                place_head(watcher, message)
            case Block():
                self._block(message)
            case Remove():
                self._remove(message)
            case Happen():
                self._happen(message, now)
            case Look():
                if world is not None and world.steers(watcher, now):
                    look = Controls(yaw=message.yaw, pitch=message.pitch, offset=message.offset, across=message.across)
                    world.look(look, message.tick, watcher.view)
            case Camera():
                self._lend_camera(message, now)
            case Voice():
                watcher.voice = message.on
                if world is not None:
                    world.introduce()
            case Signal():
                self._signal(message)

    def _block(self, message: Block) -> None:
        if self._world is None or message.person == self._watcher.number:
            return
        if message.blocked and any(other.number == message.person for other in self._world.watchers):
            self._watcher.blocked.add(message.person)
        else:
            self._watcher.blocked.discard(message.person)
        self._world.introduce()

    def _remove(self, message: Remove) -> None:
        if self._world is None or self._world.host is not self._watcher:
            self._watcher.say(Failure("person", "Only the host of a world can show someone out"))
            return
        for other in self._world.watchers:
            if other.number == message.person and other is not self._watcher:
                other.removed = True

    def _lend_camera(self, message: Camera, now: float) -> None:
        world, watcher = self._world, self._watcher
        if world is None:
            return
        if not message.own:
            world.take_camera(watcher, now)
            watcher.say(News("camera", "You look with the others"))
        elif refused := world.lend_camera(watcher, now):
            watcher.say(News("camera", f"No camera of your own. {refused}"))
        else:
            watcher.say(News("camera", "You have a camera of your own"))
        self._steering = None

    def _signal(self, message: Signal) -> None:
        """Passes words on between two who both want to talk, and only in one world."""
        others = self._world.watchers if self._world is not None else []
        for other in others:
            if other.number == message.person and other is not self._watcher:
                if self._watcher.voice and other.voice and see_each_other(self._watcher, other):
                    other.say(Signalled(self._watcher.number, message.data))
                return

    def _happen(self, message: Happen, now: float) -> None:
        if self._world is None or self._watcher.watch_only:
            self._watcher.say(Failure("person", "Who only watches a world changes nothing in it"))
        elif not self._happenings.take(now):
            self._watcher.say(Failure("rate", "Too much at once. Wait a second"))
        else:
            # JSON knows one kind of number; a body's is a whole one.
            arguments = {name: _whole(value) for name, value in message.arguments.items()}
            self._world.apply(Event(tick=0, action=message.action, arguments={**arguments}))

    def _note(self, message: Acknowledge) -> None:
        timings = self._watcher.timings(message.frame)
        if timings is None or message.total == 0.0:
            return
        client = {"receive": message.receive, "unpack": message.decode, "draw": message.draw}
        stages = {name: value for name, value in timings.items() if name != "round_trip"} | client
        total = {"total": message.total, "sum_of_stages": sum(stages.values())}
        self._house.latency.add(stages | total)

    async def _join(self, message: Join, now: float) -> None:
        if not self._joins.take(now):
            self._watcher.say(Failure("rate", "That was fast. Wait a second, then ask again"))
            return
        try:
            blueprint = self._blueprint(message)
            world = await self._house.open(blueprint)
        except ValueError as error:
            unknown = tuple(Unknown(word, nearest) for word, nearest in getattr(error, "unknown", ()))
            self._watcher.say(Failure("prompt", str(error), unknown))
            return
        except FullError as error:
            self._watcher.say(Failure("full", str(error)))
            return
        if self._world is not None:
            self._world.leave(self._watcher)
        self._watcher.forget()
        self._watcher.name = " ".join(message.name.split())
        self._watcher.watch_only = message.watch_only
        self._watcher.view = 0
        self._watcher.choose(choose_codec(message.codecs), now)
        self._world, self._steering = world, None
        self._introduce(world)  # before words of the people there, so that a client knows where they are
        world.enter(self._watcher)

    def _blueprint(self, message: Join) -> Blueprint:
        first = self._house.first
        options = replace(
            first.options,
            seed=first.options.seed if message.seed is None else message.seed,
            mode=first.options.mode if message.mode is None else message.mode,
        )
        prompt = first.prompt if message.prompt is None else " ".join(message.prompt.split())
        return Blueprint(prompt=prompt, options=options)

    def _introduce(self, world: LiveWorld) -> None:
        options = world.blueprint.options
        self._watcher.say(
            Welcome(
                prompt=world.blueprint.prompt,
                seed=str(options.seed),
                mode=options.mode,
                width=options.width,
                height=options.height,
                fps=options.fps,
                pace=world.opened.pace,
                unknown=tuple(Unknown(word, nearest) for word, nearest in world.opened.unknown),
                notes=tuple(world.opened.notes),
                codec=self._watcher.stream.codec,
                you=self._watcher.number,
                host=world.host is None and not self._watcher.watch_only,
                lens=world.opened.lens,
            )
        )

    async def _speak(self) -> tuple[int, str]:
        while True:
            await self._watcher.ready()
            item = self._watcher.take(time.monotonic())
            try:
                if isinstance(item, str):
                    await self._websocket.send_text(item)
                elif item is not None:
                    await self._websocket.send_bytes(item)
            except (WebSocketDisconnect, RuntimeError, OSError):
                return 1000, ""

    async def _watch_over(self) -> tuple[int, str]:
        limits = self._house.limits
        start = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if self._world is None and self._joins_never(now - start):
                return BAD_POLICY, "nothing was asked for"
            if self._watcher.removed:
                return BAD_POLICY, "the host of this world has shown you out"
            if self._watcher.silent_for(now) > limits.unread_seconds:
                return BAD_POLICY, "frames are not being read"
            self._tell_steering(now)
            self._tell_quality(now)

    def _joins_never(self, elapsed: float) -> bool:
        return elapsed > self._house.limits.first_word_seconds and self._watcher.heard_at <= self._watcher.born_at

    def _tell_quality(self, now: float) -> None:
        if self._world is None or now - self._quality_at < QUALITY_SECONDS:
            return
        options, watcher = self._world.blueprint.options, self._watcher
        quality = self._world.quality
        if quality is None:
            return
        self._quality_at = now
        watcher.say(
            Quality(
                steps=quality.steps,
                width=quality.width,
                height=quality.height,
                fps=options.fps / quality.every,
                kilobits=RUNGS[watcher.stream.rung] // 1000,
                late=self._world.late,
                skipped=watcher.skipped,
                fallen=self._world.fallen,
            )
        )

    def _tell_steering(self, now: float) -> None:
        if self._world is None:
            return
        steering = self._world.steers(self._watcher, now)
        if steering != self._steering:
            self._steering = steering
            self._watcher.say(Steering(steering, len(self._world.watchers)))

    async def _farewell(self, code: int, reason: str) -> None:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            return
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        with suppress(RuntimeError, OSError), anyio.move_on_after(1.0):  # it may have gone, or not read at all
            await self._websocket.close(code, reason)


def _whole(value: float | str) -> float | int | str:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Guard:
    """Answers only those who address us by a name we have, and tells browsers to be strict with the page."""

    def __init__(self, app: ASGIApp, local_only: bool) -> None:
        self._app, self._local_only = app, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._local_only and not may_enter(None, Request(scope).headers.get("host"), local_only=True):
            name = host_name(Request(scope).headers.get("host"))
            answer = PlainTextResponse(f"This server answers to localhost, not to {name[:80]!r}.\n", 421)
            await answer(scope, receive, send)
            return

        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_STRICT)
            await send(message)

        await self._app(scope, receive, send_strictly)


_STRICT = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def create_app(
    prompt: str,
    options: Options | None = None,
    *,
    limits: Limits | None = None,
    local_only: bool = True,
    reader: Reader | None = None,
    bars: bool = False,
    metrics_for_all: bool = False,
    patience: Patience | None = None,
    recording: Path | None = None,
) -> Starlette:
    """The application that shows `prompt` to who comes, and other worlds to who asks.

    Worlds run in a worker process, which is brought back when it dies or does not answer for as long as `patience`
    says. With `recording`, its frames are what everyone sees, and `prompt` is its title. `reader` turns a blueprint
    into something that makes frames in this process; tests give their own. With `local_only` it answers
    only to the names of this machine. `bars` paints each frame's id into its first rows, to measure latency.
    /metrics answers to this machine only, unless `metrics_for_all`.
    """
    first = Blueprint(prompt=prompt, options=options or Options())
    supervisor = Supervisor(bars=bars, patience=patience)

    def in_thread(blueprint: Blueprint, opened: Opened, hear: Hear) -> ThreadEngine:
        return ThreadEngine(blueprint, opened, hear, bars=bars)

    def on_tape(blueprint: Blueprint, opened: Opened, hear: Hear) -> ReplayEngine:
        assert recording is not None
        return ReplayEngine(recording, hear)

    def read_tape(blueprint: Blueprint) -> Opened:
        if blueprint != first:
            raise MisunderstoodError("This server shows a recording; there is no other world here", ())
        return Opened(_no_session, notes=("A recording: it goes as it went, whoever looks around",))

    make: Maker = on_tape if recording else in_thread if reader else supervisor.make
    house = House(first, read_tape if recording else reader or read_world, make, limits or Limits(), local_only)
    house.metrics_for_all = metrics_for_all

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await house.open(first)
        sweeping = asyncio.create_task(_sweep(house))
        yield
        sweeping.cancel()
        house.worlds.close()
        supervisor.close()

    app = Starlette(
        routes=[
            Route("/healthz", _health),
            Route("/.well-known/world.json", _card),
            Route("/preview.jpg", _preview),
            Route("/metrics", _metrics),
            Route("/token", _token, methods=["POST"]),
            WebSocketRoute("/live", _live),
            Mount("/", StaticFiles(packages=[("elsewhere", "page")], html=True)),
        ],
        middleware=[Middleware(Guard, local_only=local_only)],
        lifespan=lifespan,
    )
    app.state.house = house
    app.state.supervisor = supervisor
    return app


def _no_session() -> Running:
    raise RuntimeError("a recording is not simulated")


def read_world(blueprint: Blueprint) -> Opened:
    """A blueprint as a real session, opened later in the world's own thread. MisunderstoodError when none is."""
    from elsewhere.live.film import read_prompt, unknown_words
    from elsewhere.live.session import Session
    from elsewhere.scene.shots import camera_at, subject

    options = blueprint.options
    try:
        parsed = read_prompt(blueprint.prompt, options.seed)
    except ValueError as error:
        raise MisunderstoodError(str(error), unknown_words(blueprint.prompt)) from None
    notes = tuple(str(note) for note in parsed.notes)
    camera = camera_at(parsed.scene, 0.0, options.width, options.height)
    return Opened(
        lambda: Session(parsed.scene, options),
        subject(parsed.scene)[1],
        camera.focal / options.width,
        tuple(parsed.unknown),
        notes,
    )


async def _sweep(house: House) -> None:
    while True:
        await asyncio.sleep(5.0)
        house.worlds.sweep(time.monotonic())


async def _health(request: Request) -> Response:
    house: House = request.app.state.house
    people = sum(house.addresses.values())
    return JSONResponse(
        {"status": "ok", "version": elsewhere.__version__, "worlds": len(house.worlds), "people": people}
    )


async def _card(request: Request) -> Response:
    house: House = request.app.state.house
    world = house.worlds.find(house.first)
    return JSONResponse(
        {
            "title": house.first.prompt,
            "preview": "/preview.jpg",
            "people": len(world.watchers) if world else 0,
            "access": "local" if house.local_only else "open",
            "protocol": PROTOCOL,
            "software": f"elsewhere {elsewhere.__version__}",
        }
    )


async def _preview(request: Request) -> Response:
    house: House = request.app.state.house
    world = house.worlds.find(house.first)
    picture = await world.preview() if world is not None else None
    if picture is None:
        return PlainTextResponse("The world has no picture yet. Ask again in a moment.\n", 503, {"retry-after": "2"})
    return Response(picture, media_type="image/jpeg")


async def _metrics(request: Request) -> Response:
    house: House = request.app.state.house
    local = request.client is None or request.client.host in LOCAL_HOSTS
    if not (house.metrics_for_all or (local and host_name(request.headers.get("host")) in LOCAL_HOSTS)):
        return PlainTextResponse("Metrics are for this machine.\n", 403)
    worlds = house.worlds.running
    watchers = [watcher for world in worlds for watcher in world.watchers]
    one: tuple[tuple[str, str], ...] = ()
    latency: dict[tuple[tuple[str, str], ...], float] = {
        (("stage", stage), ("quantile", f"0.{rank[1:]}")): value
        for stage, row in house.latency.table().items()
        for rank, value in row.items()
    }
    families = [
        Metric("elsewhere_people", "gauge", "Open connections", {one: sum(house.addresses.values())}),
        Metric("elsewhere_worlds", "gauge", "Running worlds", {one: len(worlds)}),
        Metric("elsewhere_frames", "gauge", "Frames of running worlds", {one: sum(w.frames for w in worlds)}),
        Metric("elsewhere_frames_late", "gauge", "Frames left out for time", {one: sum(w.late for w in worlds)}),
        Metric("elsewhere_frames_skipped", "gauge", "Frames not sent", {one: sum(w.skipped for w in watchers)}),
        Metric("elsewhere_refused_total", "counter", "Handshakes turned away", {one: house.refused}),
        Metric("elsewhere_latency_milliseconds", "gauge", "Stages of a frame, as clients measure them", latency),
    ]
    return Response(write_metrics(families), media_type=CONTENT_TYPE)


async def _token(request: Request) -> Response:
    house: House = request.app.state.house
    headers = request.headers
    if not may_enter(headers.get("origin"), headers.get("host"), local_only=house.local_only):
        return PlainTextResponse("Tokens are for the page that this server sends.\n", 403)
    return JSONResponse({"token": house.tokens.issue(time.time()), "protocol": PROTOCOL})


async def _live(websocket: WebSocket) -> None:
    house: House = websocket.app.state.house
    reason = house.refuse(websocket)
    if reason is not None:
        house.refused += 1
        log.info("refused", extra={"reason": reason})
        await websocket.close(BAD_POLICY, reason)
        return
    offered = next(n for n in websocket.scope["subprotocols"] if n.startswith(PROTOCOL_PREFIX))
    if PROTOCOL not in websocket.scope["subprotocols"]:
        # A browser learns the reason only from a connection that was opened.
        await websocket.accept(subprotocol=offered)
        said = f"this server speaks {PROTOCOL}, the page {offered[:40]}; reload the page"
        await websocket.close(OTHER_VERSION, said)
        return
    address = _address(websocket)
    house.addresses[address] += 1
    visit = Visit(house, websocket)
    try:
        await websocket.accept(subprotocol=PROTOCOL)
        log.info("entered", extra={"person": visit.number})
        await visit.run()
    finally:
        log.info("left", extra={"person": visit.number})
        house.addresses[address] -= 1
        house.addresses += Counter()  # forget those who have none


def _address(websocket: WebSocket) -> str:
    return websocket.client.host if websocket.client else "unknown"
