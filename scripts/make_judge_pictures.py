"""Makes the pictures of docs/judge.md: what measures look at, from the shipped weights.

python scripts/make_judge_pictures.py docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from elsewhere.judge import Library, Studio
from elsewhere.judge.actions import LAST
from elsewhere.judge.flicker import change
from elsewhere.judge.otherwise import drawing, stage_without, swapped, turned
from elsewhere.judge.play import Look, Moment, Play, Takes, shown
from elsewhere.model import Generator
from elsewhere.scene import parse

PROMPT = "a pirate ship sailing and a yellow ball on a lake in the afternoon, clear"
SIZE, SEED = 128, 5
ZOOM = 1.5
GAP = 6


def strip(pictures: list[tuple[str, np.ndarray]], path: Path) -> None:
    """Pictures beside each other, each with its words above."""
    side = round(SIZE * ZOOM)
    image = Image.new("RGB", (len(pictures) * (side + GAP) - GAP, side + 18), "white")
    draw = ImageDraw.Draw(image)
    for number, (words, picture) in enumerate(pictures):
        left = number * (side + GAP)
        levels = np.rint(255.0 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)
        image.paste(Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC), (left, 18))
        draw.text((left + 2, 3), words, fill="black")
    image.save(path, optimize=True)
    print(path)


def studios() -> tuple[Studio, ...]:
    return tuple(Studio(mode, "", Generator.load(mode).start) for mode in ("grounded", "dream"))


def played(yaw: float) -> tuple[Play, list[tuple[Moment, dict[str, np.ndarray]]]]:
    """A film of `LAST` frames in which the head turns by `yaw`; its last two moments and their pictures."""
    play = Play(parse(PROMPT, seed=SEED).scene, seed=SEED, size=SIZE, samples=64, library=Library())
    takes = Takes(studios(), play)
    film = []
    for moment in play.moments((frame, Look(yaw=yaw * frame / LAST)) for frame in range(LAST + 1)):
        film.append((moment, takes.paint(moment)))
    return play, film[-2:]


def main(folder: Path) -> None:
    play, ((before, early), (now, late)) = played(0.0)
    scene, state, camera = play.scene, now.state, now.camera
    reference = play.reference(state, camera)
    empty = drawing(*stage_without(play, state, frozenset({0})), camera)
    strip(
        [
            ("grounded film", late["grounded"]),
            ("drawn as it is", drawing(play.stage, state, camera)),
            ("drawn without the ship", empty),
            ("drawn exchanged", drawing(play.stage, swapped(scene, state, 0, 1), camera)),
        ],
        folder / "judge-permanence.png",
    )
    angles = (-120, -60, 0, 60, 180)
    drawn = [
        (f"{a} degrees", drawing(play.stage, turned(scene, state, 0, float(np.radians(a))), camera)) for a in angles
    ]
    strip([("reference", reference), *drawn], folder / "judge-heading.png")

    def unexplained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        values, where = change(first, second, before.guide, now.guide)
        return np.repeat(np.where(where, 0.5 + 4.0 * values, 0.5)[..., None], 3, axis=-1)

    earlier = shown(play.halves(before.state, before.camera)[0])
    later = shown(play.halves(state, camera)[0])
    strip(
        [
            ("grounded film", late["grounded"]),
            ("its unexplained change x 4", unexplained(early["grounded"], late["grounded"])),
            ("reference, 32 paths", later),
            ("its change: noise, glitter", unexplained(earlier, later)),
        ],
        folder / "judge-flicker.png",
    )
    pictures = [("wanted: head turns left", None)]
    for words, yaw in (("told left", 0.35), ("told right", -0.35)):
        other, film = played(yaw)
        moment, painted = film[-1]
        if yaw > 0:
            pictures[0] = (pictures[0][0], other.reference(moment.state, moment.camera))
        pictures += [(f"{mode}, {words}", painted[mode]) for mode in ("grounded", "dream")]
    strip(pictures, folder / "judge-actions.png")  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
