"""Rates of the processor: every level has its own, and they stand in the order that instructions give them."""

from __future__ import annotations

import pytest

from elsewhere.compiler.targets.cpu import rates
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe


@pytest.mark.parametrize("level", LEVELS[LEVELS.index(best_level()) :])
def test_rates_are_plausible(level: str) -> None:
    machine = describe(level)
    for attempt in range(4):  # another process may take a share of the time of one of the loops
        found = rates.measure(machine, seconds=0.004)
        one, half, whole = (found.multiplications[precision] for precision in ("f32", "bf16", "i8"))
        if half > one * (1.5 if machine.dot_bf16 else 0.7) and whole > one * (3.0 if machine.dot_int8 else 0.7):
            break
        assert attempt < 3
    assert 1e8 < found.vectors < 1e11
    assert one == pytest.approx(found.vectors * machine.lanes(32))
    assert [size for size, _ in found.bandwidth] == sorted(rates.SIZES)
    assert all(1e8 < rate < 1e13 for _, rate in found.bandwidth)
    assert 1e6 < found.ticks < 1e11


def test_a_working_set_has_the_rate_of_the_next_size() -> None:
    found = rates.Rates(threads=1, multiplications={}, vectors=1.0, bandwidth=((10, 3.0), (20, 2.0)), ticks=1.0)
    assert [found.bytes_per_second(size) for size in (1, 10, 11, 99)] == [3.0, 3.0, 2.0, 2.0]
