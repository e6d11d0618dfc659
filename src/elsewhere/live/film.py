"""A film: a world watched by nobody's hand, from its first tick to a given second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.frame import Frame
from elsewhere.live.options import Options, check_seconds, read_size
from elsewhere.live.plan import look_at, plan_film
from elsewhere.live.session import Session
from elsewhere.scene import Parsed, PromptError
from elsewhere.scene.description import Scene
from elsewhere.scene.path import CameraPath
from elsewhere.scene.words.grammar import read
from elsewhere.scene.words.takes import Take
from elsewhere.scene.words.tokens import checked


@dataclass(frozen=True, kw_only=True, slots=True)
class Film:
    """T pictures of one world. Depth in metres along the camera's −Z (inf for sky), poses camera to world."""

    frames: NDArray[np.uint8]  # (T, H, W, 3)
    depths: NDArray[np.float32]  # (T, H, W)
    poses: NDArray[np.float64]  # (T, 4, 4)
    focals: NDArray[np.float64]  # (T,) pixels
    ticks: NDArray[np.int64]  # (T,) of 1/240 s
    fps: int
    scene: Scene
    options: Options
    unknown: tuple[tuple[str, str], ...] = ()
    """Words of the prompt that were not understood, each with the nearest that is."""


def generate(
    prompt: str,
    *,
    seconds: float | None = None,
    fps: int = 24,
    size: int | str | tuple[int, int] = 128,
    seed: int = 0,
    mode: str = "grounded",
    camera: str | None = None,
    shots: Sequence[str] = (),
    events: Sequence[str | dict[str, Any]] = (),
    camera_path: CameraPath | str | Path | None = None,
    rewritten: bool = False,
    steps: int = 1,
    strength: float = 1.0,
    ground: str = "full",
    guidance: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Film:
    """Generates a film of what `prompt` says.

    `size` is the side in pixels, or (width, height); `camera` says how to look ("from above", "orbiting") or moves
    ("dolly in 2s, orbit left 3s"); `shots`, `events`, `camera_path` and `rewritten` are those of `plan_film`, which
    also says how long a film without `seconds` is. `progress` is called with the frames done and the frames in all.
    The same arguments give the same bits. `strength` from 0 (a dream) to 1 and `ground` ("full", "depth", "layout") say
    how much of what is calculated the network is given, `guidance` from 1 to 4 how strictly it follows the words.

    ValueError (PromptError for words) names the argument, what it may be, and the nearest that would do.
    """
    width, height = read_size(size)
    options = Options(
        mode=mode, width=width, height=height, fps=fps, seed=seed, steps=steps,
        strength=strength, ground=ground, guidance=guidance,
    )  # fmt: skip
    plan = plan_film(
        prompt, seed=seed, seconds=seconds, fps=fps, camera=camera, shots=shots, events=events,
        camera_path=camera_path, rewritten=rewritten,
    )  # fmt: skip
    count = frame_count(plan.seconds, fps)
    shot: list[Frame] = []
    for frame in film_frames(plan.scene, options, count, plan.takes):
        shot.append(frame)
        if progress is not None:
            progress(len(shot), count)
    return Film(
        frames=np.stack([frame.rgb for frame in shot]),
        depths=np.stack([frame.depth for frame in shot]),
        poses=np.stack([frame.c2w for frame in shot]),
        focals=np.array([frame.focal for frame in shot]),
        ticks=np.array([frame.tick for frame in shot]),
        fps=fps,
        scene=plan.scene,
        options=options,
        unknown=plan.unknown,
    )


def film_frames(scene: Scene, options: Options, count: int, takes: tuple[Take, ...] = ()) -> Iterator[Frame]:
    """`count` frames, one at a time, so that a long film need not fit in memory."""
    session = Session(scene, options, takes=takes)
    for _ in range(count):
        yield session.frame()


def frame_count(seconds: float, fps: int) -> int:
    """How many frames `seconds` of film have; at least one."""
    return max(1, round(check_seconds(seconds) * fps))


def read_prompt(prompt: str, seed: int = 0, camera: str | None = None) -> Parsed:
    """`prompt` as a scene; `camera` words replace those of the prompt. PromptError when nothing is known."""
    return look_at(prompt, seed, camera)


def unknown_words(prompt: str) -> tuple[tuple[str, str], ...]:
    """Words of a prompt that are not known, each with the nearest that is; none for what is no prompt at all."""
    try:
        return tuple(read(checked(prompt)).unknown)
    except PromptError:
        return ()
