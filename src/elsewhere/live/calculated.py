"""A world played for a film: its states and cameras frame by frame, and their guides. No network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from elsewhere.live.between import before, blend_cameras, blend_states
from elsewhere.live.director import Dolly
from elsewhere.live.options import TICKS_PER_SECOND, Options
from elsewhere.physics import World
from elsewhere.physics.state import State
from elsewhere.render import Guide, Stage
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Scene
from elsewhere.scene.shots import camera_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One frame of a calculated world, and the stage that it is drawn on."""

    state: State
    camera: Camera
    stage: Stage

    @property
    def scene(self) -> Scene:
        """What is there by now."""
        return self.stage.scene

    def guide(self, previous: Moment | None = None) -> Guide:
        """`previous` gives motion."""
        same = previous is not None and len(previous.state.position) == len(self.state.position)
        last = (previous.state, previous.camera) if previous is not None and same else None
        return self.stage.guide(self.state, self.camera, last)


class Calculated:
    """`scene` with `options`, from tick 0; the same states and cameras as a session's.

    With `period` seconds, what moves by itself (swell, ripples, clouds) repeats.
    """

    def __init__(self, scene: Scene, options: Options, period: float | None = None) -> None:
        self.scene, self.options, self._period = scene, options, period
        self.world = World(scene, options.seed, period=period)
        self.stage = self._staged(scene)
        self.start = Moment(state=self.world.state, camera=self.shot(0), stage=self.stage)
        self._now = scene
        self._dolly = Dolly(scene, self.start.state)
        self._last: Moment | None = None
        self._index = -1

    def _staged(self, scene: Scene) -> Stage:
        threads = max(1, (os.cpu_count() or 1) - 1)
        return Stage(scene, self.world.swell, self.world.water_cell, threads=threads, period=self._period)

    def at(self, index: int, shot_index: int | None = None) -> Moment:
        """Frame `index`; indices only go up. `shot_index` is where the shot's own motion stands, if not there."""
        if index == self._index and self._last is not None:
            return self._last
        for between in range(self._index + 1, index):
            self._play(between, None)  # the camera follows softly, frame by frame
        return self._play(index, shot_index)

    def _play(self, index: int, shot_index: int | None) -> Moment:
        due = self.options.tick_of(index) - self.world.tick
        state = self.world.advance(due) if due > 0 else self.world.state
        self._restage()
        tick = state.tick if shot_index is None else self.options.tick_of(shot_index)
        camera = self._dolly.carry(self.shot(tick), state)
        self._index, self._last = index, Moment(state=state, camera=camera, stage=self.stage)
        return self._last

    def _restage(self) -> None:
        """A new stage where events have changed what is there or how it is lit; moments keep the one they had."""
        scene, (hour, weather) = self.world.scene, self.world.climate()
        # Waves and the drift of clouds are those of the wind that the film began with.
        born = self.scene.weather
        weather = replace(weather, wind_speed=born.wind_speed, wind_heading=born.wind_heading)
        known = self.stage.scene
        if scene.bodies != known.bodies or (hour, weather) != (known.hour, known.weather):
            self.stage = self._staged(replace(scene, hour=hour, weather=weather))
        if scene.bodies != self._now.bodies:
            self._dolly.recast(scene)
        self._now = scene

    def shot(self, tick: int) -> Camera:
        """The shot's camera at a tick, where nothing is followed."""
        return camera_at(self.scene, tick / TICKS_PER_SECOND, self.options.width, self.options.height)

    def earlier(self, moments: Sequence[Moment]) -> list[Moment]:
        """The frames before tick 0, in order, mirrored from as many after it: `moments` are frames 1, 2, …, of a world
        without events."""
        found = []
        for after in reversed(moments):
            state = before(self.scene, self.world.swell, self.start.state, after.state)
            followed = after.camera.position - self.shot(after.state.tick).position
            camera = self.shot(state.tick)
            c2w = camera.c2w.copy()
            # What is followed comes along the mirrored way; heights stay.
            c2w[:3, 3] += followed * np.array([-1.0, 1.0, -1.0])
            found.append(Moment(state=state, camera=replace(camera, c2w=c2w), stage=self.stage))
        return found


def played(scene: Scene, options: Options, first: int, last: int) -> list[Moment]:
    """A world's frames from `first` up to, not with, `last`; those before 0 are mirrored in time, as if nothing had
    happened yet."""
    found: list[Moment] = []
    if first < 0:
        quiet = Calculated(replace(scene, events=()), options)
        found = quiet.earlier([quiet.at(index) for index in range(1, -first + 1)])[: min(last, 0) - first]
    if last > 0:
        calculated = Calculated(scene, options)
        found += [calculated.at(index) for index in range(max(first, 0), last)]
    return found


def closed(calculated: Calculated, count: int, sway: float) -> list[Moment]:
    """`count` moments whose last is followed by the first, of a world without events whose period they fill.

    Two rounds are calculated, and each moment lies between the two at its place: at the first round's end where the
    loop begins, at its beginning where the loop ends. What only drifts stays; what swings goes on swinging. The shot's
    motion goes to and fro by `sway` of its way.
    """
    ahead = [round(sway * 0.5 * count * (1.0 - np.cos(2.0 * np.pi * i / count))) for i in range(count)]
    rounds = [calculated.at(i, ahead[i % count]) for i in range(2 * count)]
    found = []
    for index in range(count):
        share = index / count
        late, early = rounds[index + count], rounds[index]
        state = blend_states(calculated.scene, late.state, early.state, share, early.state.tick)
        camera = blend_cameras(late.camera, early.camera, share)
        found.append(Moment(state=state, camera=camera, stage=calculated.stage))
    return found
