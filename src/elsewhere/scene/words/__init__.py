"""Words to scenes and back: a grammar over a lexicon, placement, light, and the model's captions."""

from __future__ import annotations

from elsewhere.scene.words.caption import caption_tokens, short_tokens, vocabulary
from elsewhere.scene.words.paraphrase import paraphrases
from elsewhere.scene.words.parse import Parsed, parse
from elsewhere.scene.words.sample import sample_prompt
from elsewhere.scene.words.tokens import PromptError

__all__ = [
    "Parsed", "PromptError", "caption_tokens", "paraphrases", "parse", "sample_prompt", "short_tokens", "vocabulary",
]  # fmt: skip
