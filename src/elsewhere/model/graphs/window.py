"""The transformer over a window of frames at once, for films that nobody waits for.

Every frame has its own noise level and its own text, and `visible` says which frames each one sees: all (both ways), or
those before it. A known frame is one whose level says that it is clean; it may stand anywhere. There is no cache.

Shapes: T frames, N = h·w tokens of a frame, C latent channels, D width, K heads, E = D/K, L text tokens, P planes,
H W pixels, B blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.graph import Graph
from elsewhere.model.configuration import PATCH, TransformerConfig
from elsewhere.model.graphs.layers import Weights
from elsewhere.model.graphs.transformer import RAYS, TIME, Step, plane_turns, temporal_blocks


def visible_frames(frames: int, *, future: bool) -> NDArray[np.float32]:
    """(T, T): what is added to the scores of each frame's queries. Without `future`, it sees itself and the past."""
    mask = np.zeros((frames, frames), np.float32)
    if not future:
        mask[np.triu_indices(frames, 1)] = forms.MASKED
    return mask


def window_graph(config: TransformerConfig, weights: Weights, frames: int, height: int, width: int) -> Graph:
    """Inputs: noisy (T, N, C), rays (T, N, 12), features (T, N, D) as `look_graph` gives them, modulation (B, T, 9, D),
    text keys and text values (B, T, K, L, E), cosines and sines (T, E/2) of the frames' positions, and visible (T, T),
    which is added to the scores. Output: clean (T, N, C).
    """
    return _Window(config, weights, height // PATCH, width // PATCH, frames).build()


class _Window(Step):
    def build(self) -> Graph:
        b, config, layers = self.b, self.config, self.layers
        n, d, t = self.tokens, config.width, self.frames
        noisy = b.input("noisy", "f32", (t, n, config.latent_channels))
        rays = b.input("rays", "f32", (t, n, RAYS))
        features = b.input("features", "f32", (t, n, d))
        self.modulation = b.input("modulation", "f32", (config.layers, t, 9, d))
        words = (config.layers, t, self.heads, config.text_length, self.head_width)
        self.text = [b.input(f"text {kind}", "f32", words) for kind in ("keys", "values")]
        turned = (t, 1, 1, self.head_width // 2)
        self.turns = [b.reshape(b.input(k, "f32", (t, turned[-1])), turned) for k in ("cosines", "sines")]
        self.visible = b.input("visible", "f32", (t, t))
        cosine, sine = plane_turns(self.rows, self.columns, self.head_width // 2)
        self.plane = [layers.constant(turn.reshape(1, n, 1, self.head_width // 2)) for turn in (cosine, sine)]

        x = layers.add(layers.linear("latent_in", noisy), features)
        x = layers.add(layers.linear("camera_in", rays), x)
        temporal = temporal_blocks(config)
        for block in range(config.layers):
            x = self.space(block, x)
            if block in temporal:
                x = self.time(block, x, last=False)
            x = self.feed(block, x)
        b.place = "out"
        b.output("clean", layers.linear("out", self.normed(x)))
        return b.graph()

    def words(self, block: int, told: int) -> int:
        shape = (self.frames, self.heads, self.config.text_length, self.head_width)
        return self.b.reshape(self.b.narrow(told, 0, block, block + 1), shape)

    def time(self, block: int, x: int, last: bool) -> int:
        """Attention of each place over the frames that are visible."""
        b, name = self.b, f"blocks.{block}"
        queries, keys, values = self.projected(f"{name}.time_in", self.entered(block, TIME, x))
        b.place = f"{name}.time"
        queries, keys = self.rotated(queries, self.turns), self.rotated(keys, self.turns)
        queries, keys, values = (b.transpose(y, (1, 2, 0, 3)) for y in (queries, keys, values))
        seen = b.transpose(forms.attention(b, queries, keys, values, self.visible), (2, 0, 1, 3))
        out = self.layers.linear(f"{name}.time_out", b.reshape(seen, b.shape(x)))
        return self.left(block, TIME, x, out)
