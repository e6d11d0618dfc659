"""One call from an imported graph to a program for a chip; the verb and the tests use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.spec import check
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.precision import calibrate, combine, quantise
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.prepare import prepare
from elsewhere.compiler.targets.tsp.program import Program
from elsewhere.compiler.targets.tsp.scheduler.build import schedule
from elsewhere.compiler.targets.tsp.scheduler.flow import ScheduleError

Array = NDArray[Any]
PRECISIONS = ("f16", "int8")


@dataclass(frozen=True, kw_only=True, slots=True)
class TspCompiled:
    """A program, the graph that it carries out, and how long it took to make."""

    program: Program
    graph: Graph
    seconds: float


def compile_tsp(
    graph: Graph,
    *,
    machine: TspMachine = GROQCHIP1,
    precision: str = "f16",
    samples: Sequence[Mapping[str, Array]] = (),
) -> TspCompiled:
    """Compiles for one chip. `samples` are calibration inputs, which int8 needs.

    Raises ValueError for another precision, UnsupportedNode for what the chip cannot do, ScheduleError for what does
    not fit, CalibrationError for samples that say nothing.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    if precision == "int8":
        graph = narrow(graph, samples)
    start = perf_counter()
    prepared = prepare(graph)
    _room(prepared, machine)
    program = schedule(prepared, machine)
    seconds = perf_counter() - start
    return TspCompiled(program=program, graph=prepared, seconds=seconds)


def _room(graph: Graph, machine: TspMachine) -> None:
    """Weights that cannot fit are told before the work of scheduling begins."""
    held = sum(a.nbytes // (2 if a.dtype.itemsize > 2 else 1) for a in graph.constants.values())
    if held > machine.memory_bytes:
        raise ScheduleError(
            f"the model does not fit one {machine.name}: its weights alone take {held / 2**20:,.1f} MiB of "
            f"{machine.memory_bytes / 2**20:,.1f} MiB, {(held - machine.memory_bytes) / 2**20:,.1f} MiB too much, "
            f"which {-(-held // machine.memory_bytes)} chips would hold"
        )


def narrow(graph: Graph, samples: Sequence[Mapping[str, Array]]) -> Graph:
    """Products with constant weights in int8, calibrated by the oracle or whatever runs faster."""
    for step in (fold_constants, sink_transposes, fold_constants, combine, remove_dead):
        graph = check(step(graph), "imported")
    activations = calibrate(graph, samples, _observe)
    made, _ = quantise(graph, activations)
    return check(remove_dead(made), "imported")


def _observe(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """The processor's own target where it can carry the graph: the oracle takes minutes for large models."""
    try:
        from elsewhere.compiler.targets.cpu.build import observe

        return observe(graph, inputs)
    except (ImportError, ValueError):
        return reference.run(graph, inputs)[0]
