"""How far generated pictures depart from calculated reality."""

from __future__ import annotations

from elsewhere.judge.reference import Painter, Report, Score, Trial, report

__all__ = ["Painter", "Report", "Score", "Trial", "report"]
