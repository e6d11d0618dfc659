"""What each verb on pictures and clips reaches, in numbers and pictures: python benchmarks/films.py [--quick]

Writes benchmarks/results/films.json and, with --pictures, the contact sheets of docs/films.md. PSNR in dB throughout; a
step is the PSNR between a frame and the next, so that a larger one is smoother. Every film is made by the shipped
weights from its prompt and seed; "foreign" are the same films without what they say of themselves.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.film import generate
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip
from elsewhere.live.sheet import contact_sheet, spread
from elsewhere.live.verbs import Work, animate, connect, edit, extend, loop, still
from elsewhere.live.verbs.work import psnr_db, steps_db
from elsewhere.live.writer import write_picture

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "films.json"
PICTURES = ROOT / "docs" / "pictures"
NOON = "a red sailboat sailing next to a lighthouse on the open sea at noon"
SUNSET = "a white sailboat sailing next to a lighthouse on the open sea at sunset"
COFFEE = "two pirate ships battling each other as they sail inside a cup of coffee"
PROMPTS = (NOON, COFFEE)
SHOWN = {
    *("films-loop", "films-own-backward", "films-own-edit-0.75", "films-foreign-edit-0.75", "films-foreign-image"),
    *("films-connect-same", "films-connect-other"),
}
"""Contact sheets that docs/films.md shows."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def own(prompt: str, seconds: float, size: int) -> Clip:
    """A film of our own as a clip that says where it comes from."""
    film = generate(prompt, seconds=seconds, size=size)
    origin = Origin(scene=film.scene, options=film.options, frames=len(film.frames))
    return Clip(frames=film.frames, fps=film.fps, origin=origin)


def foreign(clip: Clip) -> Clip:
    return replace(clip, origin=None)


class Table:
    """Rows of numbers, printed as they come, and sheets of some."""

    def __init__(self, pictures: bool) -> None:
        self.pictures = pictures
        self.rows: list[dict[str, Any]] = []

    def add(self, verb: str, source: str, prompt: str, made: Work, seconds: float, picture: str | None = None) -> None:
        frames = len(made.frames)
        row = {"verb": verb, "source": source, "prompt": prompt, "frames": frames, **made.measures}
        row |= {"seconds": round(seconds, 2)}
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        if self.pictures and picture in SHOWN:
            shown = [made.frames[i] for i in spread(frames, 12)]
            write_picture(contact_sheet(shown, 6), PICTURES / f"{picture}.jpg")


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of docs/films.md: every verb with its number, over the prompts."""
    lines = ["| verb | source | number | per prompt, dB | ordinary steps (median) |", "|---|---|---|---|---|"]
    numbers = (
        *("seam_db", "forward_joint_db", "backward_joint_db", "first_joint_db", "second_joint_db", "first_frame_db"),
        *("first_step_db", "against_what_came_db", "source_db"),
    )
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        for number in numbers:
            if number in row:
                at = f" at strength {row['strength']:g}" if "strength" in row else ""
                groups.setdefault((row["verb"], row.get("source", "own"), number + at), []).append(row)
    for (verb, source, number), found in groups.items():
        values = ", ".join(f"{row[number.split()[0]]:g}" for row in found)
        steps = ", ".join(f"{row['steps_median_db']:g}" for row in found if "steps_median_db" in row)
        lines.append(f"| {verb} | {source} | {number.replace('_db', '').replace('_', ' ')} | {values} | {steps} |")
    return "\n".join(lines)


def mean_db(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """Mean PSNR of as many frames as both have."""
    return round(float(np.mean([psnr_db(a, b) for a, b in zip(made, wanted, strict=False)])), 2)


def timed(make: Any) -> tuple[Work, float]:
    started = time.perf_counter()
    return make(), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one prompt, small and short")
    parser.add_argument("--table", action="store_true", help="print the stored results as Markdown, and make nothing")
    parser.add_argument("--pictures", action="store_true", help="write the contact sheets of docs/films.md")
    options = parser.parse_args()
    if options.table:
        print(markdown(json.loads(RESULT.read_text())["rows"]))
        return
    prompts, seconds, size = (PROMPTS[:1], 0.5, 64) if options.quick else (PROMPTS, 1.5, 128)
    table = Table(options.pictures)
    for number, prompt in enumerate(prompts):
        clip, first = own(prompt, seconds, size), number == 0
        again = generate(prompt, seconds=1.5 * seconds, size=size).frames
        for source, given in (("own", clip), ("foreign", foreign(clip))):
            name = f"films-{source}" if first else None

            def sheet(verb: str, at: str | None = name) -> str | None:
                return None if at is None else f"{at}-{verb}"

            told = None if source == "own" else prompt
            made, took = timed(lambda g=given, p=told: extend(g, forward=0.5 * seconds, prompt=p))
            after = made.frames[len(clip.frames) :]
            true = again[len(clip.frames) : len(made.frames)]
            made.measures["against_what_came_db"] = mean_db(after, true)
            table.add("extend forward", source, prompt, made, took, sheet("forward"))
            made, took = timed(lambda g=given, p=told: extend(g, backward=0.5 * seconds, prompt=p))
            table.add("extend backward", source, prompt, made, took, sheet("backward"))
            made, took = timed(lambda g=given: loop(g))
            table.add("loop", source, prompt, made, took, sheet("loop"))
            for strength in STRENGTHS:
                made, took = timed(lambda g=given, s=strength: edit(g, SUNSET, strength=s))
                made.measures["strength"] = strength
                table.add("edit", source, prompt, made, took, sheet(f"edit-{strength:g}") if strength == 0.75 else None)
            picture = replace(given, frames=given.frames[:1])
            made, took = timed(lambda g=picture, p=prompt: animate(g, p, seconds=seconds, camera="orbiting"))
            true = again[: len(made.frames)]
            made.measures["against_what_came_db"] = mean_db(made.frames, true)
            table.add("generate --image", source, prompt, made, took, sheet("image"))
        made, took = timed(lambda p=prompt: loop(prompt=p, seconds=seconds, size=size))
        table.add("loop", "prompt", prompt, made, took, "films-loop" if prompt == COFFEE else None)
        # How large the seam of a film is that nothing was done to.
        steps = steps_db(clip.frames, ring=True)
        print(json.dumps({"verb": "none", "prompt": prompt, "seam_db": round(float(steps[-1]), 2)}), flush=True)
        table.rows.append({"verb": "none", "prompt": prompt, "seam_db": round(float(steps[-1]), 2)})
    clips = {prompt: own(prompt, seconds, size) for prompt in (NOON, SUNSET, COFFEE)}
    for kind, second in (("same things", SUNSET), ("other things", COFFEE)):
        made, took = timed(lambda s=second: connect(clips[NOON], clips[s], seconds=0.75 * seconds))
        table.add("connect", f"own, {kind}", second, made, took, f"films-connect-{kind.split()[0]}")
    made, took = timed(lambda: connect(foreign(clips[NOON]), foreign(clips[COFFEE]), seconds=0.75 * seconds))
    table.add("connect", "foreign", COFFEE, made, took, "films-connect-foreign")
    if not options.quick:
        wide = still(COFFEE, size=(320, 192), at=1.0)
        if options.pictures:
            write_picture(wide.frames[0], PICTURES / "films-still.jpg")
        RESULT.write_text(json.dumps({"seconds": seconds, "size": size, "rows": table.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
