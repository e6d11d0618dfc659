"""Text to terms: checks a prompt, splits it into words and looks up the longest known phrases."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import product

from elsewhere.scene.words.lexicon import NEGATIONS, PRONOUNS, STOP, Sense, lexicon

MAXIMUM_LENGTH = 2000
EXAMPLE = "two pirate ships sailing inside a cup of coffee"

_TOKEN = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?|'s\b|[^\W\d_]+(?:'(?!s\b)[^\W\d_]+)?|[.,;:!?]")


class PromptError(ValueError):
    """A prompt that no world can be made of; the message says why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase of the prompt with its senses; none for punctuation, stop words and unknown words."""

    text: str
    senses: tuple[Sense, ...] = ()
    form: str = ""
    """Ending that was taken off: "", "s", "ing", "ed", "irregular", …"""

    def value(self, category: str) -> str | float | int | None:
        """Canonical value in `category`, or None."""
        return next((sense.value for sense in self.senses if sense.category == category), None)

    def has(self, *categories: str) -> bool:
        """Whether it can be read in one of the categories."""
        return any(sense.category in categories for sense in self.senses)

    @property
    def is_unknown(self) -> bool:
        """Whether it carries a meaning that is not known."""
        return not self.senses and self.text[:1].isalpha() and self.text not in STOP | NEGATIONS | PRONOUNS


def checked(prompt: str) -> str:
    """The prompt with plain spaces, NFKC-normalised. Raises PromptError for what is not a short plain text."""
    if not isinstance(prompt, str):
        raise PromptError(f"prompt must be text (str), got {type(prompt).__name__}; write for example {EXAMPLE!r}")
    if len(prompt) > MAXIMUM_LENGTH:
        raise PromptError(
            f"prompt must have at most {MAXIMUM_LENGTH} characters, got {len(prompt)}; name the place and a few things"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") and char not in "\t\n\r" for char in prompt):
        raise PromptError(f"prompt must be plain text without control characters; write for example {EXAMPLE!r}")
    text = " ".join(unicodedata.normalize("NFKC", prompt).split())
    if not text:
        raise PromptError(f"prompt must not be empty; write for example {EXAMPLE!r}")
    return text


def split(text: str) -> list[str]:
    """Lower-case words, numbers and punctuation marks; hyphens and everything else separate."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("`", "'")
    return _TOKEN.findall(plain)


def terms(text: str) -> list[Term]:
    """Terms of a text, the longest known phrase at each place."""
    words = split(text)
    found: list[Term] = []
    index = 0
    while index < len(words):
        term, length = _longest(words, index)
        found.append(term)
        index += length
    return found


def _longest(words: list[str], index: int) -> tuple[Term, int]:
    """The term that starts at `index` and the number of words it takes."""
    for length in range(min(lexicon().longest, len(words) - index), 0, -1):
        term = _lookup(words[index : index + length])
        if term is not None:
            return term, length
    return Term(words[index]), 1


def _lookup(words: list[str]) -> Term | None:
    """The term of exactly these words, by their least inflected reading; senses of all readings are kept."""
    if len(words) == 1 and words[0] in STOP and tuple(words) not in lexicon().phrases:
        return None
    senses: list[Sense] = []
    form = ""
    bases = [lexicon().bases(word) for word in words]
    for reading in product(*bases):
        known = lexicon().phrases.get(tuple(base for base, _ending in reading))
        if known is None:
            continue
        ending = next((ending for _base, ending in reversed(reading) if ending), "")
        fresh = [
            sense for sense in known if _fits(sense, ending) and sense.category not in {s.category for s in senses}
        ]
        if fresh and (not senses or len(words) == 1):
            form = form if senses else ending
            senses.extend(fresh)
    return Term(" ".join(words), tuple(senses), form) if senses else None


_ENDINGS_OF = {
    "kind": ("s", "irregular"), "environment": ("s", "irregular"), "size": ("er", "est"), "weather": ("s", "er",
    "est", "ing"),
    "verb": ("s", "ing", "ed", "irregular"), "pursuit": ("s", "ing", "ed"),
    "camera": ("s", "ing"), "color": ("ish",), "hour": ("s",),
    "multiplier": ("s",), "count": ("s",), "pace": ("er", "est"),
}  # fmt: skip


def _fits(sense: Sense, ending: str) -> bool:
    """Whether words of the sense's category take this ending."""
    return not ending or ending in _ENDINGS_OF.get(sense.category, ())
