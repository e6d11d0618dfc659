"""Camera paths: file to path to file, cameras between rows, and files that are wrong."""

from __future__ import annotations

import io
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from elsewhere.scene.path import CameraPath
from elsewhere.scene.path_files import SUFFIXES, path_bytes, read_path


def pose(yaw: float, pitch: float, position: tuple[float, float, float]) -> NDArray[np.float64]:
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = about_y @ about_x, position
    return made


angles, metres = st.floats(-3.2, 3.2), st.floats(-400.0, 400.0)
poses = st.builds(pose, angles, angles, st.tuples(metres, metres, metres))


@st.composite
def paths(draw: st.DrawFn) -> CameraPath:
    rows = draw(st.lists(poses, min_size=1, max_size=8))
    gaps = draw(st.lists(st.floats(0.01, 5.0), min_size=len(rows), max_size=len(rows)))
    focals = draw(st.none() | st.lists(st.floats(10.0, 900.0), min_size=len(rows), max_size=len(rows)))
    height = draw(st.none() | st.integers(16, 4096))
    return CameraPath.make(np.stack(rows), np.cumsum(gaps), focals, height=height, free=draw(st.booleans()))


@given(path=paths(), suffix=st.sampled_from(SUFFIXES))
@settings(deadline=None)
def test_file_to_path_to_file(tmp_path_factory: pytest.TempPathFactory, path: CameraPath, suffix: str) -> None:
    file = tmp_path_factory.mktemp("path") / f"path{suffix}"
    content = path_bytes(path, suffix)
    file.write_bytes(content)
    again = read_path(file)
    assert isinstance(again, CameraPath)
    np.testing.assert_array_equal(again.c2w, path.c2w)
    np.testing.assert_array_equal(again.times, path.times)
    assert (again.height, again.free) == (path.height, path.free)
    if path.focals is None:
        assert again.focals is None
    else:
        np.testing.assert_array_equal(again.focals, path.focals)
    if suffix != ".npz":  # whose entries carry the time of day
        assert path_bytes(again, suffix) == content


@given(path=paths(), share=st.floats(-0.2, 1.2))
@settings(deadline=None)
def test_cameras_are_rigid_everywhere(path: CameraPath, share: float) -> None:
    camera = path.at(share * path.seconds, 96, 64, lens=70.0)
    rotation = camera.c2w[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-7)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert np.isfinite(camera.c2w).all() and camera.focal > 0


@given(path=paths())
@settings(deadline=None)
def test_rows_are_met_bit_for_bit(path: CameraPath) -> None:
    for number, time in enumerate(path.times):
        np.testing.assert_array_equal(path.at(float(time), 64, 64, lens=70.0).c2w, path.c2w[number])


def test_half_a_turn_and_the_way_between() -> None:
    path = CameraPath.make([pose(0.0, 0.0, (0, 1, 0)), pose(math.pi, 0.0, (2, 1, 0))], [0.0, 2.0])
    half = path.at(1.0, 64, 64, lens=70.0)
    assert abs(half.c2w[0, 2]) == pytest.approx(1.0)
    np.testing.assert_allclose(half.position, (1, 1, 0), atol=1e-12)


def test_the_focal_length_follows_the_pictures_height() -> None:
    path = CameraPath.make([np.eye(4)], focals=100.0, height=128)
    assert path.at(0.0, 64, 64, lens=1.0).focal == 50.0
    assert CameraPath.make([np.eye(4)]).at(0.0, 64, 64, lens=33.0).focal == 33.0


def skewed() -> NDArray[np.float64]:
    made = np.eye(4)
    made[0, 1] = 0.2
    return made


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.eye(3)[None], r"shape \(frames, 4, 4\); got 1×3×3"),
        (np.eye(4)[None, :3], "add the row 0 0 0 1"),
        (np.eye(4), "got 4×4"),
        ([], "shape"),
        ([np.eye(4), np.full((4, 4), np.nan)], "row 1: c2w must be finite"),
        ([np.eye(4), skewed()], "row 1: c2w's rotation must be orthonormal"),
        ([np.diag([2.0, 2.0, 2.0, 1.0])], "scaled by 2"),
        ([np.diag([-1.0, 1.0, 1.0, 1.0])], "mirrored"),
        ([pose(0, 0, (0, 0, 4)).T], "transposed"),
        ([pose(0, 0, (0, 1, 5000.0))], "5000 m away"),
        (np.tile(np.eye(4), (20_001, 1, 1)), "1 to 20000 rows; got 20001"),
    ],
)
def test_wrong_matrices_are_named(rows: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CameraPath.make(rows)


@pytest.mark.parametrize(
    ("times", "said"), [([0.0, 0.0], "row 1: time must be later"), ([0.0, math.nan], "row 1"), ([0.0], "2 rows")]
)
def test_wrong_times_are_named(times: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CameraPath.make([np.eye(4)] * 2, times)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.csv", b"", "ending in .json, .npz, .txt"),
        ("p.json", b"{", "must be JSON"),
        ("p.json", b"[" * 100_000, "must be JSON"),
        ("p.json", b'{"frames": []}', "from 1 to"),
        ("p.json", b'{"frames": [{"c2w": [[1, 2], [3, 4]]}]}', "row 0: c2w must be 4 rows of 4 numbers"),
        ("p.json", b'{"frames": [{"pose": 1}]}', "row 0: field 'pose' is not known"),
        ("p.json", b"\xff\xfe", "UTF-8"),
        ("p.txt", b"", "rows of numbers, or words"),
        ("p.txt", b"1 2 3\n", "line 1: a row must have 16"),
        ("p.txt", b"\n".join([b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"] * 2 + [b"1 2"]), "line 3: must have 16"),
        ("p.txt", b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 x", "line 1: 'x' is not a number"),
        ("p.npz", b"PK\x03\x04 and no more", "archive"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_path(tmp_path / name)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    made = io.BytesIO()
    np.savez(made, c2w=np.array([{"a": 1}], dtype=object))
    (tmp_path / "p.npz").write_bytes(made.getvalue())
    with pytest.raises(ValueError, match="pickle"):
        read_path(tmp_path / "p.npz")
    (tmp_path / "q.npz").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"pickle|archive"):
        read_path(tmp_path / "q.npz")


def test_a_bare_list_and_words(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps([np.eye(4).tolist()] * 3))
    path = read_path(tmp_path / "p.json", 10.0)
    assert isinstance(path, CameraPath)
    np.testing.assert_allclose(path.times, [0.0, 0.1, 0.2])
    (tmp_path / "p.txt").write_text("# a film\ndolly in 2s\norbit left 3s\n")
    assert read_path(tmp_path / "p.txt") == "dolly in 2s, orbit left 3s"
