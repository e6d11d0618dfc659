"""A recording: the frames of one stream as they went over the wire, in a file.

    8 bytes    "ELSWREC2"
    then, for each frame: f64 seconds since the first, u32 bytes, the packet (see `wire`)

Little-endian. What was cut off in the middle of a frame is a recording up to there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from elsewhere.live.film import film_frames
from elsewhere.live.options import Options
from elsewhere.scene.description import Scene
from elsewhere.server.codecs import RUNGS
from elsewhere.server.schema import HEADER_BYTES
from elsewhere.server.studio import Studio
from elsewhere.server.watcher import Parcel, Stream, Watcher
from elsewhere.server.wire import unpack_frame

MAGIC = b"ELSWREC2"
KEY_SECONDS = 2.0
"""Who comes to a recording waits so long at most."""
PACKET_BYTES_MOST = 16 * 1024 * 1024
_ENTRY = struct.Struct("<dI")


class Recorder:
    """Writes packets to `path`, a new file; a context manager. The first one written is a key frame."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "xb")  # noqa: SIM115 (closed in `close`)
        self._file.write(MAGIC)
        self._begun: float | None = None

    def add(self, packet: bytes, now: float) -> None:
        """A packet that was sent at `now`, in seconds. What comes before the first key frame is left out."""
        if self._begun is None:
            if not unpack_frame(packet)[0].key:
                return
            self._begun = now
        self._file.write(_ENTRY.pack(now - self._begun, len(packet)))
        self._file.write(packet)

    def close(self) -> None:
        """Ends the recording."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tape(Watcher):
    """A watcher whose frames go to a recorder. It reads at once, only watches, and never steers."""

    def __init__(self, recorder: Recorder, now: float, *, codec: str = "h264", fps: int = 24) -> None:
        super().__init__(now, fps=fps)
        self.name, self.watch_only = "recording", True
        self._recorder = recorder
        self.choose(codec, now)

    def offer(self, stream: Stream, parcel: Parcel, now: float) -> None:
        super().offer(stream, parcel, now)
        while (item := self.take(now)) is not None:
            if isinstance(item, bytes):
                self._recorder.add(item, now)
                self.acknowledge(parcel.frame_id, now)


def read_recording(path: str | os.PathLike[str]) -> Iterator[tuple[float, bytes]]:
    """(seconds since the first, packet) of each frame of a recording. ValueError when it is none."""
    with Path(path).open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path}: a recording begins with {MAGIC.decode()}; this file does not")
        while len(entry := stream.read(_ENTRY.size)) == _ENTRY.size:
            at, size = _ENTRY.unpack(entry)
            if not HEADER_BYTES <= size <= PACKET_BYTES_MOST:
                raise ValueError(f"{path}: a frame must have {HEADER_BYTES} to {PACKET_BYTES_MOST} bytes; got {size}")
            packet = stream.read(size)
            if len(packet) < size:
                return
            yield at, packet


def record_world(
    scene: Scene,
    options: Options,
    path: str | os.PathLike[str],
    count: int,
    *,
    codec: str = "h264",
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Writes `count` frames of a world as a stream of the best rate, with a key frame every `KEY_SECONDS`.

    Nothing is left behind when it does not come to its end.
    """
    stream = Stream(codec, len(RUNGS) - 1)
    studio = Studio(options.fps)
    opened = Recorder(path)  # an existing file is refused here, before there is anything to tidy up
    try:
        with opened as recorder:
            for number, frame in enumerate(film_frames(scene, options, count)):
                key = number % round(KEY_SECONDS * options.fps) == 0
                ((_, parcel),) = studio.encode(frame, {stream: key})
                recorder.add(parcel.packet, number / options.fps)
                progress()
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
