"""Simulation cycle by cycle: every stream register, every unit's pipeline, every memory row, tick after tick.

Slow and plain: what `burst` concludes from intervals, this one sees happen. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp import units
from elsewhere.compiler.targets.tsp.program import Kind, Op, Program, from_bytes
from elsewhere.compiler.targets.tsp.semantics import WEST_STREAMS, SimulationError, Step, load_image, read_port, steps

Array = NDArray[Any]
HISTORY = 512
"""Cycles for which the vector unit's operand latches remember."""


class CycleSimulator:
    """One chip. Registers (direction, place, stream, lanes) move one place a tick."""

    def __init__(self, program: Program, inputs: Mapping[str, Array]) -> None:
        self.program, self.machine = program, program.machine
        self.code = steps(program)
        self.memory = load_image(program, dict(inputs))
        m = self.machine
        self.edge = max(m.matrix_place, m.matrix_to_vector) + 1
        shape = (2, 2 * self.edge + 1, m.streams)
        self.registers = np.zeros((*shape, m.lanes), np.uint8)
        self.valid = np.zeros(shape, bool)
        self.latched: list[tuple[Array, Array]] = []
        self.arriving: dict[int, list[tuple[Step, Array]]] = {}
        self.alus: list[dict[int, Array]] = [{} for _ in range(m.alus)]
        self.buffers: list[list[Array]] = [[] for _ in range(m.planes)]
        self.weights: list[Array | None] = [None] * m.planes
        self.products: list[dict[int, Array]] = [{} for _ in range(m.planes)]
        self.held: list[Array | None] = [None] * m.planes
        self.blocks: dict[int, list[Array]] = {}
        self.before: dict[tuple[int, int, int], tuple[Array, bool]] = {}
        self.time = 0
        self.worked = 0
        """The first cycle after the last in which an instruction worked on a row."""

    def run(self) -> dict[str, Array]:
        """Outputs by name. Raises SimulationError."""
        starts = sorted(self.code, key=lambda s: s.issue)
        active: list[Step] = []
        at = 0
        end = max((s.issue + s.count + s.latency for s in self.code), default=0) + 1
        for time in range(end):
            self.tick(time)
            while at < len(starts) and starts[at].issue <= time:
                active.append(starts[at])
                at += 1
            # Reads see what memory held before this cycle's writes.
            for step in sorted(active, key=_order):
                self.step(step, time - step.issue)
            active = [s for s in active if s.issue + s.count > time + 1]
        return {p.name: read_port(self.memory, p, self.machine.lanes) for p in self.program.outputs}

    def tick(self, time: int) -> None:
        """Streams move one hop; results that are due enter their registers."""
        self.time = time
        for array in (self.registers, self.valid):
            array[0, 1:] = array[0, :-1].copy()
            array[1, :-1] = array[1, 1:].copy()
            array[0, 0] = 0
            array[1, -1] = 0
        # What stands at the vector unit before it puts its own results there is what its latches remember.
        self.latched.append((self.registers[:, self.edge].copy(), self.valid[:, self.edge].copy()))
        if len(self.latched) > HISTORY:
            self.latched.pop(0)
        self.before = {}
        for step, row in self.arriving.pop(time, []):
            self.enter(step, row)

    def enter(self, step: Step, row: Array) -> None:
        for stream, dtype in step.outs:
            direction, number = int(stream >= WEST_STREAMS), stream % WEST_STREAMS
            place = step.place_out + self.edge
            raw = np.ascontiguousarray(row.astype(units.NUMPY[dtype], copy=False) if dtype != "i8" else row)
            parts = raw.view(np.uint8).reshape(self.machine.lanes, -1)
            for byte in range(parts.shape[1]):
                key = (direction, place, number + byte)
                self.before.setdefault(key, (self.registers[key].copy(), bool(self.valid[key])))
                self.registers[key] = parts[:, byte]
                self.valid[key] = True

    def take(self, step: Step, operand: int, streams: int) -> list[Array]:
        """Bytes that stand before an operand's unit in the cycle in which it is taken."""
        _, _, delay, source = step.ins[operand]
        direction, first = int(source >= WEST_STREAMS), source % WEST_STREAMS
        found = []
        for number in range(first, first + streams):
            if step.op == Op.ALU:
                back = self.machine.vector_entry + delay
                values, valid = self.latched[-1 - back] if back < len(self.latched) else (None, None)
                there = valid is not None and bool(valid[direction, number])
                row = values[direction, number] if values is not None else None
            else:
                key = (direction, step.place + self.edge, number)
                row, there = self.before.get(key, (self.registers[key], bool(self.valid[key])))
            if not there or row is None:
                raise SimulationError(f"{step.op.name} at cycle {self.time}: nothing stands on its stream")
            found.append(row)
        return found

    def operand(self, step: Step, number: int) -> Array:
        kind, dtype, delay, source = step.ins[number]
        if kind == Kind.NUMBER:
            return np.full(self.machine.lanes, units.number(source, dtype))
        if kind == Kind.ALU:
            made = self.alus[source].get(self.time - delay)
            if made is None:
                raise SimulationError(f"ALU at cycle {self.time}: unit {source} has no result then")
            return made
        return from_bytes(np.stack(self.take(step, number, step.streams(number))), dtype)

    def leave(self, step: Step, row: Array) -> None:
        self.arriving.setdefault(self.time + step.latency, []).append((step, row))

    def step(self, step: Step, row: int) -> None:
        """Row `row` of an instruction."""
        self.worked = self.time + 1
        if step.op in (Op.READ, Op.WRITE):
            address = step.a[1] + step.a[2] * row
            if not 0 <= address < self.machine.rows_per_slice:
                raise SimulationError(f"{step.op.name} at cycle {self.time}: address {address} is outside the slice")
            if step.op == Op.READ:
                self.leave(step, self.memory[step.a[0], address].copy())
            else:
                self.write(step, address)
        elif step.op in (Op.GATHER, Op.SCATTER):
            self.indexed(step)
        elif step.op == Op.ALU:
            made = units.alu(step.a[0], step.dtype, [self.operand(step, i)[None] for i in range(len(step.ins))])[0]
            self.alus[step.queue - self.machine.slices][self.time + step.latency] = made
            if step.outs:
                self.leave(step, made)
        elif step.op in (Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE):
            self.switch(step, row)
        else:
            self.matrix(step, row)

    def write(self, step: Step, address: int) -> None:
        (data,) = self.take(step, 0, 1)
        mask = step.a[3]
        lanes: Any = self.program.maps[-1 - mask] >= 0 if mask < 0 else slice(mask & 0xFFFF, mask >> 16)
        self.memory[step.a[0], address, lanes] = data[lanes]

    def indexed(self, step: Step) -> None:
        index = self.operand(step, 0 if step.op == Op.GATHER else 1)[0]
        address = step.a[1] + int(np.clip(index, 0, step.a[2] - 1))
        if step.op == Op.GATHER:
            self.leave(step, self.memory[step.a[0], address].copy())
        else:
            self.memory[step.a[0], address] = self.take(step, 0, 1)[0]

    def switch(self, step: Step, row: int) -> None:
        data = self.operand(step, 0)[None]
        if step.op == Op.SHIFT:
            self.leave(step, units.shift(data, *step.a)[0])
        elif step.op != Op.TRANSPOSE:
            self.leave(step, units.permute(data, self.program.maps[step.a[0]])[0])
        else:
            block = self.blocks.setdefault(step.index, [])
            block.append(data[0])
            if len(block) == 16:
                first = self.time - 15 + step.latency
                for i, made in enumerate(units.transpose(np.stack(block))):
                    self.arriving.setdefault(first + i, []).append((step, made))
                block.clear()

    def matrix(self, step: Step, row: int) -> None:
        plane = step.a[0]
        if step.op == Op.LOAD:
            if row == 0:
                self.buffers[plane] = []
            self.buffers[plane].append(np.stack(self.take(step, 0, step.a[2])))
            if row == step.count - 1:
                self.buffers[plane] = [_weights(np.stack(self.buffers[plane]), step.a[3])]
        elif step.op == Op.INSTALL:
            if len(self.buffers[plane]) != 1:
                raise SimulationError(f"INSTALL at cycle {self.time}: plane {plane} has no weights loaded")
            self.weights[plane] = self.buffers[plane][0]
        elif step.op == Op.ACTIVATE:
            self.activate(step, plane)
        else:
            self.accumulate(step, plane, row)

    def activate(self, step: Step, plane: int) -> None:
        data, weights = self.operand(step, 0), self.weights[plane]
        first, end = step.a[1], step.a[2]
        if weights is None or weights.dtype != data.dtype or len(weights) < end - first:
            raise SimulationError(f"ACTIVATE at cycle {self.time}: plane {plane} has no weights for it")
        made = units.multiply(data[None, first:end], weights[: end - first])[0]
        self.products[plane][self.time + self.machine.matrix_multiply] = made

    def accumulate(self, step: Step, plane: int, row: int) -> None:
        fresh = self.products[plane].pop(self.time, None)
        if fresh is None:
            raise SimulationError(f"ACCUMULATE at cycle {self.time}: the plane has no products then")
        held = self.held[plane]
        if held is None or held.dtype != fresh.dtype:
            held = self.held[plane] = np.zeros((self.machine.accumulator_rows, self.machine.lanes), fresh.dtype)
        at = step.a[1] + row
        if step.a[2]:
            fresh = units.accumulate(held[at], fresh)
        held[at] = fresh
        if step.a[3]:
            self.leave(step, fresh)


def _weights(rows: Array, mode: int) -> Array:
    """(cycles, streams, lanes) of bytes → rows of weights."""
    if mode != 2:
        return rows.reshape(-1, rows.shape[2]).view(np.int8)
    half = rows.shape[1] // 2
    low, high = rows[:, :half].reshape(-1, rows.shape[2]), rows[:, half:].reshape(-1, rows.shape[2])
    return from_bytes(np.stack([low, high]), "f16")


def _order(step: Step) -> tuple[int, int]:
    """Within a cycle: reads before writes, products before the sums that take them."""
    return (1 if step.op in (Op.WRITE, Op.SCATTER) else 0, step.index)


def run_cycles(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a program, new states among them. Raises SimulationError."""
    return CycleSimulator(program, inputs).run()
