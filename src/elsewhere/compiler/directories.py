"""Where what can be made again is kept, and files there that are whole, and this user's own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

VARIABLE = "ELSEWHERE_CACHE"
"""Environment variable that names the directory instead of the platform's."""


def default_directory() -> Path:
    """$ELSEWHERE_CACHE, or `elsewhere` in the platform's directory for what can be made again."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        # A relative $XDG_CACHE_HOME is to be ignored, says its specification.
        named = os.environ.get("XDG_CACHE_HOME") or ""
        base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return base / "elsewhere"


def is_own(status: os.stat_result) -> bool:
    """Whether nobody else may have written the file: what it says will be believed, or run."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022


def read_own(path: Path, limit: int = 2**24) -> bytes | None:
    """The content of a small file of this user's, or None."""
    try:
        with path.open("rb") as file:
            if not is_own(os.fstat(file.fileno())):
                return None
            return file.read(limit)
    except OSError:
        return None


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is whole or not there; where nothing can be written, nothing happens."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=path.suffix, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
