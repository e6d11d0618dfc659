"""The world model's frame on a tensor streaming processor."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.model import chip
from elsewhere.model.network import Models
from elsewhere.model.weights import DIRECTORY


def test_a_frame_is_its_three_networks_one_after_the_other() -> None:
    models = Models.read(DIRECTORY)
    graph = chip.frame_graph(models, 32, 32)
    inputs = chip.frame_inputs(models, graph, 3, 1)
    outputs, states = reference.run(graph, inputs)
    parts = {name: make() for name, make in models.graphs(32, 32).items()}
    look = reference.run(parts["look"], {"planes": inputs["planes"]})[0]["features"]
    told = {k: v for k, v in inputs.items() if k not in ("planes", chip.PAST)}
    clean, kept = reference.run(parts["step"], told | {"features": np.stack([inputs[chip.PAST], look])})
    picture = reference.run(parts["decode"], {"planes": inputs["planes"], "latents": clean["clean"]})[0]["picture"]
    assert np.array_equal(outputs["picture"], picture)
    assert np.array_equal(states[chip.PAST], look)
    assert all(np.array_equal(states[name], value) for name, value in kept.items())


@pytest.mark.parametrize(("height", "width"), [(100, 128), (0, 128)])
def test_sizes_that_cannot_be_are_told(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of 16, got {height} and {width}"):
        chip.frame_graph(Models.read(DIRECTORY), height, width)


def test_frames_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        chip.measure(Models.read(DIRECTORY), GROQCHIP1, height=32, width=32, frames=0)


@pytest.mark.slow
def test_two_frames_of_a_film_are_executed_to_the_bit() -> None:
    made = chip.measure(Models.read(DIRECTORY), GROQCHIP1, height=32, width=32, frames=2)
    assert made.executed and made.faults == 0
    assert made.deviation < 0.01
