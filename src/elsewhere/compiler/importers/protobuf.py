"""Protocol-buffer messages read by a table of fields, with every length checked: made for files from strangers.

Knows the wire format alone. Bytes are views of the data, never copies; numbers that are packed become arrays. Depth,
the count of fields and the lengths of all messages are bounded, so that time and memory are bounded by the data's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.compiler.importers.errors import ImportFileError

DEPTH = 48
"""Messages within messages."""
FIELDS = 4_000_000
"""Fields of all messages of a file, numbers that are packed as varints counted each."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, and its kind, which is `int`, `float`, `double`, `bytes`, `string` or a message's name."""

    name: str
    kind: str
    repeated: bool = False


Schema = Mapping[str, Mapping[int, Field]]
Message = dict[str, Any]
"""Values by field name. Repeated fields are always there, as lists; others only if the data has them."""

_FIXED: dict[str, tuple[int, int, Any]] = {
    "float": (FIXED32, 4, np.dtype("<f4")),
    "double": (FIXED64, 8, np.dtype("<f8")),
}


class _Reader:
    """The data of one file, and how many more fields it may have."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.left = FIELDS

    def spend(self, count: int, at: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ImportFileError(f"byte {at}: more than {FIELDS} fields")

    def message(self, data: memoryview, name: str, depth: int, base: int) -> Message:
        """`base` is where `data` begins in the file, for messages of errors."""
        if depth > DEPTH:
            raise ImportFileError(f"byte {base}: messages are nested more than {DEPTH} deep")
        fields = self.schema[name]
        found: Message = {f.name: [] for f in fields.values() if f.repeated}
        at = 0
        while at < len(data):
            self.spend(1, base + at)
            tag, at = varint(data, at, base)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise ImportFileError(f"byte {base + at}: a field of number 0 in {name}")
            start = at
            value, at = _raw(data, at, wire, base)
            field = fields.get(number)
            if field is not None:
                self._store(
                    found, field, wire, value, depth, base + at - len(value) if wire == LENGTH else base + start
                )
        return found

    def _store(self, found: Message, field: Field, wire: int, value: Any, depth: int, at: int) -> None:
        kind = field.kind
        values: list[Any]
        if kind == "int":
            values = (
                self._integers(value, at) if wire == LENGTH and field.repeated else [_integer(value, wire, field, at)]
            )
        elif kind in _FIXED:
            values = _reals(value, wire, field, at)
        elif wire != LENGTH:
            raise ImportFileError(f"byte {at}: {field.name} must have a length, has wire type {wire}")
        elif kind == "bytes":
            values = [value]
        elif kind == "string":
            values = [text(value, field.name, at)]
        else:
            values = [self.message(value, kind, depth + 1, at)]
        if field.repeated:
            found[field.name].extend(values)
        elif values:
            found[field.name] = values[-1]

    def _integers(self, data: memoryview, base: int) -> list[int]:
        """Varints one after the other."""
        values, at = [], 0
        while at < len(data):
            self.spend(1, base + at)
            value, at = varint(data, at, base)
            values.append(signed(value))
        return values


def read(data: memoryview | bytes, schema: Schema, message: str) -> Message:
    """Decodes a whole `message`. Fields that the schema does not name are passed over. Raises ImportFileError."""
    return _Reader(schema).message(memoryview(data).cast("B"), message, 0, 0)


def varint(data: memoryview, at: int, base: int = 0) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise ImportFileError(f"byte {base + at}: the data ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise ImportFileError(f"byte {base + at}: a number of more than 64 bits")
    return value & (2**64 - 1), at


def signed(value: int) -> int:
    """Two's complement of 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def text(data: memoryview, what: str, at: int = 0) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise ImportFileError(f"byte {at}: {what} is not UTF-8") from error


def _raw(data: memoryview, at: int, wire: int, base: int) -> tuple[Any, int]:
    """A field's value undecoded: a number, or a view."""
    if wire == VARINT:
        return varint(data, at, base)
    if wire == LENGTH:
        length, at = varint(data, at, base)
    elif wire in (FIXED32, FIXED64):
        length = 4 if wire == FIXED32 else 8
    else:
        raise ImportFileError(f"byte {base + at}: wire type {wire} is not in use")
    if length > len(data) - at:
        raise ImportFileError(f"byte {base + at}: {length} bytes are announced, {len(data) - at} are left")
    return data[at : at + length], at + length


def _integer(value: Any, wire: int, field: Field, at: int) -> int:
    if wire != VARINT:
        raise ImportFileError(f"byte {at}: {field.name} must be a number, has wire type {wire}")
    return signed(value)


def _reals(value: Any, wire: int, field: Field, at: int) -> list[float]:
    expected, size, dtype = _FIXED[field.kind]
    if wire != expected and not (wire == LENGTH and field.repeated):
        raise ImportFileError(f"byte {at}: {field.name} must be a {field.kind}, has wire type {wire}")
    if len(value) % size:
        raise ImportFileError(f"byte {at}: {field.name} has {len(value)} bytes, no multiple of {size}")
    numbers: list[float] = np.frombuffer(value, dtype).tolist()
    return numbers
