"""Proves that what chips send is what others take: every packet, in its order, and late enough for the slowest link.

Shares no code with the scheduler; it looks at the instructions alone. Each chip's own rules are the checker's.
"""

from __future__ import annotations

from collections.abc import Sequence

from elsewhere.compiler.targets.tsp.checker import Fault, check
from elsewhere.compiler.targets.tsp.program import Op, Program


def check_chips(programs: Sequence[Program]) -> list[Fault]:
    """Faults of all chips of a node that start in one cycle; an empty list is a proof."""
    faults = [f for program in programs for f in check(program)]
    chips, machine = len(programs), programs[0].machine
    wire = int(-(-machine.packet_bytes * 8 * machine.clock_hz // machine.link_bits_per_second))
    for sender, program in enumerate(programs):
        for ahead in range(1, chips):
            other = programs[(sender + ahead) % chips]
            sends = _events(program, Op.SEND, ahead - 1)
            takes = _events(other, Op.RECEIVE, chips - ahead - 1)
            if len(sends) != len(takes):
                faults.append(Fault("packets", -1, f"{len(sends)} are sent, {len(takes)} taken"))
            for (out, meant, _), (in_, wanted, index) in zip(sends, takes, strict=False):
                if meant != wanted:
                    faults.append(Fault("packets", index, f"vector {meant} comes where {wanted} is meant"))
                if in_ < out + wire + machine.link_latency_high:
                    faults.append(Fault("deskew", index, f"taken in cycle {in_}, sent in {out}"))
            faults += _waiting(sends, takes, wire + machine.link_latency_low, machine.link_buffer)
    return faults


def _events(program: Program, op: Op, link: int) -> list[tuple[int, int, int]]:
    """(cycle, vector, instruction) of packets on a link, in order."""
    code = program.code
    mine = (code["op"] == op) & ((code["a"][:, 0] >> link & 1 == 1) if op == Op.SEND else (code["a"][:, 0] == link))
    found = [(int(code["issue"][i]), int(code["meant"][i]), int(i)) for i in mine.nonzero()[0]]
    return sorted(found)


def _waiting(
    sends: Sequence[tuple[int, int, int]], takes: Sequence[tuple[int, int, int]], early: int, room: int
) -> list[Fault]:
    """A link never holds more packets than it can, however fast it is."""
    events = sorted([(t + early, 1) for t, _, _ in sends] + [(t, -1) for t, _, _ in takes])
    waiting = 0
    for _, change in events:
        waiting += change
        if waiting > room:
            return [Fault("packets", -1, f"{waiting} wait at a link that holds {room}")]
    return []
