"""A still picture of a program: busy units over time, in the colours of the layers, with their names.

Drawn twice as large as it is meant to be looked at, with every pixel's share of busy cycles as its strength.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elsewhere.compiler.targets.tsp.report.account import Report
from elsewhere.compiler.targets.tsp.report.timeline import timeline_labels, timeline_rows

Array = NDArray[Any]
WIDTH, LEFT, RIGHT, TOP = 1800, 190, 30, 96
LABEL, GAP = 34, 16
HEIGHTS = {"MXM": 17, "SXM": 7, "MEM": 3, "VXM": 9, "C2C": 5}
INK, SOFT, GRID = (27, 35, 48), (93, 104, 120), (225, 229, 235)
HUES = (
    (59, 111, 212),
    (42, 157, 143),
    (217, 131, 36),
    (143, 99, 201),
    (196, 81, 108),
    (111, 143, 47),
    (47, 143, 191),
    (168, 113, 63),
    (176, 79, 168),
    (95, 111, 135),
)


def units_picture(report: Report, title: str) -> bytes:
    """A PNG, 1,800 pixels wide. Equal programs give equal bytes."""
    program = report.program
    groups = timeline_rows(report)
    labels = sorted(timeline_labels(report), key=lambda label: (label[1], label[2]))
    lanes, spans = _lanes(labels, program.cycles)
    top = TOP + lanes * LABEL + 14
    height = top + sum(len(g["queues"]) * HEIGHTS[g["group"][:3]] + GAP for g in groups) + 62
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    hue = {layer.number: HUES[i % len(HUES)] for i, layer in enumerate(report.layers)}
    scale = (WIDTH - LEFT - RIGHT) / max(1, program.cycles)
    _head(draw, report, title)
    step = next(s * 10**e for e in range(9) for s in (1, 2, 5) if program.cycles / (s * 10**e) <= 9)
    for cycle in range(0, program.cycles, step):
        x = LEFT + round(cycle * scale)
        draw.line([(x, top), (x, height - 56)], GRID, 2)
        draw.text((x, height - 46), f"{cycle:,}", SOFT, _font(24), anchor="ma")
    draw.text((LEFT - 16, height - 46), "cycle", SOFT, _font(24), anchor="ra")
    pixels = np.array(image)
    y = top
    for group in groups:
        each = HEIGHTS[group["group"][:3]]
        for queue in group["queues"]:
            _row(pixels, report, queue, (y, y + each - (1 if each > 4 else 0)), scale, hue)
            y += each
        y += GAP
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    y = top
    for group in groups:
        size = len(group["queues"]) * HEIGHTS[group["group"][:3]]
        draw.text((LEFT - 16, y + size / 2), group["group"], INK, _font(26), anchor="rm")
        y += size + GAP
    for (symbol, first, last), lane in zip(labels, spans, strict=True):
        _label(draw, program.symbols[symbol] or "inputs", hue[symbol], (first, last), lane, scale)
    made = BytesIO()
    image.quantize(96, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _head(draw: ImageDraw.ImageDraw, report: Report, title: str) -> None:
    program, totals = report.program, report.totals()
    draw.text((LEFT, 22), title, INK, _font(36))
    said = (
        f"{program.cycles:,} cycles ({totals['microseconds']:.1f} microseconds) on one {program.machine.name}, "
        f"{totals['instructions']:,} instructions; planes busy {totals['padded_cycles'] / max(1, program.cycles):.0%}"
    )
    draw.text((LEFT, 66), said, SOFT, _font(25))


def _lanes(labels: list[list[int]], cycles: int) -> tuple[int, list[int]]:
    """A line for each label, so that those on one line do not overlap; lines for the least of them."""
    free: list[int] = []
    chosen = []
    for _, first, last in labels:
        # A name wants some room even where its layer is short.
        room = max(last, first + round(cycles * 0.085))
        lane = next((i for i, end in enumerate(free) if end <= first), len(free))
        if lane == len(free):
            free.append(0)
        free[lane] = room
        chosen.append(lane)
    return len(free), chosen


def _label(
    draw: ImageDraw.ImageDraw, name: str, colour: tuple[int, int, int], span: tuple[int, int], lane: int, scale: float
) -> None:
    x, end = LEFT + span[0] * scale, LEFT + span[1] * scale
    y = TOP + 10 + lane * LABEL
    draw.rectangle([x, y + 24, max(x + 3, end - 2), y + 29], colour)
    short = name.rsplit(".", 1)[-1].replace("_", " ")
    draw.text((min(x, WIDTH - RIGHT - draw.textlength(short, _font(24))), y - 4), short, _darker(colour), _font(24))


def _darker(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (round(colour[0] * 0.78), round(colour[1] * 0.78), round(colour[2] * 0.78))


def _row(
    pixels: Array,
    report: Report,
    queue: int,
    where: tuple[int, int],
    scale: float,
    hue: dict[int, tuple[int, int, int]],
) -> None:
    """Busy cycles of one queue, by the layer that has most of each pixel."""
    code = report.program.code
    mine = code[code["queue"] == queue]
    if not len(mine):
        return
    width = WIDTH - LEFT - RIGHT
    best, total = np.zeros(width), np.zeros(width)
    who = np.zeros(width, np.int64)
    for symbol in np.unique(mine["symbol"]).tolist():
        part = mine[mine["symbol"] == symbol]
        share = _share(part["issue"] * scale, (part["issue"] + part["count"]) * scale, width)
        total += share
        who[share > best] = symbol
        best = np.maximum(best, share)
    colours = np.array([hue.get(s, SOFT) for s in who.tolist()], np.float64)
    strength = np.where(best > 0, 0.18 + 0.82 * np.minimum(total, 1.0), 0.0)[:, None]
    band = pixels[where[0] : where[1], LEFT : LEFT + width]
    band[:] = np.rint(band + (colours - band) * strength).astype(np.uint8)


def _share(start: Array, end: Array, width: int) -> Array:
    """How much of each pixel stretches [start, end) cover."""
    change = np.zeros(width + 2)
    for edge, sign in ((start, 1.0), (end, -1.0)):
        clipped = np.clip(edge, 0, width)
        place = np.floor(clipped).astype(np.int64)
        inside = clipped - place
        np.add.at(change, place, sign * (1 - inside))
        np.add.at(change, place + 1, sign * inside)
    made: Array = np.clip(np.cumsum(change)[:width], 0, 1)
    return np.where(made > 1e-9, made, 0.0)
