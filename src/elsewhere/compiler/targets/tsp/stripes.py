"""Pictures in int8 as stripes: a row of lanes holds several neighbouring pixels of a picture's line.

A line of L pixels is cut into blocks of P (the period). A part of a value is a list of pixels of the block: its rows
are (picture, block, line) and its lanes are these pixels' channels, side by side. A convolution gives any part from
parts of its operand, their blocks before and after, and a band matrix; nothing is moved between lanes. What follows
element by element is done part by part, and a maximum over windows asks for the parts that lie as its results do.
Only where a picture comes in with very few channels are lanes brought together first, several lines of it to a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import copy

FEW = 16
"""Channels up to which a picture's lines are brought together."""
Pixels = tuple[int, ...]


def stripe(graph: Graph, lanes: int = 320) -> Graph:
    """Convolutions of int8 without padding of their own (`expose_padding` has run)."""
    plan = Plan(graph, lanes)
    return Stripes(graph, plan, lanes).run() if plan.clusters else graph


@dataclass(slots=True)
class Cluster:
    """Values that are calculated from each other element by element: they are cut alike."""

    shape: tuple[int, ...]
    sources: list[int] = field(default_factory=list)
    """Convolutions and pools among them."""
    period: int = 0
    parts: list[Pixels] = field(default_factory=list)


class Plan:
    """Which values become stripes, and how each is cut."""

    def __init__(self, graph: Graph, lanes: int) -> None:
        self.graph, self.lanes, self.users = graph, lanes, graph.users()
        self.refused: set[int] = set()
        self.of: dict[int, Cluster] = {}
        while True:
            self.of = self._clusters()
            failed = self._periods()
            if failed is None:
                break
            self.refused |= failed
        self.clusters = list({id(c): c for c in self.of.values()}.values())

    def source(self, number: int) -> tuple[int, tuple[int, int], tuple[int, int], float]:
        """What lies under a padding of lines and pixels: the value, what comes before and after, and with what."""
        node = self.graph.nodes[number]
        if node.op == "pad":
            low, high = node.attributes["low"], node.attributes["high"]
            if not (low[0] or low[3] or high[0] or high[3]):
                return node.inputs[0], (low[1], low[2]), (high[1], high[2]), float(node.attributes["value"])
        return number, (0, 0), (0, 0), 0.0

    def channels(self, value: int) -> np.ndarray | None:
        """Data of a constant that differs along channels only."""
        node = self.graph.nodes[value]
        while node.op in ("broadcast", "reshape"):
            last = node.type.shape[-1]
            node = self.graph.nodes[node.inputs[0]]
            if node.type.size not in (1, last) or (node.type.size > 1 and node.type.shape[-1] != node.type.size):
                return None
        if node.op != "constant" or node.type.size not in (1, self.graph.nodes[value].type.shape[-1]):
            return None
        return self.graph.constants[node.attributes["key"]].ravel()

    def _clusters(self) -> dict[int, Cluster]:
        of: dict[int, Cluster] = {}
        for number, node in enumerate(self.graph.nodes):
            if number in self.refused or len(node.type.shape) != 4 or node.type.size == 0:
                continue
            if node.op == "convolution" and self._convolves(node):
                of[number] = Cluster(node.type.shape, [number])
            elif node.op == "pool" and node.attributes["function"] == "max":
                source = self.source(node.inputs[0])[0]
                if source in of and self.graph.nodes[source].type.dtype == "i8" and node.attributes["stride"][1] > 1:
                    of[number] = Cluster(node.type.shape, [number])
            elif node.op in ("unary", "binary", "cast", "select"):
                mine = [v for v in node.inputs if v in of]
                if not mine or any(v not in of and self.channels(v) is None for v in node.inputs):
                    continue
                cluster = of[mine[0]]
                for other in mine[1:]:
                    if of[other] is not cluster:
                        gone = of[other]
                        cluster.sources += gone.sources
                        of.update({v: cluster for v, c in of.items() if c is gone})
                of[number] = cluster
        return of

    def _convolves(self, node: Node) -> bool:
        x, w = node.inputs
        attributes, shape = node.attributes, self.graph.nodes[w].type.shape
        if self.graph.nodes[x].type.dtype != "i8" or self.graph.nodes[w].op != "constant":
            return False
        if attributes["groups"] != 1 or any(d != 1 for d in attributes["dilation"]) or math.prod(shape[:2]) > 64:
            return False
        value, low, high, _ = self.source(x)
        length, lines = self.graph.nodes[value].type.shape[2], self.graph.nodes[value].type.shape[1]
        return min(*low, *high) >= 0 and min(length, lines) > 1

    def _pooled(self, of: dict[int, Cluster]) -> dict[int, int]:
        """Clusters that only pools take, and one of these."""
        found: dict[int, int] = {}
        other: set[int] = set()
        for number, node in enumerate(self.graph.nodes):
            for operand in node.inputs:
                value = self.source(operand)[0] if node.op in ("pool", "convolution") else operand
                if value not in of or node.op == "pad":
                    continue
                if node.op == "pool" and number in of and found.get(id(of[value]), number) == number:
                    found[id(of[value])] = number
                elif of.get(number) is not of[value]:
                    other.add(id(of[value]))
        for value in self.graph.kept():
            other |= {id(of[value])} if value in of else set()
        return {c: n for c, n in found.items() if c not in other}

    def _periods(self) -> set[int] | None:
        """Settles all periods, or gives the convolutions and pools that must stay as they are."""
        clusters = list({id(c): c for c in self.of.values()}.values())
        pooled = self._pooled(self.of)
        for number, node in enumerate(self.graph.nodes):
            if node.op == "pool" and number in self.of:
                taken = self.of[self.source(node.inputs[0])[0]]
                if pooled.get(id(taken)) != number:
                    return {number}
        for cluster in clusters:
            cluster.period = 1
        for _ in range(len(clusters) + 2):
            changed = False
            for cluster in clusters:
                period = self._period(cluster, pooled)
                if period is None:
                    return set(cluster.sources)
                changed |= period != cluster.period
                cluster.period = period
            if not changed:
                break
        else:
            return {s for c in clusters for s in c.sources}
        for cluster in clusters:
            cluster.parts = self._parts(cluster, pooled)
        return self._unfit(clusters)

    def _needed(self, cluster: Cluster) -> int:
        """What the period must be a multiple of, for its convolutions' operands to be cut as they are."""
        found = 1
        for number in cluster.sources:
            node = self.graph.nodes[number]
            value = self.source(node.inputs[0])[0]
            if node.op == "convolution" and value in self.of:
                period = self.of[value].period
                found = math.lcm(found, period // math.gcd(period, node.attributes["stride"][1]))
        return found

    def _period(self, cluster: Cluster, pooled: dict[int, int]) -> int | None:
        needed, length, channels = self._needed(cluster), cluster.shape[2], cluster.shape[3]
        if id(cluster) in pooled:
            number = pooled[id(cluster)]
            period = self.graph.nodes[number].attributes["stride"][1] * self.of[number].period
            return period if period % needed == 0 and length % period == 0 else None
        if length % needed:
            return None
        fitting = [p for p in range(needed, length + 1, needed) if length % p == 0 and p * channels <= self.lanes]
        return max(fitting, default=needed)

    def _parts(self, cluster: Cluster, pooled: dict[int, int]) -> list[Pixels]:
        if id(cluster) in pooled:
            number = pooled[id(cluster)]
            node = self.graph.nodes[number]
            low = self.source(node.inputs[0])[1][1]
            return [
                tuple(node.attributes["stride"][1] * o + tap - low for o in part)
                for tap in range(node.attributes["window"][1])
                for part in self._consecutive(self.of[number])
            ]
        return self._consecutive(cluster)

    def _consecutive(self, cluster: Cluster) -> list[Pixels]:
        most = max(1, self.lanes // cluster.shape[3])
        size = max(n for n in range(1, cluster.period + 1) if cluster.period % n == 0 and n <= most)
        return [tuple(range(i, i + size)) for i in range(0, cluster.period, size)]

    def _unfit(self, clusters: Sequence[Cluster]) -> set[int] | None:
        """Convolutions of a plain picture whose windows do not fit a row of lanes."""
        for cluster in clusters:
            for number in cluster.sources:
                node = self.graph.nodes[number]
                value = self.source(node.inputs[0])[0]
                channels = self.graph.nodes[value].type.shape[3]
                if node.op == "convolution" and value not in self.of and channels <= FEW:
                    low, high = self.window(number, cluster)
                    if (high - low) * channels * node.attributes["stride"][0] > self.lanes:
                        return {number}
        return None

    def window(self, number: int, cluster: Cluster) -> tuple[int, int]:
        """Pixels of a plain picture, from the first of a block on, that all parts of a convolution take."""
        node = self.graph.nodes[number]
        low = self.source(node.inputs[0])[1][1]
        step, kernel = node.attributes["stride"][1], self.graph.nodes[node.inputs[1]].type.shape[1]
        pixels = [p for part in cluster.parts for p in part]
        return step * min(pixels) - low, step * max(pixels) + kernel - low


class Stripes:
    """The new graph. Parts are made when something asks for them."""

    def __init__(self, graph: Graph, plan: Plan, lanes: int) -> None:
        self.graph, self.plan, self.lanes = graph, plan, lanes
        self.builder = Builder()
        self.made: dict[int, int] = {}
        self.parts: dict[tuple[int, Pixels], int] = {}

    def run(self) -> Graph:
        for number, node in enumerate(self.graph.nodes):
            if node.op == "input":
                self.plain(number)
            elif number in self.plan.of:
                for pixels in self.plan.of[number].parts:
                    self.part(number, pixels)
        for name, old in self.graph.outputs:
            self.builder.output(name, self.plain(old))
        for name, old in self.graph.states:
            self.builder.state(name, self.plain(old))
        return self.builder.graph()

    # -- values as they were --------------------------------------------------------------------------------------

    def plain(self, number: int) -> int:
        for value in self._before(number):
            if value not in self.made:
                self.made[value] = self._whole(value) if value in self.plan.of else self._copied(value)
        return self.made[number]

    def _before(self, number: int) -> list[int]:
        """Values that must be there in their own shape first, in order, then this one."""
        needed, waiting = set(), [number]
        while waiting:
            value = waiting.pop()
            if value in needed or value in self.made:
                continue
            needed.add(value)
            if value not in self.plan.of:
                waiting += self.graph.nodes[value].inputs
        return sorted(needed)

    def _copied(self, number: int) -> int:
        node = self.graph.nodes[number]
        operands = [self.made[i] for i in node.inputs]
        self.builder.place = node.place
        if node.op == "constant":
            return self.builder.keep(self.graph, node)
        return copy(self.builder, node, operands)

    def _whole(self, number: int) -> int:
        """A value of stripes in its own shape."""
        b, cluster = self.builder, self.plan.of[number]
        parts = [self.part(number, p) for p in self.plan._consecutive(cluster)]
        count, lines, length, channels = cluster.shape
        joined = b.concatenate(parts, 3)
        turned = b.transpose(joined, (0, 2, 1, 3))
        return b.reshape(turned, (count, lines, length, channels))

    # -- parts ------------------------------------------------------------------------------------------------------

    def part(self, number: int, pixels: Pixels) -> int:
        """(pictures, blocks, lines, pixels · channels)."""
        key = (number, pixels)
        if key not in self.parts:
            node = self.graph.nodes[number]
            if number not in self.plan.of:
                assert pixels == (0,)
                found = self.builder.transpose(self.plain(number), (0, 2, 1, 3))
            elif node.op == "convolution":
                found = self._convolution(number, node, pixels)
            elif node.op == "pool":
                found = self._pool(number, node, pixels)
            else:
                operands = [self._operand(v, number, pixels) for v in node.inputs]
                self.builder.place = node.place
                found = self.builder.add(node.op, self.builder.match(*operands), **node.attributes)
            self.parts[key] = found
        return self.parts[key]

    def _operand(self, value: int, number: int, pixels: Pixels) -> int:
        if value in self.plan.of:
            return self.part(value, pixels)
        data = self.plan.channels(value)
        assert data is not None
        tiled = np.tile(data, len(pixels)) if data.size > 1 else data
        return self.builder.constant(tiled.reshape(1, 1, 1, -1), self.graph.nodes[value].type.dtype)

    def blocks(self, number: int) -> int:
        cluster = self.plan.of[number]
        return cluster.shape[2] // cluster.period

    def _taken(self, x: int, axis: int, start: int, step: int, count: int, fill: float) -> int:
        """`count` slices of an axis from `start` on, every `step`-th; `fill` where there are none."""
        b, length = self.builder, self.builder.shape(x)[axis]
        low = max(0, -start)
        high = max(0, start + step * (count - 1) + 1 - length)
        if low or high:
            before, after = [0] * 4, [0] * 4
            before[axis], after[axis] = low, high
            x = b.pad(x, before, after, fill)
        start += low
        return b.narrow(x, axis, start, start + step * (count - 1) + 1, step)

    def _convolution(self, number: int, node: Node, pixels: Pixels) -> int:
        value = self.plan.source(node.inputs[0])[0]
        if value not in self.plan.of and self.graph.nodes[value].type.shape[3] <= FEW:
            return self._first(number, node, pixels)
        b = self.builder
        value, low, _, fill = self.plan.source(node.inputs[0])
        weights = self.graph.constants[self.graph.nodes[node.inputs[1]].attributes["key"]]
        kernel, (down, step) = weights.shape, node.attributes["stride"]
        cluster, blocks, lines = self.plan.of[number], self.blocks(number), node.type.shape[1]
        inner = self.plan.of.get(value)
        period, parts = (inner.period, inner.parts) if inner else (1, [(0,)])
        wanted = sorted({step * o + tap - low[1] for o in pixels for tap in range(kernel[1])})
        pieces = self._pieces(wanted, period, parts)
        ratio = step * cluster.period // period
        sources = {part: self.part(value, part) for part in dict.fromkeys(p for p, _, _, _ in pieces)}
        b.place = node.place
        operands, rows = [], []
        for line in range(kernel[0]):
            for part, first, count, block in pieces:
                x = b.narrow(sources[part], 3, first * kernel[2], (first + count) * kernel[2])
                x = self._taken(x, 1, block, ratio, blocks, fill)
                operands.append(self._taken(x, 2, line - low[0], down, lines, fill))
                base = block * period
                mine = [base + q for q in part[first : first + count]]
                rows.append(_band(weights[line], mine, [step * o - low[1] for o in pixels]))
        joined = b.concatenate(operands, 3)
        return self._product(joined, np.concatenate(rows), node)

    def _pieces(
        self, wanted: Sequence[int], period: int, parts: Sequence[Pixels]
    ) -> list[tuple[Pixels, int, int, int]]:
        """Runs of lanes that hold the wanted pixels: the part, its first pixel, how many, and which block."""
        found: list[tuple[Pixels, int, int, int]] = []
        for pixel in wanted:
            block, inside = divmod(pixel, period)
            part = next(p for p in parts if inside in p)
            place = part.index(inside)
            if found and found[-1][0] == part and found[-1][3] == block and sum(found[-1][1:3]) == place:
                found[-1] = (part, found[-1][1], found[-1][2] + 1, block)
            else:
                found.append((part, place, 1, block))
        return found

    def _product(self, joined: int, weights: np.ndarray, node: Node) -> int:
        b = self.builder
        shape = b.shape(joined)
        rows = b.reshape(joined, (math.prod(shape[:3]), shape[3]))
        made = b.matmul(rows, b.constant(weights, "i8"))
        return b.reshape(made, (*shape[:3], weights.shape[1]))

    def _first(self, number: int, node: Node, pixels: Pixels) -> int:
        """From a picture of few channels: lines are folded, so that a row of lanes holds those of several."""
        b, cluster = self.builder, self.plan.of[number]
        value, low, _, fill = self.plan.source(node.inputs[0])
        weights = self.graph.constants[self.graph.nodes[node.inputs[1]].attributes["key"]]
        kernel, (down, step) = weights.shape, node.attributes["stride"]
        first, last = self.plan.window(number, cluster)
        wide = (last - first) * kernel[2]
        times = max(1, min(self.lanes // (wide * down), -(-kernel[0] // down)))
        groups = -(-kernel[0] // (times * down))
        lines = node.type.shape[1]
        folded = self._folded(
            value, low, fill, (first, last), step * cluster.period, self.blocks(number), down, times * down,
            lines + (groups - 1) * times, node.place,
        )  # fmt: skip
        operands, rows = [], []
        for group in range(groups):
            operands.append(b.narrow(folded, 2, group * times, group * times + lines))
            for line in range(group * times * down, (group + 1) * times * down):
                taps = weights[line] if line < kernel[0] else np.zeros_like(weights[0])
                rows.append(_band(taps, range(first, last), [step * o - low[1] for o in pixels]))
        return self._product(b.concatenate(operands, 3), np.concatenate(rows), node)

    def _folded(
        self,
        value: int,
        low: tuple[int, int],
        fill: float,
        window: tuple[int, int],
        stride: int,
        blocks: int,
        down: int,
        fold: int,
        lines: int,
        place: str,
    ) -> int:
        """(pictures, blocks, lines, fold · window · channels): `fold` lines of a window, from every `down`-th on."""
        b = self.builder
        x = self.plain(value)
        b.place = place
        count, height, length, channels = b.shape(x)
        first, last = window
        above, below = low[0], max(0, down * (lines - 1) + fold - low[0] - height)
        left, right = max(0, -first), max(0, stride * (blocks - 1) + last - length)
        # Padding comes after lines are rows, so that it stays one piece on each side.
        rows = b.reshape(x, (count, height, length * channels))
        rows = b.pad(rows, (0, above, left * channels), (0, below, right * channels), fill)
        made = []
        for block in range(blocks):
            start = (stride * block + first + left) * channels
            lanes = b.narrow(rows, 2, start, start + (last - first) * channels)
            parts = [b.narrow(lanes, 1, j, j + down * (lines - 1) + 1, down) for j in range(fold)]
            joined = b.concatenate(parts, 2)
            made.append(b.reshape(joined, (count, 1, lines, fold * (last - first) * channels)))
        return b.concatenate(made, 1)

    def _pool(self, number: int, node: Node, pixels: Pixels) -> int:
        b, cluster = self.builder, self.plan.of[number]
        value, low, _, fill = self.plan.source(node.inputs[0])
        fill = float(np.clip(fill, -128, 127))
        (down, step), window = node.attributes["stride"], node.attributes["window"]
        period, blocks = step * cluster.period, self.blocks(number)
        found = []
        for tap in range(window[1]):
            wanted = tuple(step * o + tap - low[1] for o in pixels)
            x = self.part(value, wanted)
            b.place = node.place
            if min(wanted) < 0 or max(wanted) >= period:
                x = b.select(self._inside(wanted, period, blocks, b.shape(x)), x, b.like(fill, x))
            found.append(x)
        across = _largest(b, found)
        lines = [self._taken(across, 2, line - low[0], down, node.type.shape[1], fill) for line in range(window[0])]
        return _largest(b, lines)

    def _inside(self, pixels: Pixels, period: int, blocks: int, shape: tuple[int, ...]) -> int:
        """1 where a lane's pixel is inside the line, 0 where it lies before the first or after the last."""
        b, channels = self.builder, shape[3] // len(pixels)
        where = np.arange(blocks)[:, None] * period + np.array(pixels)
        lanes = np.repeat((where >= 0) & (where < blocks * period), channels, axis=1).astype(np.int8)
        runs, start = [], 0
        for block in range(1, blocks + 1):
            if block == blocks or (lanes[block] != lanes[start]).any():
                row = b.constant(lanes[start].reshape(1, 1, 1, -1), "i8")
                runs.append(b.broadcast(row, (shape[0], block - start, *shape[2:])))
                start = block
        return b.concatenate(runs, 1)


def _largest(builder: Builder, values: list[int]) -> int:
    while len(values) > 1:
        pairs = [builder.binary("max", a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def _band(weights: np.ndarray, pixels: Sequence[int], starts: Sequence[int]) -> np.ndarray:
    """(kernel, C, O) → (pixels · C, results · O): a result's window starts at its pixel of `starts`."""
    kernel, channels, out = weights.shape
    made = np.zeros((len(pixels), channels, len(starts), out), weights.dtype)
    for i, pixel in enumerate(pixels):
        for j, start in enumerate(starts):
            if 0 <= pixel - start < kernel:
                made[i, :, j] = weights[pixel - start]
    return made.reshape(len(pixels) * channels, len(starts) * out)


__all__ = ["Cluster", "Plan", "Stripes", "stripe"]
