"""The application as a browser, a stranger and a vandal meet it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from elsewhere.server.app import OTHER_VERSION, PROTOCOL, Limits
from elsewhere.server.watcher import Watcher
from elsewhere.server.wire import Header, unpack_frame

BASE = "http://127.0.0.1:8000"
LIVE = "ws://127.0.0.1:8000/live"


@pytest.fixture
def client(make_app: Callable[..., Starlette]) -> Iterator[TestClient]:
    with TestClient(make_app(), base_url=BASE) as client:
        yield client


def enter(client: TestClient, **headers: str) -> WebSocketTestSession:
    token = client.post("/token").json()["token"]
    return client.websocket_connect(LIVE, subprotocols=[PROTOCOL, f"token.{token}"], headers=headers)


def words(socket: WebSocketTestSession, kind: str) -> dict[str, Any]:
    """The next words of a kind; frames in between are acknowledged."""
    for _ in range(500):
        message = socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        if message.get("text"):
            said = json.loads(message["text"])
            if said["type"] == kind:
                return said
        else:
            acknowledge(socket, unpack_frame(message["bytes"])[0])
    raise AssertionError(f"no {kind}")


def next_frame(socket: WebSocketTestSession) -> Header:
    for _ in range(50):
        message = socket.receive()
        if message.get("bytes"):
            header, _ = unpack_frame(message["bytes"])
            acknowledge(socket, header)
            return header
    raise AssertionError("no frame")


def acknowledge(socket: WebSocketTestSession, header: Header) -> None:
    socket.send_json({"type": "ack", "frame": header.frame_id})


def test_the_page_comes_with_strict_headers(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "<title>Elsewhere</title>" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css", "icon.svg"):
        assert client.get(f"/{name}").status_code == 200
    assert client.get("/../app.py").status_code == 404


def test_health_card_and_preview(client: TestClient) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    card = client.get("/.well-known/world.json").json()
    assert card["title"] == "a first world"
    assert card["access"] == "local"
    deadline = time.monotonic() + 5
    while client.get(card["preview"]).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.get(card["preview"]).content[:2] == b"\xff\xd8"


def test_a_hostile_name_for_this_machine_is_turned_away(client: TestClient) -> None:
    answer = client.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert "localhost" in answer.text


def test_tokens_are_for_our_own_page(client: TestClient) -> None:
    assert client.post("/token", headers={"origin": BASE}).status_code == 200
    assert client.post("/token", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/token").status_code == 404


def test_frames_come_in_order_with_pose_and_world(client: TestClient) -> None:
    with enter(client, origin=BASE) as socket:
        assert socket.accepted_subprotocol == PROTOCOL
        socket.send_json({"type": "join"})
        world = words(socket, "world")
        assert (world["prompt"], world["seed"], world["mode"]) == ("a first world", "0", "calculated")
        assert (world["width"], world["height"], world["fps"], world["pace"]) == (64, 64, 60, 1.5)
        frames = [next_frame(socket) for _ in range(5)]
    assert all(a.frame_id < b.frame_id for a, b in pairwise(frames))
    assert len({frame.world_id for frame in frames}) == 1
    assert frames[0].timings["network"] == 3.0


def test_hands_turn_the_camera(client: TestClient) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join"})
        assert next_frame(socket).c2w[0, 2] == pytest.approx(0.0)
        socket.send_json({"type": "look", "yaw": 0.5, "pitch": 0.0, "offset": [0, 0, 0]})
        assert any(next_frame(socket).c2w[0, 2] == pytest.approx(0.479, abs=1e-3) for _ in range(30))


def test_a_prompt_leads_to_another_world_and_no_frame_of_the_last(client: TestClient) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join"})
        first = next_frame(socket).world_id
        socket.send_json({"type": "join", "prompt": "  another   world with a gribble ", "seed": 5})
        world = words(socket, "world")
        while world["prompt"] == "a first world":
            world = words(socket, "world")
        assert world["prompt"] == "another world with a gribble"
        assert world["seed"] == "5"
        assert world["unknown"] == [{"word": "gribble", "nearest": "marble"}]
        after = {next_frame(socket).world_id for _ in range(10)}
    assert len(after) == 1
    assert first not in after


@pytest.mark.parametrize(
    ("join", "said"),
    [
        ({"prompt": "nonsense"}, "must name a thing"),
        ({"prompt": "a", "seed": -1}, "nearest is 0"),
        ({"prompt": "a", "seed": 2**63}, "seed must be from 0"),
        ({"prompt": "a", "mode": "sleepy"}, "mode must be one of"),
    ],
)
def test_a_prompt_that_cannot_be_leaves_the_world_running(client: TestClient, join: dict[str, Any], said: str) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join"})
        before = next_frame(socket).world_id
        socket.send_json({"type": "join", **join})
        error = words(socket, "error")
        assert error["code"] == "prompt"
        assert said in error["message"]
        assert next_frame(socket).world_id == before


def test_words_that_are_not_known_come_with_the_nearest(client: TestClient) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join", "prompt": "nonsense"})
        assert words(socket, "error")["unknown"] == [{"word": "nonsense", "nearest": "nothing"}]


def test_junk_is_answered_then_shown_the_door_and_others_go_on(client: TestClient) -> None:
    with enter(client) as good, enter(client) as bad:
        good.send_json({"type": "join"})
        next_frame(good)
        bad.send_bytes(b"\x00\xff" * 100)
        assert "must be text" in words(bad, "error")["message"]
        bad.send_text(json.dumps({"type": "join", "prompt": "x" * 100_000}))
        assert "at most 2000 bytes" in words(bad, "error")["message"]
        for _ in range(6):
            bad.send_text("{{{{")
        with pytest.raises(WebSocketDisconnect) as closed:
            for _ in range(20):
                words(bad, "nothing")
        assert closed.value.code == 1003
        assert next_frame(good).frame_id > 0


def test_a_flood_is_stopped(make_app: Callable[..., Starlette]) -> None:
    with TestClient(make_app(limits=Limits(messages_per_second=5.0)), base_url=BASE) as client, enter(client) as socket:
        for _ in range(40):
            socket.send_json({"type": "look", "yaw": 0.0})
        with pytest.raises(WebSocketDisconnect) as closed:
            words(socket, "nothing")
        assert closed.value.code == 1008


def test_worlds_are_not_asked_for_by_the_dozen(client: TestClient) -> None:
    with enter(client) as socket:
        for number in range(10):
            socket.send_json({"type": "join", "prompt": f"world {number}"})
        assert words(socket, "error")["code"] == "rate"


def test_a_socket_that_says_nothing_is_closed(make_app: Callable[..., Starlette]) -> None:
    app = make_app(limits=Limits(first_word_seconds=0.2))
    with TestClient(app, base_url=BASE) as client, enter(client) as socket:
        with pytest.raises(WebSocketDisconnect) as closed:
            words(socket, "nothing")
        assert closed.value.reason == "nothing was asked for"


def test_frames_that_are_not_acknowledged_stop_and_close(make_app: Callable[..., Starlette]) -> None:
    app = make_app(limits=Limits(unread_seconds=0.3))
    with TestClient(app, base_url=BASE) as client, enter(client) as socket:
        socket.send_json({"type": "join"})
        frames, message = 0, socket.receive()
        while message["type"] != "websocket.close":
            frames += message.get("bytes") is not None
            message = socket.receive()
        assert frames == Watcher(0.0, fps=60).window
        assert message["reason"] == "frames are not being read"


@pytest.mark.parametrize(
    ("protocols", "headers"),
    [
        ([], {}),
        ([PROTOCOL], {}),
        ([PROTOCOL, "token.forged.forged.forged"], {}),
        (["token"], {}),
        ([PROTOCOL, "token"], {"origin": "http://evil.example"}),
        ([PROTOCOL, "token"], {"host": "evil.example"}),
    ],
)
def test_strangers_are_turned_away(client: TestClient, protocols: list[str], headers: dict[str, str]) -> None:
    token = client.post("/token").json()["token"]
    offered = [f"token.{token}" if name == "token" else name for name in protocols]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(LIVE, offered, headers=headers):
        pass
    assert client.get("/healthz").json()["people"] == 0


def test_a_token_opens_one_door(client: TestClient) -> None:
    offered = [PROTOCOL, f"token.{client.post('/token').json()['token']}"]
    with client.websocket_connect(LIVE, offered):
        pass
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(LIVE, offered):
        pass


def test_one_address_cannot_take_all_places(make_app: Callable[..., Starlette]) -> None:
    app = make_app(limits=Limits(clients_per_address=2))
    with TestClient(app, base_url=BASE) as client, enter(client), enter(client):
        with pytest.raises(WebSocketDisconnect), enter(client):
            pass
        assert client.get("/healthz").json()["people"] == 2


def test_places_are_free_again(client: TestClient) -> None:
    for _ in range(30):
        with enter(client) as socket:
            socket.send_json({"type": "join"})
            next_frame(socket)
    assert client.get("/healthz").json() | {"people": 0, "worlds": 1} == client.get("/healthz").json()


def test_the_first_steers_and_then_the_next(client: TestClient) -> None:
    with enter(client) as second:
        with enter(client) as first:
            first.send_json({"type": "join"})
            assert words(first, "steering")["steering"] is True
            second.send_json({"type": "join"})
            assert words(second, "steering") == {"type": "steering", "steering": False, "people": 2}
        assert words(second, "steering")["steering"] is True


def test_worlds_are_freed_and_places_are_limited(make_app: Callable[..., Starlette]) -> None:
    app = make_app(limits=Limits(worlds=2))
    with TestClient(app, base_url=BASE) as client, enter(client) as one, enter(client) as other:
        one.send_json({"type": "join", "prompt": "a second world"})
        next_frame(one)
        other.send_json({"type": "join", "prompt": "a third world"})
        assert words(other, "error")["code"] == "full"
        one.send_json({"type": "join"})
        while words(one, "world")["prompt"] != "a first world":
            pass
        other.send_json({"type": "join", "prompt": "a third world"})
        assert words(other, "world")["prompt"] == "a third world"


def test_a_world_that_fails_is_told_and_others_go_on(client: TestClient) -> None:
    with enter(client) as well, enter(client) as unlucky:
        well.send_json({"type": "join"})
        unlucky.send_json({"type": "join", "prompt": "a world that breaks"})
        error = words(unlucky, "error")
        assert error["code"] == "world"
        assert "the sky fell" in error["message"]
        assert next_frame(well).width == 64


@pytest.mark.parametrize("offered", ["elsewhere.1", "elsewhere.3", "elsewhere.999999999"])
def test_old_and_future_versions_are_told_why(client: TestClient, offered: str) -> None:
    token = client.post("/token").json()["token"]
    with client.websocket_connect(LIVE, subprotocols=[offered, f"token.{token}"]) as socket:
        assert socket.accepted_subprotocol == offered
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == OTHER_VERSION
    assert f"this server speaks {PROTOCOL}, the page {offered}" in closed.value.reason
    assert client.get("/healthz").json()["people"] == 0


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_who_can_decode_video_gets_it_from_a_key_frame_on_without_a_gap(client: TestClient, codec: str) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join", "codecs": ["hevc", codec, "jpeg"]})
        assert words(socket, "world")["codec"] == codec
        frames = [next_frame(socket) for _ in range(8)]
        assert frames[0].key and frames[0].codec == codec
        assert all(b.key or b.sequence == a.sequence + 1 for a, b in pairwise(frames))
        socket.send_json({"type": "key"})
        assert any(next_frame(socket).key for _ in range(30))
        socket.send_json({"type": "key", "codecs": ["jpeg"]})
        deadline = time.monotonic() + 5
        while next_frame(socket).codec != "jpeg":
            assert time.monotonic() < deadline


def test_the_clock_comes_back_with_the_servers(client: TestClient) -> None:
    with enter(client) as socket:
        socket.send_json({"type": "join"})
        words(socket, "world")
        socket.send_json({"type": "clock", "client": 12.5})
        answer = words(socket, "clock")
        assert answer["client"] == 12.5
        assert abs(answer["server"] - 1e3 * time.monotonic()) < 1e3
