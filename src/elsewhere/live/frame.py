"""What goes in and out of the loop: a person's controls, and a frame that travels whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAGES = ("simulate", "guide", "hold", "network")
"""What a frame's time is spent on, in the order it happens. The keys of `Frame.timings`. What is calculated ahead is
on hold until the network is free. They add up to the time from `Frame.begun` until the frame was ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """Where a person looks, relative to the shot. `yaw` and `pitch` in radians (left and up positive),
    `offset` in metres, in the camera's own axes: right, up, back. `across` is the angle of the picture's width in
    radians, 0 as the shot has it: wider than what is shown, so that a turning head finds something there."""

    yaw: float = 0.0
    pitch: float = 0.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    across: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One picture of one world, with all that is needed to draw it where it belongs.

    `depth` is metres along the camera's −Z, inf for sky. `near` and `far` (metres) enclose every finite
    depth. `c2w`, `focal` and `center` (pixels) are of the camera that the frame was made for. `timings`
    are milliseconds for each of `STAGES`; `begun` is when the first of them began, in seconds of the process's clock
    (`time.monotonic`).
    """

    rgb: NDArray[np.uint8]  # (H, W, 3)
    depth: NDArray[np.float32]  # (H, W)
    c2w: NDArray[np.float64]  # (4, 4)
    focal: float
    center: tuple[float, float]
    near: float
    far: float
    frame_id: int
    world_id: str
    tick: int
    seed: int
    timings: dict[str, float]
    begun: float = 0.0


def world_id(*parts: object) -> str:
    """16 hexadecimal digits that name a world: the same parts, the same world."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def depth_range(depth: NDArray[np.float32]) -> tuple[float, float]:
    """The nearest and farthest finite depth of a (H, W) picture in metres; (0.1, 100) when all is sky."""
    finite = depth[np.isfinite(depth)]
    if finite.size == 0:
        return 0.1, 100.0
    near = max(float(finite.min()), 1e-3)
    return near, max(float(finite.max()), near * 1.001)
