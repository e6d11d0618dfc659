"""What changes from picture to picture although nothing moved there: flicker, after the exact motion is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.measures import luminance
from elsewhere.judge.play import STRAIGHT, Moment, Takes, plain, shown
from elsewhere.render import Guide
from elsewhere.scene import Scene

PAIRS = ((9, 10), (15, 16))


def carried(image: NDArray[np.float64], motion: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """An earlier (H, W) image at where its surfaces are now, and where that is known.

    `motion` (H, W, 2) is now minus before, in pixels, x right and y down; bilinear between pixels.
    """
    height, width = image.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x - motion[..., 0], y - motion[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    u, v = x - left, y - top
    upper = (1 - u) * image[top, left] + u * image[top, left + 1]
    lower = (1 - u) * image[top + 1, left] + u * image[top + 1, left + 1]
    return (1 - v) * upper + v * lower, inside


def same_surface(before: Guide, now: Guide) -> NDArray[np.bool_]:
    """(H, W) pixels whose surface was in sight before: instance and material are the same where it came from."""
    height, width = now.depth.shape
    y, x = np.mgrid[0:height, 0:width]
    x = np.rint(x - now.motion[..., 0]).astype(int).clip(0, width - 1)
    y = np.rint(y - now.motion[..., 1]).astype(int).clip(0, height - 1)
    same = (before.instance[y, x] == now.instance) & (before.material[y, x] == now.material)
    return np.asarray(same & (now.instance >= 0), np.bool_)


def change(
    before: NDArray[np.floating], now: NDArray[np.floating], one: Guide, other: Guide
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(H, W) change of luminance that motion does not explain, and where it is known."""
    moved, inside = carried(luminance(before), other.motion)  # type: ignore[arg-type]
    return luminance(now) - moved, inside & same_surface(one, other)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Flicker:
    """Root mean square of unexplained change, over that of the reference: 1 is the world's own glitter."""

    name: str = "flicker"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """By film, the mean square of its unexplained change; "true" is that of the reference without its noise."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        wanted = {frame for pair in PAIRS for frame in pair}
        kept: dict[int, tuple[Moment, dict[str, Any]]] = {}
        found: dict[str, list[float]] = {}
        for moment in play.moments((frame, STRAIGHT) for frame in range(max(wanted) + 1)):
            painted = takes.paint(moment)
            if moment.frame not in wanted:
                continue
            one, other = (shown(half) for half in play.halves(moment.state, moment.camera))
            kept[moment.frame] = moment, {**painted, "plain": plain(moment.guide), "one": one, "other": other}
        for first, second in PAIRS:
            (before, early), (now, late) = kept[first], kept[second]
            changes = {name: change(early[name], late[name], before.guide, now.guide) for name in late}
            where = next(iter(changes.values()))[1]
            if not where.any():
                continue
            for name, (values, _) in changes.items():
                found.setdefault(name, []).append(float((values[where] ** 2).mean()))
            # Noise of two sample paths is independent: the mean of their product is the world's own change.
            own = float((changes["one"][0] * changes["other"][0])[where].mean())
            found.setdefault("true", []).append(own)
        return {"prompt": scene.prompt} | found

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The ceiling is the reference itself; a noisy half of it says how much its noise would add."""
        names = sorted({name for row in rows for name in row if name != "prompt"})
        size = {name: np.sqrt(max(0.0, np.mean([v for row in rows for v in row.get(name, [])]))) for name in names}
        lines = []
        for studio in (*(studio.name for studio in bench.studios), "plain", "one"):
            label = "noisy half of reference" if studio == "one" else studio
            ratio = float(size[studio] / max(size["true"], 1e-9))
            lines.append(Line(what="flicker over the reference's", studio=label, value=ratio, ceiling=1.0))
        own = float(size["true"])
        return [*lines, Line(what="the reference's own flicker, RMS of luma", studio="reference", value=own)]
