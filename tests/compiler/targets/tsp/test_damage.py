"""Damaged files, programs for other machines and wrong inputs: told in words, never a crash, a hang or much memory."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.assembly import MAGIC, load, save
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.cycle import run_cycles
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, LP30
from elsewhere.compiler.targets.tsp.program import ProgramError
from elsewhere.compiler.targets.tsp.semantics import SimulationError

Compiled = tuple[TspCompiled, dict[str, Any]]
ODD: tuple[Any, ...] = (
    *(-1, 0, 1, 2**31, 2**63, 2**70, 1e308, float("nan"), True, None, "", "x", "i8", [], {}, [[]], [-1, 2**40]),
    *([2**40, 2**40], {"a": 1}, "[" * 100),
)


def sections(data: bytes) -> list[bytes]:
    body, at, found = data[len(MAGIC) + 32 :], 0, []
    while at < len(body):
        _, length = struct.unpack_from("<QQ", body, at)
        found.append(zlib.decompress(body[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def signed(body: bytes) -> bytes:
    return MAGIC + hashlib.sha256(body).digest() + body


def packed(parts: list[bytes]) -> bytes:
    done = [zlib.compress(p, 1) for p in parts]
    return signed(b"".join(struct.pack("<QQ", len(r), len(p)) + p for r, p in zip(parts, done, strict=True)))


def flipped(data: bytes, random: np.random.Generator) -> bytes:
    """Some bytes changed, left out or put in."""
    made = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        if not made:
            break
        at = int(random.integers(len(made)))
        kind = random.integers(4)
        if kind == 0:
            del made[at : at + int(random.integers(1, 9))]
        elif kind == 1:
            made[at:at] = random.bytes(int(random.integers(1, 9)))
        elif kind == 2:
            made[at] = int(random.integers(256))
        else:
            made[at] ^= 1 << int(random.integers(8))
    return bytes(made)


def replaced(value: Any, random: np.random.Generator) -> Any:
    """Something odd in one place of a JSON value."""
    if isinstance(value, dict) and value and random.integers(8):
        key = sorted(value)[int(random.integers(len(value)))]
        if not random.integers(10):
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: replaced(value[key], random)}
    if isinstance(value, list) and value and random.integers(8):
        at = int(random.integers(len(value)))
        return [*value[:at], replaced(value[at], random), *value[at + 1 :]]
    return ODD[int(random.integers(len(ODD)))]


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A damaged file: as it lies, or with its digest made right again, or with damage inside what is packed."""
    kind = int(random.integers(6))
    if kind == 0:
        return flipped(data, random)
    if kind == 1:
        return data[: int(random.integers(len(data)))]
    if kind == 2:
        return signed(flipped(data[len(MAGIC) + 32 :], random))
    parts = sections(data)
    if kind == 3:
        parts[0] = json.dumps(replaced(json.loads(parts[0]), random)).encode()
    elif kind == 4:
        which = int(random.choice([1, 1, 1, 2, 4]))
        raw = bytearray(parts[which] or b"0")
        for _ in range(int(random.integers(1, 4))):
            raw[int(random.integers(len(raw)))] ^= 1 << int(random.integers(8))
        parts[which] = bytes(raw)
    else:
        which = int(random.integers(len(parts)))
        parts[which] = flipped(parts[which], random)
    return packed(parts)


def digest(data: bytes, inputs: dict[str, Any]) -> str:
    """What becomes of a file: how it ended. Anything but these is a crash."""
    try:
        program = load(data)
    except ProgramError:
        return "refused"
    if check(program):
        return "faults"
    try:
        run_bursts(program, inputs)
    except SimulationError:
        return "told while running"
    return "ran"


def test_damaged_files_are_refused_or_run(layer: Compiled) -> None:
    made, inputs = layer
    data = save(made.program)
    ends = {digest(mutated(data, np.random.Generator(np.random.Philox([1, n]))), inputs) for n in range(60)}
    assert {"refused", "faults"} <= ends


def test_lengths_that_cannot_be_take_no_memory() -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)
    body = b"".join(struct.pack("<QQ", 1 << 30, len(bomb)) + bomb for _ in range(5))
    tracemalloc.start()
    with pytest.raises(ProgramError):
        load(signed(body))
    assert tracemalloc.get_traced_memory()[1] < 1 << 28
    tracemalloc.stop()


def test_maps_of_impossible_shapes_are_told(layer: Compiled) -> None:
    """No maps of 2^40 lanes take no bytes in a file, and would take 8 TiB to look at."""
    parts = sections(save(layer[0].program))
    meta = json.loads(parts[0])
    parts[0], parts[2] = json.dumps({**meta, "maps": [0, 1 << 40]}).encode(), b""
    with pytest.raises(ProgramError, match="lane map"):
        load(packed(parts))


def test_nested_brackets_are_told(layer: Compiled) -> None:
    parts = sections(save(layer[0].program))
    parts[0] = b"[" * 200_000
    with pytest.raises(ProgramError):
        load(packed(parts))


def test_a_program_for_another_machine_is_told(layer: Compiled) -> None:
    with pytest.raises(ProgramError, match=r"for another machine.*compile the model again"):
        load(save(layer[0].program), LP30)
    mine = GROQCHIP1.changed(name="mine", matrix_drain=35)
    with pytest.raises(ProgramError, match=r"matrix_drain is 34 there and 35 here"):
        load(save(layer[0].program), mine)


@pytest.mark.parametrize("run", [run_bursts, run_cycles])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((100, 699), np.int8)}, r"must have shape \(100, 700\), got \(100, 699\)"),
        ({"x": np.zeros((100, 700), np.float32)}, "must hold whole numbers of i8, got float32"),
        ({"x": np.full((100, 700), 300)}, "must lie from -128 to 127"),
        ({"x": np.full((100, 700), "a")}, "must hold numbers"),
        ({"x": np.zeros((100, 700), np.int8), "z": 1}, r"there is no input 'z'; inputs are \['x'\]"),
    ],
)
def test_wrong_inputs_are_told(run: Any, given: dict[str, Any], message: str, layer: Compiled) -> None:
    with pytest.raises(SimulationError, match=message):
        run(layer[0].program, given)
