"""The same film by torch: what the compiled networks of `elsewhere.model.generator` are compared with.

Shapes: C latent channels, P planes, H W pixels, h w = H/16 W/16.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from elsewhere.model.configuration import COARSE, MEMORY, PATCH, TokenizerConfig, TransformerConfig
from elsewhere.model.generator import CONTEXT_LEVEL, Manner, frame_noise
from elsewhere.model.planes import PLANES, disparity_to_depth, guide_planes, scene_scale
from elsewhere.model.rays import token_rays
from elsewhere.model.text import token_ids
from elsewhere.model.train import weights
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Cache, Transformer
from elsewhere.model.warp import warp
from elsewhere.scene import Camera, Scene

if TYPE_CHECKING:
    from elsewhere.render import Guide, Stage


class TorchGenerator:
    """Both networks as torch modules."""

    def __init__(self, tokenizer: Any, transformer: Any, manner: Manner) -> None:
        self.tokenizer, self.transformer, self.manner, self.steps = tokenizer, transformer, manner, manner.steps
        self.plane_weights = manner.weights()

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
    ) -> TorchGenerator:
        """Reads the weights in `directory`. Raises WeightsError, and ValueError for what `Manner` does not allow."""
        manner = Manner(mode=mode, steps=steps, strength=strength, ground=ground, guidance=guidance)
        directory = directory or manner.directory()
        tokenizer = weights.load(directory / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
        transformer = weights.load(directory / "world.safetensors", Transformer, TransformerConfig)
        # Convolutions on few cores run fastest in this layout.
        tokenizer = tokenizer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(tokenizer, transformer, manner)

    def start(self, scene: Scene, seed: int) -> TorchStream:
        """A new stream of frames of one scene."""
        return TorchStream(self, scene, seed)


class TorchStream:
    """One film; `frame` is that of `elsewhere.model.Stream`."""

    def __init__(self, generator: TorchGenerator, scene: Scene, seed: int) -> None:
        self.generator, self.scene, self.seed = generator, scene, seed
        self.scale = scene_scale(scene)
        self.frame_number = 0
        self.cache = Cache()
        self.first: Camera | None = None
        self.past: dict[str, Any] | None = None
        self.seen: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None
        config = generator.transformer.config
        self.text = torch.from_numpy(token_ids(scene, config.vocabulary, config.text_length))[None]

    @torch.inference_mode()
    def frame(
        self, guide: Guide, stage: Stage, camera: Camera, *, position: float | None = None, prepared: Any = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The next picture: display RGB (H, W, 3) uint8 and depth (H, W) float32 in metres."""
        planes, coarse = prepared or self.prepare(guide, stage)
        latents = self.sample(self.tell(coarse, camera, position))
        latents = latents.contiguous(memory_format=torch.channels_last)
        picture = self.generator.tokenizer.decoder(latents, planes)[0].numpy()
        self.frame_number += 1
        rgb = np.rint(np.clip(picture[:3], 0.0, 1.0) * 255.0).astype(np.uint8).transpose(1, 2, 0)
        depth = guide.depth
        if float(self.generator.plane_weights[PLANES.index("disparity")]) < 1.0:
            depth = disparity_to_depth(np.clip(picture[3], 0.0, 1.0), self.scale)
        self.seen = (np.ascontiguousarray(rgb), depth)
        return self.seen

    def prepare(self, guide: Guide, stage: Stage) -> tuple[Tensor, Tensor]:
        """Planes (1, P, H, W) for the decoder and their quarter-size means (1, 1, P, H/4, W/4); zeros in a dream."""
        planes = torch.from_numpy(guide_planes(guide, stage) * self.generator.plane_weights[:, None, None])[None]
        planes = planes.contiguous(memory_format=torch.channels_last)
        return planes, F.avg_pool2d(planes, 4)[None]

    def tell(self, coarse: Tensor, camera: Camera, position: float | None) -> dict[str, Any]:
        """What the transformer is told of the new frame."""
        self.first = self.first or camera
        last = self.past["camera"] if self.past else camera
        if position is None:
            position = self.past["position"] + 1.0 if self.past else 0.0
        rays = torch.from_numpy(token_rays(camera, self.first, last, self.scale))[None, None]
        told = {"coarse": coarse, "rays": rays, "camera": camera, "position": position}
        return told | {"memory": self.recall(camera)}

    def recall(self, camera: Camera) -> Tensor:
        """(1, 1, 4, H/4, W/4): the last picture as `camera` sees it, by its depth; zeros before there is one."""
        memory = np.zeros((1, 1, MEMORY, camera.height // COARSE, camera.width // COARSE), np.float32)
        if self.seen is not None and self.past is not None:
            colours, valid = warp(*self.seen, self.past["camera"], camera)
            memory[0, 0, :3], memory[0, 0, 3] = colours.transpose(2, 0, 1), valid
        return torch.from_numpy(memory)

    def noise(self, purpose: int, camera: Camera) -> Tensor:
        """(1, C, h, w) normal noise keyed by (seed, frame, purpose)."""
        channels = self.generator.transformer.config.latent_channels
        drawn = frame_noise(self.seed, self.frame_number, purpose, camera.height, camera.width, channels)
        return torch.from_numpy(np.ascontiguousarray(drawn.T)).view(
            1, channels, camera.height // PATCH, camera.width // PATCH
        )

    def sample(self, told: dict[str, Any]) -> Tensor:
        """Clean latents (1, C, h, w) of the new frame in `steps` shortcut steps.

        The first evaluation also writes the last frame, slightly noised, into the cache.
        """
        network, steps = self.generator.transformer, self.generator.steps
        guidance = torch.tensor([self.generator.manner.guidance]) if network.config.guidance else None
        x = self.noise(0, told["camera"])[None]
        size = 1.0 / steps
        for number in range(steps):
            frames = [told]
            noisy, level, step = x, [number * size], [size]
            if number == 0 and self.past:
                frames = [self.past, told]
                old = CONTEXT_LEVEL * self.past["latents"] + (1.0 - CONTEXT_LEVEL) * self.noise(1, told["camera"])
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
                memory=torch.cat([f["memory"] for f in frames], dim=1) if network.config.memory else None,
                guidance=guidance,
            )[:, -1:]
            x = x + (made - x) * (size / (1.0 - number * size))
        self.cache.keep(network.config.context)
        self.past = told | {"latents": x[0]}
        latents: Tensor = x[0]
        return latents
