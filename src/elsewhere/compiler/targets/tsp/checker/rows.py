"""Rules of memory: what is read is the row that is meant, whole, and stays what it was until nobody needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.checker.view import MEMORY, Array, View
from elsewhere.compiler.targets.tsp.program import CONSTANT, GIVEN, KEPT, Op, Port

ROWS = 1 << 20
"""A tag is strip · ROWS + row."""
NOTHING = -1


def check_strips(view: View) -> bool:
    """Memory instructions go where their strips lie, in the rows that are meant. False if not."""
    strips, m, before = view.program.strips, view.machine, len(view.faults)
    mine = np.flatnonzero(np.isin(view.op, MEMORY))
    bank = m.rows_per_slice // m.banks_per_slice
    used = np.unique(np.r_[view.strip[mine], np.flatnonzero(strips["flags"] != 0)])
    s = strips[used]
    first, rows = s["address"].astype(np.int64), s["rows"].astype(np.int64)
    inside = (rows >= 1) & (rows < ROWS) & (first >= 0) & (first + rows <= m.rows_per_slice) & (s["slice"] >= 0)
    inside &= (s["slice"] < m.slices) & (first // bank == (first + rows - 1) // bank)
    inside &= (s["lanes"] >= 1) & (s["lanes"] <= m.lanes)
    view.all(inside, "strip", "lies outside the memory", np.full(len(used), -1))
    strip, a, who = strips[view.strip[mine]], view.a[mine], mine
    plain = np.isin(view.op[mine], [Op.READ, Op.WRITE])
    row, step, count = view.row[mine], view.row_step[mine], view.count[mine]
    last = row + step * (count - 1)
    there = (np.minimum(row, last) >= 0) & (np.maximum(row, last) < strip["rows"])
    view.all(~plain | there, "strip", "has not so many rows", who)
    view.all(a[:, 0] == strip["slice"], "strip", "lies in another slice", who)
    view.all(a[:, 1] == strip["address"] + np.where(plain, row, 0), "strip", "lies at another address", who)
    walks = ~plain | (count == 1) | (a[:, 2] == step)
    view.all(walks, "strip", "is walked through in other steps than meant", who)
    view.all(plain | (a[:, 2] == strip["rows"]), "strip", "has more or fewer rows than may be chosen", who)
    constant = (strip["flags"] & CONSTANT) != 0
    view.all(~constant | np.isin(view.op[mine], [Op.READ, Op.GATHER]), "constant", "is written", who)
    return len(view.faults) == before


def check_rows(view: View) -> None:
    """Row by row, in the order of cycles: one strip's row is written, then read, and only then is another's."""
    tag, time, who, writes, first = _events(view)
    strips = view.program.strips
    address = _address(view, tag)
    order = np.lexsort((writes, time, first, address))
    tag, time, who, writes, first = tag[order], time[order], who[order], writes[order], first[order]
    address = address[order]
    given = who < 0
    starts = np.r_[True, address[1:] != address[:-1]] if len(address) else np.zeros(0, bool)
    before = np.where(starts, NOTHING, np.r_[NOTHING, tag[:-1]])
    reads = ~writes & ~given
    _told(view, reads & (before != tag), tag, who, "is read where it is not")
    late = reads & ~starts & np.r_[False, writes[:-1]] & (time - np.r_[0, time[:-1]] < view.machine.memory_write)
    _told(view, late, tag, who, "is read before it is written")
    again = writes & (before == tag) & np.r_[False, ~writes[:-1]]
    _told(view, again, tag, who, "is written after it was read or given")
    begins = (writes | given) & (before != tag)
    names, counts = np.unique(tag[begins], return_counts=True)
    twice = begins & np.isin(tag, names[counts > 1])
    _told(view, twice, tag, who, "is written again after another's was")
    held = np.r_[address[1:] != address[:-1], True] if len(address) else starts
    _kept(view, tag[held])
    needed = np.unique(np.r_[tag[reads], _all_rows(np.flatnonzero((strips["flags"] & KEPT) != 0), strips)])
    _whole(view, needed, np.unique(tag[given]))


def _told(view: View, wrong: Array, tag: Array, who: Array, message: str) -> None:
    for i in np.flatnonzero(wrong)[: view.SHOWN].tolist():
        strip, row = divmod(int(tag[i]), ROWS)
        view.fault("memory", who[i], f"row {row} of strip {strip} {message}")


def _events(view: View) -> tuple[Array, ...]:
    """Rows touched: tag, cycle, instruction (-1: given before the first), whether written, and the order of givens."""
    strips = view.program.strips
    plain = np.flatnonzero(np.isin(view.op, [Op.READ, Op.WRITE]))
    count = view.count[plain]
    inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    who = np.repeat(plain, count)
    tag = view.strip[who] * ROWS + view.row[who] + view.row_step[who] * inside
    parts = [(tag, view.issue[who] + inside, who, view.op[who] == Op.WRITE)]
    # Which row an index chooses nobody knows: all of them must be there, from the first cycle to the last.
    for index in np.flatnonzero(np.isin(view.op, [Op.GATHER, Op.SCATTER])).tolist():
        rows = _all_rows(view.strip[index : index + 1], strips)
        ends = sorted({int(view.issue[index]), int(view.issue[index] + view.count[index] - 1)})
        for time in ends:
            full = np.full(len(rows), index)
            parts.append((rows, np.full(len(rows), time), full, np.full(len(rows), view.op[index] == Op.SCATTER)))
    given = _all_rows(np.flatnonzero((strips["flags"] & GIVEN) != 0), strips)
    parts.append((given, np.full(len(given), -1), np.full(len(given), -1), np.zeros(len(given), bool)))
    tags, times, whose, written = (np.concatenate(x) for x in zip(*parts, strict=True))
    return tags, times, whose, written, (whose >= 0).astype(np.int8)


def _all_rows(numbers: Array, strips: Array) -> Array:
    """Tags of all rows of some strips."""
    rows = strips["rows"][numbers].astype(np.int64)
    inside = np.arange(int(rows.sum())) - np.repeat(np.cumsum(rows) - rows, rows)
    return np.repeat(numbers.astype(np.int64) * ROWS, rows) + inside


def _address(view: View, tag: Array) -> Array:
    strip, row = np.divmod(tag, ROWS)
    table = view.program.strips
    return table["slice"][strip].astype(np.int64) * view.machine.rows_per_slice + table["address"][strip] + row


def _kept(view: View, last: Array) -> None:
    """Memory holds in the end all that outputs are read from; ports lie on strips of their kind."""
    strips = view.program.strips
    wanted = _all_rows(np.flatnonzero((strips["flags"] & KEPT) != 0), strips)
    lost = wanted[~np.isin(wanted, last)]
    for tag in lost[: view.SHOWN].tolist():
        view.fault("output", -1, f"row {tag % ROWS} of strip {tag // ROWS} is not there after the last cycle")
    image: Any = [(s, a, len(d), 0) for s, a, d in view.program.image]
    _covered(view, np.array(image, np.int64).reshape(-1, 4), CONSTANT, "constants")
    for flag, ports in ((GIVEN, view.program.inputs), (KEPT, view.program.outputs)):
        for port in ports:
            _covered(view, _pieces(port), flag, port.name)


def _pieces(port: Port) -> Array:
    """Slice, address, rows and byte of all that a port consists of."""
    return port.pieces[:, [5, 6, 4, 2]]


def _covered(view: View, pieces: Array, flag: int, name: str) -> None:
    """Each piece is one strip of the kind."""
    strips = view.program.strips
    mine = strips[(strips["flags"] & flag) != 0]
    there = {tuple(x) for x in np.stack([mine[n] for n in ("slice", "address", "rows", "byte")], axis=1).tolist()}
    loose = {x[:3] for x in there}
    for piece in pieces.tolist():
        found = tuple(piece[:3]) in loose if flag == CONSTANT else tuple(piece) in there
        if not found:
            view.fault("port", -1, f"{name}: slice {piece[0]}, address {piece[1]}, {piece[2]} rows is no strip")
            return


# -- lanes -----------------------------------------------------------------------------------------------------------


def _whole(view: View, needed: Array, given: Array) -> None:
    """Every lane that means something was written, and none twice, in all rows that somebody reads."""
    m, maps = view.machine, view.program.maps
    who = np.flatnonzero(view.op == Op.WRITE)
    mask = view.a[who, 3]
    every = mask == m.lanes << 16
    full = _tags(view, who[every])
    names, counts = np.unique(full, return_counts=True)
    for tag in names[counts > 1][: view.SHOWN].tolist():
        view.fault("memory", -1, f"row {tag % ROWS} of strip {tag // ROWS} is written twice")
    partly = who[~every]
    if len(partly):
        names = np.r_[names, _patched(view, partly, names, maps)]
    lost = needed[~np.isin(needed, names, assume_unique=False) & ~np.isin(needed, given)]
    lost = lost[~np.isin(lost // ROWS, view.strip[view.op == Op.SCATTER])]
    for tag in lost[: view.SHOWN].tolist():
        view.fault(
            "lanes", -1, f"row {tag % ROWS} of strip {tag // ROWS} is read, but not all of its lanes were written"
        )


def _tags(view: View, who: Array) -> Array:
    count = view.count[who]
    inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    each = np.repeat(who, count)
    return view.strip[each] * ROWS + view.row[each] + view.row_step[each] * inside


def _patched(view: View, partly: Array, full: Array, maps: Array) -> Array:
    """Tags of rows whose lanes were written part by part, each once; `full` were written whole."""
    strips, lanes = view.program.strips, view.machine.lanes
    order = partly[np.argsort(view.strip[partly], kind="stable")]
    numbers = view.strip[order]
    cuts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1], True])
    complete = []
    for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        number = int(numbers[begin])
        change = np.zeros((int(strips["rows"][number]), lanes + 1), np.int16)
        for who in order[begin:end].tolist():
            rows = view.row[who] + view.row_step[who] * np.arange(view.count[who])
            mask = int(view.a[who, 3])
            if mask >= 0:
                np.add.at(change, (rows, mask & 0xFFFF), 1)
                np.add.at(change, (rows, mask >> 16), -1)
            else:
                edge = np.diff(np.r_[0, maps[-1 - mask] >= 0, 0].astype(np.int16))
                np.add.at(change, rows, edge)
        times = np.cumsum(change[:, :-1], axis=1)
        first, last = np.searchsorted(full, [number * ROWS, (number + 1) * ROWS])
        times[full[first:last] % ROWS] += 1
        twice = np.flatnonzero((times > 1).any(axis=1))
        for row in twice[:2].tolist():
            lane = int(np.argmax(times[row] > 1))
            view.fault("lanes", order[begin], f"lane {lane} of row {row} of strip {number} is written twice")
        whole = np.flatnonzero((times[:, : int(strips["lanes"][number])] > 0).all(axis=1))
        complete.append(number * ROWS + whole)
    return np.concatenate(complete)
