"""Compiled once for all tests: the small networks of `networks`."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from elsewhere.compiler.targets.tsp.compile import TspCompiled, compile_tsp

sys.path.insert(0, str(Path(__file__).parent))


@cache
def made(name: str) -> tuple[TspCompiled, dict[str, Any]]:
    import networks

    graph, inputs = networks.CASES[name]()
    return compile_tsp(graph), inputs


@pytest.fixture(params=["int8_layer", "float_layer", "normalised", "moved", "convolved", "looked_up"])
def compiled(request: pytest.FixtureRequest) -> tuple[TspCompiled, dict[str, Any]]:
    return made(request.param)


@pytest.fixture
def layer() -> tuple[TspCompiled, dict[str, Any]]:
    return made("int8_layer")
