"""The transformer as two graphs for one picture size, and the small tables that they are fed with.

`look_graph` turns a guide into features of its tokens, once a frame. `step_graph` is one evaluation: it takes the last
frame, slightly noised, beside the new one, writes the last frame's keys and values into the rolling cache, and
predicts the new frame's clean latents.

The cache is state of the program: SINK + context + 1 slots, of which the last is the new frame's own and the others
hold rotated keys of past frames in a ring behind the sink. A key's rotation depends on its own position alone, so
it is rotated once. The ring has one slot more than the context, for the last frame itself: an evaluation overwrites
only what it does not read, so that running again with the same past gives the same, however many steps a frame
takes. Slots that are still empty, and for the first frame also its past, are hidden by a mask, so that one program
serves every frame of a film.

Channels of each head of queries and keys are permuted ahead so that a rotary pair (2i, 2i + 1) lies at
(i, i + E/2): a common permutation changes no product of the two, and halves are dense.

Shapes: T = 2 frames (past, new), N = h·w tokens of a frame, C latent channels, D width, K heads, E = D/K,
S slots, L text tokens, P planes, H W pixels, B blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.model.configuration import COARSE, MEMORY, PATCH, TransformerConfig
from elsewhere.model.graphs.layers import Layers, Shapes, Weights, convolution_shapes, linear_shapes

RAYS = 12
"""Numbers per token that say where it is seen from."""
FRAMES = 2
EPSILON = 1e-5
SPACE, TIME, FEED = 0, 1, 2
"""Which of a block's three layers a modulation is for."""
PLANE_BASE, TIME_BASE = 100.0, 1000.0
GUIDANCE_MOST = 8.0
"""Strengths of guidance are told as a share of this."""
MEMORY_CHANNELS = MEMORY * (PATCH // COARSE) ** 2
"""Numbers per token of the warped picture."""
LEVEL_CHANNELS = 128


def transformer_shapes(config: TransformerConfig) -> Shapes:
    """Every weight that a file of this configuration holds."""
    d = config.width
    found: Shapes = {"words.weight": (len(config.vocabulary) + 2, d)}
    found |= linear_shapes("latent_in", config.latent_channels, d) | linear_shapes("camera_in", RAYS, d)
    for name, inner, outer in (("0", config.planes, 64), ("2", 64, 96), ("4", 96, d)):
        found |= convolution_shapes(f"guide_in.{name}", inner, outer)
    found |= linear_shapes("level_in.0", 2 * LEVEL_CHANNELS, d) | linear_shapes("level_in.2", d, d)
    if config.memory:
        found |= {"memory_in.0.weight": (d, MEMORY_CHANNELS), "memory_in.2.weight": (d, d)}
    if config.guidance:
        found["guidance_in.weight"] = (d, LEVEL_CHANNELS)
    found |= linear_shapes("modulation", d, 9 * d) | linear_shapes("out", d, config.latent_channels)
    for i in range(config.layers):
        found[f"blocks.{i}.modulation"] = (9, d)
        for name, inner, outer in (
            *(("space_in", d, 3 * d), ("text_in", d, 2 * d), ("space_out", d, d)),
            *((("time_in", d, 3 * d), ("time_out", d, d)) if i in temporal_blocks(config) else ()),
            *(("feed_in", d, 4 * d), ("feed_out", 2 * d, d)),
        ):
            found |= linear_shapes(f"blocks.{i}.{name}", inner, outer)
    return found


def slot_count(config: TransformerConfig) -> int:
    """S: the sink, the context and one more in the ring, and the new frame's own."""
    return config.context + 3


def slot_of(config: TransformerConfig, frame: int) -> int:
    """Where the cache keeps frame `frame`: the first is the sink, the others overwrite each other in turn."""
    return 0 if frame == 0 else 1 + (frame - 1) % (config.context + 1)


def visible_slots(config: TransformerConfig, frame: int) -> NDArray[np.float32]:
    """(T, S): what is added to the scores of the past and the new frame's queries when `frame` is made."""
    mask = np.full((FRAMES, slot_count(config)), forms.MASKED, np.float32)
    mask[1, -1] = 0.0
    mask[:, slot_of(config, max(frame - 1, 0))] = 0.0  # the past sees itself, also where there is none yet
    if frame == 0:
        mask[1, 0] = forms.MASKED
    else:
        for seen in {0, *range(max(frame - 1 - config.context, 0), frame - 1)} if frame > 1 else ():
            mask[:, slot_of(config, seen)] = 0.0
    return mask


def temporal_blocks(config: TransformerConfig) -> list[int]:
    """Blocks that attend over time: every other one."""
    return [i for i in range(config.layers) if i % 2 == 1]


def key_state(block: int) -> str:
    return f"keys {block}"


def value_state(block: int) -> str:
    return f"values {block}"


# Tables, in f64 and rounded once


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """What depends on neither picture nor noise: weights that are applied ahead, in NumPy."""

    config: TransformerConfig
    weights: Weights

    def modulation(self, levels: Sequence[float], steps: Sequence[float], guidance: float = 1.0) -> NDArray[np.float32]:
        """(B, T, 9, D): 1 + scale, shift and 1 + gate of space, time and feed, for each frame's level and step.

        `guidance` is the strength of guidance by text, 1 for none.
        """
        told = np.concatenate([_embed(np.array(levels)), _embed(np.array(steps))], axis=-1)
        inner = _silu(self._linear("level_in.0", told))
        condition = self._linear("level_in.2", inner)
        if self.config.guidance:
            share = np.array([(guidance - 1.0) / GUIDANCE_MOST, 0.0])
            strength, none = _embed(share)
            condition = condition + (strength - none) @ self.weights["guidance_in.weight"].astype(np.float64).T
        shared = self._linear("modulation", _silu(condition)).reshape(len(levels), 9, -1)
        blocks = np.stack([self.weights[f"blocks.{i}.modulation"] for i in range(self.config.layers)])
        every = shared[None] + blocks[:, None].astype(np.float64)
        every[:, :, 0:3] += 1.0
        every[:, :, 6:9] += 1.0
        return every.astype(np.float32)

    def text(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keys and values (B, K, L, E) of the words `ids` (L,), which every frame attends to."""
        words = self.weights["words.weight"][ids].astype(np.float64)
        keys, values = [], []
        for i in range(self.config.layers):
            both = self._linear(f"blocks.{i}.text_in", words).reshape(len(ids), 2, self.config.heads, -1)
            key, value = both.transpose(1, 2, 0, 3)
            centred = key - key.mean(axis=-1, keepdims=True)
            normal = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
            keys.append(normal[..., pairs_apart(normal.shape[-1])])
            values.append(value)
        return np.stack(keys).astype(np.float32), np.stack(values).astype(np.float32)

    def time_turns(self, positions: Sequence[float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cosines and sines (T, E/2) that rotate at `positions` in frames of 1/24 s."""
        pairs = self.config.width // self.config.heads // 2
        return _turns(np.array(positions), pairs, TIME_BASE)

    def _linear(self, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x @ self.weights[f"{name}.weight"].astype(np.float64).T + self.weights[f"{name}.bias"]


def _silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / (1.0 + np.exp(-x))


def _embed(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinusoidal embedding of numbers in [0, 1]: (T,) → (T, 128)."""
    angle = level[:, None] * np.exp(np.linspace(0.0, np.log(1000.0), LEVEL_CHANNELS // 2))
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)


def _turns(position: NDArray[np.float64], pairs: int, base: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    angle = position[:, None] * base ** (-np.arange(pairs) / pairs)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def plane_turns(rows: int, columns: int, pairs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines (N, E/2): half of the pairs turn with the row, half with the column."""
    half = pairs // 2
    down = _turns(np.repeat(np.arange(rows, dtype=np.float64), columns), half, PLANE_BASE)
    across = _turns(np.tile(np.arange(columns, dtype=np.float64), rows), pairs - half, PLANE_BASE)
    cosine, sine = (np.concatenate(both, axis=-1) for both in zip(down, across, strict=True))
    return cosine, sine


def memory_tokens(memory: NDArray[np.float32]) -> NDArray[np.float32]:
    """(4, H/4, W/4) of the warped picture → (N, 64): what it shows in each token, by plane, row, column."""
    side = PATCH // COARSE
    planes, height, width = memory.shape
    parts = memory.reshape(planes, height // side, side, width // side, side)
    return np.ascontiguousarray(parts.transpose(1, 3, 0, 2, 4).reshape(-1, planes * side * side))


def pairs_apart(width: int) -> NDArray[np.intp]:
    """Where the channels of a head come from: first of all pairs, then second of all pairs."""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])


# Graphs


def look_graph(config: TransformerConfig, weights: Weights, height: int, width: int) -> Graph:
    """Input planes (H, W, P); output features (N, D) of the guide."""
    b = Builder()
    layers = Layers(b, weights)
    planes = b.reshape(b.input("planes", "f32", (height, width, config.planes)), (1, height, width, config.planes))
    b.place = "coarse"
    coarse = b.pool("sum", planes, (COARSE, COARSE), (COARSE, COARSE), ((0, 0), (0, 0)))
    x = forms.scalar(b, "mul", coarse, 1.0 / COARSE**2)
    x = layers.silu(layers.convolution("guide_in.0", x))
    x = layers.silu(layers.convolution("guide_in.2", x, stride=2))
    x = layers.convolution("guide_in.4", x, stride=2)
    b.output("features", b.reshape(x, (height // PATCH * (width // PATCH), config.width)))
    return b.graph()


def step_graph(config: TransformerConfig, weights: Weights, height: int, width: int) -> Graph:
    """One evaluation; see the file's head.

    Inputs: noisy (T, N, C), rays (T, N, 12), features (T, N, D) as `look_graph` gives them, with a network that has
    it memory (T, N, 64) as `memory_tokens` gives it, modulation
    (B, T, 9, D), text keys and text values (B, K, L, E), cosines and sines (T, E/2) of the frames' positions, slot
    (an i32: where the past frame is kept) and visible (T, S). States: keys and values (N, K, S, E) of each temporal
    block. Output: clean (N, C), the new frame's latents.
    """
    return Step(config, weights, height // PATCH, width // PATCH).build()


class Step:
    """The graph of one evaluation, layer by layer. `frames` is T."""

    def __init__(
        self, config: TransformerConfig, weights: Weights, rows: int, columns: int, frames: int = FRAMES
    ) -> None:
        self.config, self.rows, self.columns, self.frames = config, rows, columns, frames
        self.b = Builder()
        self.layers = Layers(self.b, weights)
        self.tokens, self.heads, self.head_width = rows * columns, config.heads, config.width // config.heads
        channels = np.arange(3 * config.width).reshape(3, self.heads, self.head_width)
        channels[:2] = channels[:2][..., pairs_apart(self.head_width)]
        self.apart = channels.ravel()
        """Columns of a projection to queries, keys and values, with pairs apart in the first two."""

    def build(self) -> Graph:
        b, config, layers = self.b, self.config, self.layers
        n, d = self.tokens, config.width
        noisy = b.input("noisy", "f32", (FRAMES, n, config.latent_channels))
        rays = b.input("rays", "f32", (FRAMES, n, RAYS))
        features = b.input("features", "f32", (FRAMES, n, d))
        self.modulation = b.input("modulation", "f32", (config.layers, FRAMES, 9, d))
        words = (config.layers, self.heads, config.text_length, self.head_width)
        self.text = [b.input(f"text {kind}", "f32", words) for kind in ("keys", "values")]
        turned = (FRAMES, 1, 1, self.head_width // 2)
        self.turns = [b.reshape(b.input(k, "f32", (FRAMES, turned[-1])), turned) for k in ("cosines", "sines")]
        self.slot = b.input("slot", "i32", ())
        self.visible = b.input("visible", "f32", (FRAMES, slot_count(config)))
        cosine, sine = plane_turns(self.rows, self.columns, self.head_width // 2)
        self.plane = [layers.constant(t.reshape(1, n, 1, self.head_width // 2)) for t in (cosine, sine)]

        x = layers.add(layers.linear("latent_in", noisy), features)
        x = layers.add(layers.linear("camera_in", rays), x)
        if config.memory:
            memory = b.input("memory", "f32", (FRAMES, n, MEMORY_CHANNELS))
            x = layers.add(layers.product("memory_in.2", layers.silu(layers.product("memory_in.0", memory))), x)
        temporal = temporal_blocks(config)
        for block in range(config.layers):
            x = self.space(block, x)
            if block in temporal:
                x = self.time(block, x, last=block == temporal[-1])
            x = self.feed(block, x)
        b.place = "out"
        x = b.narrow(x, 0, b.shape(x)[0] - 1, b.shape(x)[0])
        made = layers.linear("out", self.normed(x))
        b.output("clean", b.reshape(made, (n, config.latent_channels)))
        return b.graph()

    # -- pieces ------------------------------------------------------------------------------------------------

    def normed(self, x: int) -> int:
        """Zero mean, unit variance along the last axis."""
        return forms.layer_norm(self.b, x, 1, None, None, EPSILON)

    def modulated(self, block: int, layer: int, kind: int, x: int) -> int:
        """A modulation in the shape of x (T, N, D); after the last temporal layer x holds the new frame alone."""
        b = self.b
        frames = b.shape(x)[0]
        part = b.slice(
            self.modulation,
            (block, self.frames - frames, 3 * kind + layer, 0),
            (block + 1, self.frames, 3 * kind + layer + 1, self.config.width),
        )
        return b.broadcast(b.reshape(part, (frames, 1, self.config.width)), b.shape(x))

    def entered(self, block: int, layer: int, x: int) -> int:
        """normed(x)·(1 + scale) + shift."""
        b = self.b
        b.place = f"blocks.{block}.{('space', 'time', 'feed')[layer]}_norm"
        y = b.binary("mul", self.normed(x), self.modulated(block, layer, 0, x))
        return b.binary("add", y, self.modulated(block, layer, 1, x))

    def left(self, block: int, layer: int, x: int, y: int) -> int:
        """x + (1 + gate)·y."""
        return self.b.binary("add", self.b.binary("mul", y, self.modulated(block, layer, 2, x)), x)

    def rotated(self, x: int, turn: list[int]) -> int:
        """Rotary embedding of x (T, N, K, E) whose pairs lie apart, by cosines and sines that broadcast."""
        b, half = self.b, self.head_width // 2
        first, second = b.narrow(x, 3, 0, half), b.narrow(x, 3, half, 2 * half)
        cosine, sine = (b.broadcast(t, b.shape(first)) for t in turn)
        return b.concatenate(forms.multiply_pairs(b, (first, second), (cosine, sine)), 3)

    def projected(self, name: str, x: int) -> tuple[int, int, int]:
        """Normalised queries and keys, and values: (T, N, K, E) each."""
        b = self.b
        every = self.layers.linear(name, x, self.apart)
        every = b.reshape(every, (b.shape(x)[0], self.tokens, 3, self.heads, self.head_width))
        shape = (b.shape(x)[0], self.tokens, self.heads, self.head_width)
        queries, keys, values = (b.reshape(b.narrow(every, 2, i, i + 1), shape) for i in range(3))
        return self.normed(queries), self.normed(keys), values

    # -- layers ------------------------------------------------------------------------------------------------

    def space(self, block: int, x: int) -> int:
        """Attention over the tokens of each frame, with the text beside them."""
        b, name = self.b, f"blocks.{block}"
        queries, keys, values = self.projected(f"{name}.space_in", self.entered(block, SPACE, x))
        b.place = f"{name}.space"
        queries, keys = self.rotated(queries, self.plane), self.rotated(keys, self.plane)
        queries, keys, values = (b.transpose(y, (0, 2, 1, 3)) for y in (queries, keys, values))
        text_keys, text_values = (self.words(block, told) for told in self.text)
        keys, values = b.concatenate([keys, text_keys], 2), b.concatenate([values, text_values], 2)
        seen = b.transpose(forms.attention(b, queries, keys, values), (0, 2, 1, 3))
        out = self.layers.linear(f"{name}.space_out", b.reshape(seen, b.shape(x)))
        return self.left(block, SPACE, x, out)

    def words(self, block: int, told: int) -> int:
        """The text's keys or values for one block: (T, K, L, E)."""
        shape = (self.frames, self.heads, self.config.text_length, self.head_width)
        return self.b.broadcast(self.b.narrow(told, 0, block, block + 1), shape)

    def time(self, block: int, x: int, last: bool) -> int:
        """Attention of each place over time. Behind the last of these nobody reads the past frame any more."""
        b, name = self.b, f"blocks.{block}"
        queries, keys, values = self.projected(f"{name}.time_in", self.entered(block, TIME, x))
        b.place = f"{name}.time"
        visible = self.visible
        keys = self.rotated(keys, self.turns)
        turns = self.turns
        if last:
            x, queries = (b.narrow(y, 0, FRAMES - 1, FRAMES) for y in (x, queries))
            turns = [b.narrow(t, 0, FRAMES - 1, FRAMES) for t in turns]
            visible = b.narrow(visible, 0, FRAMES - 1, FRAMES)
        queries = self.rotated(queries, turns)
        queries, keys, values = (b.transpose(y, (1, 2, 0, 3)) for y in (queries, keys, values))
        keys, values = self.remembered(key_state(block), keys), self.remembered(value_state(block), values)
        seen = b.transpose(forms.attention(b, queries, keys, values, visible), (2, 0, 1, 3))
        out = self.layers.linear(f"{name}.time_out", b.reshape(seen, b.shape(x)))
        return self.left(block, TIME, x, out)

    def remembered(self, name: str, y: int) -> int:
        """The state `name` (N, K, S, E) with the past frame of y (N, K, T, E) in its slot, the new one in the last."""
        b, slots = self.b, slot_count(self.config)
        state = b.input(name, "f32", (self.tokens, self.heads, slots, self.head_width))
        kept = b.update(state, b.narrow(y, 2, 0, 1), self.slot, 2)
        kept = b.update(kept, b.narrow(y, 2, 1, 2), b.constant(np.int32(slots - 1), "i32"), 2)
        b.state(name, kept)
        return kept

    def feed(self, block: int, x: int) -> int:
        """Gated feed-forward. Gate and value are two products, so that the second takes the first along."""
        name, wide = f"blocks.{block}", 2 * self.config.width
        y = self.entered(block, FEED, x)
        gate = self.layers.silu(self.layers.linear(f"{name}.feed_in", y, slice(0, wide)))
        value = self.b.binary("mul", self.layers.linear(f"{name}.feed_in", y, slice(wide, 2 * wide)), gate)
        return self.left(block, FEED, x, self.layers.linear(f"{name}.feed_out", value))
