"""What bodies try to do: each verb becomes a force and a torque, never a prescribed path.

A helm decides a few dozen times a second and holds its forces in between. Steering keeps things within the
reach of their environment and out of each other's way. Plain Python: there are few bodies and no arrays.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

GRAVITY = 9.81
PACE = 0.3
"""Lengths per second of a thing under way at speed 1."""
UNDER_WAY = frozenset({"sail", "battle", "circle"})
RAMMING = 1.75
"""From this speed on a thing does not keep clear of what it goes for."""
SINKING_TIME = 7.0
"""Seconds until a sinking thing has lost all of its lift, at speed 1."""
BROADSIDE = 1.5
"""Seconds between two broadsides at speed 1."""
RECOIL = 1.0 / 12.0
"""Seconds that the recoil of a broadside lasts."""


@dataclass(slots=True)
class Actor:
    """One body as its helm sees it: y-up world frame, SI. `course` (x, z) is where it looked at the start; `force` and
    `torque` are what it does, `buoyancy` what is left of its lift."""

    length: float
    moment: float
    mass: float
    course: tuple[float, float]
    fixed: bool
    position: Sequence[float] = (0.0, 0.0, 0.0)
    orientation: Sequence[float] = (0.0, 0.0, 0.0, 1.0)
    velocity: Sequence[float] = (0.0, 0.0, 0.0)
    spin: Sequence[float] = (0.0, 0.0, 0.0)
    force: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    torque: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    buoyancy: float = 1.0

    def front(self) -> tuple[float, float]:
        """Unit (x, z) that the body looks to; −Z if it looks straight up or down."""
        x, y, z, w = self.orientation
        front_x, front_z = -2.0 * (x * z + y * w), 2.0 * (x * x + y * y) - 1.0
        size = math.hypot(front_x, front_z)
        return (front_x / size, front_z / size) if size > 1e-3 else (0.0, -1.0)

    def push(self, x: float, z: float) -> None:
        """Adds a level force in newtons."""
        self.force[0] += x
        self.force[2] += z

    def twist(self, about: tuple[float, float], amount: float) -> None:
        """Adds a torque of `amount` N m about the level axis `about` (x, z)."""
        self.torque[0] += amount * about[0]
        self.torque[2] += amount * about[1]


@dataclass(frozen=True, slots=True)
class Wish:
    """What actor `body` wants. `target` is another actor or None, `sense` ±1 the way round that is shorter, `since` the
    second from which on it wants it."""

    body: int
    verb: str
    target: int | None = None
    speed: float = 1.0
    sense: float = 1.0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it happens: `wind` (x, z) m/s, `reach` m, on water or on land, `seconds` since the start, `interval`
    seconds for which this decision holds."""

    wind: tuple[float, float]
    reach: float
    afloat: bool
    seconds: float
    interval: float


Shot = tuple[float, float, float]
"""x, z in metres and the size of a splash that a shot makes in the water."""


def _unit(x: float, z: float) -> tuple[float, float]:
    size = math.hypot(x, z)
    return (x / size, z / size) if size > 1e-9 else (1.0, 0.0)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def steer(
    me: Actor, actors: Sequence[Actor], way: tuple[float, float], reach: float, prey: Actor | None = None
) -> tuple[float, float]:
    """The unit direction nearest to `way` that leads neither over the border at `reach` m nor into another body but
    `prey`."""
    x, _, z = me.position
    way_x, way_z = way
    distance = math.hypot(x, z) + 1e-9
    near = _clamp((distance / reach - 0.55) / 0.4, 0.0, 1.0)
    if near > 0.0 and (way_x * x + way_z * z) / distance > -0.5:
        turn = 1.0 if way_z * x - way_x * z >= 0.0 else -1.0
        bend_x, bend_z = (-turn * z - 0.8 * x) / distance, (turn * x - 0.8 * z) / distance
        way_x, way_z = way_x + near * (bend_x - way_x), way_z + near * (bend_z - way_z)
    for other in actors:
        if other is me or other is prey:
            continue
        dx, dz = x - other.position[0], z - other.position[2]
        apart, room = math.hypot(dx, dz) + 1e-9, 0.62 * (me.length + other.length)
        if apart < room:
            press = 1.6 * (1.0 - apart / room)
            way_x, way_z = way_x + press * dx / apart, way_z + press * dz / apart
    return _unit(way_x, way_z)


def _make_way(me: Actor, way: tuple[float, float], speed: float, turning: float, stage: Stage) -> None:
    """Turns a body's front towards `way` at no more than `turning` rad/s and drives it ahead at `speed` m/s."""
    front_x, front_z = me.front()
    firm = 1.0 if stage.afloat else 2.5
    error = math.atan2(front_z * way[0] - front_x * way[1], front_x * way[0] + front_z * way[1])
    me.torque[1] += firm * me.moment * 2.5 * (_clamp(1.6 * error, -turning, turning) - me.spin[1])
    along = me.velocity[0] * front_x + me.velocity[2] * front_z
    push = 3.0 * me.mass * firm * _clamp(speed * max(0.35, math.cos(error)) - along, -0.6 * speed, 1.2 * speed)
    me.push(push * front_x, push * front_z)
    if stage.afloat:
        across = stage.wind[1] * front_x - stage.wind[0] * front_z
        me.twist((front_x, front_z), me.mass * GRAVITY * me.length * 0.0004 * _clamp(across, -8.0, 8.0))
    else:
        # on land nothing but its driver keeps a hull upright
        x, y, z, w = me.orientation
        lean_x, lean_z = 2.0 * (x * y - z * w), 2.0 * (y * z + x * w)
        me.torque[0] -= me.moment * (40.0 * lean_z + 8.0 * me.spin[0])
        me.torque[2] += me.moment * (40.0 * lean_x - 8.0 * me.spin[2])


def _course(wish: Wish, actors: Sequence[Actor]) -> tuple[tuple[float, float], Actor | None]:
    """Where a body wants to go, and what it would not mind to strike."""
    me = actors[wish.body]
    if wish.target is None:
        return me.course, None
    goal = actors[wish.target]
    way = _unit(goal.position[0] - me.position[0], goal.position[2] - me.position[2])
    return way, goal if wish.speed >= RAMMING else None


def _sail(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    way, prey = _course(wish, actors)
    front_x, front_z = me.front()
    # a fair wind helps a little, a foul one costs a little
    fair = (stage.wind[0] * front_x + stage.wind[1] * front_z) / (math.hypot(*stage.wind) + 0.5)
    speed = PACE * me.length * wish.speed * (0.95 + 0.1 * fair)
    _make_way(me, steer(me, actors, way, stage.reach, prey), speed, 0.7, stage)


def _round(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    """Goes round the target, or round the middle of the world, broadside on."""
    me = actors[wish.body]
    centre, around = (0.0, 0.0), 0.55 * stage.reach
    if wish.target is not None:
        goal = actors[wish.target]
        centre = goal.position[0], goal.position[2]
        around = min(0.85 * (me.length + goal.length), 0.6 * stage.reach + 0.5 * me.length)
    dx, dz = me.position[0] - centre[0], me.position[2] - centre[1]
    apart = math.hypot(dx, dz) + 1e-9
    dx, dz = dx / apart, dz / apart
    inward = _clamp(1.6 * (apart - around) / around, -1.0, 1.0)
    on = wish.sense * math.sqrt(max(0.05, 1.0 - inward * inward))
    way = steer(me, actors, (-dz * on - dx * inward, dx * on - dz * inward), stage.reach)
    _make_way(me, way, PACE * me.length * wish.speed, 1.0, stage)


def _battle(wish: Wish, actors: Sequence[Actor], stage: Stage) -> Shot | None:
    """Goes round its enemy and fires: recoil rolls the ship, and shot strikes the water beside the target."""
    _round(wish, actors, stage)
    if wish.target is None:
        return None
    me, enemy = actors[wish.body], actors[wish.target]
    dx, dz = _unit(me.position[0] - enemy.position[0], me.position[2] - enemy.position[2])
    period = BROADSIDE / max(wish.speed, 0.2)
    clock = stage.seconds / period + 0.35 + 0.43 * wish.body
    since = (clock - math.floor(clock)) * period
    if since < RECOIL:
        front_x, front_z = me.front()
        kick = 0.9 * me.mass * math.sqrt(me.length)
        me.push(kick * dx, kick * dz)
        side = 1.0 if dz * front_x - dx * front_z > 0.0 else -1.0
        me.twist((front_x, front_z), side * 3.0 * me.moment)
    if since >= stage.interval:
        return None
    scatter = math.sin(12.9898 * math.floor(clock) + 78.233 * wish.body) * 43758.5453
    scatter = 0.8 * (scatter - math.floor(scatter)) - 0.4
    near = 0.42 * enemy.length
    return (
        enemy.position[0] + near * dx - scatter * enemy.length * dz,
        enemy.position[2] + near * dz + scatter * enemy.length * dx,
        0.05 * me.length,
    )


def _drift(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    breeze = math.hypot(*stage.wind)
    way = steer(me, actors, _unit(*stage.wind), stage.reach)
    carry = 0.13 * breeze / (breeze + 3.0) * math.sqrt(me.length) * wish.speed
    me.push(0.8 * me.mass * (carry * way[0] - me.velocity[0]), 0.8 * me.mass * (carry * way[1] - me.velocity[2]))
    me.torque[1] += 0.4 * me.moment * (0.15 * wish.sense - me.spin[1])


def _roll(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    course, prey = _course(wish, actors)
    way, speed = steer(me, actors, course, stage.reach, prey), 1.6 * PACE * me.length * wish.speed
    me.push(1.5 * me.mass * (speed * way[0] - me.velocity[0]), 1.5 * me.mass * (speed * way[1] - me.velocity[2]))


def _sink(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    seconds = stage.seconds - wish.since
    me.buoyancy = max(0.0, 1.0 - seconds * wish.speed / SINKING_TIME)
    front_x, front_z = me.front()
    lean = min(1.0, 0.25 * seconds * wish.speed) * 0.012 * me.mass * GRAVITY * me.length
    me.twist((front_x, front_z), wish.sense * lean)
    me.twist((-front_z, front_x), -0.8 * lean)


def _wave(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    me.twist(me.front(), 1.1 * me.moment * math.sin(3.4 * wish.speed * stage.seconds + wish.body))


def _spin(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    me = actors[wish.body]
    me.torque[1] += 4.0 * me.moment * (1.8 * wish.sense * wish.speed - me.spin[1])


def _stay(wish: Wish, actors: Sequence[Actor], stage: Stage) -> None:
    """Wishes nothing; what strays to the border is drawn back."""
    me = actors[wish.body]
    x, _, z = me.position
    distance = math.hypot(x, z) + 1e-9
    over = distance / stage.reach - 0.95
    if over > 0.0:
        draw = 2.0 * me.mass * min(4.0 * over, 1.0)
        me.push(
            -draw * x / distance - 0.5 * me.mass * me.velocity[0], -draw * z / distance - 0.5 * me.mass * me.velocity[2]
        )


_DO: dict[str, Callable[[Wish, Sequence[Actor], Stage], Shot | None]] = {
    "battle": _battle,
    "bounce": _stay,
    "circle": _round,
    "drift": _drift,
    "fall": _stay,
    "rest": _stay,
    "roll": _roll,
    "sail": _sail,
    "sink": _sink,
    "spin": _spin,
    "wave": _wave,
}  # type: ignore[dict-item]
VERBS = tuple(_DO)
"""The verbs that are known here."""


def check_verb(verb: str) -> str:
    """Returns `verb`; raises ValueError for one that nothing can do."""
    if verb in _DO:
        return verb
    near = difflib.get_close_matches(verb, VERBS, 1, 0.0)[0]
    raise ValueError(f"verb must be one of {sorted(VERBS)}; got {verb!r}; nearest is {near!r}")


def decide(wishes: Sequence[Wish], actors: Sequence[Actor], stage: Stage) -> list[Shot]:
    """Writes `force`, `torque` and `buoyancy` of all actors; returns where shot strikes the water just now."""
    for actor in actors:
        actor.force, actor.torque = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    shots = [_DO[w.verb](w, actors, stage) for w in wishes if not actors[w.body].fixed]
    return [shot for shot in shots if shot is not None]
