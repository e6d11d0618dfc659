"""Where things stand at the start: sizes that fit the place, relations kept, nothing inside another thing.

Horizontal positions are (x, z) in metres. Every random choice comes from the generator that is handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from elsewhere.scene import catalogue
from elsewhere.scene.description import Quaternion, Vector3
from elsewhere.scene.kinds import Environment, Mesh

GAP = 1.12
"""Least distance between two middles, in sums of their radii."""
_SMALLEST_SHARE = 0.12
"""A thing is at least this share of the longest one, so that it can be seen."""
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
_TRIES = 24


@dataclass(slots=True)
class Item:
    """One body on its way to a place. `relations` point to lists of item indices."""

    kind: str
    group: int
    factor: float = 1.0
    verbs: tuple[str, ...] = ()
    targets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Items that a verb is about, by verb."""
    relations: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    size: float = 1.0
    spot: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    height: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    carrier: int | None = None
    """Item that it stands on."""

    @property
    def length(self) -> float:
        """Longest extent, metres."""
        return catalogue.KINDS[self.kind].length * self.size

    @property
    def radius(self) -> float:
        """Half the longest extent, metres."""
        return 0.5 * self.length

    @property
    def orientation(self) -> Quaternion:
        """Quaternion xyzw of the yaw; at 0 the front looks to −Z."""
        return (0.0, math.sin(self.yaw / 2), 0.0, math.cos(self.yaw / 2))

    @property
    def front(self) -> NDArray[np.float64]:
        """Unit (x, z) that the front looks to."""
        return np.array([-math.sin(self.yaw), -math.cos(self.yaw)])

    @property
    def position(self) -> Vector3:
        """Metres, world frame."""
        return (float(self.spot[0]), float(self.height), float(self.spot[1]))

    @property
    def velocity(self) -> Vector3:
        """Metres per second along the front."""
        front = self.front
        return (float(front[0] * self.speed), 0.0, float(front[1] * self.speed))


@lru_cache(maxsize=64)
def mesh_of(kind: str) -> Mesh:
    """The mesh of a kind at natural size."""
    return catalogue.KINDS[kind].build()


@lru_cache(maxsize=64)
def lowest(kind: str) -> float:
    """Least y of a kind's mesh, body frame, metres at natural size."""
    return float(mesh_of(kind).vertices[:, 1].min())


def surface_height(kind: str, x: float, z: float) -> float | None:
    """Highest y of a kind's mesh over (x, z), body frame at natural size, or None beside the mesh."""
    mesh = mesh_of(kind)
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    flat = corners[:, :, [0, 2]]
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    point = np.array([x, z]) - flat[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    safe = np.where(np.abs(area) < 1e-12, np.inf, area)
    u = (point[:, 0] * second[:, 1] - point[:, 1] * second[:, 0]) / safe
    v = (first[:, 0] * point[:, 1] - first[:, 1] * point[:, 0]) / safe
    hit = (np.abs(area) > 1e-12) & (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6)
    if not hit.any():
        return None
    y = corners[:, 0, 1] + u * (corners[:, 1, 1] - corners[:, 0, 1]) + v * (corners[:, 2, 1] - corners[:, 0, 1])
    return float(y[hit].max())


def place(items: list[Item], environment: Environment, azimuth: float, rng: np.random.Generator) -> bool:
    """Gives every item size, spot, height, yaw and speed. Returns whether things had to be shrunk to fit in.

    `azimuth` is the camera's (radians, from +Z to +X): "behind" and "left of" are as the camera sees it.
    """
    _fit_sizes(items, environment)
    draws = rng.random((len(items), 4))
    whole_turn = float(rng.random()) * 2.0 * math.pi
    shrunk = False
    for _ in range(_TRIES):
        for item in items:
            item.carrier = None
        for index in _order(items):
            _first_spot(index, items, azimuth, whole_turn, draws)
        _recentre(items)
        if _separate(items, environment):
            break
        shrunk = True
        for item in items:
            item.size *= 0.88
    _set_headings(items, azimuth, whole_turn, draws)
    _set_heights(items, environment, draws)
    return shrunk


def _fit_sizes(items: list[Item], environment: Environment) -> None:
    """Natural sizes times the size word, within what the place can take."""
    room = 1.0 if len(items) == 1 else 0.8
    for item in items:
        natural = catalogue.KINDS[item.kind].length
        usual = min(natural, room * environment.largest)
        item.size = min(usual * item.factor, environment.largest) / natural
    longest = max((item.length for item in items), default=1.0)
    for item in items:
        share = _SMALLEST_SHARE * min(item.factor, 1.0)
        item.size *= max(1.0, share * longest / item.length)
    for index in _order(items):
        for relation, others in items[index].relations:
            if relation in ("on", "in"):
                limit = 0.55 * min(items[other].length for other in others)
                items[index].size *= min(1.0, limit / items[index].length)


def _order(items: list[Item]) -> list[int]:
    """Indices with what others refer to first; circular references are cut where they close."""
    done: list[int] = []
    seen: set[int] = set()

    def visit(index: int) -> None:
        if index in seen:
            return
        seen.add(index)
        referred = [others for _relation, others in items[index].relations] + list(items[index].targets.values())
        for others in referred:
            for other in others:
                visit(other)
        done.append(index)

    for index in range(len(items)):
        visit(index)
    return done


def _recentre(items: list[Item]) -> None:
    """Moves all things so that the middle of what they cover is the world's."""
    if items:
        low = np.min([item.spot - item.radius for item in items], axis=0)
        high = np.max([item.spot + item.radius for item in items], axis=0)
        for item in items:
            item.spot = item.spot - 0.5 * (low + high)


# First spots


def _first_spot(index: int, items: list[Item], azimuth: float, whole_turn: float, draws: NDArray[np.float64]) -> None:
    """Where an item would like to be, before overlaps are removed."""
    item = items[index]
    mates = [other for other, mate in enumerate(items) if mate.group == item.group]
    rank = mates.index(index)
    # What stands on this item, directly or not, cannot carry it.
    relations = [
        (name, others) for name, others in item.relations if all(_base(items, other) != index for other in others)
    ]
    relation = next(iter(relations), None)
    round_what = next((item.targets[verb] for verb in ("circle", "battle") if verb in item.targets), ())
    if relation is None and round_what and items[round_what[0]].group != item.group:
        relation = ("around", round_what)
    if relation is not None:
        _related_spot(item, relation, rank, len(mates), items, azimuth, draws[index])
    elif "battle" in item.verbs and len(mates) > 1:
        angle = whole_turn + 2 * math.pi * rank / len(mates)
        item.spot = 0.62 * item.length * max(1.0, len(mates) / 3.0) * _direction(angle)
    else:
        spacing = max(other.radius for other in items) * 1.3
        radius = spacing * math.sqrt(index + 0.15 * draws[index, 0])
        item.spot = radius * _direction(whole_turn + index * _GOLDEN_ANGLE)


def _related_spot(
    item: Item,
    relation: tuple[str, tuple[int, ...]],
    rank: int,
    count: int,
    items: list[Item],
    azimuth: float,
    draw: NDArray[np.float64],
) -> None:
    """The spot that a relation asks for; `rank` of `count` alike things."""
    name, others = relation
    other = items[others[rank % len(others)]]
    reach = item.radius + other.radius
    viewer = _direction(azimuth)
    right = np.array([viewer[1], -viewer[0]])
    if name in ("on", "in"):
        item.carrier = others[rank % len(others)]
        sharing = math.ceil(count / len(others))
        ring = 0.0 if sharing == 1 else 0.22 * other.length
        item.spot = other.spot + ring * _direction(2 * math.pi * (rank // len(others)) / sharing + draw[1])
        return
    if name in ("above", "under"):
        item.spot = other.spot + 0.1 * item.radius * _direction(draw[1] * 6.3)
        return
    if name == "between":
        _between(item, others, items)
        return
    sideways = (rank - (count - 1) / 2) * GAP * item.length
    step = {"behind": -viewer, "in front of": viewer, "left of": -right, "right of": right}.get(name)
    if step is not None:
        across = right if name in ("behind", "in front of") else viewer
        item.spot = other.spot + GAP * 1.02 * reach * step + sideways * across
        return
    far = {"near": 1.7, "around": 1.45}.get(name, 1.02) * GAP * reach
    angle = 2 * math.pi * (rank / count + draw[1] * (0.1 if name == "around" else 1.0))
    if name == "next to":
        angle = math.atan2(right[0], right[1]) + (0.6 * draw[1] - 0.3) + math.pi * (rank % 2)
    item.spot = other.spot + far * _direction(angle)


def _between(item: Item, others: tuple[int, ...], items: list[Item]) -> None:
    """The middle of two things, which make room."""
    first, second = items[others[0]], items[others[-1]]
    middle = 0.5 * (first.spot + second.spot)
    along = second.spot - first.spot
    distance = float(np.linalg.norm(along))
    along = along / distance if distance > 1e-9 else np.array([1.0, 0.0])
    if others[0] != others[-1]:
        first.spot = middle - along * max(0.5 * distance, GAP * 1.02 * (item.radius + first.radius))
        second.spot = middle + along * max(0.5 * distance, GAP * 1.02 * (item.radius + second.radius))
    item.spot = middle


def _direction(angle: float) -> NDArray[np.float64]:
    """Unit (x, z) at an angle from +Z to +X."""
    return np.array([math.sin(angle), math.cos(angle)])


# No overlaps


def _separate(items: list[Item], environment: Environment) -> bool:
    """Pushes things apart until none overlap and all are inside; False where the place is too small."""
    loose = [index for index, item in enumerate(items) if item.carrier is None]
    spots = np.array([items[index].spot for index in loose]).reshape(-1, 2)
    radii = np.array([items[index].radius for index in loose])
    apart = GAP * (radii[:, None] + radii[None, :])
    for first, left in enumerate(loose):
        for second, right in enumerate(loose):
            if _stacked(items, left, right):
                apart[first, second] = 0.0
    np.fill_diagonal(apart, 0.0)
    fits = False
    for _ in range(160):
        spots = _inside(spots, radii, environment)
        delta = spots[:, None, :] - spots[None, :, :]
        distance = np.linalg.norm(delta, axis=2)
        lacking = np.maximum(apart - distance, 0.0)
        fits = bool((lacking <= 1e-6 * (1.0 + apart)).all())
        if fits:
            break
        # Two things in one spot are parted along a direction that only their order decides.
        turn = np.subtract.outer(np.arange(len(loose)), np.arange(len(loose))) * 1.0
        fallback = np.stack([np.sign(turn), 0.37 * np.sign(turn)], axis=2)
        unit = np.where(distance[..., None] > 1e-6, delta / np.maximum(distance, 1e-6)[..., None], fallback)
        spots = spots + 0.52 * (unit * lacking[..., None]).sum(axis=1)
    moved = {index: spots[rank] - items[index].spot for rank, index in enumerate(loose)}
    for index, item in enumerate(items):
        item.spot = item.spot + moved[_base(items, index)]
    return fits


def _base(items: list[Item], index: int) -> int:
    """The item at the foot of the stack that an item stands on."""
    carrier = items[index].carrier
    return index if carrier is None else _base(items, carrier)


def _stacked(items: list[Item], left: int, right: int) -> bool:
    """Whether one is above or under the other, so that their circles may cross."""
    for one, two in ((left, right), (right, left)):
        for name, others in items[one].relations:
            if name in ("above", "under") and two in others:
                return True
    return False


def _inside(spots: NDArray[np.float64], radii: NDArray[np.float64], environment: Environment) -> NDArray[np.float64]:
    """Spots moved inside the outline and the reach, each with its own radius."""
    half = np.array(environment.half_size)
    if environment.outline == "box":
        limit = np.maximum(half[None, :] * 0.96 - radii[:, None], 0.0)
        spots = np.clip(spots, -limit, limit)
    limit = np.maximum(environment.reach - (0.4 * radii if environment.outline != "box" else 0.0), 0.0)
    if environment.outline == "disc":
        limit = np.minimum(limit, np.maximum(0.95 * float(half.min()) - radii, 0.0))
    distance = np.linalg.norm(spots, axis=1)
    share: NDArray[np.float64] = np.minimum(1.0, limit / np.maximum(distance, 1e-9))
    return spots * share[:, None]


# Headings and heights


def _set_headings(items: list[Item], azimuth: float, whole_turn: float, draws: NDArray[np.float64]) -> None:
    """Fronts along the motion; broadside in battle; what stands looks to the camera."""
    for index, item in enumerate(items):
        centre = _centre(index, items)
        away = item.spot - centre
        if ("battle" in item.verbs and float(np.linalg.norm(away)) > 1e-9) or (
            "circle" in item.verbs and float(np.linalg.norm(away)) > 1e-9
        ):
            item.yaw = _yaw(np.array([-away[1], away[0]]))
        elif "sail" in item.verbs or "roll" in item.verbs or "drift" in item.verbs:
            item.yaw = whole_turn + 0.7 * (draws[index, 2] - 0.5)
        else:
            item.yaw = azimuth + math.pi + 1.2 * (draws[index, 2] - 0.5)
        item.speed = _pace(item)


def _centre(index: int, items: list[Item]) -> NDArray[np.float64]:
    """What an item fights or circles: its targets' middle, or the world's."""
    others = [other for verb in ("battle", "circle") for other in items[index].targets.get(verb, ())]
    if not others:
        return np.zeros(2)
    return np.array(np.mean([items[other].spot for other in others], axis=0))


def _yaw(along: NDArray[np.float64]) -> float:
    """Yaw at which the front looks along (x, z)."""
    return math.atan2(-float(along[0]), -float(along[1]))


def _pace(item: Item) -> float:
    """Speed at the start, m/s: a hull's usual share of its wave speed √(g·length)."""
    if catalogue.KINDS[item.kind].fixed or item.carrier is not None:
        return 0.0
    shares = {"sail": 0.2, "battle": 0.12, "circle": 0.15, "roll": 0.35, "drift": 0.02}
    share = max((shares.get(verb, 0.0) for verb in item.verbs), default=0.0)
    return share * math.sqrt(9.81 * item.length)


def _set_heights(items: list[Item], environment: Environment, draws: NDArray[np.float64]) -> None:
    """Floating things at the water's level, standing things on their feet, falling things above."""
    for index in _order(items):
        item = items[index]
        if item.carrier is not None:
            # Fixed kinds have their origin at the foot and may go on below it.
            foot = 0.0 if catalogue.KINDS[item.kind].fixed else lowest(item.kind) * item.size
            item.height = _top(items[item.carrier], item.spot) - foot
        elif environment.has_water or catalogue.KINDS[item.kind].fixed:
            item.height = 0.0
        else:
            item.height = -lowest(item.kind) * item.size
        for name, others in item.relations:
            if name == "above":
                top = max(items[other].height + items[other].radius for other in others)
                item.height = top + item.radius + 0.3 * item.length
            elif name == "under" and environment.has_water:
                depth = min(environment.depth, item.length + 0.5 * items[others[0]].length)
                item.height = -0.75 * depth
        if {"fall", "bounce"} & set(item.verbs) and not catalogue.KINDS[item.kind].fixed:
            item.height += item.length * (1.0 + draws[index, 3])


def _top(carrier: Item, spot: NDArray[np.float64]) -> float:
    """World height of a carrier's surface under a spot (its mesh turned by its yaw), metres."""
    x, z = (spot - carrier.spot) / carrier.size
    cosine, sine = math.cos(carrier.yaw), math.sin(carrier.yaw)
    found = surface_height(carrier.kind, cosine * x - sine * z, sine * x + cosine * z)
    top = float(mesh_of(carrier.kind).vertices[:, 1].max()) if found is None else found
    return carrier.height + top * carrier.size
