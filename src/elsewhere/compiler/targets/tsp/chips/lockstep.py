"""Programs of several chips, scheduled in step: the cycle of every packet on both its ends is fixed before any runs.

A sender reads a vector from its memory onto a stream to the links' place, where a SEND puts it on all links that need
it. It is on the wire for its bytes' time and under way for the slowest link's latency; the receiver's counters absorb
whatever is faster (deskew), so its RECEIVE comes at a cycle that is known. From there a stream takes it to memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.tsp.chips.parts import Parts, sent, taken
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import link_in_node
from elsewhere.compiler.targets.tsp.prepare import prepare
from elsewhere.compiler.targets.tsp.program import EAST, TYPES, WEST, WIDTH, Kind, Op, Program
from elsewhere.compiler.targets.tsp.scheduler.build import Build
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, ScheduleError, SelfConflict
from elsewhere.compiler.targets.tsp.scheduler.storage import Stored, Strip


@dataclass(frozen=True, slots=True)
class Packet:
    """One vector from one chip to another: its SEND's cycle, the link there, the RECEIVE's cycle and the link here."""

    exchange: int
    sender: int
    sent: int
    link: int
    receiver: int
    taken: int
    link_in: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChipPrograms:
    """Programs that start in the same cycle, the graphs that they carry out, and all packets between them."""

    parts: Parts
    graphs: tuple[Graph, ...]
    programs: tuple[Program, ...]
    packets: tuple[Packet, ...]

    @property
    def cycles(self) -> int:
        """From the common start until the last chip is done."""
        return max(p.cycles for p in self.programs)


class ChipBuild(Build):
    """One chip's compilation, which stops where it needs what others send."""

    def __init__(self, graph: Graph, machine: TspMachine, chip: int) -> None:
        super().__init__(graph, machine)
        self.chip = chip
        self.sends = {name: value for name, value in graph.outputs if sent(name) is not None}
        self.receives: dict[tuple[int, int], int] = {}
        for name, number in graph.inputs.items():
            if (from_ := taken(name)) is not None:
                self.receives[from_] = number
        self.arrived: set[int] = set()
        self.steps = self.walk()

    def until_exchange(self) -> int | None:
        """Schedules up to the next exchange, whose number it gives, None at the end."""
        for number in self.steps:
            node = self.graph.nodes[number]
            from_ = taken(node.attributes["name"]) if node.op == "input" else None
            if from_ is not None and from_[0] not in self.arrived:
                self.arrived.add(from_[0])
                # The generator goes on behind its yield, with this very node: by then it has its value.
                return from_[0]
        return None

    def node(self, number: int, node: Node) -> None:
        if node.op == "input" and taken(node.attributes["name"]) is not None:
            assert number in self.values, "an exchange is scheduled before its values are used"
            return
        super().node(number, node)

    def outgoing(self, name: str) -> Stored:
        if self.sends[name] not in self.values:
            raise ScheduleError(f"{name} is sent before it is made")
        return self.stored(self.sends[name])

    def program(self) -> Program:
        kept = self.graph
        own = tuple((n, v) for n, v in kept.outputs if sent(n) is None)
        self.graph = replace(kept, outputs=own)
        try:
            return super().program()
        finally:
            self.graph = kept

    # -- packets --------------------------------------------------------------------------------------------------

    def send(self, strip: Strip, row: int, ready: int, side: int, links: Sequence[int], meant: int) -> int:
        """The SEND's cycle, in which all `links` (of one side) are free. `meant` numbers the vector."""
        context, machine = self.context, self.context.machine
        sign = 1 if side else -1
        place = sign * machine.switch_place
        flow = Flow(context.machinery)
        stands = machine.slice_place(strip.slice)
        distance = abs(place - stands)
        start = sign if sign * stands > 0 else stands
        wire = flow.wire("i8", start, -abs(place - start), 1, EAST if place > 0 else WEST)
        wire.arrival(place)
        issue = -distance - machine.memory_read
        context.memory(flow, Op.READ, strip, issue, 1, row, 1, wire, 0, 0)
        flow.not_before(ready, issue)
        queues = [context.queues.link(side, i) for i in range(machine.link_queues)]
        queue = flow.choose(context.link_options(side), 0, 1)
        mask = sum(1 << link for link in links)
        ins = ((Kind.STREAM, "i8", 0, wire, 0, 0),)
        flow.items.append(
            Item(
                Op.SEND,
                queue,
                queues,
                0,
                1,
                (mask, 0, 0, 0),
                ins=ins,
                row=strip.byte,
                row_step=TYPES.index(strip.dtype),
                meant=meant,
            )
        )
        for link in links:
            flow.use(("link", link), 0, machine.packet_time)
        return context.place(flow)

    def receive(self, stored: Stored, where: tuple[int, int, int], ready: int, link: int, meant: int) -> int:
        """The RECEIVE's cycle; the vector is written into every copy of `stored`."""
        context, machine = self.context, self.context.machine
        tile, byte, row = where
        side = machine.link_side(link)
        place = machine.switch_place * (1 if side else -1)
        flow = Flow(context.machinery)
        wire = flow.wire("i8", place, 0, 1, WEST if side else EAST)
        queues = [context.queues.link(side, i) for i in range(machine.link_queues)]
        queue = flow.choose(context.link_options(side), 0, 1)
        flow.items.append(
            Item(
                Op.RECEIVE,
                queue,
                queues,
                0,
                1,
                (link, 0, 0, 0),
                outs=((wire, 0, 0),),
                row=byte,
                row_step=TYPES.index(stored.dtype),
                meant=meant,
            )
        )
        flow.use(("link in", link), 0, machine.packet_time)
        segment, inside = divmod(row, stored.segment)
        written = []
        for copy in stored.copies:
            strip = copy.strips[tile][byte][segment]
            issue = wire.arrival(machine.slice_place(strip.slice))
            context.memory(flow, Op.WRITE, strip, issue, 1, inside, 1, wire, 0, 0)
            written.append((copy, issue + machine.memory_write))
        flow.not_before(ready)
        time = context.place(flow)
        for copy, offset in written:
            copy.ready[row] = max(copy.ready[row], time + offset)
        return time


class Lockstep:
    """Schedules the chips of one node together."""

    def __init__(self, parts: Parts, machine: TspMachine) -> None:
        if parts.chips > machine.chips_per_node:
            raise ScheduleError(f"a node has {machine.chips_per_node} chips, got {parts.chips}")
        self.parts, self.machine = parts, machine
        self.graphs = tuple(prepare(g) for g in parts.graphs)
        self.builds = [ChipBuild(g, machine, c) for c, g in enumerate(self.graphs)]
        self.packets: list[Packet] = []
        self.vectors = 0

    def run(self) -> ChipPrograms:
        try:
            while True:
                met = {b.until_exchange() for b in self.builds}
                if len(met) != 1:
                    raise ScheduleError(f"the chips meet in different exchanges: {sorted(map(str, met))}")
                (exchange,) = met
                if exchange is None:
                    break
                self.exchange(exchange)
        except SelfConflict as error:
            raise ScheduleError(f"a flow meets itself: {error}") from error
        programs = tuple(b.program() for b in self.builds)
        return ChipPrograms(parts=self.parts, graphs=self.graphs, programs=programs, packets=tuple(self.packets))

    def exchange(self, exchange: int) -> None:
        """All packets of one exchange: vectors in order, from every chip in turn, so that links are used evenly."""
        waiting: list[Iterator[None]] = []
        for sender in self.builds:
            for name in sender.sends:
                number, to = sent(name) or (-1, None)
                if number == exchange:
                    receivers = [c for c in range(len(self.builds)) if to in (None, c)]
                    waiting.append(self.message(exchange, sender, name, receivers))
        while waiting:
            waiting = [w for w in waiting if next(w, True) is None]

    def message(self, exchange: int, sender: ChipBuild, name: str, receivers: Sequence[int]) -> Iterator[None]:
        stored = sender.outgoing(name)
        targets: dict[int, Stored] = {}
        for chip in receivers:
            number = self.builds[chip].receives[exchange, sender.chip]
            if chip == sender.chip:
                sender.values[number] = sender.context.moved(stored, sender.graph.nodes[number].type.shape)
                continue
            targets[chip] = self.builds[chip].new(number, now=True)
            self.builds[chip].keep(number, targets[chip])
        for row in range(stored.rows):
            for tile in range(stored.tiles):
                for byte in range(WIDTH[stored.dtype]):
                    if targets:
                        self.vector(exchange, sender, stored, targets, (tile, byte, row))
                    yield

    def vector(
        self, exchange: int, sender: ChipBuild, stored: Stored, targets: dict[int, Stored], where: tuple[int, int, int]
    ) -> None:
        tile, byte, row = where
        machine, chips = self.machine, len(self.builds)
        self.vectors += 1
        segment, inside = divmod(row, stored.segment)
        for side in (0, 1):
            links = {link_in_node(sender.chip, c, chips): c for c in targets}
            mine = {link: c for link, c in links.items() if machine.link_side(link) == side}
            if not mine:
                continue
            copy = sender.context.copy_of(stored, side)
            strip, ready = copy.strips[tile][byte][segment], int(copy.ready[row])
            time = sender.send(strip, inside, ready, side, sorted(mine), self.vectors)
            arrival = time + machine.packet_time + machine.link_latency_high
            for link, chip in sorted(mine.items()):
                back = link_in_node(chip, sender.chip, chips)
                at = self.builds[chip].receive(targets[chip], where, arrival, back, self.vectors)
                self.packets.append(Packet(exchange, sender.chip, time, link, chip, at, back))


def schedule_parts(parts: Parts, machine: TspMachine = GROQCHIP1) -> ChipPrograms:
    """Programs of the chips of one node. Raises ScheduleError for what does not fit, UnsupportedNode as one chip."""
    return Lockstep(parts, machine).run()
