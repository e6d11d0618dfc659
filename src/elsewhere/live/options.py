"""What may be asked of the loop, and what is said when it cannot be done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from elsewhere.physics import TICK

MODES = ("grounded", "dream", "calculated")
"""Grounded: the network paints on the guide. Dream: the network alone. Calculated: the guide alone."""

SIZE_STEP, SIZE_LEAST, SIZE_MOST = 16, 64, 512
SEED_MOST = 2**63 - 1
FPS_MOST = 120
STEPS = (1, 2, 4, 8)
GROUNDS = ("full", "depth", "layout")
"""What of the guide the network is given: all; shapes alone; or what stands where, without shapes and light."""
GUIDANCE_LEAST, GUIDANCE_MOST = 1.0, 4.0
SECONDS_MOST = 3600.0
TICKS_PER_SECOND = round(1 / TICK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a world is shown. Checked when it is made: ValueError names what is wrong and what would do."""

    mode: str = "grounded"
    width: int = 128
    height: int = 128
    fps: int = 24
    seed: int = 0
    steps: int = 1
    """Network evaluations for each frame."""
    strength: float = 1.0
    """How much of the guide a grounded picture is given, from 0 (a dream) to 1."""
    ground: str = "full"
    guidance: float = 1.0
    """How strictly text is followed, from 1 (as taught by pictures) to 4."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}; got {self.mode!r}")
        _check_side("width", self.width)
        _check_side("height", self.height)
        _check_integer("fps", self.fps, 1, FPS_MOST)
        _check_integer("seed", self.seed, 0, SEED_MOST)
        if self.steps not in STEPS:
            raise ValueError(f"steps must be one of {', '.join(map(str, STEPS))}; got {self.steps}")
        _check_share("strength", self.strength, 0.0, 1.0)
        if self.ground not in GROUNDS:
            raise ValueError(f"ground must be one of {', '.join(GROUNDS)}; got {self.ground!r}")
        if self.mode != "grounded" and (self.strength != 1.0 or self.ground != "full"):
            raise ValueError(
                f"mode must be grounded where strength or ground is given, got {self.mode!r}; strength 0 is a dream"
            )
        _check_share("guidance", self.guidance, GUIDANCE_LEAST, GUIDANCE_MOST)
        if self.mode == "calculated" and self.guidance != 1.0:
            raise ValueError("mode must be grounded or dream where guidance is given, got 'calculated'")

    def tick_of(self, frame_index: int) -> int:
        """The physics tick at which frame `frame_index` is taken; rounding does not add up over a film."""
        return round(frame_index * TICKS_PER_SECOND / self.fps)


def read_size(text: str | int | tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels from 128, "128" or "192x128". ValueError when it is neither or impossible."""
    if isinstance(text, tuple):
        width, height = text
    else:
        parts = str(text).lower().replace("×", "x").split("x")
        if len(parts) > 2 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
            raise ValueError(f"size must be like 128 or 192x128; got {str(text)[:40]!r}")
        width, height = int(parts[0]), int(parts[-1])
    _check_side("width", width)
    _check_side("height", height)
    return width, height


def check_seconds(seconds: float) -> float:
    """`seconds` of film, when it is a length that a film can have; else ValueError."""
    if not (math.isfinite(seconds) and 0 < seconds <= SECONDS_MOST):
        raise ValueError(f"seconds must be more than 0 and at most {SECONDS_MOST:.0f}; got {seconds}")
    return seconds


def _check_side(name: str, value: int) -> None:
    if SIZE_LEAST <= value <= SIZE_MOST and value % SIZE_STEP == 0:
        return
    nearest = min(max(round(value / SIZE_STEP) * SIZE_STEP, SIZE_LEAST), SIZE_MOST)
    raise ValueError(
        f"size: {name} must be a multiple of {SIZE_STEP} from {SIZE_LEAST} to {SIZE_MOST}; got {value}. "
        f"The nearest is {nearest}"
    )


def _check_share(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number; got {value!r}")
    if not least <= value <= most:
        nearest = most if value > most else least
        raise ValueError(f"{name} must be from {least:g} to {most:g}; got {value}. The nearest is {nearest:g}")


def _check_integer(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    if not least <= value <= most:
        nearest = min(max(value, least), most)
        raise ValueError(f"{name} must be from {least} to {most}; got {value}. The nearest is {nearest}")
