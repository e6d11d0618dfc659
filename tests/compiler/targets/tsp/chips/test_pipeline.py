"""Stages together are the network; their cycles are those of their programs and packets."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.blocks import decoder_block, decoder_inputs
from elsewhere.compiler.targets.tsp.chips.partition import PartitionError
from elsewhere.compiler.targets.tsp.chips.pipeline import cut, schedule_pipeline
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.shapes import Transformer

BLOCKS = Transformer(name="blocks", layers=4, width=64, heads=8, key_value_heads=8, hidden=128)


def test_stages_one_after_the_other_are_the_network() -> None:
    graph = decoder_block(BLOCKS, context=16, layers=4)
    known: dict[str, np.ndarray] = decoder_inputs(BLOCKS, context=16, layers=4)
    states: dict[str, np.ndarray] = {}
    for stage in cut(graph, 4):
        outputs, fresh = reference.run(stage, {n: known[n] for n in stage.inputs})
        known |= outputs
        states |= fresh
    wanted, wanted_states = reference.run(graph, known)
    np.testing.assert_array_equal(known["y"], wanted["y"])
    assert states.keys() == wanted_states.keys()
    for name, value in wanted_states.items():
        np.testing.assert_array_equal(states[name], value)


def test_little_crosses_between_blocks() -> None:
    crossing = [len([n for n, _ in s.outputs if n.startswith("cut:")]) for s in cut(decoder_block(BLOCKS, layers=4), 4)]
    assert crossing == [1, 1, 1, 0]


def test_latency_is_the_stages_and_what_is_handed_on() -> None:
    made = schedule_pipeline(decoder_block(BLOCKS, context=16, layers=2), 2)
    assert made.vectors == (4,) and len(made.stages) == 2
    hop = GROQCHIP1.hop_seconds * GROQCHIP1.clock_hz
    assert made.latency == sum(made.stages) + made.handing[0] and made.handing[0] >= 2 * hop
    assert made.interval == max(made.stages)


@pytest.mark.parametrize("count", [0, 10_000])
def test_impossible_stages_are_told(count: int) -> None:
    with pytest.raises(PartitionError, match="stages must be"):
        cut(decoder_block(BLOCKS, context=16), count)
