"""Whether a film is taken from where the camera stands, and shows things where they are, at the depth they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.actions import LAST, head_motion
from elsewhere.judge.measure import Bench, Line, draw, mean
from elsewhere.judge.otherwise import LEAST_PIXELS, best_turn, drawing, matched, stage_without, tells
from elsewhere.judge.play import Look, Moment, Picture, Play, Takes, plain, shown
from elsewhere.scene import Scene

CHECKS = (8, 16)
TURNS = np.radians(np.arange(-12.0, 12.1, 3.0))
FINEST = np.radians(0.2)


def depth_error(made: NDArray[np.floating], true: NDArray[np.floating]) -> float | None:
    """Scale-invariant root mean square error of log depth (Eigen et al. 2014) where both are finite and positive."""
    known = np.isfinite(made) & np.isfinite(true) & (np.nan_to_num(made) > 1e-3) & (np.nan_to_num(true) > 1e-3)
    if known.sum() < 16:
        return None
    apart = np.log(np.asarray(made, np.float64)[known]) - np.log(np.asarray(true, np.float64)[known])
    return float(apart.std())


def share_shown(picture: Picture, full: Picture, empty: Picture, mask: NDArray[np.bool_]) -> float | None:
    """Of the pixels of things (H, W) that a drawing without them would have otherwise, the share at which a picture is
    nearer to the drawing with them. None where there are hardly any."""
    where = tells(full, empty) & mask
    if where.sum() < LEAST_PIXELS:
        return None
    seen = matched(picture, empty, ~tells(full, empty))
    near, far = (((seen - drawn) ** 2).sum(axis=-1)[where] for drawn in (full, empty))
    return float((near < far).mean())


def pose_error(play: Play, moment: Moment, look: Look, picture: Picture) -> float | None:
    """Degrees of yaw between the camera and the drawing that a picture is nearest to, up to 12 to either side."""

    def draw_from(angle: float) -> Picture:
        camera = play.camera(moment.frame, Look(yaw=look.yaw + angle, pitch=look.pitch))
        return drawing(play.stage, moment.state, camera)

    found = best_turn(picture, draw_from, TURNS, FINEST)
    return None if found is None else round(float(np.degrees(abs(found[0]))), 4)


@dataclass(frozen=True)
class Control:
    """Pose, masks and depth read from pictures, against what is calculated, while the head turns."""

    name: str = "control"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """{"pose", "mask", "depth"} by film, a value or None at each check."""
        rng = np.random.Generator(np.random.Philox(key=[bench.seed, sum(scene.prompt.encode())]))
        look = head_motion(rng)
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        found: dict[str, dict[str, list[float | None]]] = {"pose": {}, "mask": {}, "depth": {}}
        for moment in play.moments((frame, look(frame)) for frame in range(LAST + 1)):
            painted = takes.paint(moment)
            if moment.frame not in CHECKS:
                continue
            painted["plain"] = plain(moment.guide)
            painted["reference"] = shown(play.halves(moment.state, moment.camera)[0])
            full = drawing(play.stage, moment.state, moment.camera)
            stage, state = stage_without(play, moment.state, frozenset(range(len(scene.bodies))))
            empty = drawing(stage, state, moment.camera)
            true = np.asarray((moment.guide.instance >= 0) & (moment.guide.instance < len(scene.bodies)))
            for name, picture in {**painted, "unrelated": np.roll(painted["reference"], 40, axis=1)}.items():
                found["pose"].setdefault(name, []).append(pose_error(play, moment, look(moment.frame), picture))
                found["mask"].setdefault(name, []).append(share_shown(picture, full, empty, true))
            flat = np.ones_like(moment.guide.depth)
            for name, depth in {**takes.depths, "unrelated": flat}.items():
                found["depth"].setdefault(name, []).append(depth_error(depth, moment.guide.depth))
        return {"prompt": scene.prompt, **found}

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """Floor: a reference picture moved aside by 40 pixels, and a wall for depth. Ceiling: the reference."""
        lines = []
        words = {
            "pose": ("pose error, yaw", "°"),
            "mask": ("things' pixels that show them", ""),
            "depth": ("depth error, log", ""),
        }
        for kind, (what, unit) in words.items():
            value = {name: mean([v for row in rows for v in row[kind][name]]) for name in rows[0][kind]}
            ceiling = 0.0 if kind == "depth" else value["reference"]
            for studio in (studio.name for studio in bench.studios):
                bounds: dict[str, Any] = {"floor": value["unrelated"], "ceiling": ceiling, "unit": unit}
                lines.append(Line(what=what, studio=studio, value=value[studio], **bounds))
        return lines
