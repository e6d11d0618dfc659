"""Many chips: who is linked to whom, and sends whose cycle and route are compiled.

A node is 8 chips, all linked to each other; each chip has 4 more links to other nodes. A vector of 320 bytes travels
in a packet of 328. There is no back-pressure: a link carries one packet at a time, in cycles that the compiler chose,
and a receiver takes it in a cycle that is late enough for the slowest link (deskew), or the run fails.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import WIDTH, Program

Array = NDArray[Any]


class NetworkError(ValueError):
    """A system that cannot be, or a packet that came too late."""


@dataclass(frozen=True, slots=True)
class System:
    """`chips` of one machine, filled node by node."""

    machine: TspMachine
    chips: int

    def __post_init__(self) -> None:
        if not 1 <= self.chips <= self.machine.largest_system:
            raise NetworkError(f"chips must be from 1 to {self.machine.largest_system}, got {self.chips}")

    @property
    def nodes(self) -> int:
        return -(-self.chips // self.machine.chips_per_node)

    @property
    def racks(self) -> int:
        return -(-self.nodes // self.machine.nodes_per_rack)

    @property
    def flat(self) -> bool:
        """Whether there are links from every node to every other: the global links of a node suffice."""
        return self.nodes - 1 <= self.machine.links_global * self.machine.chips_per_node

    def neighbours(self, chip: int) -> list[int]:
        """Chips at the other ends of a chip's links."""
        m = self.machine
        node, place = divmod(chip, m.chips_per_node)
        first = node * m.chips_per_node
        found = [c for c in range(first, min(first + m.chips_per_node, self.chips)) if c != chip]
        for port in range(m.links_global):
            other = self._global(node, place * m.links_global + port)
            if other is not None and other < self.chips:
                found.append(other)
        return found

    def _global(self, node: int, link: int) -> int | None:
        """The chip at the other end of a node's global link. Nodes are joined all to all as far as links go: in one
        group up to 33 nodes, beyond that inside racks, and from rack to rack by the links that are left."""
        m = self.machine
        if self.flat:
            other = link if link < node else link + 1
            back = node if node < other else node - 1
            return other * m.chips_per_node + back // m.links_global if other < self.nodes else None
        rack, place = divmod(node, m.nodes_per_rack)
        inside = m.nodes_per_rack - 1
        if link < inside:
            other_place = link if link < place else link + 1
            back = place if place < other_place else place - 1
            return (rack * m.nodes_per_rack + other_place) * m.chips_per_node + back // m.links_global
        return self._between(rack, place, link - inside)

    def _between(self, rack: int, place: int, link: int) -> int | None:
        """Links of all nodes of a rack to other racks, dealt one to a rack in turn."""
        m = self.machine
        out = m.links_global * m.chips_per_node - (m.nodes_per_rack - 1)
        number = place * out + link
        if number >= self.racks - 1:
            number %= max(1, self.racks - 1)
        other = number if number < rack else number + 1
        if other >= self.racks:
            return None
        back = rack if rack < other else rack - 1
        node = other * m.nodes_per_rack + back // out
        return node * m.chips_per_node + (m.nodes_per_rack - 1 + back % out) // m.links_global

    def hops(self, start: int = 0) -> list[int]:
        """Links from a chip to every other, -1 where there is no way."""
        found = [-1] * self.chips
        found[start] = 0
        queue = deque([start])
        while queue:
            chip = queue.popleft()
            for other in self.neighbours(chip):
                if found[other] < 0:
                    found[other] = found[chip] + 1
                    queue.append(other)
        return found

    @property
    def diameter(self) -> int:
        """The most links between two chips, seen from one chip of each place in a node."""
        starts = range(min(self.chips, self.machine.chips_per_node))
        return max(max(self.hops(s)) for s in starts)


@dataclass(frozen=True, slots=True)
class Send:
    """One packet on one link, from the cycle `issue` on."""

    issue: int
    sender: int
    receiver: int
    vector: int

    def taken(self, machine: TspMachine) -> int:
        """The cycle in which the receiver takes it: after the slowest link, on its deskewed counter."""
        return self.issue + math.ceil(machine.packet_cycles) + machine.link_latency_high


@dataclass(slots=True)
class Exchange:
    """A compiled collective: sends in order, and the cycles from the first to the last vector taken."""

    machine: TspMachine
    sends: list[Send] = field(default_factory=list)
    free: dict[tuple[int, int], int] = field(default_factory=dict)

    def send(self, ready: int, sender: int, receiver: int, vector: int) -> int:
        """Puts a packet on a link as early as it can go; gives the cycle in which it is taken."""
        issue = max(ready, self.free.get((sender, receiver), 0))
        self.free[sender, receiver] = issue + math.ceil(self.machine.packet_cycles)
        self.sends.append(Send(issue, sender, receiver, vector))
        return self.sends[-1].taken(self.machine)

    @property
    def cycles(self) -> int:
        return max((s.taken(self.machine) for s in self.sends), default=0)

    def check(self) -> None:
        """No link carries two packets at once. Raises NetworkError."""
        last: dict[tuple[int, int], int] = {}
        for send in sorted(self.sends, key=lambda s: s.issue):
            key = (send.sender, send.receiver)
            if send.issue < last.get(key, 0):
                raise NetworkError(f"the link from chip {key[0]} to {key[1]} is taken at cycle {send.issue}")
            last[key] = send.issue + math.ceil(self.machine.packet_cycles)

    def deliver(self, latency: Callable[[Send], int]) -> None:
        """Tries the schedule with real link latencies in cycles. Raises NetworkError for a packet that is late."""
        for send in self.sends:
            arrival = send.issue + math.ceil(self.machine.packet_cycles) + latency(send)
            if arrival > send.taken(self.machine):
                raise NetworkError(
                    f"vector {send.vector} from chip {send.sender} to {send.receiver} arrives in cycle {arrival}, "
                    f"after cycle {send.taken(self.machine)} in which it is taken"
                )


def vectors(machine: TspMachine, elements: int, dtype: str) -> int:
    """Packets for so many elements."""
    return -(-elements * WIDTH[dtype] // machine.lanes)


def all_gather(machine: TspMachine, chips: Sequence[int], share: int, start: int = 0) -> Exchange:
    """Every chip sends its `share` vectors to every other chip of a node, on links of their own."""
    made = Exchange(machine)
    for vector in range(share):
        for sender in chips:
            for receiver in chips:
                if sender != receiver:
                    made.send(start, sender, receiver, vector)
    return made


def all_reduce(machine: TspMachine, chips: Sequence[int], count: int, start: int = 0) -> Exchange:
    """Sums of `count` vectors: each chip adds up one share of them, then deals its sums to all."""
    made = Exchange(machine)
    share = -(-count // len(chips))
    adding = machine.vector_entry + machine.vector_operation * (len(chips) - 1) + 2 * machine.memory_hops
    ready = dict.fromkeys(chips, start)
    for vector in range(share):
        for sender in chips:
            for receiver in chips:
                if sender != receiver:
                    ready[receiver] = max(ready[receiver], made.send(start, sender, receiver, vector))
    for vector in range(share):
        for sender in chips:
            for receiver in chips:
                if sender != receiver:
                    made.send(ready[sender] + adding, sender, receiver, share + vector)
    return made


def all_reduce_latency(system: System) -> float:
    """Seconds that the farthest pair of chips is apart, at the planning figure per hop."""
    return system.diameter * system.machine.hop_seconds


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What a node gave, and the cycles of each phase: (chips' program, exchange)."""

    outputs: list[dict[str, Array]]
    phases: list[tuple[int, int]]

    @property
    def cycles(self) -> int:
        return sum(a + b for a, b in self.phases)


def gather_columns(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts, axis=-1)


def run_node(
    phases: Sequence[Sequence[Program]],
    inputs: Mapping[str, Array],
    machine: TspMachine,
    *,
    jitter: Callable[[Send], int] | None = None,
    functional: bool = True,
) -> NodeRun:
    """Phases one after the other: each chip runs its program, then all chips get all chips' columns.

    The output `y` of a phase, columns joined, is the input `x` of the next. With `functional` False only time passes.
    Raises NetworkError for a late packet.
    """
    given: list[dict[str, Array]] = [dict(inputs) for _ in phases[0]]
    made: list[dict[str, Array]] = []
    times = []
    for number, programs in enumerate(phases):
        work = max(p.cycles for p in programs)
        port = next(p for p in programs[0].outputs if p.name == "y")
        exchange = Exchange(machine)
        if number < len(phases) - 1:
            share = port.rows * vectors(machine, port.columns, port.dtype)
            exchange = all_gather(machine, range(len(programs)), share)
            exchange.check()
            exchange.deliver(jitter or (lambda _: machine.link_latency_high))
        times.append((work, exchange.cycles))
        if functional:
            made = [run_bursts(p, g) for p, g in zip(programs, given, strict=True)]
            whole = gather_columns([m["y"] for m in made])
            given = [{"x": whole} for _ in programs]
    return NodeRun(made, times)
