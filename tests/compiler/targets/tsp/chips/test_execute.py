"""A node gives the oracle's bits; jitter is absorbed or the run fails; time passes alike with and without data."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.chips.check import check_chips
from elsewhere.compiler.targets.tsp.chips.execute import drawn, run_chips
from elsewhere.compiler.targets.tsp.chips.lockstep import ChipPrograms, schedule_parts
from elsewhere.compiler.targets.tsp.chips.parts import Parts, add_send, reference, sent_name, taken_name
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.network import NetworkError
from elsewhere.compiler.targets.tsp.program import Op

CHIPS, ROWS, WIDE = 8, 5, 64


def by_hand() -> Parts:
    """x → columns of a product, gathered → the inner parts of another, added up."""
    r = np.random.Generator(np.random.Philox(0))
    first, second = (r.integers(-9, 10, (WIDE, WIDE)).astype(np.int8) for _ in range(2))
    graphs = []
    for chip in range(CHIPS):
        mine = slice(WIDE // CHIPS * chip, WIDE // CHIPS * (chip + 1))
        b = Builder()
        x = b.input("x", "i8", (ROWS, WIDE))
        made = b.cast(b.matmul(x, b.constant(first[:, mine], "i8")), "i8")
        add_send(b, sent_name(0), made)
        whole = b.concatenate([b.input(taken_name(0, c), "i8", (ROWS, WIDE // CHIPS)) for c in range(CHIPS)], 1)
        half = b.unary("neg", b.cast(whole, "f32"))
        share = b.narrow(b.cast(half, "i8"), 1, mine.start, mine.stop)
        part = b.cast(b.matmul(share, b.constant(second[mine], "i8")), "f32")
        add_send(b, sent_name(1), part)
        total = -1
        for other in range(CHIPS):
            got = b.input(taken_name(1, other), "f32", (ROWS, WIDE))
            total = got if other == 0 else b.binary("add", total, got)
        b.output("y", total)
        graphs.append(b.graph())
    return Parts(graphs=tuple(graphs), split={}, exchanges=2)


@cache
def made() -> ChipPrograms:
    return schedule_parts(by_hand())


def inputs() -> dict[str, np.ndarray]:
    return {"x": np.random.Generator(np.random.Philox(5)).integers(-3, 4, (ROWS, WIDE)).astype(np.int8)}


def test_every_chips_program_keeps_every_rule() -> None:
    assert check_chips(made().programs) == []


def test_bits_are_the_oracles() -> None:
    run = run_chips(made(), inputs(), latency=drawn(GROQCHIP1, 3))
    cuts = [p.facts["cuts"] for p in made().programs]
    wanted = reference(made().parts, made().graphs, cuts, inputs(), GROQCHIP1.lanes)
    assert run.outputs is not None and run.outputs.keys() == wanted.keys()
    np.testing.assert_array_equal(run.outputs["y"], wanted["y"])


def test_time_passes_alike_without_data() -> None:
    full = run_chips(made(), inputs(), latency=drawn(GROQCHIP1, 1))
    bare = run_chips(made(), inputs(), latency=drawn(GROQCHIP1, 2), functional=False)
    assert full.cycles == bare.cycles == made().cycles
    assert full.packets == bare.packets == len(made().packets)


@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_absorbed(seed: int) -> None:
    run = run_chips(made(), {}, latency=drawn(GROQCHIP1, seed), functional=False)
    assert 0 <= run.slack[0] <= run.slack[1]


def test_a_late_packet_fails_the_run() -> None:
    late = GROQCHIP1.link_latency_high + 1
    for functional in (True, False):
        with pytest.raises(NetworkError, match="after cycle"):
            run_chips(made(), inputs(), latency=lambda _: late, functional=functional)


def test_a_damaged_exchange_is_caught() -> None:
    broken = copy.deepcopy(made())
    code = broken.programs[3].code
    code["issue"][np.flatnonzero(code["op"] == Op.SEND)[0]] += 1
    assert check(broken.programs[3])
    assert check_chips(broken.programs)
    with pytest.raises(NetworkError):
        run_chips(broken, inputs(), functional=False)


def test_packets_in_another_order_are_caught() -> None:
    broken = copy.deepcopy(made())
    code = broken.programs[2].code
    mine = np.flatnonzero(code["op"] == Op.RECEIVE)
    same = mine[code["a"][mine, 0] == code["a"][mine[0], 0]]
    code["meant"][same[:2]] = code["meant"][same[:2]][::-1]
    assert any(f.rule == "packets" for f in check_chips(broken.programs))
