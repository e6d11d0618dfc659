"""Products in bf16 or int8 instead of f32.

bf16: both operands are rounded, sums stay f32. int8: activations q = round(x·s + z) with a scale per channel and a zero
point per tensor, weights with a scale per output channel; the scale per channel of the activations is divided out of
the weights ahead, in the balance of Xiao et al., SmoothQuant (2022). Sums are exact int32. What remains in f32 is
everything between products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import rebuild

Array = NDArray[Any]
Run = Callable[[Graph, Mapping[str, Array]], Mapping[str, Array]]
"""Runs a graph on inputs: the oracle, or a faster target with the same results."""

SAMPLED = 1 << 17
"""At most so many elements of an activation are kept for each calibration input."""

BALANCE = 0.5
"""How much of the difference between channels goes from activations into weights: 0 none, 1 all."""


class CalibrationError(ValueError):
    """Calibration inputs that say nothing: none, or with NaN or infinity on the way."""


@dataclass(slots=True)
class Activation:
    """What calibration saw of one operand: rows (M, C) of a sample, and each channel's lowest and highest value."""

    sample: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class LayerError:
    """RMS error of one quantised product on calibration data over the RMS of its exact result."""

    place: str
    op: str
    relative: float
    scale: float
    zero: int


@dataclass(slots=True)
class Report:
    """How a graph was quantised."""

    layers: list[LayerError] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Places of products that stayed in f32."""


def weight_of(graph: Graph, node: Node) -> int | None:
    """The constant weights (2-D, or a kernel) of a product that can be narrowed."""
    if node.op not in ("matmul", "convolution") or graph.nodes[node.inputs[0]].type.dtype != "f32":
        return None
    value = node.inputs[1]
    while graph.nodes[value].op == "broadcast":
        value = graph.nodes[value].inputs[0]
    weight = graph.nodes[value]
    if weight.op != "constant" or weight.type.dtype != "f32":
        return None
    matrix = -2 if node.op == "matmul" else 0
    if weight.type.shape[matrix:] != graph.nodes[node.inputs[1]].type.shape[matrix:]:
        return None  # one number, row or tap that is repeated is no matrix and no kernel
    if node.op == "matmul":
        return value if weight.type.size == weight.type.shape[-1] * weight.type.shape[-2] else None
    return value if node.attributes["groups"] == 1 else None


def to_bf16(graph: Graph) -> Graph:
    """Products with constant weights in bf16; where K is odd (no instruction takes it) they stay."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        weight = weight_of(graph, node)
        if weight is None or graph.nodes[node.inputs[0]].type.shape[-1] % 2:
            return None
        b = builder.constant(graph.constants[graph.nodes[weight].attributes["key"]], "bf16")
        a = builder.cast(operands[0], "bf16")
        return _product(builder, node, a, b)

    return rebuild(graph, change)


def _product(builder: Builder, node: Node, a: int, b: int) -> int:
    if node.op == "matmul":
        shape = builder.shape(a)
        return builder.matmul(a, builder.spread(b, (*shape[:-2], *builder.shape(b)[-2:])))
    return builder.add("convolution", (a, b), **node.attributes)


# -- calibration ----------------------------------------------------------------------------------------------------


def calibrate(graph: Graph, samples: Sequence[Mapping[str, Array]], run: Run) -> dict[int, Activation]:
    """Runs `samples` and looks at the first operand of every product that can be quantised.

    A graph that is quantised already has none. Raises CalibrationError without samples, or where an activation is not
    finite.
    """
    watched = sorted({node.inputs[0] for node in graph.nodes if weight_of(graph, node) is not None})
    if watched and not samples:
        raise CalibrationError("int8 needs at least one calibration input")
    looking = Graph(graph.nodes, tuple((f"v{value}", value) for value in watched), (), graph.constants)
    found: dict[int, list[Array]] = {value: [] for value in watched}
    low: dict[int, Array] = {}
    high: dict[int, Array] = {}
    for sample in samples:
        seen = run(looking, sample)
        for value in watched:
            data = np.asarray(seen[f"v{value}"], np.float32)
            if not np.isfinite(data).all():
                place = next((n.place for n in graph.nodes if n.inputs[:1] == (value,)), "")
                raise CalibrationError(f"calibration gives values that are not finite before {place or 'a product'}")
            rows = data.reshape(-1, data.shape[-1])
            low[value] = np.minimum(low.get(value, 0.0), rows.min(axis=0))
            high[value] = np.maximum(high.get(value, 0.0), rows.max(axis=0))
            found[value].append(thinned(rows, max(64, SAMPLED // rows.shape[1])))
    return {v: Activation(np.concatenate(found[v]), low[v], high[v]) for v in watched}


def thinned(rows: Array, count: int) -> Array:
    """At most `count` rows, the same each time, in no pattern: every n-th would follow the columns of a picture."""
    if len(rows) <= count:
        return rows
    chosen = np.random.Generator(np.random.Philox(key=len(rows))).choice(len(rows), count, replace=False)
    return np.asarray(rows[np.sort(chosen)])


@dataclass(frozen=True, slots=True)
class _Scale:
    """q = round(x·factors + zero)."""

    factors: Array  # (C,)
    zero: int


def _choose(activation: Activation, weights: Sequence[Array]) -> _Scale:
    """Scales that make the squared error of the products small, by a search over clippings.

    `weights` are (K, N) of every product that reads the activation, K running over its channels (taps joined to N).
    """
    spread = np.maximum(np.maximum(activation.high, -activation.low), 1e-8)
    strength = np.maximum(np.max([np.abs(w).max(axis=1) for w in weights], axis=0), 1e-8)
    best: tuple[float, _Scale] | None = None
    rows = thinned(activation.sample, 512)
    joined = np.concatenate([w[:, :: max(1, w.shape[1] // 64)] for w in weights], axis=1)
    exact = rows @ joined
    for balance in (0.0, BALANCE, 0.75):
        divisor = spread**balance / strength ** (1.0 - balance) if balance else np.ones_like(spread)
        divisor = np.clip(divisor / np.exp(np.mean(np.log(divisor))), 1e-3, 1e3)
        even = rows / divisor
        low, high = float((activation.low / divisor).min()), float((activation.high / divisor).max())
        one_sided = -low < 0.4 * high or high < -0.4 * low
        narrowed = joined * divisor[:, None]
        peak = np.abs(narrowed).max(axis=0)
        step = np.maximum(peak, 1e-12) / 127.0
        rounded = np.rint(narrowed / step) * step
        for clip in (1.0, 0.9, 0.8, 0.7, 0.6):
            if one_sided:
                unit = max((high - low) * clip / 255.0, 1e-12)
                zero = int(np.clip(np.rint(-128.0 - low * clip / unit), -128, 127))
            else:
                unit, zero = max(max(high, -low) * clip / 127.0, 1e-12), 0
            q = np.clip(np.rint(even / unit + zero), -128, 127)
            error = float(np.square(((q - zero) * unit) @ rounded - exact).mean())
            if best is None or error < best[0]:
                best = error, _Scale((1.0 / (divisor * unit)).astype(np.float32), zero)
    assert best is not None
    return best[1]


def _rows_of(graph: Graph, node: Node, weight: int) -> Array:
    """Weights (K, N) with K the channels of the activation; a kernel's taps join N."""
    data = graph.constants[graph.nodes[weight].attributes["key"]]
    data = data.reshape(-1, *data.shape[-2:])
    return np.moveaxis(data, 1, 0).reshape(data.shape[1], -1)


def quantise(
    graph: Graph,
    activations: Mapping[int, Activation],
    keep: Callable[[Node], bool] = lambda node: False,
) -> tuple[Graph, Report]:
    """Products with constant weights in int8, but those for which `keep` says no. Also tells each layer's error."""
    report = Report()
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if weight_of(graph, node) is not None and not keep(node):
            readers.setdefault(node.inputs[0], []).append(node)
        elif weight_of(graph, node) is not None:
            report.kept.append(node.place)
    scales: dict[int, _Scale] = {}
    for value, nodes in readers.items():
        weights = [_rows_of(graph, node, _known(weight_of(graph, node))) for node in nodes]
        scales[value] = _choose(activations[value], weights)

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.inputs[:1] and node.inputs[0] in scales and node in readers[node.inputs[0]]:
            scale, weight = scales[node.inputs[0]], _known(weight_of(graph, node))
            data = graph.constants[graph.nodes[weight].attributes["key"]]
            even = data / scale.factors[:, None]
            axes = tuple(range(data.ndim - 1))
            steps = np.maximum(np.abs(even).max(axis=axes), 1e-30) / 127.0
            whole = np.clip(np.rint(even / steps), -127, 127).astype(np.int8)
            report.layers.append(_error(graph, node, activations[node.inputs[0]], scale, data, whole, steps))
            q = narrow(builder, operands[0], scale.factors, scale.zero)
            padded = _padded(builder, node, q, scale.zero)
            product = _product(builder, padded[1], padded[0], builder.constant(whole, "i8"))
            result = builder.cast(product, "f32")
            shape = builder.shape(result)
            result = builder.binary("mul", result, builder.spread(builder.constant(steps, "f32"), shape))
            if scale.zero:
                undo = -scale.zero * whole.astype(np.int64).sum(axis=axes) * steps
                result = builder.binary("add", result, builder.spread(builder.constant(undo, "f32"), shape))
            return result
        return None

    return combine(rebuild(graph, change)), report


def _known(value: int | None) -> int:
    assert value is not None
    return value


def _padded(builder: Builder, node: Node, q: int, zero: int) -> tuple[int, Node]:
    """A convolution's padding made explicit where zero is not stored as 0."""
    if node.op != "convolution" or zero == 0 or not any(n for pair in node.attributes["padding"] for n in pair):
        return q, node
    low = (0, *(a for a, _ in node.attributes["padding"]), 0)
    high = (0, *(b for _, b in node.attributes["padding"]), 0)
    none = tuple((0, 0) for _ in node.attributes["padding"])
    attributes = {**node.attributes, "padding": none}
    return builder.pad(q, low, high, float(zero)), Node(node.op, node.inputs, node.type, attributes, node.place)


def narrow(builder: Builder, x: int, factors: Array, zero: int) -> int:
    """round(x·factors + zero) as i8, made before concatenations along the channels so that parts are written narrow."""
    node = builder.nodes[x]
    rank = len(node.type.shape)
    if node.op == "concatenate" and node.attributes["axis"] == rank - 1:
        parts, at = [], 0
        for i in node.inputs:
            count = builder.shape(i)[-1]
            parts.append(narrow(builder, i, factors[at : at + count], zero))
            at += count
        return builder.concatenate(parts, rank - 1)
    scaled = builder.binary("mul", x, builder.spread(builder.constant(factors, "f32"), node.type.shape))
    if zero:
        scaled = builder.binary("add", scaled, builder.like(float(zero), scaled))
    return builder.cast(scaled, "i8")


def _error(
    graph: Graph, node: Node, activation: Activation, scale: _Scale, data: Array, whole: Array, steps: Array
) -> LayerError:
    """On the sampled rows, as if each tap of a kernel were a matrix of its own."""
    rows = thinned(activation.sample, 128)
    tap = data.reshape(-1, *data.shape[-2:])
    middle, thin = len(tap) // 2, slice(None, None, max(1, data.shape[-1] // 256))
    exact = rows @ tap[middle][:, thin].astype(np.float32)
    q = np.clip(np.rint(rows * scale.factors + scale.zero), -128, 127)
    narrowed = whole.reshape(tap.shape)[middle][:, thin].astype(np.float32)
    made = ((q - scale.zero) @ narrowed) * steps[thin].astype(np.float32)
    rms = float(np.sqrt(np.square(exact).mean()))
    error = float(np.sqrt(np.square(made - exact).mean()))
    return LayerError(node.place, node.op, error / max(rms, 1e-30), float(1.0 / np.median(scale.factors)), scale.zero)


def combine(graph: Graph) -> Graph:
    """(x·c)·d as x·(c·d) and (x + c) + d as x + (c + d) for constants c and d. Rounds once less."""

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        if node.op != "binary" or node.attributes["function"] not in ("add", "mul") or node.type.dtype != "f32":
            return None
        function = node.attributes["function"]
        inner, outer = operands
        second = _vector(builder, outer)
        if second is None or builder.nodes[inner].op != "binary":
            return None
        if builder.nodes[inner].attributes["function"] != function:
            return None
        x, first = builder.nodes[inner].inputs
        known = _vector(builder, first)
        if known is None:
            return None
        both = known.astype(np.float64) + second if function == "add" else known.astype(np.float64) * second
        return builder.binary(function, x, builder.spread(builder.constant(both, "f32"), node.type.shape))

    return rebuild(graph, change)


def _vector(builder: Builder, value: int) -> Array | None:
    """Data of a small constant under broadcasts and reshapes that only add axes."""
    node = builder.nodes[value]
    if node.op == "broadcast":
        return _vector(builder, node.inputs[0])
    if node.op == "reshape":
        inner = _vector(builder, node.inputs[0])
        if inner is None or inner.size not in (1, node.type.size):
            return None
        return inner.reshape((1,) * len(node.type.shape) if inner.size == 1 else node.type.shape)
    if node.op == "constant" and node.type.dtype == "f32":
        return builder.constants[node.attributes["key"]]
    return None
