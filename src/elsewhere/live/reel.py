"""Frames on their way through the offline networks: planes of each, latents, and pictures again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from elsewhere.live.calculated import Moment
from elsewhere.model.generator import Generator, frame_noise
from elsewhere.model.offline import Offline, Shown
from elsewhere.model.planes import PLANES, guide_planes, scene_scale
from elsewhere.model.weights import DREAM
from elsewhere.render import Guide
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Scene

BYTES_MOST = 2 * 2**30
"""Memory for the planes of one film."""
MODEL_FPS = 24
Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is. May raise, to stop."""
_LIT, _ALBEDO, _UP = slice(0, 3), slice(3, 6), 7
_DISPARITY, _DIRECT, _ROUGHNESS, _GROUNDED = (PLANES.index(n) for n in ("disparity", "direct", "roughness", "grounded"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a frame is painted on: planes (H, W, P) float16, where it is seen from, and when, in frames of 1/24 s."""

    planes: NDArray[np.float16]
    camera: Camera
    position: float
    scene: Scene


def silent(_what: str, _done: int, _count: int) -> None:
    """Progress that nobody looks at."""


def planned(moment: Moment, position: float | None = None, guide: Guide | None = None) -> Plan:
    """The plan of a calculated moment, whose guide is made if it is not given."""
    guide = moment.guide() if guide is None else guide
    planes = np.moveaxis(guide_planes(guide, moment.stage), 0, -1).astype(np.float16)
    when = MODEL_FPS * moment.state.tick / 240.0 if position is None else position
    return Plan(planes=planes, camera=moment.camera, position=when, scene=moment.scene)


def picture_planes(rgb: NDArray[np.uint8], disparity: NDArray[np.float32] | float = 0.3) -> NDArray[np.float16]:
    """A picture (H, W, 3) as its own guide: its colours as light and surface, nothing known of its shape."""
    shown = rgb.astype(np.float32) / np.float32(255.0)
    planes = np.zeros((*rgb.shape[:2], len(PLANES)), np.float32)
    planes[..., _LIT] = planes[..., _ALBEDO] = shown
    planes[..., _UP] = 1.0
    planes[..., _DISPARITY] = disparity
    planes[..., _DIRECT], planes[..., _ROUGHNESS], planes[..., _GROUNDED] = 0.4, 0.7, 1.0
    return planes.astype(np.float16)


def check_memory(count: int, width: int, height: int, what: str = "seconds") -> None:
    """Raises ValueError for films whose planes do not fit in memory."""
    most = BYTES_MOST // (2 * len(PLANES) * width * height)
    if count > most:
        raise ValueError(f"{what} must be of at most {most} frames at {width}x{height}; got {count} frames")


class Darkroom:
    """Latents from pictures, pictures from latents, for one size and seed."""

    def __init__(self, width: int, height: int, seed: int, progress: Progress = silent) -> None:
        self.offline = open_offline(height, width)
        self.width, self.height, self.seed, self.progress = width, height, seed, progress
        self._texts: dict[Scene, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def noise(self, index: int, purpose: int) -> NDArray[np.float32]:
        """(N, C) normal noise keyed by (seed, frame, purpose); `purpose` 0 to 3."""
        channels = self.offline.models.transformer.latent_channels
        return frame_noise(self.seed, index, purpose, self.height, self.width, channels)

    def noises(self, count: int, purpose: int) -> NDArray[np.float32]:
        return np.stack([self.noise(index, purpose) for index in range(count)])

    def encode(self, plans: Sequence[Plan], pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(F, N, C) latents of `pictures` (F, H, W, 3) on their plans."""
        found = []
        for index, (plan, picture) in enumerate(zip(plans, pictures, strict=True)):
            self.progress("reading", index, len(plans))
            found.append(self.offline.encode(picture.astype(np.float32) / 255.0, plan.planes.astype(np.float32)))
        return np.stack(found)

    def shown(self, plans: Sequence[Plan], *, ring: bool = False) -> list[Shown]:
        """What the transformer is told of frames."""
        features = []
        for index, plan in enumerate(plans):
            self.progress("looking", index, len(plans))
            features.append(self.offline.features(plan.planes.astype(np.float32)))
        for plan in plans:
            if plan.scene not in self._texts:
                self._texts[plan.scene] = self.offline.text(plan.scene)
        texts = [self._texts[plan.scene] for plan in plans]
        scale = scene_scale(plans[0].scene)
        cameras, positions = [plan.camera for plan in plans], [plan.position for plan in plans]
        return self.offline.shown(cameras, positions, features, texts, scale, ring=ring)

    def denoise(
        self,
        plans: Sequence[Plan],
        latents: NDArray[np.float32],
        start: NDArray[np.float64],
        *,
        evaluations: int,
        ring: bool = False,
    ) -> NDArray[np.float32]:
        """`latents` noised to the levels `start` and cleaned again, on `plans`. Level 1 is known, 0 is noise alone."""
        fresh, count = self.noises(len(plans), 0), len(plans)
        level = start[:, None, None].astype(np.float32)
        noisy = level * latents + (np.float32(1.0) - level) * fresh
        return self.offline.denoise(
            self.shown(plans, ring=ring),
            noisy,
            start,
            self.noises(count, 1),
            evaluations=evaluations,
            future=knows_future(self.offline),
            ring=ring,
            progress=lambda done, whole: self.progress("generating", done, whole),
        )

    def develop(self, plans: Sequence[Plan], latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(F, H, W, 3) display RGB."""
        made = np.empty((len(plans), self.height, self.width, 3), np.uint8)
        for index, (plan, z) in enumerate(zip(plans, latents, strict=True)):
            self.progress("painting", index, len(plans))
            made[index] = eight_bits(self.offline.decode(z, plan.planes.astype(np.float32))[..., :3])
        return made


def eight_bits(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Display values → the nearest of 256."""
    return np.asarray(np.rint(np.clip(picture, 0.0, 1.0) * np.float32(255.0)), np.uint8)


def knows_future(offline: Offline) -> bool:
    """Whether the weights were trained with frames that see those after them."""
    # The runs that have memory also have a share of steps in which frames see both ways (train/world.py).
    return bool(getattr(offline.models.transformer, "memory", False))


@lru_cache(maxsize=2)
def open_offline(height: int, width: int) -> Offline:
    """The shipped networks for one size. Raises WeightsError."""
    generator = _generator()
    workshop = generator.workshop
    return Offline(generator.models, height, width, threads=workshop.threads, precision=workshop.precision)


@lru_cache(maxsize=1)
def _generator() -> Generator:
    return Generator.load("grounded", directory=DREAM)  # the weights that were taught to see both ways
