"""The table by layer: cycles achieved, the bounds of matrix work and of loading, and what the gap is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.program import Op, Program
from elsewhere.compiler.targets.tsp.report.flows import MEMORY, Flows
from elsewhere.compiler.targets.tsp.report.waits import FIRST, KINDS, Step, Waits


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One place of the model. All times in cycles; layers overlap, only `critical` adds up to the program's."""

    number: int
    name: str
    start: int
    """Of its first product, or of its first instruction where it has none: padding is written long before."""
    end: int
    critical: int
    """Of the chain of waits, what its flows waited for."""
    instructions: int
    flows: int
    multiplications: float
    ideal: float
    """Multiplications over what all planes do in a cycle (int8)."""
    padded: float
    """Rows through the planes as they are: segments of K and columns rounded up to whole tiles."""
    weights: float
    """Loading of weights, all planes at once."""
    memory: float
    """Rows read and written over what all slices can do."""
    vector: float
    switch: float
    waits: dict[str, int]
    """What its flows on the chain waited for, in cycles."""
    reason: str

    @property
    def span(self) -> int:
        return self.end - self.start

    @property
    def bound(self) -> float:
        """What the busiest kind of unit alone would take."""
        return max(self.padded, self.weights, self.memory, self.vector, self.switch)

    @property
    def bound_by(self) -> str:
        names = ("padded", "weights", "memory", "vector", "switch")
        said = ("matrix work", "loading weights", "memory", "vector unit", "switch unit")
        values = [getattr(self, n) for n in names]
        return said[int(np.argmax(values))]


def find_layers(program: Program, flows: Flows, waits: Waits, chain: Sequence[Step]) -> list[Layer]:
    """Layers in the order in which they begin."""
    code, m = program.code, program.machine
    work = program.facts.get("work", {})
    steps: dict[int, list[Step]] = {}
    for step in chain:
        steps.setdefault(int(flows.symbol[step.flow]), []).append(step)
    found = []
    for number, name in enumerate(program.symbols):
        mine = code[code["symbol"] == number]
        if not len(mine):
            continue
        rows = {op: int(mine[mine["op"] == op]["count"].sum()) for op in Op}
        # An f16 product takes both planes of a hemisphere.
        pair = np.where(mine["a"][:, 3] == 1, m.planes_per_hemisphere, 1)
        passed = mine["op"] == Op.ACTIVATE
        loaded = mine["op"] == Op.LOAD
        wide = np.where(mine["a"][:, 3] == 2, m.planes_per_hemisphere, 1)
        made = steps.get(number, [])
        held: Counter[str] = Counter()
        for step in made:
            held[KINDS[step.kind]] += step.cycles
        critical = sum(held.values())
        multiplications = float(work.get(name, 0.0))
        begins = mine[passed] if passed.any() else mine
        found.append(
            Layer(
                number=number,
                name=name or "inputs and constants",
                start=int(begins["issue"].min()),
                end=int((mine["issue"] + mine["count"]).max()),
                critical=critical,
                instructions=len(mine),
                flows=int((flows.symbol == number).sum()),
                multiplications=multiplications,
                ideal=multiplications / (m.planes * m.lanes**2),
                padded=float((mine["count"] * pair)[passed].sum()) / m.planes,
                weights=float((mine["count"] * wide)[loaded].sum()) / m.planes,
                memory=sum(rows[op] for op in MEMORY) / (2 * m.slices),
                vector=rows[Op.ALU] / m.alus,
                switch=sum(rows[op] for op in (Op.SHIFT, Op.PERMUTE, Op.DISTRIBUTE, Op.TRANSPOSE))
                / (2 * (m.shifters + m.permutors + m.distributors + m.transposers)),
                waits=dict(held.most_common()),
                reason=_reason(program, flows, waits, made, number),
            )
        )
    return sorted(found, key=lambda layer: (layer.start, layer.number))


def _reason(program: Program, flows: Flows, waits: Waits, made: Sequence[Step], number: int) -> str:
    """In words: what most of its time on the chain went to, and whose work that was."""
    held: Counter[int] = Counter()
    for step in made:
        held[step.kind] += step.cycles
    total = sum(held.values())
    if not total:
        mine = np.flatnonzero(flows.symbol == number)
        kinds = Counter(waits.kind[mine].tolist())
        kind = kinds.most_common(1)[0][0] if kinds else FIRST
        share = kinds[kind] / max(1, len(mine))
        return f"off the chain: it costs nothing; {share:.0%} of its flows wait for {KINDS[kind]}"
    parts: list[str] = []
    for kind, cycles in held.most_common(2):
        if cycles < 0.15 * total and parts:
            break
        parts.append(f"{cycles / total:.0%} {KINDS[kind]}{_holder(program, flows, waits, made, kind)}")
    return "; ".join(parts)


VERBS = {
    Op.READ: "read",
    Op.WRITE: "written",
    Op.GATHER: "read",
    Op.SCATTER: "written",
    Op.ACTIVATE: "taken",
    Op.ACCUMULATE: "taken",
    Op.LOAD: "loaded",
    Op.INSTALL: "loaded",
}


WANTS = {Op.READ: "to read; ", Op.GATHER: "to read; ", Op.WRITE: "to write; ", Op.SCATTER: "to write; "}
"""Of memory, what the flow that waits wanted with it."""


def _holder(program: Program, flows: Flows, waits: Waits, made: Sequence[Step], kind: int) -> str:
    """What it was wanted for and who held it most of that time, doing what."""
    holders: Counter[tuple[str, str, str]] = Counter()
    for step in made:
        at = int(waits.holding[step.flow])
        if step.kind == kind and at >= 0:
            verb = VERBS.get(Op(int(program.code["op"][at])), "used")
            wanted = WANTS.get(Op(int(program.code["op"][int(waits.waiting[step.flow])])), "")
            same = flows.symbol[step.by] == flows.symbol[step.flow]
            holders[wanted, verb, "the same layer" if same else program.symbols[int(flows.symbol[step.by])]] += (
                step.cycles
            )
    if not holders:
        return ""
    (wanted, verb, who), _ = holders.most_common(1)[0]
    return f" ({wanted}{verb} by {who or 'the inputs'})"


def as_json(layer: Layer) -> dict[str, Any]:
    """JSON values, rounded to a tenth of a cycle."""
    return {
        "name": layer.name,
        "start": layer.start,
        "end": layer.end,
        "cycles": layer.span,
        "critical_cycles": layer.critical,
        "instructions": layer.instructions,
        "flows": layer.flows,
        "multiplications": int(layer.multiplications),
        "bounds": {
            n: round(getattr(layer, n), 1) for n in ("ideal", "padded", "weights", "memory", "vector", "switch")
        },
        "bound": round(layer.bound, 1),
        "bound_by": layer.bound_by,
        "cycles_over_bound": round(layer.span / layer.bound, 3) if layer.bound else None,
        "waits": layer.waits,
        "reason": layer.reason,
    }
