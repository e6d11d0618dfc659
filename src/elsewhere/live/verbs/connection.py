"""`connect`: a passage from one clip to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.between import blend_cameras, blend_scenes, blend_states, rescaled, smooth
from elsewhere.live.calculated import Moment, played
from elsewhere.live.carry import dissolve, smooth_noise
from elsewhere.live.options import Options
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip
from elsewhere.live.reel import Darkroom, Plan, Progress, check_memory, planned, silent
from elsewhere.live.verbs.extension import world_plans
from elsewhere.live.verbs.looping import picture_plans
from elsewhere.live.verbs.work import Source, Work, check_length, joint, take_clip, world_of
from elsewhere.model.planes import PLANES
from elsewhere.physics import World
from elsewhere.physics.state import Swell
from elsewhere.physics.water import GRID
from elsewhere.render import Stage
from elsewhere.scene.catalogue import ENVIRONMENTS
from elsewhere.scene.description import Scene
from elsewhere.scene.shots import subject

EVALUATIONS = 4
KNOWN = 4
"""Frames of either clip that the passage sees."""
NEAR, FAR = 0.6, 4.0
_DISPARITY = PLANES.index("disparity")


def connect(first: Source, second: Source, *, seconds: float = 2.0, seed: int = 0, progress: Progress = silent) -> Work:
    """Both clips (paths or `Clip`s) with `seconds` between them in which one becomes the other.

    Between two films that were made here both worlds go on, the second's mirrored in time, under one camera that goes
    from one to the other. Where they are the same things in the same place, hour, weather, colours and every body go
    the way between; else places change over from far to near. Other clips run back and forth into each other.
    ValueError where sizes or frame rates differ, or a clip is too short.
    """
    check_length(seconds, 24)
    a = take_clip(first, None, lambda: progress("opening", 0, 1))
    b = take_clip(second, None, lambda: progress("opening", 0, 1))
    if a.frames.shape[1:] != b.frames.shape[1:]:
        sizes = [f"{c.frames.shape[2]}x{c.frames.shape[1]}" for c in (a, b)]
        raise ValueError(
            f"clips must have one size to be connected; got {sizes[0]} and {sizes[1]}. Make one at the other's"
        )
    if a.fps != b.fps:
        raise ValueError(f"clips must have one frame rate to be connected; got {a.fps} and {b.fps} frames a second")
    count = check_length(seconds, a.fps)
    height, width = a.frames.shape[1:3]
    check_memory(3 * count + 2 * KNOWN, width, height)
    one, two = world_of(a), world_of(b)
    if one is not None and two is not None:
        middle, how = _worlds(one, len(a.frames), two, count, progress)
        before = world_plans(*_last(one, len(a.frames)), progress)
        after = world_plans(*_first(two), progress)
        grounded, note = True, f"both clips were made here: {how}"
    else:
        middle, before, after = _pictures(a, b, count, seed)
        grounded, note = False, "clips from elsewhere: they run back and forth into each other, without a world"
    seed = a.origin.options.seed if a.origin is not None else seed
    room = Darkroom(width, height, seed, progress)
    pace = 24.0 / a.fps
    plans = [replace(p, position=pace * i) for i, p in enumerate([*before, *middle, *after])]
    known = np.concatenate([a.frames[-len(before) :], b.frames[: len(after)]])
    coded = room.encode([*plans[: len(before)], *plans[len(plans) - len(after) :]], known)
    left, right = coded[: len(before)], coded[len(before) :]
    shares = np.array([smooth((k + 1) / (count + 1)) for k in range(count)], np.float32)[:, None, None]
    begun = np.concatenate([left, (1.0 - shares) * left[-1] + shares * right[0], right])
    away = np.minimum(np.arange(count), np.arange(count)[::-1])
    start = np.concatenate([np.ones(len(before)), NEAR * np.exp(-away / FAR), np.ones(len(after))])
    latents = room.denoise(plans, begun, start, evaluations=EVALUATIONS)
    inner = slice(len(before), len(before) + count)
    made = room.develop(plans[inner], latents[inner])
    frames = np.concatenate([a.frames, made, b.frames])
    measures = joint(frames, len(a.frames), "first_joint") | joint(frames, len(a.frames) + count, "second_joint")
    return Work(frames=frames, fps=a.fps, grounded=grounded, notes=(*a.notes, *b.notes, note), measures=measures)


def _last(origin: Origin, count: int) -> tuple[Scene, Options, int, int]:
    """Which frames of a film's world its last ones are."""
    end = origin.first + count
    return origin.scene, replace(origin.options, mode="grounded"), end - min(KNOWN, count), end


def _first(origin: Origin) -> tuple[Scene, Options, int, int]:
    first = origin.first
    return origin.scene, replace(origin.options, mode="grounded"), first, first + min(KNOWN, origin.frames)


def _worlds(a: Origin, length: int, b: Origin, count: int, progress: Progress) -> tuple[list[Plan], str]:
    """Plans of the passage between two calculated worlds, and how it goes."""
    end = a.first + length
    progress("calculating", 0, 1)
    going = played(a.scene, replace(a.options, mode="grounded"), end, end + count)
    coming = played(b.scene, replace(b.options, mode="grounded"), b.first - count, b.first)
    shares = [smooth((k + 1) / (count + 1)) for k in range(count)]
    kinds = {(m.scene.environment, *(body.kind for body in m.scene.bodies)) for m in (*going, *coming)}
    if len(kinds) == 1:
        swells = [World(origin.scene, origin.options.seed).swell for origin in (a, b)]
        plans = []
        for index, (x, y, share) in enumerate(zip(going, coming, shares, strict=True)):
            progress("calculating", index, count)
            plans.append(_between(x, y, swells[0], swells[1], share))
        return plans, "every body, the hour, the weather and the colours go the way between them"
    first, second = subject(a.scene), subject(b.scene)
    plans = []
    order = smooth_noise(*_size(a), a.options.seed)
    for index, (x, y, share) in enumerate(zip(going, coming, shares, strict=True)):
        progress("calculating", index, count)
        # One way of the camera, seen in each world at its own scale.
        there = rescaled(y.camera, second, first)
        camera = blend_cameras(x.camera, there, share)
        here = planned(replace(x, camera=camera), 0.0)
        other = planned(replace(y, camera=rescaled(camera, first, second)), 0.0)
        mask = dissolve(share, np.maximum(here.planes[..., _DISPARITY], other.planes[..., _DISPARITY]) + 0.3 * order)
        nearer = here if share < 0.5 else other
        planes = here.planes + mask[..., None].astype(np.float16) * (other.planes - here.planes)
        plans.append(replace(nearer, planes=planes, camera=camera))
    return plans, "two different worlds: places change over from far to near"


def _size(origin: Origin) -> tuple[int, int]:
    return origin.options.height, origin.options.width


def _between(x: Moment, y: Moment, one: Swell, two: Swell, share: float) -> Plan:
    """The plan of a world that is `share` of the way from one to another of the same things."""
    scene = blend_scenes(x.scene, y.scene, share)
    state = blend_states(scene, x.state, y.state, share, x.state.tick)
    swell = both_swells(one, two, x.state.tick, y.state.tick, share)
    stage = Stage(scene, swell, water_cell(scene))
    return planned(Moment(state=state, camera=blend_cameras(x.camera, y.camera, share), stage=stage), 0.0)


def water_cell(scene: Scene) -> tuple[float, float]:
    """Metres of a cell of the water's grid, x and z."""
    half = ENVIRONMENTS[scene.environment].half_size
    return 2.0 * half[0] / GRID, 2.0 * half[1] / GRID


def both_swells(a: Swell, b: Swell, tick: int, other: int, share: float) -> Swell:
    """Waves of `a` at `tick` fading into those that `b` has at the tick `other`; their energy stays."""
    late = np.float32((tick - other) / 240.0)
    fade, rise = np.float32(np.sqrt(1.0 - share)), np.float32(np.sqrt(share))
    return Swell(
        amplitude=np.concatenate([fade * a.amplitude, rise * b.amplitude]),
        wave_x=np.concatenate([a.wave_x, b.wave_x]),
        wave_z=np.concatenate([a.wave_z, b.wave_z]),
        omega=np.concatenate([a.omega, b.omega]),
        phase=np.concatenate([a.phase, b.phase + b.omega * late]),
    )


def _pictures(a: Clip, b: Clip, count: int, seed: int) -> tuple[list[Plan], list[Plan], list[Plan]]:
    """The passage between clips of which only pictures are known, and the plans beside it."""
    going = _to_and_fro(a.frames[::-1][1:], count)
    coming = _to_and_fro(b.frames[1:], count)[::-1]
    order = smooth_noise(a.frames.shape[1], a.frames.shape[2], seed)
    middle = []
    for k in range(count):
        mask = dissolve(smooth((k + 1) / (count + 1)), order)[..., None]
        mixed = np.rint(going[k] + mask * (coming[k].astype(np.float32) - going[k])).astype(np.uint8)
        middle.append(mixed)
    plans = picture_plans(np.stack(middle), a.fps)
    return plans, picture_plans(a.frames[-KNOWN:], a.fps), picture_plans(b.frames[:KNOWN], b.fps)


def _to_and_fro(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`count` frames, forth and back over `frames` as often as it takes."""
    round_trip = np.concatenate([np.arange(len(frames)), np.arange(len(frames))[-2:0:-1]])
    return frames[round_trip[np.arange(count) % len(round_trip)]]
