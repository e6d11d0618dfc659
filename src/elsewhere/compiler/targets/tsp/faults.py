"""Single changes to a program, as damage or a mistaken compiler would make them: what a checker must find.

Knows nothing of whether a change matters; a run tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.program import FUNCTIONS, Kind, Op, Program, Queues
from elsewhere.compiler.targets.tsp.semantics import SimulationError

Array = NDArray[Any]
MEMORY = (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER)
MATRIX = (Op.LOAD, Op.INSTALL, Op.ACTIVATE, Op.ACCUMULATE)


def _step(random: np.random.Generator) -> int:
    return 1 if random.integers(2) else -1


def _issue(program: Program, row: Any, random: np.random.Generator) -> bool:
    row["issue"] += 1 if row["issue"] == 0 else _step(random)
    return True


def _bank(program: Program, row: Any, random: np.random.Generator) -> bool:
    row["a"][1] ^= program.machine.bank_rows
    return row["op"] in MEMORY


def _address(program: Program, row: Any, random: np.random.Generator) -> bool:
    row["a"][1] += _step(random)
    return row["op"] in MEMORY


def _slice(program: Program, row: Any, random: np.random.Generator) -> bool:
    """To the neighbouring slice, queue and all."""
    row["a"][0] = row["queue"] = (int(row["queue"]) + _step(random)) % program.machine.slices
    return row["op"] in MEMORY


def _count(program: Program, row: Any, random: np.random.Generator) -> bool:
    row["count"] += _step(random)
    return bool(row["count"] > 0)


def _stream(program: Program, row: Any, random: np.random.Generator) -> bool:
    """One stream further, which among the bytes of a value is another byte."""
    places = [row["outs"][i]["stream"] for i in range(2) if row["outs"][i]["stream"] >= 0]
    operands = [i for i in range(3) if row["ins"][i]["kind"] == Kind.STREAM]
    if not places and not operands:
        return False
    pick = int(random.integers(len(places) + len(operands)))
    if pick < len(places):
        row["outs"][pick]["stream"] += _step(random)
        return bool(row["outs"][pick]["stream"] >= 0)
    row["ins"][operands[pick - len(places)]]["source"] += _step(random)
    return bool(row["ins"][operands[pick - len(places)]]["source"] >= 0)


def _plane(program: Program, row: Any, random: np.random.Generator) -> bool:
    """The same instruction for another plane."""
    if row["op"] not in MATRIX:
        return False
    planes = program.machine.planes
    plane = (int(row["a"][0]) + int(random.integers(1, planes))) % planes
    part = {Op.ACTIVATE: 1, Op.ACCUMULATE: 2}.get(Op(row["op"]), 0)
    row["a"][0], row["queue"] = plane, Queues(program.machine).matrix(plane, part)
    return True


def _unit(program: Program, row: Any, random: np.random.Generator) -> bool:
    """Another ALU, or an operand from another ALU."""
    if row["op"] != Op.ALU:
        return False
    chained = [i for i in range(3) if row["ins"][i]["kind"] == Kind.ALU]
    alus, first = program.machine.alus, program.machine.slices
    step = int(random.integers(1, alus))
    if chained and random.integers(2):
        operand = row["ins"][int(random.choice(chained))]
        operand["source"] = (int(operand["source"]) + step) % alus
    else:
        row["queue"] = first + (int(row["queue"]) - first + step) % alus
    return True


def _delay(program: Program, row: Any, random: np.random.Generator) -> bool:
    """An operand of the vector unit waits a cycle more or less."""
    found = [i for i in range(3) if row["ins"][i]["kind"] in (Kind.STREAM, Kind.ALU)]
    if row["op"] != Op.ALU or not found:
        return False
    row["ins"][int(random.choice(found))]["delay"] += _step(random)
    return True


def _sums(program: Program, row: Any, random: np.random.Generator) -> bool:
    """Another accumulator row, or a flag of an accumulation."""
    which = int(random.integers(1, 4))
    row["a"][which] = row["a"][which] + _step(random) if which == 1 else 1 - row["a"][which]
    return row["op"] == Op.ACCUMULATE


def _weights(program: Program, row: Any, random: np.random.Generator) -> bool:
    """Streams that weights come on, or their type."""
    if row["op"] != Op.LOAD:
        return False
    if random.integers(2):
        row["a"][2] += _step(random)
    else:
        row["a"][3] = 2 - row["a"][3]
    return True


def _lanes(program: Program, row: Any, random: np.random.Generator) -> bool:
    """An end of the lanes that an instruction works on."""
    if row["op"] == Op.WRITE and row["a"][3] >= 0:
        first, end = int(row["a"][3]) & 0xFFFF, int(row["a"][3]) >> 16
        if random.integers(2):
            first += 1 if first == 0 else _step(random)
        else:
            end -= 1 if end == program.machine.lanes else _step(random)
        row["a"][3] = first | end << 16
        return 0 <= first < end
    row["a"][int(random.integers(1, 3))] += _step(random)
    return row["op"] in (Op.SHIFT, Op.ACTIVATE)


def _map(program: Program, row: Any, random: np.random.Generator) -> bool:
    """Another lane map, or another distance."""
    if row["op"] == Op.SHIFT:
        row["a"][0] += _step(random)
        return True
    if row["op"] not in (Op.PERMUTE, Op.DISTRIBUTE) or len(program.maps) < 2:
        return False
    row["a"][0] = (int(row["a"][0]) + int(random.integers(1, len(program.maps)))) % len(program.maps)
    return True


def _function(program: Program, row: Any, random: np.random.Generator) -> bool:
    """Another function of as many operands, or another number."""
    if row["op"] != Op.ALU:
        return False
    numbers = [i for i in range(3) if row["ins"][i]["kind"] == Kind.NUMBER]
    if numbers and random.integers(2):
        row["ins"][numbers[0]]["source"] ^= 1 << int(random.integers(31))
        return True
    binary = range(FUNCTIONS.index("add"), FUNCTIONS.index("select"))
    unary = range(FUNCTIONS.index("add"))
    for group in (binary, unary):
        if int(row["a"][0]) in group:
            row["a"][0] = group[(int(row["a"][0]) - group[0] + int(random.integers(1, len(group)))) % len(group)]
            return True
    return False


Change = Callable[[Program, Any, np.random.Generator], bool]
SINGLE: dict[str, Change] = {"cycle": _issue, "bank": _bank}
"""One cycle earlier or later; the other bank."""
PLACED: dict[str, Change] = {
    "address": _address, "slice": _slice, "count": _count, "stream or byte": _stream, "plane": _plane,
    "unit": _unit, "delay": _delay, "accumulator": _sums, "weights": _weights, "lanes": _lanes,
}  # fmt: skip
"""Everything else about when and where."""
COMPUTED: dict[str, Change] = {"map or distance": _map, "function or number": _function}
"""What is computed, which no schedule knows."""
CHANGES = SINGLE | PLACED | COMPUTED


def changed(program: Program, kind: str, random: np.random.Generator) -> Program:
    """A program with one instruction changed. Raises ValueError where no instruction can be changed so."""
    for _ in range(100_000):
        code = program.code.copy()
        index = int(random.integers(len(code)))
        if CHANGES[kind](program, code[index], random) and code[index] != program.code[index]:
            return dataclasses.replace(program, code=code)
    raise ValueError(f"no instruction of the program has a {kind} to change")


def has(program: Program, kind: str) -> bool:
    """Whether a program has instructions that can be changed so."""
    random = np.random.Generator(np.random.Philox(0))
    return any(CHANGES[kind](program, row, random) for row in program.code[:: max(1, len(program.code) // 4096)].copy())


def matters(program: Program, inputs: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a run gives other bits, or cannot be."""
    try:
        found = run_bursts(program, inputs)
    except (SimulationError, LookupError, ValueError):
        return True
    return any(not np.array_equal(found[name], wanted[name]) for name in wanted)
