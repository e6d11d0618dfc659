"""Words as token ids for the transformer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elsewhere.scene import Scene
from elsewhere.scene.words import caption_tokens

PADDING, UNKNOWN = 0, 1


def token_ids(scene: Scene, vocabulary: tuple[str, ...], length: int) -> NDArray[np.int64]:
    """(length,) ids of a scene's caption: 0 pads, 1 stands for a word that `vocabulary` lacks."""
    index = {word: number + 2 for number, word in enumerate(vocabulary)}
    ids = [index.get(word, UNKNOWN) for word in caption_tokens(scene)[:length]]
    return np.array(ids + [PADDING] * (length - len(ids)), np.int64)
