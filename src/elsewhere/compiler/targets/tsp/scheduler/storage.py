"""Where values lie: slices and banks when they are made, addresses when every lifetime is known.

A stored value has rows of `columns` elements in tiles of 320 lanes; every byte of a type is a strip of its own. Long
strips are cut into segments in different slices, so that several flows may read and write one value at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import WIDTH
from elsewhere.compiler.targets.tsp.scheduler.flow import ScheduleError

Array = NDArray[Any]


FULL = 0.7
"""Share of a bank that constants may fill before values that come and go take the other."""
ROOMS = 4
"""Values that come and go avoid slices that hold this share of a bank more constants than others."""
EVEN = 128
"""Slices whose emptiest banks differ by fewer rows take turns; else the emptier one is chosen."""


@dataclass(slots=True)
class Strip:
    """Rows in one bank. `first` and `last` are the cycles between which they are needed."""

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

    def touch(self, start: int, end: int) -> None:
        self.first, self.last = min(self.first, start), max(self.last, end)


@dataclass(slots=True)
class Copy:
    """`strips[tile][byte][segment]`; `ready[row]` is the first cycle in which a row may be read."""

    hemisphere: int
    strips: list[list[list[Strip]]]
    ready: Array


@dataclass(slots=True)
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
        self.bases: list[int] = []
        self.elements = 0
        self.load = np.zeros((machine.slices, machine.banks_per_slice), np.int64)
        self.fixed = np.zeros_like(self.load)
        """Rows of what stays for the next run. It must fit all at once, so it is spread without regard to the rest."""
        self.turn = [0, 0]
        self.parity = 0
        """The bank of what comes and goes, from value to value another."""

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
        bank = int(np.argmin(self.fixed[slice_])) if stays else self.parity
        if not stays and self.fixed[slice_, bank] + rows > FULL * self.machine.bank_rows:
            bank = int(np.argmin(self.fixed[slice_]))
        self.load[slice_, bank] += rows
        self.fixed[slice_, bank] += rows * stays
        made = Strip(
            len(self.strips), slice_, bank, rows, 1 << 40, -1, -1, data, dtype, byte, lanes or self.machine.lanes
        )
        self.strips.append(made)
        return made

    def slices(self, hemisphere: int, count: int, avoid: Sequence[int] = (), fixed: bool = False) -> list[int]:
        """Different slices of a hemisphere, the emptiest of those whose turn it is; `fixed` for what stays."""
        per = self.machine.slices_per_hemisphere
        start = self.turn[hemisphere]
        ring = [hemisphere * per + (start + i) % per for i in range(per)]
        ring = [s for s in ring if s not in avoid] or ring
        # What comes and goes takes turns: who follows the emptiest puts all that is needed at once into a few slices.
        room = self.fixed[ring].min(axis=1) // (EVEN if fixed else self.machine.bank_rows // ROOMS)
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
        avoid: Sequence[int] = (),
        segment: int = 0,
    ) -> Stored:
        """A new value with a copy in each of `hemispheres`, not in the slices `avoid` if others are left.

        A strip holds `segment` rows, or as many as suit the number of rows. `data` (tiles, bytes, rows, lanes) makes it
        a constant; `fixed` is a value that stays for the next run.
        """
        fixed = fixed or data is not None
        # Values take turns: what is written next lies in other banks than what is read for it.
        self.parity = (self.parity + 1) % self.machine.banks_per_slice
        segment = segment or max(1, self.segment_rows(rows))
        segments = max(1, -(-rows // segment))
        tiles = 1 if columns == 1 else max(1, -(-columns // self.machine.lanes))
        copies = []
        taken: dict[tuple[int, int], list[int]] = {}
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
                    found = self.slices(side, count, before or avoid, fixed)
                taken[side, tile] = found
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
        made = Stored(dtype, rows, columns, segment, copies, self.elements, name)
        self.values.append(made)
        self.bases.append(self.elements)
        self.elements += max(1, rows * (columns + 1))
        return made

    def release(self, value: Stored) -> None:
        """Its banks may be counted as free: nothing more reads it."""
        for strip in value.strips():
            self.load[strip.slice, strip.bank] -= strip.rows

    # -- addresses ----------------------------------------------------------------------------------------------

    def assign(self, end: int) -> dict[str, float]:
        """Greedy by size over lifetimes, bank by bank. Gives rows in use, the largest live set and their ratio.

        Raises ScheduleError where a bank is too small, with how many chips the same rows would fill.
        """
        banks: dict[tuple[int, int], list[Strip]] = {}
        for strip in self.strips:
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
            raise ScheduleError(
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
