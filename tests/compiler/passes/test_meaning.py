"""Every pass keeps the meaning of a graph: the same bits of the oracle where it says so, else within its tolerance."""

from __future__ import annotations

from collections.abc import Callable

import drawn
import pytest
from hypothesis import HealthCheck, given, settings

from elsewhere.compiler.ir import Graph, check
from elsewhere.compiler.passes.attention import fuse_attention
from elsewhere.compiler.passes.concatenations import sink_concatenations
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.empty import drop_empty
from elsewhere.compiler.passes.fold import fold_constants
from elsewhere.compiler.passes.fuse import fuse
from elsewhere.compiler.passes.padding import expose_padding
from elsewhere.compiler.passes.precision import combine
from elsewhere.compiler.passes.rewrite import rebuild
from elsewhere.compiler.passes.transposes import sink_transposes

EXACT: list[Callable[[Graph], Graph]] = [
    drop_empty, expose_padding, fold_constants, fuse, remove_dead, sink_concatenations,
]  # fmt: skip
CLOSE: list[Callable[[Graph], Graph]] = [combine, fuse_attention, sink_transposes]
"""`combine` and attention round in another order; sums along moved axes are made in another order, too."""


def name_of(change: Callable[[Graph], Graph]) -> str:
    return change.__name__


@pytest.mark.parametrize("change", EXACT, ids=name_of)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(24))
def test_the_same_bits(change: Callable[[Graph], Graph], graph: drawn.Drawn) -> None:
    made = check(change(graph.graph), "fused")
    drawn.same(graph, made)
    assert made.inputs.keys() == graph.graph.inputs.keys()


@pytest.mark.parametrize("change", CLOSE, ids=name_of)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(24))
def test_within_what_rounding_may_do(change: Callable[[Graph], Graph], graph: drawn.Drawn) -> None:
    drawn.same(graph, check(change(graph.graph), "fused"), 1.0)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(24))
def test_all_in_order(graph: drawn.Drawn) -> None:
    from elsewhere.compiler.targets.cpu.build import prepare

    names: list[str] = []
    made, report = prepare(graph.graph, watch=lambda name, _: names.append(name))
    drawn.same(graph, check(made, "fused"), 1.0)
    assert report is None and names[0] == "drop_empty" and "fuse" in names


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(24))
def test_a_pass_over_its_own_result_changes_nothing_more(graph: drawn.Drawn) -> None:
    for change in (remove_dead, expose_padding, drop_empty, lambda g: rebuild(g, lambda *_: None)):
        once = change(graph.graph)
        twice = change(once)
        assert [(n.op, n.inputs, n.type) for n in twice.nodes] == [(n.op, n.inputs, n.type) for n in once.nodes]
