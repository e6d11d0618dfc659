"""Own cameras while there is time for them, words that browsers pass on, and what everyone is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession

from elsewhere.live import Controls, Options
from elsewhere.live.ladder import Rung
from elsewhere.scene.description import Event
from elsewhere.server.app import PROTOCOL
from elsewhere.server.runner import Batch, Happened
from elsewhere.server.schema import News
from elsewhere.server.watcher import Stream, Watcher
from elsewhere.server.wire import unpack_frame
from elsewhere.server.worlds import Blueprint, Hear, LiveWorld, Opened

BASE, LIVE = "http://127.0.0.1:8000", "ws://127.0.0.1:8000/live"
FULL = Rung(steps=1, width=64, height=64)


class Idle:
    """An engine that makes nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.streams: dict[Stream, bool] = {}
        self.looks: list[int] = []
        self.events: list[Event] = []

    def demand(self, streams: Mapping[Stream, bool]) -> None:
        self.streams = dict(streams)

    def watch(self, watched: bool) -> None: ...

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None:
        self.looks.append(view)

    def apply(self, event: Event) -> None:
        self.events.append(event)

    async def preview(self) -> bytes | None:
        return None

    def stop(self) -> None: ...

    def wait(self, seconds: float) -> None: ...


class Lent:
    """A world whose load is said and not measured."""

    def __init__(self) -> None:
        self.engine = Idle()
        self.hear: Hear = lambda report: None

        def make(blueprint: Blueprint, opened: Opened, hear: Hear) -> Idle:
            self.hear = hear
            return self.engine

        options = Options(mode="calculated", width=64, height=64)
        self.world = LiveWorld(Blueprint(prompt="x", options=options), Opened(lambda: None), make)  # type: ignore[arg-type,return-value]
        self.frame = 0

    def run(self, busy: float, frames: int = 100, fallen: int = 0) -> None:
        for _ in range(frames):
            self.frame += 1
            quality = FULL if fallen == 0 else Rung(steps=1, width=64, height=64, every=2)
            self.hear(
                Batch(
                    frame_id=self.frame,
                    tick=10 * self.frame,
                    ready=0.0,
                    late=0,
                    quality=quality,
                    fallen=fallen,
                    busy=busy,
                    parcels=(),
                )
            )

    def enter(self) -> Watcher:
        watcher = Watcher(0.0)
        watcher.choose("h264", 0.0)
        self.world.enter(watcher)
        return watcher


def said(watcher: Watcher, kind: str) -> list[dict[str, Any]]:
    words = []
    while (item := watcher.take(0.0)) is not None:
        if isinstance(item, str):
            words.append(json.loads(item))
    return [word for word in words if word["type"] == kind]


def in_loop(scenario: Callable[[], None]) -> None:
    async def run() -> None:
        scenario()

    asyncio.run(run())


def test_cameras_are_lent_until_there_is_no_time_for_another() -> None:
    def scenario() -> None:
        lent = Lent()
        people = [lent.enter() for _ in range(4)]
        assert "busy" in lent.world.lend_camera(people[1], 0.0)  # nothing was measured yet
        lent.run(0.2)
        assert lent.world.lend_camera(people[1], 0.0) == ""
        lent.run(0.4)
        assert lent.world.lend_camera(people[2], 0.0) == ""
        # 60 % with three cameras: a fourth would make it 80 %.
        lent.run(0.6)
        assert "75 % is the most" in lent.world.lend_camera(people[3], 0.0)
        assert {stream.view for stream in lent.engine.streams} == {0, 1, 2}
        lent.world.take_camera(people[1], 0.0)
        lent.run(0.4)
        assert lent.world.lend_camera(people[3], 0.0) == ""
        assert people[3].view == 3
        assert lent.world.steers(people[3], 0.0)
        assert not lent.world.steers(people[1], 0.0)

    in_loop(scenario)


def test_two_who_ask_at_once_are_not_let_in_on_the_same_room() -> None:
    def scenario() -> None:
        lent = Lent()
        one, two = lent.enter(), lent.enter()
        lent.run(0.3)
        assert lent.world.lend_camera(one, 0.0) == ""
        assert lent.world.lend_camera(two, 0.0) != ""

    in_loop(scenario)


def test_the_last_camera_is_taken_back_before_all_suffer(monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario() -> None:
        lent = Lent()
        one, two = lent.enter(), lent.enter()
        lent.run(0.1)
        assert lent.world.lend_camera(one, 0.0) == ""
        assert lent.world.lend_camera(two, 0.0) == ""
        clock = 100.0
        monkeypatch.setattr("elsewhere.server.worlds.time.monotonic", lambda: clock)
        lent.run(1.2, frames=1)
        clock += 0.31
        lent.run(1.2, frames=1)
        assert (one.view, two.view) == (1, 0)
        assert "no time for your own camera" in said(two, "news")[-1]["message"]
        assert lent.world.cameras == 2

    in_loop(scenario)


def test_a_step_of_quality_and_an_event_are_told_to_all() -> None:
    def scenario() -> None:
        lent = Lent()
        people = [lent.enter() for _ in range(2)]
        lent.run(0.5)
        lent.run(1.5, frames=1, fallen=3)
        lent.run(0.5, frames=1)
        lent.hear(Happened(Event(tick=5, action="rain", arguments={"amount": 1})))
        lent.hear(News("restarting", "gone"))
        for person in people:
            told = [(word["what"], word["message"]) for word in said(person, "news")]
            assert told == [
                ("quality", "The machine has too little time: 64×64 pixels, 1 evaluation, one frame in 2"),
                ("quality", "There is time again: 64×64 pixels, 1 evaluation"),
                ("event", "It begins to rain"),
                ("restarting", "gone"),
            ]

    in_loop(scenario)


def enter(client: TestClient) -> WebSocketTestSession:
    token = client.post("/token").json()["token"]
    return client.websocket_connect(LIVE, subprotocols=[PROTOCOL, f"token.{token}"])


def hear(socket: WebSocketTestSession, kind: str) -> list[dict[str, Any]]:
    """All words up to the next of `kind`, which is the last of them; frames in between are acknowledged."""
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["type"] != kind:
        message = socket.receive()
        if message.get("bytes") is not None:
            socket.send_json({"type": "ack", "frame": unpack_frame(message["bytes"])[0].frame_id})
        else:
            heard.append(json.loads(message["text"]))
    return heard


def settle(*sockets: WebSocketTestSession) -> list[list[dict[str, Any]]]:
    """Waits until the server has read all that each has sent; what each heard meanwhile."""
    for socket in sockets:
        socket.send_json({"type": "clock", "client": 0})
    return [hear(socket, "clock") for socket in sockets]


def test_signals_reach_only_who_talks_in_the_same_world_and_is_not_blocked(
    make_app: Callable[..., Starlette],
) -> None:
    with (
        TestClient(make_app(fps=20), base_url=BASE) as client,
        enter(client) as one,
        enter(client) as two,
        enter(client) as far,
    ):
        numbers = []
        for socket, prompt in ((one, "a shared world"), (two, "a shared world"), (far, "another one")):
            socket.send_json({"type": "join", "prompt": prompt})
            numbers.append(hear(socket, "world")[-1]["you"])
            socket.send_json({"type": "voice", "on": True})
        settle(one, two, far)

        def heard_by_two(data: str) -> list[str]:
            one.send_json({"type": "signal", "person": numbers[1], "data": data})
            settle(one)
            return [word["data"] for word in settle(two)[0] if word["type"] == "signalled"]

        one.send_json({"type": "signal", "person": numbers[2], "data": "to another world"})
        assert heard_by_two("hello") == ["hello"]
        two.send_json({"type": "block", "person": numbers[0]})
        settle(two)
        assert heard_by_two("blocked") == []
        two.send_json({"type": "block", "person": numbers[0], "blocked": False})
        two.send_json({"type": "voice", "on": False})
        settle(two)
        assert heard_by_two("silent") == []
        one.send_json({"type": "signal", "person": numbers[1], "data": "x" * 20_000})
        assert "at most 16384 bytes" in hear(one, "error")[-1]["message"]
        assert all(word["type"] != "signalled" for word in settle(far)[0])
