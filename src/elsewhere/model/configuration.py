"""Sizes of the two networks, as data that travels inside every weights file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

PATCH = 16
"""Picture pixels along one side of a token (f16)."""
COARSE = 4
"""The transformer sees the guide and the warped picture at this fraction of the picture's size."""
MEMORY = 4
"""Planes of the warped picture: red, green, blue in [0, 1] and whether the place was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig:
    """Frame-wise RGB-D autoencoder around the guide. `widths` are the channels at 1/2, 1/4, 1/8 and 1/16."""

    planes: int = 24
    latent_channels: int = 16
    encoder_widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    decoder_widths: tuple[int, int, int, int] = (32, 64, 96, 160)
    head_width: int = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Causal spacetime transformer over latent tokens."""

    planes: int = 24
    latent_channels: int = 16
    width: int = 192
    layers: int = 6
    heads: int = 6
    context: int = 8
    """Frames of the rolling cache, the sink not counted."""
    text_length: int = 24
    vocabulary: tuple[str, ...] = ()
    shortcut_levels: int = 3
    """Shortcut steps lie on the grid 1, 1/2, … 1/2^levels."""
    memory: bool = False
    """Whether the last picture, warped to where the new one is taken from, is an input."""
    guidance: bool = False
    """Whether the strength of guidance by text is an input."""


Config = TypeVar("Config", TokenizerConfig, TransformerConfig)


def to_dict(config: TokenizerConfig | TransformerConfig) -> dict[str, Any]:
    """Plain JSON data of a configuration."""
    return asdict(config)


def from_dict(kind: type[Config], data: dict[str, Any]) -> Config:
    """The inverse of `to_dict`; lists become tuples. Raises ValueError on a field that `kind` does not have."""
    known = set(kind.__dataclass_fields__)
    if unknown := sorted(set(data) - known):
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}; it has {sorted(known)}")
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    return kind(**fields)
