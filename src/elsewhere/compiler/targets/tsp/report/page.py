"""The report as one HTML file: style, script and numbers in it, nothing fetched from anywhere."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from elsewhere.compiler.targets.tsp.program import FUNCTIONS, TYPES, Op
from elsewhere.compiler.targets.tsp.report import pack
from elsewhere.compiler.targets.tsp.report.account import Report
from elsewhere.compiler.targets.tsp.report.layers import as_json
from elsewhere.compiler.targets.tsp.report.timeline import timeline_labels, timeline_rows
from elsewhere.compiler.targets.tsp.report.waits import KINDS


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
        "labels": timeline_labels(report),
        "symbols": list(program.symbols),
        "values": report.machine(),
        "rows": timeline_rows(report),
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
