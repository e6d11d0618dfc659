"""`elsewhere data`: a small set is built, reported, and mistakes are said with status 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from elsewhere.cli.app import app


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def test_build_and_report(tmp_path: Path) -> None:
    clips, sheet = tmp_path / "clips", tmp_path / "sheet.png"
    small = ("--clips", "1", "--frames", "2", "--samples", "1", "--size", "48x32", "--processes", "1")
    result = call("build", str(clips), *small, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["clips"], report["made"], report["corrupt"]) == (1, 1, [])
    result = call("report", str(clips), "--json", "--picture", str(sheet))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sizes"] == {"48x32": 1}
    assert sheet.is_file()
    result = call("report", str(clips))
    assert "1 clips, 2 frames" in result.output
    result = call("build", str(clips), *small, "--seed", "2")
    assert result.exit_code == 2
    assert "other settings: seed 1 and not 2" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "big"), "size must be like 192x128"),
        (("--size", "128x100"), "nearest of 100 is 96"),
        (("--size", "128x128=nan"), "must be above 0"),
        (("--clips", "0"), "clips must be 1 to"),
        (("--processes", "0"), "processes must be 1 to"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("build", str(tmp_path / "clips"), *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "clips").exists()


def test_a_folder_without_clips_is_said(tmp_path: Path) -> None:
    result = call("report", str(tmp_path))
    assert result.exit_code == 2
    assert "elsewhere data build" in result.output


def test_help_has_examples() -> None:
    for verb in ("build", "report"):
        assert f"elsewhere data {verb} clips" in call(verb, "--help").output
