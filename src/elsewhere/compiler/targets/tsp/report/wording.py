"""Instructions in words: what a person reads of one line of a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.program import FUNCTIONS, TYPES, WIDTH, Kind, Op, Program, Queues


def sentences(program: Program, layer: str = "", limit: int = 1 << 60) -> list[dict[str, Any]]:
    """Issue cycle, queue, text and layer of instructions in the order of issue, of places that begin with `layer`."""
    code = program.code
    wanted = np.array([s.startswith(layer) for s in program.symbols])
    mine = np.flatnonzero(wanted[code["symbol"]])[:limit]
    queues = Queues(program.machine)
    return [
        {
            "instruction": i,
            "issue": int(code["issue"][i]),
            "queue": queues.name(int(code["queue"][i])),
            "count": int(code["count"][i]),
            "text": sentence(code[i]),
            "layer": program.symbols[int(code["symbol"][i])],
        }
        for i in mine.tolist()
    ]


def sentence(row: Any) -> str:
    """One instruction: what it does, how often, from where to where."""
    op, a = Op(int(row["op"])), row["a"].tolist()
    took = " ".join(_operand(o, op, a) for o in row["ins"] if o["kind"])
    gave = " ".join(_streams(int(o["stream"]), WIDTH[TYPES[o["dtype"]]]) for o in row["outs"] if o["stream"] >= 0)
    said = {
        Op.READ: f"Read [{a[1]}{_step(a[2])}]",
        Op.WRITE: f"Write [{a[1]}{_step(a[2])}]",
        Op.GATHER: f"Gather [{a[1]}+index, {a[2]} rows]",
        Op.SCATTER: f"Scatter [{a[1]}+index, {a[2]} rows]",
        Op.SHIFT: f"Shift {a[0]:+d} lanes",
        Op.PERMUTE: f"Permute map {a[0]}",
        Op.DISTRIBUTE: f"Distribute map {a[0]}",
        Op.TRANSPOSE: "Transpose 16×16",
        Op.LOAD: f"LW {a[2]} streams",
        Op.INSTALL: "IW",
        Op.ACTIVATE: f"ABC lanes {a[1]}–{a[2] - 1}",
        Op.ACCUMULATE: f"ACC {'add' if a[2] else 'set'} row {a[1]}{', send' if a[3] else ''}",
    }.get(op)
    if said is None:
        said = f"{FUNCTIONS[a[0]]}.{TYPES[row['dtype']]}" if op == Op.ALU else op.name.lower()
    count = int(row["count"])
    repeat = f" ×{count}" if count > 1 else ""
    return f"{said}{repeat}{' ← ' + took if took else ''}{' → ' + gave if gave else ''}"


def _step(step: int) -> str:
    return "" if step in (0, 1) else f" step {step}"


def _operand(operand: Any, op: Op, a: list[int]) -> str:
    kind, dtype, source, delay = (
        Kind(operand["kind"]),
        TYPES[operand["dtype"]],
        int(operand["source"]),
        operand["delay"],
    )
    late = f"(−{delay})" if delay else ""
    if kind == Kind.STREAM:
        return _streams(source, a[2] if op == Op.LOAD else WIDTH[dtype]) + late
    if kind == Kind.ALU:
        return f"alu{source}{late}"
    value = source if dtype in ("i8", "i32") else float(np.array(source, np.int32).view(np.float32))
    return f"#{value:g}"


def _streams(first: int, width: int) -> str:
    side, number = ("w", first - 256) if first >= 256 else ("e", first)
    return f"{side}{number}" if width == 1 else f"{side}{number}–{number + width - 1}"
