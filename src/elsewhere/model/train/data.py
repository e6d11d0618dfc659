"""Training clips: sampled prompts, calculated states, guides, rays, and the path-traced pictures of the same states.

A clip is one .npz file, written whole under its final name. Its content is a function of (seed, clip number)
alone, so that a build can be cut off and go on, on any number of processes.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.planes import PLANES, guide_planes, scene_scale
from elsewhere.model.rays import token_rays
from elsewhere.physics import World
from elsewhere.render import Stage, to_display
from elsewhere.render.denoise import denoise
from elsewhere.scene import camera_at
from elsewhere.scene.holdout import draw_scene
from elsewhere.scene.words import caption_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Size of a data set. `samples` are paths per pixel of the reference."""

    clips: int = 900
    frames: int = 8
    size: int = 128
    samples: int = 24
    seed: int = 1
    processes: int = 2


def quantise(planes: NDArray[np.float32]) -> NDArray[np.int8]:
    """[−1, 1] → int8 with 1/127 steps."""
    return np.rint(planes * 127.0).astype(np.int8)


def render_clip(config: DataConfig, number: int, *, evaluation: bool = False) -> dict[str, NDArray]:
    """All arrays of one clip: T frames.

    planes (T, P, H, W) int8; picture (T, 3, H, W) uint8 display RGB; coarse (T, P, H/4, W/4) float16;
    rays (T, N, 12) float16; positions (T,) frames of 1/24 s; prompt.
    """
    rng = np.random.Generator(np.random.Philox(key=[config.seed, 2 * number + evaluation]))
    scene = draw_scene(rng, evaluation=evaluation)
    world = World(scene, int(rng.integers(2**31)))
    stage = Stage(scene, world.swell, world.water_cell, threads=1)
    stride = int(rng.choice([1, 1, 2, 4]))
    start = int(rng.integers(0, 72))
    world.advance(10 * start)
    sway = HeadMotion(rng)
    out: dict[str, list[NDArray]] = {"planes": [], "picture": [], "coarse": [], "rays": []}
    previous = first = None
    for index in range(config.frames):
        if index:
            world.advance(10 * stride)
        state, seconds = world.state, (start + index * stride) / 24.0
        yaw, pitch = sway.at(index * stride / 24.0)
        camera = camera_at(scene, seconds, config.size, config.size, yaw=yaw, pitch=pitch)
        guide = stage.guide(state, camera, previous)
        linear = stage.reference(state, camera, samples=config.samples, seed=int(rng.integers(2**31)))
        linear = denoise(linear, guide, water_instance=len(scene.bodies) + 1)
        planes = guide_planes(guide, stage)
        first = first or camera
        out["planes"].append(quantise(planes))
        shape = (len(PLANES), config.size // 4, 4, config.size // 4, 4)
        out["coarse"].append(planes.reshape(shape).mean(axis=(2, 4)).astype(np.float16))
        shown = np.clip(to_display(linear), 0.0, 1.0)
        out["picture"].append(np.rint(shown * 255.0).astype(np.uint8).transpose(2, 0, 1))
        last = previous[1] if previous else camera
        out["rays"].append(token_rays(camera, first, last, scene_scale(scene)).astype(np.float16))
        previous = (state, camera)
    arrays = {name: np.stack(parts) for name, parts in out.items()}
    arrays["positions"] = np.arange(config.frames, dtype=np.float32) * stride
    arrays["prompt"] = np.array(scene.prompt)
    arrays["caption"] = np.array("|".join(caption_tokens(scene)))
    return arrays


class HeadMotion:
    """A smooth turn of the head: two slow sines each in yaw and pitch; half of the clips look straight ahead."""

    def __init__(self, rng: np.random.Generator) -> None:
        strength = 0.0 if rng.random() < 0.5 else rng.uniform(0.03, 0.25)
        self.amplitude = strength * rng.standard_normal((2, 2)) * np.array([[1.0], [0.4]])
        self.omega = rng.uniform(0.6, 4.0, (2, 2))
        self.phase = rng.uniform(0.0, 2.0 * np.pi, (2, 2))

    def at(self, seconds: float) -> tuple[float, float]:
        """Yaw and pitch in radians."""
        angle = (self.amplitude * np.sin(self.omega * seconds + self.phase)).sum(axis=1)
        return float(angle[0]), float(angle[1])


def clip_path(directory: Path, number: int) -> Path:
    return directory / f"clip-{number:06d}.npz"


def write_clip(config: DataConfig, directory: Path, number: int, evaluation: bool) -> int:
    """Renders and stores one clip, unless it is there. Returns its number."""
    path = clip_path(directory, number)
    if not path.exists():
        buffer = io.BytesIO()
        arrays: dict[str, Any] = dict(render_clip(config, number, evaluation=evaluation))
        np.savez(buffer, **arrays)
        partial = path.with_suffix(".part")
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    return number


def build(
    config: DataConfig, directory: Path, *, evaluation: bool = False, report: Callable[[int, float], None] | None = None
) -> None:
    """Writes all clips of a data set; `report(done, seconds)` is called after each."""
    directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    with ProcessPoolExecutor(config.processes) as pool:
        jobs = [pool.submit(write_clip, config, directory, n, evaluation) for n in range(config.clips)]
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            if report:
                report(done, time.monotonic() - started)
