"""Fused regions in shapes that networks rarely have, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.ir import Builder
from elsewhere.compiler.targets.cpu.build import build
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe
from elsewhere.compiler.targets.cpu.runtime import Network


@pytest.mark.parametrize("level", LEVELS[LEVELS.index(best_level()) :])
def test_what_is_multiplied_may_be_added_too(level: str) -> None:
    """x + tanh(x·w), where x is an operand of the product and of its epilogue."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((40, 40)).astype(np.float32) / 8
    b = Builder("layer")
    x = b.input("x", "f32", (9, 40))
    b.output("y", b.binary("add", b.unary("tanh", b.add("matmul", (x, b.constant(weights, "f32")))), x))
    machine = describe(level)
    given = random.standard_normal((9, 40)).astype(np.float32)
    made = Network(build(b.graph(), machine, (1,)), machine)({"x": given})["y"]
    np.testing.assert_allclose(made, given + np.tanh(given @ weights), atol=2e-6)


def test_a_convolution_may_be_added_to_its_input() -> None:
    random = np.random.default_rng(1)
    kernel = random.standard_normal((1, 1, 24, 24)).astype(np.float32) / 5
    b = Builder("layer")
    x = b.input("x", "f32", (1, 6, 5, 24))
    made = b.add(
        "convolution",
        (x, b.constant(kernel, "f32")),
        stride=(1, 1),
        dilation=(1, 1),
        padding=((0, 0), (0, 0)),
        groups=1,
    )
    b.output("y", b.binary("add", made, x))
    given = random.standard_normal((1, 6, 5, 24)).astype(np.float32)
    machine = describe()
    y = Network(build(b.graph(), machine, (1,)), machine)({"x": given})["y"]
    np.testing.assert_allclose(y, given + given @ kernel[0, 0], atol=1e-5)
