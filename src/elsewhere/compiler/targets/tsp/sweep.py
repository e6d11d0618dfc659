"""How much the assumed values of a machine matter: each is made half and half again as large, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.decoding import decode
from elsewhere.compiler.targets.tsp.machine import TspMachine, assumed_fields
from elsewhere.compiler.targets.tsp.shapes import find

FACTORS = (0.5, 1.5)


def _cycles(graph: Callable[[], Graph]) -> Callable[[TspMachine], float]:
    return lambda machine: float(compile_tsp(graph(), machine=machine).program.cycles)


def _token(machine: TspMachine) -> float:
    """Cycles of a token of Llama-2-7B with 512 tokens of context on 64 chips."""
    return decode(find("llama-2-7b"), chips=64, context=512, machine=machine).seconds_per_token * machine.clock_hz


NETWORKS: dict[str, Callable[[TspMachine], float]] = {
    "gemm": _cycles(lambda: published.gemm(512, 640, 640)),
    "layer": _cycles(lambda: published.bert(layers=1, width=320, heads=5, hidden=1280, length=64)),
    "resnet-50": _cycles(published.resnet_50),
    "bert-base": _cycles(published.bert),
    "llama-2-7b": _token,
}


def sweep(network: str, machine: TspMachine, watch: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Cycles over those of the machine as described, the field that matters most first.

    A value that cannot be halved or raised is an `error` in its row. Raises ValueError for an unknown network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {sorted(NETWORKS)}, got {network!r}")
    measure = NETWORKS[network]
    base = measure(machine)
    rows: list[dict[str, Any]] = []
    for name in assumed_fields(machine):
        value = getattr(machine, name)
        for factor in FACTORS:
            changed = max(1, round(value * factor)) if isinstance(value, int) else value * factor
            if changed == value:
                continue
            if watch is not None:
                watch(f"{name} = {changed}")
            row: dict[str, Any] = {"field": name, "value": changed, "of": value, "cycles": base}
            try:
                row["ratio"] = measure(machine.changed(**{name: changed})) / base
            except ValueError as error:
                row |= {"ratio": None, "error": str(error)}
            rows.append(row)
    return sorted(rows, key=lambda r: -abs((r["ratio"] if r["ratio"] is not None else 9e9) - 1.0))
