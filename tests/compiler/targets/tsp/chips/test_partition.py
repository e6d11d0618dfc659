"""Any graph over a node: shares that fit together, exchanges that were asked for, and the oracle's bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets import reference as whole
from elsewhere.compiler.targets.tsp.blocks import decoder_block, decoder_inputs
from elsewhere.compiler.targets.tsp.chips.check import check_chips
from elsewhere.compiler.targets.tsp.chips.execute import drawn, run_chips
from elsewhere.compiler.targets.tsp.chips.lockstep import ChipPrograms, schedule_parts
from elsewhere.compiler.targets.tsp.chips.partition import PartitionError, partition
from elsewhere.compiler.targets.tsp.chips.parts import merge, reference
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.shapes import Transformer

BLOCK = Transformer(name="block", layers=1, width=64, heads=8, key_value_heads=8, hidden=128)


def layers(rows: int = 6, wide: int = 2560, hidden: int = 2560) -> Graph:
    """Two wide int8 layers; their sums are exact in any order."""
    r, b = np.random.Generator(np.random.Philox(1)), Builder(place="layers")
    x = b.input("x", "i8", (rows, wide))
    for _ in range(2):
        w = b.constant(r.integers(-9, 10, (b.shape(x)[1], hidden)), "i8")
        y = b.cast(b.matmul(x, w), "f32")
        x = b.cast(b.binary("mul", y, b.like(1 / 64, y)), "i8")
    b.output("y", x)
    return b.graph()


@cache
def block() -> tuple[Graph, ChipPrograms]:
    graph = decoder_block(BLOCK, rows=1, context=32)
    return graph, schedule_parts(partition(graph, 8))


def block_inputs() -> dict[str, np.ndarray]:
    return decoder_inputs(BLOCK, rows=1, context=32)


def test_wide_products_are_dealt() -> None:
    parts = partition(layers(), 8)
    held = [sum(a.size for a in g.constants.values()) for g in parts.graphs]
    assert parts.exchanges >= 1 and max(held) < sum(a.size for a in layers().constants.values()) / 7


def test_what_is_small_stays_whole() -> None:
    b = Builder()
    b.output("y", b.unary("neg", b.input("x", "f32", (2, 8))))
    assert partition(b.graph(), 8).exchanges == 0


def test_merged_shares_are_the_network() -> None:
    graph = layers(2, 320, 320)
    parts = partition(graph, 8)
    joined, _ = merge(parts.graphs)
    x = np.random.Generator(np.random.Philox(3)).integers(-9, 10, (2, 320)).astype(np.int8)
    given_x = {f"{c}/{n}": v for c in range(8) for n, v in parts.given({"x": x}, c).items()}
    found, _ = whole.run(joined, given_x)
    outputs = [{"y": found[f"{c}/y"]} for c in range(8)]
    np.testing.assert_array_equal(parts.joined(outputs)["y"], whole.run(graph, {"x": x})[0]["y"])


def test_a_block_on_eight_chips_is_the_oracles() -> None:
    graph, made = block()
    assert check_chips(made.programs) == []
    run = run_chips(made, block_inputs(), latency=drawn(GROQCHIP1, 0))
    cuts = [p.facts["cuts"] for p in made.programs]
    wanted = reference(made.parts, made.graphs, cuts, block_inputs(), GROQCHIP1.lanes)
    assert run.outputs is not None and run.outputs.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(run.outputs[name], value)
    near, _ = whole.run(graph, block_inputs())
    np.testing.assert_allclose(wanted["y"], near["y"], atol=0.05)


def test_time_passes_alike_without_data() -> None:
    _, made = block()
    assert run_chips(made, {}, functional=False).cycles == made.cycles


def test_compiling_twice_gives_the_same_programs() -> None:
    graph = layers(2, 320, 320)
    one, two = (schedule_parts(partition(graph, 8)) for _ in range(2))
    assert one.packets == two.packets
    assert all((a.code == b.code).all() for a, b in zip(one.programs, two.programs, strict=True))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), chips=st.sampled_from([2, 4, 8]))
def test_any_chain_of_primitives_is_dealt_right(data: st.DataObject, chips: int) -> None:
    """Values of merged shares are those of the network, whatever was chosen."""
    r, b = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 99)))), Builder()
    x = b.input("x", "i8", (8, data.draw(st.sampled_from([16, 24, 640]))))
    for _ in range(data.draw(st.integers(1, 6))):
        rows, columns = b.shape(x)
        kind = data.draw(st.sampled_from(["product", "transpose", "reshape", "cut", "join", "top", "pad", "scale"]))
        if kind == "product":
            w = b.constant(r.integers(-3, 4, (columns, data.draw(st.sampled_from([16, 40, 1280])))), "i8")
            x = b.cast(b.matmul(x, w), "i8")
        elif kind == "transpose":
            x = b.transpose(x, (1, 0))
        elif kind == "reshape" and columns % 2 == 0:
            x = b.reshape(b.transpose(b.reshape(x, (rows, 2, columns // 2)), (1, 0, 2)), (rows, columns))
        elif kind == "cut":
            x = b.narrow(x, 1, 0, columns // 2)
        elif kind == "join":
            x = b.concatenate([x, x], data.draw(st.sampled_from([0, 1])))
        elif kind == "top":
            x = b.broadcast(b.reduce("max", x, (1,)), (rows, columns))
        elif kind == "pad":
            x = b.pad(x, (1, 0), (0, 2))
        else:
            w = b.constant(r.integers(-2, 3, (1, columns)), "i8")
            x = b.binary("add", x, b.spread(w, (rows, columns)))
    b.output("y", x)
    graph = b.graph()
    parts = partition(graph, chips)
    joined, _ = merge(parts.graphs)
    given_x = {"x": r.integers(-9, 10, graph.nodes[graph.inputs["x"]].type.shape).astype(np.int8)}
    every = {f"{c}/{n}": v for c in range(chips) for n, v in parts.given(given_x, c).items()}
    found, _ = whole.run(joined, every)
    made = parts.joined([{"y": found[f"{c}/y"]} for c in range(chips)])
    np.testing.assert_array_equal(made["y"], whole.run(graph, given_x)[0]["y"])


@pytest.mark.parametrize("chips", [0, 9])
def test_more_chips_than_a_node_has_are_told(chips: int) -> None:
    with pytest.raises(PartitionError, match="those of a node"):
        partition(layers(2, 320, 320), chips)


def test_dearer_links_make_fewer_exchanges() -> None:
    slow = replace(GROQCHIP1, name="slow", link_bits_per_second=1e8)
    assert partition(layers(), 8, slow).exchanges < partition(layers(), 8).exchanges
