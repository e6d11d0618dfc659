"""Collectives and messages over any system, as packets: each with its link, the cycle it leaves in and is taken in.

Nothing is executed here: chips are as far apart as the schedule says. A link carries one packet at a time. A step of a
collective is: every chip sends what it holds over links of one kind, and every receiver adds up (or keeps) what came.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.network import NetworkError, System
from elsewhere.compiler.targets.tsp.program import WIDTH


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles of one hop: on the wire, from the SEND until the vector may be sent on, and for each addition."""

    wire: int
    hop: int
    entry: int
    add: int

    @classmethod
    def measured(cls, machine: TspMachine) -> Timing:
        """The slowest measured link; then from the links' place to memory and back, as compiled programs of a node."""
        through = 2 * machine.switch_place + machine.memory_write + machine.memory_read
        hop = machine.packet_time + machine.link_latency_high + through
        return cls(machine.packet_time, hop, *_adding(machine))

    @classmethod
    def planned(cls, machine: TspMachine) -> Timing:
        """The published figure for planning, which covers all of a hop but calculation."""
        return cls(machine.packet_time, math.ceil(machine.hop_seconds * machine.clock_hz), *_adding(machine))


def _adding(machine: TspMachine) -> tuple[int, int]:
    """From memory into the vector unit and back; a sum of two."""
    return machine.vector_entry + 2 * machine.memory_hops + machine.memory_read + machine.memory_write, (
        machine.vector_operation
    )


@dataclass(frozen=True, slots=True)
class Send:
    """One packet on one link: it leaves from `issue` on, and may be used or sent on from `taken` on."""

    issue: int
    sender: int
    receiver: int
    taken: int


@dataclass(slots=True)
class Exchange:
    """A compiled exchange, growing: packets, from when each link is free, and until when all is done."""

    timing: Timing
    sends: list[Send] = field(default_factory=list)
    free: dict[tuple[int, int], int] = field(default_factory=dict)
    cycles: int = 0
    """From the first cycle to the last chip's result."""

    def send(self, ready: int, sender: int, receiver: int) -> int:
        """Puts a packet on a link as early as it can go; gives the cycle from which the receiver has it."""
        issue = max(ready, self.free.get((sender, receiver), 0))
        self.free[sender, receiver] = issue + self.timing.wire
        self.sends.append(Send(issue, sender, receiver, issue + self.timing.hop))
        self.cycles = max(self.cycles, issue + self.timing.hop)
        return issue + self.timing.hop

    def check(self) -> None:
        """No link carries two packets at once. Raises NetworkError."""
        last: dict[tuple[int, int], int] = {}
        for send in sorted(self.sends, key=lambda s: s.issue):
            key = (send.sender, send.receiver)
            if send.issue < last.get(key, 0):
                raise NetworkError(f"the link from chip {key[0]} to {key[1]} is taken at cycle {send.issue}")
            last[key] = send.issue + self.timing.wire

    def step(
        self, ready: Sequence[int], pairs: Iterable[tuple[int, int]], counts: Sequence[int], adds: bool
    ) -> list[int]:
        """All of `pairs` at once: the sender's `counts` vectors. Gives from when each chip has its result."""
        came: dict[int, list[int]] = {}
        for sender, receiver in pairs:
            for _ in range(counts[sender]):
                at = self.send(ready[sender], sender, receiver)
            came.setdefault(receiver, []).append(at)
        after = list(ready)
        for chip, times in came.items():
            more = self.timing.entry + self.timing.add * len(times) if adds else 0
            after[chip] = max(ready[chip], *times) + more
        self.cycles = max(self.cycles, *after)
        return after


def vectors(machine: TspMachine, elements: int, dtype: str) -> int:
    """Packets for so many elements."""
    return -(-elements * WIDTH[dtype] // machine.lanes)


def _inside(system: System) -> list[tuple[int, int]]:
    """All pairs of chips of a node."""
    return [
        (a, b) for node in range(system.nodes) for a in system.members(node) for b in system.members(node) if a != b
    ]


def _across(system: System, inside_racks: bool) -> list[tuple[int, int]]:
    """Ends of global links: of one rack, or of different racks; in one group of nodes all count as of one rack."""
    found = []
    for chip in range(system.chips):
        for other in system.neighbours(chip):
            same = system.flat or system.rack(chip) == system.rack(other)
            if system.node(chip) != system.node(other) and same == inside_racks:
                found.append((chip, other))
    return found


def _steps(system: System) -> list[list[tuple[int, int]]]:
    """Which links are used one after the other, so that everything has been everywhere."""
    inside = _inside(system)
    if system.nodes == 1:
        return [inside]
    around = [inside, _across(system, True), inside]
    return around if system.flat or system.racks == 1 else [*around, _across(system, False), *around]


def all_reduce(system: System, count: int, timing: Timing) -> Exchange:
    """Sums of `count` vectors of every chip, on every chip. Each step adds up in the order of the senders' numbers.

    In a node of more than a few vectors each chip adds up one share and deals it out; else all send all to all.
    """
    made = Exchange(timing)
    if system.chips == 1:
        return made
    start = [0] * system.chips
    if system.nodes == 1 and count >= system.chips:
        share = [-(-count // system.chips)] * system.chips
        after = made.step(start, _inside(system), share, adds=True)
        made.step(after, _inside(system), share, adds=False)
        return made
    for pairs in _steps(system):
        start = made.step(start, pairs, [count] * system.chips, adds=True)
    return made


def all_gather(system: System, count: int, timing: Timing) -> Exchange:
    """`count` vectors of every chip, on every chip; a step passes on all that its sender got in the steps before."""
    made = Exchange(timing)
    ready, held = [0] * system.chips, [{c} for c in range(system.chips)]
    sent: list[dict[int, set[int]]] = [{} for _ in range(system.chips)]
    for pairs in _steps(system) if system.chips > 1 else []:
        fresh: list[set[int]] = [set(h) for h in held]
        after = list(ready)
        for sender, receiver in pairs:
            # What came over links of this kind from all others of the group, or is there already, need not go again.
            mine = held[sender] - held[receiver] - sent[sender].get(receiver, set())
            if system.node(sender) == system.node(receiver):
                others = set().union(*(sent[c].get(receiver, set()) for c in system.members(system.node(receiver))))
                mine -= others
            for _ in range(count * len(mine)):
                after[receiver] = max(after[receiver], made.send(ready[sender], sender, receiver))
            sent[sender].setdefault(receiver, set()).update(mine)
            fresh[receiver] |= mine
        ready, held = after, fresh
    if any(len(h) != system.chips for h in held):
        raise NetworkError(f"the steps of an all-gather do not reach all of {system.chips} chips")
    return made


def message(system: System, source: int, target: int, count: int, timing: Timing) -> Exchange:
    """`count` vectors that every chip of node `source` has, to every chip of node `target`.

    Each packet goes the way on which it arrives first, given those before it: over other nodes where that is sooner.
    A packet that has arrived at one chip of the target goes from there to the others at once.
    """
    made = Exchange(timing)
    if source == target:
        return made
    ways = {chip: system.neighbours(chip) for chip in range(system.chips)}
    ends = set(system.members(target))
    for _ in range(count):
        way = _soonest(made, ways, system.members(source), ends)
        if way is None:
            raise NetworkError(f"there is no way from node {source} to node {target}")
        time = 0
        for sender, receiver in pairwise(way):
            time = made.send(time, sender, receiver)
        for other in system.members(target):
            if other != way[-1]:
                made.send(time, way[-1], other)
    return made


def _soonest(made: Exchange, ways: dict[int, list[int]], starts: Iterable[int], ends: set[int]) -> list[int] | None:
    """Chips on the way that arrives first (Dijkstra on arrival times)."""
    best = dict.fromkeys(starts, 0)
    back: dict[int, int] = {}
    queue = [(0, chip) for chip in best]
    heapq.heapify(queue)
    while queue:
        time, chip = heapq.heappop(queue)
        if time > best[chip]:
            continue
        if chip in ends:
            way = [chip]
            while way[-1] in back:
                way.append(back[way[-1]])
            return way[::-1]
        for other in ways[chip]:
            arrival = max(time, made.free.get((chip, other), 0)) + made.timing.hop
            if arrival < best.get(other, 1 << 60):
                best[other] = arrival
                back[other] = chip
                heapq.heappush(queue, (arrival, other))
    return None
