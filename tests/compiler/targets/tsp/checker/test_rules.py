"""Each rule by itself: one thing wrong, and the rule that must say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.program import CONSTANT, FUNCTIONS, Kind, Op, Program

Compiled = tuple[TspCompiled, dict[str, Any]]
Code = Any


def first(code: Code, op: Op, where: Any = None) -> Any:
    """The first instruction of an operation."""
    mine = code["op"] == op
    return code[np.flatnonzero(mine if where is None else mine & where)[0]]


def other_weights(program: Program, code: Code) -> None:
    """Rows are meant for weights that another block loaded."""
    first(code, Op.ACTIVATE)["meant"] += 1


def late_installation(program: Program, code: Code) -> None:
    rows = first(code, Op.ACTIVATE)
    mine = first(code, Op.INSTALL, code["meant"] == rows["meant"])
    mine["issue"] = rows["issue"] + 1


def other_lanes(program: Program, code: Code) -> None:
    row = first(code, Op.ACTIVATE, code["a"][:, 2] - code["a"][:, 1] > 2)
    row["a"][1] += 1


def other_accumulators(program: Program, code: Code) -> None:
    first(code, Op.ACCUMULATE)["a"][1] += 1


def sum_from_nothing(program: Program, code: Code) -> None:
    """The first segment is added to what an earlier sum left."""
    first(code, Op.ACCUMULATE, code["a"][:, 2] == 0)["a"][2] = 1


def sum_started_again(program: Program, code: Code) -> None:
    first(code, Op.ACCUMULATE, code["a"][:, 2] == 1)["a"][2] = 0


def other_byte(program: Program, code: Code) -> None:
    """A write takes the neighbouring byte of the same wire."""
    many = np.bincount(np.maximum(code["ins"]["wire"][:, 0], 0))
    writes = (code["op"] == Op.WRITE) & (many[np.maximum(code["ins"]["wire"][:, 0], 0)] > 2)
    index = np.flatnonzero(writes)
    wires = code["ins"]["wire"][index, 0]
    low = index[[code["ins"]["source"][i, 0] == code["ins"]["source"][index[wires == w], 0].min()
                 for i, w in zip(index, wires, strict=True)]]  # fmt: skip
    code["ins"]["source"][low[0], 0] += 1


def constant_overwritten(program: Program, code: Code) -> None:
    strip = int(np.flatnonzero((program.strips["flags"] & CONSTANT) != 0)[0])
    row = first(code, Op.WRITE)
    table = program.strips[strip]
    row["queue"] = row["a"][0] = table["slice"]
    row["strip"], row["row"], row["count"], row["a"][1] = strip, 0, 1, table["address"]


def whole_slice_later(program: Program, code: Code) -> None:
    first(code, Op.READ)["a"][0] += 1


def result_elsewhere(program: Program, code: Code) -> None:
    """An operand names a unit that did not make what it means."""
    chained = (code["ins"]["kind"] == Kind.ALU).any(axis=1)
    row = first(code, Op.ALU, chained)
    slot = int(np.flatnonzero(row["ins"]["kind"] == Kind.ALU)[0])
    row["ins"][slot]["source"] = (row["ins"][slot]["source"] + 1) % 16


def half_a_write(program: Program, code: Code) -> None:
    """The last lane of a row that somebody reads is not written."""
    read = np.isin(code["strip"], code["strip"][code["op"] == Op.READ])
    kept = np.isin(code["strip"], np.flatnonzero(program.strips["flags"] & 4))
    full = program.strips["lanes"][np.maximum(code["strip"], 0)] == program.machine.lanes
    first(code, Op.WRITE, (read | kept) & full)["a"][3] = (program.machine.lanes - 1) << 16


def other_function(program: Program, code: Code) -> None:
    """A multiplication becomes a subtraction: the schedule is as good as before."""
    mul, sub = FUNCTIONS.index("mul"), FUNCTIONS.index("sub")
    first(code, Op.ALU, code["a"][:, 0] == mul)["a"][0] = sub


WRONG: list[tuple[Callable[[Program, Code], None], str]] = [
    (other_weights, "weights"),
    (late_installation, "weights"),
    (other_lanes, "lanes"),
    (other_accumulators, "accumulate"),
    (sum_from_nothing, "accumulate"),
    (sum_started_again, "accumulate"),
    (other_byte, "byte"),
    (constant_overwritten, "constant"),
    (whole_slice_later, "queue"),
    (result_elsewhere, "chain"),
    (half_a_write, "lanes"),
    (other_function, "seal"),
]


@pytest.mark.parametrize(("wrong", "rule"), WRONG, ids=[w.__name__ for w, _ in WRONG])
def test_the_rule_says_so(wrong: Callable[[Program, Code], None], rule: str, layer: Compiled) -> None:
    program = layer[0].program
    code = program.code.copy()
    wrong(program, code)
    assert (code != program.code).any()
    assert rule in {f.rule for f in check(dataclasses.replace(program, code=code))}
