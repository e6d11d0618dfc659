"""Weights files for training: torch networks written to them and filled from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from elsewhere.model.configuration import Config, TokenizerConfig, TransformerConfig, from_dict, to_dict
from elsewhere.model.weights import WeightsError, read_arrays, read_header


def save(path: Path, network: nn.Module, config: TokenizerConfig | TransformerConfig, card: dict[str, Any]) -> None:
    """Writes one network, whole or not at all; the same numbers are the same bytes.

    `card` is plain JSON (data seed, steps, measures).
    """
    tensors = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    metadata = {"config": json.dumps(to_dict(config)), "card": json.dumps(card)}
    content = save_tensors(tensors, metadata)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    # The library writes metadata in an order of chance; the same weights must be the same bytes.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(".part")
    try:
        partial.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, build: type, kind: type[Config]) -> nn.Module:
    """Builds `build(config)` and fills it with a file's numbers, as float32, ready to run."""
    config = from_dict(kind, read_header(path)["config"])
    network: nn.Module = build(config)
    try:
        network.load_state_dict({name: torch.from_numpy(value) for name, value in read_arrays(path).items()})
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit its own configuration: {error}") from error
    return network.eval().requires_grad_(False)
