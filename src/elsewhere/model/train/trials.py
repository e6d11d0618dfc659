"""Short films of one motion that anyone can foresee: a ball that rolls, one that is struck, one that falls.

The question is that of Kang et al. 2024 ("How Far is Video Generation from World Model: A Physical Law Perspective",
arXiv 2411.02385): does a network that is shown the first frames continue the motion where it has seen such motions,
where it has seen the parts but not together, and where it has seen nothing like it? This file makes the films; it
does not know the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.train.data import TICKS_PER_FRAME, Film
from elsewhere.physics import World
from elsewhere.scene import Camera, camera_at, catalogue
from elsewhere.scene.description import Body, Scene, Shot, Vector3, Weather
from elsewhere.scene.holdout import held_out
from elsewhere.scene.kinds import Kind
from elsewhere.scene.words import light

MOTIONS = ("free", "collision", "fall")
REGIMES = ("inside", "new", "outside")
"""Within the training set's speeds and combinations; with a held-out combination; faster than anything in it."""
FRAMES = 8
SIDE = 128
PLACES = ("snowy field", "desert")
COLOURS = ("red", "blue", "green", "orange", "purple")
ALIKE = ({"red", "orange"}, {"blue", "purple"})
"""Colours that no film has together: a tracker of colours would take them for each other."""
INSIDE, OUTSIDE = (1.0, 1.9), (6.0, 8.0)
"""Pixels per frame of 1/24 s of 128² pictures: between the upper quarter and 95 % of what things in the first training
set do, as far as they move, and faster than 99.5 % (`elsewhere data report` prints them)."""
VIEW = 7.0
"""Diameters of the ball that fit side by side into the picture: it is a little larger than a token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One film: what moves how, and its arrays as `data.Film` gives them (T frames, B balls).

    `track` (T, B, 2) is where the balls' middles are in the picture, pixels right and down; `speed` is the wanted one.
    """

    motion: str
    regime: str
    scene: Scene
    speed: float
    arrays: dict[str, NDArray[Any]]
    track: NDArray[np.float64]


def draw_trial(motion: str, regime: str, number: int, *, seed: int = 11, samples: int = 12) -> Trial:
    """The film of (motion, regime, number, seed). Raises ValueError for names that are none of the above."""
    if motion not in MOTIONS:
        raise ValueError(f"motion must be one of {', '.join(MOTIONS)}; got {motion!r}")
    if regime not in REGIMES:
        raise ValueError(f"regime must be one of {', '.join(REGIMES)}; got {regime!r}")
    key = MOTIONS.index(motion) * len(REGIMES) + REGIMES.index(regime)
    rng = np.random.Generator(np.random.Philox(key=[seed, 1000 * key + number]))
    while True:
        speed = float(rng.uniform(*(OUTSIDE if regime == "outside" else INSIDE)))
        scene = _scene(motion, speed, rng)
        if held_out(scene) == (regime == "new"):
            break
    return _filmed(motion, regime, scene, speed, samples)


def _scene(motion: str, speed: float, rng: np.random.Generator) -> Scene:
    kind: Kind = catalogue.KINDS["ball"]
    place = PLACES[int(rng.integers(len(PLACES)))]
    hour = [h for w, h in light.HOURS.items() if w in ("morning", "noon", "afternoon")][int(rng.integers(3))]
    colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))]
    if set(colours[:2]) in ALIKE:
        colours[1] = colours[2]
    side = 1.0 if rng.random() < 0.5 else -1.0
    size = _fall_width(speed) / (VIEW * kind.length) if motion == "fall" else 1.0
    length = size * kind.length
    pace = side * speed * 24.0 * VIEW * length / SIDE
    # The way that it has in all frames lies in the middle of the picture.
    way = pace * (FRAMES - 1) / 24.0
    bodies: tuple[tuple[Vector3, Vector3], ...]
    if motion == "fall":
        bodies = (((float(rng.uniform(-1.0, 1.0)) * length, abs(way) + 0.5 * length, 0.0), (0.0, 0.0, 0.0)),)
    elif motion == "free":
        bodies = (((-0.5 * way, 0.0, 0.0), (pace, 0.0, 0.0)),)
    else:
        # They touch after the known frames, in the middle of the film.
        gap = length + abs(pace) * 4.0 / 24.0
        first = -0.5 * side * gap
        bodies = (((first, 0.0, 0.0), (pace, 0.0, 0.0)), ((first + side * gap, 0.0, 0.0), (0.0, 0.0, 0.0)))
    made = tuple(
        Body(
            name=f"ball {at + 1}",
            kind="ball",
            size=size,
            color=catalogue.COLORS[colours[at]],
            color_name=colours[at],
            position=position,
            velocity=velocity,
            angular_velocity=(0.0, 0.0, -velocity[0] / (0.5 * length)),
        )
        for at, (position, velocity) in enumerate(bodies)
    )
    prompt = " and ".join(f"a {body.color_name} ball" for body in made) + f" in a {place}"
    shot = Shot(azimuth=0.0, elevation=0.12)
    return Scene(prompt=prompt, environment=place, bodies=made, hour=hour, weather=Weather(wind_speed=0.0), shot=shot)


def _fall_width(speed: float) -> float:
    """Metres of a picture in which what falls from rest moves `speed` pixels a frame in the mean of a film."""
    return 0.5 * 9.81 * (FRAMES - 1) / 24.0 / 24.0 * SIDE / speed


def _filmed(motion: str, regime: str, scene: Scene, speed: float, samples: int) -> Trial:
    world = World(scene, 1)
    film = Film(world, samples)
    camera = _camera(scene)
    track = []
    for frame in range(FRAMES):
        state = world.advance(TICKS_PER_FRAME if frame else 0)
        film.take(state, camera, (0.0,) * 5, seed=frame)
        track.append(project(state.position, camera.c2w, camera.focal, camera.center))
    positions = {"positions": np.arange(FRAMES, dtype=np.float32)}
    return Trial(
        motion=motion, regime=regime, scene=scene, speed=speed, arrays=film.arrays() | positions, track=np.stack(track)
    )


def _camera(scene: Scene) -> Camera:
    """Straight from the side, at the distance at which `VIEW` balls fit."""
    length = catalogue.KINDS["ball"].length * scene.bodies[0].size
    middle = (0.0, 0.5 * length + 0.5 * scene.bodies[0].position[1], 0.0)
    camera = camera_at(scene, 0.0, SIDE, SIDE, focus=middle)
    c2w = camera.c2w.copy()
    c2w[:3, 3] = np.array(middle) + VIEW * length * camera.focal / SIDE * c2w[:3, 2]
    c2w[1, 3] = max(c2w[1, 3], 0.3 * length)
    return replace(camera, c2w=c2w)


def project(
    points: NDArray[np.float64], c2w: NDArray[np.float64], focal: float, center: tuple[float, float]
) -> NDArray[np.float64]:
    """(B, 3) metres → (B, 2) pixels right and down, for points in front of the camera."""
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]
    found: NDArray[np.float64] = np.stack(
        [focal * local[:, 0] / -local[:, 2] + center[0], center[1] - focal * local[:, 1] / -local[:, 2]], axis=-1
    )
    return found
