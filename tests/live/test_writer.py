"""Files are whole or not there, in every format, also when the disk fills up."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from elsewhere.live import writer as writing
from elsewhere.live.sheet import contact_sheet, spread
from elsewhere.live.writer import OutputError, Writer, write_picture

KINDS = (".mp4", ".webm", ".gif", ".png")


def pictures(count: int, *, noise: bool = False) -> list[np.ndarray]:
    rng = np.random.Generator(np.random.Philox(key=3))
    side, scale = (96, 1) if noise else (6, 16)
    return [
        np.kron(rng.integers(0, 256, (side, side, 3)), np.ones((scale, scale, 1))).astype(np.uint8)
        for _ in range(count)
    ]


def write(path: Path, frames: list[np.ndarray], fps: int = 24) -> list[Path]:
    with Writer(path, fps=fps) as writer:
        for frame in frames:
            writer.add(frame)
    return writer.written


@pytest.mark.parametrize("kind", [".mp4", ".webm", ".gif"])
def test_a_film_can_be_read_back(tmp_path: Path, kind: str) -> None:
    frames = pictures(25)
    (path,) = write(tmp_path / f"film{kind}", frames)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert abs(container.duration / 1e6 - 25 / 24) < 0.03
    assert len(decoded) == 25
    assert all(np.abs(a.astype(int) - b).mean() < 8 for a, b in zip(frames, decoded, strict=True))
    assert list(tmp_path.iterdir()) == [path]


def test_png_is_a_series_without_loss(tmp_path: Path) -> None:
    frames = pictures(3)
    paths = write(tmp_path / "film.png", frames)
    assert [path.name for path in paths] == ["film-0000.png", "film-0001.png", "film-0002.png"]
    assert sorted(tmp_path.iterdir()) == paths
    for path, frame in zip(paths, frames, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pictures_are_the_same_bytes(tmp_path: Path, kind: str) -> None:
    once, again = (write(tmp_path / f"{name}{kind}", pictures(5)) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


@pytest.mark.parametrize("kind", KINDS)
def test_an_interruption_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"film{kind}"
    path.write_bytes(b"the film of yesterday")
    with pytest.raises(KeyboardInterrupt), Writer(path, fps=24) as writer:
        writer.add(pictures(1)[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the film of yesterday"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 KiB of disk; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small disk takes rights that this user does not have")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk takes root")
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_leaves_nothing(small_disk: Path, kind: str) -> None:
    with pytest.raises(OutputError, match="disk is full"):
        write(small_disk / f"film{kind}", pictures(24, noise=True))
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_when_all_is_settled(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write(tmp_path / f"film{kind}", pictures(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said", "error"),
    [
        ("film.avi", r"must end in \.mp4", ValueError),
        ("film", r"must end in \.mp4", ValueError),
        ("nowhere/film.mp4", "does not exist", OutputError),
        ("folder.mp4", "is a folder", OutputError),
        ("x" * 300 + ".mp4", "name is too long", OutputError),
    ],
)
def test_what_cannot_be_written_says_why(tmp_path: Path, name: str, said: str, error: type[Exception]) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(error, match=said):
        write(tmp_path / name, pictures(1))


def test_a_place_without_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="no permission"):
        write(tmp_path / "film.mp4", pictures(1))


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    picture = pictures(1)[0]
    np.testing.assert_array_equal(np.asarray(Image.open(write_picture(picture, tmp_path / "a.png"))), picture)
    assert np.abs(np.asarray(Image.open(write_picture(picture, tmp_path / "a.jpg"))).astype(int) - picture).mean() < 6
    with pytest.raises(ValueError, match="must end in"):
        write_picture(picture, tmp_path / "a.tiff")


def test_a_sheet_shows_first_and_last() -> None:
    assert spread(96, 16)[0] == 0
    assert spread(96, 16)[-1] == 95
    assert len(spread(96, 16)) == 16
    assert spread(3, 16) == [0, 1, 2]
    assert spread(1, 1) == [0]
    frames = pictures(5)
    sheet = contact_sheet(frames)
    assert sheet.shape == (2 * 100 + 4, 3 * 100 + 4, 3)
    np.testing.assert_array_equal(sheet[4:100, 4:100], frames[0])
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
