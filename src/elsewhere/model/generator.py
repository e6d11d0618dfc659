"""Generated reality: frames from guides, one after the other, by the shipped networks."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elsewhere.model import weights
from elsewhere.model.configuration import COARSE, MEMORY, PATCH
from elsewhere.model.graphs.transformer import memory_tokens, slot_of, visible_slots
from elsewhere.model.network import PRECISIONS, Models, Networks, Workshop, fastest_precision
from elsewhere.model.planes import PLANES, disparity_to_depth, guide_planes, plane_weights, scene_scale
from elsewhere.model.rays import token_rays
from elsewhere.model.text import token_ids
from elsewhere.model.warp import warp
from elsewhere.scene import Camera, Scene

if TYPE_CHECKING:
    from elsewhere.render import Guide, Stage

MODES = ("grounded", "dream")
STEPS = (1, 2, 4, 8)
CONTEXT_LEVEL = 0.9
"""Past frames are noised to this level again before they are remembered, which keeps long rollouts together."""
GUIDANCE_LEAST, GUIDANCE_MOST = 1.0, 4.0
"""Strengths that training teaches; 1 is none."""
THREADS_MOST = 4
"""Beyond this, threads that wait for each other cost what they bring."""


def frame_noise(seed: int, frame: int, purpose: int, height: int, width: int, channels: int) -> NDArray[np.float32]:
    """(N, C) normal numbers, counter-based by (seed, frame, purpose), drawn channel by channel."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 4 * frame + purpose]))
    drawn = rng.standard_normal((channels, height // PATCH * (width // PATCH)), dtype=np.float32)
    return np.ascontiguousarray(drawn.T)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How frames are made. Checked when it is made: ValueError names what is wrong and what would do.

    `ground` is what of the guide is given ("full", "depth": shapes alone, "layout": what stands where, without
    shapes and light), `strength` in [0, 1] how much of it: 0 is a dream. `guidance` in [1, 4] is how strictly text is
    followed; 1 is what the network was taught by pictures.
    """

    mode: str = "grounded"
    steps: int = 1
    strength: float = 1.0
    ground: str = "full"
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {self.mode!r}")
        if self.steps not in STEPS:
            raise ValueError(f"steps must be 1, 2, 4 or 8 (a shortcut step is 1/steps), got {self.steps}")
        plane_weights(self.ground, self.strength)
        if self.mode != "grounded" and (self.strength != 1.0 or self.ground != "full"):
            raise ValueError(f"mode must be grounded where strength or ground is given, got {self.mode!r}")
        check_guidance(self.guidance)

    def weights(self) -> NDArray[np.float32]:
        """(P,) factors of the guide's planes."""
        return plane_weights(self.ground, self.strength if self.mode == "grounded" else 0.0)

    def directory(self) -> Path:
        """Of the shipped weights that are best at this."""
        whole = float(self.weights().min()) == 1.0
        return weights.DIRECTORY if whole and self.guidance == 1.0 else weights.DREAM


def check_guidance(guidance: float) -> None:
    """ValueError for a strength of guidance outside [1, 4]."""
    if not GUIDANCE_LEAST <= guidance <= GUIDANCE_MOST:
        nearest = GUIDANCE_MOST if guidance > GUIDANCE_MOST else GUIDANCE_LEAST
        raise ValueError(
            f"guidance must be from {GUIDANCE_LEAST:g} to {GUIDANCE_MOST:g}; got {guidance}. The nearest is {nearest:g}"
        )


class Generator:
    """Both networks in memory, shared by any number of streams."""

    def __init__(self, models: Models, manner: Manner, *, threads: int, precision: str) -> None:
        if manner.guidance != 1.0 and not models.transformer.guidance:
            raise ValueError(f"guidance must be 1 with these weights, which were not taught it; got {manner.guidance}")
        self.models, self.manner, self.steps = models, manner, manner.steps
        self.plane_weights = manner.weights()
        self.knows_depth = float(self.plane_weights[PLANES.index("disparity")]) == 1.0
        """Whether pictures have the guide's depth, not one of their own."""
        self.workshop = Workshop(models, threads=threads, precision=precision)
        self._modulations: dict[int, list[NDArray[np.float32]]] = {}

    def modulations(self, steps: int) -> list[NDArray[np.float32]]:
        """What each of `steps` evaluations of a frame is told of the noise, for the past frame and the new one."""
        if steps not in self._modulations:
            levels = [((CONTEXT_LEVEL, number / steps), (0.0, 1.0 / steps)) for number in range(steps)]
            guidance = self.manner.guidance
            self._modulations[steps] = [self.models.tables.modulation(*both, guidance) for both in levels]
        return self._modulations[steps]

    @classmethod
    def load(
        cls,
        mode: str = "grounded",
        *,
        steps: int = 1,
        strength: float = 1.0,
        ground: str = "full",
        guidance: float = 1.0,
        directory: Path | None = None,
        threads: int | None = None,
        precision: str | None = None,
    ) -> Generator:
        """Reads the weights in `directory`. Raises ValueError for wrong arguments, WeightsError for files.

        Without `directory`, the shipped weights that are best at this `Manner`.
        `strength`, `ground` and `guidance` are those of `Manner`.
        `threads` paint a frame; by default all cores but one, which makes the next frame's guide. `precision` is
        that of products: f32, bf16, or by default what this processor is fastest at. Each gives its own bits.
        """
        manner = Manner(mode=mode, steps=steps, strength=strength, ground=ground, guidance=guidance)
        if precision not in (None, *PRECISIONS):
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if threads is None:
            threads = max(1, min(THREADS_MOST, cores - 1))
        if not 1 <= threads <= cores:
            raise ValueError(f"threads must be from 1 to {cores}, the cores of this process, got {threads}")
        precision = precision or fastest_precision()
        models = Models.read(directory or manner.directory())
        return cls(models, manner, threads=threads, precision=precision)

    def start(self, scene: Scene, seed: int, size: tuple[int, int] | None = None) -> Stream:
        """A new stream of frames of one scene.

        With `size`, height and width in pixels, another thread makes its programs ready while its world is made;
        else the first frame does.
        """
        stream = Stream(self, scene, seed)
        if size is not None:
            threading.Thread(target=stream.make_ready, args=size, name="programs", daemon=True).start()
        return stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the transformer is told of one frame, and its latents (N, C) once they are made."""

    camera: Camera
    position: float
    rays: NDArray[np.float32]
    features: NDArray[np.float32]
    memory: NDArray[np.float32]
    """(N, 64) of the last picture, warped to this camera."""
    latents: NDArray[np.float32]


class Stream:
    """One film being made: remembers its past frames in a rolling cache. Same scene, seed and guides, same bits."""

    def __init__(self, generator: Generator, scene: Scene, seed: int) -> None:
        self.generator, self.scene, self.seed = generator, scene, seed
        self.steps = generator.steps
        """Evaluations for each frame; may change between two."""
        self.scale = scene_scale(scene)
        self.frame_number = 0
        self.remembered = 0
        """Frames since the last cut."""
        self.first: Camera | None = None
        self.past: Told | None = None
        self._seen: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None
        self._networks: Networks | None = None
        self._opening = threading.Lock()

    def networks(self, height: int, width: int) -> Networks:
        """This stream's networks, made by its first frame. All frames of a stream have one size."""
        with self._opening:  # one thread may prepare a frame while another one paints
            if self._networks is None:
                networks = self.generator.workshop.networks(height, width)
                self._write_words(networks)
                self._networks = networks
        if self._networks.size != (height, width):
            raise ValueError(f"this stream has pictures of {self._networks.size} pixels, got {(height, width)}")
        return self._networks

    def _write_words(self, networks: Networks) -> None:
        config = self.generator.models.transformer
        words = token_ids(self.scene, config.vocabulary, config.text_length)
        for name, values in zip(("keys", "values"), self.generator.models.tables.text(words), strict=True):
            networks.step.write(f"text {name}", values)

    def retell(self, scene: Scene, *, cut: bool = False) -> None:
        """The next frames are of `scene`. After a cut the stream forgets its past, so that no old shot shows in the
        new one; the noise goes on."""
        self.scene = scene
        if self._networks is not None:
            self._write_words(self._networks)
        if cut:
            self.past, self.first, self.remembered = None, None, 0

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its pictures in pixels; None before the first."""
        return None if self._networks is None else self._networks.size

    def make_ready(self, height: int, width: int) -> None:
        """Opens this stream's networks. What goes wrong is for the first frame to say, in its own thread."""
        with contextlib.suppress(Exception):
            self.networks(height, width)

    def frame(
        self,
        guide: Guide,
        stage: Stage,
        camera: Camera,
        *,
        position: float | None = None,
        prepared: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The next picture: display RGB (H, W, 3) uint8 and depth (H, W) float32 in metres.

        H and W are multiples of 16. `position` is the frame's time in 1/24 s; by default one more than the last.
        `prepared` is what `prepare` gave for this guide, perhaps in another thread.
        """
        planes, features = prepared or self.prepare(guide, stage)
        networks = self.networks(*planes.shape[:2])
        told = self.tell(features, camera, position)
        self.past = self.sample(networks, told)
        self.frame_number += 1
        self.remembered += 1
        picture = networks.picture(self.past.latents, planes)
        rgb = np.rint(np.clip(picture[..., :3], 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
        depth = guide.depth
        if not self.generator.knows_depth:
            depth = disparity_to_depth(np.clip(picture[..., 3], 0.0, 1.0), self.scale)
        self._seen = (rgb, depth)
        return rgb, depth

    def prepare(self, guide: Guide, stage: Stage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Planes (H, W, P) for the decoder, zeros in a dream, and what the transformer sees of them (N, D)."""
        height, width = guide.depth.shape
        given = self.generator.plane_weights
        if not given.any():
            planes = np.zeros((height, width, len(PLANES)), np.float32)
        else:
            planes = np.ascontiguousarray(np.moveaxis(guide_planes(guide, stage), 0, -1))
            if float(given.min()) < 1.0:
                planes *= given
        return planes, self.networks(height, width).features(planes)

    def tell(self, features: NDArray[np.float32], camera: Camera, position: float | None) -> Told:
        """What the transformer is told of the new frame, whose latents begin as noise."""
        self.first = self.first or camera
        last = self.past.camera if self.past else camera
        if position is None:
            position = self.past.position + 1.0 if self.past else 0.0
        rays = token_rays(camera, self.first, last, self.scale)
        return Told(
            camera=camera,
            position=position,
            rays=rays,
            features=features,
            memory=self.recall(camera),
            latents=self.noise(0, camera),
        )

    def recall(self, camera: Camera) -> NDArray[np.float32]:
        """(N, 64): the last picture as `camera` sees it, by its depth; zeros before there is one."""
        memory = np.zeros((MEMORY, camera.height // COARSE, camera.width // COARSE), np.float32)
        if self._seen is not None and self.past is not None and self.generator.models.transformer.memory:
            colours, valid = warp(*self._seen, self.past.camera, camera)
            memory[:3], memory[3] = colours.transpose(2, 0, 1), valid
        return memory_tokens(memory)

    def noise(self, purpose: int, camera: Camera) -> NDArray[np.float32]:
        """(N, C) normal noise keyed by (seed, frame, purpose)."""
        channels = self.generator.models.transformer.latent_channels
        return frame_noise(self.seed, self.frame_number, purpose, camera.height, camera.width, channels)

    def sample(self, networks: Networks, told: Told) -> Told:
        """The new frame with its clean latents, in `steps` shortcut steps.

        Every evaluation sees the last frame, slightly noised, beside the new one, and keeps it in the cache: the same
        each time, so that more than one evaluation changes nothing there.
        """
        models, steps, step = self.generator.models, self.steps, networks.step
        modulations = self.generator.modulations(steps)
        past, x = self.past, told.latents
        if past is not None:
            noise = self.noise(1, told.camera)
            old = np.float32(CONTEXT_LEVEL) * past.latents + np.float32(1.0 - CONTEXT_LEVEL) * noise
        else:
            # There is no past: what stands in for it is hidden.
            past, old = told, np.zeros_like(x)
        cosines, sines = models.tables.time_turns((past.position, told.position))
        if models.transformer.memory:
            step.write("memory", np.stack([past.memory, told.memory]))
        for name, values in (
            ("rays", np.stack([past.rays, told.rays])),
            ("features", np.stack([past.features, told.features])),
            ("cosines", cosines),
            ("sines", sines),
            ("slot", np.int32(slot_of(models.transformer, max(self.remembered - 1, 0)))),
            ("visible", visible_slots(models.transformer, self.remembered)),
        ):
            step.write(name, values)
        size = 1.0 / steps
        for number in range(steps):
            step.write("modulation", modulations[number])
            step.write("noisy", np.stack([old, x]))
            x = x + (networks.evaluate() - x) * np.float32(size / (1.0 - number * size))
        return replace(told, latents=x)
