"""How far generated pictures depart from calculated reality."""

from __future__ import annotations

from elsewhere.judge.library import Library
from elsewhere.judge.measure import Bench, Line, Measure, run
from elsewhere.judge.play import Painter, Studio

__all__ = ["Bench", "Library", "Line", "Measure", "Painter", "Studio", "run"]
