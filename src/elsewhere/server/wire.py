"""What goes over the WebSocket: frames down as binary, words both ways as JSON.

`schema` lists the header's fields (little-endian) and the messages; the page's side, web/src/protocol.ts, is made from
it. After the fixed fields come `config_bytes` of the encoder's configuration, then the picture. `wait` is from encoded
to handed to the socket; `round trip` is from there to the client's acknowledgement of the last frame that it
acknowledged. This file does not know who is connected.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.frame import Frame
from elsewhere.server.codecs import JpegEncoder, Picture
from elsewhere.server.schema import (
    CODECS,
    FLAG_BARS,
    FLAG_DEPTH,
    FLAG_KEY,
    HEADER_BYTES,
    HEADER_STRUCT,
    MAGIC,
    TIMINGS,
    VERSION,
    Message,
    MessageError,
    Words,
    header_offset,
    read_fields,
)

_STAMP = struct.Struct("<2f")
_STAMP_AT = header_offset("timings") + 4 * TIMINGS.index("wait")
_TIMINGS = struct.Struct(f"<{len(TIMINGS)}f")
_TIMINGS_AT = header_offset("timings")
_SENT = struct.Struct("<d")
_FRAME_ID = struct.Struct("<Q")
_SENT_AT = header_offset("sent")
_CODEC_NAMES = {number: name for name, number in CODECS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The fields of a frame's header, as read back."""

    codec: str
    flags: int
    config: str
    width: int
    height: int
    frame_id: int
    world_id: str
    tick: int
    seed: int
    c2w: NDArray[np.float32]  # (4, 4)
    focal: float
    center: tuple[float, float]
    near: float
    far: float
    timings: dict[str, float]
    sequence: int
    encoder: int
    begun: float
    sent: float

    @property
    def key(self) -> bool:
        """Whether the picture needs no other."""
        return bool(self.flags & FLAG_KEY)


def pack_frame(frame: Frame, picture: Picture | None = None) -> bytes:
    """`frame` as bytes, with its encoded `picture`; a JPEG is made where there is none."""
    picture = picture or JpegEncoder().encode(frame)
    height, width = frame.depth.shape
    timings = {**frame.timings, "encode": picture.milliseconds}
    config = picture.config.encode("ascii")
    header = HEADER_STRUCT.pack(
        MAGIC,
        VERSION,
        HEADER_BYTES + len(config),
        CODECS[picture.codec],
        (FLAG_KEY if picture.key else 0) | FLAG_DEPTH | (FLAG_BARS if picture.bars else 0),
        len(config),
        width,
        height,
        frame.frame_id,
        int(frame.world_id, 16),
        frame.tick,
        frame.seed,
        *(float(value) for value in np.asarray(frame.c2w).ravel()),
        frame.focal,
        *frame.center,
        picture.near,
        picture.far,
        *(timings.get(name, 0.0) for name in TIMINGS),
        picture.sequence,
        picture.encoder,
        1e3 * frame.begun,
        0.0,
    )
    return header + config + picture.data


def stamp_packet(packet: bytes, wait: float, round_trip: float, sent: float = 0.0) -> bytes:
    """`packet` with what differs between clients: two spans, and the clock when it was sent, in milliseconds."""
    stamped = bytearray(packet)
    _STAMP.pack_into(stamped, _STAMP_AT, wait, round_trip)
    _SENT.pack_into(stamped, _SENT_AT, sent)
    return bytes(stamped)


def restamp_packet(packet: bytes, frame_id: int, begun: float) -> bytes:
    """`packet` as another frame, begun at `begun` milliseconds of this server's clock: a recording shown again."""
    stamped = bytearray(packet)
    _FRAME_ID.pack_into(stamped, header_offset("frame_id"), frame_id)
    _SENT.pack_into(stamped, header_offset("begun"), begun)
    _TIMINGS.pack_into(stamped, _TIMINGS_AT, *(0.0 for _ in TIMINGS))
    return bytes(stamped)


def read_timings(packet: bytes) -> tuple[float, ...]:
    """The milliseconds in a packet's header, in the order of TIMINGS."""
    return _TIMINGS.unpack_from(packet, _TIMINGS_AT)


def unpack_frame(packet: bytes) -> tuple[Header, bytes]:
    """The header and the picture's bytes. ValueError when it is no frame of this version."""
    if len(packet) < 6 or int.from_bytes(packet[:4], "little") != MAGIC:
        raise ValueError("packet must begin with a frame header; it does not")
    version = int.from_bytes(packet[4:6], "little")
    if version != VERSION:
        raise ValueError(f"packet must have protocol version {VERSION}; got {version}")
    if len(packet) < HEADER_BYTES:
        raise ValueError(f"packet must begin with a frame header of {HEADER_BYTES} bytes; got {len(packet)}")
    values = HEADER_STRUCT.unpack_from(packet)
    _, _, begin, codec, flags, config_bytes, width, height, frame_id, world, tick, seed = values[:12]
    numbers = values[12:]
    last = 21 + len(TIMINGS)
    if codec not in _CODEC_NAMES or begin != HEADER_BYTES + config_bytes or len(packet) < begin:
        raise ValueError("packet must begin with a frame header of a known codec; it does not")
    header = Header(
        codec=_CODEC_NAMES[codec],
        flags=flags,
        config=packet[HEADER_BYTES:begin].decode("ascii", "replace"),
        width=width,
        height=height,
        frame_id=frame_id,
        world_id=f"{world:016x}",
        tick=tick,
        seed=seed,
        c2w=np.array(numbers[:16], dtype=np.float32).reshape(4, 4),
        focal=numbers[16],
        center=(numbers[17], numbers[18]),
        near=numbers[19],
        far=numbers[20],
        timings=dict(zip(TIMINGS, numbers[21:last], strict=True)),
        sequence=numbers[last],
        encoder=numbers[last + 1],
        begun=numbers[last + 2],
        sent=numbers[last + 3],
    )
    return header, packet[begin:]


def read_message(text: str) -> Message:
    """A client's words. MessageError says what is wrong with them."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("a message must be a JSON object") from None
    if not isinstance(fields, dict):
        raise MessageError("a message must be a JSON object")
    return read_fields(fields)


def write_words(words: Words) -> str:
    """The server's words as JSON."""
    return json.dumps({"type": words.kind, **asdict(words)}, ensure_ascii=False)
