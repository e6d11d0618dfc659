"""The encoders of one world: each frame once for every stream that someone watches.

It lives in the world's thread, and does not know who watches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from elsewhere.live.frame import Frame
from elsewhere.server.codecs import Encoder, open_encoder
from elsewhere.server.watcher import Parcel, Stream
from elsewhere.server.wire import pack_frame

KEY_GAP_SECONDS = 0.25
"""The least time between forced key frames of a stream: those who ask too often do not spoil it for all."""


@dataclass(slots=True)
class _Running:
    encoder: Encoder
    size: tuple[int, int]
    since_key: int = 0


class Studio:
    """Encoders by stream, opened and closed as the demand goes."""

    def __init__(self, fps: float, *, bars: bool = False) -> None:
        self._fps, self._bars = fps, bars
        self._running: dict[Stream, _Running] = {}

    @property
    def streams(self) -> frozenset[Stream]:
        """What is being encoded."""
        return frozenset(self._running)

    def encode(self, frame: Frame, demand: Mapping[Stream, bool], view: int = 0) -> list[tuple[Stream, Parcel]]:
        """A frame of camera `view` packed for each of its streams in `demand`; True asks for a key frame."""
        for stream in self._running.keys() - demand.keys():
            del self._running[stream]
        return [(stream, self._encode(stream, frame, key)) for stream, key in demand.items() if stream.view == view]

    def _encode(self, stream: Stream, frame: Frame, key: bool) -> Parcel:
        height, width = frame.depth.shape
        running = self._running.get(stream)
        if running is None or running.size != (width, height):
            made = open_encoder(stream.codec, stream.rung, width=width, height=height, fps=self._fps, bars=self._bars)
            running = self._running[stream] = _Running(made, (width, height))
        key = key and running.since_key >= KEY_GAP_SECONDS * self._fps
        picture = running.encoder.encode(frame, key=key)
        done = time.monotonic()
        if frame.begun:
            # From the moment the frame was ready, so that waiting for the interpreter is counted and stages add up.
            elapsed = 1e3 * (done - frame.begun) - sum(frame.timings.values())
            picture = replace(picture, milliseconds=max(elapsed, 0.0))
        running.since_key = 0 if picture.key else running.since_key + 1
        return Parcel(frame.frame_id, pack_frame(frame, picture), picture.key, done)
