"""How long large models take on many chips: one share of a block is scheduled, or its passes counted; the rest is sums.

Language models: a block's share of one node is scheduled and its cycles are what the program takes; layers follow each
other from node to node. Video models: blocks are too long to schedule whole, so the passes through the planes, the
vector unit's work and the packets between chips are counted with the machine's numbers, and the largest binds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from elsewhere.compiler.targets.tsp.blocks import decoder_block
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System, all_reduce, vectors
from elsewhere.compiler.targets.tsp.shapes import Transformer

SOFTMAX_OPERATIONS = 6
"""Passes of an ALU over each score: scale, mask, maximum, difference, exponential, sum; the share is divided later."""
BLOCK_OPERATIONS = 40
"""ALU operations for each element of a token in a block outside attention: two norms, modulation, gate, residuals,
quantisation before four products."""
NARROW = 0.5
"""Share of the vector unit's ALUs that chains keep busy: operands must come in step."""
REACH = 0.92
"""Share of memory that weights and cache may take; the rest is for programs, tables and what is under way."""


class DeadlineError(ValueError):
    """No machine of the kind meets the deadline; the message says how near the largest comes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """Token by token on one system."""

    model: str
    chips: int
    block_cycles: int
    exchange_cycles: int
    layers: int
    seconds_per_token: float
    seconds_to_first: float
    utilisation: float

    @property
    def tokens_per_second(self) -> float:
        return 1.0 / self.seconds_per_token


def weights_per_chip(shape: Transformer, machine: TspMachine, context: int) -> int:
    """Chips that the weights (one byte each) and the cache (two bytes) of a model fill at least."""
    cache = 4 * shape.layers * shape.key_value_heads * shape.head * context
    return max(1, math.ceil((shape.weights + cache) / (machine.memory_bytes * REACH)))


def decode(
    shape: Transformer, *, chips: int, context: int = 4096, prompt: int = 1, machine: TspMachine = GROQCHIP1
) -> Decoding:
    """Tokens one by one: columns of a block inside a node, blocks from node to node.

    Raises ValueError if the model does not fit so many chips.
    """
    system = System(machine, chips)
    fewest = weights_per_chip(shape, machine, context)
    if chips < fewest:
        raise ValueError(f"{shape.name} with {context} tokens of context needs {fewest} chips or more, got {chips}")
    share = math.gcd(min(machine.chips_per_node, chips), shape.heads, shape.key_value_heads)
    program = compile_tsp(decoder_block(shape, rows=1, context=context, share=share), machine=machine).program
    packets = vectors(machine, shape.width, "f16")
    exchange = 2 * all_reduce(machine, range(share), packets).cycles if share > 1 else 0
    stages = min(shape.layers, math.ceil(chips / share))
    handing = (stages - 1) * machine.hop_seconds * (1 if system.flat else 2)
    head = shape.vocabulary * shape.width / share / (machine.planes * machine.lanes**2) * 40 / machine.clock_hz * 2
    token = shape.layers * (program.cycles + exchange) / machine.clock_hz + handing + head
    work = 2.0 * shape.block_weights * shape.layers
    return Decoding(
        model=shape.name,
        chips=chips,
        block_cycles=program.cycles,
        exchange_cycles=exchange,
        layers=shape.layers,
        seconds_per_token=token,
        seconds_to_first=token + (prompt - 1) * token / max(1, stages),
        utilisation=work / token / (machine.peak_int8 * chips),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTime:
    """One system's time for a frame, and what of it is what. Seconds."""

    chips: int
    matrix: float
    vector: float
    network: float
    latency: float
    fits: bool

    @property
    def seconds(self) -> float:
        """Parts that overlap count once: the largest; latency of dependent exchanges comes on top."""
        return max(self.matrix, self.vector, self.network) + self.latency

    @property
    def bound(self) -> str:
        parts = {"matrix": self.matrix, "vector": self.vector, "network": self.network, "latency": self.latency}
        return "memory" if not self.fits else max(parts, key=lambda k: parts[k])


def passes(rows: float, inner: float, columns: float, machine: TspMachine, *, half: bool = False) -> float:
    """Plane cycles of a product: tiles of lanes by lanes, each as long as its rows or the loading behind it."""
    tall = machine.float_rows if half else machine.lanes
    tiles = math.ceil(inner / tall) * math.ceil(columns / machine.lanes)
    loading = 2 * (math.ceil(machine.lanes / machine.weight_streams) + machine.weights_install)
    chunks = max(1, math.ceil(rows / machine.accumulator_rows))
    return tiles * (max(rows, chunks * loading) + chunks * machine.weights_install) * (2 if half else 1)


def frame_time(
    shape: Transformer, tokens: float, steps: int, frames: float, chips: int, machine: TspMachine = GROQCHIP1
) -> FrameTime:
    """A latent of `tokens` tokens, `steps` evaluations, that makes `frames` pictures; all chips work on one latent.

    Tokens are dealt over nodes, columns and heads inside a node; keys and values go to all nodes.
    """
    share = math.gcd(min(chips, machine.chips_per_node), shape.heads)
    groups = max(1, chips // share)
    rows = math.ceil(tokens / groups)
    wide = shape.width / share
    matrix = (
        passes(rows, shape.width, 4 * wide, machine)
        + passes(rows, shape.width, shape.hidden / share * (2 if shape.gated else 1), machine)
        + passes(rows, shape.hidden / share, shape.width, machine)
    )
    heads = shape.heads / share
    keys = tokens + shape.cross_tokens
    matrix += heads * (
        passes(rows, shape.head, keys, machine, half=True) + passes(rows, keys, shape.head, machine, half=True)
    )
    if shape.cross_tokens:
        matrix += passes(rows, shape.width, 2 * wide, machine)
    lanes = machine.alus * machine.lanes * NARROW
    vector = (heads * rows * keys * SOFTMAX_OPERATIONS + rows * shape.width * BLOCK_OPERATIONS / share) / lanes
    inside = 2 * rows * vectors(machine, shape.width, "f16") / share * machine.packet_cycles
    across = 2 * rows * vectors(machine, math.ceil(wide), "i8") * (groups - 1) / machine.links_global
    network = 2 * inside * (share > 1) + across * machine.packet_cycles * (groups > 1)
    hops = 4 * (share > 1) + 2 * (groups > 1)
    evaluations = steps * shape.layers / frames
    clock = machine.clock_hz
    cache = 6.0 * shape.layers * keys * shape.head * heads / groups
    return FrameTime(
        chips=chips,
        matrix=evaluations * matrix / machine.planes / clock,
        vector=evaluations * vector / clock,
        network=evaluations * network / clock,
        latency=evaluations * hops * machine.hop_seconds,
        fits=shape.weights / share / groups + cache <= machine.memory_bytes * REACH,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RealTime:
    """The smallest system that makes the deadline, and the curve around it."""

    model: str
    tokens: float
    chosen: FrameTime
    curve: tuple[FrameTime, ...]
    racks: int
    watts: float


def realtime(
    shape: Transformer,
    *,
    width: int,
    height: int,
    fps: float,
    steps: int = 4,
    machine: TspMachine = GROQCHIP1,
) -> RealTime:
    """Finds it by going through sizes. Raises DeadlineError if none does, ValueError for what cannot be."""
    for name, value in (("width", width), ("height", height), ("fps", fps), ("steps", steps)):
        if not 0 < value <= 1e6:
            raise ValueError(f"{name} must be above 0 and at most 1e6, got {value}")
    frames = shape.squeeze[0]
    tokens = math.ceil(shape.tokens(width, height, frames))
    sizes = sorted({*(2**i for i in range(3)), *range(8, machine.largest_system + 1, 8)})
    curve = [frame_time(shape, tokens, steps, frames, chips, machine) for chips in sizes]
    good = next((t for t in curve if t.fits and t.seconds <= 1.0 / fps), None)
    if good is None:
        best = min((t for t in curve if t.fits), key=lambda t: t.seconds, default=None)
        told = (
            f"the best are {best.chips} chips with {best.seconds * 1e3:.1f} ms a frame, bound by {best.bound}"
            if best
            else "its weights fit no system"
        )
        raise DeadlineError(
            f"{shape.name} at {width}x{height} makes a frame in {1e3 / fps:.3g} ms on no system of up to "
            f"{machine.largest_system} {machine.name}: {told}"
        )
    return RealTime(
        model=shape.name,
        tokens=tokens,
        chosen=good,
        curve=tuple(curve),
        racks=System(machine, good.chips).racks,
        watts=good.chips * machine.watts,
    )


def plot(answers: list[RealTime], fps: float) -> str:
    """Frames per second against chips, both logarithmic, as SVG."""
    wide, high, left, bottom = 760, 420, 70, 50
    top = max(1.0 / t.seconds for a in answers for t in a.curve) * 1.5
    low = min(1.0 / t.seconds for a in answers for t in a.curve) / 1.5
    most = max(t.chips for a in answers for t in a.curve)

    def x(chips: float) -> float:
        return left + (wide - left - 150) * math.log(chips) / math.log(most)

    def y(rate: float) -> float:
        return high - bottom - (high - bottom - 20) * math.log(rate / low) / math.log(top / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">'
    ]
    parts.append(f'<rect width="{wide}" height="{high}" fill="#fff"/>')
    for power in range(5):
        if 10**power <= most:
            parts.append(f'<path d="M{x(10**power):.1f} 20V{high - bottom}" stroke="#ddd"/>')
            parts.append(
                f'<text x="{x(10**power):.1f}" y="{high - bottom + 18}" text-anchor="middle">{10**power}</text>'
            )
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(top)) + 1):
        if low <= 10.0**power <= top:
            parts.append(f'<path d="M{left} {y(10.0**power):.1f}H{wide - 150}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 8}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    if low <= fps <= top:
        parts.append(f'<path d="M{left} {y(fps):.1f}H{wide - 150}" stroke="#888" stroke-dasharray="5 4"/>')
        parts.append(f'<text x="{wide - 145}" y="{y(fps) + 4:.1f}" fill="#666">{fps:g} wanted</text>')
    for answer, colour in zip(answers, ("#0a6", "#06c", "#c40", "#84a", "#a80"), strict=False):
        fit = [t for t in answer.curve if t.fits]
        line = " ".join(f"{x(t.chips):.1f},{y(1 / t.seconds):.1f}" for t in fit)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end_x, end_y = x(fit[-1].chips) + 8, y(1 / fit[-1].seconds) + 4
        parts.append(f'<text x="{end_x:.1f}" y="{end_y:.1f}" fill="{colour}">{answer.model}</text>')
    parts.append(f'<text x="{(left + wide - 150) / 2}" y="{high - 12}" text-anchor="middle">chips</text>')
    turn = f'transform="rotate(-90 16 {high / 2})" text-anchor="middle"'
    parts.append(f'<text x="16" y="{high / 2}" {turn}>frames per second</text></svg>')
    return "\n".join(parts)
