"""What every training run has: moving average of weights, exact checkpoints, one JSONL of measures, time left."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

MEASURES = "measures.jsonl"
"""One line of JSON per report of every stage of a run."""
WEIGHT_DECAY = 0.02


class CheckpointError(OSError):
    """A checkpoint that could not be written; the last good one is still there."""


class Stateful(Protocol):
    """What a checkpoint keeps of: networks, optimizers, averages."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class MovingAverage:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Warm-up: early averages forget faster."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        values = [self.values[name] for name, _ in module.named_parameters()]
        torch._foreach_lerp_(values, [p.detach() for p in module.parameters()], 1.0 - decay)

    @torch.no_grad()
    def load_into(self, module: nn.Module) -> None:
        """Copies the averages into a module of the same shape."""
        for name, p in module.named_parameters():
            p.copy_(self.values[name])

    def state_dict(self) -> dict[str, Any]:
        return self.values

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        for name, value in state.items():
            self.values[name].copy_(value)


class Optimizers:
    """AdamW on everything, or Muon (orthogonalised momentum) on the matrices of blocks and AdamW on the rest."""

    def __init__(self, network: nn.Module, peak: float, *, muon: bool = False, betas: tuple[float, float]) -> None:
        every = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        matrices = [p for name, p in every if muon and p.ndim == 2 and "blocks." in name and name.endswith("weight")]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in every if id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=peak, betas=betas, weight_decay=WEIGHT_DECAY)
        ]
        if matrices:
            # Its updates are scaled to the size of AdamW's, so that both take one learning rate.
            self.parts.append(
                torch.optim.Muon(matrices, lr=peak, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")
            )
        self.parameters = [p for _, p in every]

    def step(self, loss: Tensor, rate: float) -> None:
        """One update with the learning rate `rate`; gradients are cut to norm 1."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[str(number)])


def learning_rate(step: int, total: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then half a cosine down to 3 % of `peak`."""
    warmup = min(warmup, max(1, total // 5))
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (0.03 + 0.97 * 0.5 * (1.0 + math.cos(share * math.pi)))


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU. Raises ValueError for a device that is not here."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda; got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: no CUDA device was found; the nearest is cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def mixed(device: torch.device, enabled: bool) -> AbstractContextManager[Any]:
    """Products in bf16, where `enabled`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fits_bf16() -> bool:
    """Whether this processor multiplies bf16; elsewhere autocast would make training slower."""
    from elsewhere.compiler.targets.cpu.machine import describe

    return torch.cuda.is_available() or bool(describe().dot_bf16)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors and plain data whole or not at all; loads with `weights_only=True`.

    Raises CheckpointError where the disk is full or cannot be written; the file that was there stays.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kept = "the last good checkpoint is still there" if path.exists() else "there is no checkpoint yet"
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}; {kept}") from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state at `path`, or None where there is none. Raises ValueError for a file that is no checkpoint."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a sound checkpoint ({type(error).__name__}); delete it to begin anew"
        ) from None
    return state


class Checkpoints:
    """The state of one stage in one file: restored when it begins, written every `every` steps and at its end."""

    def __init__(self, path: Path, parts: Mapping[str, Stateful], plan: Mapping[str, Any], every: int) -> None:
        self.path, self.parts, self.every = path, dict(parts), every
        self.plan = json.loads(json.dumps(dict(plan)))

    def restore(self) -> int:
        """The number of steps that are done. Raises ValueError for the checkpoint of another run."""
        state = load_checkpoint(self.path)
        if state is None:
            return 0
        if state.get("plan") != self.plan:
            old = state.get("plan") or {}
            name = next((n for n in sorted({*old, *self.plan}) if old.get(n) != self.plan.get(n)), "?")
            raise ValueError(
                f"{self.path} is of a run with {name} {old.get(name)}, not {self.plan.get(name)}: "
                "choose another --run, or delete it to begin anew"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def after(self, done: int, total: int) -> None:
        """To be called after each step."""
        if done % self.every == 0 or done == total:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            save_checkpoint(self.path, state | {"step": done, "plan": self.plan})


class Log:
    """One line of JSON per report, in a file and on the screen, with the time left.

    A run that goes on drops the lines that were written after its last checkpoint: it writes them again.
    """

    def __init__(self, path: Path, stage: str, total: int, first: int = 0, clock: Callable[[], float] | None = None):
        self.path, self.stage, self.total, self.first = path, stage, total, first
        self.clock = clock or time.monotonic
        rows = [row for row in read_measures(path) if row["stage"] != stage or row["step"] <= first]
        self.before = max((row["seconds"] for row in rows if row["stage"] == stage), default=0.0)
        if path.exists():
            partial = path.with_suffix(".part")
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            os.replace(partial, path)
        self.started = self.clock()
        self.sums: dict[str, list[float]] = {}

    def add(self, step: int, values: Mapping[str, Tensor | float], every: int) -> None:
        """Averages `values`; every `every` steps writes them."""
        for name, value in values.items():
            self.sums.setdefault(name, []).append(float(value))
        if (step + 1) % every and step + 1 != self.total:
            return
        elapsed = self.clock() - self.started
        pace = elapsed / (step + 1 - self.first)
        row: dict[str, Any] = {"stage": self.stage, "step": step + 1, "seconds": round(self.before + elapsed, 1)}
        row |= {name: round(sum(values) / len(values), 5) for name, values in self.sums.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        left = pace * (self.total - step - 1)
        print(" ".join(f"{k}={v}" for k, v in row.items()), f"left={left / 60:.1f}min", flush=True)
        self.sums = {}


def read_measures(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a run's measures; one that was cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [row for row in rows if isinstance(row, dict) and {"stage", "step", "seconds"} <= row.keys()]


def to_device(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """The same tensors where the network is."""
    return [tensor.to(device, non_blocking=True) for tensor in tensors]
