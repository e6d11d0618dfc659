"""A world that moves: bodies, water and cloth, advanced together in ticks of 1/240 s.

Prompt, seed and events decide everything: the same ones give the same bits on the same build. This file
joins the solvers and knows none of their equations.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics import behaviour, buoyancy, swell
from elsewhere.physics.change import Climate, body_index, changed, check, check_action
from elsewhere.physics.cloth import Sheets, wardrobe_of
from elsewhere.physics.period import periodic
from elsewhere.physics.rigid import Arena, Rigid, Solid, rotation_matrix
from elsewhere.physics.state import State, Swell
from elsewhere.physics.tick import TICK
from elsewhere.physics.water import GRID, Water
from elsewhere.scene.catalogue import ENVIRONMENTS, KINDS, MATERIALS
from elsewhere.scene.description import Body, Event, Scene, Weather
from elsewhere.scene.kinds import Collider, Environment, Kind

WATER_TICKS = 2
"""Water and cloth move once in this many ticks."""
HELM_TICKS = 4
"""Behaviours decide once in this many ticks."""
SLOWEST_WAVE = 0.23
"""m/s; ripples on water are nowhere slower, whatever their length."""
HOLLOW = 0.55
"""A ship of any material weighs at most this share of the water that its hull could displace: it is hollow."""
STIFFNESS = 0.10
"""Least metacentric height of a thing made of several parts, in beams: its builders gave it ballast."""
RUN_UP = 2.0
"""Seconds of way whose wake lies on the water when the film begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """How strongly water and bodies act on each other, 0…1: `wake` is the share of displaced water that the
    surface shows (the rest is carried off below the surface that shallow-water waves can show)."""

    wake: float = 0.35


@dataclass(frozen=True, slots=True)
class _Thing:
    """A body with what the catalogue says of it, at its real size."""

    body: Body
    kind: Kind
    colliders: tuple[Collider, ...]
    length: float
    mass: float
    restitution: float
    friction: float

    @property
    def under_way(self) -> bool:
        return any(b.verb in behaviour.UNDER_WAY for b in self.body.behaviours)

    @property
    def front(self) -> tuple[float, float]:
        """Unit (x, z) that its front looks to."""
        ahead = rotation_matrix(self.body.orientation) @ np.array([0.0, 0.0, -1.0])
        size = math.hypot(ahead[0], ahead[2])
        return (float(ahead[0] / size), float(ahead[2] / size)) if size > 1e-6 else (0.0, -1.0)

    @property
    def cruise(self) -> float:
        """m/s that it makes when under way."""
        paces = [b.speed for b in self.body.behaviours if b.verb in behaviour.UNDER_WAY]
        return behaviour.PACE * self.length * max(paces, default=0.0)


def _known(name: str, argument: str, table: Iterable[str]) -> str:
    names = sorted(table)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1, 0.0)
    raise ValueError(f"{argument} must be one of {names}; got {name!r}; nearest is {near[0] if near else None!r}")


def _scaled(collider: Collider, size: float) -> Collider:
    a, b, c = (v * size for v in collider.half_size)
    x, y, z = (v * size for v in collider.position)
    return replace(collider, half_size=(a, b, c), position=(x, y, z))


def _thing(body: Body) -> _Thing:
    kind = KINDS[_known(body.kind, "body.kind", KINDS)]
    if not (body.size > 0.0 and math.isfinite(body.size)):
        raise ValueError(f"body.size must be positive and finite; got {body.size}; nearest valid is 1e-3")
    colliders = tuple(_scaled(c, body.size) for c in kind.colliders)
    mass, restitution, friction = kind.mass * body.size**3, kind.restitution, 0.6
    if kind.materials:
        friction = MATERIALS[kind.materials[0]].friction
    if body.material is not None:
        material = MATERIALS[_known(body.material, "body.material", MATERIALS)]
        if kind.materials:
            mass *= material.density / MATERIALS[kind.materials[0]].density
        if body.material not in kind.materials[:1]:
            restitution, friction = material.restitution, material.friction
    return _Thing(body, kind, colliders, kind.length * body.size, mass, restitution, friction)


def _multiply(p: tuple[float, ...], q: tuple[float, ...]) -> tuple[float, float, float, float]:
    ax, ay, az, aw = p
    bx, by, bz, bw = q
    return (
        aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz,
    )  # fmt: skip


def _turned(colliders: tuple[Collider, ...], orientation: tuple[float, ...]) -> tuple[Collider, ...]:
    turn = rotation_matrix(orientation)  # type: ignore[arg-type]
    return tuple(
        replace(c, position=tuple(turn @ np.asarray(c.position)), orientation=_multiply(orientation, c.orientation))
        for c in colliders
    )


class World:
    """A scene in motion.

    `tick` counts ticks since the start; `scene` is as events have made it so far; `swell` and `water_cell` (metres, x
    and z) never change. Raises ValueError for kinds, environments, verbs, materials or targets that do not exist.
    Bodies start at rest on the ground or afloat at their draught; a positive y of `Body.position` lifts
    them by so much above that. With `period` seconds the swell repeats, for films that loop.
    """

    def __init__(
        self, scene: Scene, seed: int, *, coupling: Coupling | None = None, period: float | None = None
    ) -> None:
        self.scene, self.seed, self.tick = scene, int(seed), 0
        self._coupling = coupling or Coupling()
        self._born = scene.weather
        self._climate = Climate(0, scene.hour, scene.weather)
        self._since: dict[str, float] = {}
        self._place: Environment = ENVIRONMENTS[_known(scene.environment, "scene.environment", ENVIRONMENTS)]
        self._things = [_thing(b) for b in scene.bodies]
        weather = scene.weather
        self._set_wind(weather.wind_speed, weather.wind_heading)
        self._rain = weather.rain
        height = self._place.swell if self._place.has_water else 0.0
        self.swell: Swell = swell.swell_of(height, weather.wind_speed, weather.wind_heading, self.seed)
        if period is not None:
            self.swell = periodic(self.swell, period)
        self._waves = swell.packed(self.swell)
        self._water = self._fill() if self._place.has_water else None
        self._columns = {i: buoyancy.columns_of(t.colliders) for i, t in enumerate(self._things) if self._floats(t)}
        self._rigid = self._bodies()
        self._fleet = self._launch()
        self._wet = np.zeros(len(self._fleet.index))
        self._share = np.zeros(len(self._fleet.table))
        self._buoyancy = np.ones(len(self._things))
        self._wishes, self._actors = self._wish(), self._crew()
        self._force, self._torque = np.zeros((2, len(self._things), 3))
        self._sheets = self._hang()
        self._queue: list[Event] = sorted(scene.events, key=lambda e: e.tick)
        self._run_up()

    # --- construction

    def _floats(self, thing: _Thing) -> bool:
        return self._place.has_water and not thing.kind.fixed

    def _fill(self) -> Water:
        """Deep-water waves outrun their length's square root; shallow-water ones all go at √(g·depth). The layer is
        made as thick as lets waves keep up with what sails, or with waves half as long as the largest thing."""
        place, moving = self._place, [t for t in self._things if not t.kind.fixed]
        pace = 0.9 * max((t.cruise for t in moving), default=0.0)
        if pace == 0.0:
            longest = max((t.length for t in moving), default=0.2 * min(place.half_size))
            pace = math.sqrt(swell.GRAVITY * 0.5 * longest / (2.0 * math.pi))
        layer = min(place.depth, max(pace, SLOWEST_WAVE) ** 2 / swell.GRAVITY)
        return Water(place.outline, place.half_size, layer, WATER_TICKS * TICK, smoothing=0.02)

    def _mass(self, i: int) -> float:
        thing = self._things[i]
        if i in self._columns and "sail" in thing.kind.verbs:
            return min(thing.mass, HOLLOW * buoyancy.DENSITY * self._columns[i].volume)
        return thing.mass

    def _start(self, i: int) -> tuple[float, float, float]:
        """Where body i starts: its place in the scene, at the height at which it lies or floats."""
        thing = self._things[i]
        x, y, z = thing.body.position
        if thing.kind.fixed:
            return x, y, z
        half = self._place.half_size
        x, z = (min(max(v, -0.98 * h), 0.98 * h) for v, h in ((x, half[0]), (z, half[1])))
        y = max(y, 0.0) + self._drop(thing)
        lying = -float(buoyancy.bounds(_turned(thing.colliders, thing.body.orientation))[0][1])
        if i not in self._columns:
            return x, y + lying + 1e-4, z
        columns = self._columns[i]
        turn = rotation_matrix(thing.body.orientation)
        px, pz = (
            x + turn[0, 0] * columns.x + turn[0, 2] * columns.z,
            z + turn[2, 0] * columns.x + turn[2, 2] * columns.z,
        )
        draught = buoyancy.equilibrium(columns, self._mass(i), swell.swell_height(self.swell, px, pz, 0.0))
        if draught is None:
            draught = -float(np.max(columns.high)) + 0.5 * float(np.ptp(columns.high))
        return x, max(draught + y, lying - self._place.depth), z

    def _drop(self, thing: _Thing) -> float:
        """Metres above its resting place at which a bouncing or falling thing begins."""
        verbs = {b.verb for b in thing.body.behaviours}
        if thing.body.position[1] > 0.25 * thing.length:
            return 0.0
        return 2.2 * thing.length if "bounce" in verbs else 1.6 * thing.length if "fall" in verbs else 0.0

    def _bodies(self) -> Rigid:
        place = self._place
        closed = place.outline != "open"
        arena = Arena(
            floor=-place.depth if place.has_water else 0.0,
            outline=place.outline,
            half_size=place.half_size if closed else (math.inf, math.inf),
            height=2.0 * max(place.half_size),
        )
        solids = tuple(self._solid(i) for i in range(len(self._things)))
        return Rigid(solids, arena, TICK, limit=place.half_size)

    def _solid(self, i: int) -> Solid:
        thing = self._things[i]
        body, verbs = thing.body, {b.verb for b in thing.body.behaviours}
        velocity, friction = body.velocity, thing.friction
        if thing.under_way and velocity == (0.0, 0.0, 0.0) and body.position[1] <= 0.25 * thing.length:
            velocity = (thing.front[0] * thing.cruise, 0.0, thing.front[1] * thing.cruise)
        driven = verbs & (behaviour.UNDER_WAY | {"spin", "drift"})
        if driven or ("roll" in verbs and len(thing.colliders) > 1):
            friction = 0.02
        return Solid(
            colliders=thing.colliders,
            mass=self._mass(i),
            position=self._start(i),
            orientation=body.orientation,
            velocity=velocity,
            angular_velocity=body.angular_velocity,
            restitution=thing.restitution,
            friction=friction,
            fixed=thing.kind.fixed,
        )

    def _launch(self) -> buoyancy.Fleet:
        index = sorted(self._columns)
        columns = [self._columns[i] for i in index]
        lengths, levers = [], []
        for i in index:
            low, high = buoyancy.bounds(self._things[i].colliders)
            lengths.append((float(high[2] - low[2]), float(high[0] - low[0])))
            levers.append(self._ballast(i, float(high[0] - low[0])))
        moments = self._rigid.inertia()
        return buoyancy.fleet_of(
            columns, index, [self._mass(i) for i in index], lengths, levers, [float(moments[i]) for i in index]
        )

    def _ballast(self, i: int, beam: float) -> NDArray[np.float64]:
        """Where weight acts, so that a thing of several parts floats level and comes back upright; a ball or a
        crate has no ballast and may roll over."""
        columns, mass = self._columns[i], self._mass(i)
        y = buoyancy.equilibrium(columns, mass)
        if len(self._things[i].colliders) == 1 or y is None:
            return np.zeros(3)
        centre = buoyancy.wetted(columns, y)[2]
        radius = min(buoyancy.metacentric_radius(columns, y))
        return np.array([centre[0], min(0.0, centre[1] + radius - STIFFNESS * beam), centre[2]])

    def _wish(self) -> list[behaviour.Wish]:
        names = [t.body.name for t in self._things]
        wishes = []
        for i, thing in enumerate(self._things):
            for wish in thing.body.behaviours:
                verb = behaviour.check_verb(wish.verb)
                target = None if wish.target is None else names.index(_known(wish.target, "behaviour.target", names))
                if target is None and verb == "battle":
                    target = self._rival(i)
                target = None if target == i else target
                since = self._since.get(thing.body.name, 0.0)
                wishes.append(behaviour.Wish(i, verb, target, wish.speed, self._sense(i, target), since))
            if not thing.body.behaviours:
                wishes.append(behaviour.Wish(i, "rest"))
        return wishes

    def _crew(self) -> list[behaviour.Actor]:
        moments = self._rigid.inertia()
        return [
            behaviour.Actor(t.length, float(moments[i]), self._mass(i), t.front, t.kind.fixed)
            for i, t in enumerate(self._things)
        ]

    def _rival(self, i: int) -> int | None:
        """The nearest other body that moves."""
        here = self._rigid.position[i]
        others = [j for j, t in enumerate(self._things) if j != i and not t.kind.fixed]
        return min(others, key=lambda j: float(np.linalg.norm(self._rigid.position[j] - here)), default=None)

    def _sense(self, i: int, target: int | None) -> float:
        """Which way round is the shorter turn from where the body looks now."""
        thing, here = self._things[i], self._rigid.position[i]
        centre = self._rigid.position[target] if target is not None else np.zeros(3)
        dx, dz = float(here[0] - centre[0]), float(here[2] - centre[2])
        return 1.0 if dx * thing.front[1] - dz * thing.front[0] >= 0.0 else -1.0

    def _hang(self) -> Sheets:
        sheets = [(i, c, t.body.size) for i, t in enumerate(self._things) for c in t.kind.cloths]
        cloth = Sheets(wardrobe_of(sheets), self._rigid.position, self._rigid.orientation, self._wind)
        for k in range(80):
            self._move_cloth(cloth, (k - 80) * WATER_TICKS * TICK)
        return cloth

    def _run_up(self) -> None:
        """Lays the wake of the last seconds on the water, as if ships had come here straight ahead."""
        if self._water is None:
            return
        self._lift()
        drawn = any(t.under_way for t in self._things)
        steps = round(RUN_UP / (WATER_TICKS * TICK)) if drawn else 0
        position, velocity = self._rigid.position.copy(), self._rigid.velocity * [1.0, 0.0, 1.0]
        for k in range(steps + 1):
            self._imprint(position - velocity * ((steps - k) * WATER_TICKS * TICK))
            if k == 0:
                self._water.settle()
                continue
            self._water.displace(self._coupling.wake * min(1.0, 2.0 * k / steps))
            self._water.advance()
        self._rigid.force[:], self._rigid.torque[:] = 0.0, 0.0

    # --- motion

    def advance(self, ticks: int) -> State:
        """Moves on by `ticks` (≥ 0) and returns the state then. Raises ValueError for a negative number."""
        if ticks < 0:
            raise ValueError(f"ticks must be at least 0; got {ticks}; nearest valid is 0")
        for _ in range(ticks):
            while self._queue and self._queue[0].tick <= self.tick:
                self._happen(self._queue.pop(0))
            self._tick()
        return self.state

    def _tick(self) -> None:
        if self.tick % HELM_TICKS == 0:
            self._behave()
        self._rigid.force[:] = self._force
        self._rigid.torque[:] = self._torque
        self._lift()
        self._rigid.step()
        self.tick += 1
        if self.tick % WATER_TICKS == 0:
            self._move_water()
            self._move_cloth(self._sheets, self.tick * TICK)

    def _behave(self) -> None:
        rigid, wind = self._rigid, (float(self._wind[0]), float(self._wind[2]))
        stage = behaviour.Stage(wind, self._place.reach, self._place.has_water, self.tick * TICK, HELM_TICKS * TICK)
        motion = (
            rigid.position.tolist(),
            rigid.orientation.tolist(),
            rigid.velocity.tolist(),
            rigid.angular_velocity.tolist(),
        )
        for actor, position, orientation, velocity, spin in zip(self._actors, *motion, strict=True):
            actor.position, actor.orientation, actor.velocity, actor.spin = position, orientation, velocity, spin
        shots = behaviour.decide(self._wishes, self._actors, stage)
        for i, actor in enumerate(self._actors):
            self._force[i], self._torque[i], self._buoyancy[i] = actor.force, actor.torque, actor.buoyancy
        if self._water is None:
            return
        for x, z, size in shots:
            self._water.splash(x, z, size, 1.2 * size)

    def _lift(self) -> None:
        water, rigid, fleet = self._water, self._rigid, self._fleet
        if water is None or len(fleet.index) == 0:
            return
        buoyancy._lift(
            fleet.start,
            fleet.table,
            fleet.index,
            fleet.trait,
            self._buoyancy,
            rigid.position,
            rigid.orientation,
            rigid.velocity,
            rigid.angular_velocity,
            water.height,
            water.flow_x,
            water.flow_z,
            *water.cell,
            self._waves,
            self.tick * TICK,
            TICK,
            rigid.force,
            rigid.torque,
            self._wet,
            self._share,
        )
        rigid.added_mass[fleet.index] = buoyancy.ADDED_MASS * buoyancy.DENSITY * self._wet

    def _imprint(self, position: NDArray[np.float64]) -> None:
        water, fleet = self._water, self._fleet
        assert water is not None
        buoyancy._imprint(
            fleet.start,
            fleet.table,
            fleet.index,
            self._share,
            position,
            self._rigid.orientation,
            *water.cell,
            water.wet,
            water.displaced,
        )

    def _move_water(self) -> None:
        water = self._water
        if water is None:
            return
        self._imprint(self._rigid.position)
        water.displace(self._coupling.wake)
        if self._rain > 0.0:
            water.rain(self.seed, self.tick, round(6.0 * self._rain), 0.02 * min(water.cell))
        water.advance()

    def _move_cloth(self, cloth: Sheets, seconds: float) -> None:
        cloth.advance(self._rigid.position, self._rigid.orientation, self._wind, seconds, WATER_TICKS * TICK)

    # --- what happens from outside

    def apply(self, event: Event) -> None:
        """Makes something happen: at once if its tick has come, else at its tick.

        "push" {body: name or index, x, y, z: change of velocity in m/s, or `toward` another body at `speed`}; "splash"
        {x, z, height: metres}; "wind" {speed m/s, heading rad} moves cloth and things, not the swell; "rain", "snow",
        "fog", "clouds" {amount 0…1}; "hour" {hour}; "add" {name, kind and, where wanted, size, color_name,
        second_color_name, material, verb, target, speed, x, z or near with bearing (rad from +Z to +X), yaw, lift in
        metres}; "remove" {body}; "do" {body, verb, target, speed}. Raises ValueError for others.
        """
        if event.tick <= self.tick:
            self._happen(event)
        else:
            self._check(event)
            self._queue = sorted([*self._queue, event], key=lambda e: e.tick)

    def climate(self) -> tuple[float, Weather]:
        """Hour and weather now, on their way to what the scene says."""
        return self._climate.at(self.tick, self.scene)

    def _check(self, event: Event) -> None:
        """What can be said of an event before its time: later ones may be about things still to come."""
        check_action(event.action)
        for name, value in event.arguments.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"event argument {name!r} must be finite; got {value}; nearest valid is 0.0")
        if event.tick <= self.tick:
            check(self.scene, event)
            if event.action == "push":
                self._index(event.arguments.get("body", 0))

    def _index(self, body: object) -> int:
        return body_index([t.body for t in self._things], body)

    def _happen(self, event: Event) -> None:
        self._check(event)

        def number(name: str, default: float) -> float:
            return float(event.arguments.get(name, default) or 0.0)

        if event.action == "push":
            self._push(event)
        elif event.action == "splash":
            if self._water is not None:
                size = 0.05 * min(self._place.half_size)
                height = min(max(number("height", 0.5 * size), -4.0 * size), 4.0 * size)
                self._water.splash(number("x", 0.0), number("z", 0.0), height, max(size, 2.5 * max(self._water.cell)))
        else:
            self._change(event, changed(self.scene, event, self._rigid.position))
        if event.action == "wind":
            self._set_wind(
                min(max(number("speed", 0.0), 0.0), 30.0), number("heading", self.scene.weather.wind_heading)
            )
        elif event.action == "rain":
            self._rain = min(max(number("amount", 1.0), 0.0), 1.0)

    def _push(self, event: Event) -> None:
        arguments = event.arguments
        index = self._index(arguments.get("body", 0))
        x, y, z = (float(arguments.get(name) or 0.0) for name in "xyz")
        if arguments.get("toward") is not None:
            way = self._rigid.position[self._index(arguments["toward"])] - self._rigid.position[index]
            pace = float(arguments.get("speed") or 0.0) / max(math.hypot(way[0], way[2]), 1e-9)
            x, z = x + pace * float(way[0]), z + pace * float(way[2])
        self._rigid.kick(index, (x, y, z))

    def _change(self, event: Event, scene: Scene) -> None:
        """The scene is `scene` from now on."""
        hour, weather = self.climate()
        if scene.hour != self.scene.hour or scene.weather != self.scene.weather:
            self._climate = Climate(self.tick, hour, weather)
        if event.action in ("add", "do", "remove"):
            name = event.arguments.get("name" if event.action == "add" else "body")
            name = name if isinstance(name, str) else self.scene.bodies[self._index(name)].name
            self._since[name] = self.tick * TICK
            self._recast(scene)
        self.scene = scene

    def _recast(self, scene: Scene) -> None:
        """Goes on with the bodies of `scene`: those that were here stay as they are, water and cloth too."""
        kept, fresh = dict(self.__dict__), World(replace(scene, events=(), weather=self._born), self.seed)
        was = {t.body.name: i for i, t in enumerate(self._things)}
        pairs = [(i, was[t.body.name]) for i, t in enumerate(fresh._things) if t.body.name in was]
        fresh._rigid.take_over(self._rigid, pairs)
        for new, old in pairs:
            fresh._buoyancy[new] = self._buoyancy[old]
        fresh._sheets.take_over(self._sheets, {old: new for new, old in pairs})
        own = ("_things", "_columns", "_rigid", "_fleet", "_wet", "_share", "_buoyancy", "_actors", "_force", "_torque")
        self.__dict__.update(kept | {name: fresh.__dict__[name] for name in (*own, "_sheets")})
        self._wishes = self._wish()
        self._behave()
        if self._water is not None:
            self._lift()
            self._imprint(self._rigid.position)
            self._water.settle()
        self._rigid.force[:], self._rigid.torque[:] = 0.0, 0.0

    def _set_wind(self, speed: float, heading: float) -> None:
        x, z = swell.wind_direction(heading)
        self._wind = np.array([speed * x, 0.0, speed * z])

    # --- what can be seen

    @property
    def water_cell(self) -> tuple[float, float]:
        """(dx, dz) in metres."""
        half = self._place.half_size
        return 2.0 * half[0] / GRID, 2.0 * half[1] / GRID

    @property
    def water_mask(self) -> NDArray[np.bool_]:
        """(Z, X) true for cells of water; (0, 0) without water."""
        return np.zeros((0, 0), bool) if self._water is None else self._water.mask.copy()

    @property
    def state(self) -> State:
        """A copy of everything that moves, now."""
        rigid, water = self._rigid, self._water
        return State(
            tick=self.tick,
            position=rigid.position.copy(),
            orientation=rigid.orientation.copy(),
            velocity=rigid.velocity.copy(),
            angular_velocity=rigid.angular_velocity.copy(),
            water_height=np.zeros((0, 0), np.float32) if water is None else water.surface(),
            water_flow=np.zeros((2, 0, 0), np.float32) if water is None else water.flow(),
            cloth=self._sheets.grids(self._sheets.point),
            cloth_velocity=self._sheets.grids(self._sheets.velocity),
        )
