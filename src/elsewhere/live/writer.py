"""Films and pictures as files: mp4, webm, gif, or a series of png. A file is whole or it is not there.

Everything is written beside its final place under a hidden name and moved there at the end, so that a full
disk or Ctrl-C leaves nothing under the name that was asked for.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, cast

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FORMATS = (".mp4", ".webm", ".gif", ".png")
GIF_COLORS = 256
GIF_FPS_MOST = 50  # a gif counts in hundredths of a second, and browsers slow down anything under two


class OutputError(OSError):
    """A file that could not be written; the message says what to do."""


class _Encoder(Protocol):
    def add(self, rgb: NDArray[np.uint8]) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class _Spool(io.RawIOBase):
    """A file that keeps its first failure and swallows what follows, for libraries that cannot pass one on."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file: IO[bytes] = open(path, "xb")  # noqa: SIM115 (closed in `close`)
        self._failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._keep(lambda: self._file.write(data))
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._keep(lambda: self._file.seek(offset, whence)) or 0

    def tell(self) -> int:
        return self._keep(self._file.tell) or 0

    def check(self) -> None:
        """Raises the OSError that was kept, if there was one."""
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """Everything on the disk, or the OSError that says why not."""
        self._keep(self._file.flush)
        self._keep(lambda: os.fsync(self._file.fileno()))
        self.check()

    def close(self) -> None:
        if not self.closed:
            self._keep(self._file.close)
        super().close()

    def _keep(self, action: Callable[[], int | None]) -> int | None:
        try:
            return action()
        except OSError as failure:
            self._failure = self._failure or failure
            return None


class _Video:
    """mp4 (H.264) or webm (VP9) through PyAV, bit-exact for the same pictures."""

    def __init__(self, path: Path, kind: str, fps: int, comment: str | None) -> None:
        self._spool = _Spool(path)
        self._container = av.open(self._spool, mode="w", format=kind, options={"fflags": "+bitexact"})
        if kind == "mp4":
            self._stream = self._container.add_stream("libx264", rate=fps, options={"crf": "15", "preset": "medium"})
        else:
            quality = {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}
            self._stream = self._container.add_stream("libvpx-vp9", rate=fps, options=quality)
        self._stream.pix_fmt = "yuv420p"
        if comment is not None:
            self._container.metadata["comment"] = comment
        self._stream.codec_context.time_base = Fraction(1, fps)
        self._count = 0

    def add(self, rgb: NDArray[np.uint8]) -> None:
        if self._count == 0:
            self._stream.height, self._stream.width = rgb.shape[:2]
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        picture.pts = self._count
        self._count += 1
        self._container.mux(self._stream.encode(picture))
        self._spool.check()

    def finish(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()
        self._spool.settle()

    def close(self) -> None:
        self._container.close()
        self._spool.close()


class _Gif:
    """A gif with one palette per picture, kept in memory as indexed colours until the end."""

    def __init__(self, path: Path, fps: int, comment: str | None) -> None:
        self._comment = {} if comment is None else {"comment": comment.encode()}
        self._spool = _Spool(path)
        self._stride = max(1, -(-fps // GIF_FPS_MOST))
        self._fps = fps / self._stride
        self._pictures: list[Image.Image] = []
        self._count = 0

    def add(self, rgb: NDArray[np.uint8]) -> None:
        if self._count % self._stride == 0:
            picture = Image.fromarray(rgb).quantize(GIF_COLORS, method=Image.Quantize.MEDIANCUT)
            self._pictures.append(picture)
        self._count += 1

    def finish(self) -> None:
        # The running sum is rounded, not each duration, so that a film of 24 fps lasts as long as it should.
        marks = [round(index * 100 / self._fps) * 10 for index in range(len(self._pictures) + 1)]
        durations = [after - before for before, after in pairwise(marks)]
        first, *rest = self._pictures
        spool = cast("IO[bytes]", self._spool)
        first.save(spool, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0, **self._comment)
        self._spool.settle()

    def close(self) -> None:
        self._spool.close()


class _Series:
    """Numbered png files, gathered in a hidden folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._count = 0

    def add(self, rgb: NDArray[np.uint8]) -> None:
        _save_png(rgb, self._folder / f"{self._count:04d}.png")
        self._count += 1

    def finish(self) -> None:
        return None

    def close(self) -> None:
        return None


class Writer:
    """Writes a film to `path`, in the format that its ending names; a context manager.

    mp4, webm and gif are one file. For `NAME.png` the pictures become `NAME-0000.png`, `NAME-0001.png` …
    `written` lists the files once the `with` block has ended well; after an error there are none. `comment` is what an
    mp4, webm or gif says of itself.
    Raises ValueError for an ending that is not known and OutputError when the disk refuses.
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: int, comment: str | None = None) -> None:
        self.path = Path(path)
        self.written: list[Path] = []
        self._kind = check_output(self.path)
        self._hidden = _beside(self.path)
        self._count = 0
        try:
            with _told(self.path):
                self._encoder = self._open(fps, comment)
        except BaseException:  # Ctrl-C too, while the file is already there
            _remove(self._hidden)
            raise

    def _open(self, fps: int, comment: str | None) -> _Encoder:
        if self._kind == ".png":
            return _Series(self._hidden)
        if self._kind == ".gif":
            return _Gif(self._hidden, fps, comment)
        return _Video(self._hidden, self._kind[1:], fps, comment)

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Adds one (H, W, 3) picture; all of a film have the same size."""
        with _told(self.path):
            self._encoder.add(rgb)
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._count:
                with _told(self.path):
                    self._encoder.finish()
                    self._encoder.close()
                    self._reveal()
        finally:
            try:
                self._encoder.close()
            finally:  # a container that was interrupted may not want to be closed
                _remove(self._hidden)

    def _reveal(self) -> None:
        if self._kind != ".png":
            os.replace(self._hidden, self.path)
            self.written = [self.path]
            return
        for source in sorted(self._hidden.iterdir()):
            target = self.path.with_name(f"{self.path.stem}-{source.name}")
            os.replace(source, target)
            self.written.append(target)


def write_picture(rgb: NDArray[np.uint8], path: str | os.PathLike[str], *, comment: str | None = None) -> Path:
    """Writes one (H, W, 3) picture as png or jpg, whole or not at all; `comment` is what it says of itself.

    ValueError, OutputError as `Writer`.
    """
    target = Path(path)
    check_output(target, (".png", ".jpg"))
    hidden = _beside(target)
    try:
        with _told(target):
            if target.suffix.lower() == ".png":
                _save_png(rgb, hidden, comment)
            else:
                _save_jpeg(rgb, hidden, comment)
            os.replace(hidden, target)
    finally:
        _remove(hidden)
    return target


def check_output(path: Path, formats: tuple[str, ...] = FORMATS) -> str:
    """The lower-case ending of `path`, when a film could be written there; says what is wrong otherwise."""
    kind = path.suffix.lower()
    if kind not in formats:
        raise ValueError(f"output must end in {', '.join(formats)}; got {path.name!r}. Try {path.stem + formats[0]!r}")
    folder = path.parent
    with _told(path):
        path.exists()  # says when the name itself is impossible
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist. Make it first: mkdir -p {folder}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Name a file in it, such as {path / ('film' + kind)}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: no permission to write in {folder}. Name another place with --output")
    return kind


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _save_png(rgb: NDArray[np.uint8], path: Path, comment: str | None = None) -> None:
    chunks = PngInfo()
    if comment is not None:
        chunks.add_text("elsewhere", comment)
    _save(path, lambda stream: Image.fromarray(rgb).save(stream, format="PNG", pnginfo=chunks))


def _save_jpeg(rgb: NDArray[np.uint8], path: Path, comment: str | None = None) -> None:
    said = {} if comment is None else {"comment": comment.encode()}
    _save(path, lambda stream: Image.fromarray(rgb).save(stream, format="JPEG", quality=92, subsampling=0, **said))


def _save(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    with open(path, "xb") as stream:
        save(stream)
        stream.flush()
        os.fsync(stream.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what the system says about `path` into an OutputError that tells what to do."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(_explain(path, error)) from error


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{path}: the disk is full; nothing was left behind. Free some space or name another place"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: no permission to write there. Name another place with --output"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path.name[:40]}…: the name is too long for this disk. Choose a shorter one"
    return f"{path}: could not be written ({error.strerror or error})"
