"""How long video models take on many chips: their blocks are too long to schedule whole, so loads are counted.

Passes through the planes, the vector unit's work and the packets between chips are counted with the machine's numbers,
and the largest binds. `calibrate` schedules a small block and says how far counting is from that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.charts import Line, chart
from elsewhere.compiler.targets.tsp.chips.collective import vectors
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System
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


WINDOW = 6
"""Latents that a new one attends to, with itself: one second of pictures at 24 a second. A choice, not published."""


class DeadlineError(ValueError):
    """No machine of the kind meets the deadline; the message says how near the largest comes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTime:
    """One system's time for a frame, and what of it is what. Seconds."""

    chips: int
    matrix: float
    vector: float
    network: float
    latency: float
    fits: bool

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "milliseconds": self.seconds * 1e3, "bound": self.bound}

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
    shape: Transformer,
    tokens: float,
    steps: int,
    frames: float,
    chips: int,
    machine: TspMachine = GROQCHIP1,
    window: int = 1,
) -> FrameTime:
    """A latent of `tokens` tokens, `steps` evaluations, that makes `frames` pictures; all chips work on one latent.

    It attends to `window` latents, itself among them; earlier ones lie in the cache. Tokens are dealt
    over nodes, columns and heads inside a node; keys and values go to all nodes.
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
    keys = tokens * window + shape.cross_tokens
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
    limit: str
    """What rules out the next smaller system: "memory" or "deadline"."""

    def to_json(self) -> dict[str, Any]:
        """The curve is thinned to powers of two and the chosen system."""
        wanted = [t for t in self.curve if t.chips & (t.chips - 1) == 0 or t.chips == self.chosen.chips]
        return {
            "tokens": self.tokens,
            "limit": self.limit,
            "racks": self.racks,
            "watts": self.watts,
            "chosen": self.chosen.to_json(),
            "curve": [t.to_json() for t in wanted],
        }


def realtime(
    shape: Transformer,
    *,
    width: int,
    height: int,
    fps: float,
    steps: int = 4,
    machine: TspMachine = GROQCHIP1,
    slower: float = 1.0,
    window: int = WINDOW,
) -> RealTime:
    """Finds it by going through sizes. A latent attends to `window` latents.

    Loads of the chips' units are taken `slower` times (see `calibrate`).

    Raises DeadlineError if none does, ValueError for what cannot be.
    """
    if not 1.0 <= slower < 1e3:
        raise ValueError(f"slower must be from 1 to 1000, got {slower}")
    for name, value in (("width", width), ("height", height), ("fps", fps), ("steps", steps), ("window", window)):
        if not 0 < value <= 1e6:
            raise ValueError(f"{name} must be above 0 and at most 1e6, got {value}")
    frames = shape.squeeze[0]
    tokens = math.ceil(shape.tokens(width, height, frames))
    sizes = sorted({*(2**i for i in range(3)), *range(8, machine.largest_system + 1, 8)})
    curve = [frame_time(shape, tokens, steps, frames, chips, machine, window) for chips in sizes]
    curve = [replace(t, matrix=t.matrix * slower, vector=t.vector * slower) for t in curve]
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
    smaller = [t for t in curve if t.chips < good.chips]
    return RealTime(
        limit="memory" if smaller and not smaller[-1].fits else "deadline",
        model=shape.name,
        tokens=tokens,
        chosen=good,
        curve=tuple(curve),
        racks=System(machine, good.chips).racks,
        watts=good.chips * machine.watts,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A block that is small enough to be scheduled, counted as the large ones are. Cycles on one chip."""

    shape: Transformer
    tokens: int
    counted: int
    scheduled: int

    @property
    def ratio(self) -> float:
        """Scheduled over counted."""
        return self.scheduled / self.counted


SMALL = Transformer(
    name="small block", layers=1, width=640, heads=5, key_value_heads=5, hidden=2560, gated=False,
    source="a block of wan's proportions, small enough to schedule",
)  # fmt: skip


def calibrate(machine: TspMachine = GROQCHIP1, tokens: int = 256) -> Calibration:
    """Schedules a block without text, int8 products and f16 attention as `published.bert` has them, and counts it."""
    graph = published.bert(1, SMALL.width, SMALL.heads, SMALL.hidden, tokens)
    scheduled = compile_tsp(graph, machine=machine).program.cycles
    time = frame_time(SMALL, tokens, 1, 1, 1, machine)
    counted = math.ceil(time.seconds * machine.clock_hz)
    return Calibration(shape=SMALL, tokens=tokens, counted=counted, scheduled=scheduled)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Whether one model makes its deadline: by counting, and with loads as much slower as the scheduled block is."""

    model: str
    counted: RealTime | None
    scheduled: RealTime | None
    factor: float
    missed: tuple[str, ...] = ()
    """Why there is none: how near the largest system comes."""

    def to_json(self) -> dict[str, Any]:
        made: dict[str, Any] = {"model": self.model, "factor": self.factor, "missed": list(self.missed)}
        for name, found in (("counted", self.counted), ("scheduled", self.scheduled)):
            made[name] = None if found is None else found.to_json()
        return made

    def lines(self, size: str, fps: float, steps: int) -> list[str]:
        """For people."""
        told = [f"{self.model} at {size}, {steps} steps, {fps:g} frames/s"]
        answers = {f"{self.factor:.2f} times slower": self.scheduled, "counted": self.counted}
        for name, found in reversed(answers.items()):
            if found is not None and (name == "counted" or self.factor > 1.0):
                t = found.chosen
                told.append(
                    f"  {name + ':':20s} {t.chips} chips, {found.racks} racks, {found.watts:,.0f} W, "
                    f"{t.seconds * 1e3:.1f} ms a frame, bound by {t.bound}; fewer fail by {found.limit}"
                )
        return [*told, *(f"  cannot be: {m}" for m in self.missed)]


def answer(
    shape: Transformer,
    width: int,
    height: int,
    fps: float,
    steps: int,
    machine: TspMachine,
    factor: float,
    window: int = WINDOW,
) -> Answer:
    """Both answers for a model. Raises ValueError for what cannot be; a missed deadline is part of the answer."""
    found: list[RealTime | None] = []
    missed = []
    for slower in dict.fromkeys((1.0, factor)):
        try:
            found.append(
                realtime(
                    shape,
                    width=width,
                    height=height,
                    fps=fps,
                    steps=steps,
                    machine=machine,
                    slower=slower,
                    window=window,
                )
            )
        except DeadlineError as error:
            found.append(None)
            missed.append(str(error))
    return Answer(model=shape.name, counted=found[0], scheduled=found[-1], factor=factor, missed=tuple(missed))


def plot(answers: Sequence[RealTime], fps: float) -> str:
    """Frames per second against chips, both logarithmic, as SVG."""
    lines = [
        Line(a.model, [(float(t.chips), 1 / t.seconds) for t in a.curve if t.fits and t.seconds > 0]) for a in answers
    ]
    return chart(lines, across="chips", up="frames per second", logarithmic=True, level=(fps, f"{fps:g} wanted"))
