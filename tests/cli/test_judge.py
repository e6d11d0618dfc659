"""The verbs of `elsewhere judge`: help, mistakes, one table, one JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from elsewhere.cli import judge
from elsewhere.cli.app import app
from elsewhere.judge import Studio
from elsewhere.judge.every import EVERY
from elsewhere.render import to_display

VERBS = (*EVERY, "all")


class Plain:
    """Paints the lit guide."""

    def frame(self, guide, stage, camera):  # type: ignore[no-untyped-def]
        return np.rint(255.0 * to_display(guide.lit)).astype(np.uint8), guide.depth


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["judge", *words])
    return result.exit_code, result.output


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb: str) -> None:
    code, output = run(verb, "--help")
    assert code == 0
    assert f"elsewhere judge {verb}" in " ".join(output.split())
    assert "--json" in output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("frechet", "--size", "100"), "nearest: 96"),
        (("text", "--mode", "awake"), "nearest: 'both'"),
        (("loop", "--weights", "nowhere"), "nowhere"),
        (("reference", "--sheet", "sheet.bmp"), "must end in .png"),
        (("actions", "--steps", "3"), "steps"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, output = run(*words, "--cache", str(tmp_path))
    assert code == 2
    assert said in output


def test_a_measure_prints_a_table_and_json_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "open_studios", lambda *_: (Studio("grounded", "plain", lambda *_: Plain()),))
    words = ("loop", "--scenes", "2", "--size", "64", "--samples", "2", "--cache", str(tmp_path))
    code, output = run(*words)
    assert code == 0
    assert "loop closure, PSNR" in output
    assert "loop: 2 of 2 scenes" in output
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    code, output = run(*words, "--json")
    assert code == 0
    report = json.loads(output[output.index("{") :])
    assert report["settings"]["loop"]["scenes"] == 2
    assert report["goals"] == {"reached": 0, "of": 0}
    line = report["lines"]["loop"][0]
    assert line["value"] > line["floor"]
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
