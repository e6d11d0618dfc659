"""Diffusion networks written from their papers: a transformer with a key-value cache, and a U-Net.

Shapes: B batch, M tokens, D width, K heads, E = D/K, S cached tokens, C channels, H W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, LAYERS, HEADS = 384, 8, 6
SIDE = 16
"""Tokens along one side of a frame: 256 tokens."""
FRAMES_CACHED = 4
"""1,024 tokens."""
LATENT_CHANNELS, ACTION_CHANNELS, LEVEL_CHANNELS = 16, 8, 256


def level_embedding(level_B: Tensor, width: int) -> Tensor:
    """(B,) in [0, 1] → (B, width): cosines and sines of the noise level."""
    frequency = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angle = 1000.0 * level_B[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def turn_table(frames: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (frames·256, E) of rotary positions: a quarter of the pairs by frame, the rest by row, column.

    Positions are counted from the oldest cached frame, so the table stays the same while the cache rolls.
    """
    pairs = WIDTH // HEADS // 2
    by_frame, by_row = pairs // 4, (pairs - pairs // 4) // 2
    by_column = pairs - by_frame - by_row
    frame, row, column = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) for n in (frames, SIDE, SIDE)), indexing="ij"
    )
    angles = [
        place.flatten()[:, None] * 100.0 ** (-torch.arange(count) / count)
        for place, count in ((frame, by_frame), (row, by_row), (column, by_column))
    ]
    angle = torch.cat(angles, dim=-1).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(…, M, E) by tables (M, E), the pair of channel i being i + E/2."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


class SwiGlu(nn.Module):
    """Shazeer, GLU Variants Improve Transformer (2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden)
        self.value = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return out


class DitBlock(nn.Module):
    """Peebles and Xie, Scalable Diffusion Models with Transformers (2022), with normalised queries and keys.

    x (B, M, D) and condition (B, D); with a cache, keys and values (B, K, S, E) of earlier tokens, unrotated.
    """

    def __init__(self, *, swiglu: bool = False) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH))
        self.attention_norm = nn.LayerNorm(WIDTH, eps=1e-6, elementwise_affine=False)
        self.feed_norm = nn.LayerNorm(WIDTH, eps=1e-6, elementwise_affine=False)
        self.attention_in = nn.Linear(WIDTH, 3 * WIDTH)
        self.query_norm = nn.RMSNorm(WIDTH // HEADS, eps=1e-6)
        self.key_norm = nn.RMSNorm(WIDTH // HEADS, eps=1e-6)
        self.attention_out = nn.Linear(WIDTH, WIDTH)
        plain = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(approximate="tanh"), nn.Linear(4 * WIDTH, WIDTH))
        self.feed = SwiGlu(WIDTH, 8 * WIDTH // 3) if swiglu else plain

    def attend(
        self, x: Tensor, cosine: Tensor, sine: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, M, D), and the new keys and values (B, K, M, E)."""
        q, k, v = self.attention_in(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.query_norm(q), self.key_norm(k)
        new = (k, v)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)
        own = q.shape[-2]
        seen = F.scaled_dot_product_attention(rotate(q, cosine[-own:], sine[-own:]), rotate(k, cosine, sine), v)
        return self.attention_out(seen.transpose(1, 2).flatten(2)), *new

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        cosine: Tensor,
        sine: Tensor,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)[:, None].chunk(6, dim=-1)
        seen, keys, values = self.attend(self.attention_norm(x) * (1.0 + scale_a) + shift_a, cosine, sine, past)
        x = x + gate_a * seen
        x = x + gate_f * self.feed(self.feed_norm(x) * (1.0 + scale_f) + shift_f)
        return x, keys, values


class LoneBlock(nn.Module):
    """One block over a frame's 256 tokens: x (1, 256, 384), condition (1, 384) → (1, 256, 384)."""

    def __init__(self, block: DitBlock) -> None:
        super().__init__()
        self.block = block
        cosine, sine = turn_table(1)
        self.register_buffer("cosine", cosine)
        self.register_buffer("sine", sine)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self.block(x, condition, self.cosine, self.sine)[0]
        return out


class Dit(nn.Module):
    """A causal world model's step: 256 new tokens look at 1,024 cached ones and at each other.

    Inputs: tokens (1, 256, 16), cosines and sines of the noise level (1, 256), action (1, 8), then for each layer its
    cached keys and values (1, 6, 1024, 64). A sampler has few levels and keeps their cosines, which bf16 arithmetic
    inside of the network would make useless. Outputs: clean tokens (1, 256, 16), then for each layer its new keys
    and values (1, 6, 256, 64).
    """

    def __init__(self) -> None:
        super().__init__()
        self.token_in = nn.Linear(LATENT_CHANNELS, WIDTH)
        self.level_in = nn.Sequential(nn.Linear(LEVEL_CHANNELS, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.action_in = nn.Linear(ACTION_CHANNELS, WIDTH)
        self.blocks = nn.ModuleList(DitBlock() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 2 * WIDTH))
        self.out = nn.Linear(WIDTH, LATENT_CHANNELS)
        cosine, sine = turn_table(FRAMES_CACHED + 1)
        self.register_buffer("cosine", cosine)
        self.register_buffer("sine", sine)

    def forward(self, tokens: Tensor, level: Tensor, action: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        condition = self.level_in(level) + self.action_in(action)
        x = self.token_in(tokens)
        new: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x, keys, values = block(x, condition, self.cosine, self.sine, (cached[2 * index], cached[2 * index + 1]))
            new += [keys, values]
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return self.out(self.norm(x) * (1.0 + scale) + shift), *new


def enliven(module: nn.Module) -> nn.Module:
    """Weights as after training: variance that keeps activations level, gates and norms away from 0 and 1."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.05)
        elif isinstance(part, nn.RMSNorm | nn.GroupNorm):
            nn.init.uniform_(part.weight, 0.7, 1.3)
            if isinstance(part, nn.GroupNorm):
                nn.init.normal_(part.bias, std=0.1)
    for part in module.modules():
        # Modulation that is as large as what it modulates would make sixteen residual branches chaotic.
        if isinstance(part, DitBlock | Dit):
            last = part.modulation[1]
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=0.5 * WIDTH**-0.5)
            nn.init.normal_(last.bias, std=0.3)
    return module


def dit_block() -> nn.Module:
    return enliven(LoneBlock(DitBlock()))


def dit_block_swiglu() -> nn.Module:
    return enliven(LoneBlock(DitBlock(swiglu=True)))


def dit_block_inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    tokens = SIDE * SIDE
    return torch.randn(1, tokens, WIDTH, generator=generator), torch.randn(1, WIDTH, generator=generator)


def dit_d384() -> nn.Module:
    return enliven(Dit())


def dit_d384_inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    tokens, channels = SIDE * SIDE, WIDTH // HEADS
    cached = []
    for _ in range(LAYERS):
        keys = torch.randn(1, HEADS, FRAMES_CACHED * tokens, channels, generator=generator)
        cached += [F.rms_norm(keys, (channels,)), torch.randn(keys.shape, generator=generator)]
    return (
        torch.randn(1, tokens, LATENT_CHANNELS, generator=generator),
        level_embedding(torch.rand(1, generator=generator), LEVEL_CHANNELS),
        torch.randn(1, ACTION_CHANNELS, generator=generator),
        *cached,
    )


class TimedResidual(nn.Module):
    """x (1, C, H, W) and the time's embedding (1, D): norm, silu, convolution, twice, the time added between."""

    def __init__(self, width: int, out: int, embedding: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(32, width)
        self.first = nn.Conv2d(width, out, 3, padding=1)
        self.time = nn.Linear(embedding, out)
        self.second_norm = nn.GroupNorm(32, out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.first(F.silu(self.first_norm(x))) + self.time(F.silu(time))[:, :, None, None]
        y = self.second(F.silu(self.second_norm(y)))
        out: Tensor = self.shortcut(x) + y
        return out


class PlaneAttention(nn.Module):
    """Every pixel of (1, C, H, W) attends to every other; added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(32, width)
        self.into = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.into(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(-2, -1).unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(seen.transpose(-2, -1).reshape(b, c, h, w))


class UNet(nn.Module):
    """After Ho et al., Denoising Diffusion Probabilistic Models (2020): noisy (1, 3, 32, 32), level (1,) → noise."""

    def __init__(self, width: int = 64, scales: tuple[int, ...] = (1, 2, 4), attention_at: int = 1) -> None:
        super().__init__()
        embedding = 4 * width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.into = nn.Conv2d(3, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, now = [width], width
        for depth, scale in enumerate(scales):
            for _ in range(2):
                self.down.append(TimedResidual(now, scale * width, embedding))
                now = scale * width
                self.down.append(PlaneAttention(now, 4) if depth >= attention_at else nn.Identity())
                kept.append(now)
            if depth + 1 < len(scales):
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
        self.middle_first = TimedResidual(now, now, embedding)
        self.middle_attention = PlaneAttention(now, 4)
        self.middle_second = TimedResidual(now, now, embedding)
        for depth, scale in reversed(list(enumerate(scales))):
            for _ in range(3):
                self.up.append(TimedResidual(now + kept.pop(), scale * width, embedding))
                now = scale * width
                self.up.append(PlaneAttention(now, 4) if depth >= attention_at else nn.Identity())
            if depth:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2.0), nn.Conv2d(now, now, 3, padding=1)))
        self.out_norm = nn.GroupNorm(32, now)
        self.out = nn.Conv2d(now, 3, 3, padding=1)

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        time = self.time(level_embedding(level, self.width))
        x = self.into(noisy)
        kept = [x]
        for part in self.down:
            if isinstance(part, TimedResidual):
                x = part(x, time)
                continue
            x = part(x)
            kept.append(x)
        x = self.middle_second(self.middle_attention(self.middle_first(x, time)), time)
        for part in self.up:
            x = part(torch.cat([x, kept.pop()], dim=1), time) if isinstance(part, TimedResidual) else part(x)
        out: Tensor = self.out(F.silu(self.out_norm(x)))
        return out


def unet() -> nn.Module:
    return enliven(UNet())


def unet_inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, 32, 32, generator=generator), torch.rand(1, generator=generator)
