"""What may be said of a scene leads back to it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.scene import parse
from elsewhere.scene.words import caption_tokens, paraphrases, sample_prompt, short_tokens, vocabulary


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_every_sentence_has_the_tokens_that_it_is_listed_with(seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=seed))
    scene = parse(sample_prompt(rng), seed=seed).scene
    said = paraphrases(scene, rng)
    full, short = caption_tokens(scene), short_tokens(scene)
    assert said[-1] == (scene.prompt, full)
    assert set(short) <= set(vocabulary())
    for words, tokens in said[:-1]:
        assert tokens in (full, short)
        read = parse(words).scene
        assert tokens == (caption_tokens(read) if tokens == full else short_tokens(read))


def test_most_scenes_can_be_said_in_several_ways() -> None:
    counts, details = [], []
    for seed in range(60):
        rng = np.random.Generator(np.random.Philox(key=seed))
        scene = parse(sample_prompt(rng), seed=seed).scene
        said = paraphrases(scene, rng)
        counts.append(len(said))
        details.append(sum(tokens == caption_tokens(scene) for _, tokens in said))
    assert np.mean(counts) > 4.0
    assert min(details) >= 2
