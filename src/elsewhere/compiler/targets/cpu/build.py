"""From a graph to a program for this machine's cores: the order of the passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.spec import check
from elsewhere.compiler.passes.attention import fuse_attention
from elsewhere.compiler.passes.concatenations import sink_concatenations
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.empty import drop_empty
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.fuse import fuse
from elsewhere.compiler.passes.padding import expose_padding
from elsewhere.compiler.passes.precision import Report, calibrate, combine, quantise, to_bf16
from elsewhere.compiler.passes.storage import store_narrow
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.plan.layout import lay_out
from elsewhere.compiler.targets.cpu.assemble import assemble
from elsewhere.compiler.targets.cpu.lower import lower
from elsewhere.compiler.targets.cpu.machine import Machine, describe
from elsewhere.compiler.targets.cpu.program import PRECISIONS, Program
from elsewhere.compiler.targets.cpu.runtime import Network

Pass = tuple[str, Callable[[Graph], Graph], str]
"""Its name, what it does, and the stage at which the result is legal."""


def prepare(
    graph: Graph,
    precision: str = "f32",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
    watch: Callable[[str, Graph], None] | None = None,
    machine: Machine | None = None,
) -> tuple[Graph, Report | None]:
    """The fused graph, and for int8 what quantisation did. `samples` are calibration inputs for int8.

    `watch` is shown the graph after each pass. Raises ValueError for another precision, CalibrationError for samples.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    report: list[Report] = []

    def attend(graph: Graph) -> Graph:
        return fuse_attention(graph, {"f32": "f32", "bf16": "bf16", "int8": "i8"}[precision])

    def quantised(graph: Graph) -> Graph:
        activations = calibrate(graph, samples, lambda g, inputs: observe(g, inputs, machine))
        _observed.clear()
        made, told = quantise(graph, activations)
        report.append(told)
        return made

    narrowing: dict[str, list[Pass]] = {
        "f32": [],
        "bf16": [("to_bf16", to_bf16, "imported")],
        "int8": [("quantise", quantised, "imported")],
    }
    narrower: list[Pass] = [] if precision == "f32" else [("store_narrow", store_narrow, "fused")]
    passes: list[Pass] = [
        ("drop_empty", drop_empty, "imported"),
        ("fold_constants", fold_constants, "imported"),
        ("sink_transposes", sink_transposes, "imported"),
        ("sink_concatenations", sink_concatenations, "imported"),
        ("fold_constants", fold_constants, "imported"),
        ("combine", combine, "imported"),
        ("remove_dead", remove_dead, "imported"),
        *narrowing[precision],
        ("expose_padding", expose_padding, "imported"),
        ("remove_dead", remove_dead, "imported"),
        ("fuse_attention", attend, "fused"),
        ("remove_dead", remove_dead, "fused"),
        ("fuse", fuse, "fused"),
        ("remove_dead", remove_dead, "fused"),
        *narrower,
    ]
    for name, change, stage in passes:
        graph = check(change(graph), stage)
        if watch is not None:
            watch(name, graph)
    return graph, report[0] if report else None


def observe(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], machine: Machine | None = None
) -> Mapping[str, NDArray[Any]]:
    """Outputs of `graph` in f32. The last graph's program is kept for calibration's next sample."""
    machine = machine or describe()
    if not _observed or _observed[0][0] is not graph or _observed[0][1] != machine:
        _observed[:] = [(graph, machine, Network(build(graph, machine, (1,)), machine))]
    return _observed[0][2](inputs)


_observed: list[tuple[Graph, Machine, Network]] = []


def build(
    graph: Graph,
    machine: Machine | None = None,
    threads: Sequence[int] = (1, 2),
    precision: str = "f32",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
    watch: Callable[[str, Graph], None] | None = None,
) -> Program:
    """Passes, layout, lowering, plan and machine code. Raises LoweringError for what has no kernel."""
    machine = machine or describe()
    prepared, _ = prepare(graph, precision, samples, watch, machine)
    return assemble(lower(lay_out(prepared), machine), machine, threads)
