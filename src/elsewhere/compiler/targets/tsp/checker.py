"""Proves that a program keeps every rule of the chip, without running it and without knowing who wrote it.

Shares no code with the scheduler. From issue cycles, places and annotations alone it proves: each unit, port, bank
and queue is used once a cycle; each operand is on its stream in exactly the cycle in which it is taken, and is the
row that is meant; nothing overwrites it on the way; each row read from memory is the one that was last written there;
addresses are inside the memory; weights are whole when they are installed and stay while rows pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import FUNCTIONS, SLOW, Op, Program

Array = NDArray[Any]
BYTES = np.array([1, 2, 4, 4])
"""Bytes of i8, f16, i32 and f32."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule and an instruction that breaks it."""

    rule: str
    instruction: int
    message: str


class Checker:
    """Checks one program; `faults` are what it found."""

    def __init__(self, program: Program) -> None:
        self.program, self.machine, self.code = program, program.machine, program.code
        self.faults: list[Fault] = []
        c = self.code
        self.issue = c["issue"].astype(np.int64)
        self.count = c["count"].astype(np.int64)
        self.op = c["op"]
        self.place, self.place_out = self._places()
        self.delay_out = self._delays()

    def fault(self, rule: str, instruction: int, message: str) -> None:
        self.faults.append(Fault(rule, int(instruction), message))

    # -- the machine, once more and in its own words --------------------------------------------------------------

    def _places(self) -> tuple[Array, Array]:
        m = self.machine
        per, queue = m.slices_per_hemisphere, self.code["queue"].astype(np.int64)
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
        out = place.copy()
        out[self.op == Op.ACCUMULATE] = (side * m.matrix_to_vector)[self.op == Op.ACCUMULATE]
        return place, out

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
        function = np.clip(self.code["a"][:, 0], 0, len(FUNCTIONS) - 1)
        delay[alu] = np.where(slow[function], m.vector_function, m.vector_operation)[alu]
        return delay

    # -- rules ------------------------------------------------------------------------------------------------------

    def run(self) -> list[Fault]:
        """All faults; an empty list is a proof."""
        if len(self.code):
            self.sane()
        if not self.faults and len(self.code):
            self.units()
            self.memory_ports()
            self.streams()
            self.chains()
            self.memory_rows()
            self.matrix()
        return self.faults

    def sane(self) -> None:
        """Numbers in their ranges; queues fit their operations."""
        c, m = self.code, self.machine
        known = np.isin(self.op, [int(o) for o in Op])
        self._all(known, "operation", "is unknown")
        self._all((self.issue >= 0) & (self.count >= 1), "time", "an issue cycle below 0 or no rows")
        if self.faults:
            return
        mine = np.isin(self.op, [Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER])
        a = c["a"].astype(np.int64)
        self._all(~mine | (a[:, 0] == c["queue"]), "queue", "a slice is driven by another queue")
        last = a[:, 1] + np.where(np.isin(self.op, [Op.READ, Op.WRITE]), a[:, 2] * (self.count - 1), a[:, 2] - 1)
        low, high = np.minimum(a[:, 1], last), np.maximum(a[:, 1], last)
        self._all(~mine | ((low >= 0) & (high < m.rows_per_slice)), "address", "outside the slice")
        bank = m.rows_per_slice // m.banks_per_slice
        self._all(~mine | (low // bank == high // bank), "address", "runs over the end of its bank")
        alu = self.op == Op.ALU
        in_alus = (c["queue"] >= m.slices) & (c["queue"] < m.slices + m.alus)
        self._all(alu == in_alus, "queue", "the vector unit's queues are for ALUs")
        self._all(~alu | (a[:, 0] < len(FUNCTIONS)), "function", "is unknown")
        matrix = np.isin(self.op, [Op.LOAD, Op.INSTALL, Op.ACTIVATE, Op.ACCUMULATE])
        part = np.select([self.op == Op.ACTIVATE, self.op == Op.ACCUMULATE], [1, 2], 0)
        wanted = m.slices + m.alus + 3 * a[:, 0] + part
        self._all(~matrix | (wanted == c["queue"]), "queue", "a plane is driven by another queue")
        streams = c["outs"]["stream"]
        widths = BYTES[np.clip(c["outs"]["dtype"], 0, 3)]
        inside = (streams < 0) | (streams % 256 + widths <= m.streams)
        self._all(inside.all(axis=1), "stream", "there are not so many streams")

    def _all(self, holds: Array, rule: str, message: str) -> None:
        for index in np.flatnonzero(~holds)[:8]:
            self.fault(rule, index, message)

    def _disjoint(self, key: Array, start: Array, length: Array, who: Array, rule: str) -> None:
        """No two intervals of one key overlap."""
        order = np.lexsort((start, key))
        k, s, e = key[order], start[order], (start + length)[order]
        clash = (k[1:] == k[:-1]) & (s[1:] < e[:-1])
        for i in np.flatnonzero(clash)[:8]:
            self.fault(rule, who[order[i + 1]], f"taken by instruction {who[order[i]]} until cycle {e[i]}")

    def units(self) -> None:
        """One dispatch a queue and cycle; units that work on rows are busy for all of them."""
        everyone = np.arange(len(self.code))
        queue = self.code["queue"].astype(np.int64)
        self._disjoint(queue, self.issue, np.ones_like(self.issue), everyone, "queue")
        busy = ~np.isin(self.op, [Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER])
        self._disjoint(queue[busy], self.issue[busy], self.count[busy], everyone[busy], "unit")

    def memory_ports(self) -> None:
        """A slice reads one row and writes one row a cycle; a bank does one of both."""
        everyone = np.arange(len(self.code))
        bank = self.machine.rows_per_slice // self.machine.banks_per_slice
        for ops, rule in (((Op.READ, Op.GATHER), "read port"), ((Op.WRITE, Op.SCATTER), "write port")):
            mine = np.isin(self.op, ops)
            key = self.code["a"][mine, 0].astype(np.int64)
            self._disjoint(key, self.issue[mine], self.count[mine], everyone[mine], rule)
        mine = np.isin(self.op, [Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER])
        a = self.code["a"][mine].astype(np.int64)
        key = a[:, 0] * self.machine.banks_per_slice + a[:, 1] // bank
        self._disjoint(key, self.issue[mine], self.count[mine], everyone[mine], "bank")

    # -- streams ------------------------------------------------------------------------------------------------------

    def _legs(self) -> tuple[Array, Array]:
        """Producers and consumers, a line for each byte: stream, diagonal, rows, place, wire, row, instruction."""
        made, taken = [], []
        c, everyone = self.code, np.arange(len(self.code))
        for slot in range(2):
            out = c["outs"][:, slot]
            for byte in range(4):
                mine = (out["stream"] >= 0) & (BYTES[np.clip(out["dtype"], 0, 3)] > byte)
                stream = out["stream"][mine].astype(np.int64) + byte
                time = (self.issue + self.delay_out)[mine]
                place = self.place_out[mine]
                made.append(self._lines(stream, time, place, mine, out, everyone))
        for slot in range(3):
            operand = c["ins"][:, slot]
            entry = np.where(self.op == Op.ALU, self.machine.vector_entry + operand["delay"].astype(np.int64), 0)
            bundle = np.where(self.op == Op.LOAD, c["a"][:, 2], BYTES[np.clip(operand["dtype"], 0, 3)])
            for byte in range(int(bundle.max(initial=0))):
                mine = (operand["kind"] == 1) & (bundle > byte)
                stream = operand["source"][mine].astype(np.int64) + byte
                time = (self.issue - entry)[mine]
                taken.append(self._lines(stream, time, self.place[mine], mine, operand, everyone))
        return np.concatenate(made, axis=1), np.concatenate(taken, axis=1)

    def _lines(self, stream: Array, time: Array, place: Array, mine: Array, note: Array, everyone: Array) -> Array:
        diagonal = np.where(stream >= 256, time + place, time - place)
        wire, row = note["wire"][mine].astype(np.int64), note["row"][mine].astype(np.int64)
        return np.stack([stream, diagonal, self.count[mine], place, wire, row, everyone[mine]])

    def streams(self) -> None:
        """Every operand's rows were sent for it, arrive in its cycle, and are overwritten by nobody before."""
        made, taken = self._legs()
        self._arrivals(made, taken)
        self._collisions(made, taken)

    def _arrivals(self, made: Array, taken: Array) -> None:
        index: dict[tuple[int, int], list[int]] = {}
        for i, (stream, wire) in enumerate(zip(made[0].tolist(), made[4].tolist(), strict=True)):
            index.setdefault((wire, stream), []).append(i)
        columns = [taken[i].tolist() for i in range(7)]
        for stream, diagonal, count, place, wire, row, who in zip(*columns, strict=True):
            mine = index.get((wire, stream), [])
            left = np.ones(count, bool)
            for i in mine:
                _, first, rows, origin, _, from_row, _ = made[:, i].tolist()
                upstream = origin > place if stream >= 256 else origin < place
                if first - from_row == diagonal - row and upstream:
                    left[max(0, from_row - row) : max(0, from_row + rows - row)] = False
            if left.any():
                self.fault("arrival", who, f"row {int(np.argmax(left))} is not on its stream in the cycle it is taken")

    def _collisions(self, made: Array, taken: Array) -> None:
        """Two legs on one stream whose diagonals overlap must not share a stretch on which one is still needed."""
        last: dict[tuple[int, int], int] = {}
        for stream, place, wire in zip(taken[0].tolist(), taken[3].tolist(), taken[4].tolist(), strict=True):
            key = (wire, stream)
            reach = -place if stream >= 256 else place
            last[key] = max(last.get(key, -99), reach)
        west = made[0] >= 256
        origin = np.where(west, -made[3], made[3])
        reach = np.array(
            [last.get((w, s), -99) for w, s in zip(made[4].tolist(), made[0].tolist(), strict=True)], np.int64
        )
        order = np.lexsort((made[1], made[0]))
        stream, start, count, who = made[0][order], made[1][order], made[2][order], made[6][order]
        origin, reach, wire = origin[order], np.maximum(reach, -99)[order], made[4][order]
        end = start + count
        width = 1
        while width < len(order):
            # Pairs `width` apart in the order of diagonals; none overlap any more once the longest is passed.
            a, b = slice(0, len(order) - width), slice(width, len(order))
            near = (stream[a] == stream[b]) & (start[b] < end[a])
            if not near.any() and not ((stream[a] == stream[b]) & (start[b] < start[a] + count.max())).any():
                break
            clash = near & ((origin[b] >= origin[a]) & (origin[b] < reach[a]))
            clash |= near & ((origin[a] >= origin[b]) & (origin[a] < reach[b]))
            same = near & (wire[a] == wire[b])
            for i in np.flatnonzero(clash | same)[:8]:
                self.fault(
                    "collision", who[i + width], f"overwrites rows of instruction {who[i]} on stream {stream[i]}"
                )
            width += 1

    def chains(self) -> None:
        """ALU to ALU: the source's result exists in the very cycle."""
        m, c = self.machine, self.code
        by_unit: dict[int, list[int]] = {}
        for index in np.flatnonzero(self.op == Op.ALU).tolist():
            by_unit.setdefault(int(c["queue"][index]) - m.slices, []).append(index)
        starts = {u: np.array([self.issue[i] for i in found]) for u, found in by_unit.items()}
        for index in np.flatnonzero(self.op == Op.ALU).tolist():
            for operand in c["ins"][index]:
                if operand["kind"] == 0:
                    continue
                if not 0 <= operand["delay"] <= m.operand_delay:
                    self.fault("delay", index, f"an operand cannot wait {operand['delay']} cycles")
                if operand["kind"] == 2:
                    self._chain(index, int(operand["source"]), int(operand["delay"]), by_unit, starts)

    def _chain(
        self, index: int, unit: int, delay: int, by_unit: dict[int, list[int]], starts: dict[int, Array]
    ) -> None:
        found = by_unit.get(unit, [])
        wanted = self.issue[index] - delay
        for at in np.flatnonzero(np.abs(starts.get(unit, np.zeros(0)) - wanted) <= self.machine.vector_function + 1):
            source = found[int(at)]
            exact = self.issue[source] + self.delay_out[source] == wanted and self.count[source] == self.count[index]
            if exact and self.code["symbol"][source] == self.code["symbol"][index]:
                return
        self.fault("chain", index, f"ALU {unit} has no result for it in that cycle")

    # -- memory -------------------------------------------------------------------------------------------------------

    def memory_rows(self) -> None:
        """Row by row: what is read was written before, as the same row of the same strip, and not overwritten since."""
        plain = np.flatnonzero(np.isin(self.op, [Op.READ, Op.WRITE]))
        c = self.code
        times = np.repeat(self.issue[plain], self.count[plain])
        inside = np.arange(len(times)) - np.repeat(np.cumsum(self.count[plain]) - self.count[plain], self.count[plain])
        who = np.repeat(plain, self.count[plain])
        a = c["a"].astype(np.int64)
        address = a[who, 0] * self.machine.rows_per_slice + a[who, 1] + a[who, 2] * inside
        strip = c["strip"][who].astype(np.int64)
        row = c["row"][who].astype(np.int64) + c["row_step"][who].astype(np.int64) * inside
        self._annotated(plain)
        tag: Any = (strip << 20) | row
        reads = self.op[who] == Op.READ
        order = np.lexsort((~reads, times + inside, address))
        address, tag, reads, who = address[order], tag[order], reads[order], who[order]
        writes = np.where(~reads, np.arange(len(order)), -1)
        latest = np.maximum.accumulate(writes)
        first = np.r_[True, address[1:] != address[:-1]]
        begin = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        written = latest >= begin
        held = np.where(written, tag[np.maximum(latest, 0)], -1)
        given = self._given()
        before = np.array([given.get(x, -1) for x in address[reads & ~written].tolist()], np.int64)
        held[reads & ~written] = before
        loose = reads & (held != tag) & ~((held >> 20 == -2) & ~written)
        for i in np.flatnonzero(loose)[:8]:
            self.fault("memory", who[i], f"reads row {tag[i] & 0xFFFFF} of strip {tag[i] >> 20}, which is not there")
        self._kept(address, tag, reads, who)

    def _annotated(self, plain: Array) -> None:
        """All uses of a strip agree on where it lies."""
        c = self.code
        a = c["a"][plain].astype(np.int64)
        base = a[:, 0] * (1 << 32) + a[:, 1] - c["row"][plain]
        order = np.argsort(c["strip"][plain], kind="stable")
        strip, base, who = c["strip"][plain][order], base[order], plain[order]
        # The place of a strip is what most of its uses say.
        starts = np.flatnonzero(np.r_[True, strip[1:] != strip[:-1]])
        for begin, end in zip(starts, np.r_[starts[1:], len(strip)], strict=True):
            mine = base[begin:end]
            if (mine != mine[0]).any():
                values, counts = np.unique(mine, return_counts=True)
                for i in np.flatnonzero(mine != values[counts.argmax()])[:2]:
                    self.fault("strip", who[begin + i], f"strip {strip[begin + i]} lies elsewhere")
        steps = (c["a"][plain, 2] != c["row_step"][plain]) & (c["count"][plain] > 1)
        for index in plain[steps][:8]:
            self.fault("strip", index, "walks through memory in other steps than it means")

    def _given(self) -> dict[int, int]:
        """Addresses that hold something before the first cycle. Which strip it is, the first reader says."""
        rows: dict[int, int] = {}
        per = self.machine.rows_per_slice
        for slice_, address, data in self.program.image:
            rows.update(dict.fromkeys(range(slice_ * per + address, slice_ * per + address + len(data)), -2 << 20))
        for port in self.program.inputs:
            for piece in port.pieces.tolist():
                first = piece[5] * per + piece[6]
                rows.update(dict.fromkeys(range(first, first + piece[4]), -2 << 20))
        return rows

    def _kept(self, address: Array, tag: Array, reads: Array, who: Array) -> None:
        """Outputs hold what was written for them last."""
        last: dict[int, int] = {}
        for a, i in zip(address[~reads].tolist(), who[~reads].tolist(), strict=True):
            last[a] = i
        given = self._given()
        per = self.machine.rows_per_slice
        for port in self.program.outputs:
            for piece in port.pieces.tolist():
                span = range(piece[5] * per + piece[6], piece[5] * per + piece[6] + piece[4])
                lost = next((a for a in span if a not in last and a not in given), None)
                if lost is not None:
                    self.fault("output", 0, f"row {lost - span.start} of output {port.name!r} is never written")

    # -- products -----------------------------------------------------------------------------------------------------

    def matrix(self) -> None:
        """Loads end before their installation; installed weights stay while rows pass; every row is accumulated."""
        m, c = self.machine, self.code
        for plane in range(m.planes):
            mine = c["a"][:, 0] == plane
            events = np.flatnonzero(mine & np.isin(self.op, [Op.LOAD, Op.INSTALL, Op.ACTIVATE]))
            loaded = installed = -1
            free = 0
            for i in events[np.argsort(self.issue[events], kind="stable")].tolist():
                if self.op[i] == Op.LOAD:
                    loaded = i
                elif self.op[i] == Op.INSTALL:
                    if loaded < 0 or self.issue[loaded] + self.count[loaded] > self.issue[i] or free > self.issue[i]:
                        self.fault("weights", i, "installs weights that are not whole, or under passing rows")
                    installed, loaded = i, -1
                else:
                    free = int(self.issue[i] + self.count[i])
                    if installed < 0 or self.issue[installed] + m.weights_install > self.issue[i]:
                        self.fault("weights", i, "rows come before their weights")
            self._accumulated(plane, mine)

    def _accumulated(self, plane: int, mine: Array) -> None:
        rows = np.flatnonzero(mine & (self.op == Op.ACTIVATE))
        sums = np.flatnonzero(mine & (self.op == Op.ACCUMULATE))
        wanted = {(int(self.issue[i] + self.machine.matrix_multiply), int(self.count[i])) for i in rows}
        found = {(int(self.issue[i]), int(self.count[i])): int(i) for i in sums}
        for key in wanted ^ set(found):
            self.fault(
                "accumulate", found.get(key, int(rows[0]) if len(rows) else 0), f"plane {plane}: sums miss their rows"
            )
        ends = self.code["a"][sums, 1].astype(np.int64) + self.count[sums]
        for i in sums[ends > self.machine.accumulator_rows]:
            self.fault("accumulate", i, "more rows than there are accumulators")


def check(program: Program) -> list[Fault]:
    """Faults of a program; an empty list proves that it keeps every rule."""
    return Checker(program).run()
