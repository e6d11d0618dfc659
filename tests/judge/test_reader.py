"""A reader learns what clips show, and says so of new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elsewhere.judge.reader import Reader, looks_at, shipped
from elsewhere.judge.reader_training import ReaderTraining, ridge, train
from elsewhere.scene.words import vocabulary

COLOURS = {"lake": (40, 60, 160), "desert": (200, 160, 90), "snowy field": (230, 230, 240)}
LIGHTS = {"noon": 1.0, "night": 0.25}


def write_clips(directory: Path, count: int, seed: int) -> None:
    """Pictures whose colour is the place, whose brightness is the light, with stripes or dots for a thing."""
    directory.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        place, light = str(rng.choice(list(COLOURS))), str(rng.choice(list(LIGHTS)))
        thing = str(rng.choice(["ball", "barrel"]))
        picture = np.empty((2, 3, 64, 96), np.float64)
        picture[:] = np.array(COLOURS[place])[:, None, None]
        top, left = rng.integers(0, 30), rng.integers(16, 46)
        stripes = np.indices((24, 24))[0 if thing == "ball" else 1] // 3 % 2
        picture[:, :, top : top + 24, left : left + 24] = 60 + 140 * stripes
        shown = np.clip(picture * LIGHTS[light] + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        caption = np.array(f"{place}|{light}|one|{thing}")
        np.savez(directory / f"clip-{number:06d}.npz", picture=shown, caption=caption)


def test_it_reads_clips_that_it_did_not_see(tmp_path: Path) -> None:
    write_clips(tmp_path / "known", 45, 1)
    write_clips(tmp_path / "new", 16, 2)
    plan = ReaderTraining(centres=32, frames=1, patches=3000, rounds=2)
    said: list[str] = []
    card = train(tmp_path / "known", tmp_path / "new", plan, tmp_path / "reader.safetensors", said.append)
    assert card["held out accuracy"]["place"] > 0.95
    assert card["held out accuracy"]["light"] > 0.95
    assert card["held out accuracy"]["things"] > 0.8
    reader = Reader.load(tmp_path / "reader.safetensors")
    with np.load(tmp_path / "new" / "clip-000003.npz") as clip:
        picture, tokens = clip["picture"][0].transpose(1, 2, 0), tuple(str(clip["caption"]).split("|"))
    found = reader.found(reader.scores([picture])[0], tokens)
    assert found["place"] == [True]
    assert found["weather"] == []
    assert reader.found(reader.scores([picture])[0], ("sunset",)) == reader.found(
        reader.scores([picture])[0], ("sunrise",)
    )
    again = train(tmp_path / "known", tmp_path / "new", plan, tmp_path / "again.safetensors", said.append)
    assert again == card


def test_a_picture_is_cut_to_its_middle() -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255
    assert np.all(looks_at(wide) == 1.0)
    assert np.array_equal(looks_at(wide.astype(np.float32) / 255.0), looks_at(wide))
    framed = np.zeros((100, 100, 3), np.uint8)
    framed[20:80, 20:80] = 255
    assert np.all(looks_at(framed)[1] == 1.0)
    assert looks_at(framed)[0].min() == -1.0


def test_ridge_without_strength_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4)).astype(np.float32)
    wanted = (x @ np.array([[1.0], [-2.0], [0.5], [0.0]]) + 3.0).astype(np.float32)
    head, bias = ridge(x, wanted, 1e-6)
    assert head == pytest.approx(np.array([[1.0, -2.0, 0.5, 0.0]]), abs=1e-2)
    assert bias == pytest.approx(np.array([3.0]), abs=1e-2)


def test_what_is_no_reader_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "reader.safetensors"
    with pytest.raises(ValueError, match="not the weights of a reader"):
        Reader.load(path)
    path.write_bytes(b"\0" * 64)
    with pytest.raises(ValueError, match="not the weights of a reader"):
        Reader.load(path)


def test_no_clips_and_broken_clips_are_named(tmp_path: Path) -> None:
    plan = ReaderTraining()
    with pytest.raises(ValueError, match="no clips in"):
        train(tmp_path, tmp_path, plan, tmp_path / "r")
    (tmp_path / "clip-000000.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match=r"clip-000000\.npz is not a clip"):
        train(tmp_path, tmp_path, plan, tmp_path / "r")


def test_the_shipped_reader_knows_words_of_captions() -> None:
    reader = shipped()
    assert {word for words in reader.words.values() for word in words} <= set(vocabulary())
    assert 0.0 < reader.card["held out accuracy"]["mean"] <= 1.0
