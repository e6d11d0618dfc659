"""Topology, compiled exchanges, and a node of 8 chips that gives what one chip gives."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.network import (
    Exchange,
    NetworkError,
    System,
    all_gather,
    all_reduce,
    all_reduce_latency,
    run_node,
)


@pytest.mark.parametrize(("chips", "diameter"), [(1, 0), (8, 1), (16, 3), (256, 3), (264, 3)])
def test_diameters(chips: int, diameter: int) -> None:
    assert System(GROQCHIP1, chips).diameter <= diameter


def test_every_chip_of_the_largest_system_is_reached() -> None:
    hops = System(GROQCHIP1, GROQCHIP1.largest_system).hops(0)
    assert min(hops) == 0 and max(hops) <= 7


def test_links_are_mutual() -> None:
    system = System(GROQCHIP1, 264)
    for chip in range(0, 264, 7):
        assert all(chip in system.neighbours(other) for other in system.neighbours(chip))


def test_the_published_latency_of_256_chips() -> None:
    assert all_reduce_latency(System(GROQCHIP1, 256)) == pytest.approx(2166e-9, rel=0.15)


def test_exchanges_use_a_link_once_at_a_time() -> None:
    for exchange in (all_gather(GROQCHIP1, range(8), 5), all_reduce(GROQCHIP1, range(8), 13)):
        exchange.check()
    broken = Exchange(GROQCHIP1, [*all_gather(GROQCHIP1, range(2), 1).sends] * 2)
    with pytest.raises(NetworkError, match="is taken"):
        broken.check()


def test_jitter_is_absorbed_or_the_run_fails() -> None:
    exchange = all_gather(GROQCHIP1, range(8), 4)
    random = np.random.Generator(np.random.Philox(0))
    exchange.deliver(lambda _: int(random.integers(GROQCHIP1.link_latency_low, GROQCHIP1.link_latency_high + 1)))
    with pytest.raises(NetworkError, match="arrives in cycle"):
        exchange.deliver(lambda _: GROQCHIP1.link_latency_high + 1)


def test_eight_chips_give_what_numpy_gives_and_timing_agrees() -> None:
    r = np.random.Generator(np.random.Philox(0))
    first, second = (r.integers(-9, 10, (64, 64)).astype(np.int8) for _ in range(2))
    phases = []
    for weights in (first, second):
        programs = []
        for chip in range(8):
            b = Builder()
            x = b.input("x", "i8", (5, 64))
            y = b.cast(b.matmul(x, b.constant(weights[:, 8 * chip : 8 * chip + 8], "i8")), "i8")
            b.output("y", y)
            programs.append(compile_tsp(b.graph()).program)
        phases.append(programs)
    x = r.integers(-2, 3, (5, 64)).astype(np.int8)
    run = run_node(phases, {"x": x}, GROQCHIP1)
    made = np.clip(x.astype(np.int32) @ first.astype(np.int32), -128, 127)
    made = np.clip(made @ second.astype(np.int32), -128, 127)
    np.testing.assert_array_equal(np.concatenate([o["y"] for o in run.outputs], axis=1), made)
    assert run_node(phases, {"x": x}, GROQCHIP1, functional=False).cycles == run.cycles


def test_impossible_systems_are_told() -> None:
    with pytest.raises(NetworkError, match="10440"):
        System(GROQCHIP1, 20000)
