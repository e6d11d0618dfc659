"""Pictures come back as they were, from every codec; depth as exactly as eight bits allow."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from elsewhere.live import Frame
from elsewhere.server.bars import paint_bars, read_bars
from elsewhere.server.codecs import (
    RUNGS,
    DepthRange,
    Picture,
    VideoEncoder,
    available_codecs,
    choose_codec,
    open_encoder,
)

WIDTH, HEIGHT = 96, 64


def frame(number: int, **changes: Any) -> Frame:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = 128 + 60 * np.sin((x + 2 * number) / 11) + 40 * np.cos((y - number) / 9)
    depth = (3.0 + np.sin((x - 3 * number) / 13) + 0.02 * y).astype(np.float32)
    depth[:6] = np.inf
    finite = depth[np.isfinite(depth)]
    fields: dict[str, Any] = {
        "rgb": np.stack([wave, 0.6 * wave, 255 - wave], axis=2).astype(np.uint8),
        "depth": depth,
        "c2w": np.eye(4),
        "focal": 80.0,
        "center": (48.0, 32.0),
        "near": float(finite.min()),
        "far": float(finite.max()),
        "frame_id": number,
        "world_id": "1",
        "tick": 10 * number,
        "seed": 0,
        "timings": {},
    }
    return Frame(**(fields | changes))


class Reader:
    """A decoder of one stream: (H, 2W) luma and (H, 2W, 3) colour."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._context: Any = None if codec == "jpeg" else av.CodecContext.create(codec, "r")
        if self._context is not None:
            self._context.flags |= 0x80000  # low delay

    def read(self, picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self._context is None:
            rgb = np.asarray(Image.open(io.BytesIO(picture.data)))
            return rgb[..., 0], rgb
        (shown,) = self._context.decode(av.Packet(picture.data))
        plane = shown.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        if self._codec == "vp8":
            luma = np.clip((luma.astype(float) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)
        span = 1 if self._codec == "vp8" else 2
        rgb = shown.reformat(format="rgb24", src_color_range=span, src_colorspace=5, dst_color_range=2).to_ndarray()
        return luma, rgb


@pytest.mark.parametrize("codec", ["jpeg", "h264", "vp8"])
def test_color_and_depth_come_back(codec: str) -> None:
    encoder = open_encoder(codec, 3, width=WIDTH, height=HEIGHT, fps=24)
    reader = Reader(codec)
    for number in range(30):
        sent = frame(number)
        picture = encoder.encode(sent)
        luma, rgb = reader.read(picture)
        assert picture.key == (codec == "jpeg" or number == 0)
        assert picture.sequence == number
        assert np.abs(rgb[:, :WIDTH].astype(float) - sent.rgb).mean() < 6.0
        inverse = luma[:, WIDTH:] / 255.0 * (1 / picture.near - 1 / picture.far) + 1 / picture.far
        step = (1 / picture.near - 1 / picture.far) / 255.0
        error = np.abs(inverse[8:] - 1 / sent.depth[8:])
        assert np.mean(error) < 2.0 * step
        assert np.percentile(error, 99) < 8.0 * step
        assert np.abs(inverse[:4] - 1 / picture.far).mean() < 4.0 * step  # sky


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_a_key_picture_comes_when_it_is_asked_for_and_starts_anew(codec: str) -> None:
    encoder = open_encoder(codec, 3, width=WIDTH, height=HEIGHT, fps=24)
    pictures = [encoder.encode(frame(number), key=number == 7) for number in range(10)]
    assert [p.sequence for p in pictures if p.key] == [0, 7]
    late = Reader(codec)
    _, rgb = late.read(pictures[7])
    assert np.abs(rgb[:, :WIDTH].astype(float) - frame(7).rgb).mean() < 8.0


def test_h264_is_constrained_baseline_and_brings_its_parameters_with_every_key_picture() -> None:
    encoder = VideoEncoder("h264", width=WIDTH, height=HEIGHT, fps=24, rate=RUNGS[3])
    for key in (False, True):
        data = encoder.encode(frame(0), key=key).data
        kinds = [part[0] & 31 for part in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]
        assert kinds[0] == 7 and 8 in kinds and 5 in kinds
        start = data.index(b"\x67")
        assert data[start + 1] == 66  # baseline
        assert data[start + 2] & 0x40  # constrained


@pytest.mark.parametrize("rung", [0, 2])
def test_a_stream_keeps_to_its_rate_and_no_picture_to_much_more(rung: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=3))
    encoder = open_encoder("h264", rung, width=WIDTH, height=HEIGHT, fps=24)
    sizes = []
    for number in range(72):
        restless = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        sizes.append(len(encoder.encode(frame(number, rgb=restless)).data))
    share = RUNGS[rung] / 8 / 24
    assert sum(sizes[1:]) / len(sizes[1:]) < 1.35 * share
    assert max(sizes[4:]) < 4 * share


def test_the_same_frames_give_the_same_bytes() -> None:
    def run() -> list[bytes]:
        encoder = open_encoder("h264", 2, width=WIDTH, height=HEIGHT, fps=24)
        return [encoder.encode(frame(number)).data for number in range(8)]

    assert run() == run()


def test_codecs_are_chosen_by_what_the_client_knows() -> None:
    assert set(available_codecs()) == {"jpeg", "h264", "vp8"}
    assert choose_codec(("h264", "vp8", "jpeg")) == "h264"
    assert choose_codec(("hevc", "vp8")) == "vp8"
    assert choose_codec(("hevc", "av1")) == "jpeg"
    assert choose_codec(()) == "jpeg"
    with pytest.raises(ValueError, match="codec must be one of jpeg, h264, vp8; got 'av1'"):
        open_encoder("av1", 0, width=64, height=64, fps=24)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(1.01, 100.0)), min_size=1, max_size=20))
def test_the_depth_range_encloses_every_frame_and_rests_where_it_can(spans: list[tuple[float, float]]) -> None:
    held = DepthRange()
    for near, ratio in spans:
        sent = frame(0, near=near, far=near * ratio)
        low, high = held.fit(sent)
        assert low <= near and near * ratio <= high
        assert held.fit(frame(0, near=near * 1.0001, far=near * ratio)) == (low, high)


@given(st.integers(0, 2**24 - 1), st.sampled_from([64, 96, 128, 256, 512]))
@settings(max_examples=50, deadline=None)
def test_bars_are_read_back_and_noise_is_not(number: int, width: int) -> None:
    picture = np.full((64, width, 3), 90, np.uint8)
    painted = paint_bars(picture, number)
    assert read_bars(painted[4, :, 1]) == number
    assert (painted[8:] == 90).all()
    wrong = painted[4, :, 1].copy()
    wrong[: width // 32] = 255 - wrong[: width // 32]
    assert read_bars(wrong) != number
    assert read_bars(np.zeros(width, np.uint8)) is None
