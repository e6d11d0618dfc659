"""Every network of the zoo, imported by `torch.export`, gives PyTorch's numbers when the oracle interprets it.

Tolerance: PyTorch sums in f32 in an order of its own, the oracle in f64 with one rounding a primitive; what is compared
is the root mean square of the difference over that of PyTorch's output, per output. A layer of n terms errs by about
√n·2⁻²⁴ and a hundred layers by a few 10⁻⁶ at most.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zoo

from elsewhere.compiler.importers.torch_export import from_module
from elsewhere.compiler.ir import check
from elsewhere.compiler.targets import reference

TOLERANCE = 1e-5
EVERY = [pytest.param(name, marks=[pytest.mark.slow] if entry.large else []) for name, entry in zoo.ENTRIES.items()]


@pytest.mark.parametrize("name", EVERY)
def test_the_oracle_agrees_with_pytorch(name: str) -> None:
    module, inputs = zoo.build(name)
    with torch.no_grad():
        made = module(*inputs)
    graph = check(from_module(module, inputs), "imported")
    given = dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True))
    outputs, states = reference.run(graph, given)
    assert not states
    for got, wanted in zip(outputs.values(), made if isinstance(made, tuple) else [made], strict=True):
        error = np.sqrt(np.mean((got - wanted.numpy()) ** 2) / np.mean(wanted.numpy() ** 2))
        assert error <= TOLERANCE
