"""Programs as text and as bytes come back as they were; damage is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.assembly import load, parse, save, show
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, LP30
from elsewhere.compiler.targets.tsp.program import ProgramError

Compiled = tuple[TspCompiled, dict[str, Any]]


def test_text_and_back(compiled: Compiled) -> None:
    program = compiled[0].program
    code, symbols = parse(show(program), program.machine)
    assert (code == program.code).all()
    assert symbols == program.symbols


def test_bytes_and_back(compiled: Compiled) -> None:
    made, inputs = compiled
    again = load(save(made.program))
    assert save(again) == save(made.program)
    found, wanted = run_bursts(again, inputs), run_bursts(made.program, inputs)
    assert all(np.array_equal(found[n], wanted[n]) for n in wanted)


def test_damage_is_told(layer: Compiled) -> None:
    data = bytearray(save(layer[0].program))
    for at in (0, 20, len(data) // 2, len(data) - 1):
        broken = data.copy()
        broken[at] ^= 0xFF
        with pytest.raises(ProgramError):
            load(bytes(broken))
    with pytest.raises(ProgramError):
        load(bytes(data[: len(data) // 2]))


def test_another_machine_is_told(layer: Compiled) -> None:
    with pytest.raises(ProgramError, match="another machine"):
        load(save(layer[0].program), LP30)


def test_a_wrong_line_is_named() -> None:
    with pytest.raises(ProgramError, match="line 2"):
        parse('.symbol 0 ""\n@12 nowhere read\n', GROQCHIP1)
