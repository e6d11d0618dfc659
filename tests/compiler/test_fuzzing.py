"""Damaged files of every kind are read or refused, never more. benchmarks/fuzz_importers.py tries many more."""

from __future__ import annotations

import fuzzing
import pytest

COUNT = 2000


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_sound_files_are_read(kind: str) -> None:
    for data in fuzzing.seeds(kind):
        fuzzing.read(kind, data)


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_damaged_files_are_read_or_refused(kind: str) -> None:
    outcomes = [fuzzing.attempt(kind, number) for number in range(COUNT)]
    wrong = [o for o in outcomes if o.result not in ("read", "refused")]
    assert not wrong, f"{len(wrong)} of {COUNT}; the first: {wrong[0]}"
    assert sum(o.result == "refused" for o in outcomes) > COUNT // 4
