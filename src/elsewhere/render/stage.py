"""A scene made ready to be drawn: what does not move is built once, what moves is posed for each picture."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics.period import whole_turns
from elsewhere.physics.state import State, Swell
from elsewhere.render import fall, sky, water
from elsewhere.render.guide import SCRATCH, Before, Picture, draw
from elsewhere.render.intersect import CLOTH, RIGID, STATIC, Geometry
from elsewhere.render.mesh import Prepared, cloth_grid, hills, prepare, prepare_built
from elsewhere.render.path import trace
from elsewhere.render.pose import cloth_triangles, pose_bodies, pose_boxes, pose_cloth, pose_water
from elsewhere.render.sampling import point_table
from elsewhere.render.shade import MATERIAL_SIZE
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Body, Scene, Weather
from elsewhere.scene.kinds import TEXTURES, Environment, Kind, Material
from elsewhere.scene.shots import subject

TICKS_PER_SECOND = 240.0
RIPPLES = 12
UNITS = 12.0
"""Rain and snow are as large as in a place whose largest things have this many metres."""
SUBJECT_UNITS = 3.0
"""But no larger than suits what is there: a sphere around it has at least this many units as its radius."""
_OUTLINES = {"open": water.OPEN, "disc": water.DISC, "box": water.BOX}


@dataclass(frozen=True, slots=True)
class Guide:
    """What the calculated world says of each pixel; arrays are (H, W, …), float32 where not said otherwise.

    `albedo` 3 linear with pattern; `normal` 3 world, 0 for sky; `depth` metres along the camera's −Z, inf for
    sky; `material` int16 index into `Stage.materials`, −1 sky; `instance` int16: body, N surroundings, N + 1
    water, −1 sky; `motion` 2 pixels, this frame minus the previous; `direct` 3 sun's irradiance / π with N·L and
    hard shadow; `lit` 3 plain linear picture; `mirror` 3 sky seen in the surface × Fresnel; `reflect` 3 world
    direction; `roughness`; `clouds` density where there is sky. Radiances carry the stage's exposure.
    """

    albedo: NDArray[np.float32]
    normal: NDArray[np.float32]
    depth: NDArray[np.float32]
    material: NDArray[np.int16]
    instance: NDArray[np.int16]
    motion: NDArray[np.float32]
    direct: NDArray[np.float32]
    lit: NDArray[np.float32]
    mirror: NDArray[np.float32]
    reflect: NDArray[np.float32]
    roughness: NDArray[np.float32]
    clouds: NDArray[np.float32]


class Stage:
    """The static part of a scene for drawing. One picture at a time; calls from several threads wait.

    `water_cell` (dx, dz) is the size of a cell of `State.water_height` in metres. `threads` workers (all cores
    when None) share a picture; their number does not change a bit of it. `kinds`, `surfaces` and `places`
    replace the catalogue's entries. With `period` seconds, waves and clouds repeat. Raises ValueError for names that
    neither knows.
    """

    def __init__(
        self,
        scene: Scene,
        swell: Swell,
        water_cell: tuple[float, float] | float,
        *,
        threads: int | None = None,
        period: float | None = None,
        kinds: Mapping[str, Kind] | None = None,
        surfaces: Mapping[str, Material] | None = None,
        places: Mapping[str, Environment] | None = None,
    ) -> None:
        if kinds is None or surfaces is None or places is None:
            from elsewhere.scene import catalogue

            kinds = catalogue.KINDS if kinds is None else kinds
            surfaces = catalogue.MATERIALS if surfaces is None else surfaces
            places = catalogue.ENVIRONMENTS if places is None else places
        self.scene = scene
        self.environment: Environment = _named(places, scene.environment, "scene.environment")
        self._surfaces = surfaces
        self._threads = max(1, (os.cpu_count() or 1) if threads is None else threads)
        self._pool = ThreadPoolExecutor(self._threads - 1) if self._threads > 1 else None
        self._lock = threading.Lock()
        self._scratch = np.zeros((self._threads, SCRATCH))
        self._period = period
        self._materials: list[Material] = []
        self._numbers: dict[Material, int] = {}
        self.light = sky.light_of(scene.hour, scene.weather)
        cell = (water_cell, water_cell) if isinstance(water_cell, (int, float)) else water_cell
        self._unit: float | None = None
        # The swell's phases are drawn by the world's seed.
        self._seed = int(np.abs(swell.phase[:1]).sum() * 1e6) & 0xFFFFFF
        self._surface(swell, (float(cell[0]), float(cell[1])))
        self._build([_named(kinds, body.kind, "body.kind") for body in scene.bodies])
        self.materials: tuple[Material, ...] = tuple(self._materials)
        self._table = np.array([_material_row(m) for m in self.materials]).reshape(-1, MATERIAL_SIZE)

    def relight(self, hour: float, weather: Weather) -> None:
        """Draws in another light and weather from now on. Waves and the clouds' drift follow its wind."""
        with self._lock:
            self.scene = replace(self.scene, hour=hour, weather=weather)
            self.light = sky.light_of(hour, weather)

    def falls_like(self, other: Stage) -> None:
        """Rain and snow are as large as on `other`, of the same film with other things on it."""
        self._unit = other.fall_unit

    @property
    def fall_unit(self) -> float:
        """Metres by which the sizes of rain and snow are measured."""
        if self._unit is None:
            self._unit = min(self.environment.largest / UNITS, subject(self.scene)[1] / SUBJECT_UNITS)
        return self._unit

    # -- what is built once

    def _number(self, material: Material) -> int:
        if material not in self._numbers:
            self._numbers[material] = len(self._materials)
            self._materials.append(material)
        return self._numbers[material]

    def _material(self, name: str) -> Material:
        found: Material = _named(self._surfaces, name, "material")
        return found

    def _slot_numbers(self, slots: tuple[str, ...], body: Body | None) -> list[int]:
        numbers = []
        for at, name in enumerate(slots):
            material = self._material(name)
            if body is not None and at == 0:
                if body.material is not None:
                    material = self._material(body.material)
                if body.color is not None:
                    red, green, blue = (float(c) for c in body.color)
                    material = replace(material, albedo=(red, green, blue))
            if body is not None and body.second_color_name is not None:
                from elsewhere.scene.catalogue import COLORS, SECOND_SLOTS

                if at > 0 and name == SECOND_SLOTS.get(body.kind):
                    material = replace(material, albedo=COLORS[body.second_color_name])
            numbers.append(self._number(material))
        return numbers

    def _surface(self, swell: Swell, cell: tuple[float, float]) -> None:
        place = self.environment
        param = np.zeros(water.SIZE)
        param[water.OUTLINE] = _OUTLINES[place.outline]
        param[water.HALF_X], param[water.HALF_Z] = place.half_size
        self._cell = cell
        if place.has_water:
            param[water.KIND] = water.WATER
            look = Material(name="water", albedo=place.water_color, roughness=0.05, refractive_index=1.33)
            param[water.MATERIAL] = self._number(look)
            param[water.DEPTH], param[water.CLARITY] = place.depth, place.water_clarity
            param[water.COLOR : water.COLOR + 3] = place.water_color
            param[water.BED] = self._number(self._material(place.ground))
        elif place.outline == "open":
            param[water.KIND] = water.GROUND
            param[water.MATERIAL] = self._number(self._material(place.ground))
        self._param = param
        self._waves = _waves(swell, place, self.scene.weather.wind_speed) if place.has_water else np.zeros((0, 6))
        if self._period is not None:
            self._waves[:, 3] = whole_turns(self._waves[:, 3], self._period)
        param[water.SWELL_WAVES] = len(swell.amplitude) if place.has_water else 0
        self._field = np.zeros((2, 2, 3), np.float32)

    def _build(self, kinds: list[Kind]) -> None:
        parts: list[tuple[Prepared, int, list[int], int]] = []
        for number, (body, kind) in enumerate(zip(self.scene.bodies, kinds, strict=True)):
            ready = prepare_built(kind.build)
            parts.append((ready, number, self._slot_numbers(ready.slots, body), RIGID))
        place = self.environment
        if place.build is not None:
            ready = prepare_built(place.build)
            parts.append((ready, -1, self._slot_numbers(ready.slots, None), STATIC))
        if place.relief > 0.0 and not place.has_water and place.outline == "open":
            ready = prepare(hills(place.reach, place.relief, place.ground))
            parts.append((ready, -1, self._slot_numbers(ready.slots, None), STATIC))
        self._cloth_shapes: list[tuple[int, int]] = []
        corners: list[NDArray[np.int32]] = []
        rest: list[NDArray[np.float64]] = []
        vertex = 0
        self._first = sum(len(p[0].triangles) for p in parts)
        self._first_node = sum(len(p[0].tree.bounds) for p in parts)
        for number, kind in enumerate(kinds):
            for cloth in kind.cloths:
                tree, index, points = cloth_grid(cloth)
                p = points[index]
                flat = np.concatenate([p[:, 0], p[:, 1], p[:, 2]], axis=1)
                ready = Prepared(tree, flat, np.zeros_like(flat), np.zeros(len(flat), np.int32), (cloth.material,))
                parts.append((ready, number, self._slot_numbers(ready.slots, None), CLOTH))
                corners.append(index + vertex)
                rest.append(flat)
                vertex += len(points)
        self._corners = np.concatenate(corners) if corners else np.zeros((0, 3), np.int32)
        self._smooth = np.zeros((vertex, 3))
        rests = np.concatenate(rest) if rest else np.zeros((0, 9))
        self._geometry = self._join(parts, rests)
        self._size = np.array([body.size for body in self.scene.bodies], np.float64)

    def _join(self, parts: list[tuple[Prepared, int, list[int], int]], rest: NDArray[np.float64]) -> Geometry:
        bounds, links, leaf, info, slots = [np.zeros((0, 6))], [np.zeros((8, 0, 2), np.int32)], [], [], [0]
        node = triangle = 0
        for ready, body, numbers, moves in parts:
            tree = ready.tree
            bounds.append(tree.bounds)
            links.append(np.where(tree.links >= 0, tree.links + node, -1).astype(np.int32))
            leaf.append(tree.leaf + np.array([triangle, 0], np.int32))
            info.append((node, body, len(slots), moves, self._first))
            slots.extend(numbers)
            node += len(tree.bounds)
            triangle += len(ready.triangles)
        count = len(parts)
        identity = np.tile(np.eye(4)[:3].reshape(-1), (count, 1))

        def joined(arrays: list[NDArray[np.float64]], empty: tuple[int, int]) -> NDArray[np.float64]:
            return np.ascontiguousarray(np.concatenate([np.zeros(empty), *arrays]), np.float64)

        return Geometry(
            bounds=joined(bounds, (0, 6)),
            links=np.ascontiguousarray(np.concatenate(links, axis=1)),
            leaf=np.concatenate([np.zeros((0, 2), np.int32), *leaf]).astype(np.int32),
            triangles=joined([p[0].triangles for p in parts], (0, 9)),
            normals=joined([p[0].normals for p in parts], (0, 9)),
            slot=np.concatenate([np.zeros(0, np.int32), *[p[0].slot for p in parts]]).astype(np.int32),
            to_body=identity.reshape(count, 12),
            to_world=identity.copy().reshape(count, 12),
            box=np.zeros((count, 6)),
            info=np.array(info, np.int32).reshape(count, 5),
            materials_of=np.array(slots, np.int32),
            clear=np.array([1 if m.transmission > 0.5 else 0 for m in self._materials] or [0], np.int32),
            rest=rest,
        )

    # -- what is posed for each picture

    def _check(self, state: State) -> None:
        if len(state.position) != len(self.scene.bodies):
            raise ValueError(
                f"state.position must have one row for each body; got {len(state.position)}; "
                f"nearest valid is {len(self.scene.bodies)}"
            )

    def _cloth_points(self, state: State) -> NDArray[np.float64]:
        return np.concatenate([np.asarray(c, np.float64).reshape(-1, 3) for c in state.cloth])

    def _pose(self, state: State) -> tuple[water.Surface, NDArray[np.float64]]:
        self._check(state)
        g = self._geometry
        pose_bodies(state.position, state.orientation, self._size, g.info, g.to_body, g.to_world)
        if len(self._corners):
            pose_cloth(self._cloth_points(state), self._corners, self._smooth, g, self._first, self._first_node)
        pose_boxes(g)
        seconds = state.tick / TICKS_PER_SECOND
        light = self.light.copy()
        heading, wind = self.scene.weather.wind_heading, self.scene.weather.wind_speed
        drifted = seconds
        if self._period is not None:  # clouds go and come back
            drifted = self._period / (2.0 * math.pi) * math.sin(2.0 * math.pi * seconds / self._period)
        light[sky.DRIFT_X] = 11.3 - 0.006 * wind * math.sin(heading) * drifted
        light[sky.DRIFT_Z] = 4.7 + 0.006 * wind * math.cos(heading) * drifted
        waves = np.empty((len(self._waves), 5))
        if len(waves):
            waves[:, :3] = self._waves[:, :3]
            waves[:, 3] = self._waves[:, 4] - self._waves[:, 3] * seconds
            waves[:, 4] = self._waves[:, 5]
        surface = water.Surface(self._field, waves, self._param.copy())
        if self.environment.has_water:
            height = state.water_height if state.water_height.size else np.zeros((2, 2), np.float32)
            if self._field.shape[:2] != height.shape:
                self._field = np.zeros((*height.shape, 3), np.float32)
                surface = surface._replace(field=self._field)
            pose_water(height, surface)
        return surface, light

    def _before(self, previous: tuple[State, Camera] | None) -> Before:
        count = len(self._geometry.info)
        if previous is None:
            return Before(np.zeros(16), np.zeros((count, 12)), np.zeros((0, 9)))
        state, camera = previous
        self._check(state)
        # A pose turned back by hand: the last bits of a general inverse depend on where in memory it is made.
        turn, position = np.asarray(camera.c2w, np.float64)[:3, :3], camera.c2w[:3, 3]
        w2c = np.concatenate([turn.T, -(turn * position[:, None]).sum(axis=0)[:, None]], axis=1)
        view = np.concatenate([w2c.reshape(-1), [camera.focal, *camera.center, 1.0]])
        to_world = np.tile(np.eye(4)[:3].reshape(-1), (count, 1))
        pose_bodies(state.position, state.orientation, self._size, self._geometry.info, np.zeros((count, 12)), to_world)
        triangles = np.zeros((len(self._corners), 9))
        if len(self._corners):
            cloth_triangles(self._cloth_points(state), self._corners, triangles, 0)
        return Before(view, to_world, triangles)

    def _share(self, work: Callable[[int, int], None]) -> None:
        """Run `work(first, step)` so that worker k of n owns the rows, or tiles, k, k + n, …"""
        if self._pool is None:
            work(0, 1)
            return
        others = [self._pool.submit(work, k, self._threads) for k in range(1, self._threads)]
        work(0, self._threads)
        for other in others:
            other.result()

    def guide(self, state: State, camera: Camera, previous: tuple[State, Camera] | None = None) -> Guide:
        """The guide of a state seen by a camera; `previous` gives motion. Deterministic to the bit.

        Raises ValueError when the state has another number of bodies than the scene.
        """
        h, w = camera.height, camera.width
        picture = _blank(h, w)
        with self._lock:
            before = self._before(previous)
            surface, light = self._pose(state)
            view = _view(camera)
            bodies = len(self.scene.bodies)

            def work(start: int, step: int) -> None:
                draw(
                    picture, self._geometry, surface, self._table, light, view, before, bodies,
                    self._scratch[start], start, step,
                )  # fmt: skip

            self._share(work)
            self._let_fall(picture.lit, picture.depth, picture.instance, state, light, view)
        return Guide(*picture)

    def reference(
        self, state: State, camera: Camera, *, samples: int, seed: int, bounces: int = 2
    ) -> NDArray[np.float32]:
        """Path-traced linear radiance (H, W, 3) with the stage's exposure; `samples` is the most a pixel takes
        (64 or fewer are best spread). After `bounces` diffuse surfaces the sky's mean stands in for the rest.

        Raises ValueError when `samples` or `bounces` is below 1, or bodies are missing in the state.
        """
        for name, value in (("samples", samples), ("bounces", bounces)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}; nearest valid is 1")
        image = np.empty((camera.height, camera.width, 3), np.float32)
        points = point_table()
        with self._lock:
            surface, light = self._pose(state)
            view = _view(camera)

            def work(start: int, step: int) -> None:
                trace(
                    image, self._geometry, surface, self._table, light, view, points,
                    int(samples), int(seed) & 0xFFFFFFFF, int(bounces), start, step,
                )  # fmt: skip

            self._share(work)
            if self._falls:
                self._let_fall(image, *self._seen(surface, light, view, image.shape[:2]), state, light, view)
        return image

    @property
    def _falls(self) -> bool:
        weather = self.scene.weather
        return not self.environment.indoor and max(weather.rain, weather.snow) > 0.0

    def _let_fall(
        self,
        image: NDArray[np.float32],
        depth: NDArray[np.float32],
        instance: NDArray[np.int16],
        state: State,
        light: NDArray[np.float64],
        view: NDArray[np.float64],
    ) -> None:
        """Draws the rain and snow of the weather over linear radiance."""
        if not self._falls:
            return
        weather, unit = self.scene.weather, self.fall_unit
        # Wind carries flakes along, and drops a little.
        pace = min(weather.wind_speed, 15.0)
        x, z = math.sin(weather.wind_heading), -math.cos(weather.wind_heading)
        seconds = state.tick / TICKS_PER_SECOND
        water = len(self.scene.bodies) + 1
        if weather.rain > 0.0:
            if self.environment.has_water:
                fall.let_ring(
                    image, depth, instance, water, light, view, unit, seconds, self._seed, float(weather.rain)
                )  # fmt: skip
            drift = 0.15 * pace
            fall.let_fall(
                image, depth, light, view, unit, drift * x, drift * z, seconds, self._seed, float(weather.rain), False,
                fall.BOXES,
            )  # fmt: skip
        if weather.snow > 0.0:
            drift = 0.12 * pace
            fall.let_fall(
                image, depth, light, view, unit, drift * x, drift * z, seconds, self._seed + 1, float(weather.snow),
                True, fall.BOXES,
            )  # fmt: skip

    def _seen(
        self, surface: water.Surface, light: NDArray[np.float64], view: NDArray[np.float64], shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Depth in metres and instance of each pixel, for a reference."""
        picture = _blank(*shape)
        before = self._before(None)

        def work(start: int, step: int) -> None:
            draw(
                picture, self._geometry, surface, self._table, light, view, before, len(self.scene.bodies),
                self._scratch[start], start, step,
            )  # fmt: skip

        self._share(work)
        return picture.depth, picture.instance


def _blank(h: int, w: int) -> Picture:
    """A guide's arrays before anything is drawn."""
    f = np.float32
    return Picture(
        albedo=np.zeros((h, w, 3), f),
        normal=np.zeros((h, w, 3), f),
        depth=np.zeros((h, w), f),
        material=np.zeros((h, w), np.int16),
        instance=np.zeros((h, w), np.int16),
        motion=np.zeros((h, w, 2), f),
        direct=np.zeros((h, w, 3), f),
        lit=np.zeros((h, w, 3), f),
        mirror=np.zeros((h, w, 3), f),
        reflect=np.zeros((h, w, 3), f),
        roughness=np.zeros((h, w), f),
        clouds=np.zeros((h, w), f),
    )


def _view(camera: Camera) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(camera.c2w, np.float64)[:3].reshape(-1), [camera.focal, *camera.center, 0.0]])


def _material_row(material: Material) -> NDArray[np.float64]:
    albedo = np.asarray(material.albedo, np.float64)
    base = ((material.refractive_index - 1.0) / (material.refractive_index + 1.0)) ** 2
    mirror = base + (albedo - base) * material.metallic
    return np.array(
        [
            *albedo,
            material.roughness,
            material.metallic,
            material.transmission,
            material.refractive_index,
            float(TEXTURES.index(material.texture)),
            material.texture_scale,
            *mirror,
        ]
    )


def _waves(swell: Swell, place: Environment, wind: float) -> NDArray[np.float64]:
    """(W, 6) amplitude, wave vector, angular frequency, phase, wave number of the swell and then of ripples:
    waves too small for physics that tilt the normal only."""
    number = np.hypot(swell.wave_x, swell.wave_z)
    own = np.stack([swell.amplitude, swell.wave_x, swell.wave_z, swell.omega, swell.phase, number], axis=1)
    longest = min(2.2, max(0.10, 0.14 * min(place.half_size)))
    k = 2.0 * math.pi / np.geomspace(longest, longest / 9.0, RIPPLES)
    slope = (0.030 + 0.010 * min(wind, 12.0)) * (1.0 if place.outline == "open" else 0.45)
    amplitude = slope * math.sqrt(2.0 / RIPPLES) / k
    # The golden angle spreads directions evenly over a half circle about the wind.
    turn = (np.arange(RIPPLES) * 0.618034 % 1.0 - 0.5) * math.pi
    angle = 0.6 + turn
    ripples = np.stack(
        [amplitude, k * np.sin(angle), -k * np.cos(angle), np.sqrt(9.81 * k), 2.4 * np.arange(RIPPLES), k], axis=1
    )
    return np.concatenate([own.astype(np.float64), ripples])


def _named(table: Mapping[str, object], name: str, argument: str):  # type: ignore[no-untyped-def]
    if name not in table:
        import difflib

        near = difflib.get_close_matches(name, list(table), 1, 0.0)
        raise ValueError(
            f"{argument} must be a known name; got {name!r}; nearest valid is {near[0] if near else None!r}"
        )
    return table[name]
