"""A film continued in a dream: the first frames are known, the rest is made one after the other, without a guide."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elsewhere.model.planes import PLANES, disparity_to_depth, scene_scale
from elsewhere.model.text import token_ids
from elsewhere.model.train.networks.tokenizer import Tokenizer
from elsewhere.model.train.networks.transformer import Transformer
from elsewhere.model.warp import REDUCTION, warp
from elsewhere.scene import Camera, Scene

CONTEXT_LEVEL = 0.9
"""Level of past frames; see `elsewhere.model.generator`."""


class Dreamer:
    """Both networks, for continuations. `steps` evaluations make a frame; with `recall`, dreamt frames are shown the
    dreamt picture before them, where the transformer can see it."""

    def __init__(self, tokenizer: Tokenizer, transformer: Transformer, *, steps: int = 4, recall: bool = True) -> None:
        if steps not in (1, 2, 4, 8):
            raise ValueError(f"steps must be 1, 2, 4 or 8; got {steps}")
        self.tokenizer, self.transformer, self.steps = tokenizer.eval(), transformer.eval(), steps
        self.recall = recall

    @torch.inference_mode()
    def encode(self, picture: NDArray[np.uint8], disparity: NDArray[np.floating]) -> Tensor:
        """Latents (T, C, h, w) of pictures (T, 3, H, W) with their disparity (T, H, W), as of a dream."""
        colour = torch.from_numpy(picture).float() / 255.0
        depth = torch.from_numpy(disparity.astype(np.float32))[:, None]
        both = torch.cat([colour, depth], dim=1)
        out: Tensor = self.tokenizer.encoder(both, torch.zeros(len(both), len(PLANES), *both.shape[-2:]))
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """(T, 4, H, W) display RGB and disparity in [0, 1] of latents (T, C, h, w)."""
        t, _, h, w = latents.shape
        made: Tensor = self.tokenizer.decoder(latents, torch.zeros(t, len(PLANES), 16 * h, 16 * w))
        return made.clamp(0.0, 1.0).numpy()

    @torch.inference_mode()
    def go_on(self, scene: Scene, arrays: dict[str, NDArray[Any]], known: int, seed: int) -> NDArray[np.float32]:
        """(T, 4, H, W): a film whose first `known` frames are those of `arrays` (see `data.Film`), coded and decoded.

        Of the others only camera and time are taken. T is at most the frames that the transformer remembers.
        """
        count, _, height, width = arrays["picture"].shape
        config = self.transformer.config
        if not 0 < known < count <= config.context + 1:
            raise ValueError(f"known must be from 1 to {count - 1} of at most {config.context + 1} frames; got {known}")
        rng = torch.Generator().manual_seed(seed)
        shape = (1, count, config.latent_channels, height // 16, width // 16)
        x, blur = torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)
        x[0, :known] = self.encode(arrays["picture"][:known], arrays["depth"][:known])
        text = torch.from_numpy(token_ids(scene, config.vocabulary, config.text_length))[None]
        rays = torch.from_numpy(arrays["rays"].astype(np.float32))[None]
        planes = torch.zeros(1, count, len(PLANES), height // REDUCTION, width // REDUCTION)
        memory = torch.from_numpy(arrays["warped"].astype(np.float32) / np.float32(255.0))[None]
        memory[:, known + 1 :] = 0.0
        positions = torch.from_numpy(arrays["positions"])
        for frame in range(known, count):
            if frame > known and self.recall:
                memory[0, frame] = self._recall(scene, x[0, frame - 1 : frame], arrays, frame)
            upto = slice(0, frame + 1)
            for number in range(self.steps):
                level = torch.full((1, frame + 1), CONTEXT_LEVEL)
                level[0, frame] = number / self.steps
                step = torch.zeros(1, frame + 1)
                step[0, frame] = 1.0 / self.steps
                noisy = CONTEXT_LEVEL * x[:, upto] + (1.0 - CONTEXT_LEVEL) * blur[:, upto]
                noisy[:, frame] = x[:, frame]
                more = {"memory": memory[:, upto]} if getattr(config, "memory", False) else {}
                clean = self.transformer(
                    noisy, level, step, planes[:, upto], rays[:, upto], text, positions[upto], **more
                )
                share = 1.0 / (self.steps - number)
                x[:, frame] += share * (clean[:, frame] - x[:, frame])
        return self.decode(x[0])

    def _recall(self, scene: Scene, last: Tensor, arrays: dict[str, NDArray[Any]], frame: int) -> Tensor:
        """(4, H/4, W/4): the last picture, as it was made, from this frame's camera."""
        made = self.decode(last)[0]
        depth = disparity_to_depth(made[3], scene_scale(scene))
        colour = np.rint(255.0 * made[:3]).astype(np.uint8).transpose(1, 2, 0)
        colours, valid = warp(colour, depth, _camera(arrays, frame - 1), _camera(arrays, frame))
        return torch.from_numpy(np.concatenate([colours.transpose(2, 0, 1), valid[None]]))


def _camera(arrays: dict[str, NDArray[Any]], frame: int) -> Camera:
    height, width = arrays["picture"].shape[-2:]
    c2w = arrays["c2w"][frame].astype(np.float64)
    focal, center = float(arrays["focal"][frame]), (0.5 * width, 0.5 * height)
    return Camera(c2w=c2w, focal=focal, center=center, width=width, height=height)
