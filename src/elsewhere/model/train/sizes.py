"""How many numbers a configuration's weights are."""

from __future__ import annotations

import math
from dataclasses import replace

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
from elsewhere.model.graphs.tokenizer import tokenizer_shapes
from elsewhere.model.graphs.transformer import transformer_shapes
from elsewhere.scene.words import vocabulary


def parameters(config: TokenizerConfig | TransformerConfig) -> int:
    """Weights of a network of this configuration; a transformer without words gets today's vocabulary."""
    if isinstance(config, TokenizerConfig):
        shapes = tokenizer_shapes(config)
    else:
        shapes = transformer_shapes(config if config.vocabulary else replace(config, vocabulary=vocabulary()))
    return sum(math.prod(shape) for shape in shapes.values())
