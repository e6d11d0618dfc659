"""Files that verbs write: names checked before the work begins, contents whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_path(path: Path, suffix: str) -> None:
    """Raises ValueError for another suffix, and for a folder that is not there."""
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path} must end in {suffix}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"the folder {path.parent} does not exist")


def write_whole(path: Path, content: bytes) -> None:
    """Raises OSError, and leaves what was there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Arrays by name as .npz."""
    import numpy as np

    made = io.BytesIO()
    np.savez(made, **arrays)
    write_whole(path, made.getvalue())


def describe(name: str, array: Any) -> dict[str, Any]:
    """What a person or a script wants to know of an output: shape, range, and a digest of its bytes."""
    import hashlib

    import numpy as np

    wide = array.astype(np.float64)
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "mean": float(wide.mean()) if array.size else 0.0,
        "least": float(wide.min()) if array.size else 0.0,
        "most": float(wide.max()) if array.size else 0.0,
        "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
    }


def in_words(row: Mapping[str, Any]) -> str:
    """One line of `describe`."""
    shape = "×".join(map(str, row["shape"])) or "1"
    return f"{row['name']}: {row['dtype']} {shape}, {row['least']:.5g} … {row['most']:.5g}, mean {row['mean']:.5g}"


def in_bytes(count: int) -> str:
    """Such as 14 KB or 2.3 MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} KB"
