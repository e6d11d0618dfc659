"""Regions on the vector unit: operands arrive as streams, operations are chained from ALU to ALU, results leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp.program import FUNCTIONS, Kind, Op, latency
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import Flow, Item, SelfConflict, Wire
from elsewhere.compiler.targets.tsp.scheduler.regions import Region, functions, number_of
from elsewhere.compiler.targets.tsp.scheduler.storage import Stored

Array = NDArray[Any]
TURNS, EARLY = 8, 6
"""How often other copies are tried for a flow that meets itself; from EARLY on operands come one after the other."""
TRIALS = 4
"""So many choices of copies are compared for one that can begin first."""
PHASES = (1, 2, 4)
"""Rows may be taken one after the other, or every second or fourth of them first."""
LONGEST = 512
"""Rows of one flow at most."""


def bits(number: float, dtype: str) -> int:
    """A number as an instruction holds it: f32 bits, or a whole number."""
    if dtype in ("i8", "i32"):
        return int(number)
    return int(np.array(number, np.float32).view(np.int32))


class Chain:
    """Places one region's operations in a flow."""

    def __init__(self, context: Context, flow: Flow, graph: Graph, region: Region, count: int) -> None:
        self.context, self.flow, self.graph, self.region, self.count = context, flow, graph, region, count
        self.made: dict[int, tuple[Item, int]] = {}
        self.sources: dict[int, tuple[Kind, Any, int]] = {}
        """For each value: what it is, its wire or ALU or number, and the offset at which it is there."""

    def stream(self, value: int, wire: Wire, offset: int) -> None:
        """`value` arrives at the vector unit at `offset`."""
        self.sources[value] = (Kind.STREAM, wire, offset + self.context.machine.vector_entry)

    def build(self) -> tuple[Item, int]:
        """Adds all operations; gives the root's instruction and the offset of its result."""
        graph, last, ready = self.graph, None, 0
        for value in self.region.operands:
            number = number_of(graph, value)
            if value not in self.sources and number is not None:
                self.sources[value] = (Kind.NUMBER, bits(number, graph.nodes[value].type.dtype), -(1 << 20))
        for value in self.region.members:
            last, ready = self.operation(value)
        assert last is not None
        return last, ready

    def operation(self, value: int) -> tuple[Item, int]:
        node = self.graph.nodes[value]
        issue = max(self.sources[i][2] for i in node.inputs)
        options = self.context.alu_options()
        code = FUNCTIONS.index(functions(node))
        machine = self.context.machine
        # A fast function behind a slow one would give its result in the same cycle.
        longer = max(0, latency(machine, Op.ALU, code) - machine.vector_operation)
        unit = self.flow.choose(options, issue, self.count + longer)
        ins = tuple(self.operand(i, issue) for i in node.inputs)
        queues = [self.context.queues.alu(i) for i in range(len(options))]
        item = Item(Op.ALU, unit, queues, issue, self.count, (code, 0, 0, 0), ins=ins, dtype=node.type.dtype)
        self.flow.items.append(item)
        ready = issue + latency(machine, Op.ALU, code)
        self.sources[value] = (Kind.ALU, unit, ready)
        self.made[value] = (item, ready)
        return item, ready

    def operand(self, value: int, issue: int) -> tuple[Kind, str, int, Any, int, int]:
        kind, source, ready = self.sources[value]
        delay = 0 if kind == Kind.NUMBER else issue - ready
        if delay > self.context.machine.operand_delay:
            raise SelfConflict(f"an operand would wait {delay} cycles")
        return (kind, self.graph.nodes[value].type.dtype, delay, source, 0, 0)


def emit_results(
    context: Context,
    flow: Flow,
    item: Item,
    offset: int,
    stored: Stored,
    tile: int,
    rows: Array,
    lanes: tuple[int, int] | None = None,
) -> None:
    """Sends a result, or some lanes of it, from the vector unit to every copy of `stored`."""
    outs = []
    for side, wire in context.outward(flow, stored, offset, len(rows)):
        context.write(flow, wire, stored, tile, rows, side, lanes)
        outs.append((wire, 0, -1))
    item.outs = tuple(outs)


def emit_all(
    context: Context,
    flow: Flow,
    chain: Chain,
    results: Mapping[int, Stored],
    tile: int,
    rows: Array,
    lanes: tuple[int, int] | None = None,
) -> None:
    """Sends all that a region gives."""
    for value, stored in results.items():
        item, ready = chain.made[value]
        emit_results(context, flow, item, ready, stored, tile, rows, lanes)


def chunk_rows(rows: int, segment: int) -> int:
    return max(1, min(rows, segment, LONGEST))


def schedule_region(
    context: Context,
    graph: Graph,
    region: Region,
    operands: Mapping[int, Sequence[Tile]],
    results: Mapping[int, Stored],
) -> None:
    """A region without a product, tile by tile and chunk by chunk; `results` are its root and what else it gives."""
    stored = results[region.root]
    step = chunk_rows(stored.rows, stored.segment)
    for tile in range(stored.tiles):
        for number, start in enumerate(range(0, stored.rows, step)):
            stop = min(start + step, stored.rows)
            parts = {v: tiles[tile if len(tiles) > 1 else 0].part(start, stop) for v, tiles in operands.items()}
            rows = _order(parts, stop - start)
            parts = {v: Tile(t.value[rows], t.tile[rows], t.row[rows]) for v, t in parts.items()}
            _schedule_chunk(context, graph, region, parts, results, tile, start + rows, number + tile)


def _order(parts: Mapping[int, Tile], count: int) -> Array:
    """The order of rows in which operands are read in fewest runs: as they come, or every second or fourth first.

    A picture that is made twice as wide takes each row twice; every second row alone follows the one before.
    """
    best = None
    for step in PHASES:
        rows = np.concatenate([np.arange(first, count, step) for first in range(min(step, count))])
        turns = sum(int((np.diff(np.diff(t.row[rows])) != 0).sum()) for t in parts.values())
        if best is None or 2 * turns < best[0]:
            best = (turns, rows)
    assert best is not None
    return best[1]


def _schedule_chunk(
    context: Context,
    graph: Graph,
    region: Region,
    parts: Mapping[int, Tile],
    results: Mapping[int, Stored],
    tile: int,
    rows: Array,
    number: int,
) -> None:
    count = len(rows)
    best, found = 1 << 60, None
    met: SelfConflict | None = None
    for turn in range(TURNS):
        if found is not None and turn >= TRIALS:
            break
        flow = Flow(context.machinery)
        chain = Chain(context, flow, graph, region, count)
        try:
            read_operands(context, flow, chain, graph, parts, 0, number + turn, early=turn >= EARLY)
            chain.build()
            emit_all(context, flow, chain, results, tile, rows)
            at = flow.find(best)
        except SelfConflict as error:
            met = error
            continue
        if at < best:
            best, found = at, flow
        if best == flow.soonest:
            break
    if found is not None:
        context.count_flows += 1
        found.commit(best)
        return
    middle = count // 2
    if count == 1:
        raise SelfConflict(f"one row of a region meets itself: {met}")
    for a, b in ((0, middle), (middle, count)):
        halves = {v: t.part(a, b) for v, t in parts.items()}
        _schedule_chunk(context, graph, region, halves, results, tile, rows[a:b], number)


def read_operands(
    context: Context,
    flow: Flow,
    chain: Chain,
    graph: Graph,
    parts: Mapping[int, Tile],
    offset: int,
    number: int,
    *,
    early: bool = False,
) -> None:
    """Streams for all operands, from alternating hemispheres.

    With `early`, each operand comes before the one before it is through, and waits at the ALU: so two operands may
    lie in one slice.
    """
    shift = 0
    for index, (value, tile) in enumerate(parts.items()):
        sides = sorted(context.sides(tile)) or [0]
        at = offset - shift
        choices = [
            (sides[(number + index + other) % len(sides)], number // 2 + index + copy)
            for copy in (0, 1)
            for other in range(len(sides))
        ]
        wire = context.read_apart(flow, tile, graph.nodes[value].type.dtype, 0, at, choices)
        chain.stream(value, wire, at)
        if early:
            shift += len(tile.row) + 2
