"""Every kernel's time against what the processor could do at most, and why it is not that.

A kernel cannot be faster than its arithmetic (multiplications at the measured peak of their precision, and vector
instructions of everything elementwise, which share the same units) nor than its memory (bytes at the measured rate).
Elementwise work is estimated from the primitives in a kernel's body, and never put above the time that was left
for it; everything else is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.cpu.program import Entry, Program
from elsewhere.compiler.targets.cpu.rates import Rates

INSTRUCTIONS = {
    **{"cos": 22, "erf": 26, "exp": 14, "log": 26, "pow": 50, "sigmoid": 20, "sin": 22, "tanh": 20},
    **{"div": 8, "reciprocal": 8, "rsqrt": 12, "sqrt": 8},
    **{"add": 0.5, "mul": 0.5},  # mostly both in one
}
"""About how many vector instructions a function takes; all others take one."""

CAST = 2
"""The same for a conversion."""

PRODUCTS = ("contract", "attention", "depthwise")
BODIES = (*PRODUCTS, "map", "rows")
"""Kinds whose node holds all that they do."""

MOVES = {
    "copy": "moves data: its reader or an output wants another layout",
    "fill": "writes a border",
    "gather": "moves data: rows are chosen while running",
    "pack": "packs an operand that is not known ahead",
}

START_SECONDS = 0.4e-6
"""About what the call of a kernel, its addresses and the first misses of its caches take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One kernel on one core."""

    index: int
    kind: str
    place: str
    precision: str
    shape: str
    """Such as '64×192×576' (rows, depth, columns) for a product."""
    seconds: float
    products: float
    """Least seconds for its multiplications."""
    elements: float
    """Least seconds for what it does to every element, estimated."""
    memory: float
    """Least seconds for its bytes."""
    multiplications: int
    bytes: int
    weights: int
    reason: str
    split: tuple[int, ...]
    """Units of each core in the schedule for several."""

    @property
    def bound(self) -> float:
        """Seconds that it cannot beat."""
        return max(self.products + self.elements, self.memory)


def account(
    program: Program, graph: Graph, machine: Machine, rates: Rates, ticks: NDArray[np.int64], threads: int = 2
) -> list[Account]:
    """An account of every kernel in order. `graph` is the fused graph that `program` was made from, `ticks` a profile
    of one core and `rates` those of one core.
    """
    footprint = program.arena_bytes + program.data.size
    schedule = program.schedules.get(threads)
    same: dict[tuple[int, str], int] = {}
    for entry in program.entries:
        same[entry.node, entry.kind] = same.get((entry.node, entry.kind), 0) + 1
    found = []
    for index, entry in enumerate(program.entries):
        node = graph.nodes[entry.node] if 0 <= entry.node < len(graph.nodes) else None
        share = 1.0 / same[entry.node, entry.kind]
        vectors = (elementwise(node, entry) / machine.lanes(32) * share) if node else 0.0
        rate = rates.multiplications.get(entry.precision or "f32", rates.multiplications["f32"])
        size = min(entry.bytes, int(operand_bytes(node) * share)) if entry.kind in BODIES else entry.bytes
        moved = size / rates.bytes_per_second(size) + entry.weights / rates.bytes_per_second(footprint)
        shape = product_shape(node)
        seconds, products = float(ticks[index]) / rates.ticks, entry.multiplications / rate
        times = {
            "seconds": seconds,
            "products": products,
            "elements": min(vectors / rates.vectors, max(seconds - products, 0.0)),
            "memory": moved,
        }
        found.append(
            Account(
                index=index,
                kind=entry.kind,
                place=entry.place,
                precision=entry.precision,
                shape="×".join(map(str, shape)) if entry.multiplications else _shape(node),
                multiplications=entry.multiplications,
                bytes=size,
                weights=entry.weights,
                reason=reason(entry, shape, machine, **times),
                split=() if schedule is None else tuple(int(b - a) for a, b in schedule[:, index]),
                **times,
            )
        )
    return found


def elementwise(node: Node, entry: Entry) -> float:
    """About how many instructions on one element, over all elements, a kernel of `node` does beside products."""
    if entry.kind in MOVES:
        return 0.0
    if node.op != "fused":
        return float(max(node.type.size, 1))
    total = 0.0
    for inner in node.attributes["body"].nodes:
        if inner.op in ("unary", "binary"):
            total += inner.type.size * INSTRUCTIONS.get(inner.attributes["function"], 1)
        elif inner.op in ("select", "reduce"):
            total += inner.type.size
        elif inner.op == "cast":
            total += inner.type.size * CAST
    return total


def operand_bytes(node: Node | None) -> int:
    """Bytes of a region's operands and outputs. What lies between them in memory is not counted."""
    if node is None or node.op != "fused":
        return 0
    body: Graph = node.attributes["body"]
    values = {*body.inputs.values(), *(value for _, value in body.outputs)}
    return sum(body.nodes[value].type.bytes for value in values)


def product_shape(node: Node | None) -> tuple[int, ...]:
    """(batches, rows, depth, columns) of the largest product in a region, batches left out where there is one."""
    if node is None or node.op != "fused":
        return ()
    body: Graph = node.attributes["body"]
    found: list[tuple[int, ...]] = []
    for inner in body.nodes:
        if inner.op == "matmul":
            a = body.nodes[inner.inputs[0]].type.shape
            found.append((math.prod(a[:-2]), a[-2], a[-1], inner.type.shape[-1]))
        elif inner.op == "convolution":
            w = body.nodes[inner.inputs[1]].type.shape
            depth = math.prod(w[:-1])
            found.append((1, inner.type.size // inner.type.shape[-1], depth, inner.type.shape[-1]))
    if not found:
        return ()
    best = max(found, key=math.prod)
    return best[1:] if best[0] == 1 else best


def _shape(node: Node | None) -> str:
    return "" if node is None else "×".join(map(str, node.type.shape))


def reason(
    entry: Entry,
    shape: Sequence[int],
    machine: Machine,
    *,
    seconds: float,
    products: float,
    elements: float,
    memory: float,
) -> str:
    """What keeps a kernel from its bound, in words: what is certain first, what is likely after it."""
    bound = max(products + elements, memory)
    if seconds < 2 * START_SECONDS:
        return "so short that calling it is most of it"
    if entry.kind in MOVES:
        return MOVES[entry.kind]
    causes = []
    if memory > products + elements:
        causes.append("bound by memory" + (", mostly weights" if entry.weights > entry.bytes else ""))
    if entry.kind == "contract" and len(shape) >= 3:
        rows, depth, columns = shape[-3:]
        lanes = machine.lanes(32)
        filled = columns / (-(-columns // lanes) * lanes)
        if rows < 6:
            causes.append(f"few rows ({rows}): a weight that is read is used as often")
        if depth < 8 * depth_unit(entry.precision, machine):
            causes.append(f"short sums ({depth}): starting and storing a tile weighs as much")
        if filled < 0.9:
            causes.append(f"{columns} columns fill {filled:.0%} of their vectors")
    if entry.kind == "attention":
        causes.append("softmax between two products with short sums")
    if entry.kind == "depthwise":
        causes.append("a weight meets one channel: loads, not products")
    if elements > 0.3 * (products + elements) and entry.kind in PRODUCTS:
        causes.append("a heavy epilogue")
    if entry.kind in ("rows", "reduce", "pool") and seconds > 1.5 * bound:
        causes.append("sums along rows wait for each other")
    if entry.kind == "map" and seconds > 1.5 * bound:
        causes.append("long chains of functions on every element")
    if not causes and seconds > 1.5 * bound:
        causes.append("loads beside products, and the rest of a tile")
    return "; ".join(causes) or "near its bound"


def depth_unit(precision: str, machine: Machine) -> int:
    """Products along the depth that one instruction sums."""
    if precision == "bf16":
        return 2
    return 1 if precision == "f32" else 4 if machine.dot_int8 else 2
