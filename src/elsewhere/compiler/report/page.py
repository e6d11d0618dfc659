"""The report as one HTML file: template, style, script and data in it, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.text import show
from elsewhere.compiler.ir.types import DTYPES
from elsewhere.compiler.passes.precision import Report
from elsewhere.compiler.plan.memory import round_up
from elsewhere.compiler.report.account import Account
from elsewhere.compiler.report.schedule import timeline
from elsewhere.compiler.report.timing import Timing
from elsewhere.compiler.targets.cpu.program import Program
from elsewhere.compiler.targets.cpu.rates import Rates

TEXT_LIMIT = 2**22
"""Characters of a stage's text that the page holds."""

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def write_page(
    path: str | os.PathLike[str],
    *,
    name: str,
    precision: str,
    stages: Sequence[tuple[str, Graph]],
    program: Program,
    accounts: Sequence[Account],
    rates: Rates,
    timings: Mapping[int, Timing],
    quantisation: Report | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes the page to `path`, whole or not at all. Raises OSError.

    `stages` are graphs by the name of the pass that made them, `timings` whole runs by the number of cores, `facts`
    further lines for the head of the page.
    """
    data = {
        "name": name,
        "precision": precision,
        "machine": program.machine.rsplit(" ", 1)[0],
        "facts": dict(facts or {}),
        "totals": totals(program, accounts, rates),
        "timings": {
            str(n): {q: t.quantile(s) for q, s in QUANTILES.items()} | {"least": t.least, "runs": t.seconds.size}
            for n, t in timings.items()
        },
        "rates": asdict(rates),
        "kernels": [asdict(a) | {"bound": a.bound} for a in accounts],
        "schedules": [_schedule(program, accounts, threads) for threads in sorted(program.schedules)],
        "memory": _memory(program),
        "stages": _stages(stages),
        "quantisation": None if quantisation is None else asdict(quantisation),
    }
    template = resources.files("elsewhere.compiler.report").joinpath("template.html").read_text(encoding="utf-8")
    # `<` would end the script element early if a place in the model were called "</script>".
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    title = name.replace("&", "&amp;").replace("<", "&lt;")
    parts = {"@TITLE@": title, "@DATA@": said}
    page = re.sub("@TITLE@|@DATA@", lambda match: parts[match[0]], template)
    _write(Path(path), page.encode())


def totals(program: Program, accounts: Sequence[Account], rates: Rates) -> dict[str, Any]:
    """Sums over the whole network, and the share of the measured peak that one core reaches."""
    seconds = sum(a.seconds for a in accounts)
    best = sum(a.products for a in accounts)
    return {
        "kernels": len(accounts),
        "functions": len({e.key for e in program.entries}),
        "meetings": len(program.meetings) + 1,
        "multiplications": sum(a.multiplications for a in accounts),
        "seconds": seconds,
        "bound": sum(min(a.bound, a.seconds) for a in accounts),
        "peak_share": best / seconds if seconds else 0.0,
        "arena": program.arena_bytes,
        "live": program.live_bytes,
        "weights": int(program.data.size),
        "code": len(program.code),
    }


def _schedule(program: Program, accounts: Sequence[Account], threads: int) -> dict[str, Any]:
    line = timeline(program, [a.seconds for a in accounts], threads)
    return {
        "threads": threads,
        "seconds": line.seconds,
        "spans": [[s.core, s.kernel, s.start, s.end] for s in line.spans],
        "meetings": list(line.meetings),
        "waiting": [line.waiting(core) for core in range(threads)],
    }


def _memory(program: Program) -> dict[str, Any]:
    ends = [
        port.offset + round_up(DTYPES[port.dtype] * _size(port.shape))
        for port in (*program.inputs, *program.outputs, *program.states)
    ]
    return {
        "arena": program.arena_bytes,
        "live": program.live_bytes,
        "fixed": max(ends, default=0),
        "steps": 1 + max((last for _, _, _, last in program.blocks), default=0),
        "blocks": [list(block) for block in program.blocks],
        "ports": [[p.name, p.offset, DTYPES[p.dtype] * _size(p.shape)] for p in (*program.inputs, *program.outputs)],
    }


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _stages(stages: Sequence[tuple[str, Graph]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before: Counter[str] = Counter()
    for name, graph in stages:
        text = show(graph)
        lines = Counter(re.sub(r"%\d+", "%", line.strip()) for line in text.splitlines())
        counts = Counter(_label(node.op, node.attributes) for node in graph.nodes)
        packed = zlib.compress(text[:TEXT_LIMIT].encode(), 9)
        found.append(
            {
                "name": name,
                "nodes": len(graph.nodes),
                "counts": dict(counts),
                "added": (lines - before).total() if found else 0,
                "removed": (before - lines).total() if found else 0,
                "text": base64.b64encode(packed).decode(),
                "cut": len(text) > TEXT_LIMIT,
            }
        )
        before = lines
    return found


def _label(op: str, attributes: Mapping[str, Any]) -> str:
    return f"fused {attributes['kind']}" if op == "fused" else op


def _write(path: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
