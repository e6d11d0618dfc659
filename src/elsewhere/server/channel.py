"""Messages between the door and the process that makes frames: a JSON head and raw bytes after it.

    u32 bytes of the head, u32 bytes of the body, the head, the body

Little-endian. No pickle: neither side runs what the other one says.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from elsewhere.live.frame import Controls
from elsewhere.live.ladder import Rung
from elsewhere.scene.description import Event
from elsewhere.server.runner import Batch, Failed, Happened, Refused, Replaying, Report
from elsewhere.server.watcher import Parcel, Stream

_LENGTHS = struct.Struct("<II")
HEAD_BYTES_MOST, BODY_BYTES_MOST = 1 << 20, 1 << 26


class ChannelError(RuntimeError):
    """The other side does not keep to the form of messages."""


def pack(head: Mapping[str, Any], *parts: bytes) -> bytes:
    """One message."""
    text = json.dumps(head).encode()
    return b"".join((_LENGTHS.pack(len(text), sum(map(len, parts))), text, *parts))


def _check(lengths: bytes) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(lengths)
    if head > HEAD_BYTES_MOST or body > BODY_BYTES_MOST:
        raise ChannelError(f"a message has at most {HEAD_BYTES_MOST} + {BODY_BYTES_MOST} bytes; got {head} + {body}")
    return head, body


async def read(reader: StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """The next message, or None where the other side is gone."""
    try:
        head, body = _check(await reader.readexactly(_LENGTHS.size))
        text = await reader.readexactly(head)
        return json.loads(text), await reader.readexactly(body)
    except (IncompleteReadError, ConnectionError):
        return None


class Line:
    """The blocking end of a channel, for a process with threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._writing = threading.Lock()

    def send(self, head: Mapping[str, Any], *parts: bytes) -> None:
        """Sends one message, from any thread. OSError when nobody listens any more."""
        with self._writing:
            self._connection.sendall(pack(head, *parts))

    def receive(self) -> tuple[dict[str, Any], bytes] | None:
        """The next message, or None where the other side is gone."""
        lengths = self._reader.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            return None
        head, body = _check(lengths)
        return json.loads(self._reader.read(head)), self._reader.read(body)


def write_report(report: Report) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """A report as head and parts of a message."""
    match report:
        case Batch():
            parcels = [[s.codec, s.rung, s.view, p.frame_id, p.key, p.made, len(p.packet)] for s, p in report.parcels]
            head = {
                "frame": report.frame_id,
                "tick": report.tick,
                "ready": report.ready,
                "late": report.late,
                "quality": asdict(report.quality),
                "fallen": report.fallen,
                "busy": report.busy,
                "view": report.view,
                "parcels": parcels,
            }
            return {"type": "batch", **head}, tuple(parcel.packet for _, parcel in report.parcels)
        case Happened():
            return {"type": "happened", "event": asdict(report.event)}, ()
        case Refused():
            return {"type": "refused", "reason": report.reason}, ()
        case Replaying():
            return {"type": "replaying", "share": report.share}, ()
        case Failed():
            return {"type": "failed", "reason": report.reason}, ()


def read_report(head: Mapping[str, Any], body: bytes) -> Report:
    """What `write_report` wrote. ChannelError for other kinds."""
    match head.get("type"):
        case "batch":
            parcels, at = [], 0
            for codec, rung, view, frame_id, key, made, size in head["parcels"]:
                parcels.append((Stream(codec, rung, view), Parcel(frame_id, body[at : at + size], key, made)))
                at += size
            return Batch(
                frame_id=head["frame"],
                tick=head["tick"],
                ready=head["ready"],
                late=head["late"],
                quality=Rung(**head["quality"]),
                fallen=head["fallen"],
                busy=head["busy"],
                view=head["view"],
                parcels=tuple(parcels),
            )
        case "happened":
            return Happened(Event(**head["event"]))
        case "refused":
            return Refused(head["reason"])
        case "replaying":
            return Replaying(head["share"])
        case "failed":
            return Failed(head["reason"])
        case other:
            raise ChannelError(f"a report must be of a known type; got {other!r}")


def write_demand(streams: Mapping[Stream, bool]) -> list[list[Any]]:
    """A demand as JSON."""
    return [[stream.codec, stream.rung, stream.view, key] for stream, key in streams.items()]


def read_demand(rows: Sequence[Sequence[Any]]) -> dict[Stream, bool]:
    """What `write_demand` wrote."""
    return {Stream(codec, rung, view): key for codec, rung, view, key in rows}


def read_controls(values: Mapping[str, Any]) -> Controls:
    """Controls from `asdict`, after JSON has made lists of tuples."""
    x, y, z = values["offset"]
    return Controls(**{**values, "offset": (x, y, z)})
