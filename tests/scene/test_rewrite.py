"""The rewriter: every text is known in full, and keeps what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.scene import PromptError, catalogue, parse
from elsewhere.scene.words import sample_prompt
from elsewhere.scene.words.rewrite import keeps, rewrite

SHORT = (
    "a ship in coffee",
    "two red ducks",
    "snowman",
    "a gold teapot on a table",
    "ships battling in a storm at night",
    "a house on an island",
    "a toy car next to a big blue ball",
    "the desert",
    "a duck on a crate in the bath",
    "three whales circling a lighthouse",
    "a zorblax ship in coffee",
)


def check(prompt: str, seed: int) -> None:
    made = rewrite(prompt, seed)
    again = parse(made.text, seed)
    assert again.unknown == (), (prompt, made.text)
    wanted = parse(prompt, seed)
    assert keeps(again, wanted), (prompt, made.text)
    assert again.scene.environment == wanted.scene.environment
    for kind in {body.kind for body in wanted.scene.bodies}:
        old = [body.color_name for body in wanted.scene.bodies if body.kind == kind]
        new = [body.color_name for body in again.scene.bodies if body.kind == kind]
        assert len(new) >= len(old)
        assert {color for color in old if color} <= set(new)
    assert rewrite(prompt, seed).text == made.text


@pytest.mark.parametrize("prompt", SHORT)
@pytest.mark.parametrize("seed", [0, 1])
def test_short_prompts(prompt: str, seed: int) -> None:
    check(prompt, seed)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_sampled_prompts(key: int, seed: int) -> None:
    check(sample_prompt(np.random.Generator(np.random.Philox(key=key))), seed)


@given(
    st.lists(st.sampled_from(sorted(catalogue.KINDS)), min_size=1, max_size=3, unique=True),
    st.sampled_from(["", " red", " tiny", " wooden", " big gold"]),
    st.sampled_from(["", " in coffee", " at sea", " in the snow", " at night", " in the rain"]),
)
@settings(max_examples=60, deadline=None)
def test_every_kind(kinds: list[str], look: str, place: str) -> None:
    check(" and ".join(f"a{look} {kind}" for kind in kinds) + place, 0)


def test_it_adds_detail_and_another_seed_another() -> None:
    texts = {rewrite("a ship in coffee", seed).text for seed in range(6)}
    assert len(texts) == 6
    assert all(len(text.split()) > 10 for text in texts)
    assert rewrite("a ship in coffee").added


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(PromptError, match="must name a thing or a place"):
        rewrite("qqzz wrbl")
