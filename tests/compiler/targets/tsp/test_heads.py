"""Heads that stay in lanes, pairs as whole rows, pictures line by line: the same numbers, executed to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.inline import inline
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.assembly import load, save
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.heads import side_by_side
from elsewhere.compiler.targets.tsp.rewrite import fold_lines, join_pairs, slice_columns

Array = NDArray[Any]


def drawn(graph: Graph, seed: int = 1) -> dict[str, Array]:
    random = np.random.Generator(np.random.Philox(seed))
    made: dict[str, Array] = {}
    for name, number in graph.inputs.items():
        type_ = graph.nodes[number].type
        made[name] = (
            random.integers(0, 3, type_.shape).astype(np.int32)
            if type_.dtype == "i32"
            else random.standard_normal(type_.shape).astype(np.float32)
        )
    return made


def every(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    outputs, states = reference.run(graph, inputs)
    return outputs | {f"state:{k}": v for k, v in states.items()}


def attention(frames: int, tokens: int, heads: int, width: int, slots: int) -> Graph:
    """Normalised and rotated queries and keys; a cache of few slots for each token, which they attend to."""
    b = Builder()
    x = b.input("x", "f32", (frames * tokens, 3 * heads * width))
    slot = b.input("slot", "i32", ())
    shape = (frames, tokens, heads, width)
    parts = b.reshape(x, (frames, tokens, 3, heads, width))
    q, k, v = (b.reshape(b.narrow(parts, 2, i, i + 1), shape) for i in range(3))
    q, k = (forms.layer_norm(b, y, 1, None, None, 1e-5) for y in (q, k))
    turns = [b.input(name, "f32", (frames, 1, 1, width // 2)) for name in ("cosines", "sines")]

    def rotated(y: int) -> int:
        first, second = b.narrow(y, 3, 0, width // 2), b.narrow(y, 3, width // 2, width)
        both = tuple(b.broadcast(t, b.shape(first)) for t in turns)
        return b.concatenate(forms.multiply_pairs(b, (first, second), both), 3)

    q, k, v = (b.transpose(y, (1, 2, 0, 3)) for y in (rotated(q), rotated(k), v))
    kept = []
    for name, fresh in (("keys", k), ("values", v)):
        state = b.input(name, "f32", (tokens, heads, slots, width))
        made = b.update(state, b.narrow(fresh, 2, 0, 1), slot, 2)
        b.state(name, made)
        kept.append(made)
    seen = forms.attention(b, q, *kept)
    b.output("y", b.reshape(b.transpose(seen, (2, 0, 1, 3)), (frames * tokens, heads * width)))
    return b.graph()


@settings(max_examples=12, deadline=None)
@given(
    frames=st.integers(1, 3),
    tokens=st.integers(1, 5),
    heads=st.integers(1, 4),
    width=st.sampled_from([2, 4, 16]),
    slots=st.integers(3, 6),
)
def test_heads_in_lanes_mean_the_same(frames: int, tokens: int, heads: int, width: int, slots: int) -> None:
    graph = attention(frames, tokens, heads, width, slots)
    inputs = drawn(graph)
    wanted, made = every(graph, inputs), every(side_by_side(join_pairs(slice_columns(graph))), inputs)
    for name, value in wanted.items():
        # Sums inside heads are of numbers that f16 holds: 2^-11 each, divided by a spread that can be small.
        np.testing.assert_allclose(made[name], value, rtol=0.02, atol=0.05, err_msg=name)


def test_an_attention_over_time_is_executed_to_the_bit_without_turning_its_states() -> None:
    graph = attention(2, 16, 3, 16, 4)
    inputs = drawn(graph)
    made = compile_tsp(graph)
    program = load(save(made.program))
    assert {p.order for p in program.inputs if p.name in ("keys", "values")} == {(2, 0, 1, 3)}
    assert {p.order for p in program.outputs if p.name.startswith("state:")} == {(2, 0, 1, 3)}
    assert not check(program)
    ran = run_bursts(program, inputs)
    wanted = oracle.run(made.graph, inputs, program.facts["cuts"])
    assert all(np.array_equal(ran[name], wanted[name]) for name in wanted)
    plain = every(graph, inputs)
    np.testing.assert_allclose(ran["y"], plain["y"], atol=0.02)


def test_rotary_pairs_become_one_row_and_keep_every_bit() -> None:
    b = Builder()
    x = b.input("x", "f32", (5, 8))
    first, second = b.narrow(x, 1, 0, 4), b.narrow(x, 1, 4, 8)
    turns = [b.broadcast(b.input(n, "f32", (1, 4)), (5, 4)) for n in ("c", "s")]
    b.output("y", b.concatenate(forms.multiply_pairs(b, (first, second), tuple(turns)), 1))
    graph = b.graph()
    joined = join_pairs(graph)
    assert sum(n.op == "binary" and n.type.shape == (5, 8) for n in joined.nodes) == 3
    inputs = drawn(graph)
    assert np.array_equal(every(graph, inputs)["y"], every(joined, inputs)["y"])


@pytest.mark.parametrize("channels", [1, 3, 24])
def test_pictures_of_few_channels_are_calculated_by_the_line(channels: int) -> None:
    b = Builder()
    x = b.input("x", "f32", (1, 32, 40, 24))
    part = b.narrow(x, 3, 0, channels)
    weight = b.constant(np.arange(channels, dtype=np.float32).reshape(1, 1, 1, -1), "f32")
    alpha = b.broadcast(b.narrow(x, 3, 23, 24), b.shape(part))
    made = b.binary("add", b.binary("mul", part, b.broadcast(weight, b.shape(part))), alpha)
    b.output("y", b.unary("neg", made))
    graph = b.graph()
    inputs = drawn(graph)
    lines = fold_lines(graph)
    assert all(n.type.shape == (1, 32, 40 * channels) for n in lines.nodes if n.op in ("binary", "unary"))
    assert np.array_equal(every(graph, inputs)["y"], every(lines, inputs)["y"])
    compiled = compile_tsp(graph)
    assert not check(compiled.program)
    assert np.array_equal(run_bursts(compiled.program, inputs)["y"], every(graph, inputs)["y"])


def test_a_graph_inside_another_gives_the_same_and_says_what_does_not_fit() -> None:
    inner = Builder()
    inner.output("y", inner.unary("neg", inner.input("x", "f32", (4,))))
    b = Builder()
    value = b.unary("abs", b.input("outer", "f32", (4,)))
    b.output("z", inline(b, inner.graph(), {"x": value})["y"])
    given_ = {"outer": np.ones(4, np.float32)}
    assert np.array_equal(every(b.graph(), given_)["z"], -given_["outer"])
    with pytest.raises(ValueError, match="input 'x' must be"):
        inline(b, inner.graph(), {"x": b.input("wide", "f32", (5,))})
