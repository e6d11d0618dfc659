"""Where the camera of a film is at each tick: takes one after the other, softly following what they show."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.frame import Controls
from elsewhere.live.options import TICKS_PER_SECOND
from elsewhere.physics.state import State
from elsewhere.scene.camera import Camera
from elsewhere.scene.catalogue import KINDS
from elsewhere.scene.description import Body, Scene, Shot, Vector3
from elsewhere.scene.shots import RiggedShot, camera_at, least_height, subject
from elsewhere.scene.words.takes import Take

DOLLY_SECONDS = 1.0
"""How long the camera takes for most of a way."""
LOWEST = 0.3
"""Least height of a camera that goes down, in radii of what it looks at."""


class Dolly:
    """Carries the shot along, softly, with the middle of all that moves: what is filmed stays in view.

    It follows what falls, and stays above what sinks.
    """

    def __init__(self, scene: Scene, state: State) -> None:
        self._names = [body.name for body in scene.bodies if not KINDS[body.kind].fixed]
        self._lowest = LOWEST * subject(scene)[1]
        self._tick = state.tick
        self._moved, self._pace, self._shift = np.zeros((3, 3))
        self._rows, self._start = self._find(scene), state.position
        self._start = self._start[self._rows]

    def _find(self, scene: Scene) -> NDArray[np.int64]:
        names = [body.name for body in scene.bodies]
        return np.array([names.index(name) for name in self._names], dtype=np.int64)

    def recast(self, scene: Scene) -> None:
        """`scene` is the world's from now on: what is gone is no longer followed, what came is left to itself."""
        here = {body.name for body in scene.bodies}
        kept = [rank for rank, name in enumerate(self._names) if name in here]
        self._names = [self._names[rank] for rank in kept]
        self._start = self._start[kept]
        self._rows = self._find(scene)

    def carry(self, camera: Camera, state: State) -> Camera:
        """`camera`, shifted to where the dolly is at the tick of `state`; ticks only go up."""
        elapsed = (state.tick - self._tick) / TICKS_PER_SECOND
        if len(self._rows) and elapsed > 0:
            moved = (state.position[self._rows] - self._start).mean(axis=0)
            moved[1] = min(moved[1], 0.0)
            pull = 1.0 - math.exp(-elapsed / DOLLY_SECONDS)
            self._pace = self._pace + pull * ((moved - self._moved) / elapsed - self._pace)
            self._shift = self._shift + elapsed * self._pace + pull * (moved - self._shift)
            self._moved = moved
        self._tick = state.tick
        c2w = camera.c2w.copy()
        lowest = min(float(c2w[1, 3]), self._lowest)
        c2w[:3, 3] += self._shift
        c2w[1, 3] = max(c2w[1, 3], lowest)
        return replace(camera, c2w=c2w)


class Director:
    """Turns the takes of a film into a camera for every tick; ticks only go up.

    A take begins with things where they are then: it frames its subject there, takes its side from where the subject's
    front looks, and follows it. A subject that is not there stands for all things. Without takes there is one, the
    scene's own shot.
    """

    def __init__(self, scene: Scene, state: State, takes: tuple[Take, ...] = ()) -> None:
        self._takes = takes
        self._scene = scene
        self._index = -1
        self._began = 0
        self._framed, self._rigged = scene, None  # type: tuple[Scene, RiggedShot | None]
        self._dolly = Dolly(scene, state)

    @property
    def shot(self) -> Shot:
        """How the take at hand looks."""
        return self._framed.shot

    def recast(self, scene: Scene) -> None:
        """`scene` is the world's from now on."""
        self._scene = scene
        self._dolly.recast(scene)

    def cuts(self, tick: int) -> bool:
        """Whether another take than the last one begins by `tick`."""
        return self._due(tick) != self._index

    def _due(self, tick: int) -> int:
        index = max(self._index, 0)
        while index + 1 < len(self._takes) and tick >= self._start_of(index + 1):
            index += 1
        return index

    def _start_of(self, index: int) -> int:
        return round(self._takes[index].begin * TICKS_PER_SECOND)

    def camera(self, state: State, width: int, height: int, controls: Controls) -> Camera:
        """The camera at the tick of `state`, turned by a person's hands."""
        if self.cuts(state.tick):
            self._open(self._due(state.tick), state)
        take = self._takes[self._index] if self._takes else Take()
        seconds = (state.tick - self._began) / TICKS_PER_SECOND
        yaw, pitch, offset = controls.yaw, controls.pitch, controls.offset
        if take.path is not None:
            return self._on_path(take, seconds, width, height, controls)
        if take.moves:
            rigged = self._rigged
            if rigged is None or rigged.size != (width, height):
                rigged = self._rigged = RiggedShot(self._framed, take.moves, width, height)
            return self._dolly.carry(rigged.at(seconds, yaw=yaw, pitch=pitch, offset=offset), state)
        camera = camera_at(self._framed, seconds, width, height, yaw=yaw, pitch=pitch, offset=offset)
        return self._dolly.carry(camera, state)

    def _on_path(self, take: Take, seconds: float, width: int, height: int, controls: Controls) -> Camera:
        assert take.path is not None
        lens = 0.5 * height / math.tan(0.5 * self._scene.shot.field_of_view)
        camera = take.path.at(seconds, width, height, lens=lens)
        if controls != Controls():
            camera.c2w[:3, 3] += camera.c2w[:3, :3] @ np.array(controls.offset)
            camera.c2w[:3, :3] = _yawed(controls.yaw) @ camera.c2w[:3, :3] @ _pitched(controls.pitch)
        if not take.path.free:
            camera.c2w[1, 3] = max(camera.c2w[1, 3], least_height(self._scene, camera.position))
        return camera

    def _open(self, index: int, state: State) -> None:
        """Begins take `index` with things where `state` has them."""
        first = self._index < 0
        self._index = index
        self._rigged = None
        if not self._takes:
            return
        take = self._takes[index]
        self._began = self._start_of(index)
        names = set(take.subject)
        rows = [row for row, body in enumerate(self._scene.bodies) if body.name in names]
        if first and not rows and not take.bearing:
            # Nothing has moved yet: the very picture that a film without takes begins with.
            self._framed = replace(self._scene, shot=take.shot)
            self._dolly = Dolly(self._framed, state)
            return
        rows = rows or list(range(len(self._scene.bodies)))
        bodies = tuple(_as_now(self._scene.bodies[row], state, row) for row in rows)
        shot = take.shot
        movable = [body for body in bodies if not KINDS[body.kind].fixed]
        if take.bearing is not None and len(movable) == 1:
            shot = replace(shot, azimuth=_behind(movable[0]) + take.bearing)
        self._framed = replace(self._scene, bodies=bodies, shot=shot)
        self._dolly = Dolly(self._framed, replace(state, position=state.position[rows]))
        self._dolly.recast(self._scene)


def _as_now(body: Body, state: State, row: int) -> Body:
    """A body where it is and as it is turned now."""
    position: Vector3 = tuple(state.position[row].tolist())  # type: ignore[assignment]
    x, y, z, w = state.orientation[row].tolist()
    return replace(body, position=position, orientation=(x, y, z, w))


def _behind(body: Body) -> float:
    """The azimuth from which a body is seen from behind."""
    x, y, z, w = body.orientation
    front_x, front_z = -2.0 * (x * z + y * w), 2.0 * (x * x + y * y) - 1.0
    return math.atan2(-front_x, -front_z)


def _yawed(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _pitched(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
