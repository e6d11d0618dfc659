"""The networks for films that nobody waits for: pictures to latents and back, and frames made among known ones.

`Offline.denoise` takes any number of frames, each with a noise level of its own to begin at; those at level 1 are
known and stay. They pass through the transformer in windows; where these overlap, what they predict is averaged at
every step (Bar-Tal et al. 2023, arXiv 2302.08113), so that no window has an edge. A ring of frames has no first one.

Shapes: F frames of a film, T of a window, N = h·w tokens, C latent channels, D width, P planes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.cpu.machine import describe
from elsewhere.compiler.targets.cpu.runtime import Network
from elsewhere.model.configuration import PATCH
from elsewhere.model.generator import CONTEXT_LEVEL
from elsewhere.model.graphs.tokenizer import GREY, encoder_graph
from elsewhere.model.graphs.window import visible_frames, window_graph
from elsewhere.model.network import Models, compiled
from elsewhere.model.planes import PLANES
from elsewhere.model.rays import token_rays
from elsewhere.model.text import token_ids
from elsewhere.scene import Camera, Scene

WINDOW = 8
"""Frames that pass through the transformer together: as many as the clips of training have."""
STRIDE = 4
DEPTH_ROUNDS = 3
"""Times that a picture without depth is coded again with the depth that the decoder sees in it."""

Latents = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What the transformer is told of one frame, but for its noise level."""

    rays: NDArray[np.float32]  # (N, 12)
    features: NDArray[np.float32]  # (N, D)
    position: float
    """In frames of 1/24 s."""
    text: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Keys and values (B, K, L, E)."""


class Offline:
    """Encoder, transformer and decoder for pictures of one size."""

    def __init__(self, models: Models, height: int, width: int, *, threads: int, precision: str) -> None:
        if height % PATCH or width % PATCH or min(height, width) < PATCH:
            raise ValueError(f"height and width must be multiples of {PATCH}, got {height} and {width}")
        self.models, self.height, self.width = models, height, width
        self._threads, self._precision = threads, precision
        self._networks: dict[str, Network] = {}
        self._blank: NDArray[np.float32] | None = None

    def _network(self, name: str) -> Network:
        if name not in self._networks:
            models, size = self.models, (self.height, self.width)
            made: dict[str, Callable[[], Graph]] = {
                **models.graphs(*size),
                "encode": lambda: encoder_graph(models.tokenizer, models.tokenizer_arrays, *size),
                "window": lambda: window_graph(models.transformer, models.tables.weights, WINDOW, *size),
            }
            code = compiled(made[name](), describe(), sorted({1, 2, self._threads}), self._precision)
            self._networks[name] = Network(code.program, describe(), self._threads, code.library)
        return self._networks[name]

    def _run(self, name: str, output: str, **given: NDArray[np.float32]) -> NDArray[np.float32]:
        network = self._network(name)
        for port, values in given.items():
            network.write(port.replace("_", " "), np.ascontiguousarray(values))
        network.run()
        return network.read(output)

    # -- one picture

    def blank(self) -> NDArray[np.float32]:
        """Planes (H, W, P) of a dream: zeros."""
        return np.zeros((self.height, self.width, len(PLANES)), np.float32)

    def encode(
        self,
        rgb: NDArray[np.float32],
        planes: NDArray[np.float32] | None = None,
        disparity: NDArray[np.float32] | None = None,
    ) -> Latents:
        """Display RGB (H, W, 3) in [0, 1] → latents (N, C), with the guide's planes or as a dream's.

        A dream's `disparity` (H, W), where it is not known, is what the decoder sees in the picture, asked a few times.
        """
        shown = self.blank() if planes is None else planes
        if disparity is None and planes is not None:
            disparity = planes[..., PLANES.index("disparity")]
        rounds = 1 if disparity is not None else DEPTH_ROUNDS
        depth = np.full((self.height, self.width), GREY[3], np.float32) if disparity is None else disparity
        for number in range(rounds):
            picture = np.concatenate([rgb, depth[..., None]], axis=-1).astype(np.float32)
            latents = self._run("encode", "latents", picture=picture, planes=shown)
            if number + 1 < rounds:
                depth = np.clip(self.decode(latents, shown)[..., 3], 0.0, 1.0)
        return latents

    def decode(self, latents: Latents, planes: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Latents (N, C) → (H, W, 4): display RGB and disparity, not clipped."""
        return self._run("decode", "picture", latents=latents, planes=self.blank() if planes is None else planes)

    def features(self, planes: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """What the transformer sees of a guide (H, W, P), or of none: (N, D)."""
        if planes is not None:
            return self._run("look", "features", planes=planes)
        if self._blank is None:
            self._blank = self._run("look", "features", planes=self.blank())
        return self._blank

    def text(self, scene: Scene | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keys and values (B, K, L, E) of a scene's caption, or of silence."""
        config = self.models.transformer
        if scene is None:
            return self.models.tables.text(np.zeros(config.text_length, np.int64))
        return self.models.tables.text(token_ids(scene, config.vocabulary, config.text_length))

    # -- many frames

    def shown(
        self,
        cameras: Sequence[Camera],
        positions: Sequence[float],
        features: Sequence[NDArray[np.float32]],
        texts: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
        scale: float,
        *,
        ring: bool = False,
    ) -> list[Shown]:
        """What is told of F frames. On a ring, the last frame's camera is the one before the first's."""
        before = [cameras[-1] if ring else cameras[0], *cameras[:-1]]
        return [
            Shown(rays=token_rays(camera, cameras[0], last, scale), features=feature, position=position, text=text)
            for camera, last, feature, position, text in zip(cameras, before, features, positions, texts, strict=True)
        ]

    def denoise(
        self,
        frames: Sequence[Shown],
        noisy: Latents,
        start: NDArray[np.float64],
        noise: Latents,
        *,
        evaluations: int,
        future: bool,
        ring: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Latents:
        """Clean latents (F, N, C) from `noisy`, whose frames are at the levels `start` (F,); 1 is known, and stays.

        `noise` (F, N, C) blurs what is known a little, as in training. `future`: frames also see those after them.
        `progress` is called with the passes done and all that there are. Raises ValueError where levels are outside
        [0, 1] or shapes differ.
        """
        count = len(frames)
        if noisy.shape != noise.shape or len(noisy) != count or start.shape != (count,):
            raise ValueError(f"noisy, noise and start must be of {count} frames, got {noisy.shape}, {noise.shape}")
        if not (np.isfinite(start).all() and start.min() >= 0.0 and start.max() <= 1.0):
            raise ValueError(f"start must be levels from 0 to 1, got {start.min()} to {start.max()}")
        x = noisy.astype(np.float32)
        known = start >= 1.0
        blurred = np.float32(CONTEXT_LEVEL) * x + np.float32(1.0 - CONTEXT_LEVEL) * noise
        windows = [w for w in spans(count, ring=ring) if not known[w].all()]
        told_step = np.where(start > 0.0, 0.0, 1.0 / evaluations if evaluations in (1, 2, 4, 8) else 0.0)
        for number in range(evaluations):
            level = start + (1.0 - start) * number / evaluations
            told = np.where(known, CONTEXT_LEVEL, level)
            steps = np.where(known, 0.0, told_step)
            seen = np.where(known[:, None, None], blurred, x)
            total, weight = np.zeros_like(x), np.zeros(count, np.float32)
            for done, window in enumerate(windows):
                share = trust(len(window), future=future, whole=len(windows) == 1)
                # On a ring the frames of a window lie side by side in time, also across its end.
                unrolled = window[0] + np.arange(len(window))
                places = [frames[i].position for i in window]
                if ring:
                    pace = frames[1].position - frames[0].position if count > 1 else 1.0
                    places = [float(pace * i) for i in unrolled]
                clean = self._window(
                    [frames[i] for i in window], seen[window], told[window], steps[window], places, future
                )
                np.add.at(total, window, share[:, None, None] * clean)
                np.add.at(weight, window, share)
                if progress is not None:
                    progress(number * len(windows) + done + 1, evaluations * len(windows))
            made = total / np.maximum(weight, 1e-6)[:, None, None]
            move = (1.0 / (evaluations - number)) * (~known & (weight > 0))
            x = (x + (made - x) * move.astype(np.float32)[:, None, None]).astype(np.float32)
        return x

    def _window(
        self,
        frames: Sequence[Shown],
        noisy: Latents,
        levels: NDArray[np.float64],
        steps: NDArray[np.float64],
        positions: Sequence[float],
        future: bool,
    ) -> Latents:
        """One pass of at most WINDOW frames; places not filled repeat the last frame and are seen by nobody."""
        count = len(frames)
        index = np.minimum(np.arange(WINDOW), count - 1)
        visible = visible_frames(WINDOW, future=future)
        visible[:count, count:] = forms.MASKED
        told = [frames[i] for i in index]
        tables = self.models.tables
        cosines, sines = tables.time_turns([positions[i] for i in index])
        made = self._run(
            "window",
            "clean",
            noisy=noisy[index],
            rays=np.stack([f.rays for f in told]),
            features=np.stack([f.features for f in told]),
            modulation=tables.modulation([float(x) for x in levels[index]], [float(x) for x in steps[index]]),
            text_keys=np.stack([f.text[0] for f in told], axis=1),
            text_values=np.stack([f.text[1] for f in told], axis=1),
            cosines=cosines,
            sines=sines,
            visible=visible,
        )
        return made[:count]


def spans(count: int, *, ring: bool) -> list[NDArray[np.intp]]:
    """Which of `count` frames each window holds, so that all are held and neighbours share windows."""
    if ring:
        length = min(WINDOW, count)
        return [(start + np.arange(length)) % count for start in range(0, count, min(STRIDE, length))]
    if count <= WINDOW:
        return [np.arange(count)]
    starts = [*range(0, count - WINDOW, STRIDE), count - WINDOW]
    return [start + np.arange(WINDOW) for start in starts]


def trust(length: int, *, future: bool, whole: bool) -> NDArray[np.float32]:
    """(T,) how much a window's word counts for each of its frames: most where it sees most around it."""
    if whole:
        return np.ones(length, np.float32)
    ahead = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(ahead, ahead[::-1]) if future else ahead
