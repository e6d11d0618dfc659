"""The latest frame wins, words keep their order, and nothing piles up."""

from __future__ import annotations

import asyncio
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.live import Frame
from elsewhere.server.watcher import WINDOW, WORDS_MOST, Watcher
from elsewhere.server.wire import pack_frame, unpack_frame


def packet(frame_id: int) -> bytes:
    frame = Frame(
        rgb=np.zeros((16, 16, 3), np.uint8),
        depth=np.ones((16, 16), np.float32),
        c2w=np.eye(4),
        focal=1.0,
        center=(8.0, 8.0),
        near=0.5,
        far=2.0,
        frame_id=frame_id,
        world_id="1",
        tick=0,
        seed=0,
        timings={},
    )
    return pack_frame(frame, picture=b"picture")


def test_the_latest_frame_wins() -> None:
    watcher = Watcher(0.0)
    for frame_id in range(5):
        watcher.offer(frame_id, packet(frame_id), 0.1)
    item = watcher.take(0.2)
    assert isinstance(item, bytes)
    header, picture = unpack_frame(item)
    assert header.frame_id == 4
    assert abs(header.timings["wait"] - 100.0) < 1e-3
    assert picture == b"picture"
    assert watcher.skipped == 4
    assert watcher.take(0.2) is None


def test_without_acknowledgement_frames_stop() -> None:
    watcher = Watcher(0.0)
    taken = []
    for frame_id in range(WINDOW + 3):
        watcher.offer(frame_id, packet(frame_id), 0.0)
        taken.append(watcher.take(0.0) is not None)
    assert taken == [True] * WINDOW + [False] * 3
    assert watcher.silent_for(9.0) == 9.0
    watcher.acknowledge(0, 0.5)
    assert watcher.round_trip == 500.0
    item = watcher.take(1.0)
    assert isinstance(item, bytes)
    assert unpack_frame(item)[0].frame_id == WINDOW + 2
    assert unpack_frame(item)[0].timings["round_trip"] == 500.0


def test_words_come_first_and_in_order() -> None:
    watcher = Watcher(0.0)
    watcher.offer(0, packet(0), 0.0)
    watcher.say(type="a")
    watcher.say(type="b")
    said = [watcher.take(0.0) for _ in range(2)]
    assert [json.loads(item)["type"] for item in said if isinstance(item, str)] == ["a", "b"]
    assert isinstance(watcher.take(0.0), bytes)


def test_another_world_leaves_nothing_of_the_last() -> None:
    watcher = Watcher(0.0)
    for frame_id in range(WINDOW):
        watcher.offer(frame_id, packet(frame_id), 0.0)
        watcher.take(0.0)
    watcher.offer(9, packet(9), 0.0)
    watcher.forget()
    assert watcher.take(0.0) is None
    watcher.offer(0, packet(0), 0.0)
    assert watcher.take(0.0) is not None


def test_waiting_ends_when_there_is_something() -> None:
    async def scenario() -> None:
        watcher = Watcher(0.0)
        waiting = asyncio.create_task(watcher.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        watcher.say(type="hello")
        await asyncio.wait_for(waiting, 1.0)

    asyncio.run(scenario())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["offer", "say", "take", "ack", "forget"]), max_size=200))
def test_nothing_piles_up_and_no_frame_comes_twice(actions: list[str]) -> None:
    watcher, offered, seen = Watcher(0.0), 0, [-1]
    body = packet(0)
    for action in actions:
        if action == "offer":
            watcher.offer(offered, body[:16] + offered.to_bytes(8, "little") + body[24:], 0.0)
            offered += 1
        elif action == "say":
            watcher.say(type="x")
        elif action == "ack":
            watcher.acknowledge(seen[-1], 0.0) if seen[-1] >= 0 else None
        elif action == "forget":
            watcher.forget()
        elif isinstance(item := watcher.take(0.0), bytes):
            seen.append(unpack_frame(item)[0].frame_id)
        assert len(watcher._words) <= WORDS_MOST
        assert len(watcher._on_the_way) <= WINDOW
    assert seen == sorted(set(seen))
