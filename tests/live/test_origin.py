"""What a film says of itself is read back exactly, and what others write there breaks nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.live.options import Options
from elsewhere.live.origin import CHARACTERS_MOST, Origin, read_origin, write_origin
from elsewhere.scene import parse

ORIGIN = Origin(
    scene=parse("two pirate ships battling each other as they sail inside a cup of coffee").scene,
    options=Options(width=192, height=128, seed=7),
    first=-12,
    frames=60,
    exact=False,
)


def test_it_is_read_back() -> None:
    text = write_origin(ORIGIN)
    assert text is not None
    assert text.isascii()
    assert read_origin(text) == ORIGIN


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2}, {"first": 1.5}, {"first": 10**12}, {"exact": "yes"}, {"scene": {}}, {"options": {"width": 100}},
        {"options": {"shell": "rm"}}, {"frames": None}, {"format": "other"},
    ],
)  # fmt: skip
def test_what_is_wrong_is_no_origin(changed: dict) -> None:
    tree = json.loads(write_origin(ORIGIN) or "") | changed
    assert read_origin(json.dumps(tree)) is None


def test_what_is_too_long_is_neither_written_nor_read() -> None:
    bodies = tuple(replace(ORIGIN.scene.bodies[0], name=f"{n}{'x' * 70}", behaviours=()) for n in range(64))
    huge = replace(ORIGIN, scene=replace(ORIGIN.scene, bodies=bodies, prompt="x" * 2000))
    text = write_origin(huge)
    assert text is None or len(text) <= CHARACTERS_MOST
    assert read_origin((write_origin(ORIGIN) or "") + " " * CHARACTERS_MOST) is None


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_harmless(text: str) -> None:
    assert read_origin(text) is None
    assert read_origin('{"format": "elsewhere.film"' + text) is None
