"""`still`: one picture of a world."""

from __future__ import annotations

from elsewhere.live.calculated import Calculated
from elsewhere.live.film import read_prompt
from elsewhere.live.options import Options, read_size
from elsewhere.live.origin import Origin
from elsewhere.live.reel import MODEL_FPS, Progress, silent
from elsewhere.live.session import open_painter
from elsewhere.live.verbs.work import Work, check_length


def still(
    prompt: str,
    *,
    size: int | str | tuple[int, int] = 256,
    seed: int = 0,
    at: float = 0.0,
    mode: str = "grounded",
    camera: str | None = None,
    steps: int = 4,
    progress: Progress = silent,
) -> Work:
    """One picture of what `prompt` says, `at` seconds after its world begins.

    `size` is the side in pixels or (width, height), multiples of 16 from 64 to 512. ValueError names what is wrong.
    """
    width, height = read_size(size)
    options = Options(mode=mode, width=width, height=height, seed=seed, steps=steps)
    index = 0 if at == 0.0 else check_length(at, options.fps, "at")
    parsed = read_prompt(prompt, seed, camera)
    painter = open_painter(parsed.scene, options)
    calculated = Calculated(parsed.scene, options)
    for reached in range(0, index, options.fps):
        progress("calculating", reached, index)
        calculated.at(reached)
    moment = calculated.at(index)
    progress("painting", 0, 1)
    position = MODEL_FPS * moment.state.tick / 240.0
    rgb, _ = painter.frame(moment.guide(), moment.stage, moment.camera, position=position)
    notes = tuple(f"{word!r} is not known and was left out; the nearest is {near!r}" for word, near in parsed.unknown)
    origin = Origin(scene=parsed.scene, options=options, first=index)
    return Work(frames=rgb[None], fps=options.fps, grounded=mode == "grounded", origin=origin, notes=notes)
