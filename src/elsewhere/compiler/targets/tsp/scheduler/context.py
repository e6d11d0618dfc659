"""What all parts of the scheduler share: the machine's calendars, storage, and how flows read and write stored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import EAST, WEST, WIDTH, Kind, Op, Queues, to_bytes
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, Machinery, Park, SelfConflict, Wire
from elsewhere.compiler.targets.tsp.scheduler.pieces import Moved, Piece, whole
from elsewhere.compiler.targets.tsp.scheduler.storage import Clear, Copy, Storage, Stored, Strip, runs

Array = NDArray[Any]
FEW_ROWS = 4
"""Constants of so few rows, such as scales and biases, are read by many flows at once: one copy for each plane."""
SPAN = 1 << 24
"""Element numbers that a constant for padding takes, so that any lane of it may be meant."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Where the rows of one tile of 320 lanes lie: value, tile and row in it, each (R,)."""

    value: Array
    tile: Array
    row: Array

    def part(self, start: int, stop: int) -> Tile:
        return Tile(self.value[start:stop], self.tile[start:stop], self.row[start:stop])


class Context:
    """One compilation."""

    def __init__(self, machine: TspMachine) -> None:
        self.machine = machine
        self.machinery = Machinery(machine)
        self.storage = Storage(machine)
        self.queues = Queues(machine)
        self.fills: dict[tuple[str, float], Stored] = {}
        self.maps: dict[bytes, int] = {}
        self.map_rows: list[Array] = []
        self.symbols: list[str] = [""]
        self._symbol_numbers: dict[str, int] = {"": 0}
        self.count_flows = 0

    # -- names ----------------------------------------------------------------------------------------------------

    def at(self, place: str) -> None:
        """What follows belongs to `place` of the model."""
        if place not in self._symbol_numbers:
            self._symbol_numbers[place] = len(self.symbols)
            self.symbols.append(place)
        self.machinery.symbol = self._symbol_numbers[place]

    def map(self, lanes: Array) -> int:
        """The number of a lane map (lanes,) of source lanes, -1 for zero."""
        key = lanes.astype(np.int16).tobytes()
        if key not in self.maps:
            self.maps[key] = len(self.map_rows)
            self.map_rows.append(lanes.astype(np.int16))
        return self.maps[key]

    # -- constants ------------------------------------------------------------------------------------------------

    def constant(self, dtype: str, data: Array, name: str = "", sides: Sequence[int] = (0, 1)) -> Stored:
        columns = data.shape[-1] if data.ndim else 1
        flat = np.asarray(data).reshape(-1, columns)
        parts = to_bytes(flat, dtype, self.machine.lanes)
        if len(flat) <= FEW_ROWS:
            return self.storage.constant(dtype, len(flat), columns, parts, self.machine.planes_per_hemisphere)
        return self.storage.store(dtype, len(flat), columns, sides, parts, name=name)

    def fill(self, dtype: str, number: float) -> int:
        """The number of an element that holds `number` in all lanes of its row."""
        key = (dtype, number)
        if key not in self.fills:
            parts = to_bytes(np.full((1, 1), number), dtype, self.machine.lanes)
            made = self.storage.constant(dtype, 1, 1, parts, self.machine.planes_per_hemisphere, pads=True)
            self.storage.elements += SPAN
            self.fills[key] = made
        return self.fills[key].base

    # -- finding rows ---------------------------------------------------------------------------------------------

    def decode(self, numbers: Array) -> tuple[Array, Array, Array]:
        """Stored value, row and column of elements."""
        bases, every_rows, every_columns = self.storage.known()
        value = np.searchsorted(bases, numbers, side="right") - 1
        columns, rows = every_columns[value], every_rows[value]
        row, column = np.divmod(numbers - bases[value], columns + 1)
        outside = row >= rows  # in the span of a constant for padding
        return value, np.where(outside, 0, row), np.where(outside, 0, column)

    def tiles(self, moved: Moved) -> list[Tile] | None:
        """Tiles of a value whose rows can be read as they lie, or None."""
        lanes = self.machine.lanes
        found = []
        for start in range(0, max(moved.columns, 1), lanes):
            stop = min(start + lanes, moved.columns)
            inside, at = [], 0
            for piece in moved.pieces:
                if at < stop and start < at + piece.width:
                    inside.append(piece.cut(max(start, at) - at, min(stop, at + piece.width) - at))
                at += piece.width
            if len(inside) != 1:
                return None
            tile = self._tile(inside[0], stop - start, moved.columns)
            if tile is None:
                return None
            found.append(tile)
        return found

    def _tile(self, piece: Piece, width: int, columns: int) -> Tile | None:
        value, row, column = self.decode(piece.where.ravel())
        splat = self.storage.known()[2, value] == 1
        tile, lane = np.divmod(column, self.machine.lanes)
        if columns == 1 and not splat.all():
            return None
        if width > 1 and piece.step == 0 and not splat.all():
            return None
        if width > 1 and piece.step == 1 and (splat & (self.span(value) < SPAN)).any():
            return None
        if (lane[~splat] != 0).any():
            return None
        return Tile(value, tile, row)

    def span(self, value: Array) -> Array:
        """How many element numbers each value's rows take in all, 1 for a single number."""
        _, rows, columns = self.storage.known()[:, value]
        sizes = rows * (columns + 1)
        sizes[np.isin(value, [v.number for v in self.fills.values()])] = SPAN
        return sizes

    def moved(self, stored: Stored, shape: tuple[int, ...]) -> Moved:
        return whole(stored.dtype, shape, stored.base)

    # -- reading and writing in flows -----------------------------------------------------------------------------

    def copy_of(self, value: Stored, hemisphere: int, number: int = 0) -> Copy:
        """A copy in the hemisphere if there is one."""
        near = [c for c in value.copies if c.hemisphere == hemisphere] or value.copies
        return near[number % len(near)]

    def tile_runs(
        self, tile: Tile, hemisphere: int, number: int
    ) -> tuple[list[tuple[int, Copy, list[list[tuple[int, int, Strip, int, int]]]]], Array]:
        """For stretches of rows of one value: first position, copy and the runs of each byte; and each row's ready."""
        count = len(tile.row)
        cut = np.ones(count, bool)
        cut[1:] = (tile.value[1:] != tile.value[:-1]) | (tile.tile[1:] != tile.tile[:-1])
        starts = np.flatnonzero(cut).tolist()
        ready = np.zeros(count, np.int64)
        parts = []
        for start, stop in zip(starts, [*starts[1:], count], strict=True):
            value = self.storage.values[int(tile.value[start])]
            copy = self.copy_of(value, hemisphere, number)
            rows = tile.row[start:stop]
            ready[start:stop] = copy.ready[rows]
            strips = copy.strips[int(tile.tile[start])]
            parts.append((start, copy, [runs(strips[byte], value.segment, rows) for byte in range(value.width)]))
        return parts, ready

    def lying(self, tile: Tile, start: int, stop: int) -> set[int]:
        """Slices in which rows of a tile lie."""
        part, found = tile.part(start, stop), set()
        for number in np.unique(part.value).tolist():
            value = self.storage.values[number]
            mine = part.value == number
            for place, segment in {
                (t, r // value.segment) for t, r in zip(part.tile[mine], part.row[mine], strict=True)
            }:
                found |= {byte[segment].slice for copy in value.copies for byte in copy.strips[place]}
        return found

    def clear(self, operands: Iterable[Sequence[Tile]], results: Sequence[Stored] = ()) -> Clear:
        """Where results must not lie that are written while `operands` are read and other results are written."""

        def slices(tile: int, start: int, stop: int) -> set[int]:
            found: set[int] = set()
            for tiles in operands:
                found |= self.lying(tiles[tile if len(tiles) > 1 else 0], start, stop)
            for other in results:
                for copy in other.copies:
                    strips = copy.strips[min(tile, other.tiles - 1)]
                    last = min(-(-stop // other.segment), len(strips[0]))
                    found |= {s.slice for byte in strips for s in byte[start // other.segment : last]}
            return found

        return slices

    def sides(self, tile: Tile) -> set[int]:
        """Hemispheres that hold all rows of a tile."""
        found = {0, 1}
        for value in np.unique(tile.value).tolist():
            found &= {c.hemisphere for c in self.storage.values[value].copies}
        return found

    def read(
        self, flow: Flow, tile: Tile, dtype: str, place: int, offset: int, hemisphere: int, number: int = 0
    ) -> Wire:
        """Reads so that row 0 is at `place` at `offset`: all reads are solved back from their use."""
        machine = self.machine
        parts, ready = self.tile_runs(tile, hemisphere, number)
        side = parts[0][1].hemisphere
        assert all(c.hemisphere == side for _, c, _ in parts), "rows of one wire lie in one hemisphere"
        sign = 1 if side else -1
        origin = sign * machine.memory_hops if abs(place) < machine.memory_hops else 0
        if abs(place) >= machine.memory_hops:
            origin = sign if place * sign > 0 else -place // abs(place) * machine.memory_hops
        direction = EAST if place > origin else WEST
        back = abs(place - origin)
        wire = flow.wire(dtype, origin, offset - back, len(tile.row), direction)
        assert wire.arrival(place) == offset
        before = 0
        for start, _, planes in parts:
            for byte, found in enumerate(planes):
                for at, count, strip, row, step in found:
                    stands = machine.slice_place(strip.slice)
                    issue = offset - abs(place - stands) + start + at - machine.memory_read
                    self.memory(flow, Op.READ, strip, issue, count, row, step, wire, start + at, byte)
                    if byte == 0 or stands != before:
                        waits = ready[start + at : start + at + count]
                        assert waits.min() >= 0, "a row is read that nothing wrote"
                        flow.not_before(int((waits - np.arange(count)).max()), issue)
                    before = stands
        return wire

    def read_apart(
        self, flow: Flow, tile: Tile, dtype: str, place: int, offset: int, choices: Sequence[tuple[int, int]]
    ) -> Wire:
        """As `read`, from the first (hemisphere, copy) of `choices` that nothing else in the flow needs then."""
        for side, number in choices:
            before = (len(flow.fixed), len(flow.items), len(flow.wires), len(flow.when_placed), flow.earliest)
            wire = self.read(flow, tile, dtype, place, offset, side, number)
            if not flow.meets_itself(before[0]):
                return wire
            del flow.fixed[before[0] :], flow.items[before[1] :]
            del flow.wires[before[2] :], flow.when_placed[before[3] :]
            flow.earliest = before[4]
        return self.read(flow, tile, dtype, place, offset, *choices[0])

    def memory(
        self,
        flow: Flow,
        op: Op,
        strip: Strip,
        issue: int,
        count: int,
        row: int,
        step: int,
        wire: Wire,
        wire_row: int,
        byte: int,
        lanes: tuple[int, int] | None = None,
    ) -> None:
        """One read or write of a run of rows, with its port, bank and queue."""
        reads = op == Op.READ
        flow.use(("read" if reads else "write", strip.slice), issue, count)
        flow.use(("bank", strip.slice, strip.bank), issue, count)
        flow.use(("queue", strip.slice), issue, 1)
        first, end = lanes or (0, self.machine.lanes)
        item = Item(
            op,
            strip.slice,
            (),
            issue,
            count,
            (strip.slice, row, step, 0 if reads else first | end << 16),
            ins=() if reads else ((Kind.STREAM, "i8", 0, wire, wire_row, byte),),
            outs=((wire, wire_row, byte),) if reads else (),
            strip=strip.number,
            row=row,
            row_step=step,
        )
        flow.items.append(item)

        def tell(time: int) -> None:
            strip.touch(time + issue, time + issue + count - 1)

        flow.when_placed.append(tell)

    def write(
        self,
        flow: Flow,
        wire: Wire,
        stored: Stored,
        tile: int,
        rows: Array,
        hemisphere: int,
        lanes: tuple[int, int] | None = None,
    ) -> None:
        """Writes all rows of a wire into every copy in a hemisphere that the wire passes."""
        machine = self.machine
        for copy in stored.copies:
            if copy.hemisphere != hemisphere:
                continue
            found: list[tuple[int, int, Strip]] = []
            parked: dict[int, Park] = {}
            for byte in range(WIDTH[stored.dtype]):
                for at, count, strip, row, step in runs(copy.strips[tile][byte], stored.segment, rows):
                    found.append((at, count, strip))
                    if strip.slice >= 0:
                        issue = wire.arrival(machine.slice_place(strip.slice)) + at
                        self.memory(flow, Op.WRITE, strip, issue, count, row, step, wire, at, byte, lanes)
                        continue
                    if strip.number not in parked:
                        wire.arrival(machine.memory_hops * (1 if hemisphere else -1))
                        parked[strip.number] = flow.park(strip, wire, self.storage)
                    parked[strip.number].items.append(self.written(strip, count, row, step, wire, at, byte, lanes))

            def tell(time: int, copy: Copy = copy, found: list[tuple[int, int, Strip]] = found) -> None:
                delays = np.zeros(len(rows), np.int64)
                for at, count, strip in found:
                    issue = wire.passes(machine.slice_place(strip.slice)) + at
                    strip.touch(time + issue, time + issue + count - 1)
                    span = issue + np.arange(count) + machine.memory_write
                    delays[at : at + count] = np.maximum(delays[at : at + count], span)
                np.maximum.at(copy.ready, rows, time + delays)

            flow.when_placed.append(tell)

    def written(
        self,
        strip: Strip,
        count: int,
        row: int,
        step: int,
        wire: Wire,
        wire_row: int,
        byte: int,
        lanes: tuple[int, int] | None,
    ) -> Item:
        """A write whose slice is not chosen yet; its offset is the row's in the wire."""
        first, end = lanes or (0, self.machine.lanes)
        return Item(
            Op.WRITE,
            -1,
            (),
            wire_row,
            count,
            (-1, row, step, first | end << 16),
            ins=((Kind.STREAM, "i8", 0, wire, wire_row, byte),),
            strip=strip.number,
            row=row,
            row_step=step,
        )

    def outward(self, flow: Flow, stored: Stored, offset: int, count: int) -> list[tuple[int, Wire]]:
        """Wires from the vector unit to each hemisphere that holds a copy of `stored`."""
        sides = sorted({c.hemisphere for c in stored.copies})
        return [(s, flow.wire(stored.dtype, 0, offset, count, EAST if s else WEST)) for s in sides]

    def alu_options(self) -> Sequence[tuple[Any, ...]]:
        return self.machinery.__dict__.setdefault("alu_cache", [(("alu", i),) for i in range(self.machine.alus)])  # type: ignore[no-any-return]

    def link_options(self, hemisphere: int) -> Sequence[tuple[Any, ...]]:
        """The queues of a hemisphere's links."""
        cache = self.machinery.__dict__.setdefault("unit_cache", {})
        key = ("link queues", hemisphere)
        if key not in cache:
            cache[key] = [(("queue", self.queues.link(hemisphere, i)),) for i in range(self.machine.link_queues)]
        return cache[key]  # type: ignore[no-any-return]

    def unit_options(self, unit: str, hemisphere: int, count: int) -> Sequence[tuple[Any, ...]]:
        cache = self.machinery.__dict__.setdefault("unit_cache", {})
        key = (unit, hemisphere)
        if key not in cache:
            cache[key] = [((unit, hemisphere, i),) for i in range(count)]
        return cache[key]  # type: ignore[no-any-return]

    def place(self, flow: Flow) -> int:
        self.count_flows += 1
        return flow.place()

    def attempt(self, make: Callable[[int, int, int], None], start: int, stop: int, unit: int = 1) -> None:
        """Calls `make(start, stop, hemisphere)`; where a flow meets itself, on the other side, then in halves."""
        first = self.count_flows % 2
        for side in (first, 1 - first):
            try:
                make(start, stop, side)
                return
            except SelfConflict:
                if stop - start <= unit and side != first:
                    raise
        middle = start + max(1, (stop - start) // unit // 2) * unit
        self.attempt(make, start, middle, unit)
        self.attempt(make, middle, stop, unit)
