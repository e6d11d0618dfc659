"""From a graph to a program for this machine's cores: the order of the passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.spec import check
from elsewhere.compiler.passes.attention import fuse_attention
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.fuse import fuse
from elsewhere.compiler.passes.padding import expose_padding
from elsewhere.compiler.passes.transposes import sink_transposes
from elsewhere.compiler.plan.layout import lay_out
from elsewhere.compiler.targets.cpu.lower import lower
from elsewhere.compiler.targets.cpu.machine import Machine, describe
from elsewhere.compiler.targets.cpu.program import Program, assemble

PASSES: tuple[tuple[Callable[[Graph], Graph], str], ...] = (
    (fold_constants, "imported"),
    (sink_transposes, "imported"),
    (expose_padding, "imported"),
    (fold_constants, "imported"),
    (remove_dead, "imported"),
    (fuse_attention, "fused"),
    (remove_dead, "fused"),
    (fuse, "fused"),
    (remove_dead, "fused"),
)
"""Passes in order, and the stage at which the result must be legal."""


def prepare(graph: Graph, watch: Callable[[str, Graph], None] | None = None) -> Graph:
    """The fused graph. `watch` is shown the graph after each pass."""
    for change, stage in PASSES:
        graph = check(change(graph), stage)
        if watch is not None:
            watch(change.__name__, graph)
    return graph


def build(graph: Graph, machine: Machine | None = None, threads: Sequence[int] = (1, 2)) -> Program:
    """Passes, layout, lowering, plan and machine code. Raises LoweringError for what has no kernel."""
    machine = machine or describe()
    return assemble(lower(lay_out(prepare(graph)), machine), machine, threads)
