"""`edit`: a clip under other words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.between import blend_scenes
from elsewhere.live.carry import dissolve, smooth_noise
from elsewhere.live.film import read_prompt
from elsewhere.live.options import Options
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip
from elsewhere.live.reel import Darkroom, Plan, Progress, check_memory, eight_bits, picture_planes, silent
from elsewhere.live.verbs.extension import world_plans
from elsewhere.live.verbs.looping import picture_plans
from elsewhere.live.verbs.work import Source, Work, check_strength, psnr_db, take_clip, world_of
from elsewhere.model.planes import PLANES
from elsewhere.scene import PromptError, Scene

EVALUATIONS = 4
DISPARITY = PLANES.index("disparity")
CONTRAST_MOST = 2.0
"""A palette spreads a picture's colours at most this much, or its inverse."""


def edit(
    source: Source, prompt: str, *, strength: float = 0.6, seed: int | None = None, progress: Progress = silent
) -> Work:
    """A clip (a path or `Clip`) made again under `prompt`: `strength` 0 is the clip, 1 is all new.

    The clip's latents are noised part-way and cleaned under the new words (Meng et al. 2022, arXiv 2108.01073). A film
    that was made here keeps its seed, its camera and what the words leave open: its scene goes `strength` of the way to
    the new one. Another clip takes on the new world's colours; beyond 0.5 its places become it, far ones first.
    ValueError names what is wrong.
    """
    check_strength(strength)
    clip = take_clip(source, None, lambda: progress("opening", 0, 1), least=1)
    height, width = clip.frames.shape[1:3]
    check_memory(len(clip.frames), width, height, "the clip")
    origin = world_of(clip)
    if origin is not None:
        return _own(clip, origin, prompt, strength, progress)
    return _foreign(clip, prompt, strength, seed or 0, progress)


def new_scene(old: Scene, prompt: str, seed: int) -> Scene:
    """What `prompt` says; words that name no thing or place are added to those of the old scene."""
    try:
        return read_prompt(prompt, seed).scene
    except PromptError:
        if not prompt.strip():
            raise
        return read_prompt(f"{old.prompt}, {prompt}", seed).scene


def _own(clip: Clip, origin: Origin, prompt: str, strength: float, progress: Progress) -> Work:
    options = replace(origin.options, mode="grounded")
    wanted = new_scene(origin.scene, prompt, options.seed)
    scene = blend_scenes(origin.scene, wanted, strength)
    last = origin.first + len(clip.frames)
    old = world_plans(origin.scene, options, origin.first, last, progress)
    new = world_plans(scene, options, origin.first, last, progress)
    frames = _again(clip, old, new, strength, options.seed, progress)
    made = Origin(scene=scene, options=options, first=origin.first, frames=len(frames), exact=False)
    note = "this clip was made here: its world is calculated again, changed as the words say"
    return Work(
        frames=frames, fps=clip.fps, grounded=True, origin=made, notes=(*clip.notes, note),
        measures=_measures(clip, frames),
    )  # fmt: skip


def _foreign(clip: Clip, prompt: str, strength: float, seed: int, progress: Progress) -> Work:
    height, width = clip.frames.shape[1:3]
    options = Options(width=width, height=height, fps=clip.fps, seed=seed)
    scene = read_prompt(prompt, seed).scene
    count = len(clip.frames)
    old = picture_plans(clip.frames, clip.fps)
    world = world_plans(scene, options, 0, count, progress)
    paint = palette(clip.frames, lit_of(world[0]), strength)
    order = 0.3 * smooth_noise(height, width, seed)
    new = []
    for picture, plan in zip(clip.frames, world, strict=True):
        own = picture_planes(paint(picture))
        mask = dissolve(max(0.0, 2.0 * strength - 1.0), plan.planes[..., DISPARITY] + order)
        new.append(replace(plan, planes=own + mask[..., None].astype(np.float16) * (plan.planes - own)))
    frames = _again(clip, old, new, strength, seed, progress)
    note = (
        "a clip from elsewhere: it takes on the new world's colours; beyond strength 0.5 its places become that world"
    )
    return Work(
        frames=frames, fps=clip.fps, grounded=strength > 0.5, notes=(*clip.notes, note),
        measures=_measures(clip, frames),
    )  # fmt: skip


def _again(
    clip: Clip, old: list[Plan], new: list[Plan], strength: float, seed: int, progress: Progress
) -> NDArray[np.uint8]:
    """The clip's latents, noised by `strength`, cleaned on other plans; what coding lost of the clip comes back by 1 −
    `strength`."""
    if strength == 0.0:
        return clip.frames.copy()
    height, width = clip.frames.shape[1:3]
    room = Darkroom(width, height, seed, progress)
    latents = room.encode(old, clip.frames)
    count = len(clip.frames)
    start = np.full(count, 1.0 - strength)
    made = room.develop(new, room.denoise(new, latents, start, evaluations=EVALUATIONS))
    coded = room.develop(old, latents)
    lost = clip.frames.astype(np.float32) - coded
    kept = np.float32((1.0 - strength) ** 2)
    return eight_bits(((made + kept * lost) / np.float32(255.0)).astype(np.float32))


def lit_of(plan: Plan) -> NDArray[np.float32]:
    """The plainly lit picture of a plan."""
    return plan.planes[..., :3].astype(np.float32)


def palette(frames: NDArray[np.uint8], wanted: NDArray[np.float32], share: float):  # type: ignore[no-untyped-def]
    """A function that gives pictures `share` of the way the colours of `wanted`: means and spreads of each channel,
    taken over the whole clip so that it does not flicker (Reinhard et al. 2001)."""
    every = frames[:: max(1, len(frames) // 16)].astype(np.float32) / 255.0
    mean, spread = every.mean(axis=(0, 1, 2)), every.std(axis=(0, 1, 2)) + 1e-3
    goal, width = wanted.mean(axis=(0, 1)), wanted.std(axis=(0, 1)) + 1e-3
    factor = np.clip(width / spread, 1.0 / CONTRAST_MOST, CONTRAST_MOST)

    def paint(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = picture.astype(np.float32) / 255.0
        turned = goal + (shown - mean) * factor
        return eight_bits(shown + np.float32(share) * (turned - shown))

    return paint


def _measures(clip: Clip, frames: NDArray[np.uint8]) -> dict[str, float]:
    found = [psnr_db(a, b) for a, b in zip(clip.frames, frames, strict=True)]
    return {"source_db": round(float(np.mean(found)), 2)}
