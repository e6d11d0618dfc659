"""Rules of things that only one may use at a time: queues, units, ports, banks, planes."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.checker.view import MATRIX, MEMORY, View
from elsewhere.compiler.targets.tsp.program import Op


def check_ports(view: View) -> None:
    """Nothing is used twice in one cycle."""
    op, issue, count, everyone = view.op, view.issue, view.count, view.everyone
    view.disjoint(view.queue, issue, np.ones_like(issue), everyone, "queue")
    busy = ~np.isin(op, MEMORY)
    view.disjoint(view.queue[busy], issue[busy], count[busy], everyone[busy], "unit")
    for ops, rule in (((Op.READ, Op.GATHER), "read port"), ((Op.WRITE, Op.SCATTER), "write port")):
        mine = np.isin(op, ops)
        view.disjoint(view.a[mine, 0], issue[mine], count[mine], everyone[mine], rule)
    m = view.machine
    mine = np.isin(op, MEMORY)
    bank = view.a[mine, 0] * m.banks_per_slice + view.a[mine, 1] // (m.rows_per_slice // m.banks_per_slice)
    view.disjoint(bank, issue[mine], count[mine], everyone[mine], "bank")
    # A unit that has slow and fast functions must not give two results in one cycle.
    alu = op == Op.ALU
    view.disjoint(view.queue[alu], (issue + view.delay)[alu], count[alu], everyone[alu], "result")
    _links(view)
    _planes(view)


def _links(view: View) -> None:
    """A packet has its link to itself for as long as its bytes take, on either end."""
    m = view.machine
    wire = int(-(-m.packet_bytes * 8 * m.clock_hz // m.link_bits_per_second))
    for link in range(m.links_in_node + m.links_global):
        out = np.flatnonzero((view.op == Op.SEND) & (view.a[:, 0] >> link & 1 == 1))
        in_ = np.flatnonzero((view.op == Op.RECEIVE) & (view.a[:, 0] == link))
        for mine, rule in ((out, "link"), (in_, "link in")):
            view.disjoint(np.full(len(mine), link), view.issue[mine], np.full(len(mine), wire), mine, rule)


def _planes(view: View) -> None:
    """f16 takes all planes of a hemisphere at once."""
    per = view.machine.planes_per_hemisphere
    for operation in MATRIX[:3]:
        mine = view.op == operation
        half = mine & (view.code["dtype"] == 1)
        plane = [view.a[mine, 0]] + [view.a[half, 0] + i for i in range(1, per)]
        who = [view.everyone[mine]] + [view.everyone[half]] * (per - 1)
        joined = np.concatenate(who)
        view.disjoint(np.concatenate(plane), view.issue[joined], view.count[joined], joined, "plane")
