"""What each flow waited for: the rule that would break if it came a cycle earlier, and who stands in its way.

Measured on the program as it lies, whoever scheduled it. For every instruction the last use of each thing that it
needs (rows in memory, weights, unit, port, bank, stream) is found; the cycles between are its slack, and a flow waited
for the one with the least. A chain of such waits leads from the last flow back to the first: its steps add up to all
cycles of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import Kind, Op, Program
from elsewhere.compiler.targets.tsp.report.flows import BYTES, MEMORY, Flows, delays, places

Array = NDArray[Any]

KINDS = (
    "rows being made",
    "rows being made, in the bank where they go",
    "weights being loaded",
    "matrix plane",
    "weight buffer",
    "vector unit",
    "switch unit",
    "memory bank",
    "memory port",
    "stream",
    "queue",
    "nothing: the first",
)
"""In the order in which they are named where several are equally tight: a dependency explains more than a port."""
DATA, FILLING, WEIGHTS, PLANE, BUFFER, VECTOR, SWITCH, BANK, PORT, STREAM, QUEUE, FIRST = range(len(KINDS))


@dataclass(frozen=True, slots=True)
class Waits:
    """For each flow (flows,): what held it, by how many cycles it missed the moment, and the flow that held it."""

    kind: Array
    slack: Array
    by: Array
    """-1 for none."""
    waiting: Array
    """The instruction of it that waited, or -1."""
    holding: Array
    """The instruction that held it, or -1."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of the chain: `flow` could not start before `cycle + cycles` for `kind`, which `by` held."""

    flow: int
    by: int
    kind: int
    cycle: int
    cycles: int
    slack: int


def find_waits(program: Program, flows: Flows) -> Waits:
    """The tightest rule of every flow."""
    best = np.full(flows.count, np.iinfo(np.int64).max)
    by = np.full(flows.count, -1)
    kind = np.full(flows.count, FIRST)
    pair = np.full((2, flows.count), -1)
    for number, waiting, holding, slack in _limits(program):
        mine, other = flows.of[waiting], flows.of[holding]
        real = (flows.order[other] < flows.order[mine]) & (slack >= 0)
        waiting, holding, mine, other, slack = (x[real] for x in (waiting, holding, mine, other, slack))
        order = np.lexsort((holding, waiting, other, slack, mine))
        order = order[np.r_[True, mine[order][1:] != mine[order][:-1]]] if len(order) else order
        order = order[slack[order] < best[mine[order]]]
        chosen = mine[order]
        best[chosen], by[chosen], kind[chosen] = slack[order], other[order], number
        pair[0, chosen], pair[1, chosen] = waiting[order], holding[order]
    return Waits(kind, np.where(by < 0, 0, best), by, pair[0], pair[1])


def critical_chain(flows: Flows, waits: Waits, cycles: int) -> list[Step]:
    """From the last flow back to the first. The steps' cycles add up to `cycles`."""
    if not flows.count:
        return []
    flow, now = int(np.argmax(flows.end)), cycles
    steps = []
    while (by := int(waits.by[flow])) >= 0:
        begin = min(now, int(flows.start[by]))
        # The stretch from where the holder began to where this flow could begin, and for the last flow to its end.
        steps.append(Step(flow, by, int(waits.kind[flow]), begin, now - begin, int(waits.slack[flow])))
        flow, now = by, begin
    steps.append(Step(flow, -1, FIRST, 0, now, 0))
    return steps[::-1]


Limit = tuple[int, Array, Array, Array]
"""Number of a kind; instructions that wait, instructions that hold them, slack in cycles."""


def _limits(program: Program) -> Iterator[Limit]:
    code = program.code
    issue = code["issue"].astype(np.int64)
    end = issue + code["count"]
    op, queue = code["op"], code["queue"].astype(np.int64)
    yield DATA, *_written(program)
    yield from _matrix(program)
    m = program.machine
    alu = op == Op.ALU
    yield VECTOR, *_after(queue, issue, end, alu)
    yield SWITCH, *_after(queue, issue, end, queue >= m.slices + m.alus + 3 * m.planes)
    a = code["a"].astype(np.int64)
    memory = np.isin(op, MEMORY)
    later, earlier, slack = _after(a[:, 0] * m.banks_per_slice + a[:, 1] // m.bank_rows, issue, end, memory)
    strip = code["strip"]
    own = (strip[later] == strip[earlier]) & (strip[later] >= 0) & (op[earlier] == Op.WRITE) & (op[later] == Op.READ)
    yield FILLING, later[own], earlier[own], slack[own]
    yield BANK, later[~own], earlier[~own], slack[~own]
    writes = np.isin(op, (Op.WRITE, Op.SCATTER))
    yield PORT, *_after(2 * a[:, 0] + writes, issue, end, memory)
    yield STREAM, *_streams(program)
    yield QUEUE, *_after(queue, issue, issue + 1, np.ones(len(code), bool))


def _after(key: Array, start: Array, end: Array, mine: Array) -> tuple[Array, Array, Array]:
    """Each use of a key and the one before it."""
    who = np.flatnonzero(mine)
    who = who[np.lexsort((start[who], key[who]))]
    same = key[who[1:]] == key[who[:-1]]
    later, earlier = who[1:][same], who[:-1][same]
    return later, earlier, start[later] - end[earlier]


def _written(program: Program) -> tuple[Array, Array, Array]:
    """Row by row: a read and the last write of its row before."""
    code, m = program.code, program.machine
    who = np.flatnonzero(np.isin(code["op"], (Op.READ, Op.WRITE)))
    count = code["count"][who].astype(np.int64)
    index = np.repeat(who, count)
    inside = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    a = code["a"].astype(np.int64)
    cell = a[index, 0] * m.rows_per_slice + a[index, 1] + a[index, 2] * inside
    time = code["issue"][index] + inside
    write = code["op"][index] == Op.WRITE
    order = np.lexsort((time, cell))
    cell, time, write, index = cell[order], time[order], write[order], index[order]
    latest = np.maximum.accumulate(np.where(write, np.arange(len(order)), -1))
    begin = np.maximum.accumulate(np.where(np.r_[True, cell[1:] != cell[:-1]], np.arange(len(order)), 0))
    reads = np.flatnonzero(~write & (latest >= begin))
    source = latest[reads]
    return index[reads], index[source], time[reads] - time[source] - m.memory_write


def _matrix(program: Program) -> Iterator[Limit]:
    """Rows after their weights are installed, weights after the rows that the last ones serve, buffers in turn."""
    code, m = program.code, program.machine
    issue = code["issue"].astype(np.int64)
    end = issue + code["count"]
    op, plane = code["op"], code["a"][:, 0]
    for number in range(m.planes):
        mine = np.flatnonzero((plane == number) & np.isin(op, (Op.LOAD, Op.INSTALL, Op.ACTIVATE)))
        mine = mine[np.argsort(issue[mine], kind="stable")]
        load, install, rows = (op[mine] == o for o in (Op.LOAD, Op.INSTALL, Op.ACTIVATE))
        yield WEIGHTS, *_last(mine, install, rows, issue, issue + m.weights_install)
        yield WEIGHTS, *_last(mine, load, install, issue, end)
        yield PLANE, *_last(mine, rows, install, issue, end)
        yield PLANE, *_last(mine, rows, rows, issue, end)
        yield BUFFER, *_last(mine, install, load, issue, issue + 1)
        yield BUFFER, *_last(mine, load, load, issue, end)


def _last(mine: Array, holds: Array, waits: Array, start: Array, free: Array) -> tuple[Array, Array, Array]:
    """For each that waits, the last before it that holds."""
    at = np.maximum.accumulate(np.where(holds, np.arange(len(mine)), -1)) if len(mine) else np.zeros(0, np.int64)
    before = np.r_[-1, at[:-1]] if len(at) else at
    later = np.flatnonzero(waits & (before >= 0))
    waiting, holding = mine[later], mine[before[later]]
    return waiting, holding, start[waiting] - free[holding]


def _streams(program: Program) -> tuple[Array, Array, Array]:
    """Producers on one stream of one hemisphere, in the order of their diagonals (cycle minus way travelled)."""
    code = program.code
    legs = stream_legs(program)
    keys, starts, ends, who = [], [], [], []
    low, high = np.minimum(legs.place, legs.last), np.maximum(legs.place, legs.last)
    for byte in range(int(legs.width.max(initial=0))):
        for side, there in enumerate((low < 0, high > 0)):
            mine = (legs.width > byte) & there
            keys.append((legs.stream[mine] + byte) * 2 + side)
            starts.append(legs.diagonal[mine])
            ends.append(legs.diagonal[mine] + legs.count[mine])
            who.append(legs.who[mine])
    if not keys:
        return (np.zeros(0, np.int64),) * 3
    key, start, end, index = (np.concatenate(x) for x in (keys, starts, ends, who))
    order = np.lexsort((start, key))
    key, start, end, index = key[order], start[order], end[order], index[order]
    same = key[1:] == key[:-1]
    assert len(code) > index.max(initial=-1)
    return index[1:][same], index[:-1][same], (start[1:] - end[:-1])[same]


@dataclass(frozen=True, slots=True)
class Legs:
    """Rows that instructions put on streams (legs,): first stream, streams side by side, cycle and place of row 0."""

    who: Array
    stream: Array
    width: Array
    cycle: Array
    place: Array
    count: Array
    last: Array
    """The farthest place at which a row is taken; the producer's own where nobody takes it."""

    @property
    def west(self) -> Array:
        return self.stream >= 256

    @property
    def diagonal(self) -> Array:
        made: Array = np.where(self.west, self.cycle + self.place, self.cycle - self.place)
        return made


def stream_legs(program: Program) -> Legs:
    """What travels, from the instructions that put it on streams and those that take it last."""
    code = program.code
    place = places(program.machine)[code["queue"]]
    out = place.copy()
    summed = code["op"] == Op.ACCUMULATE
    out[summed] = np.sign(place[summed]) * program.machine.matrix_to_vector
    issue, late = code["issue"].astype(np.int64), delays(program)
    low = np.full(int(code["outs"]["wire"].max(initial=-1)) + 2, np.iinfo(np.int64).max)
    high = np.full(len(low), np.iinfo(np.int64).min)
    for slot in range(3):
        operand = code["ins"][:, slot]
        mine = (operand["kind"] == Kind.STREAM) & (operand["wire"] >= 0) & (operand["wire"] < len(low))
        np.minimum.at(low, operand["wire"][mine], place[mine])
        np.maximum.at(high, operand["wire"][mine], place[mine])
    who, slots = [], []
    for slot in range(2):
        mine = np.flatnonzero(code["outs"]["stream"][:, slot] >= 0)
        who.append(mine)
        slots.append(np.full(len(mine), slot))
    index, slot_of = np.concatenate(who), np.concatenate(slots)
    outs = code["outs"][index, slot_of]
    stream = outs["stream"].astype(np.int64)
    start = out[index]
    wire = outs["wire"]
    found = np.where(stream >= 256, low[wire], high[wire])
    ends = np.where((wire < 0) | (low[wire] > high[wire]), start, found)
    width = BYTES[np.clip(outs["dtype"], 0, 3)]
    count = code["count"][index].astype(np.int64)
    return Legs(index, stream, width, issue[index] + late[index], start, count, ends)
