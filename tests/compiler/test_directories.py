"""The directory for what can be made again, and who may write what is believed there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from elsewhere.compiler.directories import VARIABLE, default_directory, read_own, write_whole


def test_the_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_directory() == Path.home() / ".cache" / "elsewhere"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert default_directory() == tmp_path / "mine"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    assert read_own(path) is None
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert read_own(path) == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_whole(path, b"one")
    os.chmod(path, 0o666)
    assert read_own(path) is None


def test_where_nothing_can_be_written_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    write_whole(tmp_path / "file" / "x.json", b"one")
    assert (tmp_path / "file").read_bytes() == b""
