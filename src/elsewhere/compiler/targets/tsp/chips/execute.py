"""Several chips run together on real numbers, their packets under way for as long as real links take.

Each link's latency is drawn anew for every packet. A receiver takes a packet in the cycle that was compiled (deskew);
one that is not there by then, or a link with more packets waiting than it can hold, fails the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.burst import SPLITS, BurstSimulator
from elsewhere.compiler.targets.tsp.chips.lockstep import ChipPrograms, Packet
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.network import NetworkError, link_in_node
from elsewhere.compiler.targets.tsp.program import Op
from elsewhere.compiler.targets.tsp.semantics import SimulationError, Step, read_port

Array = NDArray[Any]
Latency = Callable[[Packet], int]
"""Cycles that a packet is under way after its last byte has left."""


def drawn(machine: TspMachine, seed: int) -> Latency:
    """Latencies from the measured range, each packet's by itself (Philox)."""
    random = np.random.Generator(np.random.Philox(seed))
    return lambda _: int(random.integers(machine.link_latency_low, machine.link_latency_high + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChipsRun:
    """Outputs (None if only time passed), the last cycle that anything happened in, and how early packets came."""

    outputs: dict[str, Array] | None
    cycles: int
    packets: int
    slack: tuple[int, int]
    """Cycles by which packets waited at least and at most."""


class _Wires:
    """Packets between the chips: links are first in, first out."""

    def __init__(self, made: ChipPrograms, machine: TspMachine, latency: Latency) -> None:
        self.machine, self.latency = machine, latency
        self.under_way: dict[tuple[int, int], list[tuple[int, Array | None]]] = {}
        self.planned = {(p.sender, p.link, p.sent): p for p in made.packets}
        self.slack: list[int] = []
        self.chips = len(made.programs)

    def send(self, chip: int, cycle: int, links: int, data: Array | None) -> None:
        for link in range(self.machine.links_in_node):
            if not links >> link & 1:
                continue
            packet = self.planned.get((chip, link, cycle))
            if packet is None:
                raise NetworkError(f"chip {chip} sends on link {link} in cycle {cycle}, which nobody waits for")
            arrival = cycle + self.machine.packet_time + self.latency(packet)
            other = (chip + link + 1) % self.chips
            queue = self.under_way.setdefault((other, link_in_node(other, chip, self.chips)), [])
            # A link carries packets in order: none arrives before the one that left earlier.
            queue.append((max(arrival, queue[-1][0] + self.machine.packet_time) if queue else arrival, data))

    def ready(self, chip: int, link: int) -> bool:
        return bool(self.under_way.get((chip, link)))

    def receive(self, chip: int, cycle: int, link: int) -> Array | None:
        queue = self.under_way[chip, link]
        arrival, data = queue[0]
        if arrival > cycle:
            raise NetworkError(
                f"a packet reaches chip {chip} on link {link} in cycle {arrival}, after cycle {cycle} when it is taken"
            )
        if sum(a <= cycle for a, _ in queue) > self.machine.link_buffer:
            raise NetworkError(f"more than {self.machine.link_buffer} packets wait at link {link} of chip {chip}")
        queue.pop(0)
        self.slack.append(cycle - arrival)
        return data


class _Chip(BurstSimulator):
    """One chip that waits where it needs a packet that is not sent yet."""

    def __init__(self, made: ChipPrograms, chip: int, inputs: Mapping[str, Array], wires: _Wires) -> None:
        super().__init__(made.programs[chip], made.parts.given(inputs, chip))
        self.chip, self.wires = chip, wires

    def execute(self, step: Step) -> None:
        if step.op == Op.SEND:
            (data,) = self.operands(step)
            self.wires.send(self.chip, step.issue, step.a[0], data.copy())
        elif step.op == Op.RECEIVE:
            came = self.wires.receive(self.chip, step.issue, step.a[0])
            assert came is not None
            if self.readers[step.index]:
                self.results[step.index] = came
        else:
            super().execute(step)
            return
        for producer in {s[2] for feed in self.feeds[step.index] for s in feed}:
            self.drop(producer)

    def advance(self) -> Iterator[None]:
        """Runs, and stops wherever a packet is awaited."""
        for _ in range(SPLITS):
            order, circle = self.order()
            if not circle:
                break
            self.split(circle)
        else:
            raise SimulationError("instructions wait for each other in a circle")
        for index in order:
            step = self.code[index]
            while step.op == Op.RECEIVE and not self.wires.ready(self.chip, step.a[0]):
                yield
            self.execute(step)

    def outputs(self) -> dict[str, Array]:
        return {p.name: read_port(self.memory, p, self.machine.lanes) for p in self.program.outputs}


def run_chips(
    made: ChipPrograms,
    inputs: Mapping[str, Array],
    *,
    latency: Latency | None = None,
    functional: bool = True,
) -> ChipsRun:
    """Runs all chips from one common cycle. Inputs and outputs are the whole network's, not the chips' shares.

    Without `functional` only packets and cycles are followed. Raises NetworkError for a late packet, SimulationError
    for what no chip could do.
    """
    machine = made.programs[0].machine
    wires = _Wires(made, machine, latency or (lambda _: machine.link_latency_high))
    if functional:
        chips = [_Chip(made, c, inputs, wires) for c in range(len(made.programs))]
        _together([c.advance() for c in chips])
        outputs: dict[str, Array] | None = made.parts.joined([c.outputs() for c in chips])
        last = max(s.issue + s.count for c in chips for s in c.code)
    else:
        outputs, last = None, 0
        events: list[tuple[int, int, int, int]] = []
        for chip, program in enumerate(made.programs):
            code = program.code
            last = max(last, int((code["issue"] + code["count"]).max()))
            for op in (Op.SEND, Op.RECEIVE):
                mine = code[code["op"] == op]
                events += [(t, int(op), chip, a) for t, a in zip(mine["issue"].tolist(), mine["a"][:, 0].tolist())]  # noqa: B905
        for cycle, op_, chip, a in sorted(events):
            if op_ == Op.SEND:
                wires.send(chip, cycle, a, None)
            else:
                wires.receive(chip, cycle, a)
    if any(wires.under_way.values()):
        raise NetworkError("packets are left that nobody took")
    slack = (min(wires.slack, default=0), max(wires.slack, default=0))
    return ChipsRun(outputs=outputs, cycles=last + machine.superlanes - 1, packets=len(wires.slack), slack=slack)


def _together(chips: Sequence[Iterator[None]]) -> None:
    """Advances chips in turn until all are done. Raises NetworkError if none can go on."""
    waiting = list(chips)
    stuck = 0
    while waiting:
        chip = waiting.pop(0)
        before = stuck
        if next(chip, False) is None:
            waiting.append(chip)
            stuck = before + 1
            if stuck > 4096 * len(waiting):
                raise NetworkError("the chips wait for packets that nobody sends")
        else:
            stuck = 0
