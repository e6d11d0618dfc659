"""`generate --image`: a picture begins to move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.calculated import Calculated, Moment
from elsewhere.live.carry import Way, bent, blurred, detail_weight, moved, sampled, start_map
from elsewhere.live.film import read_prompt
from elsewhere.live.options import Options, read_size
from elsewhere.live.origin import Origin
from elsewhere.live.reel import Darkroom, Plan, Progress, check_memory, eight_bits, picture_planes, planned, silent
from elsewhere.live.verbs.work import Source, Work, check_length, joint, psnr_db, take_picture, world_of
from elsewhere.model.planes import depth_to_disparity, scene_scale
from elsewhere.render import Guide
from elsewhere.scene import Scene

EVALUATIONS = 4
NEAR = 0.6
"""Level at which the frame beside a known one begins, with the known one's latents; it falls with distance."""
FAR = 8.0
"""Frames in which that level falls to 1/e."""


def animate(
    image: Source,
    prompt: str,
    *,
    seconds: float = 4.0,
    fps: int = 24,
    size: int | str | tuple[int, int] | None = None,
    seed: int = 0,
    camera: str | None = None,
    progress: Progress = silent,
) -> Work:
    """A film that begins with a picture (a path or a `Clip` of one frame).

    A picture that was made here goes on in its own world. Any other is laid over the world that `prompt` calculates,
    and moves as that does: with its camera, its things and its waves. ValueError names what is wrong.
    """
    wanted = None if size is None else read_size(size)
    options = Options(fps=fps, seed=seed)
    count = check_length(seconds, fps)
    progress("opening", 0, 1)
    picture = take_picture(image, wanted)
    height, width = picture.frames.shape[1:3]
    check_memory(count, width, height)
    origin = world_of(picture)
    if origin is not None:
        return _own(picture.frames[0], origin, count, picture.notes, progress)
    options = replace(options, width=width, height=height)
    scene = read_prompt(prompt, seed, camera).scene
    room = Darkroom(width, height, seed, progress)
    frames, again = project(picture.frames[0], scene, options, count, room)
    note = "a picture from elsewhere: it moves as the prompt's world does, whose shapes it need not have"
    return Work(
        frames=frames,
        fps=fps,
        grounded=False,
        notes=(*picture.notes, note),
        measures={"first_frame_db": round(psnr_db(again, picture.frames[0]), 2), **_first_step(frames)},
    )


def _own(picture: NDArray[np.uint8], origin: Origin, count: int, notes: tuple[str, ...], progress: Progress) -> Work:
    """The picture's own world, from its tick on."""
    options = replace(origin.options, mode="grounded")
    calculated = Calculated(origin.scene, options)
    moments: list[Moment] = []
    guides: list[Guide] = []
    for index in range(count):
        progress("calculating", index, count)
        moment = calculated.at(origin.first + index)
        guides.append(moment.guide(moments[-1] if moments else None))
        moments.append(moment)
    plans = [planned(m, guide=g) for m, g in zip(moments, guides, strict=True)]
    room = Darkroom(options.width, options.height, options.seed, progress)
    known = room.encode(plans[:1], picture[None])
    latents = room.denoise(plans, np.repeat(known, count, axis=0), easing(count), evaluations=EVALUATIONS)
    frames = room.develop(plans, latents)
    first_db = psnr_db(frames[0], picture)
    places = start_map(*picture.shape[:2])
    carried = frames.copy()
    carried[0] = picture
    for index in range(1, count):
        places = moved(places, guides[index].motion)
        carried[index] = with_detail(frames[index], picture, frames[0], places)
    note = "this picture was made here: its own world goes on"
    return Work(
        frames=carried,
        fps=options.fps,
        grounded=True,
        origin=Origin(scene=origin.scene, options=options, first=origin.first, frames=count, exact=False),
        notes=(*notes, note),
        measures={"first_frame_db": round(first_db, 2), **_first_step(carried)},
    )


def _first_step(frames: NDArray[np.uint8]) -> dict[str, float]:
    return joint(frames, 1, "first_step") if len(frames) > 2 else {}


def easing(count: int, *, known: int = 1) -> NDArray[np.float64]:
    """Levels (F,) at which frames begin, the first `known` of them known: what is near them begins near them."""
    away = np.maximum(np.arange(count) - (known - 1), 0)
    return np.where(away == 0, 1.0, NEAR * np.exp(-(away - 1) / FAR))


def with_detail(
    made: NDArray[np.uint8], picture: NDArray[np.uint8], coded: NDArray[np.uint8], places: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """A frame with what a known picture shows and its coded form does not, where both still show the same."""
    now, then = made.astype(np.float32) / 255.0, coded.astype(np.float32) / 255.0
    detail = picture.astype(np.float32) / 255.0 - then
    weight = detail_weight(now, sampled(then, places))
    return eight_bits(now + weight * sampled(detail, places))


def project(
    picture: NDArray[np.uint8], scene: Scene, options: Options, count: int, room: Darkroom
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`count` frames of a picture laid over a calculated world, itself first; and how the networks show it."""
    calculated = Calculated(scene, options)
    scale = scene_scale(scene)
    water = len(scene.bodies) + 1
    plain = picture.astype(np.float32) / 255.0
    places, way = start_map(*picture.shape[:2]), Way(*picture.shape[:2])
    plans: list[Plan] = []
    ways: list[NDArray[np.float32]] = []
    first = previous = None
    for index in range(count):
        room.progress("calculating", index, count)
        moment = calculated.at(index)
        guide = moment.guide(previous)
        if first is None:
            first = guide
        else:
            places = way.go(guide.motion)
        ways.append(places + blurred(bent(guide, first, water), 1.0))
        shown = eight_bits(sampled(plain, ways[-1])) if index else picture
        planes = picture_planes(shown, depth_to_disparity(guide.depth, scale))
        plans.append(Plan(planes=planes, camera=moment.camera, position=24.0 * index / options.fps, scene=scene))
        previous = moment
    known = room.encode(plans[:1], picture[None])
    latents = room.denoise(plans, np.repeat(known, count, axis=0), easing(count), evaluations=EVALUATIONS)
    frames = room.develop(plans, latents)
    again = frames[0].copy()
    for index in range(1, count):
        frames[index] = with_detail(frames[index], picture, again, ways[index])
    frames[0] = picture
    return frames, again
