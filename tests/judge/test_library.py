"""A library makes each thing once, and whatever is broken again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elsewhere.judge.library import Library, source_digest


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_thing_is_made_once(tmp_path: Path, in_memory: bool) -> None:
    library, made = Library(None if in_memory else tmp_path), []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(3)

    for _ in range(2):
        assert library.array(("a", 1), make).tolist() == [0, 1, 2]
    assert library.array(("a", 2), make).tolist() == [0, 1, 2]
    assert len(made) == 2
    assert library.report(("r",), lambda: {"x": 0.5}) == {"x": 0.5}
    assert library.holds(("r",))
    assert not library.holds(("q",))


def test_what_is_broken_is_made_again(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.array(("a",), lambda: np.zeros(2))
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(path.read_bytes()[:20])
    assert library.array(("a",), lambda: np.ones(2)).tolist() == [1.0, 1.0]
    library.report(("r",), lambda: {})
    (path,) = tmp_path.glob("*.json")
    path.write_text("[1]")
    assert library.report(("r",), lambda: {"y": 1}) == {"y": 1}


def test_what_fails_leaves_nothing_half_written(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Library(tmp_path).array(("a",), fail)
    assert not list(tmp_path.iterdir())


def test_names_depend_on_source() -> None:
    assert source_digest(("scene",)) != source_digest(("scene", "physics"))
    assert source_digest(("scene",)) == source_digest(("scene",))
