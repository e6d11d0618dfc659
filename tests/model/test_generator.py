"""The shipped weights: same seed same bits, sizes, and a golden picture."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elsewhere.judge.measures import psnr
from elsewhere.model import Generator, WeightsError
from elsewhere.model.weights import DIRECTORY, read_header
from elsewhere.physics import World
from elsewhere.render import Stage
from elsewhere.scene import camera_at, parse

PROMPT = "a red sailboat sailing next to a lighthouse on the open sea at sunset"
GOLDEN = Path(__file__).parent / "golden.png"


def film(
    mode: str, frames: int, width: int = 128, height: int = 128, *, steps: int = 1, seed: int = 5, **more: Any
) -> np.ndarray:
    """(T, H, W, 3) uint8 of PROMPT."""
    scene = parse(PROMPT).scene
    world = World(scene, 0)
    stage = Stage(scene, world.swell, world.water_cell)
    stream = Generator.load(mode, steps=steps, **more).start(scene, seed)
    pictures, previous = [], None
    for frame in range(frames):
        state = world.advance(10) if frame else world.state
        camera = camera_at(scene, frame / 24.0, width, height)
        guide = stage.guide(state, camera, previous)
        rgb, depth = stream.frame(guide, stage, camera)
        assert rgb.shape == (height, width, 3)
        assert depth.shape == (height, width)
        assert float(depth.min()) > 0.0
        pictures.append(rgb)
        previous = (state, camera)
    return np.stack(pictures)


def digest(mode: str) -> str:
    return hashlib.sha256(film(mode, 3).tobytes()).hexdigest()


@pytest.mark.parametrize("mode", ["grounded", "dream"])
def test_the_same_bits_in_another_process(mode: str) -> None:
    code = f"import runpy; print(runpy.run_path({str(__file__)!r})['digest']({mode!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == digest(mode)


def test_another_seed_is_another_dream() -> None:
    assert not np.array_equal(film("dream", 1, seed=1), film("dream", 1, seed=2))


def test_nothing_of_the_old_shot_shows_after_a_cut() -> None:
    generator = Generator.load("grounded")
    made = []
    for prompt in ("a whale at sea at night", "a lighthouse at sea at noon"):
        scene = parse(prompt).scene
        stream = generator.start(scene, 5)
        after = parse(PROMPT).scene
        for shown, frames in ((scene, 2), (after, 1)):
            world = World(shown, 0)
            stage = Stage(shown, world.swell, world.water_cell)
            if shown is after:
                stream.retell(after, cut=True)
            for _ in range(frames):
                camera = camera_at(shown, 0.0, 64, 64)
                rgb, _ = stream.frame(stage.guide(world.advance(10), camera), stage, camera)
        made.append(rgb)
    np.testing.assert_array_equal(made[0], made[1])


def test_wide_and_tall_pictures() -> None:
    film("grounded", 2, 192, 96)
    film("grounded", 2, 64, 112, steps=2)


def test_golden_picture() -> None:
    """Made by running this file. Other processors round a little differently, so the bits are not compared."""
    made = film("grounded", 3)[-1]
    wanted = np.asarray(Image.open(GOLDEN).convert("RGB"))
    assert psnr(made.astype(np.float32) / 255.0, wanted.astype(np.float32) / 255.0) > 38.0


def make_golden() -> None:
    """Writes the golden picture anew, after weights have been replaced by better ones."""
    Image.fromarray(film("grounded", 3)[-1]).save(GOLDEN)


def test_bad_arguments_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        Generator.load("asleep")
    with pytest.raises(ValueError, match="steps must be 1, 2, 4 or 8"):
        Generator.load("grounded", steps=3)
    with pytest.raises(ValueError, match="strength must be from 0 to 1"):
        Generator.load("grounded", strength=2.0)
    with pytest.raises(ValueError, match="mode must be grounded where strength"):
        Generator.load("dream", strength=0.5)
    with pytest.raises(ValueError, match="guidance must be from 1 to 4"):
        Generator.load("dream", guidance=5.0)


def test_strength_nothing_is_a_dream() -> None:
    """The same pictures, and the network's own depth, not the guide's."""
    np.testing.assert_array_equal(film("grounded", 2, 64, 64, strength=0.0), film("dream", 2, 64, 64))


def test_grounds_between_differ_from_both_ends() -> None:
    films = [film("grounded", 1, 64, 64, **more) for more in ({}, {"strength": 0.5}, {"ground": "depth"})]
    assert not any(np.array_equal(a, b) for a, b in ((films[0], films[1]), (films[1], films[2])))


def test_missing_or_broken_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights at"):
        Generator.load("grounded", directory=tmp_path)
    (tmp_path / "tokenizer.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match="is not a weights file"):
        Generator.load("grounded", directory=tmp_path)


def test_weights_are_small_and_carry_their_card() -> None:
    files = sorted(DIRECTORY.rglob("*.safetensors"))
    names = [str(file.relative_to(DIRECTORY)) for file in files]
    two = ["tokenizer.safetensors", "world.safetensors"]
    assert names == [*(f"dream/{name}" for name in two), *two]
    assert sum(f.stat().st_size for f in files) < 30e6
    for file in files:
        card = read_header(file)["card"]
        assert {"clips", "steps", "seed"} <= set(card)


if __name__ == "__main__":
    make_golden()
