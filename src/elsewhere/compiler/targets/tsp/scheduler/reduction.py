"""Sums and maxima along lanes: 16 rows by 16 lanes change places, and rows are added as they pass the vector unit.

Order of a sum: tiles from first to last; the 16 lanes of each superlane by neighbours (0 + 1, 2 + 3, …; then pairs of
these); of n = m·2^a superlanes (m odd) the groups of m by neighbours; then halves of the groups, g[i] + g[i + 2^(a-1)]
and so on. Lanes that hold nothing are neutral.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp.program import EAST, FUNCTIONS, WEST, Kind, Op, latency
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, SelfConflict, Wire
from elsewhere.compiler.targets.tsp.scheduler.moves import BOTH, move_rows, unit_choice
from elsewhere.compiler.targets.tsp.scheduler.regions import find_regions
from elsewhere.compiler.targets.tsp.scheduler.storage import Stored
from elsewhere.compiler.targets.tsp.scheduler.vector import TRIALS, TURNS, bits, emit_results, schedule_region

NEUTRAL = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}
BLOCK = 16
"""Rows and lanes that a transposer exchanges."""
CHUNK = 32
"""Rows that go through all steps together."""
TILES = 5
"""Tiles added in one pass; each brings up to four streams."""

Operand = tuple[Kind, object, int, int]
"""What an operation takes: kind, wire or unit, the offset at which its row 0 is there, and which row is taken first."""


def neutral(function: str, dtype: str) -> float:
    if dtype in ("i8", "i32") and function != "sum":
        low, high = (-128, 127) if dtype == "i8" else (-(2**31), 2**31 - 1)
        return float(low if function == "max" else high)
    return NEUTRAL[function]


def reduce_lanes(context: Context, tiles: Sequence[Tile], held: str, dtype: str, columns: int, function: str) -> Stored:
    """(rows, columns) → (rows, 1), one number in all lanes of a row; rows are filled up to whole blocks.

    The rows lie as `held` and are cast to `dtype` first.
    """
    rows, lanes = len(tiles[0].row), context.machine.lanes
    inside = columns if columns < lanes and columns % BLOCK == 0 else lanes
    rest = 0 if len(tiles) == 1 and columns % BLOCK == 0 else columns % lanes
    if len(tiles) > TILES:
        tiles, held, rest = (
            [whole_tile(context, _joined(context, list(tiles), held, dtype, columns, function))],
            dtype,
            0,
        )
    # The result is mostly read again together with what it was made of.
    result = context.storage.store(dtype, -(-rows // BLOCK) * BLOCK, 1, BOTH, clear=context.clear([[t] for t in tiles]))
    for number, start in enumerate(range(0, result.rows, CHUNK)):
        stop = min(start + CHUNK, result.rows)
        wanted = np.minimum(np.arange(start, stop), rows - 1)
        parts = [Tile(t.value[wanted], t.tile[wanted], t.row[wanted]) for t in tiles]
        _chunk(context, parts, held, function, rest, inside, result, start, number % 2)
    return result


def _chunk(
    context: Context,
    parts: Sequence[Tile],
    held: str,
    function: str,
    rest: int,
    inside: int,
    result: Stored,
    start: int,
    side: int,
) -> None:
    """All steps for some blocks of rows. `rest` lanes of the last tile hold something, or all (0); of what is turned,
    `inside` superlanes' lanes."""
    machine, storage, dtype = context.machine, context.storage, result.dtype
    count = len(parts[0].row)
    every, blocks = np.arange(count), np.arange(0, count, BLOCK)
    avoid = [s for part in parts for s in _lying(context, part)]
    avoid += [s for lanes in {rest, inside} - {0, machine.lanes} for s in _slices(_mask(context, lanes))]
    folded = storage.store(dtype, count, machine.lanes, BOTH if function == "sum" else (side,), avoid=avoid)
    try:
        _again(context, lambda t: _fold_flow(context, parts, held, folded, function, rest, inside, side, t))
    except SelfConflict:
        if count > BLOCK:
            middle = count // BLOCK // 2 * BLOCK
            for a, b in ((0, middle), (middle, count)):
                half = [part.part(a, b) for part in parts]
                _chunk(context, half, held, function, rest, inside, result, start + a, side)
            return
        if len(parts) == 1 and not rest:
            raise
        columns = (len(parts) - 1) * machine.lanes + (rest or machine.lanes)
        joined = whole_tile(context, _joined(context, list(parts), held, dtype, columns, function))
        _chunk(context, [joined], dtype, function, 0, inside, result, start, side)
        return
    found, before = _at(context, folded, blocks), folded
    for kind, numbers in steps(machine.superlanes, machine.shifters, function):
        made = storage.store(dtype, len(blocks), machine.lanes, BOTH, avoid=_slices(before))
        if kind == "group":
            _group(context, found, made, numbers[0], side)
        else:
            _turn(context, found, made, [d * BLOCK for d in numbers], function, side)
        found, before = whole_tile(context, made), made
    spread = np.repeat(np.arange(len(blocks)), BLOCK)
    back = Tile(found.value[spread], found.tile[spread], found.row[spread])
    move_rows(context, back, start + every, result, Op.TRANSPOSE, BLOCK, side)


def _lying(context: Context, tile: Tile) -> list[int]:
    """Slices in which rows of a tile lie."""
    found: set[int] = set()
    for number in np.unique(tile.value).tolist():
        value, mine = context.storage.values[number], tile.value == number
        for place, part in {(t, r // value.segment) for t, r in zip(tile.tile[mine], tile.row[mine], strict=True)}:
            found |= {byte[part].slice for copy in value.copies for byte in copy.strips[place]}
    return sorted(found)


def _slices(stored: Stored) -> list[int]:
    """Where a flow that reads `stored` must not write."""
    return [strip.slice for strip in stored.strips()]


def steps(superlanes: int, shifters: int, function: str) -> list[tuple[str, list[int]]]:
    """("group", [m]): every superlane gets its group's sum; ("turn", [d, …]): itself and those d superlanes on."""
    odd = superlanes
    while odd % 2 == 0:
        odd //= 2
    found: list[tuple[str, list[int]]] = []
    if function == "sum" and odd > 1:
        found.append(("group", [odd]))
    span = 1
    while function != "sum" and span < odd:
        reach = [min(span * k, odd - span) for k in range(1, shifters + 1)]
        found.append(("turn", sorted(set(reach))))
        span = min(odd, span * (shifters + 1))
    half = superlanes // 2
    while half >= odd and superlanes > odd:
        two = half // 2
        if two >= odd:
            found.append(("turn", [half, two, half + two]))
        else:
            found.append(("turn", [half]))
        half = two // 2
    return found


def _joined(context: Context, tiles: list[Tile], held: str, dtype: str, columns: int, function: str) -> Stored:
    """All tiles added up, lanes that hold nothing made neutral."""
    lanes, rows = context.machine.lanes, len(tiles[0].row)
    name = {"sum": "add"}.get(function, function)
    rest = columns % lanes
    made: Stored | None = None
    while tiles or made is None:
        part, tiles = tiles[:TILES], tiles[TILES:]
        b = Builder()
        operands = {}
        total: int | None = None
        if made is not None:
            total = b.input("made", dtype, (rows, lanes))
            operands[total] = [whole_tile(context, made)]
        for number, tile in enumerate(part):
            operand = b.input(f"t{number}", held, (rows, lanes))
            operands[operand] = [tile]
            operand = b.cast(operand, dtype)
            if rest and not tiles and number == len(part) - 1:
                mask = b.input("mask", "i8", (rows, lanes))
                operands[mask] = [_at(context, _mask(context, rest), np.zeros(rows, np.int64))]
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


def _at(context: Context, stored: Stored, rows: np.ndarray) -> Tile:
    number = stored.number
    return Tile(np.full(len(rows), number), np.zeros(len(rows), np.int64), rows)


def whole_tile(context: Context, stored: Stored) -> Tile:
    return _at(context, stored, np.arange(stored.rows))


def _mask(context: Context, inside: int) -> Stored:
    """One row, 1 in the first `inside` lanes."""
    cache = context.__dict__.setdefault("masks", {})
    if inside not in cache:
        cache[inside] = context.constant("i8", (np.arange(context.machine.lanes) < inside).astype(np.int8)[None])
    made: Stored = cache[inside]
    return made


# -- steps as flows --------------------------------------------------------------------------------------------------


def _operation(
    context: Context, flow: Flow, name: str, dtype: str, operands: Sequence[tuple[str, Operand]], count: int
) -> tuple[Item, Operand]:
    """One ALU: gives its instruction and its result as an operand."""
    issue = max((o[2] for _, o in operands if o[0] != Kind.NUMBER), default=0)
    options = context.alu_options()
    unit = flow.choose(options, issue, count)
    ins = []
    for kind_type, (kind, source, ready, row) in operands:
        delay = 0 if kind == Kind.NUMBER else issue - ready
        if delay > context.machine.operand_delay:
            raise SelfConflict(f"an operand would wait {delay} cycles")
        ins.append((kind, kind_type, delay, source, row, 0))
    code = FUNCTIONS.index(name)
    queues = [context.queues.alu(i) for i in range(len(options))]
    item = Item(Op.ALU, unit, queues, issue, count, (code, 0, 0, 0), ins=tuple(ins), dtype=dtype)
    flow.items.append(item)
    return item, (Kind.ALU, unit, issue + latency(context.machine, Op.ALU, code), 0)


def _later(operand: Operand, rows: int) -> Operand:
    """The same operand from a later row on."""
    kind, source, ready, row = operand
    return kind, source, ready + rows, row + rows


def _arriving(context: Context, wire: Wire, offset: int) -> Operand:
    return Kind.STREAM, wire, offset + context.machine.vector_entry, 0


def _again(context: Context, make: Callable[[int], Flow]) -> None:
    """Places a flow with those copies of its operands, in that hemisphere, with which it can begin first."""
    best, found = 1 << 60, None
    for turn in range(TURNS):
        if found is not None and turn >= TRIALS:
            break
        try:
            flow = make(turn)
            at = flow.find(best)
        except SelfConflict:
            if turn == TURNS - 1 and found is None:
                raise
            continue
        if at < best:
            best, found = at, flow
        if best == flow.soonest:
            break
    assert found is not None
    context.count_flows += 1
    found.commit(best)


def _fold_flow(
    context: Context,
    parts: Sequence[Tile],
    held: str,
    made: Stored,
    function: str,
    rest: int,
    inside: int,
    side: int,
    turn: int,
) -> Flow:
    """Tiles are added up as they come, 16 rows and lanes change places in the switch unit, and on the way back row i
    becomes the sum of rows i … i + 15: each ALU adds what it gets to what it got some rows before."""
    dtype, machine, near = made.dtype, context.machine, (side + turn) % 2
    count, name = len(parts[0].row), {"sum": "add"}.get(function, function)
    flow = Flow(context.machinery)
    if len(parts) == 1 and not rest:
        (value,) = _through(context, flow, parts[0], held, Op.TRANSPOSE, [(0, 0, 0, 0)], 0, near, turn // 2)
    else:
        joined = _tiles(context, flow, parts, held, dtype, function, rest, turn)
        value, held = _turned(context, flow, *joined, dtype, count, near), dtype
    if held != dtype:
        _, value = _operation(context, flow, "cast", dtype, [(held, value)], count)
    if inside < machine.lanes:
        value = _masked(context, flow, value, dtype, inside, function, count, 1 - near, turn // 2)[1]
    span = 1
    while span < BLOCK:
        count -= span
        item, value = _operation(context, flow, name, dtype, [(dtype, value), (dtype, _later(value, span))], count)
        span *= 2
    emit_results(context, flow, item, value[2], made, 0, np.arange(count))
    return flow


def _masked(
    context: Context,
    flow: Flow,
    value: Operand,
    dtype: str,
    inside: int,
    function: str,
    count: int,
    side: int,
    turn: int,
) -> tuple[Item, Operand]:
    """The first `inside` lanes as they are, the others neutral."""
    at = value[2] - context.machine.vector_entry
    rows = _at(context, _mask(context, inside), np.zeros(count, np.int64))
    held = context.read(flow, rows, "i8", 0, at, side, turn)
    nothing = (Kind.NUMBER, bits(neutral(function, dtype), dtype), 0, 0)
    return _operation(
        context, flow, "select", dtype, [("i8", _arriving(context, held, at)), (dtype, value), (dtype, nothing)], count
    )


def _tiles(
    context: Context, flow: Flow, parts: Sequence[Tile], held: str, dtype: str, function: str, rest: int, turn: int
) -> tuple[Item, Operand]:
    """All tiles added up in their order, lanes that hold nothing made neutral."""
    name, count = {"sum": "add"}.get(function, function), len(parts[0].row)
    item, total = None, None
    for number, part in enumerate(parts):
        choices = [((number + turn + other) % 2, turn // 2 + copy) for copy in (0, 1) for other in (0, 1)]
        value = _arriving(context, context.read_apart(flow, part, held, 0, 0, choices), 0)
        if held != dtype:
            item, value = _operation(context, flow, "cast", dtype, [(held, value)], count)
        if rest and number == len(parts) - 1:
            item, value = _masked(context, flow, value, dtype, rest, function, count, (number + turn) % 2, turn // 2)
        if total is not None:
            item, value = _operation(context, flow, name, dtype, [(dtype, total), (dtype, value)], count)
        total = value
    assert item is not None
    assert total is not None
    return item, total


def _turned(context: Context, flow: Flow, item: Item, value: Operand, dtype: str, count: int, side: int) -> Operand:
    """What an ALU gives, on its way through a transposer and back."""
    machine, place = context.machine, context.machine.switch_place * (1 if side else -1)
    out = flow.wire(dtype, 0, value[2], count, EAST if side else WEST)
    item.outs = ((out, 0, -1),)
    offset = out.arrival(place)
    unit, queues = unit_choice(context, flow, Op.TRANSPOSE, side, offset, count)
    back = flow.wire(dtype, place, offset + latency(machine, Op.TRANSPOSE), count, WEST if side else EAST)
    ins = ((Kind.STREAM, dtype, 0, out, 0, 0),)
    code = (0, 0, 0, 0)
    flow.items.append(
        Item(Op.TRANSPOSE, unit, queues, offset, count, code, ins=ins, outs=((back, 0, -1),), dtype=dtype)
    )
    return _arriving(context, back, back.arrival(0))


def _summed(context: Context, flow: Flow, name: str, dtype: str, operands: list[Operand], made: Stored) -> Flow:
    """Neighbours first, then pairs of these; what is left over comes last."""
    item = None
    while len(operands) > 1:
        pairs = []
        for a, b in zip(operands[::2], operands[1::2], strict=False):
            item, result = _operation(context, flow, name, dtype, [(dtype, a), (dtype, b)], made.rows)
            pairs.append(result)
        operands = pairs + operands[len(pairs) * 2 :]
    assert item is not None
    emit_results(context, flow, item, operands[0][2], made, 0, np.arange(made.rows))
    return flow


def _through(
    context: Context, flow: Flow, rows: Tile, dtype: str, op: Op, codes: Sequence[tuple[int, int, int, int]],
    offset: int, side: int, turn: int,
) -> list[Operand]:  # fmt: skip
    """Rows that one read sends through several units of the switch at once, as they come to the vector unit."""
    machine, count = context.machine, len(rows.row)
    place = machine.switch_place * (1 if side else -1)
    out = context.read(flow, rows, dtype, place, offset, side, turn)
    found = []
    for code in codes:
        unit, queues = unit_choice(context, flow, op, side, offset, count)
        back = flow.wire(dtype, place, offset + latency(machine, op), count, WEST if side else EAST)
        ins = ((Kind.STREAM, dtype, 0, out, 0, 0),)
        flow.items.append(Item(op, unit, queues, offset, count, code, ins=ins, outs=((back, 0, -1),), dtype=dtype))
        found.append(_arriving(context, back, back.arrival(0)))
    return found


def _turn(context: Context, rows: Tile, made: Stored, distances: Sequence[int], function: str, side: int) -> None:
    """Rows and the same rows turned by some lanes."""

    def flow_of(turn: int) -> Flow:
        flow = Flow(context.machinery)
        dtype, near = made.dtype, (side + turn) % 2
        codes = [(-d, 0, context.machine.lanes, 1) for d in distances]
        turned = _through(context, flow, rows, dtype, Op.SHIFT, codes, 0, near, turn // 2)
        arrival = turned[0][2] - context.machine.vector_entry
        plain = context.read(flow, rows, dtype, 0, arrival, 1 - near, turn // 2)
        operands = [_arriving(context, plain, arrival), *turned]
        return _summed(context, flow, {"sum": "add"}.get(function, function), dtype, operands, made)

    _again(context, flow_of)


def _group(context: Context, rows: Tile, made: Stored, size: int, side: int) -> None:
    """Each superlane gets the sum of its group's, in the same order, so that all of a group hold the same bits."""
    machine = context.machine
    superlane, lane = np.divmod(np.arange(machine.lanes), BLOCK)
    maps = [context.map((superlane // size * size + k) * BLOCK + lane) for k in range(size)]

    def flow_of(turn: int) -> Flow:
        flow = Flow(context.machinery)
        operands = []
        for k, code in enumerate(maps):
            near = (side + turn + k) % 2
            offset = k // 2 * len(rows.row)
            operands += _through(
                context, flow, rows, made.dtype, Op.PERMUTE, [(code, 0, 0, 0)], offset, near, turn // 2
            )
        return _summed(context, flow, "add", made.dtype, operands, made)

    _again(context, flow_of)
