"""What goes over the WebSocket: frames down as binary, words both ways as JSON.

`web/src/wire.ts` reads the same bytes. This file does not know who is connected.

A frame, little-endian:

    offset  type     what
    0       4 bytes  "ELSW"
    4       u16      protocol version
    6       u16      bytes of this header; the picture follows
    8       u8       codec: 1 JPEG
    9       u8       flags: 1 key frame, 2 inverse depth at the right of the colour picture
    10      u16      reserved, 0
    12      u16 ×2   width and height of the colour picture, pixels
    16      u64      frame id
    24      u64      world id
    32      u64      tick, 1/240 s
    40      u64      seed
    48      f32 ×16  camera to world, row by row
    112     f32 ×3   focal length and centre, pixels
    124     f32 ×2   near and far, metres
    132     f32 ×7   milliseconds: simulate, guide, network, decode, encode, wait, round trip

`wait` is from encoded to handed to the socket; `round trip` is from there to the client's acknowledgement of the
last frame that it acknowledged. Inverse depth d is grey: (1/d − 1/far) / (1/near − 1/far), 0 is far.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elsewhere.live.frame import Frame

MAGIC = b"ELSW"
VERSION = 1
CODEC_JPEG = 1
FLAG_KEY, FLAG_DEPTH = 1, 2
TIMINGS = ("simulate", "guide", "network", "decode", "encode", "wait", "round_trip")
QUALITY = 90

_HEADER = struct.Struct("<4sHHBBHHHQQQQ16f3f2f7f")
HEADER_BYTES = _HEADER.size
_WAIT_OFFSET = HEADER_BYTES - 8

PROMPT_BYTES_MOST = 2_000
TURN_MOST = 64.0
OFFSET_MOST = 1_000.0


class MessageError(ValueError):
    """A message from a client that says nothing usable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The fields of a frame's header, as read back."""

    codec: int
    flags: int
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


@dataclass(frozen=True, slots=True)
class Join:
    """Asks for a world: None for what the server shows, or a prompt."""

    prompt: str | None = None
    seed: int | None = None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Where the client looks; see `elsewhere.live.Controls`."""

    yaw: float
    pitch: float
    offset: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The client has drawn this frame."""

    frame_id: int


Message = Join | Look | Acknowledge


def pack_frame(frame: Frame, encode_clock: float = 0.0, picture: bytes | None = None) -> bytes:
    """`frame` as bytes. `encode_clock` is the milliseconds that making `picture` took."""
    height, width = frame.depth.shape
    timings = {**frame.timings, "encode": encode_clock}
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        HEADER_BYTES,
        CODEC_JPEG,
        FLAG_KEY | FLAG_DEPTH,
        0,
        width,
        height,
        frame.frame_id,
        int(frame.world_id, 16),
        frame.tick,
        frame.seed,
        *(float(value) for value in np.asarray(frame.c2w).ravel()),
        frame.focal,
        *frame.center,
        frame.near,
        frame.far,
        *(timings.get(name, 0.0) for name in TIMINGS),
    )
    return header + (encode_picture(frame) if picture is None else picture)


def encode_picture(frame: Frame) -> bytes:
    """Colour and, at its right, inverse depth, in one JPEG."""
    return encode_jpeg(np.concatenate([frame.rgb, inverse_depth(frame)[..., None].repeat(3, axis=2)], axis=1))


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A (H, W, 3) picture as JPEG, colour at full resolution."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, format="JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


def inverse_depth(frame: Frame) -> NDArray[np.uint8]:
    """(H, W) grey levels as in the header's description."""
    near, far = 1.0 / frame.near, 1.0 / frame.far
    inverse = 1.0 / np.maximum(frame.depth, frame.near)  # sky is inf, so 0
    return np.rint(255.0 * np.clip((inverse - far) / (near - far), 0.0, 1.0)).astype(np.uint8)


def stamp_packet(packet: bytes, wait: float, round_trip: float) -> bytes:
    """`packet` with the two times that differ between clients, in milliseconds."""
    return packet[:_WAIT_OFFSET] + struct.pack("<2f", wait, round_trip) + packet[HEADER_BYTES:]


def unpack_frame(packet: bytes) -> tuple[Header, bytes]:
    """The header and the picture's bytes. ValueError when it is no frame of this version."""
    if len(packet) < HEADER_BYTES or packet[:4] != MAGIC:
        raise ValueError("packet must begin with a frame header; it does not")
    values = _HEADER.unpack_from(packet)
    if values[1] != VERSION:
        raise ValueError(f"packet must have protocol version {VERSION}; got {values[1]}")
    numbers = values[12:]
    header = Header(
        codec=values[3],
        flags=values[4],
        width=values[6],
        height=values[7],
        frame_id=values[8],
        world_id=f"{values[9]:016x}",
        tick=values[10],
        seed=values[11],
        c2w=np.array(numbers[:16], dtype=np.float32).reshape(4, 4),
        focal=numbers[16],
        center=(numbers[17], numbers[18]),
        near=numbers[19],
        far=numbers[20],
        timings=dict(zip(TIMINGS, numbers[21:], strict=True)),
    )
    return header, packet[values[2] :]


def read_message(text: str) -> Message:
    """A client's words. MessageError says what is wrong with them."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("a message must be a JSON object") from None
    if not isinstance(fields, dict):
        raise MessageError("a message must be a JSON object")
    match fields.get("type"):
        case "join":
            return _read_join(fields)
        case "look":
            return _read_look(fields)
        case "ack":
            return _read_acknowledge(fields)
    raise MessageError("a message's type must be one of join, look, ack")


def _read_join(fields: dict[str, Any]) -> Join:
    prompt, seed, mode = fields.get("prompt"), fields.get("seed"), fields.get("mode")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise MessageError("prompt must be text")
        try:
            size = len(prompt.encode())
        except UnicodeEncodeError:  # half a character
            raise MessageError("prompt must be text") from None
        if size > PROMPT_BYTES_MOST:
            raise MessageError(f"prompt must be at most {PROMPT_BYTES_MOST} bytes; got {size}. A sentence will do")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise MessageError("seed must be a whole number")
    if mode is not None and not isinstance(mode, str):
        raise MessageError("mode must be text")
    return Join(prompt, seed, mode)


def _read_look(fields: dict[str, Any]) -> Look:
    offset = fields.get("offset", [0, 0, 0])
    if not isinstance(offset, list) or len(offset) != 3:
        raise MessageError("offset must be three numbers")
    x, y, z = (_number("offset", value, OFFSET_MOST) for value in offset)
    yaw = _number("yaw", fields.get("yaw", 0.0), TURN_MOST)
    return Look(yaw, _number("pitch", fields.get("pitch", 0.0), TURN_MOST), (x, y, z))


def _read_acknowledge(fields: dict[str, Any]) -> Acknowledge:
    frame_id = fields.get("frame")
    if not isinstance(frame_id, int) or isinstance(frame_id, bool) or not 0 <= frame_id < 2**64:
        raise MessageError("frame must be the id of a frame")
    return Acknowledge(frame_id)


def _number(name: str, value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= most:  # NaN fails too
        raise MessageError(f"{name} must be a number between {-most:g} and {most:g}")
    return float(value)
