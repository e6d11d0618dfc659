"""A whole language model as one graph for one chip: from a token's number to the next one's.

Embedding, blocks with their cache, head and the choice of the largest logit are on the chip, so that four bytes go in
and four come out. Weights are int8 with a scale per column, drawn from a seed; the embedding is tied to the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp import oracle
from elsewhere.compiler.targets.tsp.blocks import Block, attend_and_feed, bundle_of
from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.shapes import ShapeError, Transformer

Array = NDArray[Any]
TOKEN_BYTES = 4
"""What goes to and from the host for a token: its number."""
MASKED = -1e4
"""Added to scores of places that are not written yet; exp of it is 0 in f32."""


def decoder_model(shape: Transformer, *, context: int, layers: int = 0, seed: int = 0) -> Graph:
    """token (1,) i32 at position () i32 → next (1, 1) i32 and logits (1, vocabulary) f32; the cache is state.

    `layers` below the shape's own makes a shallower model; 0 takes them all. Raises ShapeError without a vocabulary.
    """
    if shape.vocabulary < 2:
        raise ShapeError(f"{shape.name} has no vocabulary, which a language model needs")
    if not 2 <= context <= 1 << 16:
        raise ShapeError(f"context must be from 2 to {1 << 16} tokens, got {context}")
    block = Block(seed)
    b = block.b
    b.place = "embedding"
    token, position = b.input("token", "i32", (1,)), b.input("position", "i32", ())
    table = block.random.integers(-127, 128, (shape.vocabulary, shape.width), np.int8)
    x = b.cast(b.gather(b.constant(table, "i8"), token), "f32")
    x = b.binary("mul", x, b.like(1.0 / 73.0, x))
    b.place = "position"
    where = b.reshape(position, (1,))
    angles = rotations(context, shape.head)
    cosine, sine = (b.reshape(b.gather(b.constant(a, "f32"), where), (1, 1, shape.head)) for a in angles)
    mask = _mask(b, position, context)
    kv, heads = shape.key_value_heads, shape.heads
    for layer in range(layers or shape.layers):
        b.place = f"layers.{layer}"
        x = attend_and_feed(block, shape, x, position, (cosine, sine), mask, (heads, kv, shape.hidden, context), layer)
    b.place = "head"
    logits = block.product(block.narrow(block.norm(x)), np.ascontiguousarray(table.T))
    b.output("logits", logits)
    b.output("next", _largest(b, logits))
    return b.graph()


def rotations(context: int, head: int) -> tuple[Array, Array]:
    """Cosines and sines (context, head) of rotary positions."""
    angle = np.arange(context)[:, None] * 10000.0 ** (-np.arange(head // 2) / (head // 2))
    both = np.concatenate([angle, angle], axis=1)
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)


def _mask(b: Builder, position: int, context: int) -> int:
    """(1, 1, context): 0 up to the position, a large negative number behind it."""
    own = b.constant(np.arange(context)[None], "i32")
    here = b.broadcast(b.reshape(position, (1, 1)), (1, context))
    seen = b.cast(b.binary("less_equal", own, here), "f32")
    hidden = b.binary("mul", b.binary("sub", seen, b.like(1.0, seen)), b.like(-MASKED, seen))
    return b.reshape(hidden, (1, 1, context))


def _largest(b: Builder, logits: int) -> int:
    """The number (1, 1) of the first largest column."""
    shape = b.shape(logits)
    top = b.binary("equal", logits, b.spread(b.reduce("max", logits, (1,)), shape))
    own = b.constant(np.arange(shape[1])[None], "i32")
    return b.reduce("min", b.select(top, own, b.like(shape[1], own)), (1,))


def empty_cache(shape: Transformer, context: int, layers: int = 0) -> dict[str, Array]:
    """States before the first token, f16: keys (kv heads, head, context), values (bundles, context, lanes)."""
    made: dict[str, Array] = {}
    bundle = bundle_of(shape.key_value_heads, shape.head)
    for layer in range(layers or shape.layers):
        made[f"keys.{layer}"] = np.zeros((shape.key_value_heads, shape.head, context), np.float16)
        made[f"values.{layer}"] = np.zeros((shape.key_value_heads // bundle, context, bundle * shape.head), np.float16)
    return made


def host_seconds(machine: TspMachine, size: int) -> float:
    """One way between host and chip: latency, then bytes."""
    return machine.host_latency + size / machine.host_bytes_per_second


@dataclass(frozen=True, kw_only=True, slots=True)
class OneChip:
    """A language model on one chip: what its program takes, and what an execution gave."""

    model: str
    context: int
    cycles: int
    seconds_per_token: float
    """On the chip alone: the next token's number is there already, as is the cache."""
    seconds_with_host: float
    """With the number of the token going out to the host and back in."""
    seconds_to_first: float
    """Of a prompt, token by token through the same program, and both ways to the host."""
    prompt: int
    instructions: int
    compile_seconds: float
    memory_share: float
    tokens: tuple[int, ...] = ()
    """What an execution chose, and whether every bit of it was the oracle's."""
    exact: bool | None = None

    @property
    def tokens_per_second(self) -> float:
        return 1.0 / self.seconds_per_token


def measure(
    shape: Transformer,
    *,
    context: int = 256,
    prompt: int = 1,
    layers: int = 0,
    execute: int = 0,
    machine: TspMachine = GROQCHIP1,
    seed: int = 0,
) -> OneChip:
    """Compiles the whole model for one chip; executes `execute` tokens and compares them with the oracle.

    Raises ValueError where it does not fit, with how many chips would do.
    """
    if not 1 <= prompt <= context:
        raise ValueError(f"prompt must be from 1 to the context's {context} tokens, got {prompt}")
    if not 0 <= execute <= context:
        raise ValueError(f"at most the context's {context} tokens can be executed, got {execute}")
    made = compile_tsp(decoder_model(shape, context=context, layers=layers, seed=seed), machine=machine)
    program = made.program
    token = program.seconds
    host = host_seconds(machine, TOKEN_BYTES) * 2
    tokens, exact = step(made, shape, context, layers, execute) if execute else ((), None)
    return OneChip(
        model=shape.name,
        context=context,
        cycles=program.cycles,
        seconds_per_token=token,
        seconds_with_host=token + host,
        seconds_to_first=prompt * token + host,
        prompt=prompt,
        instructions=len(program.code),
        compile_seconds=made.seconds,
        memory_share=program.facts["memory"]["rows"] / (machine.slices * machine.rows_per_slice),
        tokens=tokens,
        exact=exact,
    )


def step(
    made: TspCompiled, shape: Transformer, context: int, layers: int, count: int, first: int = 1
) -> tuple[tuple[int, ...], bool]:
    """`count` tokens from `first` on, each chosen by the chip from the one before; and whether all bits agree."""
    states: dict[str, Array] = empty_cache(shape, context, layers)
    token, found, exact = first, [], True
    for position in range(count):
        given = {"token": np.array([token], np.int32), "position": np.array(position, np.int32), **states}
        outputs = run_bursts(made.program, given)
        wanted = oracle.run(made.graph, given, made.program.facts["cuts"], made.program.machine.lanes)
        exact &= all(np.array_equal(outputs[name], wanted[name]) for name in wanted)
        states = {n.removeprefix("state:"): v for n, v in outputs.items() if n.startswith("state:")}
        token = int(outputs["next"][0, 0])
        found.append(token)
    return tuple(found), exact
