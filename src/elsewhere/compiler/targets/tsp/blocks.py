"""Transformer blocks as graphs, whole or as one chip's share of a node: heads and hidden columns are dealt out.

Weights are int8 with a scale per column, drawn from a seed (their values do not change a cycle); attention is f16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp.shapes import Transformer

Array = NDArray[Any]
LANES = 320
"""Columns that heads' values may share; a wider row would only be cut again."""


class Block:
    """Parts of a block on one builder; weights are drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        self.b = Builder()
        self.random = np.random.Generator(np.random.Philox(seed))

    def norm(self, x: int) -> int:
        """x / sqrt(mean(x²) + ε) · g."""
        b, shape = self.b, self.b.shape(x)
        mean = b.binary(
            "mul", b.reduce("sum", b.binary("mul", x, x), (1,)), b.like(1.0 / shape[1], b.reduce("sum", x, (1,)))
        )
        scale = b.unary("rsqrt", b.binary("add", mean, b.like(1e-5, mean)))
        gain = b.constant(self.random.uniform(0.5, 1.5, (1, shape[1])), "f32")
        return b.binary("mul", b.binary("mul", x, b.spread(scale, shape)), b.spread(gain, shape))

    def narrow(self, x: int) -> int:
        b = self.b
        return b.cast(b.binary("mul", x, b.like(32.0, x)), "i8")

    def linear(self, q: int, columns: int) -> int:
        """int8 rows times int8 weights, scaled to about the size of its operand."""
        inner = self.b.shape(q)[-1]
        return self.product(q, self.random.integers(-127, 128, (inner, columns), np.int8))

    def product(self, q: int, data: Array) -> int:
        """As `linear`, with weights (inner, columns) that are there already."""
        b, (inner, columns) = self.b, data.shape
        product = b.cast(b.matmul(q, b.constant(data, "i8")), "f32")
        scale = b.constant(np.full((1, columns), 1.0 / (32.0 * 73.0 * math.sqrt(inner))), "f32")
        return b.binary("mul", product, b.spread(scale, b.shape(product)))

    def heads(self, x: int, count: int) -> int:
        b, (rows, width) = self.b, self.b.shape(x)
        return b.transpose(b.reshape(x, (rows, count, width // count)), (1, 0, 2))

    def rope(self, x: int, angles: tuple[int, int]) -> int:
        """x (heads, rows, head) turned by angles (1, rows, head)."""
        b, shape = self.b, self.b.shape(x)
        half = shape[2] // 2
        turned = b.concatenate([b.unary("neg", b.narrow(x, 2, half, shape[2])), b.narrow(x, 2, 0, half)], 2)
        left = b.binary("mul", x, b.spread(angles[0], shape))
        return b.binary("add", left, b.binary("mul", turned, b.spread(angles[1], shape)))

    def softmax(self, x: int) -> int:
        b, shape = self.b, self.b.shape(x)
        raised = b.unary("exp", b.binary("sub", x, b.spread(b.reduce("max", x, (2,)), shape)))
        inverse = b.unary("reciprocal", b.reduce("sum", raised, (2,)))
        return b.binary("mul", raised, b.spread(inverse, shape))


def decoder_block(
    shape: Transformer, *, rows: int = 1, context: int = 128, share: int = 1, layers: int = 1, seed: int = 0
) -> Graph:
    """Blocks that read `context` cached keys and values a layer and add `rows` new ones at `position`.

    Of `share` chips, one chip's heads and columns; its outputs are partial sums where share > 1.
    """
    block = Block(seed)
    b = block.b
    heads = max(1, shape.heads // share)
    kv = max(1, shape.key_value_heads // share)
    x = b.input("x", "f32", (rows, shape.width))
    position = b.input("position", "i32", ())
    cosine = b.input("cosine", "f32", (1, rows, shape.head))
    sine = b.input("sine", "f32", (1, rows, shape.head))
    mask = b.input("mask", "f32", (1, rows, context))
    for layer in range(layers):
        b.place = f"layers.{layer}"
        x = attend_and_feed(
            block, shape, x, position, (cosine, sine), mask, (heads, kv, shape.hidden // share, context), layer
        )
    b.output("y", x)
    return b.graph()


def attend_and_feed(
    block: Block,
    shape: Transformer,
    x: int,
    position: int,
    angles: tuple[int, int],
    mask: int,
    sizes: tuple[int, int, int, int],
    layer: int,
) -> int:
    """One block: x (rows, width) → the same, with its cache. `sizes` are heads, kv heads, hidden and context."""
    b = block.b
    heads, kv, hidden, context = sizes
    rows, head = b.shape(x)[0], shape.head
    q8 = block.narrow(block.norm(x))
    joint = block.linear(q8, (heads + 2 * kv) * head)
    q = block.rope(block.heads(b.narrow(joint, 1, 0, heads * head), heads), angles)
    k = block.rope(block.heads(b.narrow(joint, 1, heads * head, (heads + kv) * head), kv), angles)
    bundle = bundle_of(kv, head)
    v = block.heads(b.narrow(joint, 1, (heads + kv) * head, (heads + 2 * kv) * head), kv // bundle)
    keys = b.input(f"keys.{layer}", "f16", (kv, head, context))  # keys lie turned, as weights want them
    values = b.input(f"values.{layer}", "f16", (kv // bundle, context, bundle * head))
    keys = b.add("update", (keys, b.cast(b.transpose(k, (0, 2, 1)), "f16"), position), axis=2)
    values = b.add("update", (values, b.cast(v, "f16"), position), axis=1)
    b.state(f"keys.{layer}", keys)
    b.state(f"values.{layer}", values)
    grouped = b.reshape(q, (kv, heads // kv * rows, head))
    scores = b.matmul(b.cast(b.binary("mul", grouped, b.like(head**-0.5, grouped)), "f16"), keys)
    scores = b.reshape(scores, (heads, rows, context))
    shares = block.softmax(b.binary("add", scores, b.spread(mask, b.shape(scores))))
    mixed = b.matmul(b.cast(b.reshape(shares, (kv // bundle, bundle * heads // kv * rows, context)), "f16"), values)
    mixed = _own_columns(b, mixed, bundle, head)
    merged = b.reshape(b.transpose(b.reshape(mixed, (heads, rows, head)), (1, 0, 2)), (rows, heads * head))
    x = b.binary("add", x, block.linear(block.narrow(merged), shape.width))
    q8 = block.narrow(block.norm(x))
    gate, up = block.linear(q8, hidden), block.linear(q8, hidden)
    inner = b.binary("mul", b.binary("mul", gate, b.unary("sigmoid", gate)), up)
    return b.binary("add", x, block.linear(block.narrow(inner), shape.width))


def bundle_of(kv: int, head: int) -> int:
    """How many heads' values share a row of lanes: a row of one narrow head would leave most lanes empty."""
    return max(n for n in range(1, kv + 1) if kv % n == 0 and (n == 1 or n * head <= LANES))


def _own_columns(b: Builder, mixed: int, bundle: int, head: int) -> int:
    """(bundles, bundle·rows, bundle·head) → (bundles, bundle·rows, head): of each head's rows its own columns."""
    rows = b.shape(mixed)[1] // bundle
    parts = [b.narrow(b.narrow(mixed, 1, i * rows, (i + 1) * rows), 2, i * head, (i + 1) * head) for i in range(bundle)]
    return b.concatenate(parts, 1)


def decoder_inputs(
    shape: Transformer, *, rows: int = 1, context: int = 128, layers: int = 1, kv: int = 0
) -> dict[str, np.ndarray]:
    """Inputs for `decoder_block` with an empty cache, at position 0."""
    random = np.random.Generator(np.random.Philox(7))
    angle = np.arange(rows)[:, None] * 10000.0 ** (-np.arange(shape.head // 2) / (shape.head // 2))
    both = np.concatenate([angle, angle], axis=1)[None]
    mask = np.where(np.arange(context)[None] <= np.arange(rows)[:, None], 0.0, -1e4)[None]
    made: dict[str, np.ndarray] = {
        "x": random.standard_normal((rows, shape.width), np.float32),
        "position": np.array(0, np.int32),
        "cosine": np.cos(both).astype(np.float32),
        "sine": np.sin(both).astype(np.float32),
        "mask": mask.astype(np.float32),
    }
    kv = kv or shape.key_value_heads
    for layer in range(layers):
        made[f"keys.{layer}"] = np.zeros((kv, shape.head, context), np.float16)
        bundle = bundle_of(kv, shape.head)
        made[f"values.{layer}"] = np.zeros((kv // bundle, context, bundle * shape.head), np.float16)
    return made
