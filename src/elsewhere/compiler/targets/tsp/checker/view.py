"""A program's columns as wide integers, with places and delays: the machine once more, in the checker's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import FUNCTIONS, SLOW, Op, Program

Array = NDArray[Any]
BYTES = np.array([1, 2, 4, 4])
"""Bytes of i8, f16, i32 and f32."""
MEMORY = (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER)
SWITCH = (Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE)
LINKS = (Op.SEND, Op.RECEIVE)
MATRIX = (Op.LOAD, Op.INSTALL, Op.ACTIVATE, Op.ACCUMULATE)
STREAM, CHAIN, NUMBER = 1, 2, 3
WESTWARD = 256
"""Streams from here on flow west."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule and an instruction that breaks it (-1: none in particular)."""

    rule: str
    instruction: int
    message: str


class View:
    """What all rules look at; `faults` are what they found."""

    SHOWN = 8
    """Faults of one rule and kind that are told one by one."""

    def __init__(self, program: Program) -> None:
        self.program, self.machine, self.code = program, program.machine, program.code
        self.faults: list[Fault] = []
        c = self.code
        self.op = c["op"]
        self.queue = c["queue"].astype(np.int64)
        self.issue = c["issue"].astype(np.int64)
        self.count = c["count"].astype(np.int64)
        self.a = c["a"].astype(np.int64)
        self.strip = c["strip"].astype(np.int64)
        self.row = c["row"].astype(np.int64)
        self.row_step = c["row_step"].astype(np.int64)
        self.meant = c["meant"].astype(np.int64)
        self.everyone = np.arange(len(c))

    def fault(self, rule: str, instruction: int, message: str) -> None:
        self.faults.append(Fault(rule, int(instruction), message))

    def all(self, holds: Array, rule: str, message: str, who: Array | None = None) -> None:
        """A fault for every instruction for which something does not hold."""
        for index in np.flatnonzero(~holds)[: self.SHOWN].tolist():
            self.fault(rule, index if who is None else int(who[index]), message)

    def disjoint(self, key: Array, start: Array, length: Array, who: Array, rule: str) -> None:
        """No two intervals [start, start + length) of one key overlap."""
        order = np.lexsort((start, key))
        k, s, e = key[order], start[order], (start + length)[order]
        # The latest end so far, by key: ends are lifted above all cycles of keys before.
        span = int(max(e.max(initial=0), 0)) + 1
        rank = np.cumsum(np.r_[0, k[1:] != k[:-1]]) if len(k) else k
        reach = np.maximum.accumulate(e + rank * span) - rank * span if len(k) else e
        clash = (k[1:] == k[:-1]) & (s[1:] < reach[:-1])
        for i in np.flatnonzero(clash)[: self.SHOWN].tolist():
            self.fault(rule, who[order[i + 1]], f"taken by instruction {who[order[i]]} or one before until {reach[i]}")

    def locate(self) -> None:
        """Sets `place` and `place_out` in hops from the vector unit, and `delay` from issue to result in cycles."""
        m, queue = self.machine, self.queue
        per = m.slices_per_hemisphere
        place = np.zeros(len(queue), np.int64)
        memory = queue < m.slices
        distance = 1 + queue % per // m.slices_per_hop
        place[memory] = np.where(queue < per, -distance, distance)[memory]
        first = m.slices + m.alus
        switch = first + 3 * m.planes
        matrix = (queue >= first) & (queue < switch)
        side = np.where((queue - first) // (3 * m.planes_per_hemisphere) > 0, 1, -1)
        edge = 1 + (per - 1) // m.slices_per_hop
        place[matrix] = (side * (edge + m.switch_to_matrix))[matrix]
        each = m.shifters + m.permutors + m.distributors + m.transposers
        place[queue >= switch] = np.where((queue - switch) // each > 0, edge + 1, -edge - 1)[queue >= switch]
        link = switch + 2 * each
        place[queue >= link] = np.where((queue - link) // m.link_queues > 0, edge + 1, -edge - 1)[queue >= link]
        out = place.copy()
        out[self.op == Op.ACCUMULATE] = (side * m.matrix_to_vector)[self.op == Op.ACCUMULATE]
        self.place, self.place_out = place, out
        self.delay = self._delays()

    def _delays(self) -> Array:
        m = self.machine
        delay = np.zeros(len(self.code), np.int64)
        table = {
            Op.READ: m.memory_read, Op.GATHER: m.memory_read + 1, Op.SHIFT: m.switch_shift,
            Op.PERMUTE: m.switch_permute, Op.DISTRIBUTE: m.switch_distribute,
            Op.TRANSPOSE: 16 + m.switch_transpose, Op.ACCUMULATE: m.matrix_drain,
        }  # fmt: skip
        for op, cycles in table.items():
            delay[self.op == op] = cycles
        slow = np.array([f in SLOW for f in FUNCTIONS])
        alu = self.op == Op.ALU
        function = np.clip(self.a[:, 0], 0, len(FUNCTIONS) - 1)
        delay[alu] = np.where(slow[function], m.vector_function, m.vector_operation)[alu]
        return delay
