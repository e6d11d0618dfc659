"""Training clips: sampled prompts, calculated states, guides, rays, and the path-traced pictures of the same states.

A clip's content is a function of (seed, clip number) alone, so that a build can be cut off and go on, on any number
of processes. How files are written and checked is `shards`'s.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.planes import PLANES, depth_to_disparity, guide_planes, scene_scale
from elsewhere.model.rays import token_rays
from elsewhere.model.train.motion import HeadMotion
from elsewhere.model.train.shards import Manifest, Shard, ShardError, clip_path, locked, read_arrays, write_arrays
from elsewhere.model.warp import REDUCTION, warp
from elsewhere.physics import World
from elsewhere.render import Stage, to_display
from elsewhere.render.denoise import denoise
from elsewhere.scene import camera_at
from elsewhere.scene.catalogue import COLORS, ENVIRONMENTS, KINDS
from elsewhere.scene.description import Event, Scene
from elsewhere.scene.holdout import draw_scene
from elsewhere.scene.json import to_json
from elsewhere.scene.shots import subject
from elsewhere.scene.words import caption_tokens, paraphrases, short_tokens
from elsewhere.scene.words.sample import things_of

if TYPE_CHECKING:
    from elsewhere.physics import State
    from elsewhere.render import Guide
    from elsewhere.scene import Camera

TICKS_PER_FRAME = 10
"""1/24 s."""
LATEST_START = 72
"""Frames of the world's time that may pass before a clip begins."""
EVENT_SHARE = 0.25
"""Clips in the middle of which something happens."""
LEAST_SHARE = 0.22
"""Of the picture's side that the largest thing takes up: well above a token."""
TINY_SHARE = 0.15
"""Chance of a scene whose things are all smaller than that."""
SIZES: tuple[tuple[int, int, float], ...] = (
    (128, 128, 0.75), (192, 128, 0.075), (128, 192, 0.075), (192, 192, 0.10),
)  # fmt: skip
SIDE_LEAST, SIDE_MOST = 32, 512


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What a data set is made of. `samples` are the most paths per pixel of the reference; `sizes` are
    (width, height, share) and a clip draws one of them; `evaluation` takes held-out combinations only, `first` is the
    number of the first clip. ValueError names what cannot be."""

    clips: int = 900
    frames: int = 8
    sizes: tuple[tuple[int, int, float], ...] = SIZES
    samples: int = 12
    seed: int = 1
    first: int = 0
    evaluation: bool = False
    processes: int = 2

    def __post_init__(self) -> None:
        for name, least, most in (
            ("clips", 1, 10**6), ("frames", 1, 240), ("samples", 1, 4096), ("seed", 0, 2**63 - 1),
            ("first", 0, 10**6 - 1), ("processes", 1, 1024),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(
                    f"{name} must be {least} to {most}; got {value}; nearest is {min(max(value, least), most)}"
                )
        if self.first + self.clips > 10**6:
            raise ValueError(f"first + clips must be at most {10**6}; got {self.first + self.clips}")
        if not self.sizes:
            raise ValueError("sizes must name at least one size; nearest valid is 128x128")
        for width, height, share in self.sizes:
            for side in (width, height):
                if side % 16 or not SIDE_LEAST <= side <= SIDE_MOST:
                    near = min(max(round(side / 16) * 16, SIDE_LEAST), SIDE_MOST)
                    raise ValueError(
                        f"sizes must be multiples of 16 from {SIDE_LEAST} to {SIDE_MOST}; got {width}x{height}; "
                        f"nearest of {side} is {near}"
                    )
            if not (math.isfinite(share) and share > 0.0):
                raise ValueError(f"the share of size {width}x{height} must be above 0; got {share}; nearest is 1")

    def made(self) -> dict[str, Any]:
        """What a clip's content follows from, but for its number; what the manifest says."""
        wanted = ("frames", "sizes", "samples", "seed", "evaluation")
        return {name: value for name, value in asdict(self).items() if name in wanted}


def quantise(planes: NDArray[np.float32]) -> NDArray[np.int8]:
    """[−1, 1] → int8 with 1/127 steps."""
    return np.rint(planes * 127.0).astype(np.int8)


def render_clip(config: DataConfig, number: int) -> dict[str, NDArray[Any]]:
    """All arrays of one clip: T frames of H×W pixels, N = H/16·W/16 tokens, B bodies.

    What is seen: picture (T, 3, H, W) uint8 display RGB, path-traced; planes (T, P, H, W) int8, the guide; coarse
    (T, P, H/4, W/4) float16, its means; instance (T, H, W) int16: body, B surroundings, B + 1 water, −1 sky; depth
    (T, H, W) float16, disparity in [0, 1] by `planes.depth_to_disparity`; warped (T, 4, H/4, W/4) uint8: the last
    frame's picture seen from this frame's camera and, in the fourth, 255 where that is known (`model.warp`), all zero
    in the first frame.

    How it is seen: c2w (T, 4, 4) float32 and focal (T,) pixels, the centre is the picture's; rays (T, N, 12) float16;
    controls (T, 5) float32: yaw, pitch, right, up, back as `camera_at` takes them.

    What happens: positions (T,) float32 frames of 1/24 s since the first; ticks (T,) int32 of the world; body_position
    (T, B, 3), body_orientation (T, B, 4), body_velocity (T, B, 3) float32, NaN while a thing has not come; scene, JSON
    of the first tick's with its events; world_seed; frame_caption (T,) canonical tokens after what has happened.

    Words: prompt; caption, all canonical tokens joined by "|", as the live path makes them; short, the few of them
    that name place and things; captions (K,) sentences, the short ones first, and caption_tokens (K,) the tokens of
    each.
    """
    rng = np.random.Generator(np.random.Philox(key=[config.seed, 2 * number + config.evaluation]))
    scene = draw_visible(rng, evaluation=config.evaluation)
    world_seed = int(rng.integers(2**31))
    stride = int(rng.choice([1, 1, 2, 4]))
    start = int(rng.integers(0, LATEST_START))
    shares = np.array([share for _, _, share in config.sizes])
    width, height, _ = config.sizes[int(rng.choice(len(shares), p=shares / shares.sum()))]
    ticks = TICKS_PER_FRAME * (start + stride * np.arange(config.frames))
    scene = replace(scene, events=draw_events(scene, ticks, rng))
    reach = float(np.linalg.norm(camera_at(scene, 0.0, width, height).position - subject(scene)[0]))
    head = HeadMotion(rng, reach)
    world = World(scene, world_seed)
    film = Film(world, config.samples)
    for tick in ticks:
        state = world.advance(int(tick) - world.tick)
        seconds = int(tick) / 240.0
        yaw, pitch, offset = head.at((int(tick) - int(ticks[0])) / 240.0)
        camera = camera_at(scene, seconds, width, height, yaw=yaw, pitch=pitch, offset=offset)
        film.take(state, camera, (yaw, pitch, *offset), seed=int(rng.integers(2**31)))
    # The scene as it was when the film began, with what then happened.
    said = paraphrases(scene, rng)
    return film.arrays() | {
        "positions": np.arange(config.frames, dtype=np.float32) * stride,
        "ticks": ticks.astype(np.int32),
        "scene": np.array(to_json(scene)),
        "world_seed": np.array(world_seed, np.int64),
        "prompt": np.array(scene.prompt),
        "caption": np.array("|".join(caption_tokens(scene))),
        "short": np.array("|".join(short_tokens(scene))),
        "captions": np.array([words for words, _ in said]),
        "caption_tokens": np.array(["|".join(tokens) for _, tokens in said]),
    }


def draw_visible(rng: np.random.Generator, *, evaluation: bool) -> Scene:
    """A random scene whose largest thing is mostly no smaller than a token: what is smaller can hardly be learnt."""
    while True:
        scene = draw_scene(rng, evaluation=evaluation)
        largest = max((KINDS[body.kind].length * body.size for body in scene.bodies), default=0.0)
        share = largest / (2.0 * subject(scene)[1] * scene.shot.distance)
        if share > LEAST_SHARE or rng.random() < TINY_SHARE:
            return scene


class Film:
    """Takes the pictures of one world while it goes on, and keeps all that is told of each."""

    def __init__(self, world: World, samples: int) -> None:
        self.world, self.samples = world, samples
        self.shown = self.scene = world.scene
        self.stage = Stage(world.scene, world.swell, world.water_cell, threads=1)
        self.columns: dict[str, list[NDArray[Any]]] = {}
        self.first: Camera | None = None
        self.last: tuple[State, Camera, Guide, NDArray[np.uint8]] | None = None

    def take(self, state: State, camera: Camera, controls: tuple[float, ...], *, seed: int) -> None:
        """One frame of the world's `state` now: its guide, its reference picture and what else `render_clip` lists."""
        self._restage()
        self.first = self.first or camera
        before = self.last[:2] if self.last else None
        known = before is not None and len(before[0].position) == len(state.position)
        guide = self.stage.guide(state, camera, before if known else None)
        linear = self.stage.reference(state, camera, samples=self.samples, seed=seed)
        linear = denoise(linear, guide, water_instance=len(state.position) + 1)
        picture = np.rint(np.clip(to_display(linear), 0.0, 1.0) * 255.0).astype(np.uint8)
        planes = guide_planes(guide, self.stage)
        height, width = guide.depth.shape
        scale = scene_scale(self.scene)
        row = {
            "planes": quantise(planes),
            "picture": picture.transpose(2, 0, 1),
            "coarse": planes.reshape(len(PLANES), height // 4, 4, width // 4, 4).mean(axis=(2, 4)).astype(np.float16),
            "instance": guide.instance,
            "depth": depth_to_disparity(guide.depth, scale).astype(np.float16),
            "warped": self._warped(camera),
            "c2w": camera.c2w.astype(np.float32),
            "focal": np.array(camera.focal, np.float32),
            "rays": token_rays(camera, self.first, before[1] if before else camera, scale).astype(np.float16),
            "controls": np.array(controls, np.float32),
            "body_position": state.position.astype(np.float32),
            "body_orientation": state.orientation.astype(np.float32),
            "body_velocity": state.velocity.astype(np.float32),
            "frame_caption": np.array("|".join(caption_tokens(self.shown))),
        }
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        self.last = (state, camera, guide, picture)

    def _restage(self) -> None:
        """Shows what events have changed: things that came, and light and weather on their way."""
        world = self.world
        hour, weather = world.climate()
        # Waves and the drift of clouds are those of the wind that the film began with.
        born = self.scene.weather
        weather = replace(weather, wind_speed=born.wind_speed, wind_heading=born.wind_heading)
        if world.scene.bodies != self.shown.bodies:
            staged = replace(world.scene, hour=hour, weather=weather, events=())
            self.stage = Stage(staged, world.swell, world.water_cell, threads=1)
        elif (hour, weather) != (self.stage.scene.hour, self.stage.scene.weather):
            self.stage.relight(hour, weather)
        self.shown = world.scene

    def _warped(self, camera: Camera) -> NDArray[np.uint8]:
        if self.last is None:
            return np.zeros((4, camera.height // REDUCTION, camera.width // REDUCTION), np.uint8)
        _, before, guide, picture = self.last
        colours, valid = warp(picture, guide.depth, before, camera)
        both = np.concatenate([colours, valid[..., None]], axis=-1)
        return np.rint(both * 255.0).astype(np.uint8).transpose(2, 0, 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All columns, frames first. Things that come later have rows of NaN before; numbers of surroundings and
        water are those of the last frame in all frames."""
        counts = [len(position) for position in self.columns["body_position"]]
        most = counts[-1]
        out = {}
        for name, parts in self.columns.items():
            if name.startswith("body_"):
                parts = [np.pad(x, [(0, most - len(x)), (0, 0)], constant_values=np.nan) for x in parts]
            elif name == "instance":
                pairs = zip(parts, counts, strict=True)
                parts = [np.where(x >= count, x + (most - count), x).astype(np.int16) for x, count in pairs]
            out[name] = np.stack(parts)
        return out


def draw_events(scene: Scene, ticks: NDArray[np.int64], rng: np.random.Generator) -> tuple[Event, ...]:
    """What happens from outside in a clip, for a share of them, once and between its frames: a push, a new thing, other
    weather, a splash, a gust."""
    happens, where = rng.random() < EVENT_SHARE, float(rng.uniform(0.15, 0.7))
    choice, angle, size = (float(x) for x in rng.random(3))
    if not happens or len(ticks) < 2:
        return ()
    tick = int(ticks[0] + where * (ticks[-1] - ticks[0]))
    movable = [body for body in scene.bodies if not KINDS[body.kind].fixed]
    place = ENVIRONMENTS[scene.environment]
    if movable and choice < 0.35:
        body = movable[int(rng.integers(len(movable)))]
        # So much that it slides or hops about its own length, whatever its size.
        speed = (0.35 + 0.65 * size) * math.sqrt(9.81 * KINDS[body.kind].length * body.size)
        turn = 2.0 * math.pi * angle
        x, y, z = speed * math.sin(turn), 0.5 * speed, speed * math.cos(turn)
        return (Event(tick=tick, action="push", arguments={"body": body.name, "x": x, "y": y, "z": z}),)
    if scene.bodies and choice < 0.6:
        return (Event(tick=tick, action="add", arguments=_newcomer(scene, angle, rng)),)
    if choice < 0.75:
        actions = ["clouds", "fog"] + ([] if place.indoor else ["rain", "snow" if not place.has_water else "rain"])
        action = actions[int(rng.integers(len(actions)))]
        return (Event(tick=tick, action=action, arguments={"amount": 0.4 + 0.6 * size}),)
    if place.has_water and choice < 0.9:
        middle, _ = subject(scene)
        return (Event(tick=tick, action="splash", arguments={"x": float(middle[0]), "z": float(middle[2])}),)
    speed, heading = 6.0 + 9.0 * size, 2.0 * math.pi * angle - math.pi
    return (Event(tick=tick, action="wind", arguments={"speed": speed, "heading": heading}),)


def _newcomer(scene: Scene, angle: float, rng: np.random.Generator) -> dict[str, float | int | str | bool | None]:
    """A thing that suits the place, beside one that is there and about as large."""
    beside = scene.bodies[int(rng.integers(len(scene.bodies)))]
    kinds = [kind for kind in things_of(scene.environment) if not KINDS[kind].fixed]
    kind = kinds[int(rng.integers(len(kinds)))]
    colours = list(COLORS)
    return {
        "name": f"new {kind}",
        "kind": kind,
        "size": float(KINDS[beside.kind].length * beside.size / KINDS[kind].length * rng.uniform(0.5, 1.0)),
        "color_name": colours[int(rng.integers(len(colours)))],
        "near": beside.name,
        "bearing": 2.0 * math.pi * angle,
        # Half of them fall in from above.
        "lift": float(KINDS[beside.kind].length * beside.size * (rng.random() < 0.5)),
    }


def write_clip(config: DataConfig, directory: Path, number: int) -> Shard:
    """Renders and stores one clip."""
    return write_arrays(clip_path(directory, number), render_clip(config, number))


def build(
    config: DataConfig,
    directory: Path,
    *,
    check: bool = False,
    report: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Makes the clips of a data set that are not there; `report(made, left, seconds)` is called after each.

    With `check`, files that are there are read, and made again where they are corrupt. Returns how many clips there
    are, were made and were corrupt. Raises ValueError where the folder's clips were made with other settings or
    another build is at work there, and OSError for a full disk; what is finished by then stays.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        manifest = Manifest(directory, config.made())
        corrupt = _forget_corrupt(manifest) if check else []
        wanted = range(config.first, config.first + config.clips)
        missing = [number for number in wanted if number not in manifest.shards]
        _make(config, directory, missing, manifest, report)
        there = [manifest.shards[number] for number in wanted]
    return {
        "directory": str(directory),
        "clips": len(there),
        "made": len(missing),
        "corrupt": corrupt,
        "bytes": sum(shard.bytes for shard in there),
        **config.made(),
    }


def _forget_corrupt(manifest: Manifest) -> list[str]:
    """Names of files that were not what they were; they are made again."""
    found = []
    for number, shard in sorted(manifest.shards.items()):
        try:
            read_arrays(manifest.directory, shard)
        except ShardError:
            found.append(shard.file)
            manifest.forget(number)
    return found


def _make(
    config: DataConfig,
    directory: Path,
    numbers: list[int],
    manifest: Manifest,
    report: Callable[[int, int, float], None] | None,
) -> None:
    """Renders clips in several processes, which are left no work when this one is interrupted or one of them fails."""
    started = time.monotonic()
    # A fresh interpreter: a fork would share locks of threads that it does not have.
    pool = ProcessPoolExecutor(config.processes, mp_context=get_context("spawn"), initializer=_alone)
    try:
        waiting = iter(numbers)
        running = {pool.submit(write_clip, config, directory, n) for n in islice(waiting, 2 * config.processes)}
        made = 0
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for job in finished:
                manifest.add(job.result())
                made += 1
                if (following := next(waiting, None)) is not None:
                    running.add(pool.submit(write_clip, config, directory, following))
                if report:
                    report(made, len(numbers) - made, time.monotonic() - started)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """A worker calculates on one core, leaves Ctrl-C to its parent, and ends soon after it, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
