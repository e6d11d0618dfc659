"""Programs: instruction streams per queue with exact issue cycles, and the memory that they start from.

Times. `issue` is the cycle in which a unit works on the first of `count` rows; row i follows i cycles later. A stream
operand of a unit at place x is what the stream's register at x holds in that cycle (the vector unit samples
`vector_entry + delay` cycles earlier). A result stands in the stream's register at the unit's place `latency` cycles
after `issue`; a consumer at the same place still sees what came from upstream. Every cycle a stream's values move one
hop: east to larger x, west to smaller.

A wire is an annotation: the rows that one leg of a stream is meant to carry. The chip has no such tag; the checker
proves from it that every operand is what the compiler meant, and the simulators never look at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine

Array = NDArray[Any]


class Op(IntEnum):
    """What an instruction does; `a` are its four integers."""

    READ = 1  # a = slice, address, step
    WRITE = 2  # a = slice, address, step, first lane | lanes' end << 16
    GATHER = 3  # a = slice, address, rows: the address of row i is address + clamp(index i)
    SCATTER = 4  # a = slice, address, rows, as GATHER; in0 the data, in1 the index
    ALU = 5  # a = function
    SHIFT = 6  # a = distance, first lane, lanes' end, 1 if lanes come back at the other side
    PERMUTE = 7  # a = map
    DISTRIBUTE = 8  # a = map, which stays inside superlanes
    TRANSPOSE = 9  # 16 rows in, then 16 rows out; count is a multiple of 16
    LOAD = 10  # a = plane, first row, streams, byte: rows of weights into a plane's buffer (LW)
    INSTALL = 11  # a = plane, 1 if f16 (IW)
    ACTIVATE = 12  # a = plane, first lane, lanes' end, 1 if f16: rows times installed weights (ABC)
    ACCUMULATE = 13  # a = plane, first accumulator row, 1 if added to what is there, 1 if sent out (ACC)
    SEND = 14  # a = links, a bit each: a vector leaves as a packet on each of them; count is 1
    RECEIVE = 15  # a = link: the packet that came first and waits there becomes a vector on a stream; count is 1


class Kind(IntEnum):
    """Where an operand comes from."""

    NONE = 0
    STREAM = 1
    ALU = 2
    NUMBER = 3


TYPES = ("i8", "f16", "i32", "f32")
WIDTH = {"i8": 1, "f16": 2, "i32": 4, "f32": 4}
FUNCTIONS = (
    *(
        [
            "abs",
            "ceil",
            "cos",
            "erf",
            "exp",
            "floor",
            "log",
            "neg",
            "not",
            "reciprocal",
            "round",
            "rsqrt",
            "sigmoid",
            "sign",
            "sin",
            "sqrt",
            "tanh",
        ]
    ),
    *(["add", "sub", "mul", "div", "max", "min", "pow", "less", "less_equal", "equal", "and", "or"]),
    "select",
    "cast",
    "move",
)
SLOW = frozenset(["cos", "erf", "exp", "log", "reciprocal", "rsqrt", "sigmoid", "sin", "sqrt", "tanh", "div", "pow"])
"""Functions that take `vector_function` cycles."""

OPERAND = np.dtype(
    [("kind", "u1"), ("dtype", "u1"), ("delay", "<i2"), ("source", "<i4"), ("wire", "<i4"), ("row", "<i4")]
)
RESULT = np.dtype([("stream", "<i2"), ("dtype", "<i2"), ("wire", "<i4"), ("row", "<i4")])
INSTRUCTION = np.dtype(
    [
        ("op", "u1"),
        ("dtype", "u1"),
        ("queue", "<i2"),
        ("issue", "<i4"),
        ("count", "<i4"),
        ("a", "<i4", (4,)),
        ("ins", OPERAND, (3,)),
        ("outs", RESULT, (2,)),
        ("strip", "<i4"),
        ("row", "<i4"),
        ("row_step", "<i4"),
        ("symbol", "<i4"),
        ("meant", "<i4"),
    ]
)
"""One macro-operation (an instruction and its Repeat). `strip`, `row`, `row_step` and `meant` are annotations, as wires
are; the chip has no such fields. By operation they say

- READ, WRITE, GATHER, SCATTER: which rows of which strip are meant (row i is `row` + i·`row_step` of `strip`);
- ALU: `meant` numbers its result, and an operand from another ALU holds that number as its wire, and as its row the
  first of the other's rows that it takes;
- LOAD, INSTALL: `meant` numbers the weights; LOAD's `row` and `row_step` are the lanes they are for;
- ACTIVATE: `meant` are the weights, `row` the first row of the sums, `row_step` the number of the sums;
- ACCUMULATE: `meant` numbers the sums, `row` is the first of them, `row_step` which segment of K is added;
- SEND, RECEIVE: `meant` numbers the vector among all that the chips send, `row` and `row_step` are
  which byte of which type it is.
"""

STRIP = np.dtype(
    [
        ("slice", "<i4"),
        ("address", "<i4"),
        ("rows", "<i4"),
        ("lanes", "<i4"),
        ("byte", "<i4"),
        ("dtype", "<i4"),
        ("flags", "<i4"),
    ]
)
"""Where a strip lies, how many of its lanes mean something, which byte of which type it holds, and GIVEN, KEPT."""

GIVEN, CONSTANT, KEPT = 1, 2, 4
"""A strip that holds something before the first cycle; that no instruction may write; that an output is read from."""

EAST, WEST = 0, 1


class ProgramError(ValueError):
    """A program that is damaged, for another machine, or not what it says."""


@dataclass(frozen=True, slots=True)
class Queues:
    """Numbers of the in-order instruction queues of a machine."""

    machine: TspMachine

    def alu(self, index: int) -> int:
        return self.machine.slices + index

    def matrix(self, plane: int, part: int) -> int:
        """Part 0 loads and installs weights, 1 takes activations, 2 accumulates."""
        return self.machine.slices + self.machine.alus + 3 * plane + part

    def switch(self, hemisphere: int, unit: str, index: int) -> int:
        m = self.machine
        first = {"shift": 0, "permute": m.shifters, "distribute": m.shifters + m.permutors}
        first["transpose"] = first["distribute"] + m.distributors
        each = first["transpose"] + m.transposers
        return m.slices + m.alus + 3 * m.planes + hemisphere * each + first[unit] + index

    def link(self, hemisphere: int, index: int) -> int:
        m = self.machine
        return self.switch(1, "transpose", m.transposers - 1) + 1 + hemisphere * m.link_queues + index

    @property
    def count(self) -> int:
        return self.link(1, self.machine.link_queues - 1) + 1

    def name(self, queue: int) -> str:
        m = self.machine
        if queue < m.slices:
            return f"{'we'[queue // m.slices_per_hemisphere]}mem{queue % m.slices_per_hemisphere}"
        if queue < m.slices + m.alus:
            return f"alu{queue - m.slices}"
        if queue < self.switch(0, "shift", 0):
            plane, part = divmod(queue - m.slices - m.alus, 3)
            return f"mxm{plane}.{('load', 'abc', 'acc')[part]}"
        if queue >= self.link(0, 0):
            side, index = divmod(queue - self.link(0, 0), m.link_queues)
            return f"{'we'[side]}c2c{index}"
        each = self.switch(1, "shift", 0) - self.switch(0, "shift", 0)
        side, index = divmod(queue - self.switch(0, "shift", 0), each)
        for unit in ("transpose", "distribute", "permute", "shift"):
            start = self.switch(0, unit, 0) - self.switch(0, "shift", 0)
            if index >= start:
                return f"{'we'[side]}sxm.{unit}{index - start}"
        raise AssertionError(queue)


def hemisphere_of(machine: TspMachine, queue: int) -> int:
    """0 west, 1 east, for queues of memory, matrix and switch units."""
    if queue < machine.slices:
        return queue // machine.slices_per_hemisphere
    queues = Queues(machine)
    if queue < queues.switch(0, "shift", 0):
        return (queue - machine.slices - machine.alus) // 3 // machine.planes_per_hemisphere
    if queue >= queues.link(0, 0):
        return (queue - queues.link(0, 0)) // machine.link_queues
    return int(queue >= queues.switch(1, "shift", 0))


def latency(machine: TspMachine, op: int, function: int = 0) -> int:
    """Cycles from `issue` to the result in the stream's register, or to the next ALU."""
    if op == Op.ALU:
        return machine.vector_function if FUNCTIONS[function] in SLOW else machine.vector_operation
    return {
        Op.READ: machine.memory_read,
        Op.GATHER: machine.memory_read + 1,
        Op.SHIFT: machine.switch_shift,
        Op.PERMUTE: machine.switch_permute,
        Op.DISTRIBUTE: machine.switch_distribute,
        Op.TRANSPOSE: 16 + machine.switch_transpose,
        Op.ACCUMULATE: machine.matrix_drain,
    }.get(Op(op), 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """An input, output or state: rows of `columns` elements, and where the bytes of each copy lie.

    `pieces` (P, 7) are copy, tile, byte, first row, rows, slice, address. A value with one column fills all lanes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Array
    columns: int
    """Elements of a row as it lies; values of few channels lie a picture's row to a row."""
    order: tuple[int, ...] = ()
    """The order of axes in which the value lies, if it is another than that of its shape: the host turns it."""

    def lying(self, value: Array) -> Array:
        """A value of the port's shape as rows of `columns`."""
        turned = value.transpose(self.order) if self.order else value
        return turned.reshape(-1, self.columns)

    def value(self, rows: Array) -> Array:
        """The value that lies as these rows of `columns`."""
        if not self.order:
            return rows.reshape(self.shape)
        turned = rows.reshape([self.shape[axis] for axis in self.order])
        return np.ascontiguousarray(turned.transpose(np.argsort(self.order)))

    @property
    def rows(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) // max(1, self.columns)


@dataclass(kw_only=True, slots=True)
class Program:
    """All that runs on one chip. `image` are (slice, first address, bytes (rows, lanes)) of constants."""

    machine: TspMachine
    code: Array
    symbols: tuple[str, ...] = ("",)
    maps: Array = field(default_factory=lambda: np.zeros((0, 320), np.int16))
    image: list[tuple[int, int, Array]] = field(default_factory=list)
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    """(input, output) names: after a run the input holds what the output holds."""
    strips: Array = field(default_factory=lambda: np.zeros(0, STRIP))
    """Stored rows by number, which annotations of memory instructions refer to."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the compiler found out on the way, as JSON."""

    @property
    def cycles(self) -> int:
        """From the first instruction to the last lane of the last row."""
        if not len(self.code):
            return 0
        return int((self.code["issue"] + self.code["count"]).max()) + self.machine.superlanes - 1

    @property
    def seconds(self) -> float:
        return self.cycles / self.machine.clock_hz


SEALED = {
    Op.WRITE: (3,),
    Op.GATHER: (2,),
    Op.SCATTER: (2,),
    Op.ALU: (0,),
    Op.SHIFT: (0, 1, 2, 3),
    Op.PERMUTE: (0,),
    Op.DISTRIBUTE: (0,),
    Op.LOAD: (2, 3),
    Op.INSTALL: (1,),
    Op.ACTIVATE: (1, 2, 3),
    Op.ACCUMULATE: (2, 3),
    Op.SEND: (0,),
    Op.RECEIVE: (0,),
}
"""Arguments that say what an instruction computes, not when or where."""


def operations(code: Array, maps: Array, symbols: int) -> list[int]:
    """For each symbol a 64-bit sum over what its instructions compute: operations, types, numbers, lanes, lane maps.

    Cycles, queues, streams and addresses are not in it. No schedule tells an addition from a subtraction, so this is
    how damage to what is computed is found.
    """
    with np.errstate(over="ignore"):
        powers = _mixed(np.arange(1, maps.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
        of_map = _mixed((maps.astype(np.int64).view(np.uint64) * powers).sum(axis=1, dtype=np.uint64))
        total = _mixed(code["op"].astype(np.uint64) << np.uint64(8) | code["dtype"].astype(np.uint64))
        for op, arguments in SEALED.items():
            mine = np.flatnonzero(code["op"] == op)
            for argument in arguments:
                value = code["a"][mine, argument].astype(np.int64)
                number = -1 - value if op == Op.WRITE else value
                mapped = op in (Op.PERMUTE, Op.DISTRIBUTE) or (op == Op.WRITE)
                mapped = mapped & (number >= 0) & (number < len(of_map))
                words = value.view(np.uint64).copy()
                words[mapped] = of_map[number[mapped]]
                total[mine] = _mixed(total[mine] + words + np.uint64(argument))
        for slot in range(code["ins"].shape[1]):
            operand = code["ins"][:, slot]
            number = np.where(operand["kind"] == Kind.NUMBER, operand["source"], 0).astype(np.int64).view(np.uint64)
            kinds = operand["kind"].astype(np.uint64) << np.uint64(8) | operand["dtype"].astype(np.uint64)
            total = _mixed(_mixed(total + kinds) + number)
        sums = np.zeros(symbols, np.uint64)
        known = (code["symbol"] >= 0) & (code["symbol"] < symbols)
        np.add.at(sums, code["symbol"][known], total[known])
    return [int(x) for x in sums]


def _mixed(words: Array) -> Array:
    """SplitMix64's finaliser (Steele et al., 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def to_bytes(values: Array, dtype: str, lanes: int) -> Array:
    """(rows, columns) → (tiles, bytes, rows, lanes) of uint8; one column fills all lanes, other padding is 0."""
    numpy_type: Any = {"i8": np.int8, "f16": "<f2", "i32": "<i4", "f32": "<f4"}[dtype]
    rows, columns = values.shape
    if columns == 1:
        padded = np.repeat(values.astype(numpy_type), lanes, axis=1)
        tiles = 1
    else:
        tiles = -(-columns // lanes)
        padded = np.zeros((rows, tiles * lanes), numpy_type)
        padded[:, :columns] = values
    split = np.ascontiguousarray(padded).view(np.uint8).reshape(rows, tiles, lanes, WIDTH[dtype])
    return np.ascontiguousarray(split.transpose(1, 3, 0, 2))


def from_bytes(parts: Array, dtype: str) -> Array:
    """(bytes, …, lanes) of uint8 → (…, lanes) of numbers."""
    if dtype == "i8":
        return parts[0].view(np.int8)
    joined = np.ascontiguousarray(np.moveaxis(parts, 0, -1))
    return joined.view({"f16": "<f2", "i32": "<i4", "f32": "<f4"}[dtype])[..., 0]
