"""Whether a film comes back to what it showed: the world stands still, the camera goes and returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.judge.frechet import nearest_picture
from elsewhere.judge.measure import Bench, Line, draw, mean
from elsewhere.judge.measures import psnr, ssim
from elsewhere.judge.play import Look, Takes, plain, shown
from elsewhere.scene import Scene

START = 8
WAY = 24
"""Frames that going and returning take."""
FARTHEST = 0.7
"""Radians to the side at which the camera turns back: most of what was seen is out of sight."""


def looks() -> Iterator[tuple[int, Look]]:
    """Frame `START` comes again and again: no time passes while the camera turns."""
    for frame in range(START):
        yield frame, Look()
    for step in range(WAY + 1):
        yield START, Look(yaw=FARTHEST * 0.5 * (1.0 - float(np.cos(2.0 * np.pi * step / WAY))))


@dataclass(frozen=True)
class Loop:
    """Likeness of the picture before leaving and the one after coming back."""

    name: str = "loop"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """By film, [PSNR in dB, SSIM] of before and after."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        kept: dict[str, list[Any]] = {}
        last = START + WAY
        for number, moment in enumerate(play.moments(looks())):
            painted = takes.paint(moment) | {"plain": plain(moment.guide)}
            if number in (START, last):
                for name, picture in painted.items():
                    kept.setdefault(name, []).append(picture)
            if number == START:
                kept["reference"] = [shown(half) for half in play.halves(moment.state, moment.camera)]
        kept["unrelated"] = [kept["reference"][0], nearest_picture(bench, scene)]
        return {"prompt": scene.prompt} | {
            name: [round(psnr(*pair), 4), round(ssim(*pair), 5)] for name, pair in kept.items()
        }

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """Floor: the nearest scene that training saw. Ceiling: two sample paths of the reference."""
        lines = []
        for at, (what, unit) in enumerate((("loop closure, PSNR", " dB"), ("loop closure, SSIM", ""))):
            value = {name: mean([row[name][at] for row in rows]) for name in rows[0] if name != "prompt"}
            for studio in (studio.name for studio in bench.studios):
                bounds: dict[str, Any] = {"floor": value["unrelated"], "ceiling": value["reference"], "unit": unit}
                lines.append(Line(what=what, studio=studio, value=value[studio], **bounds))
        return lines
