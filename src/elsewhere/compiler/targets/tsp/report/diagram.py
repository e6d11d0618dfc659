"""Diagrams as SVG: the chip from west to east, and rows on their way through it, cycle by cycle.

Everything is drawn from a machine's description and a program's instructions; no number in here says when or where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from elsewhere.compiler.targets.tsp.machine import TspMachine
from elsewhere.compiler.targets.tsp.program import FUNCTIONS, Kind, Op, Program
from elsewhere.compiler.targets.tsp.report.flows import delays, find_flows, places
from elsewhere.compiler.targets.tsp.report.waits import stream_legs

INK, SOFT, LINE, FAINT = "#1b2330", "#5d6878", "#d5dae2", "#f1f3f6"
EAST, WEST = "#3b6fd4", "#d98324"
UNITS = {"MXM": "#8f63c9", "SXM": "#2a9d8f", "MEM": "#8a97aa", "VXM": "#c4516c"}
WIDTH = 1000
NAMES = {
    Op.READ: "Read",
    Op.WRITE: "Write",
    Op.GATHER: "Gather",
    Op.SCATTER: "Scatter",
    Op.SHIFT: "Shift",
    Op.PERMUTE: "Permute",
    Op.DISTRIBUTE: "Distribute",
    Op.TRANSPOSE: "Transpose",
    Op.LOAD: "LW",
    Op.INSTALL: "IW",
    Op.ACTIVATE: "ABC",
    Op.ACCUMULATE: "ACC",
}


class Drawing:
    """SVG elements on a white card."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" rx="10" fill="#ffffff"/>',
        ]

    def rect(self, x: float, y: float, w: float, h: float, fill: str, *, opacity: float = 1.0, rx: float = 0.0) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" rx="{rx:g}" '
            f'opacity="{opacity:g}"/>'
        )

    def line(self, x: float, y: float, u: float, v: float, colour: str, width: float = 1.0, dash: str = "") -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}" stroke="{colour}" stroke-width="{width:g}" '
            f'fill="none"{dashed}/>'
        )

    def area(self, points: Sequence[tuple[float, float]], colour: str, opacity: float) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{path}" fill="{colour}" opacity="{opacity:g}"/>')

    def arrow(self, x: float, y: float, u: float, v: float, colour: str, width: float = 2.0) -> None:
        """A line with its head at (u, v)."""
        way = np.array([u - x, v - y])
        way = way / max(1e-9, float(np.hypot(*way)))
        side = np.array([-way[1], way[0]])
        end, size = np.array([u, v]), 3 + 2 * width
        left, right = end - way * size + side * size * 0.5, end - way * size - side * size * 0.5
        stop = end - way * size * 0.8
        self.line(x, y, float(stop[0]), float(stop[1]), colour, width)
        self.area([(u, v), (float(left[0]), float(left[1])), (float(right[0]), float(right[1]))], colour, 1)

    def text(
        self,
        x: float,
        y: float,
        said: str,
        *,
        at: str = "middle",
        colour: str = INK,
        size: float = 13,
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="650"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{at}" fill="{colour}" font-size="{size:g}"{weight} '
            f'paint-order="stroke" stroke="#ffffff" stroke-width="3" stroke-linejoin="round">'
            f"{escape(said)}</text>"
        )

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def layout(machine: TspMachine) -> str:
    """The chip: units from west to east, lanes, streams, and the way of instructions."""
    height = 424.0
    d = Drawing(WIDTH, height, f"The layout of {machine.name}")
    top, bottom = 92.0, 314.0
    outer, inner = 96.0, 46.0
    memory = (WIDTH - 60 - 2 * outer - 3 * inner - 12 * 6) / 2
    names = ["MXM", "SXM", "MEM", "VXM", "MEM", "SXM", "MXM"]
    sizes = [outer, inner, memory, inner, memory, inner, outer]
    x, spans = 30.0, []
    for name, size in zip(names, sizes, strict=True):
        spans.append((name, x, size))
        x += size + 12
    m = machine
    said = {
        "MXM": [f"{m.planes_per_hemisphere} planes", f"{m.lanes}×{m.lanes}"],
        "SXM": ["switch"],
        "MEM": [
            f"{m.slices_per_hemisphere} slices · {m.rows_per_slice:,} rows of {m.lanes} B · "
            f"{m.banks_per_slice} banks each"
        ],
        "VXM": [f"{m.alus} ALUs", "a lane"],
    }
    for name, left, size in spans:
        colour = UNITS[name]
        d.rect(left, top, size, bottom - top, colour, opacity=0.14, rx=5)
        if name == "MEM":
            each = size / m.slices_per_hemisphere
            for i in range(m.slices_per_hemisphere):
                # A register stands between groups of slices; the gap shows it.
                gap = 1.6 if i % m.slices_per_hop == 0 else 0.5
                d.rect(left + i * each + gap, top, each - gap - 0.4, bottom - top, colour, opacity=0.38)
        elif name == "MXM":
            half = (bottom - top - 10) / m.planes_per_hemisphere
            for i in range(m.planes_per_hemisphere):
                d.rect(left + 6, top + 5 + i * half + 2, size - 12, half - 4, colour, opacity=0.28, rx=3)
        lines = said[name]
        d.text(left + size / 2, top - 14 - 14 * len(lines), name, bold=True, size=15, colour=colour)
        for i, line in enumerate(lines):
            d.text(left + size / 2, top - 10 - 14 * (len(lines) - 1 - i), line, size=11.5, colour=SOFT)
    lanes = m.superlanes
    for i in range(lanes + 1):
        y = top + (bottom - top) * i / lanes
        d.line(30, y, WIDTH - 30, y, "#ffffff", 0.9)
    span_left, span_right = spans[0][1] + spans[0][2] * 0.55, spans[-1][1] + spans[-1][2] * 0.45
    y = top + (bottom - top) * 0.36
    d.arrow(span_left, y, span_right, y, EAST, 3)
    d.text(WIDTH * 0.29, y - 7, f"{m.streams} streams east", colour=EAST, bold=True)
    y = top + (bottom - top) * 0.64
    d.arrow(span_right, y, span_left, y, WEST, 3)
    d.text(WIDTH * 0.71, y + 18, f"{m.streams} streams west", colour=WEST, bold=True)
    for name, left, size in (spans[2], spans[3], spans[4]):
        x = left + size * (0.5 if name == "VXM" else 0.22 if left < WIDTH / 2 else 0.78)
        d.arrow(x, bottom + 12, x, top + 4, INK, 1.6)
    d.rect(spans[2][1] + spans[2][2] * 0.22 + 5, bottom - 34, 132, 32, "#ffffff", opacity=0.85, rx=4)
    d.text(spans[2][1] + spans[2][2] * 0.22 + 10, bottom - 21, "instructions go north,", at="start", size=11.5)
    d.text(spans[2][1] + spans[2][2] * 0.22 + 10, bottom - 7, "a superlane a cycle", at="start", size=11.5)
    ruler = bottom + 34
    marks = [(spans[3][1] + spans[3][2] / 2, 0)]
    per = spans[2][2] / m.memory_hops
    for hop in range(1, m.memory_hops + 1):
        marks.append((spans[2][1] + spans[2][2] - (hop - 0.5) * per, -hop))
        marks.append((spans[4][1] + (hop - 0.5) * per, hop))
    for side, sign in ((0, -1), (1, 1)):
        switch, matrix = spans[1 if side == 0 else 5], spans[0 if side == 0 else 6]
        marks.append((switch[1] + switch[2] / 2, sign * m.switch_place))
        marks.append((matrix[1] + matrix[2] / 2, sign * m.matrix_place))
    d.line(30, ruler - 14, WIDTH - 30, ruler - 14, LINE)
    for x, place in marks:
        d.line(x, ruler - 18, x, ruler - 10, SOFT)
        if abs(place) > m.memory_hops or place % 2 == 0:
            d.text(x, ruler + 4, str(place).replace("-", "−"), size=11, colour=SOFT)
    d.text(
        30,
        ruler + 24,
        "Hops from the vector unit: a stream's values move one hop every cycle.",
        at="start",
        size=12,
        colour=SOFT,
    )
    facts = (
        f"{m.superlanes} superlanes × {m.lanes_per_superlane} lanes = {m.lanes} lanes (rows of the picture). One "
        f"stream carries {m.lanes} bytes a cycle; all of them {2 * m.streams * m.lanes:,}."
    )
    d.text(30, ruler + 42, facts, at="start", size=12, colour=SOFT)
    d.text(
        30,
        ruler + 60,
        f"Memory: {m.memory_bytes / 2**20:g} MiB, {2 * m.slices * m.lanes:,} bytes a cycle. No cache, no arbiter, no "
        "DRAM: nothing in the picture can wait.",
        at="start",
        size=12,
        colour=SOFT,
    )
    return d.svg()


MOST = 60
"""Instructions that one diagram can hold so that a person can read it."""


def flow_of(program: Program, instruction: int | None) -> list[int]:
    """Numbers of the instructions in one flow; all where none is named. Raises ValueError for too many and for none."""
    count = len(program.code)
    if instruction is None:
        mine = list(range(count))
    elif 0 <= instruction < count:
        flows = find_flows(program)
        mine = np.flatnonzero(flows.of == flows.of[instruction]).tolist()
    else:
        raise ValueError(f"--instruction must be from 0 to {count - 1}, got {instruction}")
    if not 0 < len(mine) <= MOST:
        raise ValueError(
            f"a diagram holds up to {MOST} instructions, here are {len(mine)}; name one with --instruction"
        )
    return mine


def space_time(program: Program, title: str, mine: Sequence[int] = ()) -> str:
    """Instructions of `mine` (all if empty) and what travels between them: cycles to the right, places downward."""
    code, m = program.code, program.machine
    chosen = np.array(sorted(mine) if len(mine) else range(len(code)))
    place, late = places(m)[code["queue"]], delays(program)
    legs = stream_legs(program)
    inside = np.isin(legs.who, chosen)
    issue, count = code["issue"].astype(int), code["count"].astype(int)
    streamed = (code["ins"]["kind"] == Kind.STREAM).any(axis=1)
    entry = np.where((code["op"] == Op.ALU) & streamed, m.vector_entry, 0)
    first = int((issue - entry)[chosen].min())
    last = int((issue + count)[chosen].max()) + 2
    lowest, highest = min(int(place[chosen].min()), -1), max(int(place[chosen].max()), 1)
    left, right, top = 96.0, 24.0, 98.0
    step = min(20.0, 400.0 / (highest - lowest))
    body = step * (highest - lowest)
    skew = top + body + 74
    height = skew + 5.2 * m.superlanes + 50
    d = Drawing(WIDTH, height, title)
    scale = (WIDTH - left - right) / (last - first + m.superlanes)

    def x(cycle: float) -> float:
        return left + (cycle - first) * scale

    def y(where: float) -> float:
        return top + (where - lowest) * step

    d.text(20, 26, title, at="start", size=15, bold=True)
    words = (
        "Each slanted line is a row: one hop a cycle, blue eastward, orange westward. Each block is an instruction, "
        "from its issue to its last row.",
        f"Pale before a block: the vector unit takes a row {m.vector_entry} cycles before it works on it. Dotted: "
        "latency.",
    )
    for number, line in enumerate(words):
        d.text(20, 45 + 16 * number, line, at="start", size=12, colour=SOFT)
    _bands(d, m, lowest, highest, y, left, right)
    for i in np.flatnonzero(inside).tolist():
        start, end, at = int(legs.cycle[i]), int(legs.place[i]), int(legs.last[i])
        hops, rows = abs(at - end), int(legs.count[i])
        colour = WEST if legs.west[i] else EAST
        corners = [
            (x(start), y(end)),
            (x(start + hops), y(at)),
            (x(start + hops + rows), y(at)),
            (x(start + rows), y(end)),
        ]
        d.area(corners, colour, 0.13)
        for row in range(rows if rows <= 32 else 0):
            d.line(x(start + row + 0.5), y(end), x(start + hops + row + 0.5), y(at), colour, 0.8)
    stacked: dict[int, int] = {}
    twins: dict[tuple[int, int, int], list[int]] = {}
    for i in chosen.tolist():
        key = (int(place[i]), int(issue[i]), int(code["op"][i]))
        twins.setdefault(key if code["op"][i] != Op.ALU else (*key[:2], -i), []).append(i)
    for (where, _, _), same in twins.items():
        i = same[0]
        alu = code["op"][i] == Op.ALU
        level = stacked.get(where, 0) if alu else 0
        stacked[where] = level + 1
        colour, above = UNITS[_unit(m, where)], y(where) - 7 + 16 * level
        if entry[i]:
            d.rect(x(issue[i] - entry[i]), above + 4, entry[i] * scale, 6, colour, opacity=0.4)
        d.rect(x(issue[i]), above, count[i] * scale, 14, colour, rx=3)
        if late[i]:
            d.line(x(issue[i]), above + 17, x(issue[i] + late[i]), above + 17, colour, 1.2, "2 2")
        said = f"{issue[i]}  {_short(code[i])}" + (f"  ({len(same)} slices)" if len(same) > 1 else "")
        if alu:
            d.text(x(issue[i] + count[i]) + 5, above + 11, said, at="start", size=12)
        else:
            d.text(x(issue[i]), above - 4, said, at="start", size=12)
    _cycles(d, first, last + m.superlanes, x, top + body + 30)
    d.text(
        20,
        skew - 12,
        "The same instructions along the superlanes: each reaches the next one a cycle later.",
        at="start",
        size=12,
        colour=SOFT,
    )
    for number, i in enumerate(chosen.tolist()):
        name = _unit(m, int(place[i]))
        for lane in range(m.superlanes):
            d.rect(
                x(issue[i] + lane),
                skew + 5.2 * (m.superlanes - 1 - lane),
                max(2.0, count[i] * scale),
                4.4,
                UNITS[name],
                opacity=0.75 if number % 2 else 0.55,
            )
    d.text(left - 10, skew + 5.2 * m.superlanes - 1, "superlane 0", at="end", size=11, colour=SOFT)
    d.text(left - 10, skew + 6, str(m.superlanes - 1), at="end", size=11, colour=SOFT)
    _cycles(d, first, last + m.superlanes, x, skew + 5.2 * m.superlanes + 18)
    return d.svg()


def _unit(machine: TspMachine, place: int) -> str:
    far = abs(place)
    return (
        "VXM" if not far else "MEM" if far <= machine.memory_hops else "SXM" if far == machine.switch_place else "MXM"
    )


def _short(row: np.void) -> str:
    """A word beside the block."""
    return FUNCTIONS[int(row["a"][0])] if row["op"] == Op.ALU else NAMES.get(Op(int(row["op"])), "")


def _bands(
    d: Drawing, m: TspMachine, lowest: int, highest: int, y: Callable[[int], float], left: float, right: float
) -> None:
    """Units by their places, as bands with names."""
    spans = [("MEM west", -m.memory_hops, -1), ("VXM", 0, 0), ("MEM east", 1, m.memory_hops)]
    for sign, side in ((-1, "west"), (1, "east")):
        spans.append((f"SXM {side}", sign * m.switch_place, sign * m.switch_place))
        spans.append((f"MXM {side}", sign * m.matrix_place, sign * m.matrix_place))
    for name, low, high in spans:
        a, b = max(low, lowest), min(high, highest)
        if a > b:
            continue
        d.rect(left, y(a) - 8, WIDTH - left - right, y(b) - y(a) + 16, UNITS[name[:3]], opacity=0.08, rx=4)
        d.text(left - 10, (y(a) + y(b)) / 2 + 4, name, at="end", size=12)


def _cycles(d: Drawing, first: int, last: int, x: Callable[[int], float], y: float) -> None:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (last - first) / s <= 16)
    for cycle in range(-(-first // step) * step, last + 1, step):
        d.line(x(cycle), y - 14, x(cycle), y - 9, SOFT)
        d.text(x(cycle), y + 3, str(cycle), size=11, colour=SOFT)
    d.text(20, y + 3, "cycle", at="start", size=11, colour=SOFT)
