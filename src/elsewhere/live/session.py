"""One running world: each call advances the simulation by one frame, makes its guide and paints it.

While a frame is painted, a second thread already makes the next one's state and guide, for the same controls. When
the controls have changed by then, that guide is made again, so that no control waits for a frame. This file does
not know how long a frame may take, nor who watches.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.director import Director
from elsewhere.live.frame import Controls, Frame, depth_range, world_id
from elsewhere.live.options import TICKS_PER_SECOND, Options
from elsewhere.render import to_display
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Event, Scene
from elsewhere.scene.words.takes import Take

if TYPE_CHECKING:
    from elsewhere.model.generator import Generator
    from elsewhere.physics.state import State
    from elsewhere.render import Guide, Stage


MODEL_FPS = 24
"""The network counts time in frames of this rate."""


class Painter(Protocol):
    """What turns a guide into a picture: (H, W, 3) uint8 and depth (H, W) float32 in metres."""

    def prepare(self, guide: Guide, stage: Stage) -> Any:
        """What can be made of a guide before its turn, in another thread."""

    def retell(self, scene: Scene, *, cut: bool) -> None:
        """The next frame is of `scene`; after a cut nothing of the frames before shall show in it."""

    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None, prepared: Any = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


class Plain:
    """The painter of mode "calculated": the guide's own light, no network."""

    def prepare(self, guide: Guide, stage: Stage) -> NDArray[np.float32]:
        return to_display(guide.lit)

    def retell(self, scene: Scene, *, cut: bool) -> None:
        """It has no memory."""

    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None, prepared: Any = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        shown = self.prepare(guide, stage) if prepared is None else prepared
        return np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8), np.asarray(guide.depth, dtype=np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch:
    """What is calculated of a frame before it is painted, and the milliseconds that it took."""

    index: int
    controls: Controls
    state: State
    camera: Camera
    guide: Guide
    stage: Stage
    scene: Scene | None
    """What the painter is told before this frame, when that has changed."""
    cut: bool
    prepared: Any
    simulate: float
    draw: float
    begun: float
    """Seconds of the process's clock."""


class Session:
    """`scene` shown with `options`, frame by frame, in `takes` where there are some. Not for two threads at once.

    The same scene, options, takes and controls give the same bits. Events of the scene happen at their ticks.
    """

    def __init__(
        self, scene: Scene, options: Options | None = None, *, takes: tuple[Take, ...] = (), **overrides: int | str
    ) -> None:
        from elsewhere.physics import World  # solvers and ray caster compile when they are first wanted
        from elsewhere.render import Stage

        self.options = replace(options or Options(), **overrides)  # type: ignore[arg-type]
        self.scene = scene
        self.world_id = world_id(scene, self.options)
        # First, because its programs are made ready meanwhile.
        self._painter = open_painter(scene, self.options)
        self.world = World(scene, self.options.seed)
        # The network has the other cores.
        self._threads = max(1, (os.cpu_count() or 1) - 1)
        self.stage = Stage(scene, self.world.swell, self.world.water_cell, threads=self._threads)
        self._director = Director(self.world.scene, self.world.state, takes)
        self._shown = scene
        self._previous: tuple[State, Camera] | None = None
        self._index = 0
        self._ahead: Future[Sketch] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sketch")

    def apply(self, event: Event) -> Event:
        """Lets `event` happen at its tick, or at the world's next one if that has passed; with the tick at which it
        does, for a log. A frame that is already calculated does not show it yet. ValueError for what cannot happen."""
        if self._ahead is not None:
            self._ahead.result()
        event = replace(event, tick=max(event.tick, self.world.tick))
        self.world.apply(event)
        return event

    def resume(
        self, number: int, events: tuple[Event, ...] = (), progress: Callable[[float], None] = lambda share: None
    ) -> None:
        """Goes on at frame `number`, as if those before had been shown and `events` had happened. Before the first
        frame only.

        The state is the same to the bit; a network that remembers its past frames begins anew. `progress` is told the
        share that is done, about once in a second of the world's time.
        """
        for event in events:
            self.world.apply(event)
        for index in range(number):
            state = self._advance(index)
            self._restage()
            # The dolly follows frame by frame.
            self._director.camera(state, self.options.width, self.options.height, Controls())
            if index % self.options.fps == self.options.fps - 1:
                progress((index + 1) / number)
        self._index = number
        if self._shown is not self.scene:
            self._painter.retell(replace(self._shown, shot=self._director.shot), cut=False)

    @property
    def adjustable(self) -> bool:
        """Whether `adjust` works: a network's programs are made for one size and number of evaluations."""
        return self.options.mode == "calculated"

    def adjust(self, steps: int, width: int, height: int) -> None:
        """Frames are of this quality from now on, but for the one that is already calculated.

        ValueError when they cannot be.
        """
        if not self.adjustable:
            raise ValueError(
                f"mode must be calculated to adjust the quality of a running world; got {self.options.mode!r}"
            )
        if self._ahead is not None:
            self._ahead.result()
        self.options = replace(self.options, steps=steps, width=width, height=height)

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame:
        """The next frame, 1 / fps seconds of the world's time after the last; the first is at tick 0.

        `skip` leaves that many frames out after this one: the world moves on, and nothing is painted. Not before
        it, because what was calculated ahead would be thrown away, and a frame that is late would make the next
        one later still.
        """
        sketch = self._sketched(controls or Controls())
        self._index = sketch.index
        state, camera = sketch.state, sketch.camera
        self._previous = (state, camera)
        frame_id = self._index
        self._index += 1 + skip
        self._ahead = self._worker.submit(self._sketch, sketch.controls, self._index)
        start = time.monotonic()
        position = MODEL_FPS * state.tick / TICKS_PER_SECOND
        if sketch.scene is not None:
            self._painter.retell(sketch.scene, cut=sketch.cut)
        guide, prepared = sketch.guide, sketch.prepared
        rgb, depth = self._painter.frame(guide, sketch.stage, camera, position=position, prepared=prepared)
        painted = time.monotonic()
        near, far = depth_range(depth)
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
                "simulate": sketch.simulate,
                "guide": sketch.draw,
                "hold": max(0.0, 1e3 * (start - sketch.begun) - sketch.simulate - sketch.draw),
                "network": 1e3 * (painted - start),
            },
            begun=sketch.begun,
        )

    def _sketched(self, controls: Controls) -> Sketch:
        """The next frame's sketch: the one made ahead where its controls are these, else a new one."""
        ahead = self._ahead.result() if self._ahead is not None else None
        self._ahead = None
        return ahead if ahead is not None and ahead.controls == controls else self._sketch(controls, self._index)

    def _sketch(self, controls: Controls, index: int) -> Sketch:
        start = time.monotonic()
        state = self._advance(index)
        simulated = time.monotonic()
        changed = self._restage()
        cut = index > 0 and self._director.cuts(state.tick)
        camera = self._director.camera(state, self.options.width, self.options.height, controls)
        previous = self._previous
        if cut or (previous is not None and len(previous[0].position) != len(state.position)):
            previous = None
        guide = self.stage.guide(state, camera, previous)
        prepared = self._painter.prepare(guide, self.stage)
        drawn = time.monotonic()
        return Sketch(
            index=index,
            controls=controls,
            state=state,
            camera=camera,
            guide=guide,
            stage=self.stage,
            scene=replace(self._shown, shot=self._director.shot) if changed or cut else None,
            cut=cut,
            prepared=prepared,
            simulate=1e3 * (simulated - start),
            draw=1e3 * (drawn - simulated),
            begun=start,
        )

    def _advance(self, index: int) -> State:
        due = self.options.tick_of(index) - self.world.tick
        return self.world.advance(due) if due > 0 else self.world.state

    def _restage(self) -> bool:
        """Makes the stage ready for what events have changed, and says whether there was something."""
        scene = self.world.scene
        hour, weather = self.world.climate()
        # Waves and the drift of clouds are those of the wind that the film began with.
        born = self.scene.weather
        weather = replace(weather, wind_speed=born.wind_speed, wind_heading=born.wind_heading)
        changed = scene is not self._shown
        if scene.bodies != self._shown.bodies:
            from elsewhere.render import Stage

            staged = replace(scene, hour=hour, weather=weather, events=())
            before = self.stage
            self.stage = Stage(staged, self.world.swell, self.world.water_cell, threads=self._threads)
            self.stage.falls_like(before)
            self._director.recast(scene)
        elif (hour, weather) != (self.stage.scene.hour, self.stage.scene.weather):
            self.stage.relight(hour, weather)
        self._shown = scene
        return changed


_loading = threading.Lock()


@lru_cache(maxsize=4)
def _load_generator(mode: str, steps: int, strength: float, ground: str, guidance: float) -> Generator:
    from elsewhere.model.generator import Generator

    return Generator.load(mode, steps=steps, strength=strength, ground=ground, guidance=guidance)


def open_painter(scene: Scene, options: Options) -> Painter:
    """What paints a film of `scene` in the mode of `options`. WeightsError when the network is not there."""
    if options.mode == "calculated":
        return Plain()
    with _loading:  # worlds that start together share one set of weights and programs
        manner = (options.strength, options.ground, options.guidance)
        generator = _load_generator(options.mode, options.steps, *manner)
    return generator.start(scene, options.seed, (options.height, options.width))
