"""Shows a recording as if it were a world: its frames at their times, again and again. Nobody steers it.

It does not know who watches, nor how a recording is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elsewhere.live.frame import Controls
from elsewhere.live.ladder import Rung
from elsewhere.scene.description import Event
from elsewhere.server.recording import read_recording
from elsewhere.server.runner import Batch, Failed, Refused
from elsewhere.server.watcher import Parcel, Stream
from elsewhere.server.wire import restamp_packet, unpack_frame
from elsewhere.server.worlds import Hear

PAUSE_SECONDS = 0.5
"""Between the end and the next beginning."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recording holds: its codec, size in pixels, frames and seconds."""

    codec: str
    width: int
    height: int
    frames: int
    seconds: float


def inspect(path: Path) -> Contents:
    """What is in a recording. ValueError when it is none, or holds no frame."""
    first, frames, seconds = None, 0, 0.0
    for at, packet in read_recording(path):
        header, _ = unpack_frame(packet)
        first = first or header
        frames, seconds = frames + 1, at
    if first is None:
        raise ValueError(f"{path}: a recording has at least one frame; this one has none")
    return Contents(first.codec, first.width, first.height, frames, seconds)


class ReplayEngine:
    """Plays the recording at `path` to whoever asks for its codec. Methods are for the event loop's thread."""

    def __init__(self, path: Path, hear: Hear) -> None:
        self._path, self._hear = path, hear
        inspect(path)
        self._streams: dict[Stream, bool] = {}
        self._watched = asyncio.Event()
        self._number = 0
        self._task = asyncio.create_task(self._play())

    def demand(self, streams: Mapping[Stream, bool]) -> None:
        """Who can take it: streams of its codec, whatever their rate."""
        self._streams = dict(streams)

    def watch(self, watched: bool) -> None:
        """Whether it runs on."""
        if watched:
            self._watched.set()
        else:
            self._watched.clear()

    def look(self, controls: Controls, tick: int = 0, view: int = 0) -> None:
        """A recording looks where it looked."""

    def apply(self, event: Event) -> None:
        """What happened has happened."""
        self._hear(Refused("a recording goes as it went"))

    async def preview(self) -> bytes | None:
        """A video's picture alone is no JPEG."""
        return None

    def stop(self) -> None:
        """Ends it."""
        self._task.cancel()

    def wait(self, seconds: float) -> None:
        """Nothing to wait for."""

    async def _play(self) -> None:
        try:
            while True:
                begun = time.monotonic()
                for at, packet in read_recording(self._path):
                    if not self._watched.is_set():
                        paused = time.monotonic()
                        await self._watched.wait()
                        begun += time.monotonic() - paused
                    await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                    self._show(packet)
                await asyncio.sleep(PAUSE_SECONDS)
        except (OSError, ValueError) as failure:
            self._hear(Failed(f"{type(failure).__name__}: {failure}"))

    def _show(self, packet: bytes) -> None:
        now = time.monotonic()
        header, _ = unpack_frame(packet)
        parcel = Parcel(self._number, restamp_packet(packet, self._number, 1e3 * now), header.key, now)
        matching = [stream for stream in self._streams if stream.codec == header.codec]
        self._hear(
            Batch(
                frame_id=self._number,
                tick=header.tick,
                ready=1e3 * now,
                late=0,
                quality=Rung(steps=1, width=header.width, height=header.height),
                fallen=0,
                busy=0.0,
                parcels=tuple((stream, parcel) for stream in matching),
            )
        )
        self._number += 1
