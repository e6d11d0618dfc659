"""Views against NumPy's, and layouts that lose no byte."""

from __future__ import annotations

import random

import drawn
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from elsewhere.compiler.ir import DTYPES, Builder, Graph, Node, Tensor
from elsewhere.compiler.plan.layout import Access, Layout, lay_out, packed, restride, unview, view
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.build import build, prepare
from elsewhere.compiler.targets.cpu.machine import describe
from elsewhere.compiler.targets.cpu.runtime import Network

LENGTHS = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=0, max_size=4)


def elements(access: Access) -> NDArray[np.int64]:
    """Which element of its buffer each element of the tensor is."""
    found = np.full(access.shape, access.offset)
    for axis, (length, stride) in enumerate(zip(access.shape, access.strides, strict=True)):
        found += np.arange(length).reshape(-1, *(1,) * (len(access.shape) - axis - 1)) * stride
    return found


@given(LENGTHS)
def test_packed_strides_are_row_major(shape: list[int]) -> None:
    strides = packed(shape)
    access = Access(0, 0, strides, Tensor("f32", tuple(shape)))
    np.testing.assert_array_equal(elements(access).ravel(), np.arange(access.type.size))


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), LENGTHS)
def test_a_reshape_is_a_view_exactly_where_strides_can_say_so(r: random.Random, lengths: list[int]) -> None:
    """NumPy's rule: assigning to `.shape` fails where a copy would be needed."""
    order = r.sample(range(len(lengths)), len(lengths))
    data = np.zeros(lengths, np.int8).transpose(order)
    if lengths and r.random() < 0.5:
        data = data[tuple(slice(None, None, r.choice((1, 2))) for _ in lengths)]
    size, new = data.size, []
    for _ in range(r.randint(0, 4)):
        new.append(r.choice([d for d in range(1, size + 1) if size % d == 0]))
        size //= new[-1]
    new.append(size)
    made = restride(data.shape, data.strides, new)
    seen = data.view()
    try:
        seen.shape = tuple(new)
    except AttributeError:
        assert made is None
        return
    assert made is not None
    access = Access(0, 0, made, Tensor("i8", tuple(new)))
    np.testing.assert_array_equal(
        elements(access).ravel(), elements(Access(0, 0, data.strides, Tensor("i8", data.shape))).ravel()
    )


@pytest.mark.parametrize("lengths", [(3, 4, 5), (1, 6), (2, 1, 3, 1)])
def test_views_see_what_numpy_sees(lengths: tuple[int, ...]) -> None:
    data = np.arange(int(np.prod(lengths))).reshape(lengths)
    rank, r = len(lengths), random.Random(1)
    source = Access(3, 0, packed(lengths), Tensor("f32", lengths))
    for _ in range(50):
        order = tuple(r.sample(range(rank), rank))
        starts = tuple(r.randrange(n) for n in lengths)
        stops = tuple(r.randint(a + 1, n) for a, n in zip(starts, lengths, strict=True))
        steps = tuple(r.randint(1, 3) for _ in lengths)
        wide = tuple(n if n > 1 else 3 for n in lengths)
        for op, attributes, wanted in (
            ("transpose", {"permutation": order}, data.transpose(order)),
            (
                "slice",
                {"starts": starts, "stops": stops, "steps": steps},
                data[tuple(map(slice, starts, stops, steps))],
            ),
            ("broadcast", {"shape": wide}, np.broadcast_to(data, wide)),
            ("reshape", {"shape": (data.size,)}, data.ravel()),
        ):
            seen = view(Node(op, (0,), Tensor("f32", wanted.shape), attributes), source)
            assert seen is not None and seen.buffer == 3
            np.testing.assert_array_equal(elements(seen), wanted)


@settings(max_examples=100)
@given(st.randoms(use_true_random=False), LENGTHS)
def test_unview_is_the_inverse_of_view(r: random.Random, lengths: list[int]) -> None:
    order = tuple(r.sample(range(len(lengths)), len(lengths)))
    turned = Tensor("f32", tuple(lengths[i] for i in order))
    node = Node("transpose", (0,), turned, {"permutation": order})
    wanted = Access(1, 7, tuple(3 * s for s in packed(turned.shape)), turned)
    source = unview(node, wanted, Tensor("f32", tuple(lengths)))
    assert source is not None
    assert view(node, source) == wanted


def touched(access: Access) -> NDArray[np.int64]:
    """Bytes of the buffer."""
    size = DTYPES[access.type.dtype]
    return (elements(access).ravel()[:, None] * size + np.arange(size)).ravel()


def replay(layout: Layout) -> None:
    """Every byte that is read was written before; what lies in the arena is written once; outputs are whole."""
    written = [np.zeros(b.bytes, bool) for b in layout.buffers]
    for number, buffer in enumerate(layout.buffers):
        if buffer.kind in ("input", "state", "constant"):
            written[number][:] = True
    for number, step in enumerate(layout.steps):
        for access in step.reads:
            assert written[access.buffer][touched(access)].all(), f"step {number} {step.kind} reads what nothing wrote"
        for access in step.writes:
            places = touched(access)
            assert len(np.unique(places)) == len(places), f"step {number} {step.kind} writes a byte twice"
            buffer = layout.buffers[access.buffer]
            if buffer.kind in ("arena", "output") and step.kind != "update":
                assert not written[access.buffer][places].any(), f"step {number} {step.kind} writes over something"
            assert buffer.kind not in ("input", "constant")
            written[access.buffer][places] = True
            low, high = access.reach()
            assert (low, high) == (places.min(), places.max() + 1)
        for access in (*step.reads, *step.writes):
            assert layout.buffers[access.buffer].first <= number <= layout.buffers[access.buffer].last
    for access in layout.outputs.values():
        assert written[access.buffer].all()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn.graphs(20))
def test_layouts_of_random_graphs_lose_nothing(graph: drawn.Drawn) -> None:
    replay(lay_out(prepare(graph.graph)[0]))


def kinds(graph: Graph) -> list[str]:
    return [step.kind for step in lay_out(prepare(graph)[0]).steps]


def test_a_concatenation_and_a_border_are_made_in_place() -> None:
    b = Builder()
    x = b.input("x", "f32", (4, 16))
    b.output("joined", b.concatenate((b.unary("tanh", x), b.unary("exp", x)), 0))
    b.output("border", b.pad(b.unary("sin", x), (1, 0), (1, 0)))
    assert "copy" not in kinds(b.graph())


def rolling() -> tuple[Builder, int, int]:
    b = Builder()
    cache, at = b.input("cache", "f32", (8, 4)), b.input("at", "i32", ())
    return b, cache, b.update(cache, b.unary("tanh", b.input("x", "f32", (1, 4))), at, 0)


def test_a_rolling_cache_is_written_where_it_lies() -> None:
    b, _, new = rolling()
    b.output("sum", b.reduce("sum", new, (1,)))
    b.state("cache", new)
    assert "copy" not in kinds(b.graph())


@pytest.mark.parametrize("case", ["output", "view", "later", "patch"])
def test_a_cache_that_is_still_wanted_is_not_written_over(case: str) -> None:
    b, cache, new = rolling()
    match case:
        case "output":
            b.output("old", cache)
        case "view":
            b.output("old", b.transpose(b.narrow(cache, 0, 2, 7), (1, 0)))
        case "later":
            b.output("old", b.binary("mul", b.unary("tanh", b.reduce("sum", new, (0,))), cache))
        case "patch":
            new = b.update(cache, b.narrow(cache, 0, 0, 6), b.input("to", "i32", ()), 0)
    b.state("cache", new)
    b.output("y", b.unary("neg", new))
    r = np.random.default_rng(0)
    inputs = {"cache": r.random((8, 4)), "at": np.int32(3), "x": r.random((1, 4)), "to": np.int32(2)}
    inputs = {name: inputs[name] for name in b.graph().inputs}
    network = Network(build(b.graph(), describe()), describe())
    for name, value in inputs.items():
        network.write(name, value)
    network.run()
    outputs, states = reference.run(b.graph(), inputs)
    for name, want in {**outputs, **states}.items():
        np.testing.assert_allclose(network.read(name), want, rtol=1e-5, atol=1e-6, err_msg=name)


def test_states_change_places() -> None:
    b = Builder()
    x, y, z = (b.input(name, "f32", (2, 2)) for name in "xyz")
    b.state("x", y)
    b.state("y", z)
    b.state("z", b.transpose(x, (1, 0)))
    b.output("sum", b.binary("add", x, y))
    network = Network(build(b.graph(), describe()), describe())
    first = {name: np.arange(4.0).reshape(2, 2) + 10 * i for i, name in enumerate("xyz")}
    for name, value in first.items():
        network.write(name, value)
    network.run()
    np.testing.assert_array_equal(network.read("x"), first["y"])
    np.testing.assert_array_equal(network.read("y"), first["z"])
    np.testing.assert_array_equal(network.read("z"), first["x"].T)
