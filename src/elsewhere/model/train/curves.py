"""Curves of a run's measures as one picture: a panel for each measure of each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from elsewhere.model.train.loop import MEASURES, read_measures

PANEL = (420, 240)
"""Width and height of a panel in pixels."""
COLUMNS = 3
MARGIN = (58, 30, 14, 26)
"""Left, top, right, bottom of what is drawn in a panel."""
INK, GRID, LINE, SMOOTH = (30, 34, 40), (224, 228, 233), (176, 196, 222), (22, 92, 170)
PLAIN_FIELDS = ("stage", "step", "seconds")


def draw(run: Path) -> Image.Image:
    """All curves of the run in folder `run`. Raises ValueError where it has no measures."""
    rows = read_measures(run / MEASURES)
    if not rows:
        raise ValueError(f"run must be a folder with {MEASURES}, as `elsewhere train` writes it; got {run}")
    panels: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for row in rows:
        for name in row.keys() - set(PLAIN_FIELDS):
            steps, values = panels.setdefault((row["stage"], name), ([], []))
            steps.append(row["step"])
            values.append(row[name])
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    order = sorted(panels, key=lambda key: (stages.index(key[0]), key[1] != "loss", key[1]))
    lines = -(-len(order) // COLUMNS)
    image = Image.new("RGB", (PANEL[0] * min(COLUMNS, len(order)), PANEL[1] * lines), "white")
    for number, key in enumerate(order):
        corner = (PANEL[0] * (number % COLUMNS), PANEL[1] * (number // COLUMNS))
        _panel(image, corner, f"{key[0]}: {key[1]}", *(np.array(column) for column in panels[key]))
    return image


def smoothed(values: Any, window: int) -> Any:
    """Mean of each value and those around it, fewer at the ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _panel(image: Image.Image, corner: tuple[int, int], title: str, steps: Any, values: Any) -> None:
    pen = ImageDraw.Draw(image)
    left, top = corner[0] + MARGIN[0], corner[1] + MARGIN[1]
    right, bottom = corner[0] + PANEL[0] - MARGIN[2], corner[1] + PANEL[1] - MARGIN[3]
    low, high = float(np.min(values)), float(np.percentile(values, 98)) if len(values) > 20 else float(np.max(values))
    span = max(high - low, 1e-9)
    last = max(float(steps.max()), 1.0)
    pen.text((left, corner[1] + 9), title, fill=INK)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        pen.line([(left, y), (right, y)], fill=GRID)
        pen.text((corner[0] + 6, y - 6), f"{low + share * span:.4g}", fill=INK)
        x = left + share * (right - left)
        pen.text((x - (30 if share == 1.0 else 4), bottom + 6), f"{last * share:.0f}", fill=INK)
    for data, colour, width in ((values, LINE, 1), (smoothed(values, max(1, len(values) // 15)), SMOOTH, 2)):
        x = left + steps / last * (right - left)
        y = np.clip(bottom - (data - low) / span * (bottom - top), top, bottom)
        points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=width, joint="curve")
        else:
            pen.ellipse([points[0][0] - 2, points[0][1] - 2, points[0][0] + 2, points[0][1] + 2], fill=SMOOTH)
