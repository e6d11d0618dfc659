"""Where and when instructions take their operands and leave their results: the meaning of a program, for simulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import TYPES, WIDTH, Op, Port, Program, hemisphere_of, latency, to_bytes

Array = NDArray[Any]
WIDTHS = tuple(WIDTH[t] for t in TYPES)
WEST_STREAMS = 256


class SimulationError(ValueError):
    """What no chip could do, or what it would do with values that are not there. Names the instruction."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction in plain numbers."""

    index: int
    op: Op
    dtype: str
    issue: int
    count: int
    a: tuple[int, int, int, int]
    ins: tuple[tuple[int, str, int, int], ...]  # kind, type, delay, source
    outs: tuple[tuple[int, str], ...]  # stream, type
    queue: int
    place: int
    place_out: int
    latency: int

    def sample(self, machine: TspMachine, operand: int) -> int:
        """The cycle in which row 0 of a stream operand is taken."""
        if self.op == Op.ALU:
            return self.issue - machine.vector_entry - self.ins[operand][2]
        return self.issue

    def streams(self, operand: int) -> int:
        """How many streams an operand takes."""
        return self.a[2] if self.op == Op.LOAD else WIDTHS[TYPES.index(self.ins[operand][1])]


def steps(program: Program) -> list[Step]:
    """Instructions decoded."""
    code, machine = program.code, program.machine
    places = {q: _place(machine, int(q), 0) for q in np.unique(code["queue"])}
    lists = [code[n].tolist() for n in ("op", "dtype", "issue", "count", "a", "queue")]
    ins = {n: code["ins"][n].tolist() for n in ("kind", "dtype", "delay", "source")}
    outs = {n: code["outs"][n].tolist() for n in ("stream", "dtype")}
    made = []
    for i, (op, dtype, issue, count, a, queue) in enumerate(zip(*lists, strict=True)):
        given = tuple(
            (k, TYPES[t], d, s)
            for k, t, d, s in zip(ins["kind"][i], ins["dtype"][i], ins["delay"][i], ins["source"][i], strict=True)
            if k
        )
        left = tuple((s, TYPES[t]) for s, t in zip(outs["stream"][i], outs["dtype"][i], strict=True) if s >= 0)
        place = places[queue]
        out = place
        if op == Op.ACCUMULATE:
            out = machine.matrix_to_vector * (1 if place > 0 else -1)
        late = latency(machine, op, a[0] if op == Op.ALU else 0)
        made.append(Step(i, Op(op), TYPES[dtype], issue, count, tuple(a), given, left, queue, place, out, late))
    return made


def _place(machine: TspMachine, queue: int, part: int) -> int:
    if queue < machine.slices:
        return machine.slice_place(queue)
    if queue < machine.slices + machine.alus:
        return 0
    sign = 1 if hemisphere_of(machine, queue) else -1
    in_matrix = queue < machine.slices + machine.alus + 3 * machine.planes
    return sign * (machine.matrix_place if in_matrix else machine.switch_place)


def diagonal(time: int, place: int, stream: int) -> int:
    """What stays the same while a value travels."""
    return time + place if stream >= WEST_STREAMS else time - place


def load_image(program: Program, inputs: dict[str, Array]) -> Array:
    """Memory (slices, rows, lanes) before the first cycle.

    Raises SimulationError for inputs that are missing, unknown or misshapen, or that their type cannot hold.
    """
    machine = program.machine
    names = [port.name for port in program.inputs]
    for name in inputs:
        if name not in names:
            raise SimulationError(f"there is no input {name!r}; inputs are {sorted(names)}")
    memory = np.zeros((machine.slices, machine.rows_per_slice, machine.lanes), np.uint8)
    for slice_, address, data in program.image:
        memory[slice_, address : address + len(data)] = data
    for port in program.inputs:
        if port.name not in inputs:
            raise SimulationError(f"input {port.name!r} is missing; given are {sorted(inputs)}")
        value = _given(port, np.asarray(inputs[port.name]))
        parts = to_bytes(port.lying(value), port.dtype, machine.lanes)
        for _, tile, byte, first, rows, slice_, address in port.pieces.tolist():
            memory[slice_, address : address + rows] = parts[tile, byte, first : first + rows]
    return memory


def _given(port: Port, value: Array) -> Array:
    """An input's value, if it has the port's shape and its type can hold it."""
    if value.shape != port.shape:
        raise SimulationError(f"input {port.name!r} must have shape {port.shape}, got {value.shape}")
    if value.dtype.kind not in "biuf":
        raise SimulationError(f"input {port.name!r} must hold numbers, got {value.dtype}")
    if port.dtype in ("i8", "i32"):
        if value.dtype.kind == "f":
            raise SimulationError(f"input {port.name!r} must hold whole numbers of {port.dtype}, got {value.dtype}")
        limits = np.iinfo(np.int8 if port.dtype == "i8" else np.int32)
        if value.size and (value.min() < limits.min or value.max() > limits.max):
            raise SimulationError(f"input {port.name!r} must lie from {limits.min} to {limits.max} ({port.dtype})")
    return value


def read_port(memory: Array, port: Port, lanes: int) -> Array:
    """An output's value from its first copy."""
    from elsewhere.compiler.targets.tsp.program import from_bytes

    tiles = 1 if port.columns == 1 else -(-port.columns // lanes)
    parts = np.zeros((WIDTH[port.dtype], port.rows, tiles, lanes), np.uint8)
    for copy, tile, byte, first, rows, slice_, address in port.pieces.tolist():
        if copy == 0:
            parts[byte, first : first + rows, tile] = memory[slice_, address : address + rows]
    value = from_bytes(parts, port.dtype).reshape(port.rows, tiles * lanes)
    return port.value(np.ascontiguousarray(value[:, : port.columns]))
