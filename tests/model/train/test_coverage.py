"""The report counts what the clips say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from elsewhere.model.train import coverage
from elsewhere.model.train.shards import Manifest, ShardError, clip_path, write_arrays
from elsewhere.scene import parse
from elsewhere.scene.json import to_json
from elsewhere.scene.words import caption_tokens

PROMPTS = ("two red balls rolling on a table at night", "a red ball resting on a table", "a sailboat on a lake, foggy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest = Manifest(tmp_path, {"seed": 1})
    for number, prompt in enumerate(PROMPTS):
        scene = parse(prompt).scene
        c2w = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
        turn = np.radians(2.0 * number)
        c2w[1, :3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
        width = 32 if number else 48
        arrays = {
            "picture": np.full((2, 3, 32, width), 40 * number, np.uint8),
            "c2w": c2w,
            "focal": np.full(2, 32.0, np.float32),
            # One of two things moves by a tenth of its distance in two frames; the other stands behind the camera.
            "body_position": np.array([[[0, 0, -2], [0, 0, 2]], [[0, 0.2, -2], [0, 0, 2]]], np.float32),
            "positions": np.array([0.0, 2.0], np.float32),
            "controls": np.full((2, 5), number, np.float32),
            "scene": np.array(to_json(scene)),
            "caption": np.array("|".join(caption_tokens(scene))),
            "captions": np.array([prompt, prompt]),
        }
        manifest.add(write_arrays(clip_path(tmp_path, number), arrays))
    return tmp_path


def test_counts_and_pairs(folder: Path) -> None:
    found = coverage.report(folder)
    assert json.loads(json.dumps(found)) == found
    assert (found["clips"], found["frames"]) == (3, 6)
    assert found["sizes"] == {"32x32": 2, "48x32": 1}
    assert found["counts"]["place"] == {"tabletop": 2, "lake": 1}
    assert found["counts"]["kind"] == {"ball": 2, "sailboat": 1}
    assert found["counts"]["colour"] == {"red": 2}
    assert found["pairs"]["kind x place"] == {"met": 2, "of": 4, "share": 0.5, "three_times": 0}
    assert "desert" in found["never"]["place"]
    assert found["heads_at_rest"] == pytest.approx(1 / 3, abs=1e-3)
    # 0.1 · 32 · 128 / 32 pixels in two frames; the turned cameras see almost the same.
    assert found["moving_things"] == 1.0
    assert found["pixels_per_frame"]["median"] == pytest.approx(6.4, rel=0.01)
    # Four degrees in two frames of 1/24 s.
    assert found["camera_degrees_per_second"]["most"] == pytest.approx(48.0, abs=0.05)


def test_sheet_shows_every_clip(folder: Path) -> None:
    paper = coverage.sheet(folder, count=3, columns=2)
    assert paper.shape == (2 * 36 + 4, 2 * 52 + 4, 3)
    assert (paper[4 + 36 + 16, 26] == 80).all()


def test_a_broken_file_is_named(folder: Path) -> None:
    clip_path(folder, 1).write_bytes(b"PK")
    with pytest.raises(ShardError, match=r"clip-000001\.npz"):
        coverage.report(folder)
    with pytest.raises(ValueError, match="no clips in"):
        coverage.report(folder / "nothing")
