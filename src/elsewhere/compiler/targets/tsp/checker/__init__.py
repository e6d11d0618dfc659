"""Proves that a program keeps every rule of the chip, without running it and without knowing who wrote it.

Shares no code with the scheduler. From issue cycles, places and annotations alone it proves: each unit, port, bank
and queue is used once a cycle (`ports`); each operand is on its stream in exactly the cycle in which it is taken, is
the row that is meant, of the byte that is meant, and nothing overwrites it on the way (`streams`); each row read from
memory is the one that was written there for it, with all its lanes, and outputs stand there at the end (`rows`);
weights are whole when they are installed, are those that are meant and stay while rows pass, and sums get all their
segments (`planes`). What an instruction computes has no place in a schedule: it is compared with a seal (`forms`).
"""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.checker.forms import check_forms
from elsewhere.compiler.targets.tsp.checker.planes import check_planes
from elsewhere.compiler.targets.tsp.checker.ports import check_ports
from elsewhere.compiler.targets.tsp.checker.rows import check_rows, check_strips
from elsewhere.compiler.targets.tsp.checker.streams import check_chains, check_filled, check_streams
from elsewhere.compiler.targets.tsp.checker.view import Fault, View
from elsewhere.compiler.targets.tsp.program import Program

__all__ = ["Fault", "check"]


def check(program: Program) -> list[Fault]:
    """Faults of a program; an empty list proves that it keeps every rule."""
    view = View(program)
    if not len(program.code):
        return []
    with np.errstate(all="ignore"):
        check_forms(view)
        if any(f.rule != "seal" for f in view.faults):
            return view.faults
        view.locate()
        check_ports(view)
        check_streams(view)
        check_chains(view)
        check_filled(view)
        check_planes(view)
        if check_strips(view):
            check_rows(view)
    return view.faults
