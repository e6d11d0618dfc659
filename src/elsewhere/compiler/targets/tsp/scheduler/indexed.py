"""Rows chosen by numbers that are only known when the program runs: reads at addresses that come on a stream."""

from __future__ import annotations

import math

import numpy as np

from elsewhere.compiler.targets.tsp.program import EAST, FUNCTIONS, WEST, WIDTH, Kind, Op, latency
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, ScheduleError
from elsewhere.compiler.targets.tsp.scheduler.moves import BOTH
from elsewhere.compiler.targets.tsp.scheduler.pieces import Moved
from elsewhere.compiler.targets.tsp.scheduler.storage import Copy, Stored, Strip
from elsewhere.compiler.targets.tsp.scheduler.vector import emit_results

LONGEST = 128


def table(context: Context, dtype: str, rows: int, columns: int, data: np.ndarray | None, side: int) -> Stored:
    """A value whose rows all lie in one bank; its bytes lie in slices at one place, so that they leave together."""
    machine, storage = context.machine, context.storage
    if rows > machine.bank_rows:
        raise ScheduleError(f"a table of {rows} rows is longer than a bank ({machine.bank_rows})")
    tiles = 1 if columns == 1 else -(-columns // machine.lanes)
    strips: list[list[list[Strip]]] = []
    for tile in range(tiles):
        first = _group(context, side, WIDTH[dtype], data is not None)
        planes = []
        for byte in range(WIDTH[dtype]):
            piece = None if data is None else data[tile, byte]
            strip = storage.strip(first + byte, rows, piece, dtype, byte, storage.lanes_of(columns, tile))
            if data is not None:
                strip.touch(0, 0)
            planes.append([strip])
        strips.append(planes)
    ready = np.zeros(rows, np.int64) if data is not None else np.full(rows, -1)
    return storage.enter(dtype, rows, columns, max(rows, 1), [Copy(side, strips, ready)])


def _group(context: Context, side: int, width: int, fixed: bool) -> int:
    """The first of `width` neighbouring slices at one place of a hemisphere, the emptiest ones."""
    machine = context.machine
    per, step = machine.slices_per_hemisphere, machine.slices_per_hop
    load = (context.storage.fixed if fixed else context.storage.load).sum(axis=1)[side * per : (side + 1) * per]
    starts = [i for i in range(per - width + 1) if i // step == (i + width - 1) // step]
    return side * per + min(starts, key=lambda i: (int(load[i : i + width].max()), i))


def gather_rows(context: Context, data: Stored, index: Tile, shape: tuple[int, ...]) -> Stored:
    """Rows of a `table` by the numbers in `index` (one a row, in all lanes)."""
    count, columns = math.prod(shape[:-1]), shape[-1]
    made = context.storage.store(data.dtype, count, columns, BOTH)
    step = max(1, min(LONGEST, made.segment))
    for tile in range(made.tiles):
        for start in range(0, count, step):
            stop = min(start + step, count)

            def flow(a: int, b: int, side: int, tile: int = tile) -> None:
                _flow(context, data, index.part(a, b), made, tile, a, b)

            context.attempt(flow, start, stop)
    return made


def _flow(context: Context, data: Stored, index: Tile, made: Stored, tile: int, start: int, stop: int) -> None:
    machine, count = context.machine, stop - start
    (copy,) = data.copies
    strips = [byte[0] for byte in copy.strips[tile]]
    place = machine.slice_place(strips[0].slice)
    flow = Flow(context.machinery)
    numbers = context.read(flow, index, "i32", place, 0, 1 - copy.hemisphere)
    offset = latency(machine, Op.GATHER)
    wire = flow.wire(data.dtype, place, offset, count, WEST if place > 0 else EAST)
    flow.not_before(int(copy.ready.max()))
    for byte, strip in enumerate(strips):
        _read(flow, strip, data.rows, count, numbers, wire, byte)
    arrival = wire.arrival(0)
    issue = arrival + machine.vector_entry
    options = context.alu_options()
    alu = flow.choose(options, issue, count)
    code = FUNCTIONS.index("move")
    item = Item(
        Op.ALU,
        alu,
        [context.queues.alu(i) for i in range(len(options))],
        issue,
        count,
        (code, 0, 0, 0),
        ins=((Kind.STREAM, data.dtype, 0, wire, 0, 0),),
        dtype=data.dtype,
    )
    flow.items.append(item)
    emit_results(context, flow, item, issue + machine.vector_operation, made, tile, np.arange(start, stop))
    context.place(flow)


def _read(flow: Flow, strip: Strip, rows: int, count: int, numbers: object, wire: object, byte: int) -> None:
    flow.use(("read", strip.slice), 0, count)
    flow.use(("bank", strip.slice, strip.bank), 0, count)
    flow.use(("queue", strip.slice), 0, 1)
    flow.items.append(
        Item(
            Op.GATHER,
            strip.slice,
            (),
            0,
            count,
            (strip.slice, 0, rows, 0),
            ins=((Kind.STREAM, "i32", 0, numbers, 0, 0),),
            outs=((wire, 0, byte),),  # type: ignore[arg-type]
            strip=strip.number,
        )
    )

    def tell(time: int) -> None:
        strip.touch(time, time + count - 1)

    flow.when_placed.append(tell)


def copy_to_table(context: Context, moved: Moved, side: int) -> Stored:
    """A value that the program makes, as a table."""
    from elsewhere.compiler.targets.tsp.scheduler.moves import fill

    made = table(context, moved.dtype, moved.rows, moved.columns, None, side)
    fill(context, moved, made)
    return made
