"""Simulation burst by burst: every instruction runs once, on all of its rows.

Which rows meet which is found from issue cycles and places alone: a value's diagonal (cycle minus place) stays the
same while it travels, and a consumer takes what the nearest producer upstream put on its diagonal.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp import units
from elsewhere.compiler.targets.tsp.program import Kind, Op, Program, from_bytes
from elsewhere.compiler.targets.tsp.semantics import (
    WEST_STREAMS,
    WIDTHS,
    SimulationError,
    Step,
    diagonal,
    load_image,
    read_port,
    steps,
)

Array = NDArray[Any]
Source = tuple[int, int, int, int, int]
"""First row of the consumer, rows, producing instruction, its first row, byte of its result."""


SPLITS = 12
"""How often bursts may be halved until none waits for another in a circle."""


def _part(step: Step, start: int, stop: int, index: int) -> Step:
    """Rows [start, stop) of an instruction as one of its own."""
    a = step.a
    if step.op in (Op.READ, Op.WRITE):
        a = (a[0], a[1] + start * a[2], a[2], a[3])
    elif step.op == Op.ACCUMULATE:
        a = (a[0], a[1] + start, a[2], a[3])
    return replace(step, index=index, issue=step.issue + start, count=stop - start, a=a)


@dataclass(slots=True)
class _Plane:
    buffer: Array = field(default_factory=lambda: np.zeros((0, 0)))
    weights: Array | None = None
    held: Array = field(default_factory=lambda: np.zeros((0, 0)))


class Wiring:
    """Who feeds whom."""

    def __init__(self, program: Program, code: list[Step]) -> None:
        self.machine, self.code = program.machine, code
        producers: dict[int, list[tuple[int, int, int, int, int]]] = {}
        self.longest = 1
        for step in code:
            self.longest = max(self.longest, step.count)
            for stream, dtype in step.outs:
                first = diagonal(step.issue + step.latency, step.place_out, stream)
                for byte in range(WIDTHS[("i8", "f16", "i32", "f32").index(dtype)]):
                    entry = (first, step.count, step.place_out, step.index, byte)
                    producers.setdefault(stream + byte, []).append(entry)
        self.producers = {s: sorted(p) for s, p in producers.items()}

    def sources(self, step: Step, operand: int, stream: int) -> list[Source]:
        """Where the rows of one byte of an operand come from. Raises SimulationError for rows that nobody sent."""
        start = diagonal(step.sample(self.machine, operand), step.place, stream)
        entries = self.producers.get(stream, [])
        index = bisect_left(entries, (start - self.longest, 0, 0, 0, 0))
        near: list[tuple[int, int, int, int, int]] = []
        west = stream >= WEST_STREAMS
        while index < len(entries) and entries[index][0] < start + step.count:
            first, count, place, _, _ = entries[index]
            upstream = place > step.place if west else place < step.place
            if first + count > start and upstream:
                near.append(entries[index])
            index += 1
        if len(near) == 1 and near[0][0] <= start and near[0][0] + near[0][1] >= start + step.count:
            return [(0, step.count, near[0][3], start - near[0][0], near[0][4])]
        return self._mixed(step, start, near, west)

    def _mixed(self, step: Step, start: int, near: list[tuple[int, int, int, int, int]], west: bool) -> list[Source]:
        who = np.full(step.count, -1)
        for number, (first, count, _, _, _) in sorted(enumerate(near), key=lambda e: e[1][2], reverse=west):
            who[max(0, first - start) : max(0, first + count - start)] = number
        if (who < 0).any():
            row = int(np.argmax(who < 0))
            raise SimulationError(f"{step.op.name} at cycle {step.issue}: row {row} finds nothing on its stream")
        cuts = [0, *(np.flatnonzero(np.diff(who)) + 1).tolist(), step.count]
        return [(a, b - a, near[who[a]][3], start + a - near[who[a]][0], near[who[a]][4]) for a, b in pairwise(cuts)]


class BurstSimulator:
    """Runs a program once. `memory` is what the chip's SRAM holds after it."""

    def __init__(self, program: Program, inputs: Mapping[str, Array], code: list[Step] | None = None) -> None:
        self.program, self.machine = program, program.machine
        self.code = steps(program) if code is None else code
        self.memory = load_image(program, dict(inputs))
        self.planes = [_Plane() for _ in range(self.machine.planes)]
        self.results: dict[int, Array] = {}
        self.wiring = Wiring(program, self.code)
        self.feeds: list[list[list[Source]]] = []
        self.products: dict[int, list[tuple[int, int, int, int]]] = {}
        self.taken: dict[int, list[tuple[int, int]]] = {}
        self.readers = [0] * len(self.code)
        self.worked = 0
        """The first cycle after the last in which an instruction worked on a row."""

    # -- order ----------------------------------------------------------------------------------------------------

    def connect(self) -> list[set[int]]:
        """For each instruction those that must run before it."""
        before: list[set[int]] = [set() for _ in self.code]
        alus = self._alus()
        for step in self.code:
            feeds = []
            for operand, (kind, _, delay, source) in enumerate(step.ins):
                if kind == Kind.STREAM:
                    for byte in range(step.streams(operand)):
                        feeds.append(self.wiring.sources(step, operand, source + byte))
                elif kind == Kind.ALU:
                    feeds.append(self._from_alu(step, *alus.get(source, ([], [])), delay))
            self.feeds.append(feeds)
            before[step.index].update(s[2] for feed in feeds for s in feed)
        self._chains(before)
        for wanted in self.feeds:
            for producer in {s[2] for feed in wanted for s in feed}:
                self.readers[producer] += 1
        return before

    def _alus(self) -> dict[int, tuple[list[int], list[Step]]]:
        """For each unit the cycles in which its instructions start, and these, in order."""
        found: dict[int, list[Step]] = {}
        for step in sorted(self.code, key=lambda s: s.issue):
            if step.op == Op.ALU:
                found.setdefault(step.queue - self.machine.slices, []).append(step)
        return {unit: ([s.issue for s in mine], mine) for unit, mine in found.items()}

    def _from_alu(self, step: Step, starts: list[int], others: list[Step], delay: int) -> list[Source]:
        wanted = step.issue - delay  # the cycle of the result that row 0 takes
        near = others[max(0, bisect_left(starts, wanted) - self.machine.vector_function - 1) :]
        for other in near[: self.machine.vector_function + 1]:
            start = wanted - other.latency - other.issue
            if start >= 0 and start + step.count <= other.count:
                return [(0, step.count, other.index, start, 0)]
        found: list[Source] = []
        row = 0
        for other in near:  # bursts that were halved
            start = wanted + row - other.latency - other.issue
            if other.issue >= wanted + step.count:
                break
            if 0 <= start < other.count:
                rows = min(step.count - row, other.count - start)
                found.append((row, rows, other.index, start, 0))
                row += rows
            if row == step.count:
                return found
        raise SimulationError(f"ALU at cycle {step.issue}: the unit that it takes from has no result then")

    def _chains(self, before: list[set[int]]) -> None:
        """Users of a bank, and of a plane's weights and accumulators, run in the order of their cycles."""
        last: dict[tuple[str, int], Step] = {}
        for step in sorted(self.code, key=lambda s: (s.issue, s.index)):
            for key in self._keys(step):
                earlier = last.get(key)
                if earlier is not None:
                    if key[0] == "bank" and earlier.issue + earlier.count > step.issue:
                        raise SimulationError(f"{step.op.name} at cycle {step.issue}: the bank is busy")
                    before[step.index].add(earlier.index)
                last[key] = step
            if step.op == Op.ACCUMULATE:
                self._products_of(step, before)

    def _keys(self, step: Step) -> list[tuple[str, int]]:
        if step.op in (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER):
            bank = step.a[1] // self.machine.bank_rows
            return [("bank", step.a[0] * self.machine.banks_per_slice + bank)]
        if step.op in (Op.LOAD, Op.INSTALL, Op.ACTIVATE):
            return [("plane", step.a[0])]
        return [("held", step.a[0])] if step.op == Op.ACCUMULATE else []

    def _products_of(self, step: Step, before: list[set[int]]) -> None:
        if not self.products:
            self.taken.clear()
            for other in self.code:
                if other.op == Op.ACTIVATE:
                    self.taken.setdefault(other.a[0], []).append((other.issue, other.index))
            for found in self.taken.values():
                found.sort()
            self.products[-1] = []
        found = self.taken.get(step.a[0], [])
        at = bisect_left(found, (step.issue - self.machine.matrix_multiply + 1, -1)) - 1
        source = self.code[found[at][1]] if at >= 0 else None
        start = step.issue - self.machine.matrix_multiply - source.issue if source else 0
        if source is None or start + step.count > source.count:
            raise SimulationError(f"ACCUMULATE at cycle {step.issue}: the plane has no products then")
        self.products[step.index] = [(0, step.count, source.index, start)]
        before[step.index].add(source.index)
        self.readers[source.index] += 1

    def order(self) -> tuple[list[int], set[int]]:
        """Instructions so that each comes after all it needs, and those that wait for each other in circles."""
        before = self.connect()
        after: list[list[int]] = [[] for _ in self.code]
        waiting = [len(b) for b in before]
        for index, wanted in enumerate(before):
            for other in wanted:
                after[other].append(index)
        ready = [(self.code[i].issue, i) for i, n in enumerate(waiting) if n == 0]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(index)
            for other in after[index]:
                waiting[other] -= 1
                if waiting[other] == 0:
                    heapq.heappush(ready, (self.code[other].issue, other))
        circle = set(range(len(self.code))) - set(order)
        changed = True
        while changed:  # what only waits for a circle, but is in none
            ends = {i for i in circle if not any(o in circle for o in after[i])}
            circle -= ends
            changed = bool(ends)
        return order, circle

    def split(self, circle: set[int]) -> None:
        """Halves the bursts of a circle: rows that come early need not wait for what their later rows need."""
        fixed = (Op.LOAD, Op.INSTALL, Op.TRANSPOSE)
        circle = self.linked(circle)
        made: list[Step] = []
        for step in self.code:
            half = step.count // 2 if step.index in circle and step.op not in fixed else 0
            parts = [(0, half), (half, step.count)] if half else [(0, step.count)]
            made += [_part(step, a, b, len(made) + i) for i, (a, b) in enumerate(parts)]
        self.code = made
        self.wiring = Wiring(self.program, made)
        self.feeds, self.products, self.readers = [], {}, [0] * len(made)
        self.taken.clear()

    def linked(self, circle: set[int]) -> set[int]:
        """With all that hands rows on without a stream: chains of ALUs, and products to their sums."""
        links: dict[int, list[int]] = {}
        for step in self.code:
            feeds = iter(self.feeds[step.index])
            for operand, (kind, _, _, _) in enumerate(step.ins):
                taken = [next(feeds) for _ in range(step.streams(operand) if kind == Kind.STREAM else kind == Kind.ALU)]
                for other in {s[2] for feed in taken for s in feed} if kind == Kind.ALU else ():
                    links.setdefault(step.index, []).append(other)
                    links.setdefault(other, []).append(step.index)
            for source in self.products.get(step.index, ()):
                links.setdefault(step.index, []).append(source[2])
                links.setdefault(source[2], []).append(step.index)
        found, waiting = set(circle), list(circle)
        while waiting:
            for other in links.get(waiting.pop(), ()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found

    # -- running --------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Array]:
        """Outputs by name. Raises SimulationError."""
        for _ in range(SPLITS):
            order, circle = self.order()
            if not circle:
                break
            self.split(circle)
        else:
            raise SimulationError("instructions wait for each other in a circle")
        for index in order:
            self.execute(self.code[index])
        return {p.name: read_port(self.memory, p, self.machine.lanes) for p in self.program.outputs}

    def drop(self, index: int) -> None:
        self.readers[index] -= 1
        if self.readers[index] <= 0:
            self.results.pop(index, None)

    def plane_of(self, source: Source) -> Array:
        """One byte of some rows of a result."""
        _, count, index, start, byte = source
        made = self.results[index][start : start + count]
        if made.dtype == np.uint8 or made.dtype == np.int8:
            return made.view(np.uint8)
        raw = np.ascontiguousarray(made).view(np.uint8).reshape(*made.shape, made.dtype.itemsize)
        return raw[..., byte]

    def byte_rows(self, feed: list[Source]) -> Array:
        return self.plane_of(feed[0]) if len(feed) == 1 else np.concatenate([self.plane_of(s) for s in feed])

    def operands(self, step: Step) -> list[Array]:
        feeds = iter(self.feeds[step.index])
        made = []
        for operand, (kind, dtype, _, source) in enumerate(step.ins):
            if kind == Kind.NUMBER:
                value = np.full((step.count, self.machine.lanes), units.number(source, dtype))
            elif kind == Kind.ALU:
                rows = [self.results[index][start : start + count] for _, count, index, start, _ in next(feeds)]
                value = rows[0] if len(rows) == 1 else np.concatenate(rows)
            else:
                value = self.joined([next(feeds) for _ in range(step.streams(operand))], dtype)
            made.append(value)
        return made

    def joined(self, feeds: list[list[Source]], dtype: str) -> Array:
        first = feeds[0]
        if len(first) == 1 and first[0][4] == 0:
            _, count, index, start, _ = first[0]
            made = self.results[index]
            alike = all(f == [(*first[0][:4], byte)] for byte, f in enumerate(feeds))
            if alike and made.dtype == units.NUMPY[dtype]:
                return made[start : start + count]
        return from_bytes(np.stack([self.byte_rows(f) for f in feeds]), dtype)

    def execute(self, step: Step) -> None:
        made = _DO[step.op](self, step)
        self.worked = max(self.worked, step.issue + step.count)
        if made is not None and self.readers[step.index]:
            self.results[step.index] = made
        for producer in {s[2] for feed in self.feeds[step.index] for s in feed}:
            self.drop(producer)

    def addresses(self, step: Step) -> Any:
        _, address, by, _ = step.a
        last = address + by * (step.count - 1)
        if min(address, last) < 0 or max(address, last) >= self.machine.rows_per_slice:
            raise SimulationError(f"{step.op.name} at cycle {step.issue}: address {last} is outside the slice")
        if by == 1:
            return slice(address, address + step.count)
        return address + by * np.arange(step.count)

    def read(self, step: Step) -> Array:
        return self.memory[step.a[0], self.addresses(step)].copy()

    def write(self, step: Step) -> None:
        rows = self.byte_rows(self.feeds[step.index][0])
        mask = step.a[3]
        if mask < 0:
            lanes: Any = self.program.maps[-1 - mask] >= 0
        else:
            lanes = slice(mask & 0xFFFF, mask >> 16)
        target = self.memory[step.a[0]]
        if step.a[2] == 1:
            target[self.addresses(step), lanes] = rows[:, lanes]
            return
        for i, address in enumerate(np.arange(step.count) * step.a[2] + step.a[1]):
            target[address, lanes] = rows[i, lanes]

    def gather(self, step: Step) -> Array:
        (index,) = self.operands(step)
        return self.memory[step.a[0], step.a[1] + np.clip(index[:, 0], 0, step.a[2] - 1)]

    def scatter(self, step: Step) -> None:
        data, index = self.operands(step)
        for row, at in zip(data.view(np.uint8), np.clip(index[:, 0], 0, step.a[2] - 1), strict=True):
            self.memory[step.a[0], step.a[1] + at] = row

    def alu(self, step: Step) -> Array:
        return units.alu(step.a[0], step.dtype, self.operands(step))

    def switch(self, step: Step) -> Array:
        (rows,) = self.operands(step)
        if step.op == Op.SHIFT:
            return units.shift(rows, *step.a)
        if step.op == Op.TRANSPOSE:
            return units.transpose(rows)
        return units.permute(rows, self.program.maps[step.a[0]])

    def load(self, step: Step) -> None:
        plane, _, streams, mode = step.a
        rows = np.stack([self.byte_rows(f) for f in self.feeds[step.index]], axis=1)  # (count, streams, lanes)
        state = self.planes[plane]
        if mode == 2:
            half = streams // 2
            pairs = np.stack([rows[:, :half].reshape(-1, rows.shape[2]), rows[:, half:].reshape(-1, rows.shape[2])])
            state.buffer = from_bytes(pairs, "f16")
        else:
            state.buffer = rows.reshape(-1, rows.shape[2]).view(np.int8)

    def install(self, step: Step) -> None:
        self.planes[step.a[0]].weights = self.planes[step.a[0]].buffer

    def activate(self, step: Step) -> Array:
        (rows,) = self.operands(step)
        plane, first, end, _ = step.a
        weights = self.planes[plane].weights
        if weights is None or len(weights) < end - first or weights.dtype != rows.dtype:
            raise SimulationError(f"ACTIVATE at cycle {step.issue}: plane {plane} has no weights for it")
        return units.multiply(rows[:, first:end], weights[: end - first])

    def accumulate(self, step: Step) -> Array | None:
        plane, base, adds, leaves = step.a
        ((_, count, index, start),) = self.products[step.index]
        fresh = self.results[index][start : start + count]
        state = self.planes[plane]
        if state.held.dtype != fresh.dtype or not len(state.held):
            state.held = np.zeros((self.machine.accumulator_rows, self.machine.lanes), fresh.dtype)
        if adds:
            fresh = units.accumulate(state.held[base : base + count], fresh)
        state.held[base : base + count] = fresh
        self.drop(index)
        return fresh if leaves else None


_DO: dict[Op, Any] = {
    Op.READ: BurstSimulator.read,
    Op.WRITE: BurstSimulator.write,
    Op.GATHER: BurstSimulator.gather,
    Op.SCATTER: BurstSimulator.scatter,
    Op.ALU: BurstSimulator.alu,
    Op.SHIFT: BurstSimulator.switch,
    Op.PERMUTE: BurstSimulator.switch,
    Op.DISTRIBUTE: BurstSimulator.switch,
    Op.TRANSPOSE: BurstSimulator.switch,
    Op.LOAD: BurstSimulator.load,
    Op.INSTALL: BurstSimulator.install,
    Op.ACTIVATE: BurstSimulator.activate,
    Op.ACCUMULATE: BurstSimulator.accumulate,
}


def run_bursts(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a program, new states among them. Raises SimulationError."""
    return BurstSimulator(program, inputs).run()
