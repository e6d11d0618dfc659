"""Files of a data set and their checksums: written whole, listed in a manifest, checked when they are read.

`manifest.jsonl` has a first line that says how the clips were made, then one line a clip. A build that is cut off at
any moment leaves whole files and at most one broken last line. This file does not know what is in a clip.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANIFEST = "manifest.jsonl"
FORMAT, VERSION = "elsewhere.clips", 1
LONGEST_LINE = 4096


class ShardError(ValueError):
    """A file of a data set is missing or not what it was when it was made."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file: its clip number, name, size in bytes and SHA-256 in hex."""

    clip: int
    file: str
    bytes: int
    sha256: str


def clip_path(directory: Path, number: int) -> Path:
    return directory / f"clip-{number:06d}.npz"


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Shard:
    """Stores arrays under `path`, whole or not at all, and says what was written."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    content = buffer.getbuffer()
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; what is finished stays", str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
    return Shard(_number(path.name), path.name, len(content), hashlib.sha256(content).hexdigest())


def describe(path: Path) -> Shard:
    """What a whole file is. Raises ShardError for one that is no archive of arrays."""
    content = path.read_bytes()
    _arrays(content, path)
    return Shard(_number(path.name), path.name, len(content), hashlib.sha256(content).hexdigest())


def read_arrays(directory: Path, shard: Shard) -> dict[str, NDArray[Any]]:
    """The arrays of one file. Raises ShardError that names the file when it is missing or has changed."""
    path = directory / shard.file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: build it again with {_remedy(directory)}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != shard.sha256:
        raise ShardError(
            f"{path} is corrupt: its SHA-256 must be {shard.sha256[:16]}…, got {found[:16]}… "
            f"({len(content)} bytes of {shard.bytes}); build it again with {_remedy(directory)}"
        )
    return _arrays(content, path)


def _arrays(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise ShardError(f"{path} must be a whole .npz of plain arrays: {error}") from None


def _remedy(directory: Path) -> str:
    return f"`elsewhere data build {directory}`"


def _number(name: str) -> int:
    return int(name.removeprefix("clip-").removesuffix(".npz"))


def read_manifest(directory: Path) -> tuple[dict[str, Any] | None, dict[int, Shard]]:
    """How the clips were made, None where there is no manifest, and the files by clip number.

    A last line that was cut off is passed over. Raises ShardError for anything else that is no line of a manifest.
    """
    path = directory / MANIFEST
    if not path.is_file():
        return None, {}
    text = path.read_bytes()
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    if not lines:
        return None, {}
    head = _line(lines[0], path, 1)
    if head.get("format") != FORMAT or head.get("version") != VERSION:
        raise ShardError(f"{path} must begin with format {FORMAT!r}, version {VERSION}; got {str(head)[:80]}")
    shards = {}
    for at, line in enumerate(lines[1:], 2):
        shard = _shard(_line(line, path, at), path, at)
        shards[shard.clip] = shard
    return head, shards


def _line(line: bytes, path: Path, at: int) -> dict[str, Any]:
    try:
        found = json.loads(line) if len(line) <= LONGEST_LINE else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ShardError(f"{path}, line {at}: must be an object in JSON, got {line[:60]!r}")
    return found


def _shard(found: dict[str, Any], path: Path, at: int) -> Shard:
    clip, size, checksum = found.get("clip"), found.get("bytes"), found.get("sha256")
    good = isinstance(clip, int) and 0 <= clip < 10**6 and isinstance(size, int) and size >= 0
    if not good or not isinstance(checksum, str) or len(checksum) != 64 or set(found) != {"clip", "bytes", "sha256"}:
        raise ShardError(f"{path}, line {at}: must have clip, bytes and sha256, got {str(found)[:80]}")
    return Shard(clip, clip_path(path.parent, clip).name, size, checksum)  # type: ignore[arg-type]


class Manifest:
    """The list of a data set's files while it is built; only the process that holds the folder's lock writes it."""

    def __init__(self, directory: Path, made: dict[str, Any]) -> None:
        """Opens or begins the manifest. Raises ValueError where the folder's clips were made in another way."""
        self.directory, self.path = directory, directory / MANIFEST
        head, self.shards = read_manifest(directory)
        wanted = {"format": FORMAT, "version": VERSION, **made}
        if head is not None and head != json.loads(json.dumps(wanted)):
            other = [name for name in wanted if head.get(name) != json.loads(json.dumps(wanted[name]))]
            raise ValueError(
                f"{directory} holds clips that were made with other settings: "
                + ", ".join(f"{name} {head.get(name)!r} and not {wanted[name]!r}" for name in other)
                + "; take the same settings, or another folder"
            )
        self._head = head or wanted
        self._adopt()
        self._rewrite()

    def _adopt(self) -> None:
        """Whole files that were finished when nobody was left to list them; files that are gone or cut are dropped."""
        for number, shard in list(self.shards.items()):
            path = self.directory / shard.file
            if not path.is_file() or path.stat().st_size != shard.bytes:
                del self.shards[number]
        listed = {shard.file for shard in self.shards.values()}
        for path in sorted(self.directory.glob("clip-[0-9][0-9][0-9][0-9][0-9][0-9].npz")):
            if path.name not in listed:
                try:
                    shard = describe(path)
                except ShardError:
                    path.unlink()
                    continue
                self.shards[shard.clip] = shard
        for path in self.directory.glob("clip-*.part"):
            path.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        partial = self.path.with_suffix(".part")
        lines = [json.dumps(self._head), *(_as_line(self.shards[number]) for number in sorted(self.shards))]
        with partial.open("w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)

    def add(self, shard: Shard) -> None:
        """Lists a finished file."""
        self.shards[shard.clip] = shard
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_as_line(shard) + "\n")

    def forget(self, number: int) -> None:
        """Takes a file that is not what it was off the list, and away."""
        shard = self.shards.pop(number)
        (self.directory / shard.file).unlink(missing_ok=True)
        self._rewrite()


def _as_line(shard: Shard) -> str:
    return json.dumps({"clip": shard.clip, "bytes": shard.bytes, "sha256": shard.sha256})


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps a second build out of a folder. Raises ValueError where one is at work; its end, however, frees it."""
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another build is at work in {directory}: wait for it, or take another folder") from None
        yield
