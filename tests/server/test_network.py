"""A real server on a real socket: a reader that stops, junk below the protocol, a port that is taken."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from elsewhere.server.app import PROTOCOL, Limits
from elsewhere.server.run import AddressError, address_of, bind
from elsewhere.server.watcher import WINDOW_MOST
from elsewhere.server.wire import unpack_frame

Serve = Callable[[Starlette], AbstractContextManager[str]]


async def enter(address: str, **options: object) -> ClientConnection:
    async with httpx.AsyncClient(verify=False) as client:
        token = (await client.post(f"{address}token")).json()["token"]
    url = f"ws://{urlsplit(address).netloc}/live"
    connection = await connect(url, subprotocols=[PROTOCOL, f"token.{token}"], compression=None, **options)  # type: ignore[arg-type]
    await connection.send(json.dumps({"type": "join"}))
    return connection


async def read_frames(connection: ClientConnection, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        message = await asyncio.wait_for(connection.recv(), 5)
        if isinstance(message, bytes):
            found.append(unpack_frame(message)[0].frame_id)
            await connection.send(json.dumps({"type": "ack", "frame": found[-1]}))
    return found


def test_a_reader_that_stops_is_skipped_then_dropped_and_others_go_on(
    make_app: Callable[..., Starlette], serve_app: Serve
) -> None:
    async def scenario(address: str) -> None:
        stopped, reader = await enter(address, max_queue=1), await enter(address)
        stopped.transport.pause_reading()
        start = time.monotonic()
        frames = await read_frames(reader, 90)
        assert time.monotonic() - start < 6.0  # 90 frames at 60 a second, with room for a busy machine
        assert frames == sorted(set(frames))
        async with httpx.AsyncClient(verify=False) as client:
            deadline = time.monotonic() + 5
            while (await client.get(f"{address}healthz")).json()["people"] > 1 and time.monotonic() < deadline:
                await read_frames(reader, 5)
            assert (await client.get(f"{address}healthz")).json()["people"] == 1
        await reader.close()
        stopped.transport.abort()

    with serve_app(make_app(limits=Limits(unread_seconds=0.5))) as address:
        asyncio.run(scenario(address))


def test_one_who_comes_back_slowly_gets_the_latest(make_app: Callable[..., Starlette], serve_app: Serve) -> None:
    async def scenario(address: str) -> None:
        connection = await enter(address)
        await read_frames(connection, 3)
        await asyncio.sleep(1.0)
        after = await read_frames(connection, WINDOW_MOST + 1)
        assert max(b - a for a, b in pairwise(after)) > 10  # what was made meanwhile is not sent
        await connection.close()

    with serve_app(make_app()) as address:
        asyncio.run(scenario(address))


def test_junk_below_the_protocol_and_messages_without_end(make_app: Callable[..., Starlette], serve_app: Serve) -> None:
    async def scenario(address: str) -> None:
        good, bad, huge = await enter(address), await enter(address), await enter(address)
        bad.transport.write(b"\xff" * 4096)
        with pytest.raises(ConnectionClosed):
            while True:
                await asyncio.wait_for(bad.recv(), 5)
        await huge.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(huge.recv(), 5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert len(await read_frames(good, 5)) == 5
        await good.close()

    with serve_app(make_app()) as address:
        with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as raw:
            raw.sendall(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        asyncio.run(scenario(address))
        assert httpx.get(f"{address}healthz").json()["status"] == "ok"


def test_many_come_and_go(make_app: Callable[..., Starlette], serve_app: Serve) -> None:
    async def scenario(address: str) -> None:
        for number in range(60):
            connection = await enter(address)
            if number % 2:
                connection.transport.abort()
            else:
                await connection.close()
        async with httpx.AsyncClient(verify=False) as client:
            deadline = time.monotonic() + 5
            while (await client.get(f"{address}healthz")).json()["people"] and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            assert (await client.get(f"{address}healthz")).json()["people"] == 0

    with serve_app(make_app()) as address:
        asyncio.run(scenario(address))


def test_a_port_that_is_taken_says_so() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/"
        with pytest.raises(AddressError, match=f"port {port} is taken"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 70_000, "from 0 to 65535"),
        ("127.0.0.1", -1, "from 0 to 65535"),
        ("192.0.2.1", 0, "Try 127.0.0.1"),
        ("not a host", 0, "Try 127.0.0.1"),
    ],
)
def test_addresses_that_cannot_be(host: str, port: int, said: str) -> None:
    with pytest.raises(AddressError, match=said):
        bind(host, port)
