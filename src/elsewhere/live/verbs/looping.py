"""`loop`: a film whose last frame is followed by its first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.calculated import Calculated, closed
from elsewhere.live.carry import apart, dissolve, shifted, smooth_noise
from elsewhere.live.film import read_prompt
from elsewhere.live.options import Options, read_size
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip
from elsewhere.live.reel import Darkroom, Plan, Progress, check_memory, eight_bits, picture_planes, planned, silent
from elsewhere.live.verbs.work import Source, Work, check_length, ordinary, steps_db, take_clip, world_of
from elsewhere.scene import Scene, camera_at

EVALUATIONS = 4
LEVEL = 0.8
"""Noise level from which a foreign clip's overlap is made again."""
SWAY = 0.5
"""Share of the shot's own way that a loop's camera goes, and comes back."""
LEAST = 8
SECONDS_LEAST = 0.5


def loop(
    source: Source | None = None,
    *,
    prompt: str | None = None,
    seconds: float = 4.0,
    fps: int = 24,
    size: int | str | tuple[int, int] = 128,
    seed: int = 0,
    camera: str | None = None,
    progress: Progress = silent,
) -> Work:
    """A loop of `prompt`, or of a clip (a path or `Clip`).

    A prompt's world is made periodic: swell, ripples and clouds repeat, what drifts is held, the camera comes back.
    So is the world of a clip that was made here. Another clip's end is blended into its beginning, noised part-way and
    made again; it becomes shorter by the overlap. ValueError names what is wrong.
    """
    if (source is None) == (prompt is None):
        raise ValueError("either a clip or a prompt must be given; got " + ("neither" if prompt is None else "both"))
    if prompt is not None:
        width, height = read_size(size)
        options = Options(width=width, height=height, fps=fps, seed=seed)
        count = check_length(seconds, fps)
        return _world(read_prompt(prompt, seed, camera).scene, options, count, (), progress)
    assert source is not None
    clip = take_clip(source, None, lambda: progress("opening", 0, 1), least=LEAST)
    origin = world_of(clip)
    if origin is not None:
        options = replace(origin.options, mode="grounded", steps=1)
        note = "this clip was made here: its world is made periodic and played again"
        return _world(origin.scene, options, len(clip.frames), (*clip.notes, note), progress)
    return _foreign(clip, seed, progress)


def _world(scene: Scene, options: Options, count: int, notes: tuple[str, ...], progress: Progress) -> Work:
    if count < max(LEAST, SECONDS_LEAST * options.fps):
        least = max(LEAST / options.fps, SECONDS_LEAST)
        raise ValueError(f"seconds must be at least {least:g} for a loop; got {count / options.fps:g}")
    check_memory(count, options.width, options.height)
    # What happens once cannot happen again and again.
    calculated = Calculated(replace(scene, events=()), options, period=count / options.fps)
    plans = []
    for index, moment in enumerate(closed(calculated, count, SWAY)):
        progress("calculating", index, count)
        plans.append(planned(moment, 24.0 * index / options.fps))
    room = Darkroom(options.width, options.height, options.seed, progress)
    start = np.zeros(count)
    latents = room.denoise(plans, room.noises(count, 0), start, evaluations=EVALUATIONS, ring=True)
    frames = room.develop(plans, latents)
    origin = Origin(scene=scene, options=options, frames=count, exact=False)
    return Work(frames=frames, fps=options.fps, grounded=True, origin=origin, notes=notes, measures=seam(frames))


def _foreign(clip: Clip, seed: int, progress: Progress) -> Work:
    count = len(clip.frames)
    overlap = max(2, min(count // 3, round(0.5 * clip.fps)))
    height, width = clip.frames.shape[1:3]
    check_memory(count, width, height)
    shares = (np.arange(overlap, dtype=np.float32) + 1.0) / (overlap + 1.0)
    tail, head = clip.frames[count - overlap :].astype(np.float32), clip.frames[:overlap].astype(np.float32)
    way = np.median([apart(a, b) for a, b in zip(tail, head, strict=True)], axis=0)
    order = smooth_noise(height, width, seed)
    mixed = []
    for a, b, share in zip(tail, head, shares, strict=True):
        # Place by place, because the mean of two textures is none.
        old, new = shifted(a, b, float(share), way)
        mixed.append(old + dissolve(float(share), order)[..., None] * (new - old))
    whole = np.concatenate([clip.frames[overlap : count - overlap], np.rint(np.stack(mixed)).astype(np.uint8)])
    plans = picture_plans(whole, clip.fps)
    room = Darkroom(width, height, seed, progress)
    coded = room.encode(plans, whole)
    start = np.ones(len(whole))
    start[len(whole) - overlap :] = LEVEL
    latents = room.denoise(plans, coded, start, evaluations=EVALUATIONS, ring=True)
    frames, late = whole.copy(), slice(len(whole) - overlap, len(whole))
    made, again = (room.develop(plans[late], z[late]) for z in (latents, coded))
    lost = whole[late].astype(np.float32) - again
    frames[late] = eight_bits(((made + np.float32(LEVEL) * lost) / np.float32(255.0)).astype(np.float32))
    note = f"a clip from elsewhere: its last {overlap} frames are blended into its first and made again without a world"
    notes = (*clip.notes, note)
    return Work(frames=frames, fps=clip.fps, grounded=False, notes=notes, measures=seam(frames))


def picture_plans(frames: NDArray[np.uint8], fps: int) -> list[Plan]:
    """Plans of pictures of which nothing else is known: each its own guide, seen by a camera that stands still."""
    height, width = frames.shape[1:3]
    scene = Scene(prompt="", environment="open sea", bodies=())
    camera = camera_at(scene, 0.0, width, height)
    return [
        Plan(planes=picture_planes(picture), camera=camera, position=24.0 * index / fps, scene=scene)
        for index, picture in enumerate(frames)
    ]


def seam(frames: NDArray[np.uint8]) -> dict[str, float]:
    """The step from the last frame to the first, beside the film's other steps and those next to it."""
    steps = steps_db(frames, ring=True)
    return {"seam_db": round(float(steps[-1]), 2), **ordinary(steps[:-1])}
