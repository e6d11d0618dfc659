"""What all measures share: drawing of scenes, going on after a stop, lines; and the small measures on painters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.judge.actions import Actions, nearer
from elsewhere.judge.frechet import nearest_scene
from elsewhere.judge.library import Library
from elsewhere.judge.measure import Bench, Line, draw, run
from elsewhere.judge.play import Studio
from elsewhere.render import Guide, Stage, to_display
from elsewhere.scene import Camera, Scene
from elsewhere.scene.holdout import held_out


class Plain:
    """Paints the lit guide."""

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        return np.rint(255.0 * to_display(guide.lit)).astype(np.uint8), guide.depth


class Deaf(Plain):
    """Paints its first picture for ever."""

    def __init__(self) -> None:
        self.first: tuple[np.ndarray, np.ndarray] | None = None

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        self.first = self.first or super().frame(guide, stage, camera)
        return self.first


def bench(directory: Path | None = None, scenes: int = 2) -> Bench:
    studios = (Studio("grounded", "plain", lambda *_: Plain()), Studio("dream", "deaf", lambda *_: Deaf()))
    return Bench(studios=studios, library=Library(directory), scenes=scenes, size=64, samples=2)


@dataclass(frozen=True)
class Counting:
    """Counts how often it is asked."""

    asked: list[str]
    name: str = "counting"

    def __repr__(self) -> str:
        return "Counting"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        self.asked.append(scene.prompt)
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return {"value": len(scene.bodies)}

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        return [Line(what="bodies", studio="", value=float(sum(row["value"] for row in rows)))]


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    measure, told = Counting([]), []
    with pytest.raises(KeyboardInterrupt):
        run(measure, bench(tmp_path, 3))
    result = run(measure, bench(tmp_path, 3), lambda *step: told.append(step))
    assert len(measure.asked) == 1 + 1 + 2  # the first scene was not asked again
    assert [step[:2] for step in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[0][2] is None
    assert told[-1][2] == 0.0
    assert result["lines"][0].value == sum(len(scene.bodies) for scene in draw(2026, 3))


def test_scenes_are_held_out_fit_and_come_in_one_order() -> None:
    assert draw(5, 4)[:2] == draw(5, 2)
    assert all(held_out(scene) for scene in draw(5, 4))
    assert not any(held_out(scene) for scene in draw(5, 4, evaluation=False))
    assert all(scene.environment == "lake" for scene in draw(5, 2, fits=lambda scene: scene.environment == "lake"))
    near = nearest_scene(draw(5, 1)[0], 30)
    assert not held_out(near)


def test_a_line_says_whether_its_goal_is_reached() -> None:
    assert Line(what="", studio="", value=0.9, least=0.85, most=1.15).reached is True
    assert Line(what="", studio="", value=1.2, least=0.85, most=1.15).reached is False
    assert Line(what="", studio="", value=1.2, least=0.85, most=1.15).goal == "0.85–1.15"
    assert Line(what="", studio="", value=0.3, most=0.25).as_json()["reached"] is False
    assert Line(what="", studio="", value=None, most=0.25).reached is None
    assert Line(what="", studio="", value=0.3).reached is None


def test_the_plain_guide_follows_and_one_that_is_deaf_does_not() -> None:
    result = run(Actions(), bench(scenes=1))
    lines = {line.studio: line for line in result["lines"]}
    assert lines["grounded"].value == 1.0
    assert lines["grounded"].ceiling in (0.5, 1.0)  # one path a pixel: noise may win at one of two frames
    assert lines["grounded"].reached
    assert lines["dream"].value == 0.5
    assert not lines["dream"].reached


def test_nearer_counts_ties_as_half() -> None:
    zero, one = np.zeros((4, 4, 3), np.float32), np.ones((4, 4, 3), np.float32)
    assert (nearer(zero, one, zero), nearer(one, zero, zero), nearer(one, one, zero)) == (1.0, 0.0, 0.5)
