"""Packets of collectives: a link at a time, everything everywhere, and latencies that follow from the hops."""

from __future__ import annotations

import pytest

from elsewhere.compiler.targets.tsp.chips.collective import (
    Exchange,
    Send,
    Timing,
    all_gather,
    all_reduce,
    message,
    vectors,
)
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.network import NetworkError, System

TIMING = Timing.measured(GROQCHIP1)


@pytest.mark.parametrize("chips", [2, 8, 16, 72, 256])
@pytest.mark.parametrize("count", [1, 13])
def test_links_carry_one_packet_at_a_time(chips: int, count: int) -> None:
    system = System(GROQCHIP1, chips)
    for made in (all_reduce(system, count, TIMING), all_gather(system, 1, TIMING)):
        made.check()
        assert made.cycles >= max(s.taken for s in made.sends)
        assert all(s.receiver in system.neighbours(s.sender) for s in made.sends[:200])


def test_two_packets_at_once_are_told() -> None:
    broken = Exchange(TIMING, [Send(0, 0, 1, 300), Send(5, 0, 1, 305)])
    with pytest.raises(NetworkError, match="is taken"):
        broken.check()


def spread(made: Exchange, chips: int) -> list[set[int]]:
    """Whose data can have reached each chip, followed packet by packet in time."""
    held = [{c} for c in range(chips)]
    events = sorted([(s.issue, 1, s) for s in made.sends] + [(s.taken, 0, s) for s in made.sends], key=lambda e: e[:2])
    under_way: dict[int, set[int]] = {}
    for _, leaves, send in events:
        if leaves:
            under_way[id(send)] = set(held[send.sender])
        else:
            held[send.receiver] |= under_way[id(send)]
    return held


@pytest.mark.parametrize("chips", [8, 16, 64, 256])
def test_everything_has_been_everywhere(chips: int) -> None:
    system = System(GROQCHIP1, chips)
    assert all(len(h) == chips for h in spread(all_reduce(system, 1, TIMING), chips))


def test_three_hops_among_256_chips() -> None:
    made = all_reduce(System(GROQCHIP1, 256), 1, Timing.planned(GROQCHIP1))
    three = 3 * GROQCHIP1.hop_seconds * GROQCHIP1.clock_hz
    assert three < made.cycles < 1.15 * three


def test_more_vectors_take_longer_by_their_wire() -> None:
    system = System(GROQCHIP1, 256)
    one, many = (all_reduce(system, n, TIMING).cycles for n in (1, 11))
    assert many - one == 3 * 10 * GROQCHIP1.packet_time


def test_long_messages_take_detours() -> None:
    system = System(GROQCHIP1, 72)
    made = message(system, 0, 1, 60, TIMING)
    made.check()
    assert {system.node(s.receiver) for s in made.sends} > {1}
    assert made.cycles < 3 * TIMING.hop + 60 * TIMING.wire
    short = message(system, 0, 1, 1, TIMING)
    assert short.cycles <= 3 * TIMING.hop


def test_packets_hold_whole_vectors() -> None:
    assert vectors(GROQCHIP1, 160, "f16") == 1 and vectors(GROQCHIP1, 161, "f16") == 2
