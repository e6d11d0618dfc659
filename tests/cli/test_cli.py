"""The command line: films, reports, and what it says when something cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import elsewhere
from elsewhere.cli.app import app
from elsewhere.live import writer as writing

DUCK = "a red rubber duck drifting in a bathtub at dusk"
QUICK = ("--mode", "calculated", "--size", "64", "--seconds", "0.25")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(elsewhere.__file__).parents[1])}


def test_generate_writes_a_film_a_sheet_and_a_report(tmp_path: Path) -> None:
    film, sheet = tmp_path / "film.mp4", tmp_path / "sheet.png"
    result = call("generate", f"{DUCK} with a gribble", "-o", str(film), "--sheet", str(sheet), "--json", *QUICK)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["files"] == [str(film), str(sheet)]
    assert (report["frames"], report["width"], report["mode"], report["seed"]) == (6, 64, "calculated", 0)
    assert [entry["word"] for entry in report["unknown"]] == ["gribble"]
    assert set(report["milliseconds"]) == {"simulate", "guide", "hold", "network"}
    assert Image.open(sheet).size == (3 * 68 + 4, 2 * 68 + 4)
    assert "'gribble' is not known" in result.stderr


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    for name in ("once.png", "again.png"):
        assert call("generate", DUCK, "-o", str(tmp_path / name), "--seed", "7", *QUICK).exit_code == 0
    for number in range(6):
        once, again = (tmp_path / f"{name}-{number:04d}.png" for name in ("once", "again"))
        assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "-o", "film.mp4"], "prompt must not be empty"),
        (["x" * 100_000, "-o", "film.mp4"], "prompt must have at most"),
        (["\udcff\udcfe", "-o", "film.mp4"], "prompt must be plain text"),
        (["qqzzx wrbl", "-o", "film.mp4"], "prompt must name a thing or a place"),
        ([DUCK, "-o", "film.mp4", "--size", "100"], "The nearest is 96"),
        ([DUCK, "-o", "film.mp4", "--size", "100000x64"], "The nearest is 512"),
        ([DUCK, "-o", "film.mp4", "--size", "big"], "size must be like 128"),
        ([DUCK, "-o", "film.mp4", "--seed", "-1"], "seed must be from 0"),
        ([DUCK, "-o", "film.mp4", "--seed", str(2**63)], "seed must be from 0"),
        ([DUCK, "-o", "film.mp4", "--seconds", "0"], "seconds must be more than 0"),
        ([DUCK, "-o", "film.mp4", "--fps", "0"], "fps must be from 1"),
        ([DUCK, "-o", "film.mp4", "--mode", "sleepy"], "mode must be one of"),
        ([DUCK, "-o", "film.mp4", "--strength", "1.5"], "strength must be from 0 to 1"),
        ([DUCK, "-o", "film.mp4", "--ground", "sand"], "ground must be one of full, depth, layout"),
        ([DUCK, "-o", "film.mp4", "--guidance", "0"], "guidance must be from 1 to 4"),
        ([DUCK, "-o", "film.mp4", "--camera", "through a keyhole"], "camera must be words such as"),
        ([DUCK, "-o", "film.avi"], "output must end in .mp4"),
        ([DUCK, "-o", "nowhere/film.mp4"], "the folder nowhere does not exist"),
        ([DUCK, "-o", "film.mp4", "--sheet", "sheet.mp4"], "output must end in .png"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("generate", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    result = call("generate", DUCK, "-o", str(tmp_path / "film.mp4"), *QUICK)
    assert result.exit_code == 2
    assert "the disk is full" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_is_no_number_is_a_mistake() -> None:
    assert call("generate", DUCK, "--seed", "seven").exit_code == 2


def test_ctrl_c_leaves_nothing_broken(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    command = [sys.executable, "-m", "elsewhere.cli", "generate", DUCK, "-o", str(film), "--mode", "calculated"]
    # A shell's background jobs, and so what they start, ignore Ctrl-C unless told otherwise.
    process = subprocess.Popen(
        [*command, "--seconds", "3000"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".film.mp4.*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Nothing was written" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_two_servers_on_one_port() -> None:
    from elsewhere.server.run import bind

    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        result = call("serve", DUCK, "--port", str(port))
    assert result.exit_code == 2
    assert f"port {port} is taken" in result.stderr
    assert f"--port {port + 1}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["qqzzx wrbl", "--port", "0"], "prompt must name"),
        ([DUCK, "--port", "0", "--size", "13"], "size: width must be"),
        ([DUCK, "--port", "70000"], "port must be from 0 to 65535"),
        ([DUCK, "--host", "192.0.2.1", "--port", "0"], "Try 127.0.0.1"),
    ],
)
def test_a_world_that_cannot_be_served(arguments: list[str], said: str) -> None:
    result = call("serve", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_doctor_reports() -> None:
    result = call("doctor", "--json")
    report = json.loads(result.stdout)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert set(found) >= {"cores", "memory", "simd", "cuda", "codecs", "chromium", "weights", "page", "libraries"}
    assert found["page"]["ok"]
    assert found["codecs"]["ok"]
    assert result.exit_code == (0 if report["ok"] else 1)
    for finding in report["findings"]:
        assert finding["ok"] or finding["remedy"]


def test_doctor_speaks() -> None:
    assert "cores" in call("doctor").stdout


def test_version_and_help() -> None:
    assert call("--version").stdout.strip() == elsewhere.__version__
    for verb in ("generate", "serve", "doctor", "judge"):
        assert call(verb, "--help").exit_code == 0


def test_a_film_is_directed(tmp_path: Path) -> None:
    film, path = tmp_path / "film.mp4", tmp_path / "path.json"
    told = (
        "--shot",
        "0.5s: wide shot",
        "--shot",
        "close-up of the duck, orbit left",
        "--event",
        "0.2s: add a blue ball",
    )
    quick = ("--mode", "calculated", "--size", "64", "--fps", "4", "--seconds", "1")
    result = call("generate", DUCK, "-o", str(film), "--save-camera", str(path), "--json", *told, *quick)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["files"] == [str(film), str(path)]
    assert [(take["begin"], take["seconds"], take["subject"]) for take in report["shots"]] == [
        (0.0, 0.5, []), (0.5, 0.5, ["rubber duck 1"]),
    ]  # fmt: skip
    assert [(event["time"], event["action"]) for event in report["events"]] == [(0.2, "add")]
    assert len(json.loads(path.read_text())["frames"]) == 4
    result = call("generate", DUCK, "-o", str(film), "--camera-path", str(path), "--json", *quick)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shot", "close-up wide shot"], "contradict"),
        (["--shot", "close-up of the whale"], "there is no whale"),
        (["--event", "1s: the duck explodes"], "nearest event"),
        (["--event", "nowhere.json"], "nowhere.json"),
        (["--camera", "dolly in 2s, wobble 3s"], "is no move"),
        (["--camera-path", "nowhere.json"], "nowhere.json"),
        (["--save-camera", "path.csv"], "ending in .json"),
    ],
)
def test_wrong_directions_end_with_two(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = call("generate", DUCK, "-o", str(tmp_path / "film.mp4"), *arguments, *QUICK)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


def test_rewrite_shows_both() -> None:
    result = call("rewrite", "a ship in coffee")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first == "a ship in coffee"
    assert "pirate ship" in second and len(second.split()) > 10
    report = json.loads(call("rewrite", "a ship in coffee", "--json").stdout)
    assert report["text"] in second and report["added"]
    assert call("rewrite", "qqzz").exit_code == 2
