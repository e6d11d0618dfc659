"""Moving rows through the switch unit: values whose lanes must lie elsewhere are read, shifted and written again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import EAST, WEST, WIDTH, Kind, Op, latency
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Choice, Flow, Item, SelfConflict
from elsewhere.compiler.targets.tsp.scheduler.pieces import Moved, Piece, _elements
from elsewhere.compiler.targets.tsp.scheduler.storage import Stored

Array = NDArray[Any]
BOTH = (0, 1)
BLOCK = 16
"""Rows and lanes that a transposer exchanges."""
FEW_LINES = 64
"""Fewer rows than this are brought home superlane by superlane."""
SCATTERED = 24
"""From so many pieces a tile on, lanes are looked at one by one."""
MANY_PIECES = 4
"""From so many pieces on, whole rows are looked at before pieces are moved one by one."""
PIECES_A_VECTOR = 4
"""Pieces that a vector must give to a row on average for a permutation of it to be worth a lane map of its own."""
LONGEST = 512


def materialise(context: Context, moved: Moved, hemispheres: tuple[int, ...] = BOTH, segment: int = 0) -> Stored:
    """A stored value with the elements of `moved`, in segments of so many rows if they are given."""
    columns = max(moved.columns, 1)
    if moved.dtype == "i8" and hemispheres == BOTH:
        hemispheres = (0, 0, 1, 1)
    if columns >= 16 and len(moved.pieces) > columns // 2 and moved.rows >= 16:
        whole = _turned_whole(context, moved, hemispheres)
        if whole is not None:
            return whole
        turned = _turn(context, moved)
        if turned is not None:
            moved = turned
    stored = context.storage.store(moved.dtype, moved.rows, columns, hemispheres, segment=segment, spread=True)
    fill(context, moved, stored)
    return stored


def _turned_whole(context: Context, moved: Moved, hemispheres: tuple[int, ...]) -> Stored | None:
    """As `materialise`, for a value that is another's transpose in few vectors."""
    parts = _lines(context, moved)
    if parts is None or moved.columns % BLOCK or moved.columns > context.machine.lanes or WIDTH[moved.dtype] > 2:
        return None
    if moved.rows < FEW_LINES:
        return None
    stored = context.storage.store(moved.dtype, moved.rows, moved.columns, hemispheres)
    for side in BOTH:
        _diagonals(context, moved, parts, stored, side)
    return stored


def fill(context: Context, moved: Moved, stored: Stored) -> None:
    """Writes the elements of `moved` into `stored`."""
    lanes = context.machine.lanes
    for tile in range(stored.tiles):
        at, inside = 0, []
        for piece in moved.pieces:
            a, b = max(at, tile * lanes), min(at + piece.width, (tile + 1) * lanes)
            if a < b:
                inside.append((a - tile * lanes, piece.cut(a - at, b - at)))
            at += piece.width
        scattered = len(inside) > SCATTERED and sum(p.width for _, p in inside) < 4 * len(inside)
        if scattered or _permuted(context, inside):
            _scattered(context, inside, stored, tile)
        else:
            for rows, joined in _joined(context, inside):
                for first, piece in joined:
                    _piece(context, piece, stored, tile, first, rows)


def _permuted(context: Context, inside: list[tuple[int, Piece]]) -> bool:
    """Whether rows take many pieces from few vectors, so that a permutation for each vector takes fewer passes."""
    if len(inside) < MANY_PIECES:
        return False
    where = np.stack([piece.where.ravel() for _, piece in inside])
    value, row, column = context.decode(where.ravel())
    vector = ((value << 40) | (column // context.machine.lanes << 24) | row).reshape(where.shape)
    changes = (np.diff(np.sort(vector, axis=0), axis=0) != 0).sum(axis=0)
    return bool(PIECES_A_VECTOR * (int(changes.max(initial=0)) + 1) <= len(inside))


def _joined(context: Context, inside: list[tuple[int, Piece]]) -> list[tuple[Array, list[tuple[int, Piece]]]]:
    """Rows whose pieces go on from one to the next alike, with such pieces as one."""
    if not inside:
        return []
    where = np.stack([piece.where.ravel() for _, piece in inside])
    width = np.array([piece.width for _, piece in inside])[:, None]
    single = np.array([piece.step == 1 or piece.width == 1 for _, piece in inside])
    follows = (where[1:] == where[:-1] + width[:-1]) & (single[1:] & single[:-1])[:, None]
    bases = np.array(sorted(stored.base for stored in context.fills.values()), np.int64)
    follows |= (where[1:] == where[:-1]) & np.isin(where[1:], bases)
    patterns, group = np.unique(follows, axis=1, return_inverse=True)
    found = []
    for number in range(patterns.shape[1]):
        rows = np.flatnonzero(group.ravel() == number)
        joined: list[tuple[int, Piece]] = []
        for index, (first, piece) in enumerate(inside):
            if index and patterns[index - 1, number]:
                before, whole = joined[-1]
                joined[-1] = (before, Piece(whole.width + piece.width, 1, whole.where))
            else:
                joined.append((first, piece.with_rows(where[index][rows])))
        found.append((rows, joined))
    return found


def _piece(context: Context, piece: Piece, stored: Stored, tile: int, first: int, among: Array) -> None:
    """One piece into lanes from `first` on, for the rows `among` all."""
    value, row, column = context.decode(piece.where.ravel())
    source, lane = np.divmod(column, context.machine.lanes)
    splat = context.storage.known()[2, value] == 1
    lane = np.where(splat, -1, lane)
    keys, group = np.unique(np.stack([source, lane]), axis=1, return_inverse=True)
    for number in range(keys.shape[1]):
        rows = np.flatnonzero(group.ravel() == number)
        part = Tile(value[rows], source[rows], row[rows])
        _lanes(context, part, among[rows], int(keys[1, number]), piece, stored, tile, first)


def _lanes(
    context: Context, part: Tile, rows: Array, lane: int, piece: Piece, stored: Stored, tile: int, first: int
) -> None:
    lanes = context.machine.lanes
    end = first + piece.width
    if lane < 0:
        whole = (0, lanes) if stored.splat else (first, end)
        _flows(context, part, rows, stored, tile, Op.SHIFT, (0, 0, lanes, 0), whole)
    elif stored.splat or (piece.step == 0 and piece.width > 1):
        span = (0, lanes) if stored.splat else (first, end)
        lane_map = np.full(lanes, -1)
        lane_map[span[0] : span[1]] = lane
        _flows(context, part, rows, stored, tile, Op.PERMUTE, (context.map(lane_map), 0, 0, 0), span)
    else:
        inside = min(piece.width, lanes - lane)
        shift = first - lane
        _flows(context, part, rows, stored, tile, Op.SHIFT, (shift, first, first + inside, 0), (first, first + inside))
        if inside < piece.width:
            rest = Tile(part.value, part.tile + 1, part.row)
            shift = first + inside
            _flows(context, rest, rows, stored, tile, Op.SHIFT, (shift, shift, end, 0), (shift, end))


def _scattered(context: Context, inside: list[tuple[int, Piece]], stored: Stored, tile: int) -> None:
    """Lanes from anywhere: for every row, one permutation for each vector that it takes lanes from."""
    lanes = context.machine.lanes
    rows = stored.rows
    numbers = np.full((rows, lanes), -1, np.int64)
    for first, piece in inside:
        numbers[:, first : first + piece.width] = piece.where.reshape(-1, 1) + piece.step * np.arange(piece.width)
    there = numbers >= 0
    value, row, column = context.decode(np.maximum(numbers, 0).ravel())
    source, lane = np.divmod(column, lanes)
    vector = ((value << 40) | (source << 24) | row).reshape(rows, lanes)
    lane, left = lane.reshape(rows, lanes), there.copy()
    while left.any():
        busy = np.flatnonzero(left.any(axis=1))
        picked = vector[busy, left[busy].argmax(axis=1)]
        match = left[busy] & (vector[busy] == picked[:, None])
        maps = np.where(match, lane[busy], -1).astype(np.int16)
        unique, group = np.unique(maps, axis=0, return_inverse=True)
        for number, lane_map in enumerate(unique):
            mine = np.flatnonzero(group.ravel() == number)
            part = Tile(picked[mine] >> 40, (picked[mine] >> 24) & 0xFFFF, picked[mine] & 0xFFFFFF)
            code = context.map(lane_map)
            _flows(context, part, busy[mine], stored, tile, Op.PERMUTE, (code, 0, 0, 0), (-1 - code, 0))
        left[busy] &= ~match


def _flows(
    context: Context,
    part: Tile,
    rows: Array,
    stored: Stored,
    tile: int,
    op: Op,
    a: tuple[int, int, int, int],
    lanes: tuple[int, int],
) -> None:
    """Rows of `part` through one unit of the switch into `rows` of `stored`."""
    cuts = np.flatnonzero(np.diff(rows // stored.segment) != 0) + 1
    starts = [0, *cuts.tolist()]
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        for start in range(begin, end, LONGEST):
            stop = min(start + LONGEST, end)

            def make(a_: int, b_: int, side: int) -> None:
                _flow(context, part.part(a_, b_), rows[a_:b_], stored, tile, op, a, lanes, side)

            context.attempt(make, start, stop)


UNITS = {Op.SHIFT: "shift", Op.PERMUTE: "permute", Op.DISTRIBUTE: "distribute", Op.TRANSPOSE: "transpose"}


def unit_choice(context: Context, flow: Flow, op: Op, side: int, offset: int, count: int) -> tuple[Choice, list[int]]:
    machine, name = context.machine, UNITS[op]
    many = {
        "shift": machine.shifters,
        "permute": machine.permutors,
        "distribute": machine.distributors,
        "transpose": machine.transposers,
    }[name]
    choice = flow.choose(context.unit_options(name, side, many), offset, count)
    return choice, [context.queues.switch(side, name, i) for i in range(many)]


def _flow(
    context: Context,
    part: Tile,
    rows: Array,
    stored: Stored,
    tile: int,
    op: Op,
    a: tuple[int, int, int, int],
    lanes: tuple[int, int],
    side: int,
) -> None:
    sign = 1 if side else -1
    machine, count = context.machine, len(rows)
    flow = Flow(context.machinery)
    wire = context.read(flow, part, stored.dtype, sign * machine.switch_place, 0, side, context.count_flows // 2)
    unit, queues = unit_choice(context, flow, op, side, 0, count)
    back = flow.wire(stored.dtype, sign * machine.switch_place, latency(machine, op), count, WEST if side else EAST)
    item = Item(
        op,
        unit,
        queues,
        0,
        count,
        a,
        ins=((Kind.STREAM, stored.dtype, 0, wire, 0, 0),),
        outs=((back, 0, -1),),
        dtype=stored.dtype,
    )
    flow.items.append(item)
    for hemisphere in BOTH:
        context.write(flow, back, stored, tile, rows, hemisphere, lanes)
    context.place(flow)


def move_rows(context: Context, part: Tile, rows: Array, stored: Stored, op: Op, unit: int, side: int) -> None:
    """Rows of `part` through a unit of the switch into `rows` of `stored`, in stretches of whole `unit`s.

    Tried on `side` first; where a flow meets itself, on the other, then in halves.
    """
    every = (0, context.machine.lanes)
    for near in (side, 1 - side):
        try:
            _flow(context, part, rows, stored, 0, op, (0, 0, 0, 0), every, near)
            return
        except SelfConflict:
            if len(rows) <= unit and near != side:
                raise
    middle = max(1, len(rows) // unit // 2) * unit
    for a, b in ((0, middle), (middle, len(rows))):
        move_rows(context, part.part(a, b), rows[a:b], stored, op, unit, side)


# -- rows against lanes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lines:
    """How a value's lanes run along another's rows: row i is lane `lane[i]` of the vectors `pairs[pair[i]]`."""

    value: int
    lane: Array
    lists: Array
    """Lists of rows of the other value."""
    pairs: Array
    """(2, P): which list, and which tile of the other value."""
    pair: Array


def _lines(context: Context, moved: Moved) -> _Lines | None:
    numbers = _elements(moved).reshape(moved.rows, moved.columns)
    value, row, column = (x.reshape(numbers.shape) for x in context.decode(numbers.ravel()))
    if (value != value.flat[0]).any() or (column != column[:, :1]).any():
        return None
    tile, lane = np.divmod(column[:, 0], context.machine.lanes)
    lists, group = np.unique(row, axis=0, return_inverse=True)
    pairs, pair = np.unique(np.stack([group.ravel(), tile]), axis=1, return_inverse=True)
    return _Lines(int(value.flat[0]), lane, lists, pairs, pair.ravel())


def _diagonals(context: Context, moved: Moved, lines: _Lines, stored: Stored, side: int) -> None:
    """Every second pair of `lines`, in a hemisphere.

    After the transposers, superlane s of the block of rows b is to become superlane b of the lines of s. So block b is
    turned by b superlanes, each superlane written to the lines that it belongs to, and the lines of s turned back by s.
    """
    machine, storage = context.machine, context.storage
    blocks, count = moved.columns // BLOCK, machine.superlanes
    mine = list(range(side, lines.pairs.shape[1], 2))
    if not mine:
        return
    held = np.isin(lines.pair, mine)
    found = np.unique(lines.lane[held] // BLOCK).tolist()
    homes: dict[int, Stored] = {}
    taken: list[int] = []
    for s in found:
        home = storage.store(moved.dtype, len(mine) * BLOCK, machine.lanes, (side,), avoid=taken, segment=1 << 20)
        homes[s] = home
        taken += [strip.slice for strip in home.strips()]
    for k, number in enumerate(mine):
        which, tile = lines.pairs[:, number].tolist()
        every = np.arange(blocks * BLOCK)
        part = Tile(np.full(len(every), lines.value), np.full(len(every), tile), lines.lists[which])
        turned = storage.store(moved.dtype, len(every), machine.lanes, (side,), avoid=taken, segment=len(every))
        move_rows(context, part, every, turned, Op.TRANSPOSE, BLOCK, side)
        for b in range(blocks):
            _scatter_block(context, turned, b, blocks, homes, k * BLOCK, side)
    for s, home in homes.items():
        rows, target = [], []
        for k, number in enumerate(mine):
            for j in range(BLOCK):
                lines_of = np.flatnonzero((lines.pair == number) & (lines.lane == s * BLOCK + j))
                rows += [k * BLOCK + j] * len(lines_of)
                target += lines_of.tolist()
        order = np.argsort(target, kind="stable")
        source = np.array(rows)[order]
        part = Tile(np.full(len(source), home.number), np.zeros(len(source), np.int64), source)
        turn = (-s % count) * BLOCK
        _home(context, part, np.array(target)[order], stored, turn, side)


def _scatter_block(
    context: Context, turned: Stored, block: int, blocks: int, homes: Mapping[int, Stored], first: int, side: int
) -> None:
    machine = context.machine
    count, sign = machine.superlanes, 1 if side else -1
    number = turned.number
    rows = block * BLOCK + np.arange(BLOCK)
    part = Tile(np.full(BLOCK, number), np.zeros(BLOCK, np.int64), rows)
    waiting = list(homes.items())
    while waiting:
        flow = Flow(context.machinery)
        wire = context.read(flow, part, turned.dtype, sign * machine.switch_place, 0, side)
        unit, queues = unit_choice(context, flow, Op.SHIFT, side, 0, BLOCK)
        place = sign * machine.switch_place
        back = flow.wire(turned.dtype, place, latency(machine, Op.SHIFT), BLOCK, WEST if side else EAST)
        ins = ((Kind.STREAM, turned.dtype, 0, wire, 0, 0),)
        code = (block * BLOCK, 0, machine.lanes, 1)
        flow.items.append(
            Item(Op.SHIFT, unit, queues, 0, BLOCK, code, ins=ins, outs=((back, 0, -1),), dtype=wire.dtype)
        )
        used: set[int] = set()
        later = []
        for s, home in waiting:
            slices = {strip.slice for strip in home.strips()}
            if used & slices:
                later.append((s, home))
                continue
            used |= slices
            at = (s + block) % count
            lanes = (at * BLOCK, (at + 1) * BLOCK)
            if block == 0:  # lanes that no block fills are written with the first
                free = (np.arange(count) - s) % count >= blocks
                free[at] = True
                mask = np.repeat(free, BLOCK)
                lanes = (-1 - context.map(np.where(mask, np.arange(machine.lanes), -1)), 0)
            context.write(flow, back, home, 0, first + np.arange(BLOCK), side, lanes)
        context.place(flow)
        waiting = later


def _home(context: Context, part: Tile, rows: Array, stored: Stored, turn: int, side: int) -> None:
    lanes = (0, stored.columns)
    for near in (side, 1 - side):
        try:
            _flow(context, part, rows, stored, 0, Op.SHIFT, (turn, 0, context.machine.lanes, 1), lanes, near)
            return
        except SelfConflict:
            if len(rows) == 1 and near != side:
                raise
    middle = len(rows) // 2
    _home(context, part.part(0, middle), rows[:middle], stored, turn, side)
    _home(context, part.part(middle, len(rows)), rows[middle:], stored, turn, side)


def _turn(context: Context, moved: Moved) -> Moved | None:
    """A value whose lanes run along another's rows, as pieces of 16 lanes of what the transposers make of it."""
    lines = _lines(context, moved)
    if lines is None:
        return None
    source = context.storage.values[lines.value]
    lane, lists, pairs, pair = lines.lane, lines.lists, lines.pairs, lines.pair
    blocks = -(-moved.columns // 16)
    made = context.storage.store(moved.dtype, pairs.shape[1] * blocks * 16, context.machine.lanes, BOTH)
    for number, (which, where) in enumerate(pairs.T.tolist()):
        wanted = lists[which][np.minimum(np.arange(blocks * 16), moved.columns - 1)]
        part = Tile(np.full(blocks * 16, lines.value), np.full(blocks * 16, where), wanted)
        first = number * blocks * 16
        rows = first + np.arange(blocks * 16)

        def make(a: int, b: int, side: int, part: Tile = part, rows: Array = rows) -> None:
            every = (0, context.machine.lanes)
            _flow(context, part.part(a, b), rows[a:b], made, 0, Op.TRANSPOSE, (0, 0, 0, 0), every, side)

        for start, stop in _stretches(len(rows)):
            context.attempt(make, start, stop, 16)
    pieces = []
    for block in range(blocks):
        width = min(16, moved.columns - 16 * block)
        line = (pair.ravel() * blocks + block) * 16 + lane % 16
        where = made.base + line * (context.machine.lanes + 1) + lane // 16 * 16
        pieces.append(Piece(width, 1, where.reshape(moved.lead)))
    assert source.width == made.width
    return Moved(moved.dtype, moved.shape, tuple(pieces))


def _stretches(rows: int) -> Iterator[tuple[int, int]]:
    """Whole blocks of 16 rows, at most 256 rows long."""
    for start in range(0, rows, 256):
        yield start, min(start + 256, rows)
