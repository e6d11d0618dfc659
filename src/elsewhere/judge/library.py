"""What a measure has made once, kept on disk under a name made of all that it depends on.

Reference pictures cost most of a measure's time: with a library they are path-traced once, whatever is measured after.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import elsewhere

CALCULATED = ("scene", "physics", "render")
"""The rooms on whose source a reference picture depends."""
GENERATED = (*CALCULATED, "compiler", "model", "judge")
"""The rooms on whose source a measured value depends."""
NOT_READ = ("train", "weights")
"""Folders of those rooms that change no picture: training, and files that are named by their own digest."""


@lru_cache(maxsize=4)
def source_digest(rooms: tuple[str, ...]) -> str:
    """16 hexadecimal digits of the Python source of some rooms, so that nothing outlives the code that made it."""
    root = Path(elsewhere.__file__).parent
    sha = hashlib.sha256()
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            if not set(NOT_READ) & set(path.relative_to(root).parts):
                sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:16]


class Library:
    """Arrays and reports by key, in a folder, or in memory where there is none.

    A file that is broken, or does not hold what is wanted, is made again.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self._memory: dict[str, Any] = {}
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def array(self, key: tuple[object, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of `key`, made where it is not there yet. `key` is of strings and numbers."""

        def read(content: bytes) -> Any:
            return np.load(io.BytesIO(content), allow_pickle=False)

        def write(value: Any) -> bytes:
            held = io.BytesIO()
            np.save(held, value, allow_pickle=False)
            return held.getvalue()

        return self._kept(key, ".npy", make, read, write)

    def report(self, key: tuple[object, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The plain JSON object of `key`, made where it is not there yet."""

        def read(content: bytes) -> Any:
            value = json.loads(content)
            if not isinstance(value, dict):
                raise ValueError("not a report")
            return value

        return self._kept(key, ".json", make, read, lambda value: json.dumps(value).encode())

    def holds(self, key: tuple[object, ...], suffix: str = ".json") -> bool:
        """Whether `key` would not have to be made."""
        name = self._name(key) + suffix
        return name in self._memory or (self.directory is not None and (self.directory / name).exists())

    def _name(self, key: tuple[object, ...]) -> str:
        return hashlib.sha256(repr(key).encode()).hexdigest()[:32]

    def _kept(
        self,
        key: tuple[object, ...],
        suffix: str,
        make: Callable[[], Any],
        read: Callable[[bytes], Any],
        write: Callable[[Any], bytes],
    ) -> Any:
        name = self._name(key) + suffix
        if self.directory is None:
            if name not in self._memory:
                self._memory[name] = make()
            return self._memory[name]
        path = self.directory / name
        try:
            return read(path.read_bytes())
        except (OSError, ValueError, EOFError):
            value = make()
        beside = path.with_name(f".{name}.{os.getpid()}.part")
        try:
            beside.write_bytes(write(value))
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        return value
