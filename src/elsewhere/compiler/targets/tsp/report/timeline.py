"""Lines of a timeline and the stretches that its labels cover: for the page and for pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.program import Op, Queues
from elsewhere.compiler.targets.tsp.report.account import Report

CORE = 0.98
"""Share of a layer's rows that its label covers; weights may be loaded long before."""


def timeline_labels(report: Report) -> list[list[int]]:
    """(symbol, first, last): the stretch of cycles in which nearly all of a layer's work is done."""
    code = report.program.code
    made = []
    for layer in report.layers:
        mine = code[(code["symbol"] == layer.number) & (code["issue"] >= layer.start)]
        work = mine[np.isin(mine["op"], (Op.ACTIVATE, Op.ALU))]
        mine = work if len(work) else mine
        mine = mine[np.argsort(mine["issue"], kind="stable")]
        share = np.cumsum(mine["count"]) / mine["count"].sum()
        low, high = np.searchsorted(share, ((1 - CORE) / 2, (1 + CORE) / 2))
        first, last = mine[low], mine[min(int(high), len(mine) - 1)]
        made.append([layer.number, int(first["issue"]), int(last["issue"] + last["count"])])
    return made


def timeline_rows(report: Report) -> list[dict[str, Any]]:
    """Lines of the timeline from the chip's west to its east: name, group and queue."""
    m = report.program.machine
    queues = Queues(m)
    half, per = m.slices_per_hemisphere, m.planes_per_hemisphere
    first = queues.switch(0, "shift", 0)
    each = queues.switch(1, "shift", 0) - first
    sides: list[list[tuple[str, list[int]]]] = []
    for side in (0, 1):
        memory = list(range(side * half, (side + 1) * half))
        planes = [(f"MXM {p}", [queues.matrix(p, k) for k in range(3)]) for p in range(side * per, (side + 1) * per)]
        switch = list(range(first + side * each, first + (side + 1) * each))
        name = ("west", "east")[side]
        sides.append([(f"MEM {name}", memory), (f"SXM {name}", switch), *planes])
    west = [(name, found[::-1]) if name.startswith("MEM") else (name, found) for name, found in sides[0][::-1]]
    middle = [("VXM", [queues.alu(i) for i in range(m.alus)])]
    links = [
        (f"C2C {n}", [queues.link(side, i) for i in range(m.link_queues)]) for side, n in enumerate(("west", "east"))
    ]
    used = report.program.code["queue"].max(initial=0) >= queues.link(0, 0)
    edges = (links[:1], links[1:]) if used else ([], [])
    return [
        {"group": name, "queues": found, "names": [queues.name(q) for q in found]}
        for name, found in [*edges[0], *west, *middle, *sides[1], *edges[1]]
    ]
