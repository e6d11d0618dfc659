"""The networks as native programs: no torch, memory of their own, the same bits for any number of threads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.machine import describe
from elsewhere.model import Generator, WeightsError
from elsewhere.model.configuration import TransformerConfig
from elsewhere.model.graphs.tokenizer import decoder_graph, encoder_graph
from elsewhere.model.graphs.transformer import (
    Tables,
    look_graph,
    pairs_apart,
    slot_count,
    slot_of,
    step_graph,
    transformer_shapes,
    visible_slots,
)
from elsewhere.model.network import Models, Workshop, compiled, fastest_precision
from elsewhere.model.weights import DIRECTORY, read_arrays
from elsewhere.scene import parse

HEIGHT, WIDTH = 48, 64
SMALL = TransformerConfig(width=32, layers=4, heads=2, context=2, text_length=3, vocabulary=("red", "ball"))


@pytest.fixture(scope="module")
def models() -> Models:
    return Models.read(DIRECTORY)


def inputs_of(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Random inputs and states; the cache's slot is the third and all of it is seen."""
    rng = np.random.default_rng(seed)
    given = {name: 0.5 * rng.standard_normal(graph.nodes[i].type.shape) for name, i in graph.inputs.items()}
    given = {name: np.asarray(value, np.float32) for name, value in given.items()}
    if "slot" in given:
        given |= {"slot": np.int32(2), "visible": np.zeros_like(given["visible"])}
    return given


def small_weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in transformer_shapes(SMALL).items()}


def relative(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(made - wanted).mean() / np.square(wanted).mean()))


@pytest.mark.parametrize("name", ["decode", "encode", "look", "step"])
def test_native_programs_agree_with_the_oracle(models: Models, name: str) -> None:
    graph = {
        "decode": lambda: decoder_graph(models.tokenizer, models.tokenizer_arrays, HEIGHT, WIDTH),
        "encode": lambda: encoder_graph(models.tokenizer, models.tokenizer_arrays, HEIGHT, WIDTH),
        "look": lambda: look_graph(SMALL, small_weights(0), HEIGHT, WIDTH),
        "step": lambda: step_graph(SMALL, small_weights(0), HEIGHT, WIDTH),
    }[name]()
    from elsewhere.compiler.targets.cpu.runtime import Network

    code = compiled(graph, describe(), (1, 2), "f32")
    given = inputs_of(graph, 1)
    outputs, states = reference.run(graph, given)
    one, two = (Network(code.program, describe(), threads, code.library) for threads in (1, 2))
    for network in (one, two):
        for port, values in given.items():
            network.write(port, values)
        network.run()
    two.close()
    for port, wanted in (outputs | states).items():
        assert relative(one.read(port), wanted) < 2e-6, port
        np.testing.assert_array_equal(one.read(port), two.read(port))


def test_an_evaluation_may_be_repeated() -> None:
    """More than one step a frame: what the first evaluation writes, the second writes again, and reads as before."""
    graph = step_graph(SMALL, small_weights(0), HEIGHT, WIDTH)
    given = inputs_of(graph, 2) | {"slot": np.int32(slot_of(SMALL, 6)), "visible": visible_slots(SMALL, 7)}
    outputs, states = reference.run(graph, given)
    again, kept = reference.run(graph, given | states)
    np.testing.assert_array_equal(again["clean"], outputs["clean"])
    for name, values in states.items():
        np.testing.assert_array_equal(kept[name], values)


def test_slots_hold_the_sink_and_the_last_frames() -> None:
    held: dict[int, int] = {}
    for frame in range(20):
        past = slot_of(SMALL, max(frame - 1, 0))
        if frame:
            held[past] = frame - 1
        mask = visible_slots(SMALL, frame)
        assert mask.shape == (2, slot_count(SMALL))
        seen = {held[slot] for slot in range(slot_count(SMALL) - 1) if mask[1, slot] == 0.0}
        assert seen == ({0, *range(max(0, frame - 1 - SMALL.context), frame)} if frame else set())
        assert (mask[:, -1] == 0.0).tolist() == [False, True]
        assert mask[0, past] == 0.0
        if frame:
            np.testing.assert_array_equal(mask[0, :-1], mask[1, :-1])


def test_a_common_permutation_changes_no_product() -> None:
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 12))
    order = pairs_apart(12)
    assert sorted(order) == list(range(12))
    assert q[order] @ k[order] == pytest.approx(q @ k)


def test_text_is_normalised_per_head() -> None:
    keys, values = Tables(config=SMALL, weights=small_weights(3)).text(np.array([2, 3, 0]))
    assert keys.shape == values.shape == (4, 2, 3, 16)
    np.testing.assert_allclose(keys.mean(axis=-1), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.square(keys).mean(axis=-1), 1.0, rtol=1e-3)


def test_streams_share_code_and_nothing_else(models: Models) -> None:
    workshop = Workshop(models, threads=1, precision="f32")
    a, b = workshop.networks(64, 64), workshop.networks(64, 64)
    assert a.step.library is b.step.library
    assert a.step.program is b.step.program
    given = inputs_of(step_graph(models.transformer, models.tables.weights, 64, 64), 4)
    for name, values in given.items():
        a.step.write(name, values)
        b.step.write(name, values)
    first = a.evaluate()
    for _ in range(3):
        a.step.write("noisy", 2.0 * given["noisy"])
        a.evaluate()
    np.testing.assert_array_equal(b.evaluate(), first)


@pytest.mark.parametrize("size", [64, 256])
def test_bf16_is_near_f32(models: Models, size: int) -> None:
    """Large pictures too, whose values are also stored in bf16."""
    world = (models.transformer, models.tables.weights)
    given = inputs_of(step_graph(*world, size, size), 5)
    clean, pictures = [], []
    for precision in ("f32", "bf16"):
        networks = Workshop(models, threads=1, precision=precision).networks(size, size)
        for name, values in given.items():
            networks.step.write(name, values)
        clean.append(networks.evaluate())
        planes = np.random.default_rng(6).uniform(0.0, 1.0, (size, size, 24)).astype(np.float32)
        pictures.append(np.array(networks.picture(clean[0], planes)))
    assert 0.0 < relative(clean[1], clean[0]) < 0.03
    assert 0.0 < np.sqrt(np.square(pictures[1] - pictures[0]).mean()) < 0.01
    assert fastest_precision() in ("f32", "bf16")


def test_sizes_and_arguments_that_cannot_be(models: Models) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        Workshop(models, threads=1, precision="f32").networks(64, 70)
    with pytest.raises(ValueError, match="precision must be one of"):
        Generator.load(precision="f64")
    with pytest.raises(ValueError, match="threads must be from 1 to"):
        Generator.load(threads=0)
    stream = Generator.load().start(parse("a red ball drifting on a lake").scene, 0)
    stream.networks(64, 64)
    with pytest.raises(ValueError, match="this stream has pictures of"):
        stream.networks(64, 80)


def test_weights_must_fit_their_configuration(models: Models) -> None:
    path = DIRECTORY / "world.safetensors"
    shapes = transformer_shapes(models.transformer)
    read_arrays(path, shapes)
    with pytest.raises(WeightsError, match=r"does not fit its own configuration: blocks.6.feed_in.bias"):
        read_arrays(path, transformer_shapes(replace(models.transformer, layers=7)))
    with pytest.raises(WeightsError, match=r"out.weight must be nothing"):
        read_arrays(path, {name: shape for name, shape in shapes.items() if name != "out.weight"})


def test_a_frame_needs_no_torch() -> None:
    """In a process in which torch cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import elsewhere\n"
        "film = elsewhere.generate('a red ball drifting on a lake', seconds=0.1, size=64)\n"
        "print(film.frames.shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "(2, 64, 64, 3)"
