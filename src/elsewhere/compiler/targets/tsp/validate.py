"""The published results, measured again on the described machine: each with what is behind it, and the misses.

No number in here is fitted: every measurement is a scheduled program's cycles, or the network's compiled sends.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.charts import Line, chart
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.chips.collective import Timing, all_reduce
from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.decoding import decode
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System
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
    """One vector of every chip summed on every chip: packets scheduled on their links."""
    system = System(machine, 256)
    planned, measured = (all_reduce(system, 1, t(machine)) for t in (Timing.planned, Timing.measured))
    planned.check()
    return Result(
        name="all-reduce network latency",
        conditions="256 chips, one vector of each, 3 hops",
        published=2166.0,
        measured=planned.cycles / machine.clock_hz * 1e9,
        unit="ns",
        note=f"{len(planned.sends)} packets; a hop takes the published planning figure, sums come on top; with the "
        f"slowest measured link latency instead it is {measured.cycles / machine.clock_hz * 1e9:.0f} ns",
    )


def llama(machine: TspMachine) -> Result:
    made = decode(find("llama-2-70b"), chips=576, context=4096, machine=machine)
    terms = ", ".join(f"{name} {seconds * 1e6:.0f}" for name, seconds in made.terms.items())
    return Result(
        name="Llama-2-70B decoding",
        conditions="576 chips, int8, 4096 tokens of context",
        published=300.0,
        measured=made.tokens_per_second,
        unit="tokens/s",
        note=f"µs a token: {terms}; a block's share on 8 chips takes {made.block_cycles} cycles; the fullest chip "
        f"needs {made.fullest:.0%} of its memory; not modelled: the vendor's mapping and runtime",
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Tooth:
    """Utilisation of an f16 product at one N, and what rounding up to whole tiles alone leaves of it. 0…1."""

    columns: int
    cycles: int
    utilisation: float
    bound: float


INNER, HEIGHT = 4096, 2304
"""The published product, [2304×4096]·[4096×N]."""


def tooth(columns: int, machine: TspMachine = GROQCHIP1) -> Tooth:
    cycles = compile_tsp(published.gemm(HEIGHT, INNER, columns), machine=machine).program.cycles
    work = HEIGHT * INNER * columns / (machine.planes_per_hemisphere * machine.float_rows * machine.lanes)
    tiles = math.ceil(columns / machine.lanes) * math.ceil(INNER / machine.float_rows)
    bound = INNER * columns / (tiles * machine.lanes * machine.float_rows)
    return Tooth(columns=columns, cycles=cycles, utilisation=work / cycles, bound=bound)


def saw_tooth(
    machine: TspMachine = GROQCHIP1,
    start: int = 1376,
    stop: int = 3500,
    watch: Callable[[str], None] | None = None,
) -> list[Tooth]:
    """The ends of the range, and N at every tile's edge and one behind it."""
    edges = range(-(-start // machine.lanes), stop // machine.lanes + 1)
    wanted = {start, stop, *(n for e in edges for n in (e * machine.lanes, e * machine.lanes + 1) if n <= stop)}
    found = []
    for columns in sorted(wanted):
        if watch is not None:
            watch(f"saw-tooth N={columns}")
        found.append(tooth(columns, machine))
    return found


def misplaced(teeth: Sequence[Tooth], lanes: int) -> list[str]:
    """Where the teeth are not those of the tiles: falls elsewhere than behind an edge, or none there."""
    wrong = []
    for one, other in pairwise(teeth):
        edge = -(-one.columns // lanes) != -(-other.columns // lanes)
        falls = other.utilisation < one.utilisation
        if edge != falls:
            wrong.append(f"from N={one.columns} to {other.columns} utilisation {'falls' if falls else 'does not fall'}")
    return wrong


def picture(teeth: Sequence[Tooth]) -> str:
    """Utilisation over N beside the tiles' bound, as SVG."""
    lines = [
        Line("scheduled", [(t.columns, 100 * t.utilisation) for t in teeth]),
        Line("tiles alone", [(t.columns, 100 * t.bound) for t in teeth], dashed=True),
    ]
    return chart(lines, across=f"N of {HEIGHT}×{INNER}×N, f16", up="% of the peak", level=(80.0, "80 % published"))


@dataclass(frozen=True, slots=True)
class Validation:
    """The whole table. Rows that could not be measured are in `failed` with the reason."""

    machine: str
    results: tuple[Result, ...]
    failed: dict[str, str]
    seconds: dict[str, float]
    teeth: tuple[Tooth, ...] = ()
    misplaced: tuple[str, ...] = ()
    """Where the saw-tooth is not that of the tiles."""

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
            "saw_tooth": {"teeth": [asdict(t) for t in self.teeth], "misplaced": list(self.misplaced)},
        }


TEETH = "saw-tooth"


def validate(
    machine: TspMachine = GROQCHIP1, rows: list[str] | None = None, watch: Callable[[str], None] | None = None
) -> Validation:
    """Measures the table and the saw-tooth, or some of it. `watch` is told what begins. Raises ValueError for an
    unknown row."""
    results, failed, seconds = [], {}, {}
    teeth: list[Tooth] = []
    names = rows or [*ROWS, TEETH]
    for name in names:
        if name not in ROWS and name != TEETH:
            raise ValueError(f"row must be one of {sorted([*ROWS, TEETH])}, got {name!r}")
    for name in names:
        start = perf_counter()
        if watch is not None:
            watch(name)
        try:
            if name == TEETH:
                teeth = saw_tooth(machine, watch=watch)
            else:
                results.append(ROWS[name](machine))
        except ValueError as error:
            failed[name] = str(error)
        seconds[name] = perf_counter() - start
    wrong = tuple(misplaced(teeth, machine.lanes))
    return Validation(machine.name, tuple(results), failed, seconds, tuple(teeth), wrong)
