"""Pictures made of frames: colour at the left and inverse depth at the right, as JPEG, H.264 or VP8.

An `Encoder` is one stream of pictures in order; every picture but a key picture needs the one before. This file does
not know who watches.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elsewhere.live.frame import Frame
from elsewhere.server.bars import paint_bars
from elsewhere.server.schema import CODECS

RUNGS = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
"""Bits a second that a stream may take, poorest first."""
JPEG_QUALITIES = (40, 55, 70, 80, 90)
"""Of each rung. A JPEG's size follows from its content: rungs of JPEG are qualities, not rates."""
QUALITY = JPEG_QUALITIES[-1]
VBV_FRAMES = 2.0
"""What one picture may take beyond its share, in pictures: the wait that a large picture causes."""
RANGE_SLACK = 2.0
"""How much farther than needed the near end of the depth range may lie before it moves."""
H264_CONFIG = "avc1.42E01F"
"""Constrained baseline, level 3.1: what every WebCodecs decoder and headset knows."""
_FULL, _LIMITED, _BT601 = 2, 1, 5  # libav's names of ranges and of the colour matrix of JPEG
_encoders = itertools.count(os.getpid() % 32768 << 16 | 1)
"""Encoders of one process after another must not be taken for each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One encoded frame. `near` and `far` (metres) are the range of its depth; `milliseconds` is what it took."""

    codec: str
    data: bytes
    key: bool
    config: str
    encoder: int
    sequence: int
    near: float
    far: float
    milliseconds: float
    bars: bool = False


class Encoder(Protocol):
    """A stream of pictures."""

    def encode(self, frame: Frame, *, key: bool = False) -> Picture:
        """The next picture; with `key` one that needs no other. All frames must be of one size."""


class DepthRange:
    """Near and far that hold still while they fit: a range that moves changes every pixel of depth."""

    def __init__(self) -> None:
        self.near, self.far = 0.0, 0.0

    def fit(self, frame: Frame) -> tuple[float, float]:
        """Metres that enclose the frame's, changed only when they must be."""
        if not self.near <= frame.near <= RANGE_SLACK * self.near:
            self.near = 2.0 ** (math.floor(4.0 * math.log2(frame.near)) / 4.0)
        if not self.far / 16.0 <= frame.far <= self.far:  # far away, inverse depth hardly differs
            self.far = 2.0 ** math.ceil(math.log2(frame.far) + 1.0)
        return self.near, self.far


class JpegEncoder:
    """Every picture by itself."""

    def __init__(self, *, quality: int = QUALITY, bars: bool = False) -> None:
        self._quality, self._bars = quality, bars
        self._number, self._sequence = next(_encoders), 0

    def encode(self, frame: Frame, *, key: bool = False) -> Picture:
        start = time.perf_counter()
        depth = inverse_depth(frame, frame.near, frame.far)
        rgb = paint_bars(frame.rgb, frame.frame_id) if self._bars else frame.rgb
        side_by_side = np.concatenate([rgb, depth[..., None].repeat(3, axis=2)], axis=1)
        data = encode_jpeg(side_by_side, self._quality)
        self._sequence += 1
        return Picture(
            codec="jpeg",
            data=data,
            key=True,
            config="",
            encoder=self._number,
            sequence=self._sequence - 1,
            near=frame.near,
            far=frame.far,
            milliseconds=1e3 * (time.perf_counter() - start),
            bars=self._bars,
        )


class VideoEncoder:
    """H.264 (libx264) or VP8 (libvpx): no reordering, no look-ahead, key pictures only when asked for."""

    def __init__(self, codec: str, *, width: int, height: int, fps: float, rate: int, bars: bool = False) -> None:
        self.codec, self.width, self.height, self._bars = codec, width, height, bars
        self._number, self._sequence = next(_encoders), 0
        self._range = DepthRange()
        self._limited = codec == "vp8"  # VP8 cannot say that its range is full
        self._context: Any = _open_context(codec, 2 * width, height, fps, rate)

    def encode(self, frame: Frame, *, key: bool = False) -> Picture:
        start = time.perf_counter()
        near, far = self._range.fit(frame)
        key = key or self._sequence == 0
        picture = self._convert(frame, inverse_depth(frame, near, far))
        picture.pts = self._sequence
        picture.pict_type = 1 if key else 0
        packets = self._context.encode(picture)
        if len(packets) != 1:
            raise RuntimeError(f"{self.codec}: one picture must give one packet; got {len(packets)}")
        self._sequence += 1
        return Picture(
            codec=self.codec,
            data=bytes(packets[0]),
            key=bool(packets[0].is_keyframe),
            config=H264_CONFIG if self.codec == "h264" else "vp8",
            encoder=self._number,
            sequence=self._sequence - 1,
            near=near,
            far=far,
            milliseconds=1e3 * (time.perf_counter() - start),
            bars=self._bars,
        )

    def _convert(self, frame: Frame, depth: NDArray[np.uint8]) -> Any:
        import av

        rgb = paint_bars(frame.rgb, frame.frame_id) if self._bars else frame.rgb
        span = _LIMITED if self._limited else _FULL
        color = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(
            format="yuv420p", dst_color_range=span, dst_colorspace=_BT601, threads=1
        )
        whole = av.VideoFrame(2 * self.width, self.height, "yuv420p")
        luma = np.rint(16.0 + depth * (219.0 / 255.0)).astype(np.uint8) if self._limited else depth
        for index, right in enumerate((luma, 128, 128)):
            plane = _pixels(whole.planes[index])
            half = plane.shape[1] // 2
            plane[:, :half] = _pixels(color.planes[index])
            plane[:, half:] = right
        whole.color_range, whole.colorspace = span, _BT601
        return whole


def open_encoder(
    codec: str, rung: int, *, width: int, height: int, fps: float, bars: bool = False
) -> JpegEncoder | VideoEncoder:
    """A stream of `codec` at one of `RUNGS`, for frames of this size. ValueError for a codec that is not known."""
    if codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}; got {codec!r}")
    if codec == "jpeg":
        return JpegEncoder(quality=JPEG_QUALITIES[rung], bars=bars)
    return VideoEncoder(codec, width=width, height=height, fps=fps, rate=RUNGS[rung], bars=bars)


def choose_codec(offered: tuple[str, ...]) -> str:
    """The first of the client's codecs that we have; JPEG, which every client has, when there is none."""
    return next((name for name in offered if name in CODECS and name in available_codecs()), "jpeg")


def available_codecs() -> tuple[str, ...]:
    """Codecs that this machine's libav can encode; JPEG is always there."""
    import av

    return tuple(name for name in CODECS if name == "jpeg" or _LIBRARIES[name] in av.codecs_available)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """A (H, W, 3) picture as JPEG, colour at full resolution."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, format="JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def inverse_depth(frame: Frame, near: float, far: float) -> NDArray[np.uint8]:
    """(H, W) grey levels (1/d − 1/far) / (1/near − 1/far): 0 is far or sky, 255 is near."""
    inverse = 1.0 / np.maximum(frame.depth, np.float32(near))  # sky is inf, so 0
    scale = 255.0 / (1.0 / near - 1.0 / far)
    return np.rint(np.clip((inverse - 1.0 / far) * scale, 0.0, 255.0)).astype(np.uint8)


_LIBRARIES = {"h264": "libx264", "vp8": "libvpx"}


def _open_context(codec: str, width: int, height: int, fps: float, rate: int) -> Any:
    import av

    context: Any = av.CodecContext.create(_LIBRARIES[codec], "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1000)
    context.time_base = 1 / context.framerate
    context.bit_rate = rate
    context.thread_count = 1  # the world's own threads have the other cores
    context.color_range, context.colorspace = (_LIMITED if codec == "vp8" else _FULL), _BT601
    limits = {"maxrate": str(rate), "bufsize": str(int(rate * VBV_FRAMES / fps)), "g": "100000"}
    if codec == "h264":
        extra = "scenecut=0:bframes=0:ref=1:level=31"
        options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": extra,
        }
    else:
        options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}
    context.options = limits | options
    context.open()
    return context


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """(H, W) view of a libav plane, without the padding of its rows."""
    rows: NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
