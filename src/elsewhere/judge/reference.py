"""Generated pictures against path-traced pictures of the same states, on scenes that training never saw.

Every score stands beside its floor: the plainly lit guide of the same state. This file is given something
that paints; it does not know what paints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.measures import edge_f1, psnr, ssim, texture_energy
from elsewhere.physics import World
from elsewhere.render import Guide, Stage, to_display
from elsewhere.scene import Camera, Scene, camera_at
from elsewhere.scene.holdout import draw_scene

TICKS_PER_FRAME = 10
"""240 ticks a second, 24 frames a second."""


class Painter(Protocol):
    """Makes the next picture of a film: display RGB (H, W, 3) uint8 and depth (H, W) in metres."""

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is measured: `prompts` held-out scenes at the frames `frames`; the first `long_prompts` of them also
    at the frames of `drift`. `samples` are paths per pixel of the reference."""

    prompts: int = 50
    frames: tuple[int, ...] = (4, 10, 16)
    long_prompts: int = 7
    drift: tuple[int, int] = (10, 300)
    size: int = 128
    samples: int = 96
    seed: int = 2026


@dataclass(kw_only=True)
class Score:
    """One picture's measures, made and plain (the floor). `texture` is a ratio to the reference: 1 is right."""

    prompt: str
    environment: str
    frame: int
    psnr: float
    psnr_plain: float
    ssim: float
    ssim_plain: float
    edge_f1: float
    edge_f1_plain: float
    texture: float
    texture_plain: float


@dataclass(kw_only=True)
class Report:
    """All scores, and `summary()` of them."""

    trial: Trial
    scores: list[Score] = field(default_factory=list)
    late: list[Score] = field(default_factory=list)
    pictures: list[tuple[str, Any, Any, Any]] = field(default_factory=list)
    """(prompt, made, plain, wanted) of each prompt's last short frame, for looking at."""

    def summary(self) -> dict[str, Any]:
        """Means over all scores, per environment, and the drift, as plain JSON."""
        places = sorted({score.environment for score in self.scores})
        rows = {place: means([s for s in self.scores if s.environment == place]) for place in places}
        return {
            "trial": asdict(self.trial),
            "all": means(self.scores),
            "environments": rows,
            "drift": self.drift(),
        }

    def drift(self) -> dict[str, float] | None:
        """PSNR early minus late; `gain` takes the floor of each frame away first, since the scene itself changes."""
        if not self.late:
            return None
        late = {score.prompt: score for score in self.late}
        early = [s for s in self.scores if s.prompt in late and s.frame == self.trial.drift[0]]
        pairs = [(s, late[s.prompt]) for s in early]
        return {
            "frames": list(self.trial.drift),  # type: ignore[dict-item]
            "prompts": len(pairs),
            "psnr_db": round(float(np.mean([a.psnr - b.psnr for a, b in pairs])), 3),
            "plain_db": round(float(np.mean([a.psnr_plain - b.psnr_plain for a, b in pairs])), 3),
            "gain_db": round(float(np.mean([(a.psnr - a.psnr_plain) - (b.psnr - b.psnr_plain) for a, b in pairs])), 3),
        }


MEASURES = ("psnr", "psnr_plain", "ssim", "ssim_plain", "edge_f1", "edge_f1_plain", "texture", "texture_plain")


def means(scores: list[Score]) -> dict[str, float]:
    """Mean of every measure, and the gain in dB over the plain guide."""
    row = {name: round(float(np.mean([getattr(s, name) for s in scores])), 4) for name in MEASURES}
    row["texture_median"] = round(float(np.median([s.texture for s in scores])), 4)
    return {"pictures": len(scores), "gain_db": round(row["psnr"] - row["psnr_plain"], 3), **row}


def score(prompt: str, environment: str, frame: int, made: Any, plain: Any, wanted: Any) -> Score:
    """All measures of one picture."""
    energy = max(texture_energy(wanted), 1e-7)
    return Score(
        prompt=prompt,
        environment=environment,
        frame=frame,
        psnr=psnr(made, wanted),
        psnr_plain=psnr(plain, wanted),
        ssim=ssim(made, wanted),
        ssim_plain=ssim(plain, wanted),
        edge_f1=edge_f1(made, wanted),
        edge_f1_plain=edge_f1(plain, wanted),
        texture=texture_energy(made) / energy,
        texture_plain=texture_energy(plain) / energy,
    )


def held_out_scenes(trial: Trial) -> list[Scene]:
    """The scenes of a trial; the same for the same seed."""
    rng = np.random.Generator(np.random.Philox(key=[trial.seed, 1]))
    return [draw_scene(rng, evaluation=True) for _ in range(trial.prompts)]


def report(
    paint: Callable[[Scene, int], Painter], trial: Trial, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Runs a trial; `paint(scene, seed)` opens a film. `progress(done, total)` is called after each prompt."""
    result = Report(trial=trial)
    for number, scene in enumerate(held_out_scenes(trial)):
        judge_scene(result, paint(scene, trial.seed), scene, with_drift=number < trial.long_prompts)
        if progress:
            progress(number + 1, trial.prompts)
    return result


def judge_scene(result: Report, painter: Painter, scene: Scene, *, with_drift: bool) -> None:
    """Plays one scene and scores the frames that the trial names."""
    trial = result.trial
    world = World(scene, trial.seed)
    stage = Stage(scene, world.swell, world.water_cell)
    wanted_frames = {*trial.frames, trial.drift[0]} | ({trial.drift[1]} if with_drift else set())
    previous = None
    for frame in range(max(wanted_frames) + 1):
        state = world.advance(TICKS_PER_FRAME) if frame else world.state
        camera = camera_at(scene, frame / 24.0, trial.size, trial.size)
        guide = stage.guide(state, camera, previous)
        made, _ = painter.frame(guide, stage, camera)
        previous = (state, camera)
        if frame not in wanted_frames:
            continue
        linear = stage.reference(state, camera, samples=trial.samples, seed=trial.seed + frame)
        wanted = np.clip(to_display(linear), 0.0, 1.0)
        plain = np.clip(to_display(guide.lit), 0.0, 1.0)
        shown = made.astype(np.float32) / 255.0
        row = score(scene.prompt, scene.environment, frame, shown, plain, wanted)
        (result.late if frame == trial.drift[1] else result.scores).append(row)
        if frame == max(trial.frames):
            result.pictures.append((scene.prompt, shown, plain, wanted))
