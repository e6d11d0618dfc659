"""One running world: each call advances the simulation by one frame, makes its guide and paints it.

While a frame is painted, a second thread already makes the next one's state and guide, for the same controls. When
the controls have changed by then, that guide is made again, so that no control waits for a frame. This file does
not know how long a frame may take, nor who watches.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
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


ACROSS_MOST = 2.1
"""Radians across the widest picture: beyond, a flat picture has most of its pixels at its edges."""
MODEL_FPS = 24
"""The network counts time in frames of this rate."""


class Painter(Protocol):
    """What turns a guide into a picture: (H, W, 3) uint8 and depth (H, W) float32 in metres."""

    steps: int
    """Evaluations for each frame."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its pictures in pixels; None where any will do or that is not known yet."""

    def prepare(self, guide: Guide, stage: Stage) -> Any:
        """What can be made of a guide before its turn, in another thread."""

    def retell(self, scene: Scene, *, cut: bool) -> None:
        """The next frame is of `scene`; after a cut nothing of the frames before shall show in it."""

    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None, prepared: Any = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


class Plain:
    """The painter of mode "calculated": the guide's own light, no network."""

    steps = 1
    size = None

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
    """What is calculated of a frame before it is painted, and the seconds that it took."""

    index: int
    controls: Controls
    state: State
    camera: Camera
    guide: Guide
    stage: Stage
    scene: Scene | None
    """What the painter is told before this frame, when that has changed."""
    cut: bool
    painter: Painter
    prepared: Any
    simulate: float
    draw: float
    begun: float
    """Seconds of the process's clock."""


class Eye:
    """Another camera on the same world: its painter, which remembers its own past, and where it looked last."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter
        self.previous: tuple[State, Camera] | None = None


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
        self._shown = self._told = scene
        self._previous: tuple[State, Camera] | None = None
        self._index = 0
        self._ahead: Future[Sketch] | None = None
        self._eyes: dict[int, Eye] = {}
        self._prepared: dict[tuple[int, int], Future[Painter]] = {}
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
            self._retell(replace(self._shown, shot=self._director.shot), cut=False)

    def can_show(self, steps: int, width: int, height: int) -> bool:
        """Whether `adjust` to this quality works at once. A network's programs for another size may take minutes the
        first time; they are begun now, by a thread that yields to all others."""
        if self.options.mode == "calculated" or (width, height) == (self.options.width, self.options.height):
            return True
        prepared = self._prepared.get((width, height))
        if prepared is None:
            prepared = self._prepared[width, height] = Future()
            options = replace(self.options, steps=steps, width=width, height=height)

            def prepare() -> None:
                yield_to_others()
                try:
                    prepared.set_result(open_painter(self._told, options, wait=True))
                except Exception as failure:
                    prepared.set_exception(failure)

            threading.Thread(target=prepare, name="other size", daemon=True).start()
        return prepared.done() and prepared.exception() is None

    def adjust(self, steps: int, width: int, height: int) -> None:
        """Frames are of this quality from now on, but for the one that is already calculated.

        A network that paints at another size begins with an empty memory. ValueError for what `Options` does not allow
        or `can_show` denies.
        """
        options = replace(self.options, steps=steps, width=width, height=height)
        if not self.can_show(steps, width, height):
            raise ValueError(f"size must be one that can be shown at once; {width}×{height} is not ready")
        if self._ahead is not None:
            self._ahead.result()  # it reads the options
        if self.options.mode != "calculated" and (width, height) != (self.options.width, self.options.height):
            old: Future[Painter] = Future()
            old.set_result(self._painter)
            self._prepared[self.options.width, self.options.height] = old
            self._painter = self._prepared[width, height].result()
        self._painter.steps = steps
        self.options = options

    def keep_views(self, views: frozenset[int]) -> None:
        """Forgets the cameras that are not in `views`."""
        for view in self._eyes.keys() - views:
            del self._eyes[view]

    def look_again(self, view: int, controls: Controls) -> Frame:
        """The world as camera `view` sees it, at the tick of the frame that comes next: its state is there already.

        Only after `frame`.
        """
        begun = time.monotonic()
        assert self._ahead is not None
        ahead = self._ahead.result()
        eye = self._eyes.get(view)
        if eye is None or eye.painter.size not in (None, (self.options.height, self.options.width)):
            eye = self._eyes[view] = Eye(open_painter(self._told, self.options))
        waited = time.monotonic()

        def draw() -> tuple[Camera, Guide]:
            camera = self._camera(ahead.state, controls)
            previous = eye.previous
            if ahead.cut or (previous is not None and len(previous[0].position) != len(ahead.state.position)):
                previous = None
            return camera, ahead.stage.guide(ahead.state, camera, previous)

        camera, guide = self._worker.submit(draw).result()  # the stage is for one thread at a time
        drawn = time.monotonic()
        eye.previous = (ahead.state, camera)
        position = MODEL_FPS * ahead.state.tick / TICKS_PER_SECOND
        rgb, depth = eye.painter.frame(guide, ahead.stage, camera, position=position)
        spans = {"simulate": 0.0, "guide": drawn - waited, "hold": waited - begun, "network": time.monotonic() - drawn}
        return self._whole(rgb, depth, camera, ahead.state, ahead.index, begun, spans)

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
        painter, guide, prepared = sketch.painter, sketch.guide, sketch.prepared
        if sketch.scene is not None:
            self._retell(sketch.scene, cut=sketch.cut)
        rgb, depth = painter.frame(guide, sketch.stage, camera, position=position, prepared=prepared)
        spans = {"simulate": sketch.simulate, "guide": sketch.draw}
        spans["hold"] = max(0.0, start - sketch.begun - sketch.simulate - sketch.draw)
        spans["network"] = time.monotonic() - start
        return self._whole(rgb, depth, camera, state, frame_id, sketch.begun, spans)

    def _retell(self, scene: Scene, *, cut: bool) -> None:
        """Tells every painter of this world what is new in it."""
        self._told = scene
        ready = [made.result() for made in self._prepared.values() if made.done() and made.exception() is None]
        others = [eye.painter for eye in self._eyes.values()]
        for painter in {id(painter): painter for painter in (self._painter, *ready, *others)}.values():
            painter.retell(scene, cut=cut)

    def _whole(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        state: State,
        frame_id: int,
        begun: float,
        spans: dict[str, float],
    ) -> Frame:
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
            timings={name: 1e3 * seconds for name, seconds in spans.items()},
            begun=begun,
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
        camera, painter = self._camera(state, controls), self._painter
        previous = self._previous
        if cut or (previous is not None and len(previous[0].position) != len(state.position)):
            previous = None
        guide = self.stage.guide(state, camera, previous)
        prepared = painter.prepare(guide, self.stage)
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
            painter=painter,
            prepared=prepared,
            simulate=simulated - start,
            draw=drawn - simulated,
            begun=start,
        )

    def _camera(self, state: State, controls: Controls) -> Camera:
        camera = self._director.camera(state, self.options.width, self.options.height, controls)
        return widened(camera, controls.across)

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


def widened(camera: Camera, across: float) -> Camera:
    """`camera` with a picture of `across` radians from side to side, `ACROSS_MOST` at most, and never narrower."""
    if across <= 0.0:
        return camera
    focal = 0.5 * camera.width / math.tan(0.5 * min(across, ACROSS_MOST))
    return replace(camera, focal=min(focal, camera.focal))


def yield_to_others() -> None:
    """Lets every other thread go first, where the system knows such a thing (Linux) for this one alone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


_loading = threading.Lock()


@lru_cache(maxsize=4)
def _load_generator(mode: str, strength: float, ground: str, guidance: float) -> Generator:
    from elsewhere.model.generator import Generator

    return Generator.load(mode, strength=strength, ground=ground, guidance=guidance)


def open_painter(scene: Scene, options: Options, *, wait: bool = False) -> Painter:
    """What paints a film of `scene` in the mode of `options`; with `wait` only when it is ready to.

    WeightsError when the network is not there.
    """
    if options.mode == "calculated":
        return Plain()
    with _loading:  # worlds that start together share one set of weights and programs
        manner = (options.strength, options.ground, options.guidance)
        generator = _load_generator(options.mode, *manner)
    size = (options.height, options.width)
    stream = generator.start(scene, options.seed, None if wait else size)
    if wait:
        stream.networks(*size)
    stream.steps = options.steps
    return stream
