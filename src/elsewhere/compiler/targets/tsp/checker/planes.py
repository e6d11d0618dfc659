"""Rules of the matrix unit: the weights and the sums that are meant, in the plane and accumulators where they are."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.checker.view import View
from elsewhere.compiler.targets.tsp.program import Op


def check_planes(view: View) -> None:
    """Follows every plane's buffer, installed weights and accumulators through time."""
    per = view.machine.planes_per_hemisphere
    half = view.code["dtype"] == 1
    for plane in range(view.machine.planes):
        # f16 is driven through a hemisphere's first plane and takes all of them.
        mine = np.where(half, view.a[:, 0] // per == plane // per, view.a[:, 0] == plane)
        _weights(view, np.flatnonzero(mine & np.isin(view.op, [Op.LOAD, Op.INSTALL, Op.ACTIVATE])))
        driven = view.a[:, 0] == plane
        rows = np.flatnonzero(driven & (view.op == Op.ACTIVATE))
        sums = np.flatnonzero(driven & (view.op == Op.ACCUMULATE))
        _paired(view, rows, sums)
        _sums(view, sums)


def _weights(view: View, events: np.ndarray) -> None:
    """Weights are whole before they are installed, are the ones meant, and stay while rows pass."""
    install_cycles = view.machine.weights_install
    buffer, free_buffer = -1, 0  # which load fills the buffer; from when it is whole
    held, ready, busy = -1, 0, 0  # which load's weights are installed; from when; until when rows pass
    order = events[np.lexsort((view.op[events], view.issue[events]))]
    for i in order.tolist():
        issue, end = int(view.issue[i]), int(view.issue[i] + view.count[i])
        if view.op[i] == Op.LOAD:
            if buffer >= 0 or issue < free_buffer:
                view.fault("weights", i, "loads over weights that are not installed yet")
            buffer, free_buffer = i, end
        elif view.op[i] == Op.INSTALL:
            if buffer < 0 or free_buffer > issue or view.meant[buffer] != view.meant[i]:
                view.fault("weights", i, "installs weights that are not whole, or not those that are meant")
            if busy > issue:
                view.fault("weights", i, "installs weights under passing rows")
            held, ready, buffer, free_buffer = buffer, issue + install_cycles, -1, issue + 1
        else:
            if held < 0 or ready > issue:
                view.fault("weights", i, "rows come before their weights")
            elif view.meant[held] != view.meant[i]:
                view.fault("weights", i, "rows meet other weights than are meant")
            elif (view.row[held], view.row_step[held]) != (view.a[i, 1], view.a[i, 2]):
                view.fault("lanes", i, "takes other lanes than its weights are for")
            elif view.code["dtype"][held] != view.code["dtype"][i]:
                view.fault("type", i, "rows and weights are of different types")
            busy = max(busy, end)


def _paired(view: View, rows: np.ndarray, sums: np.ndarray) -> None:
    """Products come out `matrix_multiply` cycles later and are taken by the sums that they are meant for."""
    wanted = {int(view.issue[i]) + view.machine.matrix_multiply: i for i in rows.tolist()}
    for i in sums.tolist():
        source = wanted.pop(int(view.issue[i]), None)
        if source is None or view.count[source] != view.count[i]:
            view.fault("accumulate", i, "takes products that are not there")
        elif view.meant[i] != view.row_step[source] or view.row[i] != view.row[source]:
            view.fault("accumulate", i, "takes products of other sums")
        elif view.code["dtype"][i] != 2 + int(view.code["dtype"][source] == 1):
            view.fault("type", i, "i8 products are summed in i32, f16 products in f32")
    for source in wanted.values():
        view.fault("accumulate", source, "products that nobody takes")


def _sums(view: View, sums: np.ndarray) -> None:
    """Each sum starts at zero, gets its segments one after the other, and leaves with the last."""
    machine = view.machine
    number = np.full(machine.accumulator_rows, -1, np.int64)
    segment = np.full(machine.accumulator_rows, -1, np.int64)
    last: dict[int, int] = {}
    for i in sums.tolist():
        last[int(view.meant[i])] = max(last.get(int(view.meant[i]), -1), int(view.row_step[i]))
    for i in sums[np.argsort(view.issue[sums], kind="stable")].tolist():
        first, end = int(view.a[i, 1]), int(view.a[i, 1] + view.count[i])
        meant, part = int(view.meant[i]), int(view.row_step[i])
        if first != view.row[i]:
            view.fault("accumulate", i, "other accumulators than are meant")
        if view.a[i, 2] != (part > 0):
            view.fault("accumulate", i, "the first segment starts a sum, all others are added")
        here = slice(first, end)
        if part and ((number[here] != meant) | (segment[here] != part - 1)).any():
            view.fault("accumulate", i, "adds to other sums, or out of turn")
        if not part and (number[here] >= 0).any():
            view.fault("accumulate", i, "overwrites sums that were not sent yet")
        number[here], segment[here] = meant, part
        if view.a[i, 3]:
            if part != last[meant]:
                view.fault("accumulate", i, "sums leave before their last segment")
            number[here] = -1
    if (number >= 0).any():
        view.fault("accumulate", int(sums[-1]), "sums that never leave")
