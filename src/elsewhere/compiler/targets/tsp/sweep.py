"""How much the assumed values of a machine matter: each is made half and half again as large, one at a time."""

from __future__ import annotations

from typing import Any

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import TspMachine, assumed_fields

NETWORKS = {
    "gemm": lambda: published.gemm(512, 640, 640),
    "resnet-50": published.resnet_50,
    "bert-base": published.bert,
}


def sweep(network: str, machine: TspMachine) -> list[dict[str, Any]]:
    """Cycles over those of the machine as described. Raises ValueError for an unknown network."""
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {sorted(NETWORKS)}, got {network!r}")
    graph = NETWORKS[network]()
    base = compile_tsp(graph, machine=machine).program.cycles
    rows: list[dict[str, Any]] = []
    for name in assumed_fields():
        value = getattr(machine, name)
        for factor in (0.5, 1.5):
            changed = max(1, round(value * factor)) if isinstance(value, int) else value * factor
            if changed == value:
                continue
            try:
                cycles = compile_tsp(graph, machine=machine.changed(**{name: changed})).program.cycles
            except ValueError as error:
                rows.append({"field": name, "value": changed, "ratio": float("nan"), "error": str(error)})
                continue
            rows.append({"field": name, "value": changed, "ratio": cycles / base})
    return rows
