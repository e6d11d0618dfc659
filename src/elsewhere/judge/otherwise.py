"""The same moment as it would look if something were otherwise: a thing gone, two things in each other's place, a thing
turned, a camera turned. What a picture shows is then the drawing that it is nearest to.

Drawings are plainly lit guides: quick, and exact where things are. Nothing here asks how a picture was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.play import Moment, Picture, Play, shown
from elsewhere.physics.state import State
from elsewhere.render import Stage
from elsewhere.scene import Camera, Scene
from elsewhere.scene.catalogue import KINDS

DIFFERENT = 0.06
"""How much two drawings must differ at a pixel, in display values, for the pixel to tell them apart."""
LEAST_PIXELS = 24
"""So many pixels must tell two drawings apart; fewer say nothing."""


def cloth_owners(scene: Scene) -> list[int]:
    """The body of each array of `State.cloth`."""
    return [number for number, body in enumerate(scene.bodies) for _ in KINDS[body.kind].cloths]


def turned(scene: Scene, state: State, number: int, angle: float) -> State:
    """The state with one body turned by `angle` radians about its own upright axis, left as seen from above."""
    half = 0.5 * angle
    spin = np.array([0.0, np.sin(half), 0.0, np.cos(half)])
    orientation = state.orientation.copy()
    orientation[number] = multiply(spin, orientation[number])
    move = rotation(spin)
    centre = state.position[number]
    cloth = tuple(
        ((np.asarray(points) - centre) @ move.T + centre).astype(points.dtype) if owner == number else points
        for owner, points in zip(cloth_owners(scene), state.cloth, strict=True)
    )
    return replace(state, orientation=orientation, cloth=cloth)


def swapped(scene: Scene, state: State, one: int, other: int) -> State:
    """The state with two bodies in each other's place and heading."""
    position, orientation = state.position.copy(), state.orientation.copy()
    position[[one, other]], orientation[[one, other]] = position[[other, one]], orientation[[other, one]]
    cloth = []
    for owner, points in zip(cloth_owners(scene), state.cloth, strict=True):
        if owner not in (one, other):
            cloth.append(points)
            continue
        move = rotation(orientation[owner]) @ rotation(state.orientation[owner]).T
        cloth.append(((points - state.position[owner]) @ move.T + position[owner]).astype(points.dtype))
    return replace(state, position=position, orientation=orientation, cloth=tuple(cloth))


def without(scene: Scene, state: State, gone: frozenset[int]) -> tuple[Scene, State]:
    """Scene and state less some bodies. What aims at one of them no longer does; nothing moves in a drawing."""
    kept = [number for number in range(len(scene.bodies)) if number not in gone]
    bodies = tuple(replace(scene.bodies[number], behaviours=()) for number in kept)
    owners = cloth_owners(scene)
    rows: dict[str, Any] = {
        name: getattr(state, name)[kept] for name in ("position", "orientation", "velocity", "angular_velocity")
    }
    sheets: dict[str, Any] = {
        name: tuple(a for owner, a in zip(owners, getattr(state, name), strict=True) if owner not in gone)
        for name in ("cloth", "cloth_velocity")
    }
    return replace(scene, bodies=bodies, events=()), replace(state, **rows, **sheets)


def stage_without(play: Play, state: State, gone: frozenset[int]) -> tuple[Stage, State]:
    """A stage that lacks some bodies, and the state to draw on it."""
    scene, left = without(play.scene, state, gone)
    return Stage(scene, play.world.swell, play.world.water_cell), left


def drawing(stage: Stage, state: State, camera: Camera) -> Picture:
    """The plainly lit guide as display RGB."""
    return shown(stage.guide(state, camera).lit)


def multiply(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quaternion p · q, xyzw: first q, then p."""
    vector = p[3] * q[:3] + q[3] * p[:3] + np.cross(p[:3], q[:3])
    return np.array([*vector, p[3] * q[3] - p[:3] @ q[:3]])


def rotation(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) of a unit quaternion xyzw."""
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matched(picture: Picture, drawn: Picture, where: NDArray[np.bool_]) -> Picture:
    """The picture with the light and contrast of a drawing: a factor and a shift for each colour, fitted on `where`.

    A drawing lacks light from around; the pixels of `where` are those that look the same in all drawings.
    """
    if where.sum() < LEAST_PIXELS:
        return picture
    out = np.empty_like(picture)
    for channel in range(3):
        x, y = picture[where, channel].astype(np.float64), drawn[where, channel].astype(np.float64)
        spread = float(x.var())
        # A flat surrounding says nothing of contrast; a film of one colour must not be stretched into a picture.
        factor = float(np.clip(((x - x.mean()) * (y - y.mean())).mean() / spread, 0.5, 2.0)) if spread > 1e-4 else 1.0
        out[..., channel] = factor * picture[..., channel] + (y.mean() - factor * x.mean())
    return out


def tells(one: Picture, other: Picture) -> NDArray[np.bool_]:
    """(H, W) pixels that tell two drawings apart."""
    return np.asarray(np.abs(one - other).max(axis=-1) > DIFFERENT, np.bool_)


def prefers(picture: Picture, true: Picture, other: Picture) -> bool | None:
    """Whether a picture is nearer to the drawing of what is than to another one; None where they look alike."""
    where = tells(true, other)
    if where.sum() < LEAST_PIXELS:
        return None
    seen = matched(picture, true, ~where)
    return bool(((seen - true)[where] ** 2).sum() < ((seen - other)[where] ** 2).sum())


def best_turn(
    picture: Picture, draw: Callable[[float], Picture], coarse: NDArray[np.float64], finest: float
) -> tuple[float, float] | None:
    """(angle, contrast) of the drawing that a picture is nearest to; None where drawings look alike.

    `draw(angle)` draws, `coarse` are evenly spaced angles to begin with; they are refined to `finest` and then by a
    parabola. Contrast is the mean squared error of the best over that of the mean drawing: near 1 says nothing.
    """
    known = {float(angle): draw(float(angle)) for angle in coarse}
    stack = np.stack(list(known.values()))
    where = np.asarray(np.ptp(stack, axis=0).max(axis=-1) > DIFFERENT, np.bool_)
    if where.sum() < LEAST_PIXELS:
        return None
    seen = matched(picture, stack.mean(axis=0), ~where)

    def error(angle: float) -> float:
        if angle not in known:
            known[angle] = draw(angle)
        return float(((seen - known[angle])[where] ** 2).mean())

    step = float(coarse[1] - coarse[0])
    best = min(known, key=error)
    while step > finest:
        step /= 3.0
        best = min((best + k * step for k in (-2, -1, 0, 1, 2)), key=error)
    low, middle, high = error(best - step), error(best), error(best + step)
    bend = low - 2.0 * middle + high
    shift = float(np.clip(0.5 * (low - high) / bend, -1.0, 1.0)) if bend > 0.0 else 0.0
    base = float(((seen - stack.mean(axis=0))[where] ** 2).mean())
    return best + shift * step, middle / max(base, 1e-12)


def seen_pixels(moment: Moment, number: int) -> int:
    """How many pixels show a body."""
    return int((moment.guide.instance == number).sum())
