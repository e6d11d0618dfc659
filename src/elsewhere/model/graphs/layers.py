"""Layers on channels-last values, with the weights of a file under their names.

Shapes: K rows and N columns of a weight, C O channels in and out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.builder import Builder

Weights = Mapping[str, NDArray[np.float32]]
"""Arrays by name, as training stored them: linear weights (N, K), convolution weights (O, C, …)."""


Shapes = dict[str, tuple[int, ...]]
"""Shapes of weights by name."""


def linear_shapes(name: str, inner: int, outer: int) -> Shapes:
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def convolution_shapes(name: str, inner: int, outer: int, size: int = 3) -> Shapes:
    return {f"{name}.weight": (outer, inner, size, size), f"{name}.bias": (outer,)}


def residual_shapes(name: str, width: int) -> Shapes:
    return convolution_shapes(f"{name}.first", width, width) | convolution_shapes(f"{name}.second", width, width)


class Layers:
    """Appends layers to `builder`; a layer's `name` is its place in the model and the prefix of its weights."""

    def __init__(self, builder: Builder, weights: Weights) -> None:
        self.builder, self.weights = builder, weights

    def constant(self, data: NDArray[np.float32]) -> int:
        return self.builder.constant(np.ascontiguousarray(data), "f32")

    def linear(self, name: str, x: int, columns: NDArray[np.intp] | slice = slice(None)) -> int:
        """x (…, K) → (…, N), or those of its columns that are wanted, in that order."""
        self.builder.place = name
        weight, bias = self.weights[f"{name}.weight"][columns], self.weights[f"{name}.bias"][columns]
        return forms.linear(self.builder, x, self.constant(weight.T), self.constant(bias))

    def product(self, name: str, x: int) -> int:
        """x (…, K) → (…, N) by weights without a bias."""
        self.builder.place = name
        return forms.linear(self.builder, x, self.constant(self.weights[f"{name}.weight"].T), None)

    def convolution(self, name: str, x: int, *, stride: int = 1, order: NDArray[np.intp] | None = None) -> int:
        """x (1, H, W, C) → (1, H/stride, W/stride, O), padded to keep the size; `order` permutes the O channels."""
        b = self.builder
        b.place = name
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if order is not None:
            weight, bias = weight[order], bias[order]
        around = weight.shape[-1] // 2
        kernel = self.constant(weight.transpose(2, 3, 1, 0))
        y = b.convolution(x, kernel, stride=(stride, stride), padding=((around, around),) * 2)
        return b.binary("add", y, forms.along_last(b, self.constant(bias), y))

    def silu(self, x: int) -> int:
        return forms.silu(self.builder, x)

    def add(self, x: int, y: int) -> int:
        return self.builder.binary("add", x, y)

    def residual(self, name: str, x: int) -> int:
        """x + second(silu(first(silu(x))))."""
        inner = self.convolution(f"{name}.first", self.silu(x))
        return self.add(self.convolution(f"{name}.second", self.silu(inner)), x)

    def doubled(self, x: int) -> int:
        """(1, H, W, C) → (1, 2H, 2W, C), each place repeated."""
        b = self.builder
        return forms.channels_last(b, forms.enlarge(b, forms.channels_first(b, x), (2, 2)))
