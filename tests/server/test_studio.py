"""One encode for all who watch the same, a few for those who do not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.live import Frame
from elsewhere.server.codecs import RUNGS
from elsewhere.server.demand import STREAMS_MOST, plan_streams
from elsewhere.server.studio import Studio
from elsewhere.server.watcher import JPEG, Stream, Watcher
from elsewhere.server.wire import unpack_frame

TOP = len(RUNGS) - 1


def plain_frame(number: int, side: int = 64) -> Frame:
    return Frame(
        rgb=np.full((side, side, 3), 9 * number % 256, np.uint8),
        depth=np.full((side, side), 2.0, np.float32),
        c2w=np.eye(4),
        focal=60.0,
        center=(32.0, 32.0),
        near=1.0,
        far=4.0,
        frame_id=number,
        world_id="1",
        tick=10 * number,
        seed=0,
        timings={},
    )


def watcher(codec: str, rung: int = 3) -> Watcher:
    made = Watcher(0.0)
    made.choose(codec, 0.0)
    made.estimator.rung = rung
    return made


def test_fifty_watchers_are_one_encode() -> None:
    people = [watcher("h264") for _ in range(50)]
    demand = plan_streams(people)
    assert demand == {Stream("h264", 3): True}
    studio = Studio(24)
    parcels = studio.encode(plain_frame(0), demand)
    assert len(parcels) == 1
    for person in people:
        person.offer(*parcels[0], 0.0)
    assert plan_streams(people) == {Stream("h264", 3): False}
    taken = {person.take(0.0) for person in people}
    assert len(taken) == 1


def test_encoders_come_and_go_with_the_demand() -> None:
    studio = Studio(24)
    h264, vp8 = Stream("h264", 2), Stream("vp8", 1)
    for number, demand in enumerate([{h264: True}, {h264: False, vp8: True, JPEG: False}, {vp8: False}, {}]):
        assert [stream for stream, _ in studio.encode(plain_frame(number), demand)] == list(demand)
        assert studio.streams == demand.keys()


def test_key_frames_are_not_made_more_often_than_the_gap_allows() -> None:
    studio, stream = Studio(24), Stream("h264", 2)
    keys = [studio.encode(plain_frame(number), {stream: True})[0][1].key for number in range(25)]
    assert keys == [number % 7 == 0 for number in range(25)]


def test_another_size_starts_with_a_key_frame() -> None:
    studio, stream = Studio(24), Stream("h264", 2)
    for number, side in enumerate([64, 64, 48]):
        ((_, parcel),) = studio.encode(plain_frame(number, side), {stream: False})
        assert parcel.key == (number != 1)
        assert unpack_frame(parcel.packet)[0].width == side


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["jpeg", "h264", "vp8"]), st.integers(0, len(RUNGS) - 1)), min_size=1, max_size=30
    )
)
def test_targets_are_few_of_the_right_codec_and_ask_for_no_more_if_that_can_be(kinds: list[tuple[str, int]]) -> None:
    people = [watcher(codec, rung) for codec, rung in kinds]
    plan_streams(people)
    targets = {person.target for person in people}
    assert len(targets) <= STREAMS_MOST
    for person, (codec, rung) in zip(people, kinds, strict=True):
        assert person.target.codec == codec
        poorest = min(stream.rung for stream in targets if stream.codec == codec)
        assert person.target.rung <= max(rung, poorest)
