"""Rules of streams: an operand's rows were sent for it, arrive in its cycle, and nobody overwrites them on the way."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.checker.view import BYTES, CHAIN, STREAM, WESTWARD, Array, View
from elsewhere.compiler.targets.tsp.program import Op

NOWHERE = -(1 << 20)


def check_streams(view: View) -> None:
    """Arrivals, collisions, and that each end of a wire means the same streams by it."""
    made, taken = legs(view)
    _arrivals(view, made, taken)
    _collisions(view, made, taken)
    _ends(view)


def legs(view: View) -> tuple[Array, Array]:
    """Producers and consumers, a column for each byte: stream, diagonal, rows, place, wire, row, instruction."""
    made, taken = [], []
    c = view.code
    for slot in range(2):
        out = c["outs"][:, slot]
        for byte in range(4):
            mine = (out["stream"] >= 0) & (BYTES[out["dtype"]] > byte)
            stream = out["stream"][mine].astype(np.int64) + byte
            made.append(_lines(view, stream, (view.issue + view.delay)[mine], view.place_out[mine], mine, out))
    for slot in range(3):
        operand = c["ins"][:, slot]
        entry = np.where(view.op == Op.ALU, view.machine.vector_entry + operand["delay"].astype(np.int64), 0)
        bundle = np.where(view.op == Op.LOAD, view.a[:, 2], BYTES[operand["dtype"]])
        for byte in range(int(bundle.max(initial=0))):
            mine = (operand["kind"] == STREAM) & (bundle > byte)
            stream = operand["source"][mine].astype(np.int64) + byte
            taken.append(_lines(view, stream, (view.issue - entry)[mine], view.place[mine], mine, operand))
    return np.concatenate(made, axis=1), np.concatenate(taken, axis=1)


def _lines(view: View, stream: Array, time: Array, place: Array, mine: Array, note: Array) -> Array:
    diagonal = np.where(stream >= WESTWARD, time + place, time - place)
    wire, row = note["wire"][mine].astype(np.int64), note["row"][mine].astype(np.int64)
    return np.stack([stream, diagonal, view.count[mine], place, wire, row, view.everyone[mine]])


def _arrivals(view: View, made: Array, taken: Array) -> None:
    made = made[:, np.lexsort((made[5], made[0], made[4]))]
    key = _key(made[4], made[0])
    wanted = _key(taken[4], taken[0])
    stride = int(max(made[5].max(initial=0), taken[5].max(initial=0))) + 2
    at = np.searchsorted(_wide(key, made[5], stride), _wide(wanted, taken[5], stride), side="right") - 1
    at = np.maximum(at, 0)
    if not made.shape[1]:
        view.all(np.zeros(taken.shape[1], bool), "arrival", "nothing was sent", taken[6])
        return
    whole = (key[at] == wanted) & _fits(made[:, at], taken) & (made[5][at] <= taken[5])
    whole &= made[5][at] + made[2][at] >= taken[5] + taken[2]
    first = np.searchsorted(key, wanted, side="left")
    last = np.searchsorted(key, wanted, side="right")
    for i in np.flatnonzero(~whole).tolist():
        # Rows from several producers: their union must be all of them.
        part, leg = made[:, first[i] : last[i]], taken[:, i : i + 1]
        left = np.ones(int(leg[2, 0]), bool)
        for begin, rows in part[[5, 2]][:, _fits(part, leg)].T.tolist():
            begin -= int(leg[5, 0])
            left[max(0, begin) : max(0, begin + rows)] = False
        if left.any():
            row = int(np.argmax(left))
            view.fault("arrival", int(leg[6, 0]), f"row {row} is not on its stream in the cycle in which it is taken")


def _key(wire: Array, stream: Array) -> Array:
    return (wire + 1) * (4 * WESTWARD) + stream


def _wide(key: Array, row: Array, stride: int) -> Array:
    return key * stride + row + 1


def _fits(made: Array, taken: Array) -> Array:
    """Whether producers' rows pass consumers in the cycles in which these take them."""
    upstream = np.where(taken[0] >= WESTWARD, made[3] > taken[3], made[3] < taken[3])
    return upstream & (made[1] - made[5] == taken[1] - taken[5])


def _collisions(view: View, made: Array, taken: Array) -> None:
    """Two legs on one stream whose diagonals overlap must not share a stretch on which one is still needed."""
    key, wanted = _key(made[4], made[0]), _key(taken[4], taken[0])
    names, group = np.unique(wanted, return_inverse=True)
    far = np.full(len(names) + 1, NOWHERE)
    np.maximum.at(far, group.ravel(), np.where(taken[0] >= WESTWARD, -taken[3], taken[3]))
    at = np.searchsorted(names, key)
    found = (
        (at < len(names)) & (names[np.minimum(at, len(names) - 1)] == key) if len(names) else np.zeros(len(key), bool)
    )
    reach = np.where(found, far[np.where(found, at, len(names))], NOWHERE)
    origin = np.where(made[0] >= WESTWARD, -made[3], made[3])
    order = np.lexsort((made[1], made[0]))
    stream, start, count, who = made[0][order], made[1][order], made[2][order], made[6][order]
    origin, reach, wire = origin[order], reach[order], made[4][order]
    end, longest = start + count, count.max(initial=0)
    width = 1
    while width < len(order):
        # Pairs `width` apart in the order of diagonals; none overlap any more once the longest is passed.
        a, b = slice(0, len(order) - width), slice(width, len(order))
        alike = stream[a] == stream[b]
        near = alike & (start[b] < end[a])
        if not (alike & (start[b] < start[a] + longest)).any():
            break
        clash = near & (origin[b] >= origin[a]) & (origin[b] < reach[a])
        clash |= near & (origin[a] >= origin[b]) & (origin[a] < reach[b])
        same = near & (wire[a] == wire[b])
        for i in np.flatnonzero(clash | same)[: view.SHOWN].tolist():
            view.fault("collision", who[i + width], f"overwrites rows of instruction {who[i]} on stream {stream[i]}")
        width += 1


# -- what the ends of a wire say -------------------------------------------------------------------------------------


def _ends(view: View) -> None:
    """Units take and give whole values; a memory's byte must be the stream of that byte."""
    c, everyone = view.code, view.everyone
    single = np.isin(view.op, [Op.READ, Op.GATHER])
    parts: list[tuple[Array, ...]] = []
    wholes: list[tuple[Array, ...]] = []
    for slot in range(2):
        out = c["outs"][:, slot]
        sent = out["stream"] >= 0
        for mine, found in ((sent & single, parts), (sent & ~single, wholes)):
            found.append((out["wire"][mine], out["stream"][mine], out["dtype"][mine], everyone[mine]))
    for slot in range(3):
        operand = c["ins"][:, slot]
        streams = operand["kind"] == STREAM
        lone = (view.op == Op.WRITE) | ((view.op == Op.SCATTER) & (slot == 0))
        for mine, found in ((streams & lone, parts), (streams & ~lone, wholes)):
            kind = np.where(view.op[mine] == Op.LOAD, 16 + view.a[mine, 2], operand["dtype"][mine])
            found.append((operand["wire"][mine], operand["source"][mine], kind, everyone[mine]))
    wire, stream, kind, who = (np.concatenate(x).astype(np.int64) for x in zip(*wholes, strict=True))
    order = np.lexsort((who, wire))
    wire, stream, kind, who = wire[order], stream[order], kind[order], who[order]
    alike = (wire[1:] != wire[:-1]) | ((stream[1:] == stream[:-1]) & (kind[1:] == kind[:-1]))
    view.all(alike, "wire", "its ends mean other streams or types", who[1:])
    _bytes(view, parts, wire, stream, kind)


def _packets(view: View, wire: Array) -> tuple[Array, Array]:
    """A packet's stream carries one byte of a type; SEND and RECEIVE name both. Else byte 0, and -1 for the type."""
    c = view.code
    named: dict[int, tuple[int, int]] = {}
    for op, slot in ((Op.SEND, "ins"), (Op.RECEIVE, "outs")):
        mine = view.op == op
        meant = zip(view.row[mine].tolist(), view.row_step[mine].tolist(), strict=True)
        named.update(zip(c[slot]["wire"][mine, 0].tolist(), meant, strict=True))
    found = np.array([named.get(w, (0, -1)) for w in wire.tolist()], np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _bytes(view: View, parts: list[tuple[Array, ...]], wire: Array, stream: Array, kind: Array) -> None:
    mine, number, _, who = (np.concatenate(x).astype(np.int64) for x in zip(*parts, strict=True))
    at = np.minimum(np.searchsorted(wire, mine), max(0, len(wire) - 1))
    if not len(wire):
        view.all(np.zeros(len(mine), bool), "wire", "ends nowhere", who)
        return
    view.all(wire[at] == mine, "wire", "ends nowhere", who)
    strips = view.program.strips[np.clip(view.strip[who], 0, len(view.program.strips) - 1)]
    first, packet = _packets(view, wire)
    kind = np.where(packet >= 0, packet, kind)
    view.all(number - stream[at] + first[at] == strips["byte"], "byte", "another byte than the stream's", who)
    bundles = kind[at] >= 16
    view.all(bundles | (strips["dtype"] == kind[at]), "type", "rows are of another type than their wire", who)
    width = np.where(bundles, kind[at] - 16, BYTES[np.clip(kind[at], 0, 3)])
    view.all(strips["byte"] < width, "byte", "the wire has not so many", who)


def check_chains(view: View) -> None:
    """ALU to ALU: the result that is meant is there in the very cycle, from the very unit."""
    c, m = view.code, view.machine
    alu = np.flatnonzero(view.op == Op.ALU)
    order = alu[np.argsort(view.meant[alu], kind="stable")]
    numbers = view.meant[order]
    view.all(np.r_[True, numbers[1:] != numbers[:-1]], "chain", "two results of one number", order)
    reached = np.zeros(len(c), np.int64)  # the last row of each result that anyone takes
    taken = np.zeros(len(c), bool)
    for slot in range(3):
        operand = c["ins"][:, slot]
        who = np.flatnonzero((view.op == Op.ALU) & (operand["kind"] == CHAIN))
        if not len(who):
            continue
        row = operand["row"][who].astype(np.int64)
        wanted = operand["wire"][who].astype(np.int64)
        source = order[np.minimum(np.searchsorted(numbers, wanted), len(order) - 1)]
        exact = view.meant[source] == wanted
        exact &= view.queue[source] - m.slices == operand["source"][who]
        exact &= view.issue[source] + view.delay[source] + row == view.issue[who] - operand["delay"][who]
        exact &= (row >= 0) & (row + view.count[who] <= view.count[source])
        np.maximum.at(reached, source, row + view.count[who])
        taken[source] = True
        view.all(exact, "chain", "the result that it takes is not there in that cycle", who)
        typed = c["dtype"][source] == operand["dtype"][who]
        view.all(typed, "type", "takes a result as another type", who)
    whole = np.flatnonzero(taken)
    view.all(reached[whole] == view.count[whole], "chain", "has rows that nobody takes", whole)


def check_filled(view: View) -> None:
    """A write takes no lanes that the switch unit left empty."""
    c, lanes = view.code, view.machine.lanes
    maps = view.program.maps
    limited = np.flatnonzero(
        ((view.op == Op.SHIFT) & (view.a[:, 3] == 0) & (view.a[:, 2] - view.a[:, 1] < lanes))
        | np.isin(view.op, [Op.PERMUTE, Op.DISTRIBUTE])
    )
    if not len(limited):
        return
    wires = c["outs"]["wire"][limited, 0].astype(np.int64)
    order = np.argsort(wires, kind="stable")
    wires, limited = wires[order], limited[order]
    writes = np.flatnonzero(view.op == Op.WRITE)
    mine = c["ins"]["wire"][writes, 0].astype(np.int64)
    at = np.minimum(np.searchsorted(wires, mine), len(wires) - 1)
    pairs = wires[at] == mine
    source, writes = limited[at[pairs]], writes[pairs]
    keys = np.stack([view.op[source].astype(np.int64), *view.a[source, :3].T, view.a[writes, 3]], axis=1)
    kinds, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    for number, (op, first, low, high, mask) in enumerate(kinds.tolist()):
        there = np.zeros(lanes, bool)
        if op == Op.SHIFT:
            there[low:high] = True
        else:
            there = maps[first] >= 0
        wanted = maps[-1 - mask] >= 0 if mask < 0 else np.zeros(lanes, bool)
        if mask >= 0:
            wanted[mask & 0xFFFF : mask >> 16] = True
        if (wanted & ~there).any():
            who = int(writes[np.argmax(group == number)])
            view.fault("lanes", who, "writes lanes that the switch unit left empty")
