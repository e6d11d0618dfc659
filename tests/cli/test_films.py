"""The verbs on pictures and clips at the command line: reports, mistakes, and Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from elsewhere.cli.app import app
from elsewhere.cli.films import is_file
from elsewhere.live.verbs import looping
from elsewhere.live.writer import Writer

BOAT = "a red sailboat sailing on the open sea at noon"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """film.mp4, made here; other.mp4 and small.mp4 from elsewhere; picture.png."""
    folder = tmp_path_factory.mktemp("films")
    made = call("generate", BOAT, "-o", str(folder / "film.mp4"), "--size", "64", "--seconds", "0.5")
    assert made.exit_code == 0, made.output
    for name, shape in (("other", (64, 64, 3)), ("small", (64, 80, 3))):
        with Writer(folder / f"{name}.mp4", fps=24) as writer:
            for shade in range(12):
                writer.add(np.full(shape, 8 * shade, np.uint8))
    Image.fromarray(np.full((70, 90, 3), 99, np.uint8)).save(folder / "picture.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


def test_a_film_knows_where_it_comes_from(films: Path, tmp_path: Path) -> None:
    out, sheet = tmp_path / "longer.mp4", tmp_path / "sheet.png"
    result = call(
        "extend", str(films / "film.mp4"), "--forward", "0.25", "-o", str(out), "--sheet", str(sheet), "--json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["files"] == [str(out), str(sheet)]
    assert (report["verb"], report["frames"], report["grounded"], report["prompt"]) == ("extend", 18, True, BOAT)
    assert "played again from its seed" in report["notes"][-1]
    assert report["measures"]["forward_joint_db"] > 20.0


def test_a_loop_and_an_edit(films: Path, tmp_path: Path) -> None:
    made = call("loop", str(films / "other.mp4"), "-o", str(tmp_path / "loop.gif"))
    assert made.exit_code == 0, made.output
    assert "a clip from elsewhere" in made.stderr
    assert "seam db" in made.stdout
    made = call("edit", str(films / "film.mp4"), "at night", "--strength", "0.4", "-o", str(tmp_path / "night.png"))
    assert made.exit_code == 0, made.output
    assert len(list(tmp_path.glob("night-*.png"))) == 12


def test_a_picture_that_moves(films: Path, tmp_path: Path) -> None:
    made = call(
        "generate", BOAT, "--image", str(films / "picture.png"), "--size", "64", "--seconds", "0.2",
        "-o", str(tmp_path / "moves.mp4"), "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert (report["frames"], report["grounded"]) == (5, False)
    assert "90x70: taken as 64x64" in report["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "film.mp4", "at night", "--strength", "1.5"], "The nearest is 1"),
        (["edit", "film.mp4", ""], "prompt must not be empty"),
        (["extend", "film.mp4"], "forward or backward must be more than 0"),
        (["extend", "other.mp4", "--forward", "1"], "prompt must be given"),
        (["extend", "gone.mp4", "--forward", "1"], "does not exist"),
        (["extend", "broken.png", "--forward", "1"], "clip .*broken.png"),
        (["extend", "film.mp4", "--forward", "1", "-o", "film.avi"], "output must end in"),
        (["connect", "film.mp4", "small.mp4"], "64x64 and 80x64"),
        (["connect", "film.mp4", "film.mp4", "--seconds", "99"], "The nearest is 60"),
        (["loop", "gone.mp4"], "does not exist"),
        (["loop", "qqzzx wrbl"], "prompt must name"),
        (["still", BOAT, "--size", "100"], "The nearest is 96"),
        (["still", BOAT, "-o", "still.mp4"], "output must end in .png"),
        (["generate", BOAT, "--image", "broken.png"], "cannot be read as PNG"),
        (["generate", BOAT, "--image", "picture.png", "--mode", "dream"], "mode must be grounded"),
    ],
)
def test_mistakes_leave_nothing(films: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    import re

    monkeypatch.chdir(films)
    before = sorted(films.iterdir())
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert re.search(said, " ".join(result.stderr.split()))
    assert "Traceback" not in result.output
    assert sorted(films.iterdir()) == before


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(looping, "closed", stopped)
    result = call("loop", BOAT, "--seconds", "1", "--size", "64", "-o", str(tmp_path / "loop.mp4"))
    assert result.exit_code == 130, result.output
    assert "Nothing was written" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_a_file_is_no_prompt() -> None:
    assert is_file("holiday.mp4")
    assert not is_file("a ship at sea")
    assert not is_file("x" * 100_000)


@pytest.mark.parametrize("verb", ["still", "extend", "loop", "edit", "connect"])
def test_help_has_an_example(verb: str) -> None:
    assert f"elsewhere {verb}" in call(verb, "--help").stdout
