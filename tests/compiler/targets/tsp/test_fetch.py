"""Planned fetches disturb nothing: looked at cycle by cycle, with other means than the planner's."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.fetch import plan_fetches
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.program import Op
from elsewhere.compiler.targets.tsp.semantics import WEST_STREAMS, WIDTHS, _place, diagonal, steps

Compiled = tuple[TspCompiled, dict[str, Any]]


BYTES, PER = 64, 5
"""Longer instructions than the chip's, so that small programs have text to fetch: five to a row."""


@pytest.mark.parametrize("name", ["moved", "convolved", "looked_up"])
def test_fetches_meet_nobody_and_come_in_time(name: str) -> None:
    machine = GROQCHIP1.changed(instruction_bytes=BYTES)
    program = compile_tsp(networks.CASES[name]()[0], machine=machine).program
    plan = plan_fetches(program, 2 * PER)
    assert plan.rows - plan.preloaded == len(plan.fetches) + len(plan.late)
    assert len(plan.fetches) >= 5
    reads, banks, issues = set(), set(), set()
    lines: dict[tuple[int, int], list[tuple[int, int]]] = {}
    code = steps(program)
    taken: dict[tuple[int, int], int] = {}
    for step in code:
        issues.add((step.queue, step.issue))
        for operand, (kind, _, _, source) in enumerate(step.ins):
            if kind == 1:
                for stream in range(source, source + step.streams(operand)):
                    first = diagonal(step.sample(machine, operand), step.place, stream)
                    for row in range(step.count):
                        taken.setdefault((stream, first + row), step.place)
                        west = stream >= WEST_STREAMS
                        far = min if west else max
                        taken[stream, first + row] = far(taken[stream, first + row], step.place)
    for step in code:
        for row in range(step.count):
            if step.op in (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER):
                banks.add((step.a[0], step.a[1] // machine.bank_rows, step.issue + row))
                if step.op in (Op.READ, Op.GATHER):
                    reads.add((step.a[0], step.issue + row))
        for stream, dtype in step.outs:
            for byte in range(WIDTHS[("i8", "f16", "i32", "f32").index(dtype)]):
                first = diagonal(step.issue + step.latency, step.place_out, stream + byte)
                for row in range(step.count):
                    key = (stream + byte, first + row)
                    reach = taken.get(key, step.place_out)
                    lines.setdefault(key, []).append(tuple(sorted((step.place_out, reach))))  # type: ignore[arg-type]
    held: dict[int, list[int]] = {}
    for fetch in plan.fetches:
        for busy, key in ((reads, (fetch.slice, fetch.issue)), (banks, (fetch.slice, fetch.bank, fetch.issue))):
            assert key not in busy
            busy.add(key)
        for key in ((fetch.slice, fetch.issue), (fetch.queue, fetch.taken)):
            assert key not in issues
            issues.add(key)
        origin, place = machine.slice_place(fetch.slice), _place(machine, fetch.queue, 0)
        assert fetch.taken - fetch.issue == machine.memory_read + abs(place - origin)
        key = (fetch.stream, diagonal(fetch.taken, place, fetch.stream))
        low, high = sorted((origin, place))
        assert all(b <= low or a >= high for a, b in lines.get(key, []))
        lines.setdefault(key, []).append((low, high))
        held.setdefault(fetch.queue, []).append(fetch.taken)
    for queue, arrivals in held.items():
        if queue not in {q for q, _ in plan.late}:
            mine = np.sort([s.issue for s in code if s.queue == queue])
            for number, at in enumerate(sorted(arrivals)):
                ready = PER * (2 + number)
                assert ready - int((mine < at).sum()) + PER <= 2 * PER, "the buffer overflows"
                assert at < mine[ready], "an instruction is due before it is there"


def test_a_larger_buffer_needs_fewer_fetches(layer: Compiled) -> None:
    needed = [len(p.fetches) + len(p.late) for p in (plan_fetches(layer[0].program, n) for n in (40, 80, 400))]
    assert needed == sorted(needed, reverse=True)


def test_a_buffer_that_is_too_small_is_told(layer: Compiled) -> None:
    with pytest.raises(ValueError, match="at least 40 instructions"):
        plan_fetches(layer[0].program, 20)
