"""A frame of the world model as one program for a tensor streaming processor, compiled, proved and executed.

One evaluation a frame, as the generator makes it with one step: look at the guide, evaluate the transformer beside the
last frame, decode the picture. The past frame's features and the keys and values are states of the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.inline import inline
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.model.configuration import PATCH
from elsewhere.model.generator import CONTEXT_LEVEL
from elsewhere.model.graphs.transformer import FRAMES, slot_of, visible_slots
from elsewhere.model.network import Models

Array = NDArray[Any]
PAST = "past features"
"""The state that holds the last frame's features (N, D)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameOnChip:
    """What a frame takes on one chip, and whether it was executed to the bit. Seconds are wall time here."""

    machine: str
    precision: str
    height: int
    width: int
    frames: int
    cycles: int
    microseconds: float
    frames_per_second: float
    instructions: int
    memory_rows: int
    memory_share: float
    faults: int
    executed: bool
    """Whether all outputs and states of all frames had the oracle's bits."""
    deviation: float
    """Root mean square of the last picture's difference from the f32 reference, over the picture's spread."""
    compile_seconds: float
    check_seconds: float
    run_seconds: float
    seconds: float
    """All of these, with what the comparison took."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def frame_graph(models: Models, height: int, width: int) -> Graph:
    """Planes (H, W, P) of the guide and what the step takes → picture (H, W, 4) and clean latents (N, C).

    Raises ValueError for a size that cannot be.
    """
    if height % PATCH or width % PATCH or min(height, width) < PATCH:
        raise ValueError(f"height and width must be multiples of {PATCH}, got {height} and {width}")
    graphs = {name: make() for name, make in models.graphs(height, width).items()}
    b = Builder()
    planes = b.input("planes", "f32", (height, width, models.transformer.planes))
    new = inline(b, graphs["look"], {"planes": planes})["features"]
    past = b.input(PAST, "f32", b.shape(new))
    features = b.concatenate([b.reshape(x, (1, *b.shape(x))) for x in (past, new)], 0)
    b.state(PAST, new)
    made = inline(b, graphs["step"], {"features": features})
    picture = inline(b, graphs["decode"], {"planes": planes, "latents": made["clean"]})["picture"]
    b.output("picture", picture)
    b.output("clean", made["clean"])
    return b.graph()


def frame_inputs(models: Models, graph: Graph, frame: int, seed: int) -> dict[str, Array]:
    """What frame number `frame` is made from: the generator's tables; guide, rays and noise are drawn from the seed."""
    config = models.transformer
    random = np.random.Generator(np.random.Philox([seed, frame]))
    ids = np.random.Generator(np.random.Philox([seed])).integers(0, len(config.vocabulary) + 2, config.text_length)
    keys, values = models.tables.text(ids)
    cosines, sines = models.tables.time_turns((float(max(frame - 1, 0)), float(frame)))
    told: dict[str, Array] = {
        "modulation": models.tables.modulation((CONTEXT_LEVEL, 0.0), (0.0, 1.0)),
        "text keys": keys,
        "text values": values,
        "cosines": cosines,
        "sines": sines,
        "slot": np.array(slot_of(config, max(frame - 1, 0)), np.int32),
        "visible": visible_slots(config, frame),
    }
    states = {name for name, _ in graph.states}
    for name, number in graph.inputs.items():
        shape = graph.nodes[number].type.shape
        if name in states:
            told[name] = np.zeros(shape, np.float32)
        elif name not in told:
            told[name] = random.standard_normal(shape).astype(np.float32)
    assert told["noisy"].shape[0] == FRAMES
    return told


def measure(
    models: Models,
    machine: TspMachine,
    *,
    height: int,
    width: int,
    precision: str = "f16",
    frames: int = 1,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> FrameOnChip:
    """Compiles the frame for one chip, proves it, and executes `frames` of a film, each from the last one's states.

    Raises ValueError for a size or number that cannot be, and what `compile_tsp` raises.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    begun = time.perf_counter()
    graph = frame_graph(models, height, width)
    inputs = frame_inputs(models, graph, 0, seed)
    say("compiling")
    start = time.perf_counter()
    made = compile_tsp(graph, machine=machine, precision=precision, samples=[inputs] if precision == "int8" else ())
    compiled = time.perf_counter() - start
    program = made.program
    say(f"checking {len(program.code):,} instructions")
    start = time.perf_counter()
    faults = len(check(program))
    checked = time.perf_counter() - start
    ran, executed = 0.0, faults == 0
    plain, results = inputs, {}
    for frame in range(frames):
        say(f"executing frame {frame + 1} of {frames}")
        start = time.perf_counter()
        results = run_bursts(program, inputs)
        ran += time.perf_counter() - start
        wanted = oracle.run(made.graph, inputs, program.facts["cuts"])
        executed &= all(np.array_equal(results[k], wanted[k], equal_nan=True) for k in wanted)
        outputs, states = reference.run(graph, plain)
        if frame + 1 < frames:
            following = frame_inputs(models, graph, frame + 1, seed)
            inputs = following | _carried(results)
            plain = following | dict(states)
    picture = outputs["picture"]
    difference = np.sqrt(np.mean(np.square(picture - results["picture"], dtype=np.float64)))
    memory = program.facts["memory"]
    room = machine.slices * machine.rows_per_slice
    return FrameOnChip(
        machine=machine.name,
        precision=precision,
        height=height,
        width=width,
        frames=frames,
        cycles=program.cycles,
        microseconds=round(program.seconds * 1e6, 2),
        frames_per_second=round(1.0 / program.seconds, 1),
        instructions=len(program.code),
        memory_rows=int(memory["rows"]),
        memory_share=round(memory["rows"] / room, 4),
        faults=faults,
        executed=bool(executed),
        deviation=float(difference / max(float(picture.std()), 1e-12)),
        compile_seconds=round(compiled, 2),
        check_seconds=round(checked, 2),
        run_seconds=round(ran, 2),
        seconds=round(time.perf_counter() - begun, 2),
    )


def _carried(results: Mapping[str, Array]) -> dict[str, Array]:
    return {k.removeprefix("state:"): v for k, v in results.items() if k.startswith("state:")}


__all__ = ["PAST", "FrameOnChip", "frame_graph", "frame_inputs", "measure"]
