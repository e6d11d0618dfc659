"""Causal spacetime diffusion transformer over latent tokens.

Every block attends over the tokens of a frame (with the text beside them), every other one also, per place, over
time through a rolling cache with a sink frame. It predicts the clean latents x from x_t = (1 − t)·noise + t·x
(x-prediction), conditioned on (t, d) for shortcut steps of size d.

Shapes: B clips, T frames, N = h·w tokens of a frame, C latent channels, D width, K heads, E = D/K,
S frames in the cache, L text tokens, P planes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.model.configuration import COARSE, MEMORY, PATCH, TransformerConfig

CAMERA_CHANNELS = 12
"""Per token: ray direction, moment to the first camera (Plücker), and the camera's motion since the last frame (6)."""


def turns(position: Tensor, pairs: int, base: float) -> Tensor:
    """Unit complex numbers (…, pairs) that rotate a channel pair at real positions (…)."""
    frequency = base ** (-torch.arange(pairs, dtype=torch.float32, device=position.device) / pairs)
    angle = position[..., None] * frequency
    return torch.complex(angle.cos(), angle.sin())


def turns_of_plane(height: int, width: int, pairs: int, device: torch.device | None = None) -> Tensor:
    """(N, pairs): half of the pairs turn with the row, half with the column."""
    rows = torch.arange(height, dtype=torch.float32, device=device).repeat_interleave(width)
    columns = torch.arange(width, dtype=torch.float32, device=device).repeat(height)
    return torch.cat([turns(rows, pairs // 2, 100.0), turns(columns, pairs - pairs // 2, 100.0)], dim=-1)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary embedding: (…, M, E) by unit complex numbers (M, E/2), in f32; the result has the type of x."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


@dataclass
class Cache:
    """Un-rotated keys and values of past frames, one pair a layer; rotation is applied after reading."""

    keys: list[Tensor] = field(default_factory=list)  # each (B, N, K, S, E)
    values: list[Tensor] = field(default_factory=list)
    positions: Tensor = field(default_factory=lambda: torch.zeros(0))  # (S,) in frames of 1/24 s

    def keep(self, context: int) -> None:
        """Drops the oldest frames behind the sink (frame 0) so that at most `context` others stay."""
        if self.positions.numel() > context + 1:
            cut = self.positions.numel() - context
            for store in (self.keys, self.values):
                store[:] = [torch.cat([s[..., :1, :], s[..., cut:, :]], dim=-2) for s in store]
            self.positions = torch.cat([self.positions[:1], self.positions[cut:]])


class Block(nn.Module):
    """Spatial attention with text, (in every other block) temporal attention with cache, gated feed-forward."""

    def __init__(self, width: int, heads: int, temporal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temporal = temporal
        self.space_in = nn.Linear(width, 3 * width)
        self.text_in = nn.Linear(width, 2 * width)
        self.space_out = nn.Linear(width, width)
        if temporal:
            self.time_in = nn.Linear(width, 3 * width)
            self.time_out = nn.Linear(width, width)
            nn.init.normal_(self.time_out.weight, std=0.02)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(2 * width, width)
        self.modulation = nn.Parameter(torch.zeros(9, width))
        for layer in (self.space_out, self.feed_out):
            nn.init.normal_(layer.weight, std=0.02)

    def split(self, x: Tensor) -> Tensor:
        """(…, M, D) → (…, K, M, E)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def space(self, x: Tensor, text: Tensor, turn: Tensor) -> Tensor:
        """x (B·T, N, D), text (B·T, L, D), turn (N, E/2) → (B·T, N, D)."""
        q, k, v = (self.split(y) for y in self.space_in(x).chunk(3, dim=-1))
        text_k, text_v = (self.split(y) for y in self.text_in(text).chunk(2, dim=-1))
        k = torch.cat([rotate(normed(k), turn), normed(text_k)], dim=-2)
        out = attend(rotate(normed(q), turn), k, torch.cat([v, text_v], dim=-2))
        return self.space_out(out.transpose(-2, -3).flatten(-2))

    def time(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, turn: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, N, T, D); past keys, values (B, N, K, S, E); turn (S+T, E/2); mask (T, S+T). Also new keys, values."""
        q, k, v = (self.split(y) for y in self.time_in(x).chunk(3, dim=-1))
        q, k = normed(q), normed(k)
        new = (k, v)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)
        out = attend(rotate(q, turn[-q.shape[-2] :]), rotate(k, turn), v, mask)
        return self.time_out(out.transpose(-2, -3).flatten(-2)), *new

    def feed(self, x: Tensor) -> Tensor:
        gate, value = self.feed_in(x).chunk(2, dim=-1)
        return self.feed_out(F.silu(gate) * value)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of (…, M, E) to (…, S, E), where mask (M, S) is true.

    On CPUs as plain products: for frames of some dozens of tokens torch's fused kernel takes four times as long
    backwards. (Measured: docs/training-log.md.)
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def normed(x: Tensor) -> Tensor:
    """Zero mean, unit variance along the last axis, nothing learned: before layers, and on queries and keys."""
    return F.layer_norm(x, (x.shape[-1],))


def embed_level(level: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of a number in [0, 1]: (…) → (…, width)."""
    frequency = torch.exp(torch.linspace(0.0, math.log(1000.0), width // 2, device=level.device))
    angle = level[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


GUIDANCE_MOST = 8.0
"""Strengths of guidance are told as a share of this."""


def embed_guidance(strength: Tensor) -> Tensor:
    """(…) strengths → (…, 128): zero for 1, so that a network that was never taught guidance is not disturbed."""
    share = (strength - 1.0) / GUIDANCE_MOST
    return embed_level(share, 128) - embed_level(torch.zeros_like(share), 128)


def memory_tokens(memory: Tensor) -> Tensor:
    """(B, T, 4, 4h, 4w) → (B, T, N, 64): what the warped picture shows in each token, by plane, row, column."""
    side = PATCH // COARSE
    parts = memory.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))  # (B, T, 4, h, side, w, side)
    return parts.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def zeroed(inner: int, outer: int) -> nn.Linear:
    """A layer that begins as zero, so that it changes nothing of a network to which it is added.

    It has no bias: an input of zeros (nothing seen, no guidance) stays without effect after training too.
    """
    layer = nn.Linear(inner, outer, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


class Transformer(nn.Module):
    """See the file's head. The picture's size is free: N follows from the latents."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        self.latent_in = nn.Linear(config.latent_channels, d)
        self.camera_in = nn.Linear(CAMERA_CHANNELS, d)
        self.guide_in = nn.Sequential(
            nn.Conv2d(config.planes, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 96, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(96, d, 3, stride=2, padding=1),
        )
        self.words = nn.Embedding(len(config.vocabulary) + 2, d)
        self.level_in = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.modulation = nn.Linear(d, 9 * d)
        if config.memory:
            self.memory_in = nn.Sequential(
                nn.Linear(MEMORY * (PATCH // COARSE) ** 2, d, bias=False), nn.SiLU(), zeroed(d, d)
            )
        if config.guidance:
            self.guidance_in = zeroed(128, d)
        self.blocks = nn.ModuleList(Block(d, config.heads, i % 2 == 1) for i in range(config.layers))
        self.out = nn.Linear(d, config.latent_channels)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        noisy: Tensor,
        level: Tensor,
        step: Tensor,
        planes: Tensor,
        camera: Tensor,
        text: Tensor,
        positions: Tensor,
        cache: Cache | None = None,
        remember: int = 0,
        *,
        memory: Tensor | None = None,
        guidance: Tensor | None = None,
        causal: bool = True,
    ) -> Tensor:
        """Predicts clean latents.

        noisy (B, T, C, h, w); level t and step d (B, T); planes (B, T, P, 4h, 4w): the guide at a quarter of
        the picture's size; camera (B, T, N, 12); text (B, L) int64; positions (T,) in frames. With a
        cache, its frames are attended to and the first `remember` of the T frames are appended to it.

        memory (B, T, 4, 4h, 4w): the picture before each frame, warped to it (None: none was seen); guidance
        (B,): the strength of guidance, 1 for none (None: 1). `causal=False` lets every frame attend to all others.
        Raises ValueError for an input that the configuration does not have.
        """
        b, t, _, h, w = noisy.shape
        for name, given in (("memory", memory), ("guidance", guidance)):
            if given is not None and not getattr(self.config, name):
                raise ValueError(f"{name} must be None: this network was made without it")
        x = self.latent_in(noisy.flatten(3).transpose(2, 3)) + self.camera_in(camera)
        x = x + self.guide_in(planes.flatten(0, 1)).flatten(2).transpose(1, 2).unflatten(0, (b, t))
        if self.config.memory and memory is not None:
            x = x + self.memory_in(memory_tokens(memory))
        words = self.words(text)[:, None].expand(b, t, -1, -1).flatten(0, 1)
        condition = self.level_in(torch.cat([embed_level(level, 128), embed_level(step, 128)], dim=-1))
        if self.config.guidance:
            strength = guidance if guidance is not None else level.new_ones(b)
            condition = condition + self.guidance_in(embed_guidance(strength))[:, None]
        shared = self.modulation(F.silu(condition)).unflatten(-1, (9, -1))[:, :, None]  # (B, T, 1, 9, D)
        every = positions if cache is None else torch.cat([cache.positions, positions])
        past_count = every.numel() - t
        mask = torch.ones(t, every.numel(), dtype=torch.bool, device=x.device)
        if causal:
            mask = mask.tril(past_count)
        pairs = self.config.width // self.config.heads // 2
        plane_turn, time_turn = turns_of_plane(h, w, pairs, x.device), turns(every, pairs, 1000.0)
        depth = 0
        for block in self.blocks:
            scale, shift, gate = (shared + block.modulation).unflatten(-2, (3, 3)).unbind(-3)
            norm = torch.addcmul(shift[..., 0, :], normed(x), 1.0 + scale[..., 0, :])
            seen = block.space(norm.flatten(0, 1), words, plane_turn).unflatten(0, (b, t))
            x = torch.addcmul(x, 1.0 + gate[..., 0, :], seen)
            if block.temporal:
                norm = torch.addcmul(shift[..., 1, :], normed(x), 1.0 + scale[..., 1, :]).transpose(1, 2)
                past = (
                    (cache.keys[depth], cache.values[depth]) if cache is not None and len(cache.keys) > depth else None
                )
                seen, k, v = block.time(norm, past, time_turn, mask)
                if cache is not None and remember:
                    self.append(cache, depth, k[..., :remember, :], v[..., :remember, :])
                x = torch.addcmul(x, 1.0 + gate[..., 1, :], seen.transpose(1, 2))
                depth += 1
            norm = torch.addcmul(shift[..., 2, :], normed(x), 1.0 + scale[..., 2, :])
            x = torch.addcmul(x, 1.0 + gate[..., 2, :], block.feed(norm))
        if cache is not None and remember:
            cache.positions = torch.cat([cache.positions, positions[:remember]])
        return self.out(normed(x)).transpose(2, 3).unflatten(3, (h, w))

    @staticmethod
    def append(cache: Cache, index: int, keys: Tensor, values: Tensor) -> None:
        if len(cache.keys) <= index:
            cache.keys.append(keys)
            cache.values.append(values)
        else:
            cache.keys[index] = torch.cat([cache.keys[index], keys], dim=-2)
            cache.values[index] = torch.cat([cache.values[index], values], dim=-2)
