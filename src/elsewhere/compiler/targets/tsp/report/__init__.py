"""A page that shows a program: time by unit, memory and streams over time, layers and what each of them waited for."""

from elsewhere.compiler.targets.tsp.report.account import Report
from elsewhere.compiler.targets.tsp.report.page import page

__all__ = ["Report", "page"]
