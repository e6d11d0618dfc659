"""Sums and maxima along lanes: vectors are turned against themselves by the switch unit and added.

Order of a sum over L = m·2^a lanes (m odd; other lanes hold the neutral element, tiles are added before from first to
last): windows of m lanes by doubling, then halves: v[i] + v[i + L/2], + L/4, … + m. All lanes that are multiples of m
then hold the same bits, and one of each superlane is dealt to its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp.program import EAST, FUNCTIONS, WEST, Kind, Op, latency
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item
from elsewhere.compiler.targets.tsp.scheduler.moves import BOTH, unit_choice
from elsewhere.compiler.targets.tsp.scheduler.regions import find_regions
from elsewhere.compiler.targets.tsp.scheduler.storage import Stored
from elsewhere.compiler.targets.tsp.scheduler.vector import schedule_region

NEUTRAL = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}
CHUNK = 128
TILES = 5
"""Tiles added in one pass; each brings up to four streams."""


def steps(lanes: int, function: str) -> list[tuple[str, int, str]]:
    """(turned value, distance, added value): v the value as it was, w the latest. w becomes turned(·) ∘ ·."""
    if function != "sum":
        found, span = [], 1
        while span < lanes:
            found.append(("w", min(span, lanes - span), "w"))
            span *= 2
        return found
    odd = lanes
    while odd % 2 == 0:
        odd //= 2
    found, span = [], 1
    while span * 2 <= odd:
        found.append(("w", span, "w"))
        span *= 2
    while span < odd:
        found.append(("v", span, "w"))
        span += 1
    half = lanes // 2
    while half >= odd and half * 2 > odd:
        found.append(("w", half, "w"))
        if half == odd:
            break
        half //= 2
    return found


def neutral(function: str, dtype: str) -> float:
    if dtype in ("i8", "i32") and function != "sum":
        low, high = (-128, 127) if dtype == "i8" else (-(2**31), 2**31 - 1)
        return float(low if function == "max" else high)
    return NEUTRAL[function]


def reduce_lanes(context: Context, tiles: Sequence[Tile], dtype: str, columns: int, function: str) -> Stored:
    """(rows, columns) → (rows, 1), one number in all lanes of a row."""
    machine = context.machine
    rows = len(tiles[0].row)
    first = _joined(context, list(tiles), dtype, columns, function)
    result = context.storage.store(dtype, rows, 1, BOTH)
    plan = steps(machine.lanes, function)
    values = {"v": first, "w": first}
    for number, (turned, distance, added) in enumerate(plan):
        last = number == len(plan) - 1 and function != "sum"
        made = result if last else context.storage.store(dtype, rows, machine.lanes, BOTH)
        for start, stop in _chunks(rows, made.segment):

            def add(
                a: int,
                b: int,
                side: int,
                x: Stored = values[turned],
                y: Stored = values[added],
                made: Stored = made,
                distance: int = distance,
            ) -> None:
                _turn_and_add(context, x, y, made, distance, function, a, b, side)

            context.attempt(add, start, stop)
        values["w"] = made
    if function == "sum":
        odd = machine.lanes // (machine.lanes & -machine.lanes)
        lane = np.arange(machine.lanes)
        base = lane // machine.lanes_per_superlane * machine.lanes_per_superlane
        code = context.map(base + (-base) % odd)
        for start, stop in _chunks(rows, result.segment):

            def deal(a: int, b: int, side: int, value: Stored = values["w"]) -> None:
                _deal(context, value, result, code, a, b, side)

            context.attempt(deal, start, stop)
    return result


def _chunks(rows: int, segment: int) -> Iterator[tuple[int, int]]:
    step = max(1, min(CHUNK, segment, rows))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _joined(context: Context, tiles: list[Tile], dtype: str, columns: int, function: str) -> Stored:
    """All tiles added up, lanes that hold nothing made neutral."""
    lanes, rows = context.machine.lanes, len(tiles[0].row)
    name = {"sum": "add"}.get(function, function)
    rest = columns % lanes
    made: Stored | None = None
    if len(tiles) == 1 and not rest:
        value = context.storage.values[int(tiles[0].value[0])]
        if (tiles[0].value == tiles[0].value[0]).all() and value.tiles == 1 and (tiles[0].row == np.arange(rows)).all():
            return value
    while tiles or made is None:
        part, tiles = tiles[:TILES], tiles[TILES:]
        b = Builder()
        operands = {}
        total: int | None = None
        if made is not None:
            total = b.input("made", dtype, (rows, lanes))
            operands[total] = [whole_tile(context, made)]
        for number, tile in enumerate(part):
            operand = b.input(f"t{number}", dtype, (rows, lanes))
            operands[operand] = [tile]
            if rest and not tiles and number == len(part) - 1:
                mask = b.input("mask", "i8", (rows, lanes))
                operands[mask] = [_mask(context, rest, rows)]
                operand = b.select(mask, operand, b.like(neutral(function, dtype), operand))
            total = operand if total is None else b.binary(name, total, operand)
        assert total is not None
        if b.nodes[total].op == "input":
            total = b.binary("max", total, total)
        b.output("y", total)
        graph = b.graph()
        made = context.storage.store(dtype, rows, lanes, BOTH)
        (region,) = find_regions(graph, context.machine.alus, 64).values()
        schedule_region(context, graph, region, operands, {region.root: made})
    return made


def whole_tile(context: Context, stored: Stored) -> Tile:
    number = context.storage.values.index(stored)
    rows = np.arange(stored.rows)
    return Tile(np.full(stored.rows, number), np.zeros(stored.rows, np.int64), rows)


def _mask(context: Context, rest: int, rows: int) -> Tile:
    cache = context.__dict__.setdefault("masks", {})
    if rest not in cache:
        cache[rest] = context.constant("i8", (np.arange(context.machine.lanes) < rest).astype(np.int8)[None])
    number = context.storage.values.index(cache[rest])
    return Tile(np.full(rows, number), np.zeros(rows, np.int64), np.zeros(rows, np.int64))


def _turn_and_add(
    context: Context,
    turned: Stored,
    added: Stored,
    made: Stored,
    distance: int,
    function: str,
    start: int,
    stop: int,
    side: int,
) -> None:
    machine, dtype, count = context.machine, made.dtype, stop - start
    sign = 1 if side else -1
    flow = Flow(context.machinery)
    out = context.read(flow, whole_tile(context, turned).part(start, stop), dtype, sign * machine.switch_place, 0, side)
    unit, queues = unit_choice(context, flow, Op.SHIFT, side, 0, count)
    back = flow.wire(dtype, sign * machine.switch_place, latency(machine, Op.SHIFT), count, WEST if side else EAST)
    flow.items.append(
        Item(
            Op.SHIFT,
            unit,
            queues,
            0,
            count,
            (-distance, 0, machine.lanes, 1),
            ins=((Kind.STREAM, dtype, 0, out, 0, 0),),
            outs=((back, 0, -1),),
            dtype=dtype,
        )
    )
    arrival = back.arrival(0)
    other = context.read(flow, whole_tile(context, added).part(start, stop), dtype, 0, arrival, 1 - side)
    issue = arrival + machine.vector_entry
    options = context.alu_options()
    alu = flow.choose(options, issue, count)
    code = FUNCTIONS.index({"sum": "add"}.get(function, function))
    item = Item(
        Op.ALU,
        alu,
        [context.queues.alu(i) for i in range(len(options))],
        issue,
        count,
        (code, 0, 0, 0),
        ins=((Kind.STREAM, dtype, 0, other, 0, 0), (Kind.STREAM, dtype, 0, back, 0, 0)),
        dtype=dtype,
    )
    flow.items.append(item)
    outs = []
    for hemisphere, wire in context.outward(flow, made, issue + machine.vector_operation, count):
        context.write(flow, wire, made, 0, np.arange(start, stop), hemisphere)
        outs.append((wire, 0, -1))
    item.outs = tuple(outs)
    context.place(flow)


def _deal(context: Context, value: Stored, made: Stored, code: int, start: int, stop: int, side: int) -> None:
    machine, dtype, count = context.machine, made.dtype, stop - start
    sign = 1 if side else -1
    flow = Flow(context.machinery)
    out = context.read(flow, whole_tile(context, value).part(start, stop), dtype, sign * machine.switch_place, 0, side)
    unit, queues = unit_choice(context, flow, Op.DISTRIBUTE, side, 0, count)
    back = flow.wire(dtype, sign * machine.switch_place, latency(machine, Op.DISTRIBUTE), count, WEST if side else EAST)
    flow.items.append(
        Item(
            Op.DISTRIBUTE,
            unit,
            queues,
            0,
            count,
            (code, 0, 0, 0),
            ins=((Kind.STREAM, dtype, 0, out, 0, 0),),
            outs=((back, 0, -1),),
            dtype=dtype,
        )
    )
    for hemisphere in BOTH:
        context.write(flow, back, made, 0, np.arange(start, stop), hemisphere)
    context.place(flow)
