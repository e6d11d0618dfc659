"""A worker that is killed or stopped in mid-frame: people are told, and are back in the same world."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from elsewhere.live import Options, Session
from elsewhere.live.film import read_prompt
from elsewhere.scene.description import Event
from elsewhere.server.app import PROTOCOL, create_app
from elsewhere.server.channel import ChannelError, Line, pack, read_report, write_report
from elsewhere.server.measure import served
from elsewhere.server.runner import Failed, Happened
from elsewhere.server.supervisor import Patience
from elsewhere.server.wire import Header, unpack_frame

PROMPT = "a red rubber duck drifting in a bathtub"
OPTIONS = Options(mode="calculated", width=64, height=64, seed=3)


class Guest:
    """A client that remembers what it saw."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Header] = []
        self.arrived: list[float] = []
        self.news: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []

    async def until(self, happens: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not happens():
            message = await asyncio.wait_for(self.connection.recv(), deadline - time.monotonic())
            if isinstance(message, bytes):
                self.frames.append(unpack_frame(message)[0])
                self.arrived.append(time.monotonic())
                await self.say(type="ack", frame=self.frames[-1].frame_id)
                continue
            words = json.loads(message)
            {"news": self.news, "error": self.errors}.get(words["type"], []).append(words)

    async def say(self, **words: object) -> None:
        await self.connection.send(json.dumps(words))


async def enter(address: str) -> Guest:
    def ask() -> str:
        with urllib.request.urlopen(urllib.request.Request(f"{address}token", method="POST")) as answer:
            return str(json.load(answer)["token"])

    token = await asyncio.to_thread(ask)
    url = address.replace("http", "ws") + "live"
    guest = Guest(await connect(url, subprotocols=[PROTOCOL, f"token.{token}"], compression=None))  # type: ignore[list-item]
    await guest.say(type="join", codecs=["h264"], name="Ada")
    return guest


async def suffer(app: Starlette, guest: Guest, blow: int) -> float:
    """Lets the worker suffer signal `blow` in mid-frame; seconds until a frame came from the next one."""
    before, said = len(guest.frames), len(guest.news)
    await guest.until(lambda: len(guest.frames) > before + 20)
    worker = app.state.supervisor.process_id
    struck = time.monotonic()
    os.kill(worker, blow)
    await guest.until(lambda: any(news["what"] == "restarting" for news in guest.news[said:]))
    count = len(guest.frames)
    await guest.until(lambda: len(guest.frames) > count)
    assert app.state.supervisor.process_id != worker
    return guest.arrived[count] - struck


def test_a_worker_that_is_struck_down_is_told_and_the_world_goes_on() -> None:
    app = create_app(PROMPT, OPTIONS, patience=Patience(silence=2.0))

    async def scenario(address: str) -> None:
        guest = await enter(address)
        await guest.say(type="look", yaw=0.25)
        await guest.say(type="happen", action="push", arguments={"body": 0, "y": 0.5})
        await guest.until(lambda: guest.news)
        assert guest.news[0] == {"type": "news", "what": "event", "message": "Something is pushed"}
        await guest.until(lambda: len(guest.frames) > 10)
        for blow in (signal.SIGKILL, signal.SIGSTOP):
            last = guest.frames[-1]
            assert await suffer(app, guest, blow) < 30.0
            after = guest.frames[-1]
            assert after.key  # a decoder can begin with it
            assert after.encoder != last.encoder
            assert after.tick - last.tick < 24 * 10 * 4  # time stood still meanwhile
            assert after.c2w[0, 2] == pytest.approx(last.c2w[0, 2], abs=0.02)  # it still looks to the left
        assert len({frame.world_id for frame in guest.frames}) == 1
        assert all(a.tick < b.tick for a, b in pairwise(guest.frames))
        assert guest.errors == []
        await guest.connection.close()

    with served(app) as address:
        asyncio.run(scenario(address))


def test_a_world_that_is_taken_up_again_is_the_same_to_the_bit() -> None:
    scene = read_prompt(PROMPT, 3).scene
    one, other = Session(scene, OPTIONS), Session(scene, OPTIONS)
    for _ in range(30):
        one.frame()
    event = one.apply(Event(tick=0, action="splash", arguments={"x": 0.1, "z": 0.0, "height": 0.05}))
    for _ in range(20):
        expected = one.frame()
    shares: list[float] = []
    other.resume(expected.frame_id, (event,), shares.append)
    found = other.frame()
    assert found.tick == expected.tick
    assert (found.depth == expected.depth).all()
    assert (found.rgb == expected.rgb).all()
    assert shares == sorted(shares)
    assert shares


def test_a_worker_that_dies_again_and_again_is_given_up() -> None:
    app = create_app(PROMPT, OPTIONS, patience=Patience(silence=2.0, restarts=1))

    async def scenario(address: str) -> None:
        guest = await enter(address)
        for _ in range(2):
            os.kill(app.state.supervisor.process_id, signal.SIGKILL)
            await guest.until(lambda: guest.news or guest.errors)
            guest.news.clear()
        await guest.until(lambda: guest.errors)
        assert "was killed, 2 times in a row" in guest.errors[0]["message"]
        await guest.say(type="join", codecs=["jpeg"])
        await guest.until(lambda: guest.frames)
        await guest.connection.close()

    with served(app) as address:
        asyncio.run(scenario(address))


@given(st.text(max_size=40), st.integers(0, 2**40))
def test_reports_come_out_as_they_went_in(text: str, tick: int) -> None:
    for report in (Failed(text), Happened(Event(tick=tick, action="push", arguments={"body": text, "x": 0.5}))):
        head, parts = write_report(report)
        assert read_report(json.loads(json.dumps(head)), b"".join(parts)) == report


def test_a_message_that_is_too_long_is_not_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(pack({"type": "x"}, b"body"))
        assert Line(ours).receive() == ({"type": "x"}, b"body")
        theirs.sendall(b"\xff" * 8)
        with pytest.raises(ChannelError, match="at most"):
            Line(ours).receive()
    with pytest.raises(ChannelError, match="known type"):
        read_report({"type": "soup"}, b"")
