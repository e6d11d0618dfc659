"""Weights files: safetensors in float16 with their configuration and card in the header.

Loading reads numbers and JSON only; nothing in a file is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from elsewhere.model.configuration import TransformerConfig, from_dict

DIRECTORY = Path(__file__).parent / "weights"
"""Where the shipped weights are: those of pictures on a whole guide."""
DREAM = DIRECTORY / "dream"
"""Those of dreams, of guides that are given in part, and of guidance; README.md beside them says why there are two."""


class WeightsError(ValueError):
    """A weights file that is missing or does not fit."""


def read_header(path: Path) -> dict[str, Any]:
    """The file's configuration and card as {"config": …, "card": …}. Raises WeightsError."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
        return {key: json.loads(metadata[key]) for key in ("config", "card")}
    except FileNotFoundError:
        raise WeightsError(f"no weights at {path}: reinstall elsewhere, or train them with `elsewhere train`") from None
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is not a weights file of elsewhere: {error}") from error


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, NDArray[np.float32]]:
    """All numbers of a file by name, as float32. Raises WeightsError where names or shapes are not `shapes`."""
    try:
        found = {name: value.astype(np.float32) for name, value in load_file(path).items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a weights file of elsewhere: {error}") from error
    for name in sorted({*found, *shapes}) if shapes is not None else ():
        have = found[name].shape if name in found else None
        if have != shapes.get(name):  # type: ignore[union-attr]
            wanted = shapes.get(name, "nothing")  # type: ignore[union-attr]
            raise WeightsError(
                f"{path} does not fit its own configuration: {name} must be {wanted}, the file has {have or 'nothing'}"
            )
    return found


def vocabulary_of(path: Path) -> tuple[str, ...]:
    """The words that a transformer's file was trained with."""
    return from_dict(TransformerConfig, read_header(path)["config"]).vocabulary
