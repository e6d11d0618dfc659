"""Clips from disk as arrays in memory; new clips are taken in while a build still runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.text import PADDING, UNKNOWN
from elsewhere.model.train.shards import Shard, ShardError, read_arrays, read_manifest


class Clips:
    """All clips of a directory. `planes`, `picture`, … are lists with one array a clip (see `data.render_clip`).

    Clips of one set may have different sizes: `of_size` says which have which. What is not kept in memory, `read` gets.
    Only the first `most` are taken, where that is given. A file that is missing or corrupt is an error that names it,
    unless `skip_bad`: then it is left out, and `bad` says why.
    """

    def __init__(self, directory: Path, *, skip_bad: bool = False, most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"most must be at least 1; got {most}; nearest is 1")
        self.directory = directory
        self.most = most
        self.skip_bad = skip_bad
        self.bad: dict[str, str] = {}
        self.names: list[str] = []
        self.planes: list[NDArray[np.int8]] = []
        self.picture: list[NDArray[np.uint8]] = []
        self.coarse: list[NDArray[np.float16]] = []
        self.rays: list[NDArray[np.float16]] = []
        self.positions: list[NDArray[np.float32]] = []
        self.warped: list[NDArray[np.uint8]] = []
        self.c2w: list[NDArray[np.float32]] = []
        self.focal: list[NDArray[np.float32]] = []
        self.captions: list[tuple[str, ...]] = []
        """All canonical tokens of each clip."""
        self.short: list[tuple[str, ...]] = []
        """The few that name place and things."""
        self.sentences: list[tuple[tuple[str, tuple[str, ...]], ...]] = []
        """What a person may say, the short first, each with its tokens."""
        self._shards: dict[str, Shard] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self.names)

    def refresh(self) -> int:
        """Loads what is new; returns how many clips there are.

        Raises ValueError where there is none, and ShardError for a file that is missing or corrupt.
        """
        known = {*self.names, *self.bad}
        _, shards = read_manifest(self.directory)
        for _, shard in sorted(shards.items()):
            if len(self.names) == self.most:
                break
            if shard.file in known:
                continue
            try:
                arrays = read_arrays(self.directory, shard)
                self._take(shard, arrays)
            except ShardError as error:
                if not self.skip_bad:
                    raise
                self.bad[shard.file] = str(error)
        if not self.names:
            raise ValueError(f"no clips in {self.directory}: build some with `elsewhere data build {self.directory}`")
        return len(self.names)

    def _take(self, shard: Shard, arrays: dict[str, NDArray[Any]]) -> None:
        names = ("planes", "picture", "coarse", "rays", "positions", "warped", "c2w", "focal")
        lacking = [name for name in (*names, "caption", "short", "captions", "caption_tokens") if name not in arrays]
        if lacking:
            raise ShardError(f"{self.directory / shard.file} lacks {', '.join(lacking)}: build the clips again")
        for name in names:
            getattr(self, name).append(arrays[name])
        self.captions.append(_tokens(str(arrays["caption"])))
        self.short.append(_tokens(str(arrays["short"])))
        said = zip(arrays["captions"], arrays["caption_tokens"], strict=True)
        self.sentences.append(tuple((str(words), _tokens(str(tokens))) for words, tokens in said))
        self.names.append(shard.file)
        self._shards[shard.file] = shard

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width in pixels of each clip."""
        return [(picture.shape[-2], picture.shape[-1]) for picture in self.picture]

    def of_size(self, height: int, width: int) -> list[int]:
        """Numbers of the clips whose pictures have this size."""
        return [number for number, size in enumerate(self.sizes) if size == (height, width)]

    def read(self, number: int) -> dict[str, NDArray[Any]]:
        """All arrays of a clip, from its file. Raises ShardError when that is missing or corrupt."""
        return read_arrays(self.directory, self._shards[self.names[number]])

    @property
    def checksum(self) -> str:
        """SHA-256 in hex over the checksums of all clips here: names the data that a network was trained on."""
        text = "\n".join(sorted(f"{name} {self._shards[name].sha256}" for name in self.names))
        return hashlib.sha256(text.encode()).hexdigest()

    def text(self, number: int, vocabulary: tuple[str, ...], length: int, *, short: bool = False) -> NDArray[np.int64]:
        """(length,) token ids of a clip's caption, in full or in short."""
        index = {word: position + 2 for position, word in enumerate(vocabulary)}
        words = (self.short if short else self.captions)[number]
        ids = [index.get(word, UNKNOWN) for word in words[:length]]
        return np.array(ids + [PADDING] * (length - len(ids)), np.int64)


def _tokens(joined: str) -> tuple[str, ...]:
    return tuple(joined.split("|"))
