"""When a scheduled program's own text could be fetched: free read ports and stream diagonals ahead of its use.

Text lies in memory, 16 bytes an instruction, rows of one queue's instructions; a queue has a buffer of so many
instructions (assumed), which is full when the program starts. A fetch is a read of one row, which travels on one free
stream and is taken by the queue in a cycle in which it issues nothing, when the buffer has room for it and before its
first instruction is due. Planned, not part of the program: the simulators need no text, and the reads' own text is
counted but not fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.checker.streams import legs
from elsewhere.compiler.targets.tsp.checker.view import MEMORY, WESTWARD, View
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import Op, Program

Array = NDArray[Any]
BUFFER = 80
"""Instructions that a queue holds: not published, assumed."""
TRIES = 256
"""Cycles that are tried for a fetch, from the latest back."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One row of text: read in cycle `issue` from `bank` of `slice`, taken by `queue` in cycle `taken`."""

    queue: int
    row: int
    slice: int
    bank: int
    stream: int
    issue: int
    taken: int


@dataclass(kw_only=True, slots=True)
class Plan:
    """What fits. `late` are (queue, row) for which no cycle was found; `preloaded` rows are there from the start."""

    instructions: int
    rows: int
    preloaded: int
    fetches: list[Fetch] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Fetches that fit without delay, of all that are needed."""
        needed = len(self.fetches) + len(self.late)
        return len(self.fetches) / needed if needed else 1.0

    def text_bytes(self, machine: TspMachine) -> int:
        """Bytes of text, with one instruction more for each read and each fetch."""
        return machine.instruction_bytes * (self.instructions + 2 * (self.rows - self.preloaded))


class Planner:
    """What is busy in a program, cycle by cycle."""

    def __init__(self, program: Program, buffer: int) -> None:
        self.program, self.machine, self.buffer = program, program.machine, buffer
        self.view = View(program)
        self.view.locate()
        machine, view = self.machine, self.view
        self.per = machine.lanes // machine.instruction_bytes
        self.end = int((view.issue + view.count).max()) + 1
        self.hops = 2 * machine.matrix_place + 2
        span = self.end + 2 * self.hops
        self.reading = np.zeros((machine.slices, self.end), bool)
        self.banks = np.zeros((machine.slices * machine.banks_per_slice, self.end), bool)
        self.streams = np.zeros((2, machine.streams, 2, span), bool)
        self.issues = {int(q): np.sort(view.issue[view.queue == q]) for q in np.unique(view.queue)}
        self.places = dict(zip(view.queue.tolist(), view.place.tolist(), strict=True))
        self.issuing = {q: set(cycles.tolist()) for q, cycles in self.issues.items()}
        self._mark()
        strips = program.strips
        used = np.zeros(machine.slices * machine.banks_per_slice, np.int64)
        lies = strips["address"] >= 0
        bank = strips["slice"].astype(np.int64) * machine.banks_per_slice + strips["address"] // machine.bank_rows
        np.maximum.at(used, bank[lies], (strips["address"] % machine.bank_rows + strips["rows"])[lies])
        self.room = machine.bank_rows - used

    def _mark(self) -> None:
        view, machine = self.view, self.machine
        for i in np.flatnonzero(np.isin(view.op, MEMORY)).tolist():
            slice_, start = int(view.a[i, 0]), int(view.issue[i])
            stop = start + int(view.count[i])
            if view.op[i] in (Op.READ, Op.GATHER):
                self.reading[slice_, start:stop] = True
            bank = int(view.a[i, 1]) // machine.bank_rows
            self.banks[slice_ * machine.banks_per_slice + bank, start:stop] = True
        for lines in legs(view):
            for stream, diagonal, count, place in lines[:4].T.tolist():
                direction, number = int(stream >= WESTWARD), stream % WESTWARD
                at = diagonal + self.hops
                sides = (int(place > 0),) if place else (0, 1)
                for side in sides:
                    self.streams[direction, number, side, at : at + count] = True

    def plan(self) -> Plan:
        """All rows of text, those due first before the others."""
        rows, preloaded = 0, 0
        wanted: list[tuple[int, int, int, int]] = []
        for queue, issues in self.issues.items():
            for row in range(-(-len(issues) // self.per)):
                rows += 1
                if (row + 1) * self.per <= self.buffer:
                    preloaded += 1
                    continue
                before = row * self.per - self.buffer + self.per
                wanted.append((int(issues[row * self.per]), int(issues[before - 1]) + 1, queue, row))
        made = Plan(instructions=len(self.program.code), rows=rows, preloaded=preloaded)
        arrived: dict[int, int] = {}
        for due, earliest, queue, row in sorted(wanted):
            found = self._fetch(queue, row, max(earliest, arrived.get(queue, -1) + 1), due)
            if found is None:
                made.late.append((queue, row))
            else:
                arrived[queue] = found.taken
                made.fetches.append(found)
        return made

    def _fetch(self, queue: int, row: int, earliest: int, due: int) -> Fetch | None:
        place = self.places[queue]
        slices = self._slices(queue, row)
        for taken in range(due - 1, max(earliest, due - TRIES) - 1, -1):
            if taken in self.issuing[queue]:
                continue
            for slice_ in slices:
                found = self._from(slice_, queue, row, place, taken)
                if found is not None:
                    return found
        return None

    def _slices(self, queue: int, row: int) -> list[int]:
        """Slices to read from: near ones of both hemispheres, others first for every row."""
        count = self.machine.slices
        return [(7 * queue + 13 * row + 31 * i) % count for i in range(24)]

    def _from(self, slice_: int, queue: int, row: int, place: int, taken: int) -> Fetch | None:
        machine = self.machine
        origin = machine.slice_place(slice_)
        issue = taken - abs(place - origin) - machine.memory_read
        if origin == place or issue < 0 or self.reading[slice_, issue] or issue in self.issuing.get(slice_, ()):
            return None
        direction = int(place < origin)
        diagonal = (taken + place if direction else taken - place) + self.hops
        sides = sorted({int(p > 0) for p in (origin, place) if p})
        free = ~self.streams[direction][:, sides, diagonal].any(axis=1)
        if not free.any():
            return None
        for bank in range(machine.banks_per_slice):
            number = slice_ * machine.banks_per_slice + bank
            if not self.banks[number, issue] and self.room[number] > 0:
                break
        else:
            return None
        stream = int(np.argmax(free))
        self.room[number] -= 1
        self.reading[slice_, issue] = self.banks[number, issue] = True
        self.streams[direction, stream, sides, diagonal] = True
        self.issuing.setdefault(slice_, set()).add(issue)
        self.issuing[queue].add(taken)
        return Fetch(queue, row, slice_, bank, stream + WESTWARD * direction, issue, taken)


def plan_fetches(program: Program, buffer: int = BUFFER) -> Plan:
    """When each row of a program's text could be fetched; `buffer` are instructions that a queue holds.

    Raises ValueError for a buffer of less than two rows: nothing could arrive while instructions are taken.
    """
    rows = program.machine.lanes // program.machine.instruction_bytes
    if buffer < 2 * rows:
        raise ValueError(f"buffer must be at least {2 * rows} instructions (two rows), got {buffer}")
    if not len(program.code):
        return Plan(instructions=0, rows=0, preloaded=0)
    return Planner(program, buffer).plan()
