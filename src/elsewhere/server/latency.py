"""Where a frame's time went: milliseconds of each stage, the last few hundred of each, and their percentiles."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

STAGES = ("simulate", "guide", "hold", "network", "decode", "encode", "wait", "receive", "unpack", "draw")
"""In the order they happen; `unpack` is the client's decoding. They add up to the total."""
KEPT = 2048
RANKS = (50, 95, 99)


class Latency:
    """Samples by name; the oldest go."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}
        self.ready: dict[int, float] = {}
        """When each of the last frames was ready, in milliseconds of the server's clock."""

    def clear(self) -> None:
        """Forgets the samples."""
        self._samples.clear()

    def made(self, frame_id: int, ready: float) -> None:
        """Frame `frame_id` was ready for encoding at `ready` milliseconds."""
        self.ready[frame_id] = ready
        if len(self.ready) > KEPT:
            del self.ready[next(iter(self.ready))]

    def add(self, stages: Mapping[str, float]) -> None:
        """One frame's milliseconds."""
        for name, value in stages.items():
            if math.isfinite(value):
                self._samples.setdefault(name, deque(maxlen=KEPT)).append(value)

    def table(self) -> dict[str, dict[str, float]]:
        """p50, p95 and p99 of each stage in milliseconds."""
        return {name: percentiles(list(values)) for name, values in self._samples.items()}


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99: the least value that so many per cent do not exceed. ValueError without values."""
    if not values:
        raise ValueError("values must have at least one number; got none")
    ranked = sorted(values)
    return {f"p{rank}": ranked[max(0, math.ceil(rank / 100 * len(ranked)) - 1)] for rank in RANKS}
