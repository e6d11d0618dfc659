"""Rules that each instruction keeps by itself: numbers in range, the operands of its operation, a queue of its unit."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.checker.view import (
    BYTES,
    CHAIN,
    LINKS,
    MATRIX,
    MEMORY,
    NUMBER,
    STREAM,
    WESTWARD,
    View,
)
from elsewhere.compiler.targets.tsp.program import FUNCTIONS, Op, operations

LONGEST = 1 << 22
"""Cycles of one instruction at most: more rows than any memory has."""
UNARY = FUNCTIONS.index("add")
"""Functions before this one take one operand."""


def check_forms(view: View) -> None:
    """Each instruction is one that the machine has."""
    c, op = view.code, view.op
    view.all(np.isin(op, [int(o) for o in Op]), "operation", "is unknown")
    view.all((view.issue >= 0) & (view.count >= 1) & (view.count < LONGEST), "time", "issue or rows cannot be")
    types = (c["dtype"] < 4) & (c["ins"]["dtype"] < 4).all(axis=1) & (c["ins"]["kind"] < 4).all(axis=1)
    types &= ((c["outs"]["dtype"] >= 0) & (c["outs"]["dtype"] < 4)).all(axis=1)
    view.all(types, "type", "is unknown")
    if not view.faults:
        _queues(view)
        _operands(view)
    if view.faults:
        return
    _memory(view)
    _vector(view)
    _switch(view)
    _matrix(view)
    sealed = view.program.facts.get("operations")
    if sealed is not None and sealed != operations(c, view.program.maps, len(view.program.symbols)):
        view.fault("seal", -1, "instructions compute something else than the compiler meant")
    known = (c["symbol"] >= 0) & (c["symbol"] < len(view.program.symbols))
    view.all(known, "symbol", "is none of the program's")


def _queues(view: View) -> None:
    """The queue is one of the unit that carries the operation out."""
    m, op, queue, a = view.machine, view.op, view.queue, view.a
    view.all(~np.isin(op, MEMORY) | ((queue >= 0) & (queue < m.slices) & (a[:, 0] == queue)), "queue", "not its slice")
    in_alus = (queue >= m.slices) & (queue < m.slices + m.alus)
    view.all((op == Op.ALU) == in_alus, "queue", "the vector unit's queues are for ALUs")
    matrix = np.isin(op, MATRIX)
    part = np.select([op == Op.ACTIVATE, op == Op.ACCUMULATE], [1, 2], 0)
    first = m.slices + m.alus
    inside = (a[:, 0] >= 0) & (a[:, 0] < m.planes)
    view.all(~matrix | (inside & (first + 3 * a[:, 0] + part == queue)), "queue", "not its plane")
    start = first + 3 * m.planes
    each = m.shifters + m.permutors + m.distributors + m.transposers
    unit = (queue - start) % each
    ends = np.cumsum([0, m.shifters, m.permutors, m.distributors, m.transposers])
    inside = (queue >= start) & (queue < start + 2 * each)
    for number, name in enumerate((Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE)):
        mine = inside & (unit >= ends[number]) & (unit < ends[number + 1])
        view.all((op != name) | mine, "queue", "not a unit of its kind")
    first = start + 2 * each
    packets = np.isin(op, LINKS)
    inside = (queue >= first) & (queue < first + 2 * m.link_queues)
    view.all(packets == inside, "queue", "the links' queues are for packets")
    view.all(~packets | (view.count == 1), "packet", "is one vector")
    links = m.links_in_node + m.links_global
    mask = np.where(op == Op.SEND, a[:, 0], 1 << np.clip(a[:, 0], 0, 62))
    view.all(~packets | ((a[:, 0] >= 0) & (mask > 0) & (mask < 1 << links)), "link", "there are not so many")
    # Links end at the two hemispheres in turn, the first one west.
    wrong = np.where((queue - first) // m.link_queues > 0, 0x5555, 0xAAAA)
    view.all(~packets | (mask & wrong == 0), "queue", "a link of the other hemisphere")


def _operands(view: View) -> None:
    """As many operands and results as the operation has, on streams that there are."""
    c, m, op = view.code, view.machine, view.op
    kinds, outs = c["ins"]["kind"], c["outs"]["stream"].astype(np.int64)
    function = np.where(op == Op.ALU, view.a[:, 0], 0)
    view.all((function >= 0) & (function < len(FUNCTIONS)), "function", "is unknown")
    arity = np.full(len(FUNCTIONS), 2)
    arity[:UNARY] = 1
    for name, number in (("select", 3), ("cast", 1), ("move", 1)):
        arity[FUNCTIONS.index(name)] = number
    wanted = np.ones(len(op), np.int64)
    wanted[np.isin(op, [Op.READ, Op.INSTALL, Op.ACCUMULATE, Op.RECEIVE])] = 0
    wanted[op == Op.SCATTER] = 2
    wanted = np.where(op == Op.ALU, arity[np.clip(function, 0, len(FUNCTIONS) - 1)], wanted)
    position = np.arange(kinds.shape[1])
    right = ((kinds != 0) == (position < wanted[:, None])).all(axis=1)
    view.all(right, "operand", "more or fewer than the operation takes")
    streams_only = (op == Op.ALU) | np.isin(kinds, [0, STREAM]).all(axis=1)
    view.all(streams_only, "operand", "only ALUs take numbers and each other's results")
    bundle = np.where((op == Op.LOAD)[:, None], view.a[:, 2:3], BYTES[c["ins"]["dtype"]])
    source = c["ins"]["source"].astype(np.int64)
    inside = (source >= 0) & (source % WESTWARD + bundle <= m.streams) & (source < 2 * WESTWARD) & (bundle >= 1)
    view.all(np.all((kinds != STREAM) | inside, axis=1), "stream", "there are not so many streams")
    delay = c["ins"]["delay"].astype(np.int64)
    waits = np.where((op == Op.ALU)[:, None] & np.isin(kinds, [STREAM, CHAIN]), delay, 0)
    view.all(np.all((waits >= 0) & (waits <= m.operand_delay), axis=1), "delay", "an operand cannot wait so long")
    idle = (kinds == 0) | (kinds == NUMBER) | (op == Op.ALU)[:, None] | (delay == 0)
    view.all(idle.all(axis=1), "delay", "only operands of ALUs wait")
    widths = BYTES[c["outs"]["dtype"]]
    inside = (outs < 0) | ((outs % WESTWARD + widths <= m.streams) & (outs < 2 * WESTWARD))
    view.all(inside.all(axis=1), "stream", "there are not so many streams")
    sent = (outs >= 0).sum(axis=1)
    leaves = np.isin(op, [Op.READ, Op.GATHER, Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE, Op.RECEIVE])
    none = np.isin(op, [Op.WRITE, Op.SCATTER, Op.LOAD, Op.INSTALL, Op.ACTIVATE, Op.SEND])
    view.all(~leaves | (sent == 1), "result", "must leave on one stream")
    view.all(~none | (sent == 0), "result", "the operation has none")
    view.all((op != Op.ACCUMULATE) | (sent == np.where(view.a[:, 3] != 0, 1, 0)), "result", "is sent or is not")
    first = np.where(outs[:, 0] >= 0, c["outs"]["dtype"][:, 0], c["dtype"])
    second = np.where(outs[:, 1] >= 0, c["outs"]["dtype"][:, 1], c["dtype"])
    typed = np.isin(op, [Op.ALU, Op.ACCUMULATE]) & ((first != c["dtype"]) | (second != c["dtype"]))
    view.all(~typed, "type", "a result is of another type than its operation")
    through = np.isin(op, [Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE])
    through &= (first != c["dtype"]) | (c["ins"]["dtype"][:, 0] != c["dtype"])
    view.all(~through, "type", "the switch unit changes no types")


def _memory(view: View) -> None:
    """Addresses inside one bank; lanes that there are."""
    m, op, a = view.machine, view.op, view.a
    mine = np.isin(op, MEMORY)
    known = (view.strip >= 0) & (view.strip < len(view.program.strips))
    view.all(~mine | known, "strip", "there is no such strip")
    plain = np.isin(op, [Op.READ, Op.WRITE])
    last = a[:, 1] + np.where(plain, a[:, 2] * (view.count - 1), a[:, 2] - 1)
    low, high = np.minimum(a[:, 1], last), np.maximum(a[:, 1], last)
    view.all(~mine | ((low >= 0) & (high < m.rows_per_slice)), "address", "outside the slice")
    bank = m.rows_per_slice // m.banks_per_slice
    view.all(~mine | (low // bank == high // bank), "address", "runs over the end of its bank")
    first, end = a[:, 3] & 0xFFFF, a[:, 3] >> 16
    mapped = (a[:, 3] < 0) & (-1 - a[:, 3] < len(view.program.maps))
    lanes = mapped | ((a[:, 3] >= 0) & (first < end) & (end <= m.lanes))
    view.all((op != Op.WRITE) | lanes, "lanes", "there are not so many lanes")


def _vector(view: View) -> None:
    """Types of operands fit the function."""
    c, alu = view.code, view.op == Op.ALU
    same = np.isin(view.a[:, 0], [FUNCTIONS.index("move")])
    view.all(~(alu & same) | (c["ins"]["dtype"][:, 0] == c["dtype"]), "type", "a move changes no type")


def _switch(view: View) -> None:
    """Maps that there are; distances inside the lanes; whole blocks of 16 rows."""
    m, op, a = view.machine, view.op, view.a
    mapped = np.isin(op, [Op.PERMUTE, Op.DISTRIBUTE])
    view.all(~mapped | ((a[:, 0] >= 0) & (a[:, 0] < len(view.program.maps))), "map", "there is no such map")
    shifts = op == Op.SHIFT
    inside = (a[:, 1] >= 0) & (a[:, 1] < a[:, 2]) & (a[:, 2] <= m.lanes) & (np.abs(a[:, 0]) < m.lanes)
    view.all(~shifts | inside, "lanes", "there are not so many lanes")
    view.all((op != Op.TRANSPOSE) | (view.count % 16 == 0), "rows", "a transposer takes blocks of 16 rows")
    maps = view.program.maps
    if maps.size and (maps.min() < -1 or maps.max() >= m.lanes or maps.shape[1] != m.lanes):
        view.fault("map", -1, "a map names lanes that there are not")
        return
    per = m.lanes_per_superlane
    lane = np.arange(m.lanes)
    for number in np.unique(a[op == Op.DISTRIBUTE, 0]).tolist():
        away = (maps[number] >= 0) & (maps[number] // per != lane // per)
        if away.any():
            view.fault("map", int(np.flatnonzero((op == Op.DISTRIBUTE) & (a[:, 0] == number))[0]), "leaves a superlane")


def _matrix(view: View) -> None:
    """Planes, lanes and accumulators that there are."""
    c, m, op, a = view.code, view.machine, view.op, view.a
    half = c["dtype"] == 1
    per = m.planes_per_hemisphere
    load = op == Op.LOAD
    rows = view.count * a[:, 2] // np.where(half, 2, 1)
    most = np.where(half, m.float_rows, m.lanes)
    bundle = np.where(half, m.weight_streams, m.weight_streams)
    view.all(~load | ((a[:, 2] >= 1) & (a[:, 2] <= bundle)), "weights", "more streams than a plane takes")
    view.all(~load | (a[:, 3] == np.where(half, 2, 0)), "weights", "are of another type")
    spare = a[:, 2] // np.where(half, 2, 1)
    wanted = view.row_step - view.row
    whole = (rows >= wanted) & (rows - wanted < np.maximum(spare, 1)) & (wanted <= most)
    view.all(~load | whole, "weights", "more or fewer rows than they are for")
    view.all((op != Op.INSTALL) | ((view.count == 1) & (a[:, 1] == half)), "weights", "are installed at once")
    activate = op == Op.ACTIVATE
    inside = (a[:, 1] >= 0) & (a[:, 1] < a[:, 2]) & (a[:, 2] <= m.lanes) & (a[:, 2] - a[:, 1] <= most)
    view.all(~activate | inside, "lanes", "there are not so many lanes")
    typed = (c["dtype"] <= 1) & (c["ins"]["dtype"][:, 0] == c["dtype"]) & (a[:, 3] == half)
    view.all(~activate | typed, "type", "products are of i8 or f16")
    both = np.isin(op, [Op.LOAD, Op.INSTALL, Op.ACTIVATE]) & half
    view.all(~both | (a[:, 0] % per == 0), "plane", "f16 takes all planes of a hemisphere from the first on")
    sums = op == Op.ACCUMULATE
    inside = (a[:, 1] >= 0) & (a[:, 1] + view.count <= m.accumulator_rows)
    view.all(~sums | inside, "accumulate", "more rows than there are accumulators")
    flags = np.isin(a[:, 2], [0, 1]) & np.isin(a[:, 3], [0, 1])
    view.all(~sums | flags, "accumulate", "flags are 0 or 1")
