"""Flows of a program: instructions that hand rows to each other in fixed cycles, and so can only be placed together.

Found from the program alone: two instructions belong together if one puts rows on a wire that the other takes them
from, if one ALU feeds another, or if an accumulation takes a plane's products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import FUNCTIONS, Kind, Op, Program, Queues, hemisphere_of, latency

Array = NDArray[Any]
BYTES = np.array([1, 2, 4, 4])
"""Bytes of i8, f16, i32 and f32."""
MEMORY = (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER)


@dataclass(frozen=True, slots=True)
class Flows:
    """`of` (instructions,) is the flow of each; flows are numbered by their first cycle."""

    of: Array
    start: Array
    """(flows,) first cycle in which an instruction of it is issued."""
    end: Array
    """(flows,) the cycle after its last row."""
    symbol: Array
    """(flows,) the layer that it works for."""
    order: Array
    """(flows,) when it was placed: wires are numbered as they are made. A flow can only wait for those before it."""

    @property
    def count(self) -> int:
        return len(self.start)


def find_flows(program: Program) -> Flows:
    """All flows of a program."""
    code = program.code
    issue = code["issue"].astype(np.int64)
    end = issue + code["count"]
    label = _components(len(code), _wired(program), _chained(program), _summed(program))
    _, of = np.unique(label, return_inverse=True)
    count = int(of.max(initial=-1)) + 1
    start = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(start, of, issue)
    order = np.argsort(start, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    of, start = rank[of], start[order]
    last = np.zeros(count, np.int64)
    np.maximum.at(last, of, end)
    symbol = np.zeros(count, np.int64)
    symbol[of] = code["symbol"]
    return Flows(of, start, last, symbol, _placed(program, of, count))


def _placed(program: Program, of: Array, count: int) -> Array:
    """The least wire of each flow; what has none (an installation of weights) comes after the load that it ends."""
    code = program.code
    order = np.full(count, np.inf)
    for side, slots in (("ins", 3), ("outs", 2)):
        for slot in range(slots):
            wire = code[side]["wire"][:, slot]
            real = (
                code["ins"]["kind"][:, slot] == Kind.STREAM if side == "ins" else code["outs"]["stream"][:, slot] >= 0
            )
            real = real & (wire >= 0)
            np.minimum.at(order, of[real], wire[real])
    for plane in range(program.machine.planes):
        mine = np.flatnonzero(np.isin(code["op"], (Op.LOAD, Op.INSTALL)) & (code["a"][:, 0] == plane))
        mine = mine[np.argsort(code["issue"][mine], kind="stable")]
        for before, after in zip(mine[:-1].tolist(), mine[1:].tolist(), strict=True):
            if code["op"][after] == Op.INSTALL and not np.isfinite(order[of[after]]):
                order[of[after]] = order[of[before]] + 0.5
    return np.where(np.isfinite(order), order, -1.0)


def _components(count: int, *edges: tuple[Array, Array]) -> Array:
    """The least number in each connected component, by passing it on and jumping."""
    label = np.arange(count)
    a = np.concatenate([e[0] for e in edges])
    b = np.concatenate([e[1] for e in edges])
    while True:
        least = np.minimum(label[a], label[b])
        before = label.copy()
        np.minimum.at(label, label[a], least)
        np.minimum.at(label, label[b], least)
        label = label[label]
        if (label == before).all():
            return label


def _wired(program: Program) -> tuple[Array, Array]:
    """Neighbours among all that touch one wire."""
    code = program.code
    wires, who = [], []
    everyone = np.arange(len(code))
    for slot in range(2):
        mine = (code["outs"]["stream"][:, slot] >= 0) & (code["outs"]["wire"][:, slot] >= 0)
        wires.append(code["outs"]["wire"][mine, slot])
        who.append(everyone[mine])
    for slot in range(3):
        mine = (code["ins"]["kind"][:, slot] == Kind.STREAM) & (code["ins"]["wire"][:, slot] >= 0)
        wires.append(code["ins"]["wire"][mine, slot])
        who.append(everyone[mine])
    wire, index = np.concatenate(wires), np.concatenate(who)
    order = np.argsort(wire, kind="stable")
    wire, index = wire[order], index[order]
    same = wire[1:] == wire[:-1]
    return index[:-1][same], index[1:][same]


def places(machine: TspMachine) -> Array:
    """(queues,) signed hops from the vector unit, west below 0: where each queue's unit takes its operands."""
    queues = Queues(machine)
    number = np.arange(queues.count)
    side = np.array([1 if hemisphere_of(machine, q) else -1 for q in number.tolist()])
    made = side * machine.matrix_place
    made[number >= queues.switch(0, "shift", 0)] = (side * machine.switch_place)[number >= queues.switch(0, "shift", 0)]
    made[machine.slices : machine.slices + machine.alus] = 0
    made[: machine.slices] = [machine.slice_place(q) for q in range(machine.slices)]
    return made


def unit_groups(machine: TspMachine) -> Array:
    """(queues,) equal numbers for units of which any may be taken: all ALUs, and a hemisphere's shifters and so on."""
    queues = Queues(machine)
    names = [queues.name(q).rstrip("0123456789") for q in range(queues.count)]
    made: Array = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return made


def delays(program: Program) -> Array:
    """(instructions,) cycles from issue to the result."""
    code = program.code
    made = np.zeros(len(code), np.int64)
    for op in np.unique(code["op"]).tolist():
        mine = code["op"] == op
        if op == Op.ALU:
            table = np.array([latency(program.machine, op, f) for f in range(len(FUNCTIONS))])
            made[mine] = table[np.clip(code["a"][mine, 0], 0, len(FUNCTIONS) - 1)]
        else:
            made[mine] = latency(program.machine, op)
    return made


def _match(left: Array, right: Array) -> tuple[Array, Array]:
    """Positions i, j with left[i] == right[j]; keys on the left are unique or the first is meant."""
    if not len(left) or not len(right):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(left, kind="stable")
    at = np.minimum(np.searchsorted(left[order], right), len(left) - 1)
    found = left[order][at] == right
    return order[at[found]], np.flatnonzero(found)


def _chained(program: Program) -> tuple[Array, Array]:
    """ALUs that feed ALUs: the source's result exists `delay` cycles before the consumer's issue."""
    code, first = program.code, program.machine.slices
    alus = np.flatnonzero(code["op"] == Op.ALU)
    span = 1 << 40
    made = (code["queue"][alus].astype(np.int64) - first) * span + code["issue"][alus] + delays(program)[alus]
    a, b = [], []
    for slot in range(3):
        operand = code["ins"][alus, slot]
        mine = operand["kind"] == Kind.ALU
        wanted = operand["source"][mine].astype(np.int64) * span + code["issue"][alus][mine] - operand["delay"][mine]
        i, j = _match(made, wanted)
        a.append(alus[i])
        b.append(alus[mine][j])
    return np.concatenate(a), np.concatenate(b)


def _summed(program: Program) -> tuple[Array, Array]:
    """Passes of a plane and the accumulations that take their products."""
    code, span = program.code, 1 << 40
    rows, sums = np.flatnonzero(code["op"] == Op.ACTIVATE), np.flatnonzero(code["op"] == Op.ACCUMULATE)
    plane = code["a"][:, 0].astype(np.int64) * span + code["issue"]
    i, j = _match(plane[rows] + program.machine.matrix_multiply, plane[sums])
    return rows[i], sums[j]
