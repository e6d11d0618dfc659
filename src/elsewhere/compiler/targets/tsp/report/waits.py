"""What each flow waited for: the rule that would break if it came a cycle earlier, and who stands in its way.

Measured on the program as it lies, whoever scheduled it. For every instruction the last use of each thing that it
needs (rows in memory, weights, unit, port, bank, stream) is found; the cycles between are its slack, and a flow waited
for the one with the least. A chain of such waits leads from the last flow back to the first: its steps add up to all
cycles of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import Kind, Op, Program
from elsewhere.compiler.targets.tsp.report.flows import BYTES, MEMORY, Flows, delays, places, unit_groups

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
    for number, waiting, holding, slack, sole in _limits(program):
        mine, other = flows.of[waiting], flows.of[holding]
        real = (flows.order[other] < flows.order[mine]) & (slack >= 0)
        real &= slack < best[mine]
        if sole is not None:
            entries = np.flatnonzero(real)
            real[entries] = sole(entries)
        waiting, holding, mine, other, slack = (x[real] for x in (waiting, holding, mine, other, slack))
        order = np.lexsort((holding, waiting, other, slack, mine))
        order = order[np.r_[True, mine[order][1:] != mine[order][:-1]]] if len(order) else order
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


Sole = Callable[[Array], Array]
"""For entries of a limit, whether nothing else of the kind was free a cycle before the moment."""
Limit = tuple[int, Array, Array, Array, Sole | None]
"""Number of a kind; instructions that wait, instructions that hold them, slack in cycles. The last is None where there
is no choice: a bank is that bank, but an ALU is any ALU."""


def _limits(program: Program) -> Iterator[Limit]:
    code = program.code
    issue = code["issue"].astype(np.int64)
    end = issue + code["count"]
    op, queue = code["op"], code["queue"].astype(np.int64)
    yield DATA, *_written(program), None
    yield from _matrix(program)
    m = program.machine
    a = code["a"].astype(np.int64)
    memory = np.isin(op, MEMORY)
    later, earlier, slack = _after(a[:, 0] * m.banks_per_slice + a[:, 1] // m.bank_rows, issue, end, memory)
    strip = code["strip"]
    own = (strip[later] == strip[earlier]) & (strip[later] >= 0) & (op[earlier] == Op.WRITE) & (op[later] == Op.READ)
    yield FILLING, later[own], earlier[own], slack[own], None
    yield BANK, later[~own], earlier[~own], slack[~own], None
    writes = np.isin(op, (Op.WRITE, Op.SCATTER))
    yield PORT, *_after(2 * a[:, 0] + writes, issue, end, memory), None
    alu, switch = op == Op.ALU, queue >= m.slices + m.alus + 3 * m.planes
    yield QUEUE, *_after(queue, issue, issue + 1, ~alu & ~switch), None
    same = unit_groups(m)
    for number, mine in ((VECTOR, alu), (SWITCH, switch)):
        later, earlier, slack = _after(queue, issue, end, mine)
        yield number, later, earlier, slack, partial(_no_unit, (queue, issue, end, mine), same, later, slack)
    yield _streams(program)


def _no_unit(
    uses: tuple[Array, Array, Array, Array], groups: Array, later: Array, slack: Array, entries: Array
) -> Array:
    """Whether no unit like theirs was free for the whole of each entry's rows, had they come one cycle earlier."""
    queue, issue, end, mine = uses
    who = later[entries]
    start = issue[who] - slack[entries] - 1
    stop = start + end[who] - issue[who]
    free = np.zeros(len(entries), bool)
    for number in np.unique(queue[mine]).tolist():
        taken = np.flatnonzero(mine & (queue == number))
        taken = taken[np.argsort(issue[taken], kind="stable")]
        like = (groups[queue[who]] == groups[number]) & (queue[who] != number)
        at = np.searchsorted(end[taken], start, side="right")
        begins = np.where(at < len(taken), issue[taken][np.minimum(at, len(taken) - 1)], np.iinfo(np.int64).max)
        free |= like & (begins >= stop)
    # Units that no instruction uses are free at any time.
    used = np.unique(queue[mine])
    idle = np.bincount(groups, minlength=groups.max() + 1) > np.bincount(groups[used], minlength=groups.max() + 1)
    made: Array = ~(free | idle[groups[queue[who]]])
    return made


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
        yield WEIGHTS, *_last(mine, install, rows, issue, issue + m.weights_install), None
        yield WEIGHTS, *_last(mine, load, install, issue, end), None
        yield PLANE, *_last(mine, rows, install, issue, end), None
        yield PLANE, *_last(mine, rows, rows, issue, end), None
        yield BUFFER, *_last(mine, install, load, issue, issue + 1), None
        yield BUFFER, *_last(mine, load, load, issue, end), None


def _last(mine: Array, holds: Array, waits: Array, start: Array, free: Array) -> tuple[Array, Array, Array]:
    """For each that waits, the last before it that holds."""
    at = np.maximum.accumulate(np.where(holds, np.arange(len(mine)), -1)) if len(mine) else np.zeros(0, np.int64)
    before = np.r_[-1, at[:-1]] if len(at) else at
    later = np.flatnonzero(waits & (before >= 0))
    waiting, holding = mine[later], mine[before[later]]
    return waiting, holding, start[waiting] - free[holding]


def _streams(program: Program) -> Limit:
    """Producers on one stream of one hemisphere, in the order of their diagonals (cycle minus way travelled)."""
    legs = stream_legs(program)
    low, high = np.minimum(legs.place, legs.last), np.maximum(legs.place, legs.last)
    sides = np.stack([low < 0, high > 0])
    parts = [
        (legs.stream[mine] + byte, np.full(int(mine.sum()), side), np.flatnonzero(mine))
        for byte in range(int(legs.width.max(initial=1)))
        for side in (0, 1)
        if (mine := (legs.width > byte) & sides[side]).any()
    ]
    if not parts:
        none = np.zeros(0, np.int64)
        return STREAM, none, none, none, None
    stream, side, leg = (np.concatenate(x) for x in zip(*parts, strict=True))
    start = legs.diagonal[leg]
    key = stream * 2 + side
    order = np.lexsort((start, key))
    stream, side, leg, start, key = stream[order], side[order], leg[order], start[order], key[order]
    end = start + legs.count[leg]
    same = key[1:] == key[:-1]
    later = np.flatnonzero(same) + 1
    slack = start[later] - end[later - 1]
    table = {int(k): (start[key == k], end[key == k]) for k in np.unique(key).tolist()}

    def sole(entries: Array) -> Array:
        """Whether no other group of streams was free on the whole way."""
        mine = leg[later[entries]]
        wanted = legs.diagonal[mine] - slack[entries] - 1
        count, west = legs.count[mine], legs.west[mine]
        free = np.ones((len(entries), program.machine.streams), bool)
        for number in range(program.machine.streams):
            for half in (0, 1):
                for way in (0, 1):
                    taken = table.get((number + 256 * way) * 2 + half)
                    if taken is None:
                        continue
                    at = np.searchsorted(taken[1], wanted, side="right")
                    begins = taken[0][np.minimum(at, len(taken[0]) - 1)]
                    busy = (at < len(taken[0])) & (begins < wanted + count) & (west == way) & sides[half][mine]
                    free[:, number] &= ~busy
        made = np.ones(len(entries), bool)
        for width in np.unique(legs.group[mine]).tolist():
            groups = free[:, : free.shape[1] // width * width].reshape(len(entries), -1, width)
            grouped: NDArray[np.bool_] = np.any(np.all(groups, axis=2), axis=1)
            chosen = legs.group[mine] == width
            made[chosen] = ~grouped[chosen]
        return made

    return STREAM, legs.who[leg[later]], legs.who[leg[later - 1]], slack, sole


@dataclass(frozen=True, slots=True)
class Legs:
    """Rows that instructions put on streams (legs,): first stream, streams side by side, cycle and place of row 0."""

    who: Array
    stream: Array
    width: Array
    cycle: Array
    place: Array
    count: Array
    group: Array
    """Streams that lie side by side for the whole of what travels, such as all bytes of a number."""
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
    base = np.full(len(low), 1 << 20)
    top = np.full(len(low), -1)
    np.minimum.at(base, wire[wire >= 0], stream[wire >= 0])
    np.maximum.at(top, wire[wire >= 0], (stream + width)[wire >= 0])
    group = np.where(wire >= 0, top[wire] - base[wire], width)
    return Legs(index, stream, width, issue[index] + late[index], start, count, group, ends)
