"""Networks whose speed on a real card was published, as graphs: shapes from their papers, weights from a seed.

Activations between layers are int8, as in the published runs; a residual is added in f32 and narrowed again. Values of
weights do not change a cycle.
"""

from __future__ import annotations

import math

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph


class _Layers:
    def __init__(self) -> None:
        self.b = Builder()
        self.random = np.random.Generator(np.random.Philox(0))

    def weights(self, *shape: int) -> int:
        return self.b.constant(self.random.integers(-127, 128, shape, np.int8), "i8")

    def scaled(self, product: int, inner: int, unit: float = 1 / 40.0) -> int:
        """i32 sums as f32, with a scale and a bias for each channel, in units of 40·`unit` to one int8 step."""
        b = self.b
        wide = b.cast(product, "f32")
        shape, channels = b.shape(wide), b.shape(wide)[-1]
        scale = b.constant(self.random.uniform(0.5, 1.5, channels) * unit / (73.0 * math.sqrt(inner)), "f32")
        bias = b.constant(self.random.uniform(-0.1, 0.1, channels), "f32")
        return b.binary("add", b.binary("mul", wide, b.spread(scale, shape)), b.spread(bias, shape))

    def narrow(self, x: int, unit: float = 40.0) -> int:
        return self.b.cast(self.b.binary("mul", x, self.b.like(unit, x)), "i8")

    def wide(self, q: int, unit: float = 40.0) -> int:
        x = self.b.cast(q, "f32")
        return self.b.binary("mul", x, self.b.like(1.0 / unit, x))

    def whole(self, x: int) -> int:
        """Narrow what is in int8's own units already."""
        return self.b.cast(x, "i8")

    def relu(self, x: int) -> int:
        return self.b.binary("max", x, self.b.like(0.0, x))

    def convolution(self, q: int, out: int, kernel: int, stride: int) -> int:
        channels = self.b.shape(q)[-1]
        pad = kernel // 2
        product = self.b.convolution(
            q,
            self.weights(kernel, kernel, channels, out),
            stride=(stride, stride),
            padding=((pad, pad), (pad, pad)),
        )
        return self.scaled(product, kernel * kernel * channels, 1.0)

    def linear(self, q: int, out: int) -> int:
        inner = self.b.shape(q)[-1]
        return self.scaled(self.b.matmul(q, self.weights(inner, out)), inner)


def resnet_50(size: int = 224) -> Graph:
    """He et al., Deep Residual Learning (2015), with the stride in the 3×3 convolution. x (1, size, size, 3) int8."""
    net = _Layers()
    b = net.b
    q = b.input("x", "i8", (1, size, size, 3))
    b.place = "stem"
    q = net.whole(net.relu(net.convolution(q, 64, 7, 2)))
    q = b.add("pool", (q,), function="max", window=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))
    for stage, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for block in range(count):
            b.place = f"stage{stage}.{block}"
            q = _bottleneck(net, q, width, 2 if stage and not block else 1)
    b.place = "head"
    x = net.wide(q)
    shape = b.shape(x)
    x = b.reduce("sum", x, (1, 2))
    x = b.reshape(b.binary("mul", x, b.like(1.0 / (shape[1] * shape[2]), x)), (1, shape[-1]))
    b.output("y", net.linear(net.narrow(x), 1000))
    return b.graph()


def _bottleneck(net: _Layers, q: int, width: int, stride: int) -> int:
    b, place = net.b, net.b.place
    channels = b.shape(q)[-1]
    b.place = f"{place}.reduce"
    inner = net.whole(net.relu(net.convolution(q, width, 1, 1)))
    b.place = f"{place}.filter"
    inner = net.whole(net.relu(net.convolution(inner, width, 3, stride)))
    b.place = f"{place}.shortcut"
    shortcut = q if channels == 4 * width and stride == 1 else net.whole(net.convolution(q, 4 * width, 1, stride))
    b.place = f"{place}.expand"
    x = b.binary("add", net.convolution(inner, 4 * width, 1, 1), b.cast(shortcut, "f32"))
    return net.whole(net.relu(x))


def bert(layers: int = 12, width: int = 768, heads: int = 12, hidden: int = 3072, length: int = 128) -> Graph:
    """Devlin et al., BERT (2018), from embedded tokens x (length, width): int8 products with weights, f16 attention."""
    net = _Layers()
    b = net.b
    x = b.input("x", "f32", (length, width))
    for layer in range(layers):
        b.place = f"layer{layer}.query_key_value"
        q = net.narrow(x, 30.0)
        joint = net.linear(q, 3 * width)
        parts = [_heads(b, b.narrow(joint, 1, i * width, (i + 1) * width), heads) for i in range(3)]
        mixed = _attention(b, f"layer{layer}", *parts)
        merged = b.reshape(b.transpose(mixed, (1, 0, 2)), (length, width))
        merged = net.narrow(merged, 60.0)
        b.place = f"layer{layer}.output"
        x = b.binary("add", x, net.linear(merged, width))
        b.place = f"layer{layer}.norm1"
        x = _norm(net, x)
        b.place = f"layer{layer}.hidden"
        inner = net.linear(net.narrow(x, 30.0), hidden)
        curve = b.unary("erf", b.binary("mul", inner, b.like(0.5**0.5, inner)))
        inner = b.binary("mul", b.binary("mul", inner, b.like(0.5, inner)), b.binary("add", curve, b.like(1.0, curve)))
        inner = net.narrow(inner)
        b.place = f"layer{layer}.contract"
        x = b.binary("add", x, net.linear(inner, width))
        b.place = f"layer{layer}.norm2"
        x = _norm(net, x)
    b.output("y", x)
    return b.graph()


def _heads(b: Builder, x: int, heads: int) -> int:
    rows, width = b.shape(x)
    half = b.cast(x, "f16")
    return b.transpose(b.reshape(half, (rows, heads, width // heads)), (1, 0, 2))


def _attention(b: Builder, place: str, q: int, k: int, v: int) -> int:
    b.place = f"{place}.scores"
    scores = b.matmul(q, b.transpose(k, (0, 2, 1)))
    scores = b.binary("mul", scores, b.like(b.shape(q)[-1] ** -0.5, scores))
    shape = b.shape(scores)
    b.place = f"{place}.softmax"
    raised = b.unary("exp", b.binary("sub", scores, b.spread(b.reduce("max", scores, (2,)), shape)))
    inverse = b.unary("reciprocal", b.reduce("sum", raised, (2,)))
    shares = b.cast(b.binary("mul", raised, b.spread(inverse, shape)), "f16")
    b.place = f"{place}.values"
    return b.matmul(shares, v)


def _norm(net: _Layers, x: int) -> int:
    b, shape = net.b, net.b.shape(x)

    def mean(value: int) -> int:
        total = b.reduce("sum", value, (1,))
        return b.binary("mul", total, b.like(1.0 / shape[1], total))

    centred = b.binary("sub", x, b.spread(mean(x), shape))
    variance = mean(b.binary("mul", centred, centred))
    scale = b.unary("rsqrt", b.binary("add", variance, b.like(1e-5, variance)))
    gain = b.constant(net.random.uniform(0.8, 1.2, shape[1]), "f32")
    shift = b.constant(net.random.uniform(-0.1, 0.1, shape[1]), "f32")
    result = b.binary("mul", b.binary("mul", centred, b.spread(scale, shape)), b.spread(gain, shape))
    return b.binary("add", result, b.spread(shift, shape))


def gemm(rows: int, inner: int, columns: int, dtype: str = "f16") -> Graph:
    """(rows × inner)·(inner × columns) with constant weights; results leave as f16 (i8 products: as i32)."""
    b = Builder()
    random = np.random.Generator(np.random.Philox(1))
    x = b.input("x", dtype, (rows, inner))
    if dtype == "i8":
        weights = b.constant(random.integers(-127, 128, (inner, columns), np.int8), "i8")
        b.output("y", b.matmul(x, weights))
    else:
        weights = b.constant(random.standard_normal((inner, columns), np.float32), "f16")
        b.output("y", b.cast(b.matmul(x, weights), "f16"))
    return b.graph()
