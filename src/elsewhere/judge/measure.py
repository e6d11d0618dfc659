"""What every measure has in common: scenes, a row for each, a summary, and lines with goal, floor and ceiling."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from elsewhere.judge.library import GENERATED, Library, source_digest
from elsewhere.judge.play import Play, Studio
from elsewhere.scene import Scene
from elsewhere.scene.holdout import draw_scene

Progress = Callable[[int, int, float | None], None]
"""Called with scenes done, scenes in all, and seconds left (None while nothing is known of it)."""
MOST_DRAWS = 20000
"""Scenes that are looked at before it is said that none fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What is measured and how finely: `scenes` held-out scenes of `size` pixels a side, `samples` paths per pixel of
    a reference (both halves together)."""

    studios: tuple[Studio, ...]
    library: Library
    scenes: int
    size: int = 128
    samples: int = 32
    seed: int = 2026

    def play(self, scene: Scene) -> Play:
        """That scene on its stage."""
        return Play(scene, seed=self.seed, size=self.size, samples=self.samples, library=self.library)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One score between its floor and its ceiling; `least` and `most` are its goal. None is what has no such thing."""

    what: str
    studio: str
    value: float | None
    floor: float | None = None
    ceiling: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met; None without a goal or a value."""
        if self.value is None or (self.least is None and self.most is None):
            return None
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)

    @property
    def goal(self) -> str:
        """The goal in words, empty where there is none."""
        low, high = (None if bound is None else f"{bound:g}" for bound in (self.least, self.most))
        return f"{low}–{high}" if low and high else f"≥ {low}" if low else f"≤ {high}" if high else ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, numbers to five digits."""
        row: dict[str, Any] = {"what": self.what, "mode": self.studio, "unit": self.unit, "goal": self.goal}
        for name in ("value", "floor", "ceiling"):
            number = getattr(self, name)
            row[name] = None if number is None or not np.isfinite(number) else float(f"{number:.5g}")
        return row | {"reached": self.reached}


class Measure(Protocol):
    """A way to judge films. Its settings are its fields, so that `repr` tells two settings apart."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def scenes(self, bench: Bench) -> list[Scene]:
        """The scenes that it looks at."""
        ...

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """What it finds in one scene, as plain JSON."""
        ...

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The scores of all scenes together."""
        ...


def run(measure: Measure, bench: Bench, progress: Progress | None = None) -> dict[str, Any]:
    """{"measure", "setting", "rows", "lines"} of one measure. Rows that the library has are not made again."""
    scenes, rows, spent, made = measure.scenes(bench), [], 0.0, 0
    for number, scene in enumerate(scenes):
        key = row_key(measure, bench, scene)
        fresh = not bench.library.holds(key)
        begun = time.monotonic()

        def make(scene: Scene = scene) -> dict[str, Any]:
            return measure.row(bench, scene)

        rows.append(bench.library.report(key, make))
        if fresh:
            spent, made = spent + time.monotonic() - begun, made + 1
        if progress:
            left = (len(scenes) - number - 1) * spent / made if made else None
            progress(number + 1, len(scenes), left)
    setting = {"scenes": len(scenes), "size": bench.size, "samples": bench.samples, "seed": bench.seed}
    return {"measure": measure.name, "setting": setting, "rows": rows, "lines": measure.lines(bench, rows)}


def row_key(measure: Measure, bench: Bench, scene: Scene) -> tuple[object, ...]:
    """All that a row depends on."""
    studios = [(studio.name, studio.identity) for studio in bench.studios]
    return (
        *("row", source_digest(GENERATED), measure.name, repr(measure), repr(scene)),
        *(repr(studios), bench.size, bench.samples, bench.seed),
    )


def draw(seed: int, count: int, *, evaluation: bool = True, fits: Callable[[Scene], bool] | None = None) -> list[Scene]:
    """`count` scenes of the wanted side of the hold-out that fit; the first ones of a longer list are the shorter one.

    Raises ValueError where too few fit.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 1 if evaluation else 2]))
    found: list[Scene] = []
    for _ in range(MOST_DRAWS if fits else count):
        scene = draw_scene(rng, evaluation=evaluation)
        if fits is None or fits(scene):
            found.append(scene)
        if len(found) == count:
            return found
    raise ValueError(f"scenes must be at most {len(found)} here, got {count}; nearest: {len(found)}")


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is known, None where nothing is."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None
