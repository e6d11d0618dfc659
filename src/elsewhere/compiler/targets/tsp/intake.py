"""What a file says of a program, looked at before it is believed: lengths, ranges, and names that must be there.

Raises ProgramError. After it no field of a program can make a reader allocate more than the machine's memory, or index
past what there is; whether the program keeps the rules of the chip is the checker's to say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import STRIP, WIDTH, Port, Program, ProgramError

Array = NDArray[Any]
EXPANDS = 1100
"""deflate makes at most 1,032 bytes of one; a section that claims more is not what it says."""
LARGEST = 1 << 31
"""Bytes of one section at most."""
LONGEST = 1 << 16
"""Rows of one instruction at most."""
OPERATIONS = 1 << 33
"""Rows that all instructions of a program work on at most: hours of simulation."""


def section_size(size: int, packed: int) -> None:
    """What a packed section says it will be."""
    if size > LARGEST or size > EXPANDS * packed + 64:
        raise ProgramError(f"a section of {size} bytes, packed to {packed}, cannot be")


def integer(value: Any, low: int, high: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ProgramError(f"{what} must be a whole number from {low} to {high}, got {str(value)[:40]!r}")
    return value


def text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ProgramError(f"{what} must be text, got {str(value)[:40]!r}")
    return value


def port(given: dict[str, Any], machine: TspMachine) -> Port:
    """A port whose rows lie inside the memory and whose shape is the rows' own."""
    name = text(given["name"], "a port's name")
    dtype = text(given["dtype"], f"the type of port {name!r}")
    if dtype not in WIDTH:
        raise ProgramError(f"the type of port {name!r} must be one of {sorted(WIDTH)}, got {dtype[:40]!r}")
    room = machine.slices * machine.rows_per_slice * machine.lanes
    shape = tuple(integer(n, 1, room, f"a length of port {name!r}") for n in given["shape"])
    size = math.prod(shape)
    columns = integer(given["columns"], 1, room, f"the columns of port {name!r}")
    if size > room or size % columns:
        raise ProgramError(f"port {name!r} of shape {shape} has no rows of {columns} columns")
    tiles = 1 if columns == 1 else -(-columns // machine.lanes)
    pieces = np.array(given["pieces"], np.int64).reshape(-1, 7)
    highest = np.array([2 * machine.slices, tiles - 1, WIDTH[dtype] - 1, size // columns - 1, size // columns])
    inside = (pieces[:, :5] >= 0) & (pieces[:, :5] <= highest)
    lies = (pieces[:, 5] >= 0) & (pieces[:, 5] < machine.slices) & (pieces[:, 6] >= 0)
    lies &= pieces[:, 6] + pieces[:, 4] <= machine.rows_per_slice
    if not inside.all() or not lies.all() or (pieces[:, 3] + pieces[:, 4] > size // columns).any():
        raise ProgramError(f"port {name!r} lies outside the memory or its own rows")
    order = tuple(integer(axis, 0, len(shape) - 1, f"the order of port {name!r}") for axis in given.get("order", ()))
    if order and sorted(order) != list(range(len(shape))):
        raise ProgramError(f"port {name!r} lies in an order that is none of its axes")
    return Port(name=name, dtype=dtype, shape=shape, pieces=pieces, columns=columns, order=order)


def whole(program: Program) -> Program:
    """The program, if its numbers are ones that readers can work with."""
    code, machine = program.code, program.machine
    count = code["count"].astype(np.int64)
    issue = code["issue"].astype(np.int64)
    if len(code) and (count.min() < 1 or count.max() > LONGEST or issue.min() < 0 or count.sum() > OPERATIONS):
        raise ProgramError("an instruction's cycle or rows cannot be")
    known = (code["symbol"] >= 0) & (code["symbol"] < max(1, len(program.symbols)))
    if not known.all():
        raise ProgramError(f"instruction {int(np.argmin(known))} belongs to a layer that is not named")
    for symbol in program.symbols:
        text(symbol, "a layer's name")
    maps = program.maps
    shaped = maps.ndim == 2 and maps.shape[1] == machine.lanes
    if not shaped or (maps.size and (maps.min() < -1 or maps.max() >= machine.lanes)):
        raise ProgramError("a lane map names lanes that there are not")
    names = [p.name for p in (*program.inputs, *program.outputs)]
    if len({p.name for p in program.inputs}) + len({p.name for p in program.outputs}) != len(names):
        raise ProgramError("two inputs or two outputs have one name")
    for state, result in program.states:
        if state not in names or result not in names:
            raise ProgramError(f"state {str(state)[:40]!r} is no input and output of the program")
    if not isinstance(program.facts, dict):
        raise ProgramError("the program's facts are no table")
    assert program.strips.dtype == STRIP
    return program
