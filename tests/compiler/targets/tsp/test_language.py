"""Language models on one chip: tokens chosen by the chip, with a cache that grows, are the oracle's to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.language import decoder_model, empty_cache, measure, step
from elsewhere.compiler.targets.tsp.shapes import ShapeError, Transformer, find

SMALL = Transformer(name="small", layers=2, width=64, heads=4, key_value_heads=2, hidden=96, vocabulary=2100)


def test_tokens_and_cache_are_the_oracles() -> None:
    made = compile_tsp(decoder_model(SMALL, context=24))
    assert check(made.program) == []
    tokens, exact = step(made, SMALL, 24, 0, 3, first=2050)
    assert exact and len(tokens) == 3 and all(0 <= t < SMALL.vocabulary for t in tokens)


def test_the_next_token_is_the_largest_logit() -> None:
    graph = decoder_model(SMALL, context=24)
    given = {"token": np.array([7], np.int32), "position": np.array(0, np.int32), **empty_cache(SMALL, 24)}
    outputs, _ = reference.run(graph, given)
    assert outputs["next"][0, 0] == outputs["logits"][0].argmax()


def test_a_longer_prompt_takes_longer_to_the_first_token() -> None:
    one, many = (measure(SMALL, context=24, prompt=n) for n in (1, 20))
    assert many.seconds_to_first - one.seconds_to_first == pytest.approx(19 * one.seconds_per_token)
    assert one.seconds_with_host > one.seconds_per_token and one.exact is None


@pytest.mark.parametrize(
    ("context", "prompt", "message"), [(1, 1, "context must be"), (24, 25, "prompt must be"), (24, 0, "prompt must be")]
)
def test_what_cannot_be_is_told(context: int, prompt: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(SMALL, context=context, prompt=prompt)


def test_a_model_without_words_is_told() -> None:
    with pytest.raises(ShapeError, match="vocabulary"):
        decoder_model(find("wan-14b"), context=8)


@pytest.mark.slow
def test_a_135_million_parameter_model_decodes_on_one_chip() -> None:
    made = measure(find("smollm2-135m"), context=128, execute=1)
    assert made.exact and made.memory_share < 1
