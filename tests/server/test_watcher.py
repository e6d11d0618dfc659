"""The latest frame wins, words keep their order, and nothing piles up."""

from __future__ import annotations

import asyncio
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.live import Frame
from elsewhere.server.codecs import Picture
from elsewhere.server.schema import Steering
from elsewhere.server.watcher import JPEG, WAITING_MOST, WINDOW, WINDOW_MOST, WORDS_MOST, Parcel, Stream, Watcher
from elsewhere.server.wire import pack_frame, unpack_frame

H264 = Stream("h264", 3)


def parcel(frame_id: int, *, key: bool = True) -> Parcel:
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
    picture = Picture(
        codec="jpeg" if key else "h264",
        data=b"picture",
        key=key,
        config="",
        encoder=1,
        sequence=frame_id,
        near=0.5,
        far=2.0,
        milliseconds=0.0,
    )
    return Parcel(frame_id, pack_frame(frame, picture), key)


def frame_id(item: str | bytes | None) -> int:
    assert isinstance(item, bytes)
    return unpack_frame(item)[0].frame_id


def test_the_latest_frame_wins() -> None:
    watcher = Watcher(0.0)
    for frame_id in range(5):
        watcher.offer(JPEG, parcel(frame_id), 0.1)
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
        watcher.offer(JPEG, parcel(frame_id), 0.0)
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
    watcher.offer(JPEG, parcel(0), 0.0)
    watcher.say(Steering(True, 1))
    watcher.say(Steering(False, 2))
    said = [watcher.take(0.0) for _ in range(2)]
    assert [json.loads(item)["people"] for item in said if isinstance(item, str)] == [1, 2]
    assert isinstance(watcher.take(0.0), bytes)


def test_another_world_leaves_nothing_of_the_last() -> None:
    watcher = Watcher(0.0)
    for frame_id in range(WINDOW):
        watcher.offer(JPEG, parcel(frame_id), 0.0)
        watcher.take(0.0)
    watcher.offer(JPEG, parcel(9), 0.0)
    watcher.forget()
    assert watcher.take(0.0) is None
    watcher.offer(JPEG, parcel(0), 0.0)
    assert watcher.take(0.0) is not None


def test_waiting_ends_when_there_is_something() -> None:
    async def scenario() -> None:
        watcher = Watcher(0.0)
        waiting = asyncio.create_task(watcher.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        watcher.say(Steering(True, 1))
        await asyncio.wait_for(waiting, 1.0)

    asyncio.run(scenario())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["offer", "say", "take", "ack", "forget"]), max_size=200))
def test_nothing_piles_up_and_no_frame_comes_twice(actions: list[str]) -> None:
    watcher, offered, seen = Watcher(0.0), 0, [-1]
    for action in actions:
        if action == "offer":
            watcher.offer(JPEG, parcel(offered), 0.0)
            offered += 1
        elif action == "say":
            watcher.say(Steering(True, 1))
        elif action == "ack":
            watcher.acknowledge(seen[-1], 0.0) if seen[-1] >= 0 else None
        elif action == "forget":
            watcher.forget()
        elif isinstance(item := watcher.take(0.0), bytes):
            seen.append(unpack_frame(item)[0].frame_id)
        assert len(watcher._words) <= WORDS_MOST
        assert len(watcher._on_the_way) <= watcher.window
    assert seen == sorted(set(seen))


def test_frames_that_need_the_last_keep_their_order_and_fall_to_the_next_key_frame_when_they_pile_up() -> None:
    watcher = Watcher(0.0)
    watcher.choose("h264", 0.0)
    stream = watcher.stream
    assert stream == H264
    watcher.offer(stream, parcel(0, key=False), 0.0)
    assert watcher.take(0.0) is None  # nothing to build upon
    assert watcher.wants_key(stream)
    watcher.offer(stream, parcel(1), 0.0)
    assert not watcher.wants_key(stream)
    assert frame_id(watcher.take(0.0)) == 1
    for number in range(2, 2 + WINDOW - 1):
        watcher.offer(stream, parcel(number, key=False), 0.0)
        assert frame_id(watcher.take(0.0)) == number
    last = WINDOW
    for number in range(last + 1, last + 1 + WAITING_MOST):
        watcher.offer(stream, parcel(number, key=False), 0.0)
    assert watcher.take(0.0) is None  # the window is full
    watcher.offer(stream, parcel(9, key=False), 0.0)
    assert not watcher.wants_key(stream)  # a key frame would only queue now
    watcher.acknowledge(last, 0.01)
    assert watcher.wants_key(stream)
    assert watcher.take(0.02) is None
    assert watcher.skipped == WAITING_MOST + 2
    watcher.offer(stream, parcel(10), 0.03)
    watcher.offer(stream, parcel(11, key=False), 0.04)
    assert [frame_id(watcher.take(0.05)) for _ in range(2)] == [10, 11]


def test_a_watcher_goes_over_to_another_stream_at_its_key_frame_and_not_before() -> None:
    watcher = Watcher(0.0)
    watcher.choose("h264", 0.0)
    here, there = watcher.stream, Stream("h264", 1)
    watcher.offer(here, parcel(0), 0.0)
    watcher.target = there
    assert watcher.streams == (here, there)
    assert watcher.wants_key(there)
    watcher.offer(here, parcel(1, key=False), 0.0)
    watcher.offer(there, parcel(1, key=False), 0.0)
    assert [frame_id(watcher.take(0.0)) for _ in range(2)] == [0, 1]
    watcher.offer(here, parcel(2, key=False), 0.0)
    watcher.offer(there, parcel(2), 0.0)
    assert watcher.streams == (there,)
    item = watcher.take(0.0)
    assert isinstance(item, bytes)
    assert unpack_frame(item)[0].key
    watcher.offer(here, parcel(3, key=False), 0.0)
    assert watcher.take(0.0) is None


def test_a_line_with_delay_gets_a_larger_window() -> None:
    watcher = Watcher(0.0, fps=24)
    assert watcher.window == WINDOW
    now = 0.0
    for number in range(40):
        watcher.offer(JPEG, parcel(number), now)
        watcher.take(now)
        watcher.acknowledge(number, now + 0.35)
        now += 0.4
    assert watcher.window == 11  # 24 x (0.35 + 0.08)
    assert watcher.window <= WINDOW_MOST
