"""How long runs take, and their spread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARM_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of every run, in order."""

    seconds: NDArray[np.float64]

    def quantile(self, share: float) -> float:
        """The time that `share` of the runs do not exceed."""
        return float(np.quantile(self.seconds, share, method="higher"))

    @property
    def least(self) -> float:
        return float(self.seconds.min())

    @property
    def median(self) -> float:
        return self.quantile(0.5)


def time_runs(run: Callable[[], object], count: int | None = None, seconds: float = 3.0, least: int = 20) -> Timing:
    """Times `count` runs, or as many as fit into `seconds` and not fewer than `least`, after some to get warm."""
    clock, began, warm = time.perf_counter_ns, time.perf_counter(), 0
    while warm < 3 or time.perf_counter() - began < WARM_SECONDS:
        run()
        warm += 1
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(times) < least or clock() < end if count is None else len(times) < count:
            before = clock()
            run()
            times.append(clock() - before)
    finally:
        if collecting:
            gc.enable()
    return Timing(np.array(times) / 1e9)
