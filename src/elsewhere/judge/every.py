"""All measures by name, with how many scenes they look at when little or much time is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from elsewhere.judge.actions import Actions
from elsewhere.judge.control import Control
from elsewhere.judge.flicker import Flicker
from elsewhere.judge.frechet import Frechet
from elsewhere.judge.heading import Heading
from elsewhere.judge.loop import Loop
from elsewhere.judge.measure import Measure
from elsewhere.judge.permanence import Permanence
from elsewhere.judge.reference import Reference
from elsewhere.judge.text import Text


@dataclass(frozen=True, slots=True)
class Setting:
    """`open(small)` gives the measure; `few` and `many` are scenes, `samples` paths per pixel of a reference."""

    open: Callable[[bool], Measure]
    few: int
    many: int
    samples: int


EVERY: dict[str, Setting] = {
    "reference": Setting(lambda small: Reference(long=0 if small else 7), 6, 50, 96),
    "frechet": Setting(lambda small: Frechet(), 8, 48, 32),
    "text": Setting(lambda small: Text(), 8, 48, 32),
    "actions": Setting(lambda small: Actions(), 6, 24, 16),
    "permanence": Setting(lambda small: Permanence(), 3, 12, 16),
    "heading": Setting(lambda small: Heading(), 3, 8, 32),
    "loop": Setting(lambda small: Loop(), 4, 24, 16),
    "flicker": Setting(lambda small: Flicker(), 4, 24, 16),
    "control": Setting(lambda small: Control(), 4, 24, 16),
}
"""In the order in which `elsewhere judge all` runs them: what shares references stands together."""
