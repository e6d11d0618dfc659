"""Frames survive the wire; words that say nothing are refused, whatever they are."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from elsewhere.live import Frame
from elsewhere.server import wire
from elsewhere.server.wire import Acknowledge, Join, Look, MessageError, read_message


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
        "timings": {"simulate": 1.5, "guide": 2.5, "network": 3.5},
    }
    return Frame(**(fields | changes))  # type: ignore[arg-type]


def test_a_frame_survives_the_wire() -> None:
    sent = frame()
    header, picture = wire.unpack_frame(wire.stamp_packet(wire.pack_frame(sent, 4.5), 0.25, 30.0))
    assert (header.width, header.height) == (64, 48)
    assert (header.frame_id, header.world_id, header.tick, header.seed) == (7, sent.world_id, 70, 2**63 - 1)
    assert header.flags == wire.FLAG_KEY | wire.FLAG_DEPTH
    np.testing.assert_array_equal(header.c2w, sent.c2w)
    assert (header.focal, header.center, header.near, header.far) == (55.5, (32.0, 24.0), 1.0, 9.0)
    clocks = {"simulate": 1.5, "guide": 2.5, "network": 3.5, "decode": 0, "encode": 4.5, "wait": 0.25, "round_trip": 30}
    assert header.timings == clocks
    image = np.asarray(Image.open(io.BytesIO(picture)))
    assert image.shape == (48, 128, 3)
    assert np.abs(image[:, :60].astype(int) - (200, 100, 50)).max() < 12


def test_depth_comes_back_from_grey() -> None:
    sent = frame()
    grey = wire.inverse_depth(sent).astype(float) / 255
    assert (grey[:4] == 0).all()
    inverse = grey[4:] * (1 / sent.near - 1 / sent.far) + 1 / sent.far
    assert np.abs(1 / sent.depth[4:] - inverse).max() < 1 / 255


def test_the_header_is_as_the_page_reads_it() -> None:
    assert wire.HEADER_BYTES == 160
    packet = wire.pack_frame(frame())
    assert packet[:4] == b"ELSW"
    assert int.from_bytes(packet[6:8], "little") == 160
    assert int.from_bytes(packet[16:24], "little") == 7
    assert np.frombuffer(packet[112:116], "<f4")[0] == 55.5


@pytest.mark.parametrize("packet", [b"", b"ELSW", b"NOPE" + bytes(200)])
def test_what_is_no_frame_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match="frame header"):
        wire.unpack_frame(packet)


def test_another_version_is_refused() -> None:
    packet = bytearray(wire.pack_frame(frame()))
    packet[4] = 9
    with pytest.raises(ValueError, match="version 1; got 9"):
        wire.unpack_frame(bytes(packet))


def test_words_are_read() -> None:
    assert read_message('{"type": "join"}') == Join()
    assert read_message('{"type": "join", "prompt": "a duck", "seed": 3, "mode": "dream"}') == Join(
        "a duck", 3, "dream"
    )
    assert read_message('{"type": "look", "yaw": 1, "offset": [0, 1.5, -2]}') == Look(1.0, 0.0, (0.0, 1.5, -2.0))
    assert read_message('{"type": "ack", "frame": 12}') == Acknowledge(12)


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


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(MessageError):
        read_message(text)
