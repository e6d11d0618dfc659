"""The published results, measured again on the described machine: each with what is behind it, and the misses.

No number in here is fitted: every measurement is a scheduled program's cycles, or the network's compiled sends.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.estimate import decode
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System, all_reduce_latency
from elsewhere.compiler.targets.tsp.program import Op
from elsewhere.compiler.targets.tsp.shapes import find

WITHIN, MEDIAN = 0.15, 0.07
"""How far from the published value a result may lie, and the median of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One line of the table; `ratio` is measured over published."""

    name: str
    conditions: str
    published: float
    measured: float
    unit: str
    faults: int = 0
    """What the checker found in the program behind it."""
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.measured / self.published

    @property
    def met(self) -> bool:
        return abs(self.ratio - 1.0) <= WITHIN

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def _compiled(compiled: TspCompiled) -> str:
    facts = compiled.program.facts
    machine = compiled.program.machine
    peak = machine.planes * machine.lanes**2
    share = facts["multiplications"] / (compiled.program.cycles * peak)
    return (
        f"{compiled.program.cycles} cycles, {share:.1%} of the int8 peak, {len(compiled.program.code)} instructions, "
        f"compiled in {compiled.seconds:.1f} s, memory {facts['memory']['ratio']:.3f} of the largest live set"
    )


def resnet(machine: TspMachine) -> Result:
    made = compile_tsp(published.resnet_50(), machine=machine)
    return Result(
        name="ResNet-50 latency",
        conditions="1 chip, batch 1, int8",
        published=49.0,
        measured=made.program.seconds * 1e6,
        unit="µs",
        faults=len(check(made.program)),
        note=_compiled(made),
    )


def bert(machine: TspMachine) -> Result:
    made = compile_tsp(published.bert(), machine=machine)
    return Result(
        name="BERT-base latency",
        conditions="1 chip, batch 1, 128 tokens, int8 products with weights, f16 attention",
        published=130.0,
        measured=made.program.seconds * 1e6,
        unit="µs",
        faults=len(check(made.program)),
        note=_compiled(made),
    )


def gemm(columns: int, expected: float) -> Callable[[TspMachine], Result]:
    """Utilisation of f16 products; `expected` is what the rounding up to whole tiles alone allows."""

    def measure(machine: TspMachine) -> Result:
        made = compile_tsp(published.gemm(2304, 4096, columns), machine=machine)
        ideal = 2304 * 4096 * columns / (machine.planes_per_hemisphere * machine.float_rows * machine.lanes)
        return Result(
            name=f"GEMM 2304×4096×{columns} utilisation",
            conditions="1 chip, f16; published is the bound that tiles alone set",
            published=expected * 100,
            measured=100 * ideal / made.program.cycles,
            unit="%",
            faults=len(check(made.program)),
            note=_compiled(made),
        )

    return measure


def weights_loaded(machine: TspMachine) -> Result:
    """From the first read to the last of four planes installed: a product with one tile for each plane."""
    made = compile_tsp(published.gemm(1, machine.lanes, machine.planes * machine.lanes, "i8"), machine=machine)
    code = made.program.code
    loads = code[code["op"] == Op.LOAD]
    wires = set(loads["ins"]["wire"][:, 0].tolist())
    reads = code[(code["op"] == Op.READ) & [w in wires for w in code["outs"]["wire"][:, 0].tolist()]]
    installs = code[code["op"] == Op.INSTALL]["issue"] + machine.weights_install
    return Result(
        name="weights of four planes loaded",
        conditions="int8, from the first read to the last installed",
        published=40.0,
        measured=float(installs.max() - reads["issue"].min()),
        unit="cycles",
        faults=len(check(made.program)),
        note="published as 'less than 40'",
    )


def reduction(machine: TspMachine) -> Result:
    system = System(machine, 256)
    return Result(
        name="all-reduce network latency",
        conditions="256 chips, the farthest pair",
        published=2166.0,
        measured=all_reduce_latency(system) * 1e9,
        unit="ns",
        note=f"{system.diameter} hops found in the topology, at the planning figure per hop",
    )


def llama(machine: TspMachine) -> Result:
    made = decode(find("llama-2-70b"), chips=576, context=4096, machine=machine)
    return Result(
        name="Llama-2-70B decoding",
        conditions="576 chips, int8, 4096 tokens of context",
        published=300.0,
        measured=made.tokens_per_second,
        unit="tokens/s",
        note=f"a block's share on 8 chips takes {made.block_cycles} cycles and {made.exchange_cycles} of exchange; "
        "host, sampling and the software between tokens are not modelled",
    )


ROWS: dict[str, Callable[[TspMachine], Result]] = {
    "weights": weights_loaded,
    "all-reduce": reduction,
    "gemm-1601": gemm(1601, 0.821),
    "gemm-3200": gemm(3200, 0.985),
    "resnet-50": resnet,
    "bert-base": bert,
    "llama-2-70b": llama,
}


def saw_tooth(
    machine: TspMachine = GROQCHIP1, start: int = 1376, stop: int = 3500, step: int = 236
) -> list[dict[str, float]]:
    """Utilisation over N at a smaller inner length, beside the bound that whole tiles set: the teeth must agree."""
    inner, rows = 1024, 1152
    found = []
    for columns in sorted({*range(start, stop + 1, step), 1600, 1601, 1920, 1921}):
        cycles = compile_tsp(published.gemm(rows, inner, columns), machine=machine).program.cycles
        work = rows * inner * columns / (machine.planes_per_hemisphere * machine.float_rows * machine.lanes)
        tiles = math.ceil(columns / machine.lanes) * math.ceil(inner / machine.float_rows)
        bound = inner * columns / (tiles * machine.lanes * machine.float_rows)
        found.append({"columns": columns, "utilisation": work / cycles, "bound": bound})
    return found


@dataclass(frozen=True, slots=True)
class Validation:
    """The whole table. Rows that could not be measured are in `failed` with the reason."""

    machine: str
    results: tuple[Result, ...]
    failed: dict[str, str]
    seconds: dict[str, float]

    @property
    def median(self) -> float:
        return statistics.median(abs(r.ratio - 1.0) for r in self.results) if self.results else math.inf

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "within": WITHIN,
            "met": sum(r.met for r in self.results),
            "median_deviation": self.median,
            "results": [r.to_json() for r in self.results],
            "failed": self.failed,
            "seconds": self.seconds,
        }


def validate(
    machine: TspMachine = GROQCHIP1, rows: list[str] | None = None, watch: Callable[[str], None] | None = None
) -> Validation:
    """Measures the table, or some rows of it. Raises ValueError for an unknown row."""
    results, failed, seconds = [], {}, {}
    for name in rows or list(ROWS):
        if name not in ROWS:
            raise ValueError(f"row must be one of {sorted(ROWS)}, got {name!r}")
        start = perf_counter()
        try:
            results.append(ROWS[name](machine))
        except ValueError as error:
            failed[name] = str(error)
        seconds[name] = perf_counter() - start
        if watch is not None:
            watch(name)
    return Validation(machine.name, tuple(results), failed, seconds)
