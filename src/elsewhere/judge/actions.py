"""Whether a film goes where it is told: the same noise, the true head motion against a random other one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.play import STRAIGHT, Look, Picture, Takes, plain, shown
from elsewhere.scene import Scene

FRAMES = (8, 16)
LAST = max(FRAMES)


def head_motion(rng: np.random.Generator) -> Callable[[int], Look]:
    """A turn of the head that begins at rest: by frame 16 up to half a radian sideways and a fifth up or down.

    Minimum-jerk time course (Flash & Hogan 1985), as people's turns have.
    """
    yaw = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.5))
    pitch = float(rng.uniform(-0.2, 0.2))

    def at(frame: int) -> Look:
        share = min(1.0, frame / LAST)
        done = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        return Look(yaw=done * yaw, pitch=done * pitch)

    return at


def squared(one: Picture, other: Picture) -> float:
    """Mean squared difference."""
    return float(np.mean((np.asarray(one, np.float64) - other) ** 2))


def nearer(true: Picture, random: Picture, wanted: Picture) -> float:
    """1 where `true` is nearer to `wanted` than `random` is, 0 where it is farther, ½ where they are as near."""
    a, b = squared(true, wanted), squared(random, wanted)
    return 0.5 if a == b else float(a < b)


@dataclass(frozen=True)
class Actions:
    """Share of frames at which the film made with the true control is nearer to the reference of that control."""

    name: str = "actions"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        rng = np.random.Generator(np.random.Philox(key=[bench.seed, sum(scene.prompt.encode())]))
        true, random = head_motion(rng), head_motion(rng)
        films = {control: self.film(bench, scene, look) for control, look in (("true", true), ("random", random))}
        film = films["true"]
        found: dict[str, list[float]] = {studio.name: [] for studio in bench.studios}
        found |= {"again": [], "plain": []}
        for frame in FRAMES:
            wanted = film["reference"][frame]
            for name in found:
                other = films["random"]["reference" if name == "again" else name][frame]
                found[name].append(nearer(film[name][frame], other, wanted))
        return {"prompt": scene.prompt} | found

    def film(self, bench: Bench, scene: Scene, look: Callable[[int], Look]) -> dict[str, dict[int, Picture]]:
        """Pictures at `FRAMES` by studio, of the plain guide, and of two sample paths of the reference."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        made: dict[str, dict[int, Picture]] = {}
        for moment in play.moments((frame, look(frame) if frame else STRAIGHT) for frame in range(LAST + 1)):
            painted = takes.paint(moment)
            if moment.frame in FRAMES:
                one, other = play.halves(moment.state, moment.camera)
                known = {"plain": plain(moment.guide), "reference": shown(one), "again": shown(other)}
                for name, picture in {**painted, **known}.items():
                    made.setdefault(name, {})[moment.frame] = picture
        return made

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The floor is chance: a film that does not listen is as near with either control."""
        share = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "prompt"}
        return [
            Line(what="action following", studio=name, value=share[name], floor=0.5, ceiling=share["again"], least=0.9)
            for name in (studio.name for studio in bench.studios)
        ] + [Line(what="action following", studio="plain guide", value=share["plain"], floor=0.5)]
