"""The wire's schema: the fields of a frame's header, and every message with the rules of its fields.

`wire` reads and writes by it, and scripts/generate_wire.py makes the page's TypeScript of it. It does not know how
bytes travel.
"""

from __future__ import annotations

import struct
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

VERSION = 2
PROTOCOL_PREFIX = "elsewhere."
PROTOCOL = f"{PROTOCOL_PREFIX}{VERSION}"
TOKEN_PROTOCOL = "token."
MAGIC = 0x57534C45
"""The bytes "ELSW", as a little-endian number."""

CODECS = {"jpeg": 1, "h264": 2, "vp8": 3}
FLAG_KEY, FLAG_DEPTH, FLAG_BARS = 1, 2, 4
TIMINGS = ("simulate", "guide", "hold", "network", "decode", "encode", "wait", "round_trip")
"""The order of a header's milliseconds. All but the last add up to `sent - begun`."""

PROMPT_BYTES_MOST = 2_000
NAME_BYTES_MOST = 64
SIGNAL_BYTES_MOST = 16_384
TURN_MOST = 64.0
OFFSET_MOST = 1_000.0
ACROSS_MOST = 2.2
WHOLE_MOST = 2**64 - 1
STAGE_MOST = 60_000.0


@dataclass(frozen=True, slots=True)
class Field:
    """`count` numbers of a struct format `kind`, at the next offset of the header."""

    name: str
    kind: str
    count: int = 1
    about: str = ""


HEADER = (
    Field("magic", "I", about='"ELSW"'),
    Field("version", "H", about="of this protocol"),
    Field("header_bytes", "H", about="where the picture begins"),
    Field("codec", "B", about="1 JPEG, 2 H.264, 3 VP8"),
    Field("flags", "B", about="1 key frame, 2 inverse depth at the right of the colour, 4 bar code in the first rows"),
    Field("config_bytes", "H", about="ASCII of the encoder's configuration, after the fixed fields"),
    Field("width", "H", about="of the colour picture, pixels"),
    Field("height", "H", about="of the colour picture, pixels"),
    Field("frame_id", "Q", about="counts up; frames that were left out have ids too"),
    Field("world_id", "Q", about="the same for all frames of one world"),
    Field("tick", "Q", about="of the simulation, 1/240 s"),
    Field("seed", "Q", about="of the world"),
    Field("pose", "f", 16, "camera to world, row by row"),
    Field("focal", "f", about="focal length, pixels"),
    Field("center", "f", 2, "pixels"),
    Field("near", "f", about="metres"),
    Field("far", "f", about="metres"),
    Field("timings", "f", len(TIMINGS), "milliseconds, in the order of TIMINGS"),
    Field("sequence", "I", about="counts the pictures of one encoder: without a gap, or a key frame"),
    Field("encoder", "I", about="which encoder of the server made the picture"),
    Field("begun", "d", about="server's clock when the frame's simulation began, milliseconds"),
    Field("sent", "d", about="server's clock when the frame was handed to the socket, milliseconds"),
)
HEADER_STRUCT = struct.Struct("<" + "".join(f"{f.count if f.count > 1 else ''}{f.kind}" for f in HEADER))
HEADER_BYTES = HEADER_STRUCT.size


def header_offset(name: str) -> int:
    """The byte at which field `name` begins. KeyError when there is none."""
    position = 0
    for item in HEADER:
        if item.name == name:
            return position
        position += item.count * struct.calcsize("<" + item.kind)
    raise KeyError(name)


class MessageError(ValueError):
    """A message from a client that says nothing usable."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `least` to `most`."""

    least: float
    most: float

    def read(self, name: str, value: object) -> float:
        bad = isinstance(value, bool) or not isinstance(value, int | float)
        if bad or not self.least <= value <= self.most:  # type: ignore[operator]  # NaN fails too
            raise MessageError(f"{name} must be a number between {self.least:g} and {self.most:g}")
        return float(value)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int | None = None
    most: int | None = None
    what: str = "a whole number"

    def read(self, name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise MessageError(f"{name} must be {self.what}")
        if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
            raise MessageError(f"{name} must be {self.what}")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most `most` bytes."""

    most: int

    def read(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise MessageError(f"{name} must be text")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:  # half a character
            raise MessageError(f"{name} must be text") from None
        if size > self.most:
            raise MessageError(f"{name} must be at most {self.most} bytes; got {size}. A sentence will do")
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, name: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise MessageError(f"{name} must be true or false")
        return value


@dataclass(frozen=True, slots=True)
class Row:
    """`least` to `most` values of one rule."""

    rule: Number | Text
    least: int
    most: int
    what: str

    def read(self, name: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            raise MessageError(f"{name} must be {self.what}")
        return tuple(self.rule.read(name, item) for item in value)


@dataclass(frozen=True, slots=True)
class Maybe:
    """What `rule` reads, or null."""

    rule: Text | Whole

    def read(self, name: str, value: object) -> Any:
        return None if value is None else self.rule.read(name, value)


@dataclass(frozen=True, slots=True)
class Table:
    """At most `most` values by name, each a number or text of at most 64 bytes."""

    most: int
    number: Number

    def read(self, name: str, value: object) -> dict[str, float | str]:
        if not isinstance(value, dict) or len(value) > self.most:
            raise MessageError(f"{name} must be an object with at most {self.most} fields")
        read: dict[str, float | str] = {}
        for key, item in value.items():
            short = Text(64).read(f"a name in {name}", key)
            rule = Text(64) if isinstance(item, str) else self.number
            read[short] = rule.read(f"{name}.{short}", item)
        return read


Rule = Number | Whole | Text | Flag | Row | Maybe | Table
_MILLISECONDS = Number(0.0, STAGE_MOST)
_METRES = Number(-OFFSET_MOST, OFFSET_MOST)
_MANDATORY: Any = MISSING


def _by(rule: Rule, default: Any = _MANDATORY) -> Any:
    """A message's field that `rule` reads; without a default it must be there."""
    return field(metadata={"rule": rule}) if default is MISSING else field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True)
class Join:
    """Asks for a world: None for what the server shows, or a prompt. `codecs` are what the client can decode, best
    first; `name` is shown to others; who only watches never steers."""

    kind: ClassVar[str] = "join"
    prompt: str | None = _by(Maybe(Text(PROMPT_BYTES_MOST)), None)
    seed: int | None = _by(Maybe(Whole()), None)
    mode: str | None = _by(Maybe(Text(64)), None)
    codecs: tuple[str, ...] = _by(Row(Text(32), 0, 16, "a list of at most 16 codecs"), ("jpeg",))
    name: str = _by(Text(NAME_BYTES_MOST), "")
    watch_only: bool = _by(Flag(), False)


@dataclass(frozen=True, slots=True)
class Look:
    """Where the client looks, and how wide (radians; 0 as the shot); see `elsewhere.live.Controls`. `tick` is when it
    shall happen, 0 at once."""

    kind: ClassVar[str] = "look"
    yaw: float = _by(Number(-TURN_MOST, TURN_MOST), 0.0)
    pitch: float = _by(Number(-TURN_MOST, TURN_MOST), 0.0)
    offset: tuple[float, float, float] = _by(Row(_METRES, 3, 3, "three numbers"), (0.0, 0.0, 0.0))
    across: float = _by(Number(0.0, ACROSS_MOST), 0.0)
    tick: int = _by(Whole(0, WHOLE_MOST, "a tick"), 0)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The client has drawn this frame, or cannot. The milliseconds are its own stages, 0 when unknown."""

    kind: ClassVar[str] = "ack"
    frame: int = _by(Whole(0, WHOLE_MOST, "the id of a frame"))
    receive: float = _by(_MILLISECONDS, 0.0)
    decode: float = _by(_MILLISECONDS, 0.0)
    draw: float = _by(_MILLISECONDS, 0.0)
    total: float = _by(_MILLISECONDS, 0.0)


@dataclass(frozen=True, slots=True)
class Key:
    """The client's decoder lost its way and needs a key frame; after `codecs`, of one of these codecs."""

    kind: ClassVar[str] = "key"
    codecs: tuple[str, ...] = _by(Row(Text(32), 0, 16, "a list of at most 16 codecs"), ())


@dataclass(frozen=True, slots=True)
class AskClock:
    """The client's clock, in milliseconds; comes back with the server's."""

    kind: ClassVar[str] = "clock"
    client: float = _by(Number(-1e15, 1e15))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the client's head is in the world: metres and a quaternion xyzw; and its hands, three numbers each. Told
    to others, never stored."""

    kind: ClassVar[str] = "pose"
    position: tuple[float, float, float] = _by(Row(_METRES, 3, 3, "three numbers"))
    turn: tuple[float, float, float, float] = _by(Row(Number(-1.001, 1.001), 4, 4, "four numbers"))
    hands: tuple[float, ...] = _by(Row(_METRES, 0, 6, "at most six numbers"), ())


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing of `person` reaches this client any more, and nothing of it reaches them."""

    kind: ClassVar[str] = "block"
    person: int = _by(Whole(0, WHOLE_MOST, "the number of a person"))
    blocked: bool = _by(Flag(), True)


@dataclass(frozen=True, slots=True)
class Remove:
    """A host shows `person` out of the world."""

    kind: ClassVar[str] = "remove"
    person: int = _by(Whole(0, WHOLE_MOST, "the number of a person"))


@dataclass(frozen=True, slots=True)
class Camera:
    """Asks for a camera of its own in this world, or gives it back. The answer is news of kind camera."""

    kind: ClassVar[str] = "camera"
    own: bool = _by(Flag())


@dataclass(frozen=True, slots=True)
class Voice:
    """Whether this client wants to talk and hear. Browsers talk to each other; the server only lets them find each
    other."""

    kind: ClassVar[str] = "voice"
    on: bool = _by(Flag())


@dataclass(frozen=True, slots=True)
class Signal:
    """Words of WebRTC for `person`, who is in the same world with voice on; passed on unread."""

    kind: ClassVar[str] = "signal"
    person: int = _by(Whole(0, WHOLE_MOST, "the number of a person"))
    data: str = _by(Text(SIGNAL_BYTES_MOST))


@dataclass(frozen=True, slots=True)
class Happen:
    """Lets something happen in the world: rain {amount}, wind {speed, heading}, splash {x, z} or push {body, x, y, z}.
    Everyone is told; who only watches may not."""

    kind: ClassVar[str] = "happen"
    action: str = _by(Text(32))
    arguments: dict[str, float | str] = _by(Table(8, Number(-100.0, 100.0)))  # noqa: RUF009


Message = Join | Look | Acknowledge | Key | AskClock | Pose | Block | Remove | Camera | Voice | Signal | Happen
MESSAGES: tuple[type[Any], ...] = (
    Join,
    Look,
    Acknowledge,
    Key,
    AskClock,
    Pose,
    Block,
    Remove,
    Camera,
    Voice,
    Signal,
    Happen,
)
_BY_KIND = {message.kind: message for message in MESSAGES}
KINDS = ", ".join(_BY_KIND)


def read_fields(values: dict[str, Any]) -> Message:
    """The message that these JSON values are. MessageError says which field breaks which rule."""
    kind = values.get("type")
    made = _BY_KIND.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise MessageError(f"a message's type must be one of {KINDS}")
    read = {}
    for item in fields(made):
        if item.name in values:
            read[item.name] = item.metadata["rule"].read(item.name, values[item.name])
        elif item.default is MISSING:
            item.metadata["rule"].read(item.name, None)
    return made(**read)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A word that was not understood, and the nearest that is."""

    word: str
    nearest: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """A world was entered. `you` is this client's number among the people; `lens` is the shot's focal length in widths
    of the picture, 0 where it is not known."""

    kind: ClassVar[str] = "world"
    prompt: str
    seed: str  # a 63-bit number does not survive JavaScript
    mode: str
    width: int
    height: int
    fps: int
    pace: float
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]
    codec: str
    you: int
    host: bool
    lens: float


@dataclass(frozen=True, slots=True)
class Steering:
    """Who looks around, and how many are here."""

    kind: ClassVar[str] = "steering"
    steering: bool
    people: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Something was not done, and why; `code` is one of message, rate, prompt, full, world, person."""

    kind: ClassVar[str] = "error"
    code: str
    message: str
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True)
class TellClock:
    """The server's clock (milliseconds) when the client's message came, and the world's tick."""

    kind: ClassVar[str] = "clock"
    client: float
    server: float
    tick: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What the world is shown with, and what was lost: frames that came late, and frames this client skipped. `fallen`
    counts the steps down from what was asked for."""

    kind: ClassVar[str] = "quality"
    steps: int
    width: int
    height: int
    fps: float
    kilobits: int
    late: int
    skipped: int
    fallen: int


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in the same world."""

    id: int
    name: str
    watch_only: bool
    host: bool
    voice: bool


@dataclass(frozen=True, slots=True)
class People:
    """Everyone in this world whom this client has not blocked, in the order they came."""

    kind: ClassVar[str] = "people"
    people: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a person's head is: metres and a quaternion xyzw; and the hands, three numbers each."""

    id: int
    position: tuple[float, float, float]
    turn: tuple[float, float, float, float]
    hands: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Heads:
    """The latest heads of others, at the server's clock in milliseconds."""

    kind: ClassVar[str] = "heads"
    clock: float
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True)
class News:
    """What happened to this world, for a subtitle; `what` is one of restarting, replaying, event, quality, camera."""

    kind: ClassVar[str] = "news"
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """Words of WebRTC from `person`."""

    kind: ClassVar[str] = "signalled"
    person: int
    data: str


Words = Welcome | Steering | Failure | TellClock | Quality | People | Heads | News | Signalled
WORDS: tuple[type[Any], ...] = (
    Welcome,
    Steering,
    Failure,
    TellClock,
    Quality,
    People,
    Heads,
    News,
    Signalled,
)
