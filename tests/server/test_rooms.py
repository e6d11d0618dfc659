"""Many worlds and people at once: nobody ever gets a frame, a word or a name of a world they are not in."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from elsewhere.server.app import Limits
from elsewhere.server.schema import PROTOCOL, VERSION
from elsewhere.server.wire import unpack_frame

Serve = Callable[[Starlette], AbstractContextManager[str]]
ROOMY = Limits(
    worlds=32,
    clients=200,
    clients_per_address=200,
    messages_per_second=500.0,
    joins_per_second=100.0,
    joins_at_once=100,
)


async def enter(address: str) -> ClientConnection:
    async with httpx.AsyncClient() as client:
        token = (await client.post(f"{address}token")).json()["token"]
    url = f"ws://{urlsplit(address).netloc}/live"
    connection = await connect(url, subprotocols=[PROTOCOL, f"token.{token}"], compression=None)  # type: ignore[list-item]
    await connection.send(json.dumps({"type": "join"}))
    return connection


class Guest:
    """Someone who goes from world to world, and remembers what came after which welcome."""

    def __init__(self, number: int) -> None:
        self.number, self.world, self.frames = number, "", 0
        self.worlds_seen: dict[str, set[str]] = {}
        self.people_seen: dict[str, set[str]] = {}
        self.sent = ""

    async def read(self, connection: ClientConnection) -> None:
        async for message in connection:
            if isinstance(message, bytes):
                header, _ = unpack_frame(message)
                self.frames += 1
                self.worlds_seen.setdefault(self.world, set()).add(header.world_id)
                await connection.send(json.dumps({"type": "ack", "frame": header.frame_id}))
                continue
            words = json.loads(message)
            if words["type"] == "world":
                self.world = words["prompt"]
            elif words["type"] == "people":
                names = {person["name"].split()[0] for person in words["people"] if person["name"]}
                self.people_seen.setdefault(self.world, set()).update(names)

    async def wander(self, connection: ClientConnection, prompts: list[str], rng: random.Random, moves: int) -> None:
        for _ in range(moves):
            world = rng.randrange(len(prompts))
            join = {"type": "join", "prompt": prompts[world], "name": f"w{world} guest {self.number}"}
            await connection.send(json.dumps(join | {"codecs": [rng.choice(["jpeg", "h264"])]}))
            for _ in range(3):
                pose = {"position": [world, rng.random(), 0], "turn": [0, 0, 0, 1]}
                await connection.send(json.dumps({"type": "pose", **pose}))
                await asyncio.sleep(0.1 + 0.2 * rng.random())


def check(guests: list[Guest], prompts: list[str]) -> None:
    ids: dict[str, str] = {}
    for guest in guests:
        for prompt, worlds in guest.worlds_seen.items():
            assert len(worlds) == 1, (guest.number, prompt, worlds)
            assert ids.setdefault(prompt, *worlds) == next(iter(worlds))
    assert len(set(ids.values())) == len(ids)
    for guest in guests:
        for prompt, names in guest.people_seen.items():
            if prompt in prompts:
                assert names <= {f"w{prompts.index(prompt)}"}, (guest.number, prompt, names)


async def roam(address: str, worlds: int, people: int, moves: int) -> list[Guest]:
    prompts = [f"world number {number}" for number in range(worlds)]
    guests = [Guest(number) for number in range(people)]
    connections = [await enter(address) for _ in guests]
    readers = [asyncio.create_task(g.read(c)) for g, c in zip(guests, connections, strict=True)]
    rng = random.Random(7)
    await asyncio.gather(
        *(g.wander(c, prompts, random.Random(rng.random()), moves) for g, c in zip(guests, connections, strict=True))
    )
    for connection in connections:
        await connection.close()
    await asyncio.gather(*readers, return_exceptions=True)
    check(guests, prompts)
    return guests


@pytest.mark.parametrize(("worlds", "people", "moves"), [(5, 12, 3), pytest.param(20, 100, 8, marks=pytest.mark.slow)])
def test_nothing_of_another_world(
    make_app: Callable[..., Starlette], serve_app: Serve, worlds: int, people: int, moves: int
) -> None:
    with serve_app(make_app(limits=ROOMY, fps=10)) as address:
        guests = asyncio.run(roam(address, worlds, people, moves))
    assert sum(guest.frames for guest in guests) > people


async def hear(connection: ClientConnection, kind: str) -> dict[str, object]:
    while True:
        message = await asyncio.wait_for(connection.recv(), 10)
        if isinstance(message, bytes):
            await connection.send(json.dumps({"type": "ack", "frame": unpack_frame(message)[0].frame_id}))
        elif (words := json.loads(message))["type"] == kind:
            return dict(words)


def test_heads_blocks_and_the_hosts_rights(make_app: Callable[..., Starlette], serve_app: Serve) -> None:
    async def say(connection: ClientConnection, **words: object) -> None:
        await connection.send(json.dumps(words))

    async def scenario(address: str) -> None:
        host, guest = await enter(address), await enter(address)
        one = (await hear(host, "world"))["you"]
        two = (await hear(guest, "world"))["you"]
        await say(guest, type="pose", position=[900, 0, 0], turn=[0, 0, 0, 0])
        heads = (await hear(host, "heads"))["heads"]
        assert heads == [{"id": two, "position": [100.0, 0.0, 0.0], "turn": [0.0, 0.0, 0.0, 1.0], "hands": []}]
        await say(host, type="block", person=two)
        while len((await hear(guest, "people"))["people"]) != 1:  # type: ignore[arg-type]
            pass
        await say(guest, type="pose", position=[1, 0, 0], turn=[0, 0, 0, 1])
        await say(guest, type="remove", person=one)
        assert (await hear(guest, "error"))["code"] == "person"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(host, "heads"), 0.5)
        await say(host, type="remove", person=two)
        with pytest.raises(Exception, match="shown you out"):
            await hear(guest, "nothing")
        await host.close()

    with serve_app(make_app()) as address:
        asyncio.run(scenario(address))


def test_the_card_says_which_protocol(make_app: Callable[..., Starlette], serve_app: Serve) -> None:
    with serve_app(make_app()) as address:
        assert httpx.get(f"{address}.well-known/world.json").json()["protocol"] == f"elsewhere.{VERSION}"
        figures = httpx.get(f"{address}metrics").text
        assert "elsewhere_worlds 1" in figures
        assert "a first world" not in figures
