"""The smallest program that does something: three instructions, placed by the equation that places all others.

x (rows, 320) of bytes lies in a slice west of the vector unit; y = max(x, 0) goes to a slice in its east.
"""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.program import (
    FUNCTIONS,
    GIVEN,
    INSTRUCTION,
    KEPT,
    STRIP,
    Kind,
    Op,
    Port,
    Program,
    Queues,
    latency,
    operations,
)

SOURCE, TARGET = 20, 40
"""Slices of the western and of the eastern hemisphere, counted from the vector unit."""
NONE, NOWHERE = (0, 0, 0, 0, -1, 0), (-1, 0, -1, 0)


def smallest(machine: TspMachine = GROQCHIP1, rows: int = 8) -> Program:
    """Read, one ALU, Write: `rows` rows pass one behind the other. Checked and run like any other program.

    Each issue cycle is that of the producer, its latency, the hops between them and, for the vector unit, its entry.
    """
    queues, source, target = Queues(machine), SOURCE, machine.slices_per_hemisphere + TARGET
    read = 0
    relu = read + machine.memory_read + abs(machine.slice_place(source)) + machine.vector_entry
    write = relu + latency(machine, Op.ALU, FUNCTIONS.index("max")) + machine.slice_place(target)
    lanes = machine.lanes << 16
    taken, zero = (Kind.STREAM, 0, 0, 0, 1, 0), (Kind.NUMBER, 0, 0, 0, -1, 0)
    code = np.array(
        [
            (Op.READ, 0, source, read, rows, (source, 0, 1, 0), [NONE] * 3, [(0, 0, 1, 0), NOWHERE], 0, 0, 1, 1, -1),
            (
                Op.ALU,
                0,
                queues.alu(0),
                relu,
                rows,
                (FUNCTIONS.index("max"), 0, 0, 0),
                [taken, zero, NONE],
                [(0, 0, 2, 0), NOWHERE],
                -1,
                0,
                0,
                1,
                1,
            ),
            (
                Op.WRITE,
                0,
                target,
                write,
                rows,
                (target, 0, 1, lanes),
                [(Kind.STREAM, 0, 0, 0, 2, 0), NONE, NONE],
                [NOWHERE] * 2,
                1,
                0,
                1,
                1,
                -1,
            ),
        ],
        INSTRUCTION,
    )
    strips = [
        (source, 0, rows, machine.lanes, 0, 0, GIVEN),
        (target, 0, rows, machine.lanes, 0, 0, KEPT),
    ]
    maps = np.zeros((0, machine.lanes), np.int16)
    shape = (rows, machine.lanes)

    def port(name: str, slice_: int) -> Port:
        pieces = np.array([[0, 0, 0, 0, rows, slice_, 0]], np.int64)
        return Port(name=name, dtype="i8", shape=shape, pieces=pieces, columns=machine.lanes)

    symbols = ("", "relu")
    return Program(
        machine=machine,
        code=code,
        symbols=symbols,
        maps=maps,
        inputs=(port("x", source),),
        outputs=(port("y", target),),
        strips=np.array(strips, STRIP),
        facts={"operations": operations(code, maps, len(symbols)), "multiplications": 0.0, "work": {}},
    )
