"""Frames survive the wire; words that say nothing are refused, whatever they are."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from elsewhere.live import Frame
from elsewhere.server import schema, wire
from elsewhere.server.codecs import JpegEncoder, inverse_depth
from elsewhere.server.schema import Acknowledge, Join, Key, Look, MessageError, Pose
from elsewhere.server.wire import read_message

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_wire.py"


def frame(**changes: object) -> Frame:
    rng = np.random.Generator(np.random.Philox(key=1))
    depth = rng.uniform(1.0, 9.0, (48, 64)).astype(np.float32)
    depth[:4] = np.inf
    fields: dict[str, object] = {
        "rgb": np.full((48, 64, 3), (200, 100, 50), np.uint8),
        "depth": depth,
        "c2w": np.arange(16.0).reshape(4, 4),
        "focal": 55.5,
        "center": (32.0, 24.0),
        "near": 1.0,
        "far": 9.0,
        "frame_id": 7,
        "world_id": "00ff00ff00ff00ff",
        "tick": 70,
        "seed": 2**63 - 1,
        "timings": {"simulate": 1.5, "guide": 2.5, "hold": 0.5, "network": 3.5},
        "begun": 12.5,
    }
    return Frame(**(fields | changes))  # type: ignore[arg-type]


def test_a_frame_survives_the_wire() -> None:
    sent = frame()
    made = JpegEncoder().encode(sent)
    header, picture = wire.unpack_frame(wire.stamp_packet(wire.pack_frame(sent, made), 0.25, 30.0, 99.5))
    assert (header.width, header.height) == (64, 48)
    assert (header.frame_id, header.world_id, header.tick, header.seed) == (7, sent.world_id, 70, 2**63 - 1)
    assert header.flags == schema.FLAG_KEY | schema.FLAG_DEPTH
    np.testing.assert_array_equal(header.c2w, sent.c2w)
    assert (header.focal, header.center, header.near, header.far) == (55.5, (32.0, 24.0), 1.0, 9.0)
    assert (header.codec, header.config, header.sequence, header.encoder) == ("jpeg", "", 0, made.encoder)
    assert (header.begun, header.sent) == (12_500.0, 99.5)
    clocks = {"simulate": 1.5, "guide": 2.5, "hold": 0.5, "network": 3.5, "decode": 0, "wait": 0.25, "round_trip": 30}
    assert header.timings.pop("encode") == pytest.approx(made.milliseconds, rel=1e-6)
    assert header.timings == clocks
    image = np.asarray(Image.open(io.BytesIO(picture)))
    assert image.shape == (48, 128, 3)
    assert np.abs(image[:, :60].astype(int) - (200, 100, 50)).max() < 12


def test_depth_comes_back_from_grey() -> None:
    sent = frame()
    grey = inverse_depth(sent, sent.near, sent.far).astype(float) / 255
    assert (grey[:4] == 0).all()
    inverse = grey[4:] * (1 / sent.near - 1 / sent.far) + 1 / sent.far
    assert np.abs(1 / sent.depth[4:] - inverse).max() < 1 / 255


def test_the_header_is_as_the_page_reads_it() -> None:
    packet = wire.pack_frame(frame())
    assert packet[:4] == b"ELSW"
    assert int.from_bytes(packet[6:8], "little") == schema.HEADER_BYTES == 188
    assert int.from_bytes(packet[16:24], "little") == 7
    assert np.frombuffer(packet[112:116], "<f4")[0] == 55.5
    assert np.frombuffer(packet[172:180], "<f8")[0] == 12_500.0


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the page's source is not in this copy")
def test_the_pages_side_is_made_from_the_schema() -> None:
    spec = importlib.util.spec_from_file_location("generate_wire", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.TARGET.read_text(encoding="utf-8") == script.typescript(), "run: python scripts/generate_wire.py"


@pytest.mark.parametrize("packet", [b"", b"ELSW", b"NOPE" + bytes(200)])
def test_what_is_no_frame_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match="frame header"):
        wire.unpack_frame(packet)


@pytest.mark.parametrize("version", [0, 1, 3, 9])
def test_old_and_future_versions_are_refused(version: int) -> None:
    packet = bytearray(wire.pack_frame(frame()))
    packet[4] = version
    with pytest.raises(ValueError, match=f"version 2; got {version}"):
        wire.unpack_frame(bytes(packet))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 187), st.integers(0, 255), st.integers(6, 300))
def test_a_damaged_header_is_refused_or_read_and_never_runs_over(place: int, value: int, length: int) -> None:
    packet = bytearray(wire.pack_frame(frame()))
    packet[place] = value
    try:
        header, picture = wire.unpack_frame(bytes(packet[:length]))
    except ValueError:
        return
    assert len(picture) <= length
    assert header.codec in schema.CODECS


def test_words_are_read() -> None:
    assert read_message('{"type": "join"}') == Join()
    assert read_message('{"type": "join", "prompt": "a duck", "seed": 3, "mode": "dream"}') == Join(
        "a duck", 3, "dream"
    )
    assert read_message('{"type": "look", "yaw": 1, "offset": [0, 1.5, -2]}') == Look(1.0, 0.0, (0.0, 1.5, -2.0))
    assert read_message('{"type": "ack", "frame": 12}') == Acknowledge(12)
    assert read_message('{"type": "join", "codecs": ["h265", "vp8"]}') == Join(codecs=("h265", "vp8"))
    assert read_message('{"type": "key"}') == Key()
    still = Pose((0.0, 1.6, 0.0), (0.0, 0.0, 0.0, 1.0))
    assert read_message('{"type": "pose", "position": [0, 1.6, 0], "turn": [0, 0, 0, 1]}') == still


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON object"),
        ("hello", "JSON object"),
        ("[1, 2]", "JSON object"),
        ("{}", "type must be one of"),
        ('{"type": ["join"]}', "type must be one of"),
        ('{"type": "shutdown"}', "type must be one of"),
        ('{"type": "join", "prompt": 5}', "prompt must be text"),
        ('{"type": "join", "prompt": "\\ud800"}', "prompt must be text"),
        (json.dumps({"type": "join", "prompt": "x" * 100_000}), "at most 2000 bytes; got 100000"),
        ('{"type": "join", "seed": "1"}', "whole number"),
        ('{"type": "join", "seed": true}', "whole number"),
        ('{"type": "look", "yaw": NaN}', "yaw must be a number"),
        ('{"type": "look", "yaw": 1e999}', "yaw must be a number"),
        (f'{{"type": "look", "yaw": 1{"0" * 400}}}', "yaw must be a number"),
        (f'{{"type": "look", "yaw": 1{"0" * 9000}}}', "JSON object"),
        ('{"type": "look", "offset": [1, 2]}', "three numbers"),
        ('{"type": "look", "offset": [1, 2, "3"]}', "offset must be a number"),
        ('{"type": "ack"}', "id of a frame"),
        ('{"type": "ack", "frame": -1}', "id of a frame"),
        ('{"type": "join", "codecs": "h264"}', "list of at most 16"),
        ('{"type": "join", "name": "' + "x" * 65 + '"}', "at most 64 bytes"),
        ('{"type": "pose", "position": [0, NaN, 0], "turn": [0, 0, 0, 1]}', "position must be a number"),
        ('{"type": "pose", "position": [9000, 0, 0], "turn": [0, 0, 0, 1]}', "between -1000 and 1000"),
        ('{"type": "pose", "position": [0, 0, 0], "turn": [0, 0, 1]}', "four numbers"),
        ('{"type": "pose", "turn": [0, 0, 0, 1]}', "position must be three numbers"),
        ("[" * 100_000, "JSON object"),
    ],
)
def test_words_that_say_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        read_message(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "prompt", "seed", "mode", "yaw", "offset", "frame"]), JSON))
def test_no_words_break_the_reader(fields: dict[str, object]) -> None:
    for kind in ("join", "look", "ack", fields.get("type")):
        try:
            message = read_message(json.dumps({**fields, "type": kind}))
        except MessageError:
            continue
        assert isinstance(message, Join | Look | Acknowledge)
        assert message.kind == kind


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(MessageError):
        read_message(text)
