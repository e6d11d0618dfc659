"""Single changes to valid programs: a cycle earlier or later, another bank. The checker must see what matters."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.cycle import run_cycles
from elsewhere.compiler.targets.tsp.program import Op, Program
from elsewhere.compiler.targets.tsp.semantics import SimulationError

MEMORY = (Op.READ, Op.WRITE)


def changed(program: Program, random: np.random.Generator) -> Program:
    """One instruction a cycle off, or one memory access in the other bank."""
    code = program.code.copy()
    index = int(random.integers(len(code)))
    if code["op"][index] in MEMORY and random.integers(2):
        code["a"][index, 1] ^= program.machine.bank_rows
    else:
        code["issue"][index] += 1 if random.integers(2) or code["issue"][index] == 0 else -1
    return dataclasses.replace(program, code=code)


def matters(program: Program, inputs: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a run gives other bits, or cannot be."""
    try:
        found = run_bursts(program, inputs)
    except (SimulationError, IndexError, ValueError):
        return True
    return any(not np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("seed", range(3))
def test_every_change_that_matters_is_caught(seed: int, layer: tuple[TspCompiled, dict[str, Any]]) -> None:
    made, inputs = layer
    wanted = run_bursts(made.program, inputs)
    random = np.random.Generator(np.random.Philox(seed))
    for _ in range(15):
        broken = changed(made.program, random)
        if matters(broken, inputs, wanted):
            assert check(broken)


def test_a_read_a_cycle_late_is_caught_by_both(layer: tuple[TspCompiled, dict[str, Any]]) -> None:
    made, inputs = layer
    wanted = run_bursts(made.program, inputs)
    code = made.program.code.copy()
    index = int(np.flatnonzero((code["op"] == Op.READ) & (code["count"] > 20))[-1])
    code["issue"][index] += 1
    broken = dataclasses.replace(made.program, code=code)
    assert {f.rule for f in check(broken)} & {"arrival", "queue", "bank", "read port", "collision"}
    assert matters(broken, inputs, wanted)
    with contextlib.suppress(SimulationError):
        assert any(not np.array_equal(run_cycles(broken, inputs)[n], wanted[n]) for n in wanted)


def test_a_write_to_the_other_bank_is_caught_by_both(layer: tuple[TspCompiled, dict[str, Any]]) -> None:
    made, inputs = layer
    wanted = run_bursts(made.program, inputs)
    code = made.program.code.copy()
    index = int(np.flatnonzero((code["op"] == Op.WRITE) & (code["queue"] < made.program.machine.slices // 2))[-1])
    code["a"][index, 1] ^= made.program.machine.bank_rows
    broken = dataclasses.replace(made.program, code=code)
    assert check(broken)
    assert matters(broken, inputs, wanted)
