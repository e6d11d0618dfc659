"""Camera paths as files: JSON, NPZ or plain text. What is read is checked row by row; nothing in it can execute."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.scene.path import ROWS_MOST, CameraPath

FORMAT = "elsewhere.camera"
VERSION = 1
SUFFIXES = (".json", ".npz", ".txt")
BYTES_MOST = 64_000_000
_TOP = ("format", "version", "fps", "height", "width", "free", "frames")
_ROW = ("time", "c2w", "focal")
_ARRAYS = ("c2w", "time", "focal", "height", "width", "free")


def read_path(file: Path, fps: float = 24.0) -> CameraPath | str:
    """The camera path in `file`, or, where a .txt holds words and no numbers, these words.

    - .json: {"format": "elsewhere.camera", "version": 1, "height": 128, "free": false, "frames": [{"time": 0.0,
      "c2w": [[…4], …4], "focal": 132.4}, …]}, or no more than a list of 4×4 matrices. "time", "focal", "height"
      and "free" may be left out.
    - .npz: arrays c2w (T, 4, 4) and, where wanted, time (T,), focal (T,) or one number, height, free.
    - .txt: one row a line: 16 numbers of the matrix row by row; before them the time (17), and after them the focal
      length too (18). What follows # is left out.

    Rows without a time are `fps` to a second. Raises ValueError that names the file and the row, OSError.
    """
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"a camera path must be a file ending in {', '.join(SUFFIXES)}; got {file.name!r}")
    size = file.stat().st_size
    if size > BYTES_MOST:
        raise ValueError(f"{file.name} must have at most {BYTES_MOST // 10**6} MB; it has {size / 1e6:.0f} MB")
    content = file.read_bytes()
    try:
        if kind == ".npz":
            return _from_arrays(content, fps)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("it must be text in UTF-8") from None
        return _from_json(text, fps) if kind == ".json" else _from_text(text, fps)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None


def path_bytes(path: CameraPath, suffix: str) -> bytes:
    """`path` as the content of a file ending in `suffix`; `read_path` gives it back bit for bit."""
    if suffix == ".json":
        rows: list[dict[str, Any]] = []
        for number, (time, pose) in enumerate(zip(path.times, path.c2w, strict=True)):
            row: dict[str, Any] = {"time": float(time), "c2w": pose.tolist()}
            if path.focals is not None:
                row["focal"] = float(path.focals[number])
            rows.append(row)
        tree: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        if path.height is not None:
            tree["height"] = path.height
        if path.free:
            tree["free"] = True
        head = json.dumps(tree)[:-1]
        lines = ",\n ".join(json.dumps(row) for row in rows)
        return f'{head}, "frames": [\n {lines}\n]}}\n'.encode()
    if suffix == ".npz":
        arrays: dict[str, Any] = {"c2w": path.c2w, "time": path.times, "free": np.array(path.free)}
        if path.focals is not None:
            arrays["focal"] = path.focals
        if path.height is not None:
            arrays["height"] = np.array(path.height)
        made = io.BytesIO()
        np.savez(made, **arrays)
        return made.getvalue()
    if suffix == ".txt":
        heading = [
            "# time, camera to world row by row" + (", focal length in pixels" if path.focals is not None else "")
        ]
        heading += [f"# height {path.height}"] if path.height is not None else []
        heading += ["# free"] if path.free else []
        lines_of = []
        for number, (time, pose) in enumerate(zip(path.times, path.c2w, strict=True)):
            numbers = [time, *pose.reshape(-1), *([] if path.focals is None else [path.focals[number]])]
            lines_of.append(" ".join(repr(float(value)) for value in numbers))
        return ("\n".join([*heading, *lines_of]) + "\n").encode()
    raise ValueError(f"a camera path must be a file ending in {', '.join(SUFFIXES)}; got {suffix!r}")


def _from_json(text: str, fps: float) -> CameraPath:
    try:
        tree = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it must be JSON: {str(error)[:200]}") from None
    if isinstance(tree, list):
        tree = {"frames": tree}
    if not isinstance(tree, dict):
        raise ValueError("it must be an object with frames, or a list of 4×4 matrices")
    _known("field", tree, _TOP)
    if tree.get("format", FORMAT) != FORMAT or tree.get("version", VERSION) != VERSION:
        raise ValueError(f'format must be "{FORMAT}" and version {VERSION}; got {tree.get("format")!r}, '
                         f'{tree.get("version")!r}')  # fmt: skip
    frames = tree.get("frames")
    if not isinstance(frames, list):
        raise ValueError("frames must be a list")
    if not 1 <= len(frames) <= ROWS_MOST:
        raise ValueError(f"frames must have from 1 to {ROWS_MOST} rows; got {len(frames)}")
    rows = [row if isinstance(row, dict) else {"c2w": row} for row in frames]
    for number, row in enumerate(rows):
        _known(f"row {number}: field", row, _ROW)
        pose = row.get("c2w")
        good = isinstance(pose, list) and len(pose) == 4 and all(_is_row(line) for line in pose)
        if not good:
            raise ValueError(f"row {number}: c2w must be 4 rows of 4 numbers; got {str(pose)[:60]}")
    height = tree.get("height")
    if height is not None and (isinstance(height, bool) or not isinstance(height, int)):
        raise ValueError(f"height must be a whole number of pixels; got {height!r}")
    own = tree.get("fps", fps)
    if isinstance(own, bool) or not isinstance(own, int | float) or not 0 < own <= 1000:
        raise ValueError(f"fps must be more than 0 and at most 1000; got {own!r}")
    return CameraPath.make(
        [row["c2w"] for row in rows],
        _column(rows, "time"),
        _column(rows, "focal"),
        height=height,
        free=_flag(tree.get("free", False)),
        fps=own,
    )


def _is_row(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 4 and all(_is_number(value) for value in line)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"free must be true or false; got {value!r}")
    return value


def _column(rows: list[dict[str, Any]], name: str) -> list[float] | None:
    """One number of every row, or None where no row has it."""
    having = [name in row for row in rows]
    if not any(having):
        return None
    if not all(having):
        raise ValueError(f"row {having.index(False)}: {name} is missing, but other rows have it")
    for number, row in enumerate(rows):
        if not _is_number(row[name]):
            raise ValueError(f"row {number}: {name} must be a number; got {str(row[name])[:40]!r}")
    return [row[name] for row in rows]


def _known(what: str, found: Any, allowed: tuple[str, ...]) -> None:
    for name in found:
        if name not in allowed:
            raise ValueError(f"{what} {str(name)[:40]!r} is not known; it may be {', '.join(allowed)}")


def _from_arrays(content: bytes, fps: float) -> CameraPath:
    arrays: dict[str, Any] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            if isinstance(found, np.ndarray):
                raise ValueError("it must be an archive of arrays")
            _known("array", found.files, _ARRAYS)
            for entry in found.zip.infolist():
                if entry.file_size > BYTES_MOST:
                    raise ValueError(f"{entry.filename} must have at most {BYTES_MOST // 10**6} MB unpacked")
            arrays = {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, EOFError, OSError, KeyError) as error:
        raise ValueError(f"it must be an archive of arrays: {error}") from None
    if "c2w" not in arrays:
        raise ValueError("array 'c2w' (frames, 4, 4) is missing")
    for name in ("height", "free"):
        if name in arrays and arrays[name].shape != ():
            raise ValueError(f"array {name!r} must be one value; got {arrays[name].shape}")
    height = arrays.get("height")
    return CameraPath.make(
        arrays["c2w"],
        arrays.get("time"),
        arrays.get("focal"),
        height=None if height is None else int(height),
        free=bool(arrays.get("free", False)),
        fps=fps,
    )


def _from_text(text: str, fps: float) -> CameraPath | str:
    lines = [(number, line.partition("#")[0].split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words]
    if not lines:
        raise ValueError("it must have rows of numbers, or words such as 'dolly in 2s, orbit left 3s'")
    if lines[0][1][0][:1].isalpha():
        return ", ".join(" ".join(words).strip(", ") for _number, words in lines)
    if len(lines) > ROWS_MOST:
        raise ValueError(f"it must have from 1 to {ROWS_MOST} rows; got {len(lines)}")
    width = len(lines[0][1])
    if width not in (16, 17, 18):
        raise ValueError(f"line {lines[0][0]}: a row must have 16 numbers, 17 with a time or 18 with a focal too; "
                         f"got {width}")  # fmt: skip
    table = np.empty((len(lines), width))
    for row, (number, words) in enumerate(lines):
        if len(words) != width:
            raise ValueError(f"line {number}: must have {width} numbers like the first row; got {len(words)}")
        for column, word in enumerate(words):
            try:
                table[row, column] = float(word.rstrip(","))
            except ValueError:
                raise ValueError(f"line {number}: {word[:40]!r} is not a number") from None
    comments = [line.partition("#")[2].split() for line in text.splitlines() if line.lstrip().startswith("#")]
    height = next((int(c[1]) for c in comments if len(c) == 2 and c[0] == "height" and c[1].isdecimal()), None)
    first = 0 if width == 16 else 1
    return CameraPath.make(
        table[:, first : first + 16].reshape(-1, 4, 4),
        None if width == 16 else table[:, 0],
        None if width != 18 else table[:, 17],
        height=height,
        free=["free"] in comments,
        fps=fps,
        rows=[f"line {number}" for number, _words in lines],
    )


def check_path_output(file: Path) -> None:
    """Raises ValueError when no camera path can be written to `file`, and says why."""
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a camera path must be a file ending in {', '.join(SUFFIXES)}; got {file.name!r}")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{file}: the folder {file.parent} does not exist. Make it first: mkdir -p {file.parent}")
