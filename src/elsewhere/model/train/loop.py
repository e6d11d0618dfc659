"""What every training run has: moving average of weights, exact checkpoints, one JSONL of measures, time left."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    def update(self, module: nn.Module, step: int) -> None:
        """Warm-up: early averages forget faster."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for name, p in module.named_parameters():
                self.values[name].lerp_(p.detach(), 1.0 - decay)

    def load_into(self, module: nn.Module) -> None:
        """Copies the averages into a module of the same shape."""
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(self.values[name])


def learning_rate(step: int, total: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then half a cosine down to 3 % of `peak`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (0.03 + 0.97 * 0.5 * (1.0 + float(torch.cos(torch.tensor(share * torch.pi)))))


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors and plain data whole or not at all; loads with `weights_only=True`."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state at `path`, or None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


class Log:
    """One line of JSON per report, in a file and on the screen, with the time left."""

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total = path, total
        self.started, self.first = time.monotonic(), -1
        self.sums: dict[str, list[float]] = {}

    def add(self, step: int, values: dict[str, Tensor | float], every: int) -> None:
        """Averages `values`; every `every` steps writes them."""
        self.first = step if self.first < 0 else self.first
        for name, value in values.items():
            self.sums.setdefault(name, []).append(float(value))
        if (step + 1) % every:
            return
        elapsed = time.monotonic() - self.started
        pace = elapsed / (step + 1 - self.first)
        row = {"step": step + 1, "seconds": round(elapsed, 1)}
        row |= {name: round(sum(values) / len(values), 5) for name, values in self.sums.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        left = pace * (self.total - step - 1)
        print(" ".join(f"{k}={v}" for k, v in row.items()), f"left={left / 60:.1f}min", flush=True)
        self.sums = {}
