"""The judge gives the plain guide its own score, and prefers a picture that is nearer."""

from __future__ import annotations

import numpy as np

from elsewhere.judge import Report, Trial, report
from elsewhere.judge.reference import held_out_scenes
from elsewhere.render import Guide, Stage, to_display
from elsewhere.scene import Camera, Scene
from elsewhere.scene.holdout import held_out

TRIAL = Trial(prompts=2, frames=(1, 2), long_prompts=1, drift=(1, 3), size=64, samples=4)


class Plain:
    """Paints the lit guide itself."""

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        return np.rint(255.0 * to_display(guide.lit)).astype(np.uint8), guide.depth


def plain(scene: Scene, seed: int) -> Plain:
    return Plain()


def test_the_floor_scores_as_itself() -> None:
    seen: list[int] = []
    result: Report = report(plain, TRIAL, lambda done, total: seen.append(done))
    summary = result.summary()
    assert seen == [1, 2]
    assert summary["all"]["pictures"] == 4
    assert abs(summary["all"]["gain_db"]) < 0.05
    assert abs(summary["all"]["ssim"] - summary["all"]["ssim_plain"]) < 5e-3
    assert summary["drift"]["prompts"] == 1
    assert abs(summary["drift"]["gain_db"]) < 0.05
    assert len(result.pictures) == 2


def test_scenes_are_held_out_and_the_same_each_time() -> None:
    scenes = held_out_scenes(TRIAL)
    assert scenes == held_out_scenes(TRIAL)
    assert all(held_out(scene) for scene in scenes)
