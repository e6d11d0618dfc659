"""Networks of the zoo on one chip, unmodified: the checker finds nothing, and the small ones give the oracle's bits.

`benchmarks/tsp_coverage.py` measures all of them; here are the smallest, and some more that take longer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.scheduler.flow import ScheduleError

torch = pytest.importorskip("torch")


@cache
def imported(name: str) -> tuple[Any, dict[str, Any]]:
    import zoo

    from elsewhere.compiler.importers.torch_export import from_exported

    module, inputs = zoo.build(name)
    graph = from_exported(torch.export.export(module, inputs))
    return graph, dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True))


@cache
def made(name: str) -> TspCompiled:
    return compile_tsp(imported(name)[0])


SLOW = ("dit-block-swiglu", "llama-block", "minilm-l6", "resnet-18", "mobilenet-v3-small")


@pytest.mark.parametrize(
    "name", ["tokenizer-encoder", "dit-block", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_it_compiles_as_it_is_and_the_checker_agrees(name: str) -> None:
    program = made(name).program
    assert check(program) == []
    assert program.cycles > 0 and program.facts["memory"]["ratio"] < 1.1


@pytest.mark.slow
def test_the_encoder_gives_the_oracles_bits() -> None:
    compiled, (_, given) = made("tokenizer-encoder"), imported("tokenizer-encoder")
    wanted = oracle.run(compiled.graph, given, compiled.program.facts["cuts"])
    found = run_bursts(compiled.program, given)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[k], wanted[k]) for k in wanted)


def test_what_does_not_fit_says_by_how_much() -> None:
    small = GROQCHIP1.changed(rows_per_slice=256)
    with pytest.raises(ScheduleError, match=r"needs \d+ rows of 128 .* \d+ chips would hold"):
        compile_tsp(imported("tokenizer-encoder")[0], machine=small)
