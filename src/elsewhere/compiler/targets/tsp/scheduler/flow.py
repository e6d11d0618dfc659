"""Rigid templates of instructions: all offsets inside are fixed, and the first cycle is found by asking the calendars.

A flow carries a number of rows from memory through units to memory. Its parts are wires (legs of streams) and units;
what may be one of several (a stream, an ALU, a shifter) is a choice that placement makes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import EAST, TYPES, WEST, WIDTH, Kind, Op
from elsewhere.compiler.targets.tsp.scheduler.calendar import Calendar

if TYPE_CHECKING:
    from elsewhere.compiler.targets.tsp.scheduler.storage import Storage, Strip

Key = Hashable
PATIENCE = 200_000
WEST_STREAMS = 256
"""Westward streams are numbered from here."""
BUNDLE = 8
"""Groups of so many streams carry weights; they are taken from the last streams down, all others from the first up."""


class SelfConflict(Exception):
    """A flow would use one port twice in one cycle; it cannot be placed at any time."""


class ScheduleError(ValueError):
    """What cannot be placed on the machine."""


class MemoryFullError(ScheduleError):
    """Rows that find no room in their bank."""


@dataclass(slots=True)
class Choice:
    """One of several sets of calendars, all free for `length` cycles from `offset`."""

    options: Sequence[tuple[Key, ...]]
    offset: int
    length: int
    taken: int = -1
    before: tuple[Choice, ...] = ()
    """Choices of the same calendars in this flow, which must differ."""


@dataclass(slots=True)
class Wire:
    """`count` rows of `width` bytes that travel on one group of streams; row 0 is at `place` at `offset`."""

    number: int
    dtype: str
    place: int
    offset: int
    count: int
    direction: int
    ends: list[int] = field(default_factory=list)
    choice: Choice | None = None
    streams: int = 0
    """How many streams; the width of the type unless it is a bundle of weights."""

    def arrival(self, place: int) -> int:
        """Offset at which row 0 is at `place`, where something takes it."""
        self.ends.append(place)
        return self.passes(place)

    def passes(self, place: int) -> int:
        distance = place - self.place if self.direction == EAST else self.place - place
        assert distance >= 0, "streams do not turn"
        return self.offset + distance

    @property
    def base(self) -> int:
        """First stream; west ones follow the east ones."""
        assert self.choice is not None
        first: int = self.choice.options[self.choice.taken][0][1]  # type: ignore[index]
        return first + (0 if self.direction == EAST else WEST_STREAMS)

    @property
    def step(self) -> int:
        return self.streams or WIDTH[self.dtype]


@dataclass(slots=True)
class Item:
    """An instruction whose queue or streams may depend on choices."""

    op: Op
    queue: int | Choice
    queues: Sequence[int]
    offset: int
    count: int
    a: tuple[int, int, int, int]
    ins: tuple[tuple[Kind, str, int, Any, int, int], ...] = ()  # kind, type, delay, source, row, byte
    outs: tuple[tuple[Wire, int, int], ...] = ()  # wire, row, byte or -1 for all
    dtype: str = "i8"
    strip: int = -1
    row: int = 0
    row_step: int = 0
    meant: int = -1


@dataclass(slots=True)
class Park:
    """Writes into a strip that lies nowhere yet: placement takes the first of its slices that is free.

    Offsets of `items` count from the wire's first row; their slice and issue are filled in when it is chosen.
    """

    strip: Strip
    wire: Wire
    storage: Storage
    items: list[Item] = field(default_factory=list)
    taken: tuple[int, int] = (-1, -1)
    issue: int = 0


class Machinery:
    """All calendars of a chip, and the instructions placed so far."""

    def __init__(self, machine: TspMachine) -> None:
        self.machine = machine
        self.calendars: dict[Key, Calendar] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.wires = 0
        self.symbol = 0

    def calendar(self, key: Key) -> Calendar:
        found = self.calendars.get(key)
        if found is None:
            found = self.calendars[key] = Calendar()
        return found


class Flow:
    """One template. `place` puts it at its earliest cycle and gives that cycle back."""

    def __init__(self, machinery: Machinery) -> None:
        self.machinery = machinery
        self.machine = machinery.machine
        self.fixed: list[tuple[Key, int, int]] = []
        self.choices: list[Choice] = []
        self.wires: list[Wire] = []
        self.items: list[Item] = []
        self.when_placed: list[Callable[[int], None]] = []
        self.earliest = self.soonest = 0
        self.parks: list[Park] = []
        self.fixed_calendars: list[tuple[Calendar, int, int]] = []
        self.own: dict[Key, list[tuple[int, int]]] = {}

    def park(self, strip: Strip, wire: Wire, storage: Storage) -> Park:
        made = Park(strip, wire, storage)
        self.parks.append(made)
        return made

    def wire(self, dtype: str, place: int, offset: int, count: int, direction: int, streams: int = 0) -> Wire:
        self.machinery.wires += 1
        made = Wire(self.machinery.wires, dtype, place, offset, count, direction, streams=streams)
        self.wires.append(made)
        return made

    def use(self, key: Key, offset: int, length: int) -> None:
        self.fixed.append((key, offset, length))

    def choose(self, options: Sequence[tuple[Key, ...]], offset: int, length: int) -> Choice:
        rivals = tuple(c for c in self.choices if c.options[0][0][0] == options[0][0][0])  # type: ignore[index]
        made = Choice(options, offset, length, before=rivals)
        self.choices.append(made)
        return made

    def meets_itself(self, first: int) -> bool:
        """Whether what was asked for from number `first` on is taken at that time by what was asked for before."""
        taken: dict[Key, list[tuple[int, int]]] = {}
        for key, offset, length in self.fixed[:first]:
            taken.setdefault(key, []).append((offset, offset + length))
        return any(
            a < offset + length and offset < b
            for key, offset, length in self.fixed[first:]
            for a, b in taken.get(key, ())
        )

    def not_before(self, cycle: int, offset: int = 0) -> None:
        """What lies at `offset` must not come before `cycle`."""
        self.earliest = max(self.earliest, cycle - offset)

    # -- placement ----------------------------------------------------------------------------------------------

    def place(self) -> int:
        time = self.find()
        self.commit(time)
        return time

    def find(self, limit: int = 1 << 60) -> int:
        """The earliest cycle, with all choices made for it; any later one if it is not before `limit`."""
        for wire in self.wires:
            self._stream(wire)
        first = min((i.offset for i in self.items), default=0)
        fixed = self.fixed_calendars = self._merged()
        if self.parks:
            for key, offset, length in self.fixed:
                self.own.setdefault(key, []).append((offset, length))
        time = self.soonest = max(self.earliest, -first)
        for _ in range(PATIENCE):
            moved = self._settle(time, fixed)
            if moved == time:
                moved = self._pick(time)
            if moved == time or moved >= limit:
                return moved
            time = moved
        raise ScheduleError("no free cycle was found for a flow")

    def _merged(self) -> list[tuple[Calendar, int, int]]:
        """What is asked for of each calendar, where it goes on without a gap as one stretch."""
        last: dict[Key, int] = {}
        found: list[tuple[Calendar, int, int]] = []
        for key, offset, length in sorted(self.fixed, key=_offset):
            number = last.get(key)
            if number is not None:
                calendar, start, before = found[number]
                if offset < start + before:
                    raise SelfConflict(key)
                if offset == start + before:
                    found[number] = (calendar, start, before + length)
                    continue
            last[key] = len(found)
            found.append((self.machinery.calendar(key), offset, length))
        return found

    @staticmethod
    def _settle(time: int, fixed: Sequence[tuple[Calendar, int, int]]) -> int:
        """The earliest cycle from `time` on that suits everything without a choice."""
        while True:
            before = time
            for calendar, offset, length in fixed:
                time = calendar.next_free(time + offset, length) - offset
            if time == before:
                return time

    def _pick(self, time: int) -> int:
        """Makes all choices at `time`, or gives a later cycle to try."""
        calendar = self.machinery.calendar
        for choice in self.choices:
            choice.taken = -1
        for choice in self.choices:
            at, best = time + choice.offset, 1 << 60
            taken = [
                c.taken
                for c in choice.before
                if c.taken >= 0
                and c.options is choice.options
                and c.offset < choice.offset + choice.length
                and choice.offset < c.offset + c.length
            ]
            others = {
                key
                for c in choice.before
                if c.taken >= 0
                and c.options is not choice.options
                and c.offset < choice.offset + choice.length
                and choice.offset < c.offset + c.length
                for key in c.options[c.taken]
            }
            for number, keys in enumerate(choice.options):
                if number in taken or (others and not others.isdisjoint(keys)):
                    continue
                free = max(calendar(key).next_free(at, choice.length) for key in keys)
                if free == at:
                    choice.taken = number
                    break
                best = min(best, free)
            if choice.taken < 0:
                if best == 1 << 60:
                    raise ScheduleError("a flow needs more units or streams than the machine has")
                return best - choice.offset
        for number, park in enumerate(self.parks):
            free = self._settle_park(time, park, self.parks[:number])
            if free > time:
                return free
        return time

    def _settle_park(self, time: int, park: Park, before: Sequence[Park]) -> int:
        """Takes the first slice and bank that are free at `time`, or gives a later cycle to try."""
        machine, storage, rows = self.machine, park.storage, park.strip.rows
        banks = [(park.strip.prefer + i) % machine.banks_per_slice for i in range(machine.banks_per_slice)]
        best = 1 << 60
        for options, anywhere in (*((o, False) for o in park.strip.options), *((o, True) for o in park.strip.options)):
            ports: dict[int, int] = {}
            for bank in banks:
                for slice_ in options:
                    if not anywhere and storage.full(slice_, bank, rows):
                        continue
                    issue = park.wire.passes(machine.slice_place(slice_))
                    if slice_ not in ports:
                        ports[slice_] = self._port_free(time, slice_, issue, park, before)
                    free = ports[slice_]
                    if free == time:
                        free = self._free_at(time, ("bank", slice_, bank), issue, park)
                    if free == time:
                        park.taken, park.issue = (slice_, bank), issue
                        return time
                    best = min(best, free)
            if best < 1 << 60:
                return best
        raise SelfConflict("no slice is left for a strip")

    def _port_free(self, time: int, slice_: int, issue: int, park: Park, before: Sequence[Park]) -> int:
        """The earliest cycle from `time` at which a slice's queue and port are free for a park's writes."""
        if any(p.taken[0] == slice_ and self._meets(p, park, issue) for p in before):
            return 1 << 60
        port = self._free_at(time, ("write", slice_), issue, park)
        return self._free_at(time, ("queue", slice_), issue, park) if port == time else port

    @staticmethod
    def _meets(other: Park, park: Park, issue: int) -> bool:
        return any(
            other.issue + a.offset < issue + b.offset + b.count and issue + b.offset < other.issue + a.offset + a.count
            for a in other.items
            for b in park.items
        )

    def _free_at(self, time: int, key: Key, issue: int, park: Park) -> int:
        """The earliest cycle from `time` at which all writes of a park find a calendar free."""
        calendar, own = self.machinery.calendar(key), self.own.get(key, ())
        single = key[0] == "queue"  # type: ignore[index]
        latest = time
        for item in park.items:
            offset, length = issue + item.offset, 1 if single else item.count
            if any(o < offset + length and offset < o + n for o, n in own):
                return 1 << 60
            latest = max(latest, calendar.next_free(time + offset, length) - offset)
        return latest

    def _stream(self, wire: Wire) -> None:
        """The diagonals that a wire needs, on any free group of streams of its direction."""
        low, high = min([wire.place, *wire.ends]), max([wire.place, *wire.ends])
        sides = tuple(side for side, there in ((0, low < 0), (1, high > 0)) if there) or (1,)
        offset = wire.offset - wire.place if wire.direction == EAST else wire.offset + wire.place
        wire.choice = self.choose(self.groups(wire.direction, wire.step, sides), offset, wire.count)

    def groups(self, direction: int, width: int, sides: tuple[int, ...]) -> Sequence[tuple[Key, ...]]:
        cache = self.machinery.__dict__.setdefault("group_cache", {})
        key = (direction, width, sides)
        if key not in cache:
            cache[key] = [
                tuple((direction, first + i, side) for i in range(width) for side in sides)
                for first in range(0, self.machine.streams - width + 1, width)
            ]
            if width >= BUNDLE:
                cache[key].reverse()
        return cache[key]  # type: ignore[no-any-return]

    def commit(self, time: int) -> None:
        """Takes all that was found free at `time`, and writes the instructions."""
        machinery = self.machinery
        for calendar, offset, length in self.fixed_calendars:
            calendar.add(time + offset, length)
        for park in self.parks:
            slice_, bank = park.taken
            park.storage.decide(park.strip, slice_, bank)
            for item in park.items:
                item.offset += park.issue
                item.queue, item.a = slice_, (slice_, *item.a[1:])
                machinery.calendar(("write", slice_)).add(time + item.offset, item.count)
                machinery.calendar(("bank", slice_, bank)).add(time + item.offset, item.count)
                machinery.calendar(("queue", slice_)).add(time + item.offset, 1)
            self.items += park.items
        for choice in self.choices:
            for key in choice.options[choice.taken]:
                machinery.calendar(key).add(time + choice.offset, choice.length)
        results: dict[int, int] = {}
        for item in self.items:
            if item.op == Op.ALU:
                item.meant = results[id(item.queue)] = len(machinery.rows)
            queue = item.queue if isinstance(item.queue, int) else item.queues[item.queue.taken]
            ins = tuple(self._operand(results, *operand) for operand in item.ins)
            outs = tuple(
                (w.base + max(byte, 0), TYPES.index(w.dtype) if byte < 0 else 0, w.number, row)
                for w, row, byte in item.outs
            )
            machinery.rows.append(
                (
                    int(item.op),
                    TYPES.index(item.dtype),
                    queue,
                    time + item.offset,
                    item.count,
                    item.a,
                    [*ins, *NO_OPERAND[len(ins) :]],
                    [*outs, *NO_RESULT[len(outs) :]],
                    item.strip,
                    item.row,
                    item.row_step,
                    machinery.symbol,
                    item.meant,
                )
            )
        for tell in self.when_placed:
            tell(time)

    @staticmethod
    def _operand(
        results: dict[int, int], kind: Kind, dtype: str, delay: int, source: Any, row: int, byte: int
    ) -> tuple[int, ...]:
        code = TYPES.index(dtype)
        if kind == Kind.STREAM:
            return (int(kind), code, delay, source.base + byte, source.number, row)
        if kind == Kind.ALU:
            return (int(kind), code, delay, source.taken, results[id(source)], row)
        return (int(kind), code, delay, source, -1, 0)


def _offset(asked: tuple[Key, int, int]) -> int:
    return asked[1]


NO_OPERAND = ((0, 0, 0, 0, -1, 0),) * 3
NO_RESULT = ((-1, 0, -1, 0),) * 2
__all__ = ["EAST", "WEST", "Choice", "Flow", "Item", "Machinery", "Park", "ScheduleError", "SelfConflict", "Wire"]
