"""Well spread sample points, keyed by pixel, sample, purpose and seed: nothing is drawn from a stream.

A table holds scrambled (0, 2)-sequences; a hash picks a sequence and shifts it on the torus.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.noise import device, mix_bits

PATTERNS = 64
LENGTH = 64


def _owen(bits: NDArray[np.int64], depth: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Nested uniform scramble of integers below 2**depth: each bit flips by a coin of the bits above it."""
    result = np.zeros_like(bits)
    for level in range(depth):
        coins = random.integers(0, 2, 1 << level)
        bit = bits >> (depth - 1 - level) & 1
        result = result << 1 | (bit ^ coins[bits >> (depth - level)])
    return result


def _reverse(bits: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    result = np.zeros_like(bits)
    for level in range(depth):
        result = result << 1 | (bits >> level & 1)
    return result


def _second(index: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Second dimension of Sobol's sequence."""
    result = np.zeros_like(index)
    direction = 1 << (depth - 1)
    for level in range(depth):
        result ^= np.where(index >> level & 1, direction, 0)
        direction ^= direction >> 1
    return result


@functools.cache
def point_table() -> NDArray[np.float32]:
    """(PATTERNS, LENGTH, 2) points 0…1; every power of two of them from the start is stratified."""
    depth = 6
    random = np.random.Generator(np.random.Philox(key=(6, 0x5A)))
    table = np.empty((PATTERNS, LENGTH, 2), np.float32)
    for pattern in range(PATTERNS):
        order = _owen(np.arange(LENGTH), depth, random)
        jitter = random.random((2, LENGTH))
        table[pattern, :, 0] = (_owen(_reverse(order, depth), depth, random) + jitter[0]) / LENGTH
        table[pattern, :, 1] = (_owen(_second(order, depth), depth, random) + jitter[1]) / LENGTH
    return np.minimum(table, np.float32(0.9999999))


@device
def pair(points, key, purpose, index):  # type: ignore[no-untyped-def]
    """Two numbers 0…1 of sample `index` for a pixel's `key` and a purpose."""
    h = mix_bits(key + purpose * 0x9E3779B1 + (index // LENGTH) * 0x85EBCA6B)
    pattern = h & (PATTERNS - 1)
    k = index & (LENGTH - 1)
    u = points[pattern, k, 0] + (h >> 16) * (1.0 / 65536.0)
    v = points[pattern, k, 1] + (mix_bits(h) & 0xFFFF) * (1.0 / 65536.0)
    return u - math.floor(u), v - math.floor(v)


@device
def basis(nx, ny, nz):  # type: ignore[no-untyped-def]
    """Two unit vectors that make a right-handed frame with n (Duff and others, 2017)."""
    sign = 1.0 if nz >= 0.0 else -1.0
    a = -1.0 / (sign + nz)
    b = nx * ny * a
    return 1.0 + sign * nx * nx * a, sign * b, -sign * nx, b, sign + ny * ny * a, -ny


@device
def around(nx, ny, nz, x, y, z):  # type: ignore[no-untyped-def]
    """Vector (x, y, z) of the frame whose third axis is n, in the world."""
    ax, ay, az, bx, by, bz = basis(nx, ny, nz)
    return x * ax + y * bx + z * nx, x * ay + y * by + z * ny, x * az + y * bz + z * nz


@device
def cosine_direction(nx, ny, nz, u, v):  # type: ignore[no-untyped-def]
    """A direction about n with density cosine / π."""
    r = math.sqrt(u)
    a = 6.283185307179586 * v
    return around(nx, ny, nz, r * math.cos(a), r * math.sin(a), math.sqrt(max(0.0, 1.0 - u)))


@device
def disc_direction(nx, ny, nz, radius, u, v):  # type: ignore[no-untyped-def]
    """A direction in the cone of angular `radius` about n, even over its disc."""
    r = math.tan(radius) * math.sqrt(u)
    a = 6.283185307179586 * v
    s = 1.0 / math.sqrt(1.0 + r * r)
    return around(nx, ny, nz, s * r * math.cos(a), s * r * math.sin(a), s)


@device
def facet_normal(nx, ny, nz, alpha, u, v):  # type: ignore[no-untyped-def]
    """A microfacet normal about n of the GGX distribution."""
    c2 = (1.0 - u) / (1.0 + (alpha * alpha - 1.0) * u)
    r = math.sqrt(max(0.0, 1.0 - c2))
    a = 6.283185307179586 * v
    return around(nx, ny, nz, r * math.cos(a), r * math.sin(a), math.sqrt(c2))


@device
def pixel_key(seed, width, i, j):  # type: ignore[no-untyped-def]
    """The key of a pixel for `pair`."""
    return mix_bits(mix_bits(seed + 0x51ED27) + j * width + i)
