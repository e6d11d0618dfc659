"""Programs as text that a person reads, and as bytes that load fast. Both come back as the program they were.

The text holds the instructions; what they start from (constants, maps, ports) travels in the bytes. Nothing here is
executed or unpickled, and every length is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp import intake
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import (
    INSTRUCTION,
    STRIP,
    TYPES,
    Kind,
    Op,
    Port,
    Program,
    ProgramError,
    Queues,
)

MAGIC = b"EWTSP\x00\x00\x02"

DAMAGE = (
    *(KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError),
    *(RecursionError, zlib.error, struct.error),
)
"""What reading damaged bytes may meet."""

_LINE = re.compile(
    r"@(?P<issue>\d+) (?P<queue>[\w.]+) (?P<op>[a-z]+)\.(?P<dtype>\w+) x(?P<count>\d+) \[(?P<a>[-\d,]+)\]"
    r" \((?P<ins>[^)]*)\) -> \((?P<outs>[^)]*)\) \{(?P<note>[-\d,]+)\} ;(?P<symbol>\d+)$"
)
_STREAM = re.compile(r"([ew])(\d+):(\w+)\+(\d+)~(-?\d+)\.(-?\d+)$")
_OTHER = re.compile(r"(alu|#)(-?\d+):(\w+)\+(\d+)(?:~(-?\d+)\.(\d+))?$")


def show(program: Program, symbols: bool = True) -> str:
    """One line an instruction: cycle, queue, operation, rows, arguments, operands, results, annotation, layer."""
    queues = Queues(program.machine)
    names = {int(q): queues.name(int(q)) for q in np.unique(program.code["queue"])}
    lines = [f".symbol {i} {json.dumps(s)}" for i, s in enumerate(program.symbols)] if symbols else []
    for row in program.code:
        ins = ", ".join(_operand(o) for o in row["ins"] if o["kind"])
        outs = ", ".join(
            f"{_stream(int(o['stream']))}:{TYPES[o['dtype']]}+0~{o['wire']}.{o['row']}"
            for o in row["outs"]
            if o["stream"] >= 0
        )
        a = ",".join(map(str, row["a"].tolist()))
        lines.append(
            f"@{row['issue']} {names[int(row['queue'])]} {Op(row['op']).name.lower()}.{TYPES[row['dtype']]} "
            f"x{row['count']} [{a}] ({ins}) -> ({outs}) "
            f"{{{row['strip']},{row['row']},{row['row_step']},{row['meant']}}} ;{row['symbol']}"
        )
    return "\n".join(lines) + "\n"


def _stream(number: int) -> str:
    return f"w{number - 256}" if number >= 256 else f"e{number}"


def _operand(operand: Any) -> str:
    kind, dtype = Kind(operand["kind"]), TYPES[operand["dtype"]]
    source, delay = int(operand["source"]), int(operand["delay"])
    if kind == Kind.STREAM:
        return f"{_stream(source)}:{dtype}+{delay}~{operand['wire']}.{operand['row']}"
    if kind == Kind.ALU:
        return f"alu{source}:{dtype}+{delay}~{operand['wire']}.{operand['row']}"
    return f"#{source}:{dtype}+{delay}"


def parse(text: str, machine: TspMachine) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Instructions and symbols of a text that `show` wrote. Raises ProgramError that names the line."""
    queues = Queues(machine)
    numbers = {queues.name(q): q for q in range(queues.count)}
    rows, symbols = [], []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith(".symbol "):
                symbols.append(str(json.loads(line.split(" ", 2)[2])))
            elif line.strip():
                rows.append(np.array(_row(line, numbers), INSTRUCTION))
        except (KeyError, ValueError, IndexError, OverflowError, TypeError) as error:
            raise ProgramError(f"line {number}: not an instruction: {line[:120]!r} ({error})") from error
    return np.stack(rows) if rows else np.zeros(0, INSTRUCTION), tuple(symbols)


def _row(line: str, numbers: dict[str, int]) -> tuple[Any, ...]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError("its form is wrong")
    ins = [_parse_operand(t) for t in match["ins"].split(", ") if t]
    outs = []
    for text in match["outs"].split(", "):
        if text:
            _, dtype, _, source, wire, row = _parse_operand(text)
            outs.append((source, dtype, wire, row))
    ins += [(0, 0, 0, 0, -1, 0)] * (3 - len(ins))
    outs += [(-1, 0, -1, 0)] * (2 - len(outs))
    a = [int(x) for x in match["a"].split(",")]
    strip, row, step, meant = (int(x) for x in match["note"].split(","))
    return (
        int(Op[match["op"].upper()]),
        TYPES.index(match["dtype"]),
        numbers[match["queue"]],
        int(match["issue"]),
        int(match["count"]),
        a,
        ins,
        outs,
        strip,
        row,
        step,
        int(match["symbol"]),
        meant,
    )


def _parse_operand(text: str) -> tuple[int, int, int, int, int, int]:
    if found := _STREAM.match(text):
        source = int(found[2]) + (256 if found[1] == "w" else 0)
        return (int(Kind.STREAM), TYPES.index(found[3]), int(found[4]), source, int(found[5]), int(found[6]))
    if found := _OTHER.match(text):
        kind = Kind.ALU if found[1] == "alu" else Kind.NUMBER
        wire = -1 if found[5] is None else int(found[5])
        return (int(kind), TYPES.index(found[3]), int(found[4]), int(found[2]), wire, int(found[6] or 0))
    raise ValueError(f"operand {text!r}")


# -- bytes ----------------------------------------------------------------------------------------------------------


def save(program: Program) -> bytes:
    """Compact bytes; equal programs give equal bytes."""
    meta = {
        "machine": program.machine.name,
        "digest": program.machine.digest(),
        "description": dataclasses.asdict(program.machine),
        "symbols": program.symbols,
        "states": program.states,
        "facts": program.facts,
        "maps": program.maps.shape,
        "image": [(s, a, len(d)) for s, a, d in program.image],
        "inputs": [_port(p) for p in program.inputs],
        "outputs": [_port(p) for p in program.outputs],
    }
    image = b"".join(d.tobytes() for _, _, d in program.image)
    sections = [
        json.dumps(meta, sort_keys=True, default=int).encode(),
        _columns(program.code),
        program.maps.astype("<i2").tobytes(),
        image,
        _columns(program.strips),
    ]
    packed = [zlib.compress(s, 1) for s in sections]
    body = b"".join(struct.pack("<QQ", len(raw), len(p)) + p for raw, p in zip(sections, packed, strict=True))
    return MAGIC + hashlib.sha256(body).digest() + body


def _columns(records: NDArray[Any]) -> bytes:
    """Bytes of one kind next to each other compress well."""
    raw = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)
    return np.ascontiguousarray(raw.T).tobytes()


def _records(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What `_columns` wrote."""
    raw = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, len(data) // dtype.itemsize)
    return np.ascontiguousarray(raw.T).reshape(-1).view(dtype).copy()


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": port.shape,
        "columns": port.columns,
        "order": port.order,
        "pieces": port.pieces.tolist(),
    }


def load(data: bytes, machine: TspMachine | None = None) -> Program:
    """A program from bytes. Raises ProgramError for damage, and for another machine than `machine`."""
    if len(data) < len(MAGIC) + 32 or data[: len(MAGIC)] != MAGIC:
        raise ProgramError("this is no program for a tensor streaming processor")
    body = data[len(MAGIC) + 32 :]
    if hashlib.sha256(body).digest() != data[len(MAGIC) : len(MAGIC) + 32]:
        raise ProgramError("the program is damaged: its digest is another one")
    try:
        sections = _sections(body)
        meta = json.loads(sections[0])
        target = machine or TspMachine(**meta["description"])
        if target.digest() != meta["digest"]:
            raise ProgramError(_another(target, meta))
        return _program(target, meta, sections)
    except ProgramError:
        raise
    except DAMAGE as error:
        raise ProgramError(f"the program is damaged: {str(error)[:200]}") from error


def _another(machine: TspMachine, meta: dict[str, Any]) -> str:
    """Says in which values two machines differ: their names may be the same."""
    given = meta["description"]
    differs = [
        f"{f.name} is {given.get(f.name)!r} there and {getattr(machine, f.name)!r} here"
        for f in dataclasses.fields(machine)
        if f.name != "name" and given.get(f.name) != getattr(machine, f.name)
    ]
    more = f", and {len(differs) - 3} more" if len(differs) > 3 else ""
    return (
        f"the program is for another machine: it was made for {meta['machine']}, not for {machine.name}"
        + (f" ({'; '.join(differs[:3])}{more})" if differs else "")
        + "; compile the model again for this one"
    )


def _sections(body: bytes) -> list[bytes]:
    found, at = [], 0
    for _ in range(5):
        size, length = struct.unpack_from("<QQ", body, at)
        at += 16
        if length > len(body) - at:
            raise ProgramError(f"a section of {length} bytes is longer than the file")
        intake.section_size(size, length)
        engine = zlib.decompressobj()
        raw = engine.decompress(body[at : at + length], size + 1)
        if len(raw) != size:
            raise ProgramError("a section has another length than it says")
        found.append(raw)
        at += length
    if at != len(body):
        raise ProgramError(f"{len(body) - at} bytes too many")
    return found


def _program(machine: TspMachine, meta: dict[str, Any], sections: list[bytes]) -> Program:
    image, at = [], 0
    for slice_, address, rows in meta["image"]:
        intake.integer(slice_, 0, machine.slices - 1, "a slice of constants")
        intake.integer(rows, 1, machine.rows_per_slice, "rows of constants")
        intake.integer(address, 0, machine.rows_per_slice - rows, "an address of constants")
        size = rows * machine.lanes
        if at + size > len(sections[3]):
            raise ProgramError(f"constants at slice {slice_}, row {address} are not in the file")
        rows_of = np.frombuffer(sections[3], np.uint8, size, at).reshape(rows, machine.lanes)
        image.append((slice_, address, rows_of))
        at += size
    made = Program(
        machine=machine,
        code=_records(sections[1], INSTRUCTION),
        symbols=tuple(meta["symbols"]),
        maps=np.frombuffer(sections[2], "<i2").reshape(meta["maps"]),
        image=image,
        inputs=tuple(intake.port(p, machine) for p in meta["inputs"]),
        outputs=tuple(intake.port(p, machine) for p in meta["outputs"]),
        states=tuple((a, b) for a, b in meta["states"]),
        strips=_records(sections[4], STRIP),
        facts=meta["facts"],
    )
    return intake.whole(made)
