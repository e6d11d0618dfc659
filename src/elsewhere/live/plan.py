"""What a film is to show, from words and files: its scene with events, its takes, and how long it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.live.options import TICKS_PER_SECOND, check_seconds
from elsewhere.scene import Event, Parsed, PromptError, Scene, parse
from elsewhere.scene.path import CameraPath
from elsewhere.scene.path_files import read_path
from elsewhere.scene.shots import least_height
from elsewhere.scene.words.grammar import read
from elsewhere.scene.words.happen import added_bodies, read_event_file, read_events
from elsewhere.scene.words.lexicon import CAMERAS
from elsewhere.scene.words.moves import read_moves
from elsewhere.scene.words.rewrite import rewrite
from elsewhere.scene.words.takes import Take, read_framing, read_takes
from elsewhere.scene.words.tokens import checked

USUAL_SECONDS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A film before its first frame. `notes` say what was decided; `unknown` are words left out, with the nearest."""

    scene: Scene
    seconds: float
    takes: tuple[Take, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def plan_film(
    prompt: str,
    *,
    seed: int = 0,
    seconds: float | None = None,
    fps: int = 24,
    camera: str | None = None,
    shots: Sequence[str] = (),
    events: Sequence[str | dict[str, Any]] = (),
    camera_path: CameraPath | str | Path | None = None,
    rewritten: bool = False,
) -> Plan:
    """Reads everything that a film is told; the same arguments give the same plan.

    `camera` words say how to look, or move on a time line ("dolly in 2s, orbit left 3s"). `shots` are texts such as
    "3s: close-up of the red ship". `events` are texts such as "2s: it starts to rain", or objects of an events file;
    one text that ends in .json names such a file. `camera_path` is a path, or the name of a file with one. Without
    `seconds` the film is as long as its shots, moves or path, else 4 s. With `rewritten` the prompt is written out in
    detail first. Raises ValueError (PromptError for words), OSError for files.
    """
    notes: list[str] = []
    if rewritten:
        prompt = rewrite(prompt, seed).text
    if seconds is not None:
        check_seconds(seconds)
    path = read_path(Path(camera_path), fps) if isinstance(camera_path, str | Path) else camera_path
    if isinstance(path, str):
        if camera is not None:
            raise PromptError("camera and a camera path of words cannot both be given; put all into one")
        camera, path = path, None
    if path is not None and (shots or camera is not None):
        raise PromptError("camera-path says where the camera is; leave out camera and shots, or the path")
    parsed = look_at(prompt, seed, camera)
    scene, timeline = parsed.scene, read_moves(camera) if camera is not None else None
    if shots and timeline is not None:
        raise PromptError("camera: with shots, say moves in each of them, such as --shot '3s: wide shot, dolly in 3s'")
    happening = read_events(_items(events), scene, seed)
    takes: tuple[Take, ...] = ()
    if shots:
        takes = read_takes(shots, scene, seconds, added_bodies(happening))
        seconds = sum(take.seconds for take in takes)
    elif timeline is not None:
        moves = timeline.lasting(seconds)
        seconds = sum(move.seconds for move in moves) if seconds is None else seconds
        takes = (Take(shot=scene.shot, moves=moves, words=camera or ""),)
    elif path is not None:
        seconds = max(path.seconds + 1.0 / fps, 1.0 / fps) if seconds is None else seconds
        takes = (Take(shot=scene.shot, path=path),)
        low = 0 if path.free else sum(pose[1, 3] < least_height(scene, pose[:3, 3]) for pose in path.c2w)
        if low:
            notes.append(f'camera path: {low} of {len(path.c2w)} rows lifted above water or ground; say "free" to keep')
    _rehearse(scene, happening)
    length = check_seconds(USUAL_SECONDS if seconds is None else seconds)
    for event in happening:
        if event.tick / TICKS_PER_SECOND >= length:
            raise PromptError(
                f"event {event.action!r} at {event.tick / TICKS_PER_SECOND:g} s is after the end of the film, "
                f"{length:g} s; the nearest length is {event.tick / TICKS_PER_SECOND + 1:g} s"
            )
    return Plan(
        scene=replace(scene, events=happening),
        seconds=length,
        takes=takes,
        unknown=tuple(parsed.unknown),
        notes=(*parsed.notes, *notes),
    )


def _items(events: Sequence[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
    """Events with the files among them read."""
    items: list[str | dict[str, Any]] = []
    for item in events:
        is_file = isinstance(item, str) and item.strip().lower().endswith(".json")
        items += read_event_file(Path(str(item).strip())) if is_file else [item]
    return items


def _rehearse(scene: Scene, events: Sequence[Event]) -> None:
    """Raises ValueError for an event that could not happen when its time comes, before anything is made."""
    from elsewhere.physics.change import SCENE_ACTIONS, body_index, changed, check_action

    for event in events:
        try:
            check_action(event.action)
            if event.action in SCENE_ACTIONS:
                scene = changed(scene, event, np.zeros((len(scene.bodies), 3)))
            elif event.action == "push":
                body_index(scene.bodies, event.arguments.get("body", 0))
        except ValueError as error:
            raise PromptError(f"event at {event.tick / TICKS_PER_SECOND:g} s: {error}") from None


def look_at(prompt: str, seed: int, camera: str | None) -> Parsed:
    """`prompt` as a scene; `camera` words replace those of the prompt. PromptError when nothing is known."""
    parsed = parse(prompt, seed)
    if camera is None:
        return parsed
    timeline = read_moves(camera)
    framing = camera if timeline is None else timeline.framing
    if timeline is not None and not framing:
        return replace(parsed, scene=replace(parsed.scene, shot=replace(parsed.scene.shot, motion="still")))
    if not read(checked(framing)).camera:
        raise PromptError(
            f"camera must be words such as {', '.join(map(repr, CAMERAS))}, or moves such as 'dolly in 2s, orbit left "
            f"3s'; got {camera[:60]!r}"
        )
    read_framing(framing, parsed.scene, "camera")
    shot = parse(f"{prompt}, {framing}", seed).scene.shot
    return replace(parsed, scene=replace(parsed.scene, shot=shot))


def camera_path_of(
    scene: Scene, ticks: Sequence[int], poses: Sequence[Any], focals: Sequence[float], height: int
) -> CameraPath:
    """The path of a film's cameras: the same scene filmed along it gives the same frames.

    It is marked free when a camera stood lower than paths usually may, so that none is lifted.
    """
    free = any(pose[1, 3] < least_height(scene, pose[:3, 3]) for pose in poses)
    times = np.array(ticks) / TICKS_PER_SECOND
    return CameraPath.make(np.stack(poses), times, np.array(focals), height=height, free=free)
