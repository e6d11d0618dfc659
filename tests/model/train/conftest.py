"""Clips that cost nothing to make: training must not care what is in the pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.model.train import shards


def made_up_clip(number: int, frames: int = 4, height: int = 64, width: int = 64) -> dict[str, Any]:
    """Arrays as a real clip has them, drawn at random."""
    rng = np.random.default_rng(number)
    planes = rng.integers(-127, 128, (frames, 24, height, width)).astype(np.int8)
    planes[:, -1] = 127
    words = "|".join(("sea", "ball"))
    return {
        "planes": planes,
        "picture": rng.integers(0, 256, (frames, 3, height, width)).astype(np.uint8),
        "coarse": rng.standard_normal((frames, 24, height // 4, width // 4)).astype(np.float16),
        "rays": rng.standard_normal((frames, height * width // 256, 12)).astype(np.float16),
        "positions": np.arange(frames, dtype=np.float32),
        "warped": rng.integers(0, 256, (frames, 4, height // 4, width // 4)).astype(np.uint8),
        "c2w": np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        "focal": np.full(frames, 60.0, np.float32),
        "caption": np.array(words),
        "short": np.array("sea"),
        "captions": np.array(["a ball at sea"]),
        "caption_tokens": np.array([words]),
    }


def write_made_up_clips(directory: Path, count: int = 2, **size: int) -> Path:
    directory.mkdir()
    manifest = shards.Manifest(directory, {"made": "up"})
    for number in range(count):
        manifest.add(shards.write_arrays(shards.clip_path(directory, number), made_up_clip(number, **size)))
    return directory


@pytest.fixture(scope="session")
def write_clips() -> Callable[..., Path]:
    """Writes a folder of made-up clips: (folder, count, height=…, width=…, frames=…) → folder."""
    return write_made_up_clips
