"""One scene played frame by frame for measuring, with path-traced references of the frames that are scored.

A reference comes in two halves, by other sample paths: their mean is what a film is compared with, and how far they are
from each other is how near any film could come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.library import CALCULATED, Library, source_digest
from elsewhere.physics import World
from elsewhere.physics.state import State
from elsewhere.render import Guide, Stage, to_display
from elsewhere.scene import Camera, Scene, camera_at

Picture = NDArray[np.float32]
TICKS_PER_FRAME = 10
"""240 ticks a second, 24 frames a second."""
FPS = 24


class Painter(Protocol):
    """Makes the next picture of a film: display RGB (H, W, 3) uint8 and depth (H, W) in metres."""

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


@dataclass(frozen=True, slots=True)
class Studio:
    """Something that opens films. `name` says what it is; `identity` changes with its weights and settings."""

    name: str
    identity: str
    open: Callable[[Scene, int], Painter]


@dataclass(frozen=True, slots=True)
class Look:
    """Where a person looks, relative to the shot: radians (left and up positive), metres to right, up and back."""

    yaw: float = 0.0
    pitch: float = 0.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame as it is calculated."""

    frame: int
    state: State
    camera: Camera
    guide: Guide


STRAIGHT = Look()


class Play:
    """A scene on its stage. `samples` are paths per pixel of a reference, both halves together."""

    def __init__(self, scene: Scene, *, seed: int, size: int, samples: int, library: Library) -> None:
        self.scene, self.seed, self.size, self.library = scene, seed, size, library
        self.half = max(1, samples // 2)
        self.world = World(scene, seed)
        self.stage = Stage(scene, self.world.swell, self.world.water_cell)

    def moments(self, looks: Iterable[tuple[int, Look]]) -> Iterator[Moment]:
        """The moments of (frame, look); frames do not fall, and the same one again is the world standing still."""
        previous: tuple[State, Camera] | None = None
        for frame, look in looks:
            state = self.world.advance(frame * TICKS_PER_FRAME - self.world.tick)
            camera = self.camera(frame, look)
            yield Moment(frame, state, camera, self.stage.guide(state, camera, previous))
            previous = (state, camera)

    def following(self, frames: Iterable[int], number: int) -> Iterator[Moment]:
        """The moments of frames, the camera following one body."""
        previous: tuple[State, Camera] | None = None
        for frame in frames:
            state = self.world.advance(frame * TICKS_PER_FRAME - self.world.tick)
            x, y, z = (float(value) for value in state.position[number])
            camera = self.camera(frame, focus=(x, y, z))
            yield Moment(frame, state, camera, self.stage.guide(state, camera, previous))
            previous = (state, camera)

    def camera(self, frame: int, look: Look = STRAIGHT, focus: tuple[float, float, float] | None = None) -> Camera:
        """The shot's camera at a frame, turned and moved by a person; with `focus` it follows that point."""
        turned: dict[str, Any] = {"yaw": look.yaw, "pitch": look.pitch, "offset": look.offset, "focus": focus}
        return camera_at(self.scene, frame / FPS, self.size, self.size, **turned)

    def halves(self, state: State, camera: Camera, stage: Stage | None = None) -> tuple[Picture, Picture]:
        """Two references of one state by other sample paths, linear radiance (H, W, 3), exposed.

        `stage` shows the state otherwise than it is, for a comparison.
        """
        stage = stage or self.stage
        made = []
        for path in (1, 2):
            key = (
                *("reference", source_digest(CALCULATED), repr(stage.scene), self.seed, state.digest()),
                *(camera.c2w.tobytes().hex(), camera.focal, camera.width, camera.height, self.half, path),
            )

            def render(path: int = path) -> NDArray[np.float16]:
                seed = (self.seed + state.tick) * 2 + path
                linear = stage.reference(state, camera, samples=self.half, seed=seed)
                return np.minimum(linear, 6e4).astype(np.float16)

            found = self.library.array(key, render)
            if found.shape != (camera.height, camera.width, 3):
                raise ValueError(f"a picture in {self.library.directory} is not what its name says; empty that folder")
            made.append(found.astype(np.float32))
        return made[0], made[1]

    def reference(self, state: State, camera: Camera, stage: Stage | None = None) -> Picture:
        """The reference (H, W, 3) as display RGB: the mean of both halves' light."""
        one, other = self.halves(state, camera, stage)
        return shown(0.5 * (one + other))


def shown(linear: NDArray[np.floating]) -> Picture:
    """Linear light as display RGB in [0, 1]."""
    return np.clip(to_display(linear), 0.0, 1.0)


def as_float(made: NDArray[np.uint8]) -> Picture:
    """A painted picture as display RGB in [0, 1]."""
    return made.astype(np.float32) / np.float32(255.0)


def plain(guide: Guide) -> Picture:
    """The lit guide as display RGB, of eight bits as films are."""
    return as_float(np.rint(255.0 * shown(guide.lit)).astype(np.uint8))


class Takes:
    """The same moments painted by several studios; `paint` gives display RGB by studio."""

    def __init__(self, studios: Iterable[Studio], play: Play) -> None:
        self.play = play
        self.painters = {studio.name: studio.open(play.scene, play.seed) for studio in studios}
        self.depths: dict[str, NDArray[np.float32]] = {}

    def paint(self, moment: Moment) -> dict[str, Picture]:
        """Pictures of one moment by studio; `depths` then has what each says of depth, metres."""
        pictures = {}
        for name, painter in self.painters.items():
            made, self.depths[name] = painter.frame(moment.guide, self.play.stage, moment.camera)
            pictures[name] = as_float(made)
        return pictures
