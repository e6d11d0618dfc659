"""Sizes and schedules that are known to fit a kind of hardware, by its name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
from elsewhere.model.train.finish import FinishTraining
from elsewhere.model.train.tokenizer import TokenizerTraining
from elsewhere.model.train.world import WorldTraining


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What `elsewhere train … --config NAME` trains, and for how long. `transformer` has no vocabulary yet."""

    hardware: str
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(memory=True, guidance=True))
    tokenizer_training: TokenizerTraining = field(default_factory=TokenizerTraining)
    world_training: WorldTraining = field(default_factory=WorldTraining)
    finish_training: FinishTraining = field(default_factory=FinishTraining)


def _world(width: int, layers: int, heads: int) -> TransformerConfig:
    return TransformerConfig(width=width, layers=layers, heads=heads, memory=True, guidance=True)


_GPU_TOKENIZER = TokenizerTraining(steps=20_000, batch=64, crop=128, peak_rate=1e-3)
_GPU_FINISH = FinishTraining(steps=4_000, batch=16, pictures=64, crop=128)

CONFIGURATIONS = {
    "two-cores-2m": Configuration(
        hardware="two processor cores, about an hour",
        transformer=_world(144, 6, 6),
        tokenizer_training=TokenizerTraining(steps=2_000),
        world_training=WorldTraining(steps=4_000),
    ),
    "two-cores": Configuration(hardware="two processor cores, about two hours"),
    "one-gpu-12m": Configuration(
        hardware="one GPU, half an hour (not tried)",
        transformer=_world(320, 8, 10),
        tokenizer_training=_GPU_TOKENIZER,
        world_training=WorldTraining(steps=20_000, batch=32, peak_rate=8e-4),
        finish_training=_GPU_FINISH,
    ),
    "one-gpu-25m": Configuration(
        hardware="one GPU, an hour (not tried)",
        transformer=_world(384, 12, 12),
        tokenizer_training=_GPU_TOKENIZER,
        world_training=WorldTraining(steps=30_000, batch=32, peak_rate=6e-4),
        finish_training=_GPU_FINISH,
    ),
    "one-gpu-60m": Configuration(
        hardware="one GPU, two hours (not tried)",
        transformer=_world(512, 15, 16),
        tokenizer_training=_GPU_TOKENIZER,
        world_training=WorldTraining(steps=40_000, batch=32, peak_rate=4e-4),
        finish_training=_GPU_FINISH,
    ),
}
"""Named for their hardware. "two-cores" is what the shipped weights are of."""


def configuration(name: str) -> Configuration:
    """Raises ValueError with the nearest name for one that is not in CONFIGURATIONS."""
    if name not in CONFIGURATIONS:
        near = difflib.get_close_matches(name, CONFIGURATIONS, 1, 0.0)[0]
        raise ValueError(f"config must be one of {', '.join(CONFIGURATIONS)}; got {name!r}. The nearest is {near}")
    return CONFIGURATIONS[name]
