"""Networks in memory: the same bits for any number of threads, states that move on, threads that end, wrong inputs."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import drawn
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.build import build
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe
from elsewhere.compiler.targets.cpu.program import Program
from elsewhere.compiler.targets.cpu.runtime import Network

HERE = LEVELS[LEVELS.index(best_level()) :]


def recurrent(width: int = 96, length: int = 8) -> Graph:
    """A state that is normalised and fed back, and a cache that rolls: each run remembers one row more."""
    r = np.random.default_rng(0)
    b = Builder("cell")
    x, state = b.input("x", "f32", (4, width)), b.input("state", "f32", (4, width))
    cache, at = b.input("cache", "f32", (length, 4, width)), b.input("at", "i32", ())
    mixed = b.matmul(b.binary("add", x, state), b.constant(r.standard_normal((width, width)) / width**0.5, "f32"))
    mixed = b.binary("add", b.unary("tanh", mixed), x)
    kept = b.update(cache, b.reshape(mixed, (1, 4, width)), at, 0)
    mean = b.reshape(b.reduce("sum", kept, (0,)), (4, width))
    new = b.binary("mul", mean, b.unary("rsqrt", b.binary("add", b.reduce("sum", b.binary("mul", mean, mean), (1,)),
                                                           b.constant(np.ones((1, 1)), "f32"))))  # fmt: skip
    last = b.constant(np.int32(length), "i32")
    following = b.binary("add", at, b.constant(np.int32(1), "i32"))
    following = b.select(b.binary("less", following, last), following, b.constant(np.int32(0), "i32"))
    b.output("y", new)
    b.output("where", at)
    b.state("state", new)
    b.state("cache", kept)
    b.state("at", following)
    return b.graph()


def bits(program: Program, threads: int, steps: int) -> str:
    network = Network(program, describe(), threads)
    inputs = np.random.default_rng(5).standard_normal((steps, *network.inputs["x"].shape)).astype(np.float32)
    seen = hashlib.sha256()
    for x in inputs:
        network.inputs["x"][...] = x
        network.run()
        for values in network.outputs.values():
            seen.update(np.ascontiguousarray(values).tobytes())
    network.close()
    return seen.hexdigest()


@pytest.fixture(scope="module")
def program() -> Program:
    return build(recurrent(), describe(), (1, 2, 3))


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("threads", [1, 2])
def test_states_move_on_as_the_oracle_says(level: str, threads: int) -> None:
    graph, machine = recurrent(17, 3), describe(level)
    network = Network(build(graph, machine), machine, threads)
    held = {name: np.zeros(graph.nodes[i].type.shape, np.float32) for name, i in graph.inputs.items()}
    random = np.random.default_rng(1)
    for _ in range(8):
        held["x"] = random.standard_normal((4, 17)).astype(np.float32)
        made = network({"x": held["x"]})
        wanted, states = reference.run(graph, held)
        held |= states
        assert made["where"] == wanted["where"]
        np.testing.assert_allclose(made["y"], wanted["y"], atol=2e-5)
        np.testing.assert_allclose(network.read("cache"), states["cache"], atol=2e-5)
    network.close()


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=drawn.graphs(16))
def test_three_runs_of_random_graphs_with_states(graph: drawn.Drawn) -> None:
    """Only exact values are fed back, so that differences do not add up."""
    exact = tuple(s for s in graph.graph.states if graph.tolerance[s[0]] == 0.0)
    made = Graph(graph.graph.nodes, graph.graph.outputs, exact, graph.graph.constants)
    network = Network(build(made, describe()), describe(), 2)
    held: dict[str, NDArray[Any]] = dict(graph.inputs)
    for name, values in held.items():
        network.write(name, values)
    for _ in range(3):
        network.run()
        outputs, states = reference.run(made, held)
        held |= states
        for name, want in states.items():
            np.testing.assert_array_equal(network.read(name), want)
        for name, want in outputs.items():
            if graph.tolerance[name] == 0.0:
                np.testing.assert_array_equal(network.read(name), want)
    network.close()


def test_a_thousand_steps_give_the_same_bits_for_one_two_and_three_threads(program: Program) -> None:
    assert bits(program, 1, 1000) == bits(program, 2, 1000)
    if len(os.sched_getaffinity(0)) > 2:
        assert bits(program, 3, 1000) == bits(program, 1, 1000)


def test_another_process_gives_the_same_bits(program: Program) -> None:
    """Compiled there anew."""
    code = (
        "from test_runtime import recurrent, bits\n"
        "from elsewhere.compiler.targets.cpu.build import build\n"
        "print(bits(build(recurrent()), 2, 50))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == bits(program, 1, 50)


@pytest.mark.slow
def test_a_thousand_steps_of_the_world_model() -> None:
    import zoo

    from elsewhere.compiler.importers.torch_export import from_module

    module, inputs = zoo.build("world-step")
    graph = from_module(module, inputs)
    made = build(graph, describe())
    seen = []
    for threads in (1, 2):
        network = Network(made, describe(), threads)
        for name, value in zip(network.inputs, inputs, strict=True):
            network.write(name, value.numpy())
        digest = hashlib.sha256()
        for step in range(1000):
            first = next(iter(network.inputs.values()))
            first.ravel()[step % first.size] += 1
            network.run()
            for values in network.outputs.values():
                digest.update(np.ascontiguousarray(values).tobytes())
        network.close()
        seen.append(digest.hexdigest())
    assert seen[0] == seen[1]


# -- threads -----------------------------------------------------------------------------------------------------------


def until(condition: Any, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def test_closing_and_forgetting_end_the_threads(program: Program) -> None:
    before = threading.active_count()
    closed = Network(program, describe(), 2)
    closed.run()
    closed.close()
    closed.close()
    assert threading.active_count() == before
    with pytest.raises(ValueError, match="closed"):
        closed.run()
    assert np.isfinite(closed.read("y")).all()
    forgotten = Network(program, describe(), 2)
    forgotten.run()
    del forgotten
    gc.collect()
    assert until(lambda: threading.active_count() == before)
    Network(program, describe(), 2)  # never ran
    gc.collect()
    assert until(lambda: threading.active_count() == before)


def test_helpers_sleep_and_wake(program: Program) -> None:
    network = Network(program, describe(), 2)
    network.inputs["x"][...] = 1.0
    for pause in (0.0, 0.0, 0.02, 0.0, 0.05, 0.0003, 0.0002, 0.0004, 0.0001) * 4:
        network.run()
        time.sleep(pause)
    network.close()


def test_many_networks_and_a_python_thread_for_each(program: Program) -> None:
    wanted = bits(program, 1, 60)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: bits(program, 1, 60), range(8))) == {wanted}
    networks = [Network(program, describe(), 1 + i % 2) for i in range(12)]
    for network in networks:
        network.inputs["x"][...] = 0.5
    for _ in range(3):
        for network in networks:
            network.run()
    assert len({network.read("y").tobytes() for network in networks}) == 1
    for network in networks:
        network.close()


@pytest.mark.parametrize("threads", [0, -1, 4, 64])
def test_numbers_of_threads_that_were_not_planned(program: Program, threads: int) -> None:
    with pytest.raises(ValueError, match=r"planned for \[1, 2, 3\] threads"):
        Network(program, describe(), threads)


# -- inputs ------------------------------------------------------------------------------------------------------------


def echo() -> Network:
    b = Builder()
    for dtype in ("f32", "bf16", "f16", "i8", "i32"):
        b.output(f"{dtype} out", b.input(dtype, dtype, (6,)))
    return Network(build(b.graph(), describe(), (1,)), describe())


@pytest.mark.parametrize("given", [bool, np.uint8, np.int8, np.int64, np.float16, np.float32, np.float64, list])
def test_inputs_of_any_number_format_are_converted(given: Any) -> None:
    network = echo()
    values = np.array([0, 1, 1, 0, 1, 0])
    for name in tuple(network.inputs):
        network.write(name, values.tolist() if given is list else values.astype(given))
    network.run()
    for name in network.outputs:
        np.testing.assert_array_equal(network.read(name), values)


def test_casts_of_inputs_are_those_of_the_language() -> None:
    network = echo()
    values = np.array([np.nan, np.inf, -np.inf, 2.5, 1e10, -300.0])
    for name in network.inputs:
        network.write(name, values)
    network.run()
    assert network.read("i8 out").tolist() == [-128, 127, -128, 2, 127, -128]
    assert network.read("i32 out").tolist() == [0, 2**31 - 1, -(2**31), 2, 2**31 - 1, -300]
    assert network.read("bf16 out").tolist()[3:] == [2.5, 1e10 // 2**26 * 2**26, -300.0]
    assert np.isnan(network.read("f32 out")[0]) and np.isnan(network.read("f16 out")[0])


def test_what_was_never_written_is_zero() -> None:
    network = echo()
    network.run()
    for name in network.outputs:
        assert not network.read(name).any(), name


def test_wrong_inputs_are_refused_by_name() -> None:
    network = echo()
    with pytest.raises(ValueError, match=r"no input 'z'; there are .*'bf16'.*'i8'"):
        network({"z": np.zeros(6)})
    with pytest.raises(ValueError, match=r"'f32' must have shape \(6,\), got \(3, 2\)"):
        network({"f32": np.zeros((3, 2))})
    for wrong in (np.array(list("abcdef")), np.zeros(6, complex), np.array([None] * 6)):
        with pytest.raises(ValueError, match=r"'i8' must hold real numbers"):
            network.write("i8", wrong)
    with pytest.raises(ValueError, match=r"no output 'w'"):
        network.read("w")


def test_profile_times_every_kernel(program: Program) -> None:
    network = Network(program, describe())
    times = network.profile(3)
    assert times.shape == (len(program.entries),)
    assert (times >= 0).all() and times.max() > 0
