"""Where values lie: slices and banks when they are first written, addresses when every lifetime is known.

A stored value has rows of `columns` elements in tiles of 320 lanes; every byte of a type is a strip of its own. Long
strips are cut into segments in different slices, so that several flows may read and write one value at once.

Slices are dealt out by what is read at once. Weights lie at the matrix units, in groups of as many slices as a plane
has weight streams; scales and biases of few rows lie at the vector unit, those of each plane in slices of their own;
rows of a byte lie between them, each copy in its own half. Wider rows may lie anywhere but among the first weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import WIDTH
from elsewhere.compiler.targets.tsp.scheduler.flow import MemoryFullError

Array = NDArray[Any]
Clear = Callable[[int, int, int], set[int]]
"""Tile, first and last row → slices."""
FULL = 0.7
"""Share of a bank that constants may fill before values that come and go take the other."""
ROOMS = 4
"""Values that come and go avoid slices that hold this share of a bank more constants than others."""
EVEN = 128
"""Slices whose emptiest banks differ by fewer rows take turns; else the emptier one is chosen."""
CONSTANTS = 2
"""So many operands of few rows (a scale and a bias) of four bytes find slices of their own for each plane."""
FILLS = 2
"""Slices of a hemisphere that hold what pads, one for each plane."""
CROWDED = 0.8
"""Share of a bank from which others are taken first for what chooses its slice late."""


@dataclass(slots=True)
class Strip:
    """Rows in one bank. `first` and `last` are the cycles between which they are needed.

    Where `slice` is -1, the first flow that writes it chooses one of the first of `options` that have room.
    """

    number: int
    slice: int
    bank: int
    rows: int
    first: int = 1 << 40
    last: int = -1
    address: int = -1
    data: Array | None = None
    dtype: str = "i8"
    byte: int = 0
    lanes: int = 0
    options: Sequence[Sequence[int]] = ()
    prefer: int = 0
    """The bank to take where both are free: not that of what is read meanwhile."""

    def touch(self, start: int, end: int) -> None:
        self.first, self.last = min(self.first, start), max(self.last, end)


@dataclass(slots=True)
class Copy:
    """`strips[tile][byte][segment]`; `ready[row]` is the first cycle in which a row may be read."""

    hemisphere: int
    strips: list[list[list[Strip]]]
    ready: Array


@dataclass(slots=True, eq=False)
class Stored:
    """A value in memory. Rows `segment`·i … belong to segment i."""

    dtype: str
    rows: int
    columns: int
    segment: int
    copies: list[Copy]
    base: int = 0
    """Number of its first element among all elements of all stored values."""
    name: str = ""
    number: int = -1
    """Its place among all stored values."""

    @property
    def width(self) -> int:
        return WIDTH[self.dtype]

    @property
    def tiles(self) -> int:
        return len(self.copies[0].strips)

    @property
    def splat(self) -> bool:
        """Whether each row holds one number in all its lanes."""
        return self.columns == 1

    def strips(self) -> list[Strip]:
        return [s for c in self.copies for t in c.strips for b in t for s in b]


class Storage:
    """Gives strips their banks, spreading rows evenly, and in the end their addresses."""

    def __init__(self, machine: TspMachine) -> None:
        self.machine = machine
        self.strips: list[Strip] = []
        self.values: list[Stored] = []
        self.table = np.zeros((3, 1024), np.int64)
        self.elements = 0
        self.load = np.zeros((machine.slices, machine.banks_per_slice), np.int64)
        self.fixed = np.zeros_like(self.load)
        """Rows of what stays for the next run. It must fit all at once, so it is spread without regard to the rest."""
        self.most = np.zeros_like(self.load)
        """The largest `load` of each bank so far: what stays goes where it leaves more room for what comes and goes."""
        self.turn = [0, 0]
        self.parity = 0
        """The bank of what comes and goes, from value to value another."""
        per, group = machine.slices_per_hemisphere, machine.weight_streams
        self.near = min(CONSTANTS * 4 * machine.planes_per_hemisphere, per // 2)
        """Slices, counted from the vector unit, that hold constants of few rows."""
        self.far = max(per - group, self.near + FILLS)
        """The first slice that holds weights before any others do."""
        self.zoned = True
        """Whether slices are dealt out by use; where constants fill most of the memory, all are spread evenly."""
        self.constants = 0
        self.offered = 0

    def strip(
        self,
        slice_: int,
        rows: int,
        data: Array | None = None,
        dtype: str = "i8",
        byte: int = 0,
        lanes: int = 0,
        fixed: bool = False,
    ) -> Strip:
        """Rows of one byte of a type, of which `lanes` mean something (0: all)."""
        stays = fixed or data is not None
        made = Strip(len(self.strips), -1, -1, rows, 1 << 40, -1, -1, data, dtype, byte, lanes or self.machine.lanes)
        self.strips.append(made)
        bank = int(np.argmin(self.most[slice_])) if stays else self.parity
        if self.fixed[slice_, bank] + rows > (1.0 if stays else FULL) * self.machine.bank_rows:
            bank = int(np.argmin(self.fixed[slice_]))
        elif not stays and self.full(slice_, bank, rows):
            bank = int(np.argmin(self.load[slice_]))
        self.decide(made, slice_, bank, stays)
        return made

    def decide(self, strip: Strip, slice_: int, bank: int, stays: bool = False) -> None:
        strip.slice, strip.bank = slice_, bank
        self.load[slice_, bank] += strip.rows
        self.fixed[slice_, bank] += strip.rows * stays
        if stays:
            self.most[slice_, bank] += strip.rows
        else:
            self.most[slice_, bank] = max(self.most[slice_, bank], self.load[slice_, bank])

    def full(self, slice_: int, bank: int, rows: int) -> bool:
        return bool(self.load[slice_, bank] + rows > CROWDED * self.machine.bank_rows)

    def offer(self, side: int, dtype: str, copy: int, copies: int, spread: bool = False) -> list[list[int]]:
        """Slices for rows that a program makes, in turn, and those to take where these are full."""
        base = side * self.machine.slices_per_hemisphere
        per = self.machine.slices_per_hemisphere
        self.offered += 1
        if spread and WIDTH[dtype] == 1:
            lists = [list(range(copy, per, copies)), list(range(per))]
        elif WIDTH[dtype] == 1:
            middle = list(range(self.near + FILLS, self.far))
            first, rest = middle[copy % copies :: copies], [s for s in range(per) if s not in middle]
            lists = [first, [s for s in middle if s not in first], rest]
        else:
            lists = [list(range(self.far)), list(range(self.far, per))]
        turns = [self.offered * (1 if WIDTH[dtype] == 1 else 5) % max(1, len(x)) for x in lists]
        return [[base + s for s in (*x[t:], *x[:t])] for x, t in zip(lists, turns, strict=True)]

    def group(self, side: int, count: int, rows: int, *, second: bool) -> list[int]:
        """`count` slices for weights that are read at once: those next to the matrix unit, while there is room.

        Others (`second`) lie behind these, so that both planes of a hemisphere may load at once.
        """
        per = self.machine.slices_per_hemisphere
        base = side * per
        if count > per or not self.zoned:
            return self.slices(side, count, fixed=True)
        starts = list(range(per - count, -1, -count)) or [0]
        if starts[-1] != 0:
            starts.append(0)
        if second:
            starts = [max(0, per - 2 * count), *starts[::-1]]
        for start in starts:
            found = [base + start + i for i in range(count)]
            if all(self.most[s].min() + rows <= self.machine.bank_rows for s in found):
                return found
        return self.slices(side, count, fixed=True)

    def beside_planes(self) -> list[int]:
        """Slices that hold weights before any others do."""
        per = self.machine.slices_per_hemisphere
        return [side * per + i for side in (0, 1) for i in range(self.far, per)]

    def few(self, side: int, copy: int, width: int, number: int) -> list[int]:
        """Slices for a constant of few rows, the `number`-th: each copy in its own."""
        base = side * self.machine.slices_per_hemisphere
        first = copy * 4 * CONSTANTS + number % CONSTANTS * 4
        return [base + (first + byte) % max(self.near, width) for byte in range(width)]

    def slices(self, hemisphere: int, count: int, avoid: Sequence[int] = (), fixed: bool = False) -> list[int]:
        """Different slices of a hemisphere, the emptiest of those whose turn it is; `fixed` for what stays."""
        per = self.machine.slices_per_hemisphere
        start = self.turn[hemisphere]
        ring = [hemisphere * per + (start + i) % per for i in range(per)]
        ring = [s for s in ring if s not in avoid] or ring
        # What comes and goes takes turns: who follows the emptiest puts all that is needed at once into a few slices.
        room = self.fixed[ring].min(axis=1) // (EVEN if fixed else self.machine.bank_rows // ROOMS)
        if not fixed:
            room += ROOMS * (self.load[ring].min(axis=1) > CROWDED * self.machine.bank_rows)
        chosen = [ring[i] for i in np.argsort(room, kind="stable")[:count].tolist()]
        while len(chosen) < count:
            chosen.append(ring[len(chosen) % len(ring)])
        self.turn[hemisphere] = (start + count) % per
        return chosen

    def lanes_of(self, columns: int, tile: int) -> int:
        """Lanes of a tile that hold elements; a value with one column fills all."""
        lanes = self.machine.lanes
        return lanes if columns == 1 else min(lanes, columns - tile * lanes)

    def segment_rows(self, rows: int) -> int:
        return int(min(max(32, -(-rows // 8)), self.machine.bank_rows // 4))

    def store(
        self,
        dtype: str,
        rows: int,
        columns: int,
        hemispheres: Sequence[int],
        data: Array | None = None,
        name: str = "",
        fixed: bool = False,
        avoid: Sequence[int] | None = None,
        now: bool = False,
        segment: int = 0,
        prefer: int | None = None,
        spread: bool = False,
        clear: Clear | None = None,
    ) -> Stored:
        """A new value with a copy in each of `hemispheres`, not in the slices `avoid` if others are left.

        `data` (tiles, bytes, rows, lanes) makes it a constant; `fixed` is a value that stays for the next run. Slices
        of both, of wide types, and of what is wanted `now` or with `avoid`, are chosen at once; those of others when
        flows write them. A strip holds `segment` rows, or as many as suit the number of rows.
        Rows that are written piece by piece, each several times, are `spread` over all slices.
        `clear` names slices that some rows of a tile are read from while others of theirs are written.
        """
        fixed = fixed or data is not None
        # Values take turns: what is written next lies in other banks than what is read for it.
        self.parity = (self.parity + 1) % self.machine.banks_per_slice
        segment = max(1, segment or self.segment_rows(rows))
        segments = max(1, -(-rows // segment))
        tiles = 1 if columns == 1 else max(1, -(-columns // self.machine.lanes))
        if not fixed and not now and avoid is None and WIDTH[dtype] == 1 and self.zoned:
            copies = self.open_copies(dtype, rows, columns, segment, hemispheres, spread)
            made = self.enter(dtype, rows, columns, segment, copies, name)
            for strip in made.strips():
                strip.prefer = self.offered % self.machine.banks_per_slice if prefer is None else prefer
            return made
        copies = []
        taken: dict[tuple[int, int], list[int]] = {}
        together: dict[tuple[int, int, int], set[int]] = {}
        for side in hemispheres:
            strips = []
            for tile in range(tiles):
                lanes = self.lanes_of(columns, tile)
                count = WIDTH[dtype] * segments
                before = taken.get((side, tile))
                width = WIDTH[dtype]
                if before is not None and count > width:
                    found = before[width:] + before[:width]  # what is written at once must lie in different slices
                else:
                    found = self.slices(side, count, before or avoid or (), fixed)
                taken[side, tile] = found
                if clear is not None:
                    # Copies in one hemisphere are written at once too.
                    wrong = [clear(tile, i * segment, i * segment + segment) for i in range(segments)]
                    wrong = [w | together.get((side, tile, i), set()) for i, w in enumerate(wrong)]
                    found = self.cleared(side, found, wrong)
                    for i in range(segments):
                        mine = together.setdefault((side, tile, i), set())
                        mine |= set(found[i * width : i * width + width])
                planes = []
                for byte in range(WIDTH[dtype]):
                    row = []
                    for part in range(segments):
                        count = min(segment, rows - part * segment)
                        piece = data[tile, byte, part * segment : part * segment + count] if data is not None else None
                        strip = self.strip(found[part * width + byte], count, piece, dtype, byte, lanes, fixed)
                        if data is not None:
                            strip.touch(0, 0)
                        row.append(strip)
                    planes.append(row)
                strips.append(planes)
            copies.append(Copy(side, strips, np.zeros(rows, np.int64) if data is not None else np.full(rows, -1)))
        return self.enter(dtype, rows, columns, segment, copies, name)

    def crowd(self, slice_: int) -> int:
        """How full of what stays a slice is, in large steps."""
        return int(self.fixed[slice_].min() // (self.machine.bank_rows // ROOMS))

    def cleared(self, side: int, found: Sequence[int], clear: Sequence[set[int]]) -> list[int]:
        """`found` slices, so many for each of several parts, in an order in which no part gets those it must not."""
        per, width = self.machine.slices_per_hemisphere, len(found) // len(clear)
        pool, order = list(found), []
        for wrong in clear:
            mine = [s for s in dict.fromkeys(pool) if s not in wrong][:width]
            others = sorted((side * per + (pool[0] + i) % per for i in range(per)), key=self.crowd)
            mine += [s for s in others if s not in wrong and s not in mine][: width - len(mine)]
            mine += pool[: width - len(mine)]
            for slice_ in mine:
                if slice_ in pool:
                    pool.remove(slice_)
            order += mine
            pool = pool or list(found)
        return order

    def open_copies(
        self, dtype: str, rows: int, columns: int, segment: int, hemispheres: Sequence[int], spread: bool
    ) -> list[Copy]:
        """Copies whose strips lie nowhere yet."""
        tiles = 1 if columns == 1 else max(1, -(-columns // self.machine.lanes))
        copies = []
        for place, side in enumerate(hemispheres):
            mine = [i for i, s in enumerate(hemispheres) if s == side]
            strips = [
                [
                    [
                        self.open_strip(
                            min(segment, rows - start),
                            self.offer(side, dtype, mine.index(place), len(mine), spread),
                            (dtype, byte, self.lanes_of(columns, tile)),
                        )
                        for start in range(0, max(rows, 1), segment)
                    ]
                    for byte in range(WIDTH[dtype])
                ]
                for tile in range(tiles)
            ]
            copies.append(Copy(side, strips, np.full(rows, -1)))
        return copies

    def open_strip(self, rows: int, options: Sequence[Sequence[int]], what: tuple[str, int, int]) -> Strip:
        dtype, byte, lanes = what
        made = Strip(len(self.strips), -1, -1, rows, 1 << 40, -1, -1, None, dtype, byte, lanes, options)
        self.strips.append(made)
        return made

    def constant(self, dtype: str, rows: int, columns: int, data: Array, copies: int, *, pads: bool = False) -> Stored:
        """A constant of few rows that many flows read at once, with so many copies in each hemisphere."""
        found = []
        self.constants += not pads
        for side in (0, 1):
            for copy in range(copies):
                slices = self.few(side, copy, WIDTH[dtype], self.constants)
                if pads:
                    width = WIDTH[dtype]
                    base = side * self.machine.slices_per_hemisphere + self.near
                    slices = [base + (copy * width + byte) % max(FILLS, width) for byte in range(width)]
                strips = []
                for tile in range(len(data)):
                    lanes, planes = self.lanes_of(columns, tile), []
                    for byte in range(WIDTH[dtype]):
                        strip = self.strip(slices[byte], rows, data[tile, byte], dtype, byte, lanes)
                        strip.touch(0, 0)
                        planes.append([strip])
                    strips.append(planes)
                found.append(Copy(side, strips, np.zeros(rows, np.int64)))
        return self.enter(dtype, rows, columns, max(rows, 1), found)

    def enter(self, dtype: str, rows: int, columns: int, segment: int, copies: list[Copy], name: str = "") -> Stored:
        made = Stored(dtype, rows, columns, segment, copies, self.elements, name, len(self.values))
        if made.number == self.table.shape[1]:
            self.table = np.concatenate([self.table, np.zeros_like(self.table)], axis=1)
        self.table[:, made.number] = made.base, rows, columns
        self.values.append(made)
        self.elements += max(1, rows * (columns + 1))
        return made

    def known(self) -> Array:
        """(3, V): first element, rows and columns of all values."""
        return self.table[:, : len(self.values)]

    def release(self, value: Stored) -> None:
        """Its banks may be counted as free, unless it is a constant: nothing more reads it."""
        for strip in value.strips():
            if strip.slice >= 0 and strip.data is None:
                self.load[strip.slice, strip.bank] -= strip.rows

    # -- addresses ----------------------------------------------------------------------------------------------

    def assign(self, end: int) -> dict[str, float]:
        """Greedy by size over lifetimes, bank by bank. Gives rows in use, the largest live set and their ratio.

        Raises ScheduleError where a bank is too small, with how many chips the same rows would fill.
        """
        banks: dict[tuple[int, int], list[Strip]] = {}
        for strip in self.strips:
            if strip.slice < 0:
                self.decide(strip, 0, 0)  # nothing ever wrote it
            if strip.last >= 0 or strip.data is not None:
                if strip.data is not None:
                    strip.touch(0, end)  # constants stay for the next run
                banks.setdefault((strip.slice, strip.bank), []).append(strip)
        used = live = 0
        worst, worst_live = 0, 0
        for strips in banks.values():
            top, most = place_bank(strips)
            used, live = used + top, live + most
            if top > worst:
                worst, worst_live = top, most
        room = self.machine.bank_rows
        if worst > room:
            total = len(self.load.ravel()) * room
            raise MemoryFullError(
                f"the model does not fit one {self.machine.name}: a bank needs {worst} rows of {room} "
                f"(its largest live set is {worst_live}); in all {used} rows of {total} are needed, "
                f"which {max(2, -(-used // total), -(-worst // room))} chips would hold"
            )
        return {"rows": used, "live": live, "ratio": used / live if live else 1.0}


def place_bank(strips: Sequence[Strip]) -> tuple[int, int]:
    """Addresses inside one bank, the largest strips first, each in the lowest gap that is free all its life."""
    placed: list[Strip] = []
    top = 0
    for strip in sorted(strips, key=lambda s: (-s.rows, s.first, s.number)):
        at = 0
        for other in sorted((p for p in placed if p.first <= strip.last and strip.first <= p.last), key=_address):
            if at + strip.rows <= other.address:
                break
            at = max(at, other.address + other.rows)
        strip.address = at
        placed.append(strip)
        top = max(top, at + strip.rows)
    events = sorted([(s.first, s.rows) for s in strips] + [(s.last + 1, -s.rows) for s in strips])
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return top, most


def _address(strip: Strip) -> int:
    return strip.address


@dataclass(slots=True)
class Runs:
    """Rows to read or write in order, as runs inside strips: (first row of the flow, rows, strip row, step)."""

    parts: list[tuple[int, int, Strip, int, int]] = field(default_factory=list)


def runs(strips: Sequence[Strip], segment: int, rows: Array) -> list[tuple[int, int, Strip, int, int]]:
    """(position, count, strip, first row in it, step) for consecutive cycles that touch `rows` of a value."""
    count = len(rows)
    if count == 0:
        return []
    part, inside = np.divmod(rows, segment)
    steps = np.diff(rows)
    cut = np.ones(count, bool)
    if count > 1:
        cut[1:] = part[1:] != part[:-1]
        cut[2:] |= (steps[1:] != steps[:-1]) & ~cut[1:-1]
    found = []
    starts = np.flatnonzero(cut)
    # A run whose step changes right after a cut may be one row; cuts are recomputed greedily where they touch.
    for start, end in zip(starts, [*starts[1:].tolist(), count], strict=True):
        at = int(start)
        while at < end:
            if at + 1 == end:
                length, step = 1, 0
            else:
                step = int(rows[at + 1] - rows[at])
                differs = np.flatnonzero(steps[at : end - 1] != step)
                length = int(differs[0]) + 1 if len(differs) else int(end) - at
            found.append((at, length, strips[int(part[at])], int(inside[at]), step))
            at += length
    return found
