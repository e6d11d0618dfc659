"""Weights files: safetensors in float16 with their configuration and card in the header.

Loading reads numbers and JSON only; nothing in a file is executed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.model.configuration import Config, TransformerConfig, from_dict, to_dict

if TYPE_CHECKING:
    from torch import nn

    from elsewhere.model.configuration import TokenizerConfig

DIRECTORY = Path(__file__).parent / "weights"
"""Where the shipped weights are."""


class WeightsError(ValueError):
    """A weights file that is missing or does not fit."""


def save(path: Path, network: nn.Module, config: TokenizerConfig | TransformerConfig, card: dict[str, Any]) -> None:
    """Writes one network; `card` is plain JSON (data seed, steps, measures)."""
    import torch
    from safetensors.torch import save_file

    tensors = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    metadata = {"config": json.dumps(to_dict(config)), "card": json.dumps(card)}
    save_file(tensors, path, metadata=metadata)


def read_header(path: Path) -> dict[str, Any]:
    """The file's configuration and card as {"config": …, "card": …}. Raises WeightsError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
        return {key: json.loads(metadata[key]) for key in ("config", "card")}
    except FileNotFoundError:
        raise WeightsError(f"no weights at {path}: reinstall elsewhere, or train them with `elsewhere train`") from None
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is not a weights file of elsewhere: {error}") from error


def load(path: Path, build: type, kind: type[Config]) -> nn.Module:
    """Builds `build(config)` and fills it with a file's numbers, as float32, ready to run."""
    from safetensors.torch import load_file

    config = from_dict(kind, read_header(path)["config"])
    network: nn.Module = build(config)
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit its own configuration: {error}") from error
    return network.eval().requires_grad_(False)


def vocabulary_of(path: Path) -> tuple[str, ...]:
    """The words that a transformer's file was trained with."""
    return from_dict(TransformerConfig, read_header(path)["config"]).vocabulary
