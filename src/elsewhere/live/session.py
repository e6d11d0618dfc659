"""One running world: each call advances the simulation by one frame, makes its guide and paints it.

This file does not know how long a frame may take, nor who watches.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.frame import Controls, Frame, depth_range, world_id
from elsewhere.live.options import TICKS_PER_SECOND, Options
from elsewhere.render import to_display
from elsewhere.scene.camera import Camera
from elsewhere.scene.catalogue import KINDS
from elsewhere.scene.description import Event, Scene
from elsewhere.scene.shots import camera_at, subject

if TYPE_CHECKING:
    from elsewhere.model.generator import Generator
    from elsewhere.physics.state import State
    from elsewhere.render import Guide, Stage


DOLLY_SECONDS = 1.0
"""How long the camera takes for most of a way."""
LOWEST = 0.3
"""Least height of a camera that goes down, in radii of what it looks at."""
MODEL_FPS = 24
"""The network counts time in frames of this rate."""


class Painter(Protocol):
    """What turns a guide into a picture: (H, W, 3) uint8 and depth (H, W) float32 in metres."""

    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


class Plain:
    """The painter of mode "calculated": the guide's own light, no network."""

    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        shown = np.asarray(to_display(guide.lit))
        return np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8), np.asarray(guide.depth, dtype=np.float32)


class Session:
    """`scene` shown with `options`, frame by frame. Not for use by two threads at once.

    The same scene, options and controls give the same bits.
    """

    def __init__(self, scene: Scene, options: Options | None = None, **overrides: int | str) -> None:
        from elsewhere.physics import World  # solvers and ray caster compile when they are first wanted
        from elsewhere.render import Stage

        self.options = replace(options or Options(), **overrides)  # type: ignore[arg-type]
        self.scene = scene
        self.world_id = world_id(scene, self.options)
        self.world = World(scene, self.options.seed)
        self.stage = Stage(scene, self.world.swell, self.world.water_cell)
        self._painter = open_painter(scene, self.options)
        self._dolly = Dolly(scene, self.world.state)
        self._previous: tuple[State, Camera] | None = None
        self._index = 0

    def apply(self, event: Event) -> None:
        """Lets `event` happen at the next tick."""
        self.world.apply(event)

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame:
        """The next frame, 1 / fps seconds of the world's time after the last; the first is at tick 0.

        `skip` leaves that many frames out: the world moves on, and nothing is painted.
        """
        start = time.perf_counter()
        self._index += skip
        state = self._advance()
        simulated = time.perf_counter()
        camera = self._camera(state, controls or Controls())
        guide = self.stage.guide(state, camera, self._previous)
        guided = time.perf_counter()
        rgb, depth = self._painter.frame(guide, self.stage, camera, position=MODEL_FPS * state.tick / TICKS_PER_SECOND)
        painted = time.perf_counter()
        self._previous = (state, camera)
        near, far = depth_range(depth)
        frame_id = self._index
        self._index += 1
        return Frame(
            rgb=rgb,
            depth=depth,
            c2w=camera.c2w,
            focal=camera.focal,
            center=camera.center,
            near=near,
            far=far,
            frame_id=frame_id,
            world_id=self.world_id,
            tick=state.tick,
            seed=self.options.seed,
            timings={
                "simulate": 1e3 * (simulated - start),
                "guide": 1e3 * (guided - simulated),
                "network": 1e3 * (painted - guided),
            },
        )

    def _advance(self) -> State:
        due = self.options.tick_of(self._index) - self.world.tick
        return self.world.advance(due) if due > 0 else self.world.state

    def _camera(self, state: State, controls: Controls) -> Camera:
        camera = camera_at(
            self.scene,
            state.tick / TICKS_PER_SECOND,
            self.options.width,
            self.options.height,
            yaw=controls.yaw,
            pitch=controls.pitch,
            offset=controls.offset,
        )
        return self._dolly.carry(camera, state)


class Dolly:
    """Carries the shot along, softly, with the middle of all that moves: what is filmed stays in view.

    It follows what falls, and stays above what sinks.
    """

    def __init__(self, scene: Scene, state: State) -> None:
        self._movable = np.array([not KINDS[body.kind].fixed for body in scene.bodies], dtype=bool)
        self._lowest = LOWEST * subject(scene)[1]
        self._start = state.position
        self._tick = state.tick
        self._moved, self._pace, self._shift = np.zeros((3, 3))

    def carry(self, camera: Camera, state: State) -> Camera:
        """`camera`, shifted to where the dolly is at the tick of `state`; ticks only go up."""
        elapsed = (state.tick - self._tick) / TICKS_PER_SECOND
        if self._movable.any() and elapsed > 0:
            moved = (state.position - self._start)[self._movable].mean(axis=0)
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


_loading = threading.Lock()


@lru_cache(maxsize=4)
def _load_generator(mode: str, steps: int) -> Generator:
    import torch

    from elsewhere.model.generator import Generator

    torch.set_num_threads(os.cpu_count() or 1)
    return Generator.load(mode, steps=steps)


def open_painter(scene: Scene, options: Options) -> Painter:
    """What paints a film of `scene` in the mode of `options`. WeightsError when the network is not there."""
    if options.mode == "calculated":
        return Plain()
    with _loading:  # worlds that start together share one set of weights
        generator = _load_generator(options.mode, options.steps)
    return generator.start(scene, options.seed)
