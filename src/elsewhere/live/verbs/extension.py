"""`extend`: what comes after a clip, and what was before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.calculated import played
from elsewhere.live.film import film_frames, read_prompt
from elsewhere.live.options import Options
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip
from elsewhere.live.reel import Darkroom, Plan, Progress, check_memory, eight_bits, planned, silent
from elsewhere.live.verbs.animation import easing, project
from elsewhere.live.verbs.work import Source, Work, check_length, dreamt, joint, psnr_db, take_clip
from elsewhere.scene import Scene

EVALUATIONS = 4
KNOWN = 8
"""Frames of the clip that the new ones see."""
SAME_DB = 28.0
"""A clip is the film that it says it is when frames made again are this near."""


def extend(
    source: Source,
    *,
    forward: float = 0.0,
    backward: float = 0.0,
    prompt: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Work:
    """A clip (a path or `Clip`) with `forward` seconds after it and `backward` seconds before it.

    A film that was made here is played again from its seed: forward, what comes is what would have come. Backward, its
    state is mirrored in time. For another clip a prompt must say what world goes on under its last picture (and
    backward, in reverse, under its first). ValueError names what is wrong.
    """
    if forward == 0.0 and backward == 0.0:
        raise ValueError("forward or backward must be more than 0 seconds; got neither. Try --forward 2")
    for name, value in (("forward", forward), ("backward", backward)):
        if value != 0.0:
            check_length(value, 24, name)
    clip = take_clip(source, None, lambda: progress("opening", 0, 1))
    ahead = check_length(forward, clip.fps, "forward") if forward else 0
    behind = check_length(backward, clip.fps, "backward") if backward else 0
    if clip.origin is not None:
        return _own(clip, clip.origin, ahead, behind, prompt, seed, progress)
    return _foreign(clip, ahead, behind, prompt, seed, progress)


def _own(
    clip: Clip, origin: Origin, ahead: int, behind: int, prompt: str | None, seed: int, progress: Progress
) -> Work:
    notes = [*clip.notes]
    if prompt is not None:
        notes.append("this clip was made here and its own world goes on: the prompt is not used (see `edit`)")
    frames, count = clip.frames, len(clip.frames)
    exact = False
    dream = dreamt(origin.options)
    if origin.exact and origin.first == 0:
        again = _again(origin, clip, ahead, progress)
        exact = again is not None
        frames = clip.frames if again is None else again
    if exact:
        notes.append("this clip was made here: played again from its seed, and on")
    if dream and (behind or not exact):
        return _foreign(replace(clip, origin=None), ahead, behind, prompt or origin.scene.prompt, seed, progress)
    if (ahead and not exact) or behind:
        frames = _in_its_world(clip, origin, frames, 0 if exact else ahead, behind, progress)
        notes.append("made here: its calculated world goes on, its pictures are generated beside those that are known")
    measures: dict[str, float] = {}
    if ahead:
        measures |= joint(frames, behind + count, "forward_joint")
    if behind:
        measures |= joint(frames, behind, "backward_joint")
    made = replace(origin, first=origin.first - behind, frames=len(frames), exact=exact and not behind)
    return Work(
        frames=frames, fps=clip.fps, grounded=not dream, origin=made, notes=tuple(notes),
        measures=measures,
    )  # fmt: skip


def _again(origin: Origin, clip: Clip, ahead: int, progress: Progress) -> NDArray[np.uint8] | None:
    """The same film from its seed, `ahead` frames longer; None where it is not the clip's."""
    count = len(clip.frames)
    made = []
    for index, frame in enumerate(film_frames(origin.scene, origin.options, count + ahead)):
        progress("generating", index, count + ahead)
        if index < count and psnr_db(frame.rgb, clip.frames[index]) < SAME_DB:
            return None
        made.append(frame.rgb)
    return np.stack(made)


def _in_its_world(
    clip: Clip, origin: Origin, frames: NDArray[np.uint8], ahead: int, behind: int, progress: Progress
) -> NDArray[np.uint8]:
    """`frames` with generated ones before and after them."""
    plain = origin.options.mode == "calculated"
    options = replace(origin.options, mode="grounded")
    check_memory(max(ahead, behind) + KNOWN, options.width, options.height, "forward and backward")
    room = Darkroom(options.width, options.height, options.seed, progress)
    kept = len(clip.frames)
    whole = frames
    if behind:
        after = frames[:KNOWN]
        around = world_plans(origin.scene, options, origin.first - behind, origin.first + len(after), progress)
        new = _beside(room, around[::-1], after[::-1], plain, reverse=True)[::-1]
        whole = np.concatenate([new, whole])
    if ahead:
        before = frames[-KNOWN:]
        first = origin.first + kept - len(before)
        around = world_plans(origin.scene, options, first, origin.first + kept + ahead, progress)
        whole = np.concatenate([whole, _beside(room, around, before, plain)])
    return whole


def _beside(
    room: Darkroom, plans: list[Plan], known: NDArray[np.uint8], plain: bool, *, reverse: bool = False
) -> NDArray[np.uint8]:
    """Frames for the plans behind those of the `known` pictures. In reverse, time is counted backward, as the network
    has only ever seen it run forward. `plain`: the guide's own light, as in a film without a network."""
    if plain:
        return np.stack([eight_bits(plan.planes[..., :3].astype(np.float32)) for plan in plans[len(known) :]])
    if reverse:
        plans = [replace(plan, position=plans[0].position + plans[0].position - plan.position) for plan in plans]
    count = len(known)
    latents = room.encode(plans[:count], known)
    begun = np.concatenate([latents, np.repeat(latents[-1:], len(plans) - count, axis=0)])
    made = room.denoise(plans, begun, easing(len(plans), known=count), evaluations=EVALUATIONS)
    return room.develop(plans[count:], made[count:])


def world_plans(scene: Scene, options: Options, first: int, last: int, progress: Progress) -> list[Plan]:
    """Plans of a world's frames from `first` up to, not with, `last`; those before 0 are mirrored in time."""
    found = []
    for index, moment in enumerate(played(scene, options, first, last)):
        progress("calculating", index, last - first)
        found.append(planned(moment))
    return found


def _foreign(clip: Clip, ahead: int, behind: int, prompt: str | None, seed: int, progress: Progress) -> Work:
    if prompt is None:
        raise ValueError(
            "prompt must be given for a clip that was not made here: it says what world goes on. "
            "Try --prompt 'a sailboat on the open sea'"
        )
    height, width = clip.frames.shape[1:3]
    check_memory(max(ahead, behind) + 1, width, height, "forward and backward")
    options = Options(width=width, height=height, fps=clip.fps, seed=seed)
    scene = read_prompt(prompt, seed).scene
    room = Darkroom(width, height, seed, progress)
    frames = clip.frames
    measures: dict[str, float] = {}
    if behind:
        new, _ = project(clip.frames[0], scene, options, behind + 1, room)
        frames = np.concatenate([new[:0:-1], frames])
    if ahead:
        new, _ = project(clip.frames[-1], scene, options, ahead + 1, room)
        frames = np.concatenate([frames, new[1:]])
        measures |= joint(frames, behind + len(clip.frames), "forward_joint")
    if behind:
        measures |= joint(frames, behind, "backward_joint")
    note = "a clip from elsewhere: its outermost picture moves as the prompt's world does; its own motion is not known"
    return Work(frames=frames, fps=clip.fps, grounded=False, notes=(*clip.notes, note), measures=measures)
