"""What a verb gives back: a film or a picture, how it was made, and what can be measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.options import Options
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip, read_clip, read_picture
from elsewhere.live.writer import Writer, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable

STRENGTHS = "strength must be from 0 (as it was) to 1 (all new)"
SECONDS_MOST = 60.0
Source = str | Path | Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """T pictures. `grounded`: a calculated world lay under them. `notes` say what a viewer should know; `measures` are
    numbers of this film, PSNR in dB."""

    frames: NDArray[np.uint8]  # (T, H, W, 3)
    fps: int
    grounded: bool
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)

    def save(self, path: str | Path) -> list[Path]:
        """Writes a film (mp4, webm, gif, png series), or a picture (png, jpg) where it has one frame."""
        from elsewhere.live.origin import write_origin

        comment = write_origin(self.origin) if self.origin is not None else None
        if len(self.frames) == 1 and Path(path).suffix.lower() in (".png", ".jpg"):
            return [write_picture(self.frames[0], path, comment=comment)]
        with Writer(path, fps=self.fps, comment=comment) as writer:
            for frame in self.frames:
                writer.add(frame)
        return writer.written


def take_clip(
    source: Source, size: tuple[int, int] | None, check: Callable[[], None] | None = None, *, least: int = 2
) -> Clip:
    """A clip from a file, or as it is. Raises ValueError for what is no clip."""
    if isinstance(source, Clip):
        if source.frames.ndim != 4 or len(source.frames) < least:
            raise ValueError(f"clip must have at least {least} frames; it has the shape {source.frames.shape}")
        return source
    return read_clip(source, size, least=least, check=check)


def world_of(clip: Clip) -> Origin | None:
    """The world that lies under a clip's pictures; none where they were dreamt, wholly or in part."""
    return None if clip.origin is None or dreamt(clip.origin.options) else clip.origin


def dreamt(options: Options) -> bool:
    """Whether pictures were made without their world's whole guide."""
    return options.mode == "dream" or options.strength < 1.0 or options.ground != "full"


def take_picture(source: Source, size: tuple[int, int] | None) -> Clip:
    """A picture from a file, or a clip's first frame."""
    return source if isinstance(source, Clip) else read_picture(source, size)


def check_strength(strength: float, name: str = "strength") -> float:
    """`strength` when it is from 0 to 1, else ValueError with the nearest that is."""
    if not (math.isfinite(strength) and 0.0 <= strength <= 1.0):
        nearest = 0.0 if not strength > 1.0 else 1.0
        raise ValueError(
            f"{name} must be from 0 (as it was) to 1 (all new); got {strength:g}. The nearest is {nearest:g}"
        )
    return strength


def check_length(seconds: float, fps: int, name: str = "seconds", most: float = SECONDS_MOST) -> int:
    """Frames of `seconds`, at least one; ValueError for what is no length of a film."""
    if not (math.isfinite(seconds) and 0.0 < seconds <= most):
        nearest = most if seconds > most else 1.0
        raise ValueError(
            f"{name} must be more than 0 and at most {most:g}; got {seconds:g}. The nearest is {nearest:g}"
        )
    return max(1, round(seconds * fps))


def steps_db(frames: NDArray[np.uint8], *, ring: bool = False) -> NDArray[np.float64]:
    """PSNR in dB between each frame and the next; on a ring also between the last and the first."""
    after = np.roll(frames, -1, axis=0) if ring else frames[1:]
    return np.array([psnr_db(a, b) for a, b in zip(frames, after, strict=False)])


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """PSNR of two 8-bit pictures in dB, 99 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error == 0.0 else min(99.0, 10.0 * math.log10(255.0**2 / error))


def joint(frames: NDArray[np.uint8], at: int, name: str = "joint") -> dict[str, float]:
    """The step from frame `at` − 1 to `at` beside the film's ordinary steps (dB; larger is smoother)."""
    steps = steps_db(frames)
    others = np.delete(steps, at - 1)
    return {f"{name}_db": round(float(steps[at - 1]), 2), **ordinary(others)}


def ordinary(steps: NDArray[np.float64]) -> dict[str, float]:
    """Median and tenth percentile of a film's steps."""
    if not len(steps):
        return {}
    low, middle = np.percentile(steps, [10, 50])
    return {"steps_median_db": round(float(middle), 2), "steps_p10_db": round(float(low), 2)}
