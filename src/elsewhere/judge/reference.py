"""Generated pictures against path-traced pictures of the same states, on scenes that training never saw.

The floor is the plainly lit guide of the same state. The ceiling is what a perfect film would score: references have
noise, which is known from their two halves, and which is also taken out of errors and textures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.measure import Bench, Line, draw, mean, row_key
from elsewhere.judge.measures import blur, edge_f1, luminance, psnr, ssim, texture_energy
from elsewhere.judge.play import STRAIGHT, Picture, Takes, as_float, plain, shown
from elsewhere.scene import Scene

FRAMES = (4, 10, 16)
EARLY = 10
LEAST_ENERGY = 1e-6
"""Texture of so little energy is a plain surface: a ratio to it says nothing."""


def decibel(error: float) -> float:
    """PSNR of a mean squared error for a peak of 1; 99 where it is none."""
    return 99.0 if error <= 0.0 else min(99.0, -10.0 * float(np.log10(error)))


def error_without_noise(made: Picture, one: Picture, other: Picture) -> float:
    """Mean squared error against a reference of which there are two noisy versions: their noise is independent, so
    that the mean product of both differences has none of it. Below 0 is possible where the error is nearly none."""
    a, b = (np.asarray(made, np.float64) - half for half in (one, other))
    return float(np.mean(a * b))


def texture_without_noise(one: Picture, other: Picture) -> float:
    """`texture_energy` of a reference of which there are two noisy versions, without their noise."""
    fine = [image - blur(image, 1.5) for image in (luminance(one), luminance(other))]
    return float(np.mean(fine[0] * fine[1]))


def score(made: Picture, wanted: Picture, one: Picture, other: Picture) -> dict[str, float | None]:
    """All measures of one picture against a reference and its halves. `texture` is a ratio: 1 is right."""
    energy = texture_without_noise(one, other)
    return {
        "psnr": psnr(made, wanted),
        "psnr_clean": decibel(error_without_noise(made, one, other)),
        "ssim": ssim(made, wanted),
        "edge_f1": edge_f1(made, wanted),
        "texture": texture_energy(made) / energy if energy > LEAST_ENERGY else None,
        "energy": texture_energy(made),
        "energy_wanted": max(energy, 0.0),
    }


@dataclass(frozen=True, kw_only=True)
class Reference:
    """PSNR, SSIM, edges and texture at three frames; the first `long` scenes also at frame `late`, for drift."""

    name: str = "reference"
    long: int = 7
    late: int = 1000

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """{"scores": by film, then by frame}; keeps the pictures of the last short frame for a sheet."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        far = scene.prompt in {other.prompt for other in self.scenes(bench)[: self.long]}
        wanted_frames = {*FRAMES, EARLY} | ({self.late} if far else set())
        found: dict[str, dict[str, Any]] = {}
        for moment in play.moments((frame, STRAIGHT) for frame in range(max(wanted_frames) + 1)):
            painted = takes.paint(moment)
            if moment.frame not in wanted_frames:
                continue
            linear = play.halves(moment.state, moment.camera)
            one, other = (shown(half) for half in linear)
            wanted = shown(0.5 * (linear[0] + linear[1]))
            painted["plain"] = plain(moment.guide)
            for name, picture in painted.items():
                found.setdefault(name, {})[str(moment.frame)] = score(picture, wanted, one, other)
            noise = float(np.mean((np.asarray(one, np.float64) - other) ** 2)) / 4.0
            found.setdefault("perfect", {})[str(moment.frame)] = {
                "psnr": decibel(noise),
                "ssim": ssim(one, other),
                "edge_f1": edge_f1(one, other),
                "texture": 1.0,
            }
            if moment.frame == max(FRAMES):
                strip = np.stack([*(painted[studio] for studio in takes.painters), painted["plain"], wanted])
                bench.library.array(self._sheet_key(bench, scene), lambda: np.rint(255.0 * strip).astype(np.uint8))  # noqa: B023
        return {"prompt": scene.prompt, "environment": scene.environment, "scores": found}

    def _sheet_key(self, bench: Bench, scene: Scene) -> tuple[object, ...]:
        return ("sheet", *row_key(self, bench, scene))

    def strip(self, bench: Bench, scene: Scene) -> NDArray[np.float32]:
        """(studios + 2, H, W, 3) of a judged scene: what studios made, the plain guide, the reference."""

        def missing() -> NDArray[np.uint8]:
            raise ValueError(f"the pictures of {scene.prompt!r} are not in the cache; measure with another --cache")

        return as_float(bench.library.array(self._sheet_key(bench, scene), missing))

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """Goals are those of 128 × 128 pixels below 192, and of 256 × 256 from there on."""
        lines = []
        gain = 5.0 if bench.size >= 192 else 4.0
        places = sorted({row["environment"] for row in rows})
        base, best = averages(rows, "plain"), averages(rows, "perfect")
        for studio in (studio.name for studio in bench.studios):
            grounded = studio == "grounded"
            own = averages(rows, studio)
            above = own["psnr"] - base["psnr"]
            what, most = "PSNR above the plain guide", best["psnr"] - base["psnr"]
            least = gain if grounded else None
            lines.append(Line(what=what, studio=studio, value=above, floor=0.0, ceiling=most, least=least, unit=" dB"))
            value = own["psnr_clean"] - base["psnr_clean"]
            what = "the same, noise of the reference taken out"
            lines.append(Line(what=what, studio=studio, value=value, floor=0.0, unit=" dB"))
            for name, label, unit in (("psnr", "PSNR", " dB"), ("ssim", "SSIM", ""), ("edge_f1", "edge F1", "")):
                least = base[name] if grounded and name != "psnr" else None
                bounds: dict[str, Any] = {"floor": base[name], "ceiling": best[name], "least": least}
                lines.append(Line(what=label, studio=studio, value=own[name], unit=unit, **bounds))
            for place in places:
                here = [row for row in rows if row["environment"] == place]
                bound: dict[str, Any] = {"least": 0.85, "most": 1.15} if grounded else {}
                bound |= {"floor": texture(here, "plain"), "ceiling": 1.0}
                lines.append(Line(what=f"texture energy, {place}", studio=studio, value=texture(here, studio), **bound))
            if lost := drift(rows, studio, self.late):
                what, most_lost = f"drift, frame {EARLY} → {self.late}", 0.5 if grounded else None
                gain_lost, psnr_lost, floor = lost["gain_db"], lost["psnr_db"], lost["plain_db"]
                lines.append(Line(what=f"{what}, of gain", studio=studio, value=gain_lost, most=most_lost, unit=" dB"))
                lines.append(Line(what=f"{what}, of PSNR", studio=studio, value=psnr_lost, floor=floor, unit=" dB"))
        return lines


def scores_of(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """All scores of a film at `FRAMES`."""
    return [row["scores"][name][str(frame)] for row in rows for frame in FRAMES]


def averages(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Mean of every measure."""
    found = scores_of(rows, name)
    return {key: round(mean([entry[key] for entry in found]) or 0.0, 4) for key in found[0]}


def texture(rows: list[dict[str, Any]], name: str) -> float | None:
    """Texture energy over that of the reference, energies added up first: a bare picture cannot outweigh the rest."""
    found = scores_of(rows, name)
    wanted = sum(entry["energy_wanted"] for entry in found)
    return sum(entry["energy"] for entry in found) / wanted if wanted > LEAST_ENERGY else None


def drift(rows: list[dict[str, Any]], name: str, late: int) -> dict[str, float] | None:
    """PSNR early minus late; `gain_db` takes the floor of each frame away first, since the scene itself changes."""
    pairs = [row["scores"] for row in rows if str(late) in row["scores"][name]]
    if not pairs:
        return None

    def lost(film: str) -> float:
        return float(np.mean([both[film][str(EARLY)]["psnr"] - both[film][str(late)]["psnr"] for both in pairs]))

    mine, base = lost(name), lost("plain")
    return {
        "scenes": len(pairs),
        "psnr_db": round(mine, 3),
        "plain_db": round(base, 3),
        "gain_db": round(mine - base, 3),
    }


def details(rows: list[dict[str, Any]], studios: list[str], late: int) -> dict[str, Any]:
    """Means over all scores and per environment, and the drift, by film, as plain JSON."""
    places = sorted({row["environment"] for row in rows})
    out: dict[str, Any] = {}
    for name in (*studios, "plain", "perfect"):
        by_place = {place: averages([r for r in rows if r["environment"] == place], name) for place in places}
        out[name] = {"all": averages(rows, name), "environments": by_place}
        out[name]["drift"] = drift(rows, name, late)
    return out
