"""A recording is the stream: what comes out can be decoded from its first frame on."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from elsewhere.live import Frame, Options
from elsewhere.live.film import read_prompt
from elsewhere.server.app import PROTOCOL, create_app
from elsewhere.server.demand import plan_streams
from elsewhere.server.recording import Recorder, Tape, read_recording, record_world
from elsewhere.server.replay import Contents, inspect
from elsewhere.server.studio import Studio
from elsewhere.server.wire import unpack_frame


def frame(number: int) -> Frame:
    return Frame(
        rgb=np.full((64, 64, 3), 40 + 5 * number, np.uint8),
        depth=np.full((64, 64), 2.0, np.float32),
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


def record(path: Path, count: int = 20) -> None:
    with Recorder(path) as recorder:
        tape, studio = Tape(recorder, 0.0), Studio(24)
        for number in range(count):
            for stream, parcel in studio.encode(frame(number), plan_streams([tape])):
                tape.offer(stream, parcel, number / 24)


def test_a_recording_plays_from_its_first_frame_on(tmp_path: Path) -> None:
    path = tmp_path / "duck.elsw"
    record(path)
    decoder = av.CodecContext.create("h264", "r")
    decoder.flags |= 0x80000  # low delay
    found = list(read_recording(path))
    assert [round(at * 24) for at, _ in found] == list(range(20))
    for number, (_, packet) in enumerate(found):
        header, picture = unpack_frame(packet)
        assert (header.frame_id, header.key) == (number, number == 0)
        (shown,) = decoder.decode(av.Packet(picture))
        assert abs(shown.to_ndarray(format="rgb24")[:, :60].mean() - (40 + 5 * number)) < 6


def test_what_was_cut_off_is_a_recording_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "duck.elsw"
    record(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert len(list(read_recording(path))) == 19


def test_what_is_no_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello, this is not one")
    with pytest.raises(ValueError, match="begins with ELSWREC2"):
        list(read_recording(path))
    path.write_bytes(b"ELSWREC2" + bytes(8) + b"\xff" * 8)
    with pytest.raises(ValueError, match="a frame must have"):
        list(read_recording(path))


def test_a_recorded_world_is_played_to_who_can_decode_it(tmp_path: Path) -> None:
    path = tmp_path / "duck.elsrec"
    options = Options(mode="calculated", width=64, height=64)
    record_world(read_prompt("a red rubber duck drifting in a bathtub").scene, options, path, 60)
    assert inspect(path) == Contents("h264", 64, 64, 60, pytest.approx(59 / 24))  # type: ignore[arg-type]
    keys = [unpack_frame(packet)[0].key for _, packet in read_recording(path)]
    assert [number for number, key in enumerate(keys) if key] == [0, 48]
    app = create_app("duck", options, recording=path)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        token = client.post("/token").json()["token"]
        url = "ws://127.0.0.1:8000/live"
        with client.websocket_connect(url, subprotocols=[PROTOCOL, f"token.{token}"]) as socket:
            socket.send_json({"type": "join", "codecs": ["h264"]})
            ids: list[int] = []
            while len(ids) < 70:  # it begins again
                message = socket.receive()
                if message.get("bytes") is not None:
                    header, _ = unpack_frame(message["bytes"])
                    ids.append(header.frame_id)
                    socket.send_json({"type": "ack", "frame": header.frame_id})
            assert ids == sorted(set(ids))
            socket.send_json({"type": "join", "prompt": "another world"})
            while message.get("text") is None or json.loads(message["text"])["type"] != "error":
                message = socket.receive()
                if message.get("bytes") is not None:
                    socket.send_json({"type": "ack", "frame": unpack_frame(message["bytes"])[0].frame_id})
            assert "shows a recording" in json.loads(message["text"])["message"]


def test_a_recording_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "duck.elsrec"

    def stop() -> None:
        raise KeyboardInterrupt

    options = Options(mode="calculated", width=64, height=64)
    with pytest.raises(KeyboardInterrupt):
        record_world(read_prompt("a duck").scene, options, path, 10, progress=stop)
    assert not path.exists()
