"""The same bytes in every process, and the same cycles for every input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.compiler.targets.tsp.burst import BurstSimulator
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.cycle import CycleSimulator

COMPILE = """
import hashlib, networks
from elsewhere.compiler.targets.tsp.assembly import save
from elsewhere.compiler.targets.tsp.compile import compile_tsp
for name, make in networks.CASES.items():
    print(name, hashlib.sha256(save(compile_tsp(make()[0]).program)).hexdigest())
"""


def test_two_processes_with_other_hashes_give_the_same_bytes() -> None:
    made = []
    for seed in ("1", "2"):
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        run = subprocess.run(
            [sys.executable, "-c", COMPILE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        made.append(run.stdout)
    assert made[0] == made[1] and made[0].count("\n") >= 6


def varied(inputs: dict[str, Any], seed: int) -> dict[str, Any]:
    """Other values of the same shapes and types."""
    random = np.random.Generator(np.random.Philox(seed))
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if value.dtype.kind == "f":
            found[name] = random.standard_normal(value.shape).astype(value.dtype)
        else:
            limit = 100 if value.dtype == np.int8 else 5000
            found[name] = random.integers(-limit, limit, value.shape).astype(value.dtype)
    return found


def test_a_hundred_inputs_take_the_same_cycles(layer: tuple[TspCompiled, dict[str, Any]]) -> None:
    made, inputs = layer
    cycles, results = set(), set()
    for seed in range(100):
        simulator = BurstSimulator(made.program, varied(inputs, seed))
        results.add(simulator.run()["y"].tobytes())
        cycles.add(simulator.worked)
    assert len(results) == 100, "the inputs made no difference at all"
    assert {c + made.program.machine.superlanes - 1 for c in cycles} == {made.program.cycles}


def test_both_simulators_count_the_programs_cycles(compiled: tuple[TspCompiled, dict[str, Any]]) -> None:
    made, inputs = compiled
    given = varied(inputs, 1)
    slow, fast = CycleSimulator(made.program, given), BurstSimulator(made.program, given)
    slow.run()
    fast.run()
    assert slow.worked == fast.worked == made.program.cycles - made.program.machine.superlanes + 1
