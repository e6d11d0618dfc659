"""Line charts as SVG, without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 150, 20, 50
COLOURS = ("#0a6", "#06c", "#c40", "#84a", "#a80", "#555")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name at its end, and points (across, up) in order."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class _Axis:
    """Values to pixels."""

    def __init__(self, low: float, high: float, start: float, stop: float, logarithmic: bool) -> None:
        self.logarithmic, self.start, self.stop = logarithmic, start, stop
        self.low, self.high = (math.log10(low), math.log10(high)) if logarithmic else (low, high)
        if self.high <= self.low:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def __call__(self, value: float) -> float:
        at = math.log10(value) if self.logarithmic else value
        return self.start + (self.stop - self.start) * (at - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [10.0**p for p in range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(f for f in (1, 2, 5, 10) if (self.high - self.low) / (step * f) <= 8)
        first = math.ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def chart(
    lines: Sequence[Line],
    *,
    across: str,
    up: str,
    logarithmic: bool = False,
    level: tuple[float, str] | None = None,
) -> str:
    """Lines over both axes; `level` is a value to compare with. Raises ValueError where there is nothing to draw."""
    points = [p for line in lines for p in line.points]
    if not points:
        raise ValueError("there is no point to draw")
    ups = [p[1] for p in points] + ([level[0]] if level else [])
    room = (min(ups) / 1.4, max(ups) * 1.4) if logarithmic else (min(ups), max(ups))
    x = _Axis(min(p[0] for p in points), max(p[0] for p in points), LEFT, WIDE - RIGHT, logarithmic)
    y = _Axis(*room, HIGH - BOTTOM, TOP, logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="#fff"/>',
    ]
    for tick in x.ticks():
        parts.append(f'<path d="M{x(tick):.1f} {TOP}V{HIGH - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{HIGH - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks():
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDE - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    if level is not None:
        at = y(level[0])
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDE - RIGHT}" stroke="#888" stroke-dasharray="5 4"/>')
        parts.append(f'<text x="{WIDE - RIGHT + 5}" y="{at + 4:.1f}" fill="#666">{escape(level[1])}</text>')
    taken: list[float] = []
    for number, line in enumerate(lines):
        if line.points:
            parts += _line(line, COLOURS[number % len(COLOURS)], x, y, taken)
    parts.append(f'<text x="{(LEFT + WIDE - RIGHT) / 2}" y="{HIGH - 12}" text-anchor="middle">{escape(across)}</text>')
    turn = f'transform="rotate(-90 16 {HIGH / 2})" text-anchor="middle"'
    parts.append(f'<text x="16" y="{HIGH / 2}" {turn}>{escape(up)}</text></svg>')
    return "\n".join(parts) + "\n"


def _line(line: Line, colour: str, x: _Axis, y: _Axis, taken: list[float]) -> list[str]:
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
    dash = ' stroke-dasharray="6 4"' if line.dashed else ""
    end_x, end_y = x(line.points[-1][0]) + 8, y(line.points[-1][1]) + 4
    while any(abs(end_y - other) < 14 for other in taken):
        end_y += 14
    taken.append(end_y)
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<text x="{end_x:.1f}" y="{end_y:.1f}" fill="{colour}">{escape(line.name)}</text>',
    ]
