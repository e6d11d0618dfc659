"""The report as one HTML file: style, script and numbers in it, nothing fetched from anywhere."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.program import FUNCTIONS, TYPES, Op, Queues
from elsewhere.compiler.targets.tsp.report import pack
from elsewhere.compiler.targets.tsp.report.account import Report
from elsewhere.compiler.targets.tsp.report.layers import as_json
from elsewhere.compiler.targets.tsp.report.waits import KINDS

CORE = 0.98
"""Share of a layer's rows that its label in the timeline covers; weights may be loaded long before."""


def page(report: Report, title: str) -> str:
    """The whole page. Equal programs give equal pages."""
    program = report.program
    columns, starts = pack.instructions(report)
    found = [columns, pack.flows(report), pack.chain(report), pack.memory(program), pack.streams(program)]
    merged = {name: column for part in found for name, column in part.items()}
    # Wide columns first, so that each begins where its type may begin.
    ordered = dict(sorted(merged.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    data = {
        "title": title,
        "machine": program.machine.name,
        "clock": program.machine.clock_hz,
        "totals": report.totals(),
        "critical": report.critical(),
        "layers": [as_json(layer) | {"symbol": layer.number} for layer in report.layers],
        "labels": _labels(report),
        "symbols": list(program.symbols),
        "values": report.machine(),
        "rows": _rows(report),
        "starts": starts,
        "slices": program.machine.slices,
        "half": program.machine.slices_per_hemisphere,
        "banks": program.machine.banks_per_slice,
        "bank_rows": program.machine.bank_rows,
        "streams": program.machine.streams,
        "kinds": list(KINDS),
        "ops": {int(op): op.name for op in Op},
        "functions": list(FUNCTIONS),
        "types": list(TYPES),
        "packed": pack.pack(ordered),
    }
    template = resources.files("elsewhere.compiler.targets.tsp.report").joinpath("template.html").read_text("utf-8")
    # `<` would end the script element early if a place in the model were called "</script>".
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_plain).replace("<", "\\u003c")
    name = title.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub("@TITLE@|@DATA@", lambda match: {"@TITLE@": name, "@DATA@": said}[match[0]], template)


def _plain(value: Any) -> Any:
    return value.item()


def _labels(report: Report) -> list[list[int]]:
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


def _rows(report: Report) -> list[dict[str, Any]]:
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
    return [
        {"group": name, "queues": found, "names": [queues.name(q) for q in found]}
        for name, found in [*west, *middle, *sides[1]]
    ]
