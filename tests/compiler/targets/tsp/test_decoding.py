"""Language models on many chips: a token's terms, and what they depend on."""

from __future__ import annotations

from functools import cache

import pytest

from elsewhere.compiler.targets.tsp.decoding import Decoding, decode
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.shapes import Transformer

SMALL = Transformer(name="small", layers=12, width=320, heads=8, key_value_heads=8, hidden=640, vocabulary=2048)


@cache
def made(chips: int, planned: bool = True) -> Decoding:
    return decode(SMALL, chips=chips, context=64, prompt=5, planned=planned)


def test_terms_add_up_to_the_token() -> None:
    found = made(96)
    assert found.seconds_per_token == pytest.approx(sum(found.terms.values()))
    assert found.terms["blocks"] == pytest.approx(12 * found.block_cycles / GROQCHIP1.clock_hz)
    assert found.seconds_to_first > found.seconds_per_token
    assert found.share == 8 and found.stages == 12


def test_more_nodes_take_more_hops() -> None:
    assert made(96).terms["from node to node"] > made(16).terms["from node to node"] > 0


def test_measured_links_are_faster_than_planned_ones() -> None:
    assert made(96, False).seconds_per_token < made(96).seconds_per_token


def test_the_host_is_in_every_token() -> None:
    assert sum(v for k, v in made(16).terms.items() if "host" in k) > 2 * GROQCHIP1.host_latency


def test_what_does_not_fit_is_told() -> None:
    large = Transformer(name="large", layers=40, width=8192, heads=64, key_value_heads=8, hidden=28672)
    with pytest.raises(ValueError, match="needs 1[0-9][0-9] chips or more, got 64"):
        decode(large, chips=64)
    with pytest.raises(ValueError, match="prompt must be"):
        decode(SMALL, chips=16, context=8, prompt=9)
