"""Language models token by token on many chips: one chip's share of a block is scheduled, and so is every packet.

Columns and heads of a block are dealt over the chips of a node, blocks follow each other from node to node. A token's
time is the sum of what depends on each other: nothing of the next token can begin before this one is chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp.blocks import Block, decoder_block
from elsewhere.compiler.targets.tsp.chips.collective import Timing, all_gather, all_reduce, message, vectors
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System
from elsewhere.compiler.targets.tsp.program import Program
from elsewhere.compiler.targets.tsp.shapes import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """Token by token on one system. `terms` are seconds a token by what takes them, and add up to the whole."""

    model: str
    chips: int
    share: int
    """Chips that a block is dealt over."""
    stages: int
    """Nodes that blocks lie on; some hold one block more than others."""
    block_cycles: int
    exchange_cycles: int
    terms: dict[str, float] = field(default_factory=dict)
    seconds_to_first: float = 0.0
    fullest: float = 0.0
    """Share of memory that weights, cache and program text take on the fullest chip, as rows lie. Above 1 it needs
    denser tiles than these programs have."""
    utilisation: float = 0.0

    @property
    def seconds_per_token(self) -> float:
        return sum(self.terms.values())

    @property
    def tokens_per_second(self) -> float:
        return 1.0 / self.seconds_per_token


def fewest_chips(shape: Transformer, machine: TspMachine, context: int) -> int:
    """Chips that the weights (one byte each) and the cache (two bytes) of a model fill at least."""
    cache = 4 * shape.layers * shape.key_value_heads * shape.head * context
    return max(1, math.ceil((shape.weights + cache) / machine.memory_bytes))


def decode(
    shape: Transformer,
    *,
    chips: int,
    context: int = 4096,
    prompt: int = 1,
    machine: TspMachine = GROQCHIP1,
    planned: bool = True,
) -> Decoding:
    """Tokens one by one. With `planned` a hop takes the published figure for planning, else the slowest measured link.

    Raises ValueError if the model does not fit so many chips, ScheduleError if a chip's share does not.
    """
    system = System(machine, chips)
    fewest = fewest_chips(shape, machine, context)
    if chips < fewest:
        raise ValueError(f"{shape.name} with {context} tokens of context needs {fewest} chips or more, got {chips}")
    if not 1 <= prompt <= context:
        raise ValueError(f"prompt must be from 1 to the context's {context} tokens, got {prompt}")
    share = math.gcd(min(machine.chips_per_node, chips), shape.heads, shape.key_value_heads)
    stages = min(shape.layers, chips // share)
    timing = Timing.planned(machine) if planned else Timing.measured(machine)
    block = compile_tsp(decoder_block(shape, rows=1, context=context, share=share), machine=machine).program
    node = System(machine, share)
    reduce = 2 * all_reduce(node, vectors(machine, shape.width, "f16"), timing).cycles if share > 1 else 0
    clock = machine.clock_hz
    terms = {
        "blocks": shape.layers * block.cycles / clock,
        "sums over the chips of a node": shape.layers * reduce / clock,
        "from node to node": _handing(system, shape, stages, share, timing) / clock,
        **_ends(shape, share, node, timing, machine),
    }
    token = sum(terms.values())
    slowest = math.ceil(shape.layers / stages) * (block.cycles + reduce) / clock
    return Decoding(
        model=shape.name,
        chips=chips,
        share=share,
        stages=stages,
        block_cycles=block.cycles,
        exchange_cycles=reduce,
        terms=terms,
        seconds_to_first=token + (prompt - 1) * slowest,
        fullest=math.ceil(shape.layers / stages) * _filled(block),
        utilisation=2.0 * shape.block_weights * shape.layers / token / (machine.peak_int8 * chips),
    )


def _filled(program: Program) -> float:
    """Share of a chip's memory that a program's rows and text take."""
    machine = program.machine
    text = len(program.code) * machine.instruction_bytes / machine.memory_bytes
    return float(program.facts["memory"]["rows"] / (machine.slices * machine.rows_per_slice) + text)


def _handing(system: System, shape: Transformer, stages: int, share: int, timing: Timing) -> int:
    """Cycles in which a token's vector is under way between nodes: each border between two stages, packet by packet."""
    packets = vectors(system.machine, shape.width, "f16")
    per = max(1, system.machine.chips_per_node // share)
    total = 0
    known: dict[tuple[bool, int], int] = {}
    for stage in range(stages - 1):
        one, other = stage // per, (stage + 1) // per
        if one == other:
            total += timing.hop + packets * timing.wire
            continue
        crosses = one // system.machine.nodes_per_rack != other // system.machine.nodes_per_rack
        # Inside a rack every pair of nodes is linked alike; from rack to rack ways differ.
        key = (crosses, one if crosses else 0)
        if key not in known:
            known[key] = message(system, one, other, packets, timing).cycles
        total += known[key]
    return total


def _ends(shape: Transformer, share: int, node: System, timing: Timing, machine: TspMachine) -> dict[str, float]:
    """What is before the first block and behind the last: seconds by name. Without a vocabulary there is nothing."""
    if shape.vocabulary < 2:
        return {}
    clock = machine.clock_hz
    columns = -(-shape.vocabulary // share)
    head = compile_tsp(head_share(shape, columns), machine=machine).program.cycles
    wide = -(-shape.width // share)
    lookup = compile_tsp(lookup_share(shape, wide), machine=machine).program.cycles
    joined = all_gather(node, vectors(machine, wide, "f16"), timing).cycles if share > 1 else 0
    logits = all_gather(node, vectors(machine, columns, "f16"), timing).cycles if share > 1 else 0
    out = machine.host_latency + 2 * shape.vocabulary / machine.host_bytes_per_second
    back = machine.host_latency + 4 / machine.host_bytes_per_second
    return {
        "embedding": (lookup + joined) / clock,
        "head": head / clock,
        "logits joined": logits / clock,
        "logits to the host": out,
        "host chooses (assumed)": machine.host_choice,
        "token from the host": back,
    }


def head_share(shape: Transformer, columns: int) -> Graph:
    """x (1, width) f32 → `columns` logits: norm and product."""
    block = Block(0)
    b = block.b
    b.place = "head"
    x = b.input("x", "f32", (1, shape.width))
    b.output("y", b.cast(block.linear(block.narrow(block.norm(x)), columns), "f16"))
    return b.graph()


def lookup_share(shape: Transformer, columns: int) -> Graph:
    """token (1,) i32 → `columns` columns of its row of an int8 table, as f16."""
    block = Block(1)
    b: Builder = block.b
    b.place = "embedding"
    table = block.random.integers(-127, 128, (shape.vocabulary, columns), "int8")
    x = b.cast(b.gather(b.constant(table, "i8"), b.input("token", "i32", (1,))), "f16")
    b.output("y", b.binary("mul", x, b.like(1 / 64, x)))
    return b.graph()
