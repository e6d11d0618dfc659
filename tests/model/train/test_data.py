"""Clips: what is in them, that they repeat, and what becomes of files that are cut, changed or missing."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elsewhere.model.planes import disparity_to_depth, scene_scale
from elsewhere.model.train import data, shards
from elsewhere.model.train.data import DataConfig, build, render_clip, write_clip
from elsewhere.model.train.dataset import Clips
from elsewhere.model.train.shards import MANIFEST, Manifest, ShardError, clip_path, read_manifest
from elsewhere.model.warp import warp
from elsewhere.physics import World
from elsewhere.scene import camera_at, parse
from elsewhere.scene.camera import Camera
from elsewhere.scene.description import Event
from elsewhere.scene.holdout import held_out
from elsewhere.scene.json import from_json
from elsewhere.scene.words import caption_tokens

SMALL = DataConfig(clips=3, frames=2, sizes=((64, 48, 1.0),), samples=1, processes=1)


WANTED = {"push", "add", "splash", "clouds"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clips")
    manifest = Manifest(directory, SMALL.made())
    for number in range(SMALL.clips):
        manifest.add(write_clip(SMALL, directory, number))
    return directory


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_clip_is_a_function_of_its_number(made: Path) -> None:
    again = render_clip(SMALL, 1)
    with np.load(clip_path(made, 1), allow_pickle=False) as stored:
        assert set(again) == set(stored.files)
        assert all(np.array_equal(again[name], stored[name]) for name in again)
    assert not np.array_equal(again["picture"], render_clip(SMALL, 2)["picture"])


def test_what_a_clip_says_leads_back_to_its_guide(made: Path) -> None:
    """Scene, seed, ticks and cameras replay to the stored planes, depth, masks and states."""
    for number in range(SMALL.clips):
        arrays = Clips(made).read(number)
        scene = from_json(str(arrays["scene"]))
        assert not held_out(scene)
        assert str(arrays["caption"]) == "|".join(caption_tokens(scene))
        world = World(scene, int(arrays["world_seed"]))
        film = data.Film(world, 1)
        for frame, tick in enumerate(arrays["ticks"]):
            state = world.advance(int(tick) - world.tick)
            c2w = arrays["c2w"][frame].astype(np.float64)
            camera = Camera(c2w=c2w, focal=float(arrays["focal"][frame]), center=(32.0, 24.0), width=64, height=48)
            film.take(state, camera, (0.0,) * 5, seed=0)
        again = film.arrays()
        np.testing.assert_allclose(arrays["body_position"], again["body_position"], rtol=1e-6, atol=1e-7)
        # c2w is stored in float32: a pixel at an edge may see the other side of it.
        assert (again["instance"] == arrays["instance"]).mean() > 0.99
        for name, tolerance in (("depth", 2e-3), ("planes", 1.5)):
            off = np.abs(again[name].astype(np.float64) - arrays[name])
            assert np.quantile(off, 0.95) < tolerance
        # What is carried over is the stored picture, not the one of this replay.
        before = Camera(
            c2w=arrays["c2w"][0].astype(np.float64), focal=camera.focal, center=(32.0, 24.0), width=64, height=48
        )
        depth = disparity_to_depth(arrays["depth"][0].astype(np.float32), scene_scale(scene))
        colours, valid = warp(arrays["picture"][0].transpose(1, 2, 0), depth, before, camera)
        assert np.abs(255.0 * colours - arrays["warped"][1][:3].transpose(1, 2, 0)).mean() < 3.0
        assert ((valid > 0) == (arrays["warped"][1][3] > 0)).mean() > 0.97
        assert not arrays["warped"][0].any()


def test_a_new_thing_and_rain_come_in_the_middle() -> None:
    add = {"name": "new", "kind": "ball", "size": 2.0, "color_name": "red", "near": "crate 1", "bearing": 1.5}
    events = (Event(tick=15, action="add", arguments=add), Event(tick=25, action="rain", arguments={"amount": 1.0}))
    world = World(replace(parse("a crate on a lake").scene, events=events), 1)
    film = data.Film(world, 1)
    for frame in range(4):
        state = world.advance(10 if frame else 0)
        camera = camera_at(world.scene, 0.0, 64, 48)
        film.take(state, camera, (0.0,) * 5, seed=0)
    arrays = film.arrays()
    seen = (arrays["instance"] == 1).sum(axis=(1, 2))
    assert list(seen[:2]) == [0, 0]
    assert seen[2:].min() > 0
    assert arrays["body_position"].shape == (4, 2, 3)
    assert np.isnan(arrays["body_position"][:2, 1]).all()
    assert np.isfinite(arrays["body_position"][2:]).all()
    # Water keeps its number while things come.
    assert all((frame == 3).any() for frame in arrays["instance"])
    words = [str(caption).split("|") for caption in arrays["frame_caption"]]
    assert "ball" not in words[1]
    assert "ball" in words[2]
    assert "rainy" not in words[0]
    assert "rainy" in words[3]


def test_events_are_in_the_scene_and_in_the_middle() -> None:
    found = []
    for number in range(200):
        rng = np.random.Generator(np.random.Philox(key=[5, number]))
        scene = data.draw_visible(rng, evaluation=False)
        ticks = np.arange(100, 200, 10)
        for event in data.draw_events(scene, ticks, rng):
            assert 100 < event.tick < 190
            World(scene, 1).apply(event)
            found.append(event.action)
        if set(found) >= WANTED:
            break
    assert set(found) >= WANTED


def test_a_set_is_read_with_its_sizes_and_words(made: Path) -> None:
    clips = Clips(made)
    assert len(clips) == 3
    assert clips.sizes == [(48, 64)] * 3
    assert clips.of_size(48, 64) == [0, 1, 2]
    assert clips.planes[0].shape == (2, 24, 48, 64)
    assert clips.warped[0].shape == (2, 4, 12, 16)
    assert clips.rays[0].shape == (2, 12, 12)
    assert set(clips.short[1]) <= set(clips.captions[1])
    assert len(clips.sentences[0]) >= 2
    vocabulary = ("pirate ship", clips.captions[1][0])
    assert clips.text(1, vocabulary, 40)[0] == 3
    assert clips.text(1, vocabulary, 40, short=True)[len(clips.short[1]) :].sum() == 0


def test_missing_and_corrupt_files_are_named(folder: Path) -> None:
    whole = Clips(folder).checksum
    content = bytearray(clip_path(folder, 1).read_bytes())
    content[len(content) // 2] ^= 1
    clip_path(folder, 1).write_bytes(content)
    with pytest.raises(ShardError, match=r"clip-000001\.npz is corrupt.*SHA-256"):
        Clips(folder)
    clip_path(folder, 2).unlink()
    clips = Clips(folder, skip_bad=True)
    assert clips.names == ["clip-000000.npz"]
    assert "missing" in clips.bad["clip-000002.npz"]
    assert clips.checksum != whole


def test_a_build_makes_what_is_missing_cut_or_corrupt(folder: Path) -> None:
    before = read_manifest(folder)[1]
    clip_path(folder, 0).unlink()
    content = bytearray(clip_path(folder, 1).read_bytes())
    content[-100] ^= 1
    clip_path(folder, 1).write_bytes(content)
    clip_path(folder, 2).write_bytes(clip_path(folder, 2).read_bytes()[:1000])
    with (folder / MANIFEST).open("a") as file:
        file.write('{"clip": 7, "by')  # as a kill in the middle of a line leaves it
    report = build(SMALL, folder, check=True)
    assert report["corrupt"] == ["clip-000001.npz"]
    assert report["made"] == 3
    assert read_manifest(folder)[1] == before


def test_other_settings_need_another_folder(folder: Path) -> None:
    with pytest.raises(ValueError, match="other settings: samples 1 and not 2"):
        build(replace(SMALL, samples=2), folder)


def test_two_builds_do_not_share_a_folder(folder: Path) -> None:
    with shards.locked(folder), pytest.raises(ValueError, match="another build is at work"):
        build(SMALL, folder)


def test_a_full_disk_leaves_what_is_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = clip_path(folder, 0).read_bytes()
    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        shards.write_arrays(clip_path(folder, 0), {"x": np.zeros(3)})
    monkeypatch.undo()
    assert clip_path(folder, 0).read_bytes() == before
    assert not list(folder.glob("*.part"))
    assert len(Clips(folder)) == 3


def _build(directory: str) -> None:
    build(replace(SMALL, clips=50), Path(directory))


@pytest.mark.slow
def test_a_killed_build_goes_on_with_the_same_clips(made: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_build, args=(str(tmp_path),))
    process.start()
    deadline = time.monotonic() + 120.0
    while not clip_path(tmp_path, 1).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(3.0)  # the orphaned worker ends with its clip
    build(SMALL, tmp_path)
    wanted = read_manifest(made)[1]
    assert {n: s for n, s in read_manifest(tmp_path)[1].items() if n < 3} == wanted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clips": 0}, "clips must be 1 to"),
        ({"sizes": ((130, 128, 1.0),)}, "multiples of 16.*nearest of 130 is 128"),
        ({"sizes": ((128, 128, 0.0),)}, "share of size 128x128 must be above 0"),
        ({"sizes": ()}, "at least one size"),
        ({"samples": 0}, "samples must be 1 to 4096; got 0; nearest is 1"),
        ({"seed": -1}, "seed must be 0 to"),
    ],
)
def test_settings_are_checked(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)


@pytest.mark.parametrize(
    "text",
    ["[]\n", '{"format": "other"}\n', "\x00\n", '{"format": "elsewhere.clips", "version": 1}\n{"clip": "../x"}\n'],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ShardError, match="manifest"):
        read_manifest(tmp_path)


def test_no_pickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([object()], dtype=object))
    content = (tmp_path / "x.npz").read_bytes()
    os.replace(tmp_path / "x.npz", clip_path(tmp_path, 0))
    lines = [
        {"format": "elsewhere.clips", "version": 1},
        {"clip": 0, "bytes": len(content), "sha256": shards.hashlib.sha256(content).hexdigest()},
    ]
    (tmp_path / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ShardError, match="plain arrays"):
        Clips(tmp_path)
