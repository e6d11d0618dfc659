"""Small networks that use every unit of the chip, with inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph

Case = tuple[Graph, dict[str, NDArray[Any]]]


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def int8_layer() -> Case:
    """Three segments of K, two tiles of columns, and a region on the way out."""
    r, b = random(), Builder(place="layer")
    x = b.input("x", "i8", (100, 700))
    y = b.cast(b.matmul(x, b.constant(r.integers(-127, 128, (700, 400)), "i8")), "f32")
    y = b.binary("max", b.binary("mul", y, b.like(0.01, y)), b.like(0.0, y))
    b.output("y", y)
    b.output("q", b.cast(y, "i8"))
    return b.graph(), {"x": r.integers(-127, 128, (100, 700)).astype(np.int8)}


def float_layer() -> Case:
    r, b = random(1), Builder(place="layer")
    x = b.input("x", "f32", (70, 500))
    b.output("y", b.matmul(x, b.constant(r.standard_normal((500, 330)), "f32")))
    return b.graph(), {"x": r.standard_normal((70, 500), np.float32)}


def normalised() -> Case:
    """Sums and maxima along lanes that fill no whole tile."""
    r, b = random(2), Builder(place="norm")
    x = b.input("x", "f32", (40, 350))
    total, top = b.reduce("sum", x, (1,)), b.reduce("max", x, (1,))
    y = b.binary("mul", b.binary("sub", x, b.spread(top, (40, 350))), b.spread(b.unary("abs", total), (40, 350)))
    b.output("y", y)
    return b.graph(), {"x": r.standard_normal((40, 350), np.float32)}


def moved() -> Case:
    """Heads split and turned, rows joined, slices: shifts, permutations and transposers."""
    r, b = random(3), Builder(place="moves")
    x = b.input("x", "f32", (2, 48, 4, 16))
    b.output("a", b.unary("neg", b.transpose(x, (0, 2, 3, 1))))
    y = b.reshape(x, (2, 24, 128))
    b.output("b", b.unary("exp", b.narrow(y, 2, 3, 120)))
    return b.graph(), {"x": r.standard_normal((2, 48, 4, 16), np.float32)}


def convolved() -> Case:
    """A convolution of few channels with padding and stride, a pool, a sum over pixels."""
    r, b = random(4), Builder(place="convolution")
    x = b.input("x", "f32", (1, 14, 14, 24))
    w = b.constant(r.standard_normal((3, 3, 24, 40)), "f32")
    y = b.unary("sigmoid", b.convolution(x, w, stride=(2, 2), padding=((1, 1), (1, 1))))
    y = b.add("pool", (y,), function="max", window=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))
    b.output("y", b.reduce("sum", y, (1, 2)))
    return b.graph(), {"x": r.standard_normal((1, 14, 14, 24), np.float32)}


def looked_up() -> Case:
    """A table longer than a bank, and a cache that is updated at a position from outside."""
    r, b = random(5), Builder(place="table")
    index = b.input("i", "i32", (9,))
    table = b.constant(r.standard_normal((5000, 48)), "f32")
    b.output("y", b.add("gather", (table, index)))
    state = b.input("s", "f32", (2, 30, 64))
    b.state("s", b.add("update", (state, b.input("p", "f32", (2, 4, 64)), b.input("at", "i32", ())), axis=1))
    given = {
        "i": r.integers(0, 5000, 9).astype(np.int32),
        "s": r.standard_normal((2, 30, 64), np.float32),
        "p": r.standard_normal((2, 4, 64), np.float32),
        "at": np.array(29, np.int32),
    }
    return b.graph(), given


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (int8_layer, float_layer, normalised, moved, convolved, looked_up)
}
