"""Pictures and clips from files that anybody may have made: bounded, and clear about what is left out.

The kind of a file is read from its first bytes, not from its name; a demuxer may open nothing beside the file.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from elsewhere.live.fit import cut_away, fitted, size_for
from elsewhere.live.origin import Origin, read_origin

PICTURE_BYTES_MOST = 64 * 2**20
CLIP_BYTES_MOST = 2 * 2**30
PIXELS_MOST = 50_000_000
CLIP_PIXELS_MOST = 8192 * 4608
SECONDS_MOST = 60.0
FPS_MOST = 60
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
BROKEN = (
    *(OSError, SyntaxError, EOFError, MemoryError, OverflowError, struct.error, Image.DecompressionBombError),
    *(AttributeError, IndexError, KeyError, TypeError, ZeroDivisionError),
)
"""What Pillow raises for files that are not what they say, by format."""
LOST_MOST = 0.02
"""Share of a picture that may be cropped without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """T pictures at a steady rate. `notes` say what was changed or left out."""

    frames: NDArray[np.uint8]  # (T, H, W, 3)
    fps: int
    origin: Origin | None = None
    notes: tuple[str, ...] = ()


def read_picture(path: str | Path, size: tuple[int, int] | None = None) -> Clip:
    """A picture as a clip of one frame, `size` (width, height) or the nearest that can be.

    Upright (EXIF), 8 bits, alpha on white, the first of an animation. Raises ValueError for what is no picture.
    """
    path = Path(path)
    _check_file(path, PICTURE_BYTES_MOST, "picture")
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is checked here
        try:
            with Image.open(path, formats=PICTURES) as picture:
                _check_pixels(path, picture.size, PIXELS_MOST)
                if getattr(picture, "n_frames", 1) > 1:
                    notes.append(f"{path.name} is animated: its first picture is taken")
                origin = _picture_origin(picture)
                rgb = _upright(picture, path, notes)
        except BROKEN as error:
            raise ValueError(
                f"picture {path} cannot be read as {', '.join(PICTURES)}: {_short(error)}. Save it again as PNG"
            ) from None
    width, height = size or size_for(rgb.shape[1], rgb.shape[0])
    _tell_size(path, (rgb.shape[1], rgb.shape[0]), (width, height), notes)
    if origin is not None and (origin.options.width, origin.options.height) != (rgb.shape[1], rgb.shape[0]):
        origin = None
    return Clip(frames=fitted(rgb, width, height)[None], fps=24, origin=origin, notes=tuple(notes))


def read_clip(
    path: str | Path,
    size: tuple[int, int] | None = None,
    fps: int | None = None,
    *,
    least: int = 2,
    check: Callable[[], None] | None = None,
) -> Clip:
    """A clip of at most a minute, at a steady rate: its own, or `fps` frames a second.

    Each moment shows the frame that was on the screen then, so that a variable rate becomes a steady one. Sound is left
    out. `check` is called for each frame. Raises ValueError for what is no clip, is too long, or has under `least`
    frames.
    """
    path = Path(path)
    _check_file(path, CLIP_BYTES_MOST, "clip")
    notes: list[str] = []
    try:
        with open(path, "rb") as file:
            kind = _kind(path, file)
            with av.open(file, mode="r", format=kind, options={"protocol_whitelist": "file"}) as container:
                return _decoded(container, path, size, fps, least, notes, check or (lambda: None))
    except (av.FFmpegError, MemoryError, EOFError) as error:
        raise ValueError(f"clip {path} cannot be read: {_short(error)}. Save it again as mp4") from None


def _decoded(
    container: Any,
    path: Path,
    size: tuple[int, int] | None,
    fps: int | None,
    least: int,
    notes: list[str],
    check: Callable[[], None],
) -> Clip:
    if not container.streams.video or container.streams.video[0].codec_context is None:
        raise ValueError(f"clip {path} has no pictures in it that can be read. Name a film")
    stream = container.streams.video[0]
    _check_pixels(path, (stream.codec_context.width, stream.codec_context.height), CLIP_PIXELS_MOST)
    known = container.duration / 1e6 if container.duration else 0.0
    if known > SECONDS_MOST + 1.0:
        raise ValueError(_too_long(path, known))
    if container.streams.audio:
        notes.append(f"the sound of {path.name} is left out")
    origin = read_origin(container.metadata.get("comment") or container.metadata.get("COMMENT"))
    rate = fps or _rate(stream)
    if fps is None and origin is not None and abs(origin.options.fps - rate) <= 1:
        rate = origin.options.fps  # a gif counts in hundredths of a second
    taken: list[NDArray[np.uint8]] = []
    shape: tuple[int, int] | None = None
    gaps: set[int] = set()
    last: float | None = None
    for seconds, rgb in _frames(container, stream, path, check):
        if seconds > SECONDS_MOST:
            raise ValueError(_too_long(path, max(known, seconds)))
        if shape is None:
            shape = (rgb.shape[1], rgb.shape[0])
            size = size or size_for(*shape)
            _tell_size(path, shape, size, notes)
        if last is not None:
            gaps.add(round((seconds - last) * 1000.0 / 8.0))
        last = seconds
        picture = fitted(rgb, *size)  # type: ignore[misc]
        # Until this moment the last picture was on the screen.
        while taken and len(taken) < round(seconds * rate):
            taken.append(taken[-1])
        if len(taken) <= round(seconds * rate):
            taken.append(picture)
        else:
            taken[-1] = picture
    if len(taken) < least:
        raise ValueError(f"clip {path} must have at least {least} frames; it has {len(taken)}. Name a longer one")
    if len(gaps) > 2:
        notes.append(f"the frame rate of {path.name} varies: taken as {rate} frames a second")
    frames = np.stack(taken)
    if origin is not None:
        told = origin.options
        if (told.width, told.height, told.fps, origin.frames) != (*frames.shape[2:0:-1], rate, len(frames)):
            notes.append(f"{path.name} was changed since it was made: what it says of its world does not fit it")
            origin = None
    return Clip(frames=frames, fps=rate, origin=origin, notes=tuple(notes))


def _frames(
    container: Any, stream: Any, path: Path, check: Callable[[], None]
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Seconds since the first frame, and the frame, upright."""
    first: float | None = None
    before = -1.0
    for frame in container.decode(stream):
        check()
        _check_pixels(path, (frame.width, frame.height), CLIP_PIXELS_MOST)
        seconds = float(frame.pts * frame.time_base) if frame.pts is not None else before + 1.0 / 24.0
        first = seconds if first is None else first
        if seconds - first <= before:
            seconds = first + before + 1e-3  # clocks that stand still or go back
        before = seconds - first
        rgb = frame.to_ndarray(format="rgb24")
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        yield before, np.rot90(rgb, turns) if turns else rgb


def _rate(stream: Any) -> int:
    found = stream.average_rate or stream.guessed_rate or Fraction(24)
    return int(min(max(round(float(found)), 1), FPS_MOST))


def _kind(path: Path, file: IO[bytes]) -> str:
    """The demuxer for a file's first bytes; ValueError where it is none of those that are read."""
    head = file.read(16)
    file.seek(0)
    for kind, found in (
        ("mov", head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat")),
        ("matroska", head.startswith(b"\x1a\x45\xdf\xa3")),
        ("gif", head.startswith((b"GIF87a", b"GIF89a"))),
        ("avi", head.startswith(b"RIFF") and head[8:12] == b"AVI "),
        ("ogg", head.startswith(b"OggS")),
        ("apng", head.startswith(b"\x89PNG\r\n\x1a\n")),
    ):
        if found:
            return kind
    raise ValueError(f"clip {path} is no mp4, mov, webm, mkv, gif, apng, avi or ogg. Save it as mp4")


def _too_long(path: Path, seconds: float) -> str:
    return f"clip {path} must be at most {SECONDS_MOST:.0f} s long; it has {seconds:.0f} s. Cut out a part first"


def _check_file(path: Path, most: int, name: str) -> None:
    try:
        if not path.exists():
            raise ValueError(f"{name} {path} does not exist")
        if not path.is_file():
            raise ValueError(f"{name} {path} is not a file")
        length = path.stat().st_size
    except OSError as error:
        raise ValueError(f"{name} {str(path)[:80]} cannot be read: {_short(error)}") from None
    if not 0 < length <= most:
        raise ValueError(f"{name} {path} must have from 1 to {most // 2**20} MiB; it has {length} bytes")


def _check_pixels(path: Path, size: tuple[int, int], most: int) -> None:
    if not 0 < size[0] * size[1] <= most:
        raise ValueError(f"{path} must have at most {most // 1_000_000} million pixels; it has {size[0]}x{size[1]}")


def _tell_size(path: Path, have: tuple[int, int], made: tuple[int, int], notes: list[str]) -> None:
    if have == made:
        return
    lost = cut_away(have, *made)
    cropped = f", {100.0 * lost:.0f} % of it cropped at its sides" if lost > LOST_MOST else ""
    notes.append(f"{path.name} is {have[0]}x{have[1]}: taken as {made[0]}x{made[1]}{cropped}")


def _upright(picture: Image.Image, path: Path, notes: list[str]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of what a person sees: turned as EXIF says, 8 bits, on white where it is transparent."""
    turned = ImageOps.exif_transpose(picture)
    if turned.mode.startswith("I") or turned.mode == "F":
        grey = np.asarray(turned, np.float64)
        if not np.isfinite(grey).all():
            raise ValueError(f"picture {path} has values that are no numbers. Save it again as PNG")
        most = 65535.0 if turned.mode.startswith("I") else max(1.0, float(grey.max(initial=0.0)))
        notes.append(f"{path.name} has more than 8 bits: taken as 8")
        return np.repeat(np.rint(np.clip(grey / most, 0.0, 1.0) * 255.0).astype(np.uint8)[..., None], 3, axis=-1)
    if turned.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in turned.info:
        clear = turned.convert("RGBA")
        if np.asarray(clear)[..., 3].min() < 255:
            notes.append(f"{path.name} is transparent in places: set on white")
        paper = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(paper, clear)
    return np.array(turned.convert("RGB"), np.uint8)


def _picture_origin(picture: Image.Image) -> Origin | None:
    said = picture.info.get("elsewhere") or picture.info.get("comment")
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace")
    return read_origin(said) if isinstance(said, str) else None


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:160]
