"""Products on the matrix unit: weights stay in a plane while rows of activations pass, one row a cycle.

The inner length K is cut in segments, each a stretch of lanes that lies in one vector; a segment's products are summed
in the plane and added to the accumulators in the order of the segments. `cuts` of a product are part of the program's
facts, because with f16 they say in which order sums were rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import EAST, WEST, Kind, Op, latency, to_bytes
from elsewhere.compiler.targets.tsp.scheduler.context import SPAN, Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, SelfConflict, Wire
from elsewhere.compiler.targets.tsp.scheduler.pieces import Moved, Piece
from elsewhere.compiler.targets.tsp.scheduler.storage import Copy, Stored, Strip, runs
from elsewhere.compiler.targets.tsp.scheduler.vector import TRIALS, TURNS

Array = NDArray[Any]
Finish = Callable[[Flow, Wire, int, int, int, int, int, int], None]
"""Takes the results off: flow, their wire, which turn it is, plane, batch, column tile, first and last row."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Lanes [lane, lane + width) of the vectors in `tile`, which are K from `start` on."""

    start: int
    width: int
    lane: int
    tile: Tile


class Copies(IntEnum):
    """Of which tiles of columns both hemispheres hold the weights, so that any plane may take them."""

    NONE = 0
    ODD = 1
    """The last of an odd number, so that both hemispheres may have the same share of work."""
    ALL = 2


@dataclass(slots=True)
class Planes:
    """From which cycle on each plane's buffer may be loaded and its array take rows."""

    load: list[int]
    rows: list[int]
    weights: int = 0
    """Blocks of weights loaded so far, which number them for the checker; so do sums."""
    sums: int = 0
    sum: int = 0
    """The number of the sums that are being placed."""
    held: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    """Which block each plane has installed: weights, batch, segment, tile of columns."""
    meant: dict[int, int] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    """Weights that `held` names; while they are here no others get their name."""


@dataclass(slots=True)
class Weights:
    """Where a block's rows come from: strips of constants side by side, or rows of a stored value."""

    blocks: dict[tuple[int, int, int], list[tuple[Strip, int, int]]] = field(default_factory=dict)
    """(hemisphere, segment, column tile) → for each stream its strip, first row and rows."""
    tiles: list[Tile] | None = None


@dataclass(slots=True)
class Unit:
    """Stretches of rows against one tile of columns, each on a plane of its own, which load the same weights."""

    segments: Sequence[Segment]
    weights: Weights
    batch: int
    tile: int
    parts: Sequence[tuple[int, int]]
    planes: list[int] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)


def segments_of(context: Context, moved: Moved, largest: int) -> list[Segment] | None:
    """Pieces of a value (rows, K) that may enter a plane as they lie, or None if lanes differ from row to row."""
    lanes, found, at = context.machine.lanes, [], 0
    for piece in moved.pieces:
        for start, part in _by_tile(context, piece, lanes):
            value, row, column = context.decode(part.where.ravel())
            tile, lane = np.divmod(column, lanes)
            splat = context.storage.known()[2, value] == 1
            real = np.flatnonzero(~splat)
            if len(real) == 0 and part.width > 1 and part.step == 1 and (context.span(value) < SPAN).any():
                return None
            if part.step == 0 and part.width > 1 and len(real):
                return None
            first = int(lane[real[0]]) if len(real) else 0
            if (lane[real] != first).any() or first + part.width > lanes:
                return None
            whole = Tile(value, np.where(splat, 0, tile), row)
            for cut in range(0, part.width, largest):
                width = min(largest, part.width - cut)
                found.append(Segment(at + start + cut, width, first + cut, whole))
        at += piece.width
    return found


def _by_tile(context: Context, piece: Piece, lanes: int) -> list[tuple[int, Piece]]:
    """The piece cut where the lanes of its first row come to the end of a vector."""
    value, _, column = context.decode(piece.where.ravel()[:1])
    if piece.step == 0 or context.storage.values[int(value[0])].splat:
        columns = context.decode(piece.where.ravel())[2]
        values = context.decode(piece.where.ravel())[0]
        real = [i for i, v in enumerate(values.tolist()) if not context.storage.values[v].splat][:1]
        column = columns[real] if real else column
    lane, parts, at = int(column[0]) % lanes, [], 0
    while at < piece.width:
        width = min(piece.width - at, lanes - lane)
        parts.append((at, piece.cut(at, at + width)))
        at, lane = at + width, 0
    return parts


def plan_rows(
    rows: int,
    columns: int,
    segments: int,
    engines: int,
    together: int,
    batches: int,
    limit: int,
    loading: int,
    latency: int,
) -> int:
    """Rows of a pass: few enough for the accumulators, so that all planes get the same share of work.

    Each of `engines` takes `together` stretches of rows at a time. What comes next waits `latency` cycles for the first
    results, less what the planes still do after them.
    """
    best, best_cost = rows, math.inf
    for parts in range(1, 65):
        chunk = -(-rows // parts)
        if chunk > limit:
            continue
        each = -(-columns * batches * -(-rows // (chunk * together)) // engines)
        unit = max(chunk + 3, loading) * segments
        cost = each * unit + max(0, latency - (each - 1) * unit)
        if cost < best_cost * 0.97:
            best, best_cost = chunk, cost
        if chunk <= 16:
            break
    return min(best, limit)


class Product:
    """One matmul (batches, rows, K)·(batches, K, columns)."""

    def __init__(self, context: Context, planes: Planes, dtype: str, columns: int) -> None:
        self.context, self.planes, self.dtype, self.columns = context, planes, dtype, columns
        self.is_float = dtype == "f16"
        machine = context.machine
        per = machine.planes_per_hemisphere
        self.engines = [h * per for h in (0, 1)] if self.is_float else list(range(machine.planes))
        self.largest = machine.float_rows if self.is_float else machine.lanes
        self.together = 1 if self.is_float else per
        """Planes of a hemisphere that take the same weights from one read, each for its own rows."""

    def store_weights(self, data: Array, segments: Sequence[Segment], rows: int, copies: Copies, turn: int) -> Weights:
        """Constant weights (K, columns), rows dealt over as many slices as there are weight streams.

        Hemispheres hold tiles of columns in turn, but for those of which `copies` says that both hold them.
        """
        context, lanes = self.context, self.context.machine.lanes
        weights = Weights()
        per = context.machine.weight_streams // (2 if self.is_float else 1)
        limit = 16  # short strips fill banks evenly
        # Planes that cannot share rows load weights of their own, so those of both in a hemisphere are read at once.
        apart = rows < self.together
        for side in (0, 1):
            count = -(-self.columns // lanes)
            both = range(count) if copies == Copies.ALL else range(count - count % 2 * copies, count)
            tiles = [t for t in range(count) if t in both or (t + turn) % 2 == side]
            blocks = [(s, t) for t in tiles for s in range(len(segments))]
            place = {t: i for i, t in enumerate(tiles)}
            for second in (False, True):
                mine = [(s, t) for s, t in blocks if (apart and (s + place[t]) % 2 == 1) == second]
                for first in range(0, len(mine), limit):
                    self._strips(data, segments, mine[first : first + limit], side, per, weights, second)
        return weights

    def _strips(
        self,
        data: Array,
        segments: Sequence[Segment],
        blocks: Sequence[tuple[int, int]],
        side: int,
        per: int,
        weights: Weights,
        second: bool,
    ) -> None:
        context, lanes = self.context, self.context.machine.lanes
        width = 2 if self.is_float else 1
        rows: list[list[Array]] = [[] for _ in range(per * width)]
        spans = {}
        at = 0
        for s, t in blocks:
            segment = segments[s]
            part = data[segment.start : segment.start + segment.width, t * lanes : (t + 1) * lanes]
            raw = np.zeros((segment.width, lanes), part.dtype)
            # One column fills all lanes, so that its results may be read as a number for every lane.
            raw[:, : part.shape[1] if self.columns > 1 else lanes] = part
            parts = to_bytes(raw, self.dtype, lanes)[0]  # (bytes, rows, lanes)
            count = -(-segment.width // per)
            padded = np.zeros((width, count * per, lanes), np.uint8)
            padded[:, : segment.width] = parts
            for byte in range(width):
                for stream in range(per):
                    rows[byte * per + stream].append(padded[byte, stream::per])
            spans[s, t] = (at, count)
            at += count
        slices = context.storage.group(side, per * width, at, second=second)
        strips = [
            context.storage.strip(slice_, at, np.concatenate(r), byte=stream)
            for stream, (slice_, r) in enumerate(zip(slices, rows, strict=True))
        ]
        for strip in strips:
            strip.touch(0, 0)
        for (s, t), (start, count) in spans.items():
            weights.blocks[side, s, t] = [(strip, start, count) for strip in strips]

    def run(
        self,
        segments_of_batch: Sequence[Sequence[Segment]],
        weights: Sequence[Weights],
        batches: int,
        rows: int,
        finish: Finish,
    ) -> None:
        """All passes. `segments_of_batch` and `weights` have one entry, or one a batch."""
        self.planes.kept += weights
        tiles = -(-self.columns // self.context.machine.lanes)
        chunk = self.chunk(segments_of_batch[0], batches, rows)
        step = chunk * (self.together if rows > chunk else 1)
        units = []
        for batch in range(batches):
            mine = weights[batch if len(weights) > 1 else 0]
            segments = segments_of_batch[batch if len(segments_of_batch) > 1 else 0]
            for start in range(0, rows, step):
                base, end = batch * rows, min(start + step, rows)
                parts = [(base + a, base + min(a + chunk, rows)) for a in range(start, end, chunk)]
                units += [Unit(segments, mine, batch, tile, parts) for tile in range(tiles)]
        wave: list[Unit] = []
        for unit in units:
            self.choose(unit)
            if any(set(unit.planes) & set(other.planes) for other in wave):
                self.pass_through(wave, finish)
                wave = []
                self.choose(unit)
            # Weights of all planes are on their way before any rows are, which can take what streams are left.
            self.begin(unit)
            wave.append(unit)
        self.pass_through(wave, finish)

    def pass_through(self, units: Sequence[Unit], finish: Finish) -> None:
        for unit in units:
            self.finish(unit, finish)

    def chunk(self, segments: Sequence[Segment], batches: int, rows: int) -> int:
        """Rows that one plane takes at a time."""
        machine = self.context.machine
        tiles = -(-self.columns // machine.lanes)
        latency = machine.matrix_multiply + machine.matrix_drain + 2 * machine.matrix_to_vector + machine.matrix_place
        width = max((s.width for s in segments), default=1) * (2 if self.is_float else 1)
        loading = -(-width // machine.weight_streams) + 4
        return plan_rows(
            rows,
            tiles,
            len(segments),
            len(self.engines) // self.together,
            self.together,
            batches,
            machine.accumulator_rows,
            loading,
            latency,
        )

    def choose(self, unit: Unit) -> None:
        """A plane for each stretch of rows."""
        sides = {h for h, _, t in unit.weights.blocks if t == unit.tile} or {0, 1}
        unit.planes = self.free(len(unit.parts), sides, (id(unit.weights), unit.batch, 0, unit.tile))

    def begin(self, unit: Unit) -> None:
        """Loads the first segment's weights."""
        for plane in unit.planes:
            self.planes.sums += 1
            unit.sums[plane] = self.planes.sums
        self.hold(unit, 0)

    def hold(self, unit: Unit, number: int) -> None:
        """Loads a segment's weights into those planes of the unit that do not hold them."""
        name = (id(unit.weights), unit.batch, number, unit.tile)
        empty = [p for p in unit.planes if self.planes.held.get(p) != name]
        if not empty:
            return
        self.load(empty, unit.weights, unit.batch, number, unit.segments[number], unit.tile)
        for plane in empty:
            for taken in self.taken(plane):
                self.planes.held.pop(taken, None)
            self.planes.held[plane], self.planes.meant[plane] = name, self.planes.weights

    def finish(self, unit: Unit, finish: Finish) -> None:
        """All segments pass before the results leave."""
        for number, segment in enumerate(unit.segments):
            self.hold(unit, number)
            last = number == len(unit.segments) - 1
            for plane, (start, stop) in zip(unit.planes, unit.parts, strict=True):
                self.planes.sum = unit.sums[plane]
                self.work(plane, segment, start, stop, number, (unit.batch, unit.tile, finish) if last else None)

    def free(self, count: int, sides: set[int], name: tuple[int, int, int, int]) -> list[int]:
        """Planes of one hemisphere that are free first, those that hold the weights before others."""
        per = self.context.machine.planes_per_hemisphere
        best = None
        for side in sorted(sides):
            mine = sorted(
                (p for p in self.engines if p // per == side),
                key=lambda p: (self.planes.rows[p], self.planes.held.get(p) != name, p),
            )[:count]
            cost = (max(self.planes.rows[p] for p in mine), sum(self.planes.held.get(p) != name for p in mine), side)
            if best is None or cost < best[0]:
                best = (cost, mine)
        assert best is not None
        return best[1]

    def load(
        self, planes: Sequence[int], weights: Weights, batch: int, number: int, segment: Segment, tile: int
    ) -> None:
        """Loads a block into planes of one hemisphere from one read; each installs it when its rows are through."""
        context, machine = self.context, self.context.machine
        side = planes[0] // machine.planes_per_hemisphere
        place = machine.matrix_place * (1 if side else -1)
        self.planes.weights += 1
        flow = Flow(context.machinery)
        if weights.tiles is None:
            wire, count, streams = self.load_constant(flow, weights.blocks[side, number, tile], place)
        else:
            rows = weights.tiles[tile]
            part = rows.part(segment.start, segment.start + segment.width)
            wire = context.read(flow, part, self.dtype, place, 0, side, planes[0])
            count, streams = segment.width, wire.step
        mode = 2 if self.is_float else 0
        for plane in planes:
            queue = context.queues.matrix(plane, 0)
            flow.items.append(
                Item(
                    Op.LOAD,
                    queue,
                    (),
                    0,
                    count,
                    (plane, 0, streams, mode),
                    ins=((Kind.STREAM, "i8", 0, wire, 0, 0),),
                    dtype=self.dtype,
                    row=segment.lane,
                    row_step=segment.lane + segment.width,
                    meant=self.planes.weights,
                )
            )
            flow.use(("queue", queue), 0, 1)
            flow.not_before(max(self.planes.load[p] for p in self.taken(plane)))
        loaded = context.place(flow) + count
        for plane in planes:
            self.install(plane, loaded)

    def install(self, plane: int, loaded: int) -> None:
        context, machine = self.context, self.context.machine
        queue = context.queues.matrix(plane, 0)
        install = Flow(context.machinery)
        install.items.append(Item(Op.INSTALL, queue, (), 0, 1, (plane, int(self.is_float), 0, 0), dtype=self.dtype))
        install.items[0].meant = self.planes.weights
        install.use(("queue", queue), 0, 1)
        install.not_before(max(loaded, *(self.planes.rows[p] for p in self.taken(plane))))
        at = context.place(install)
        for taken in self.taken(plane):
            self.planes.load[taken] = at + 1
            self.planes.rows[taken] = at + machine.weights_install

    def load_constant(self, flow: Flow, strips: Sequence[tuple[Strip, int, int]], place: int) -> tuple[Wire, int, int]:
        context, machine = self.context, self.context.machine
        sign = 1 if place > 0 else -1
        wire = flow.wire("i8", sign, -(abs(place) - 1), strips[0][2], EAST if place > 0 else WEST, len(strips))
        wire.arrival(place)
        for stream, (strip, first, count) in enumerate(strips):
            distance = abs(place - machine.slice_place(strip.slice))
            issue = -distance - machine.memory_read
            context.memory(flow, Op.READ, strip, issue, count, first, 1, wire, 0, stream)
        return wire, strips[0][2], len(strips)

    def work(
        self,
        plane: int,
        segment: Segment,
        start: int,
        stop: int,
        number: int,
        end: tuple[int, int, Finish] | None,
        base: int = 0,
    ) -> None:
        """One pass: rows through the plane, into the accumulators, and out of them if it is the last.

        Of several copies of its operands it reads those with which it can begin first.
        """
        best, found = 1 << 60, None
        for turn in range(TURNS):
            if found is not None and turn >= TRIALS:
                break
            try:
                flow = self._work(plane, segment, start, stop, number, end, turn, base)
                at = flow.find(best)
            except SelfConflict:
                if turn == TURNS - 1 and stop - start == 1 and found is None:
                    raise
                continue
            if at < best:
                best, found = at, flow
            if best == flow.soonest:
                break
        if found is not None:
            self.context.count_flows += 1
            found.commit(best)
            for taken in self.taken(plane):
                self.planes.rows[taken] = best + stop - start
            return
        middle = (start + stop) // 2
        self.work(plane, segment, start, middle, number, end, base)
        self.work(plane, segment, middle, stop, number, end, base + middle - start)

    def _work(
        self,
        plane: int,
        segment: Segment,
        start: int,
        stop: int,
        number: int,
        end: tuple[int, int, Finish] | None,
        turn: int,
        base: int,
    ) -> Flow:
        context, machine = self.context, self.context.machine
        side = plane // machine.planes_per_hemisphere
        sign = 1 if side else -1
        count = stop - start
        flow = Flow(context.machinery)
        part = segment.tile.part(start, stop)
        wire = context.read(flow, part, self.dtype, sign * machine.matrix_place, 0, side, plane + turn)
        take, add = context.queues.matrix(plane, 1), context.queues.matrix(plane, 2)
        lanes = (segment.lane, segment.lane + segment.width)
        flow.items.append(
            Item(
                Op.ACTIVATE,
                take,
                (),
                0,
                count,
                (plane, *lanes, int(self.is_float)),
                ins=((Kind.STREAM, self.dtype, 0, wire, 0, 0),),
                dtype=self.dtype,
                row=base,
                row_step=self.planes.sum,
                meant=self.planes.meant[plane],
            )
        )
        out = "f32" if self.is_float else "i32"
        item = Item(
            Op.ACCUMULATE,
            add,
            (),
            machine.matrix_multiply,
            count,
            (plane, base, int(number > 0), int(end is not None)),
            dtype=out,
            row=base,
            row_step=number,
            meant=self.planes.sum,
        )
        flow.items.append(item)
        for taken in self.taken(plane):
            flow.use(("plane", taken), 0, count)
        if end is not None:
            batch, tile, finish = end
            offset = machine.matrix_multiply + latency(machine, Op.ACCUMULATE)
            back = flow.wire(out, sign * machine.matrix_to_vector, offset, count, WEST if side else EAST)
            item.outs = ((back, 0, -1),)
            finish(flow, back, turn, plane, batch, tile, start, stop)
        flow.not_before(max(self.planes.rows[p] for p in self.taken(plane)))
        return flow

    def taken(self, plane: int) -> range:
        """Planes that work as one: two for f16."""
        return range(plane, plane + (self.context.machine.planes_per_hemisphere if self.is_float else 1))


def weights_from(context: Context, tiles: list[Tile], batches: int, rows: int) -> list[Weights]:
    """Weights that the program itself makes: `rows` of a stored value for each batch."""
    return [Weights(tiles=[t.part(batch * rows, (batch + 1) * rows) for t in tiles]) for batch in range(batches)]


__all__ = ["Copy", "Planes", "Product", "Segment", "Stored", "Weights", "runs", "segments_of", "weights_from"]
