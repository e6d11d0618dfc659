"""Generated reality: a tokenizer and a causal spacetime transformer that add to the guide what is not calculated."""

from __future__ import annotations

from elsewhere.model.generator import MODES, Generator, Stream
from elsewhere.model.weights import WeightsError

__all__ = ["MODES", "Generator", "Stream", "WeightsError"]
