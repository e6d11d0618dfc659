"""Clips from disk as arrays in memory; new clips are taken in while a build still runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.text import PADDING, UNKNOWN


class Clips:
    """All clips of a directory. `planes`, `picture`, … are lists with one array a clip (see `data.render_clip`)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: list[str] = []
        self.planes: list[NDArray[np.int8]] = []
        self.picture: list[NDArray[np.uint8]] = []
        self.coarse: list[NDArray[np.float16]] = []
        self.rays: list[NDArray[np.float16]] = []
        self.positions: list[NDArray[np.float32]] = []
        self.captions: list[tuple[str, ...]] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self.names)

    def refresh(self) -> int:
        """Loads what is new; returns how many clips there are. Raises ValueError where there is none."""
        known = set(self.names)
        for path in sorted(self.directory.glob("clip-*.npz")):
            if path.name in known:
                continue
            with np.load(path, allow_pickle=False) as arrays:
                self.planes.append(arrays["planes"])
                self.picture.append(arrays["picture"])
                self.coarse.append(arrays["coarse"])
                self.rays.append(arrays["rays"])
                self.positions.append(arrays["positions"])
                self.captions.append(tuple(str(arrays["caption"]).split("|")))
            self.names.append(path.name)
        if not self.names:
            raise ValueError(f"no clips in {self.directory}: build some with `elsewhere data build {self.directory}`")
        return len(self.names)

    def text(self, number: int, vocabulary: tuple[str, ...], length: int) -> NDArray[np.int64]:
        """(length,) token ids of a clip's caption."""
        index = {word: position + 2 for position, word in enumerate(vocabulary)}
        ids = [index.get(word, UNKNOWN) for word in self.captions[number][:length]]
        return np.array(ids + [PADDING] * (length - len(ids)), np.int64)
