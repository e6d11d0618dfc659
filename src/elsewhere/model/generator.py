"""Generated reality: frames from guides, one after the other, by the shipped networks.

torch is imported when a generator is loaded, not before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model import weights
from elsewhere.model.configuration import PATCH, TokenizerConfig, TransformerConfig
from elsewhere.model.planes import PLANES, disparity_to_depth, guide_planes, scene_scale
from elsewhere.model.rays import token_rays
from elsewhere.model.text import token_ids
from elsewhere.scene import Camera, Scene

if TYPE_CHECKING:
    from elsewhere.render import Guide, Stage

MODES = ("grounded", "dream")
CONTEXT_LEVEL = 0.9
"""Past frames are noised to this level again before they are remembered, which keeps long rollouts together."""


class Generator:
    """Both networks in memory, shared by any number of streams."""

    def __init__(self, tokenizer: Any, transformer: Any, *, mode: str, steps: int) -> None:
        self.tokenizer = tokenizer
        self.transformer = transformer
        self.mode = mode
        self.steps = steps

    @classmethod
    def load(cls, mode: str = "grounded", *, steps: int = 1, directory: Path = weights.DIRECTORY) -> Generator:
        """Reads the weights in `directory`. Raises ValueError for wrong arguments, WeightsError for files."""
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        if steps not in (1, 2, 4, 8):
            raise ValueError(f"steps must be 1, 2, 4 or 8 (a shortcut step is 1/steps), got {steps}")
        from elsewhere.model.train.networks.tokenizer import Tokenizer
        from elsewhere.model.train.networks.transformer import Transformer

        tokenizer = weights.load(directory / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
        transformer = weights.load(directory / "world.safetensors", Transformer, TransformerConfig)
        return cls(channels_last(tokenizer), transformer, mode=mode, steps=steps)

    def start(self, scene: Scene, seed: int) -> Stream:
        """A new stream of frames of one scene."""
        return Stream(self, scene, seed)


def channels_last(module: Any) -> Any:
    """Convolutions on two cores run fastest in this layout."""
    import torch

    return module.to(memory_format=torch.channels_last)


class Stream:
    """One film being made: remembers its past frames in a rolling cache. Same scene, seed and guides, same bits."""

    def __init__(self, generator: Generator, scene: Scene, seed: int) -> None:
        import torch

        from elsewhere.model.train.networks.transformer import Cache

        self.generator = generator
        self.scene = scene
        self.seed = seed
        self.scale = scene_scale(scene)
        self.frame_number = 0
        self.cache = Cache()
        self.first: Camera | None = None
        self.past: dict[str, Any] | None = None
        config = generator.transformer.config
        self.text = torch.from_numpy(token_ids(scene, config.vocabulary, config.text_length))[None]

    def frame(
        self,
        guide: Guide,
        stage: Stage,
        camera: Camera,
        *,
        position: float | None = None,
        prepared: tuple[Any, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The next picture: display RGB (H, W, 3) uint8 and depth (H, W) float32 in metres.

        H and W are multiples of 16. `position` is the frame's time in 1/24 s; by default one more than the last.
        `prepared` is what `prepare` gave for this guide, perhaps in another thread.
        """
        import torch

        with torch.inference_mode():
            planes, coarse = prepared or self.prepare(guide, stage)
            latents = self.sample(self.tell(coarse, camera, position))
            picture = self.generator.tokenizer.decoder(latents.contiguous(memory_format=torch.channels_last), planes)[
                0
            ].numpy()
        self.frame_number += 1
        rgb = np.rint(np.clip(picture[:3], 0.0, 1.0) * 255.0).astype(np.uint8).transpose(1, 2, 0)
        if self.generator.mode == "grounded":
            return np.ascontiguousarray(rgb), guide.depth
        return np.ascontiguousarray(rgb), disparity_to_depth(np.clip(picture[3], 0.0, 1.0), self.scale)

    def prepare(self, guide: Guide, stage: Stage) -> tuple[Any, Any]:
        """Planes (1, P, H, W) for the decoder and their quarter-size means (1, 1, P, H/4, W/4); zeros in a dream."""
        import torch
        from torch.nn import functional

        if self.generator.mode == "dream":
            planes = torch.zeros(1, len(PLANES), *guide.depth.shape)
        else:
            planes = torch.from_numpy(guide_planes(guide, stage))[None]
        planes = planes.contiguous(memory_format=torch.channels_last)
        return planes, functional.avg_pool2d(planes, 4)[None]

    def tell(self, coarse: Any, camera: Camera, position: float | None) -> dict[str, Any]:
        """What the transformer is told of the new frame."""
        import torch

        self.first = self.first or camera
        last = self.past["camera"] if self.past else camera
        if position is None:
            position = self.past["position"] + 1.0 if self.past else 0.0
        rays = torch.from_numpy(token_rays(camera, self.first, last, self.scale))[None, None]
        return {"coarse": coarse, "rays": rays, "camera": camera, "position": position}

    def noise(self, purpose: int, shape: tuple[int, ...]) -> Any:
        """Counter-based normal noise keyed by (seed, frame, purpose)."""
        import torch

        rng = np.random.Generator(np.random.Philox(key=[self.seed, 4 * self.frame_number + purpose]))
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    def sample(self, told: dict[str, Any]) -> Any:
        """Clean latents (1, C, h, w) of the new frame in `steps` shortcut steps.

        The first evaluation also writes the last frame, slightly noised, into the cache.
        """
        import torch

        network, steps = self.generator.transformer, self.generator.steps
        shape = (1, network.config.latent_channels, told["camera"].height // PATCH, told["camera"].width // PATCH)
        x = self.noise(0, (1, *shape))
        size = 1.0 / steps
        for number in range(steps):
            frames = [told]
            noisy, level, step = x, [number * size], [size]
            if number == 0 and self.past:
                frames = [self.past, told]
                old = CONTEXT_LEVEL * self.past["latents"] + (1.0 - CONTEXT_LEVEL) * self.noise(1, shape)
                noisy, level, step = torch.cat([old[None], x], dim=1), [CONTEXT_LEVEL, 0.0], [0.0, size]
            made = network(
                noisy,
                torch.tensor([level]),
                torch.tensor([step]),
                torch.cat([f["coarse"] for f in frames], dim=1),
                torch.cat([f["rays"] for f in frames], dim=1),
                self.text,
                torch.tensor([f["position"] for f in frames]),
                self.cache,
                len(frames) - 1,
            )[:, -1:]
            x = x + (made - x) * (size / (1.0 - number * size))
        self.cache.keep(network.config.context)
        self.past = told | {"latents": x[0]}
        return x[0]
