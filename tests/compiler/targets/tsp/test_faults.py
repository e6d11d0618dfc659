"""Single changes to valid programs: the checker must see all that matters, and both simulators what it sees."""

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
from elsewhere.compiler.targets.tsp.faults import CHANGES, COMPUTED, changed, has, matters
from elsewhere.compiler.targets.tsp.program import Op
from elsewhere.compiler.targets.tsp.semantics import SimulationError

Compiled = tuple[TspCompiled, dict[str, Any]]


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_that_matters_is_caught(kind: str, compiled: Compiled) -> None:
    made, inputs = compiled
    if not has(made.program, kind):
        pytest.skip(f"no instruction has a {kind}")
    wanted = run_bursts(made.program, inputs)
    random = np.random.Generator(np.random.Philox(len(kind)))
    for _ in range(3):
        broken = changed(made.program, kind, random)
        told = {f.rule for f in check(broken)}
        if kind not in COMPUTED:
            told -= {"seal"}
        assert told or not matters(broken, inputs, wanted)


def test_another_bank_is_caught_whether_it_matters_or_not(layer: Compiled) -> None:
    random = np.random.Generator(np.random.Philox(7))
    for _ in range(100):
        assert check(changed(layer[0].program, "bank", random))


def test_a_read_a_cycle_late_is_caught_by_both(layer: Compiled) -> None:
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


def test_an_output_in_the_other_bank_is_caught(layer: Compiled) -> None:
    """Its rows in the right bank hold what an earlier value left there, so that only the meant strip tells."""
    made, inputs = layer
    wanted = run_bursts(made.program, inputs)
    code = made.program.code.copy()
    hurt = 0
    for index in np.flatnonzero(code["op"] == Op.WRITE)[-12:].tolist():
        changed_code = code.copy()
        changed_code["a"][index, 1] ^= made.program.machine.bank_rows
        broken = dataclasses.replace(made.program, code=changed_code)
        assert "strip" in {f.rule for f in check(broken)}
        hurt += matters(broken, inputs, wanted)
    assert hurt, "none of them was read from"


def test_numbers_that_cannot_be_are_told_without_a_crash(compiled: Compiled) -> None:
    """Any bytes in an instruction give faults, never an exception."""
    program = compiled[0].program
    random = np.random.Generator(np.random.Philox(3))
    for _ in range(40):
        raw = program.code.copy()
        words = raw.view(np.uint8).reshape(len(raw), -1)
        words[random.integers(len(raw)), random.integers(words.shape[1])] ^= 1 << int(random.integers(8))
        check(dataclasses.replace(program, code=raw))


def test_an_empty_program_keeps_every_rule(layer: Compiled) -> None:
    program = layer[0].program
    empty = dataclasses.replace(program, code=program.code[:0], outputs=(), strips=program.strips[:0], image=[])
    assert check(empty) == []
