"""Everything that is said about a program, found once: flows, waits, layers, totals. The page and `--json` print it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from elsewhere.compiler.targets.tsp.machine import assumed_fields
from elsewhere.compiler.targets.tsp.program import Program
from elsewhere.compiler.targets.tsp.report.flows import Flows, find_flows
from elsewhere.compiler.targets.tsp.report.layers import Layer, as_json, find_layers
from elsewhere.compiler.targets.tsp.report.waits import KINDS, Step, Waits, critical_chain, find_waits


@dataclass(frozen=True, slots=True)
class Report:
    """One program, looked at."""

    program: Program
    flows: Flows
    waits: Waits
    chain: list[Step]
    layers: list[Layer]

    @classmethod
    def of(cls, program: Program) -> Report:
        """Finds everything. Seconds for programs of 200,000 instructions."""
        flows = find_flows(program)
        waits = find_waits(program, flows)
        chain = critical_chain(flows, waits, program.cycles)
        return cls(program, flows, waits, chain, find_layers(program, flows, waits, chain))

    def critical(self) -> list[dict[str, Any]]:
        """What the chain waited for: kinds with their cycles, which add up to all cycles of the program."""
        held: Counter[str] = Counter()
        steps: Counter[str] = Counter()
        for step in self.chain:
            held[KINDS[step.kind]] += step.cycles
            steps[KINDS[step.kind]] += 1
        return [{"kind": k, "cycles": c, "steps": steps[k]} for k, c in held.most_common() if c]

    def totals(self) -> dict[str, Any]:
        program, m = self.program, self.program.machine
        memory = program.facts.get("memory", {})
        multiplications = float(program.facts.get("multiplications", 0.0))
        return {
            "cycles": program.cycles,
            "microseconds": program.seconds * 1e6,
            "instructions": len(program.code),
            "flows": self.flows.count,
            "layers": len(self.layers),
            "multiplications": int(multiplications),
            "int8_peak_share": multiplications / max(1, program.cycles) / (m.planes * m.lanes**2),
            "padded_cycles": sum(layer.padded for layer in self.layers),
            "weight_cycles": sum(layer.weights for layer in self.layers),
            "memory_cycles": sum(layer.memory for layer in self.layers),
            "vector_cycles": sum(layer.vector for layer in self.layers),
            "switch_cycles": sum(layer.switch for layer in self.layers),
            "rows_used": int(memory.get("rows", 0)),
            "rows_live": int(memory.get("live", 0)),
            "rows": m.slices * m.rows_per_slice,
            "chain_steps": len(self.chain),
            "chain_slack": sum(min(s.slack, s.cycles) for s in self.chain),
        }

    def machine(self) -> list[dict[str, Any]]:
        """Every value of the machine with its unit and source, and whether it is assumed."""
        m = self.program.machine
        assumed = assumed_fields(m)
        return [
            {
                "field": f.name,
                "value": getattr(m, f.name),
                "unit": f.metadata["unit"],
                "source": "assumed" if f.name in assumed else f.metadata["source"],
                "assumed": f.name in assumed,
            }
            for f in fields(m)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": self.program.machine.name,
            **{k: round(v, 5) if isinstance(v, float) else v for k, v in self.totals().items()},
            "critical": self.critical(),
            "layers": [as_json(layer) for layer in self.layers],
            "assumed": [row["field"] for row in self.machine() if row["assumed"]],
        }
