"""The reader of messages: what is well formed, and every way not to be."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.compiler.importers import ImportFileError, protobuf
from elsewhere.compiler.importers.protobuf import Field, read, varint

SCHEMA = {
    "Top": {
        1: Field("number", "int"),
        2: Field("numbers", "int", True),
        3: Field("real", "float"),
        4: Field("reals", "float", True),
        5: Field("data", "bytes"),
        6: Field("name", "string"),
        7: Field("inner", "Top", True),
        8: Field("double", "double"),
    }
}


def coded(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(number: int, wire: int, value: bytes) -> bytes:
    return coded(number << 3 | wire) + (coded(len(value)) if wire == 2 else b"") + value


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(value: int) -> None:
    assert read(entry(1, 0, coded(value)), SCHEMA, "Top")["number"] == value


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.floats(width=32, allow_nan=False)))
def test_packed_and_plain_lists_are_the_same(numbers: list[int], reals: list[float]) -> None:
    packed = entry(2, 2, b"".join(map(coded, numbers))) + entry(4, 2, struct.pack(f"<{len(reals)}f", *reals))
    plain = b"".join(entry(2, 0, coded(n)) for n in numbers) + b"".join(
        entry(4, 5, struct.pack("<f", x)) for x in reals
    )
    for data in (packed, plain):
        message = read(data, SCHEMA, "Top")
        assert message["numbers"] == numbers
        assert message["reals"] == reals


def test_messages_in_messages_and_unknown_fields() -> None:
    inside = entry(6, 2, "größe".encode()) + entry(99, 2, b"unknown") + entry(98, 0, coded(3)) + entry(97, 5, b"1234")
    message = read(entry(7, 2, inside) + entry(7, 2, b"") + entry(8, 1, struct.pack("<d", 2.5)), SCHEMA, "Top")
    assert [m.get("name") for m in message["inner"]] == ["größe", None]
    assert message["double"] == 2.5
    assert read(b"", SCHEMA, "Top") == {"numbers": [], "reals": [], "inner": []}


def test_the_last_of_a_field_counts_and_bytes_are_views() -> None:
    data = entry(5, 2, b"first") + entry(5, 2, b"last")
    assert bytes(read(data, SCHEMA, "Top")["data"]) == b"last"
    assert read(data, SCHEMA, "Top")["data"].obj is data


WRONG = {
    "ends inside a number": (b"\x08\x80", "byte 2: the data ends inside a number"),
    "a number of 70 bits": (b"\x08" + b"\xff" * 10 + b"\x01", "more than 64 bits"),
    "a length beyond the end": (b"\x2a\x05abc", "byte 2: 5 bytes are announced, 3 are left"),
    "a length beyond all": (b"\x2a" + b"\xff" * 9 + b"\x01", "bytes are announced"),
    "a field of number 0": (b"\x00\x00", "a field of number 0"),
    "an old group": (b"\x0b\x0c", "wire type 3 is not in use"),
    "wire type 7": (b"\x0f", "wire type 7"),
    "a number where a text should be": (entry(6, 0, coded(1)), "name must have a length"),
    "a text where a number should be": (entry(1, 2, b"x"), "number must be a number"),
    "a number where a real should be": (entry(3, 0, b"\x01"), "real must be a float"),
    "half a real": (entry(4, 2, b"abcdef"), "6 bytes, no multiple of 4"),
    "no UTF-8": (entry(6, 2, b"\xff\xfe"), "name is not UTF-8"),
    "inside a message": (entry(7, 2, b"\x08"), "byte 3: the data ends inside a number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_malformed_is_refused_with_its_place(name: str) -> None:
    data, message = WRONG[name]
    with pytest.raises(ImportFileError, match=message):
        read(data, SCHEMA, "Top")


def test_depth_and_count_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b""
    for _ in range(protobuf.DEPTH + 2):
        data = entry(7, 2, data)
    with pytest.raises(ImportFileError, match="nested more than 48 deep"):
        read(data, SCHEMA, "Top")
    monkeypatch.setattr(protobuf, "FIELDS", 100)
    read(entry(2, 2, b"\x01" * 99), SCHEMA, "Top")
    with pytest.raises(ImportFileError, match="more than 100 fields"):
        read(entry(2, 2, b"\x01" * 100), SCHEMA, "Top")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ImportFileError):
        read(data, SCHEMA, "Top")


@given(st.binary(max_size=12))
def test_a_number_never_reads_beyond_its_data(data: bytes) -> None:
    try:
        value, end = varint(memoryview(data), 0)
    except ImportFileError:
        return
    assert 0 <= value < 2**64
    assert 1 <= end <= len(data)
