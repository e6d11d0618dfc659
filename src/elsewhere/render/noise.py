"""Hashes, value noise and a polynomial sine: the plain numbers that patterns are made of.

Everything here is scalar code for CPU and CUDA kernels alike. Integer arithmetic is done in 64 bits and
masked, so that every target gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import njit

device: Callable[..., Any] = njit(nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)
"""Decorator of a function that kernels call: no allocation, no strings, gathers only."""
inlined: Callable[..., Any] = njit(
    nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True, no_cpython_wrapper=True, forceinline=True
)
"""The same for functions that take many arrays: a call would spend longer on its arguments than on its work. They
can be called from kernels only, which saves the compiler a tenth of its time."""

MASK = 0xFFFFFFFF
UNIT = 1.0 / 4294967296.0
TWO_PI = 2.0 * math.pi
WHOLE = 1.5 * 2.0**52


@inlined
def mix_bits(h: int) -> int:
    """A 32-bit avalanche of `h`, as a non-negative int64."""
    h = h & MASK
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & MASK
    h = ((h ^ (h >> 15)) * 0x846CA68B) & MASK
    return h ^ (h >> 16)


@inlined
def lattice(x: int, y: int, z: int) -> float:
    """A uniform number 0…1 of an integer lattice point."""
    h = (x * 374761393 + y * 668265263 + z * 1274126177) & MASK
    h = ((h ^ (h >> 13)) * 1103515245) & MASK
    return (h ^ (h >> 16)) * UNIT


@inlined
def pick(i: int, j: int) -> float:
    """A uniform number 0…1 of a pair of integers."""
    h = (i * 374761393 + j * 668265263 + 1013904223) & MASK
    h = ((h ^ (h >> 13)) * 1103515245) & MASK
    return (h ^ (h >> 16)) * UNIT


@device
def noise2(x: float, y: float) -> float:
    """Value noise 0…1 with a lattice of one unit."""
    fx = math.floor(x)
    fy = math.floor(y)
    i = int(fx)
    j = int(fy)
    u = x - fx
    v = y - fy
    u = u * u * (3.0 - 2.0 * u)
    v = v * v * (3.0 - 2.0 * v)
    a = pick(i, j)
    b = pick(i + 1, j)
    c = pick(i, j + 1)
    d = pick(i + 1, j + 1)
    a += (b - a) * u
    c += (d - c) * u
    return a + (c - a) * v


@device
def noise3(x: float, y: float, z: float) -> float:
    """Value noise 0…1 with a lattice of one unit."""
    fx = math.floor(x)
    fy = math.floor(y)
    fz = math.floor(z)
    i = int(fx)
    j = int(fy)
    k = int(fz)
    u = x - fx
    v = y - fy
    w = z - fz
    u = u * u * (3.0 - 2.0 * u)
    v = v * v * (3.0 - 2.0 * v)
    w = w * w * (3.0 - 2.0 * w)
    a = lattice(i, j, k)
    a += (lattice(i + 1, j, k) - a) * u
    b = lattice(i, j + 1, k)
    b += (lattice(i + 1, j + 1, k) - b) * u
    c = lattice(i, j, k + 1)
    c += (lattice(i + 1, j, k + 1) - c) * u
    d = lattice(i, j + 1, k + 1)
    d += (lattice(i + 1, j + 1, k + 1) - d) * u
    a += (b - a) * v
    c += (d - c) * v
    return a + (c - a) * w


@device
def fbm2(x: float, y: float, octaves: int) -> float:
    """Sum of octaves of `noise2`, each rotated and half as strong; 0…1."""
    total = 0.0
    weight = 0.5
    for _ in range(octaves):
        total += weight * noise2(x, y)
        weight *= 0.5
        x, y = 1.62 * x + 1.18 * y + 3.7, -1.18 * x + 1.62 * y + 1.3
    return total / (1.0 - 2.0 * weight)


@device
def fbm3(x: float, y: float, z: float, octaves: int) -> float:
    """Sum of octaves of `noise3`; 0…1."""
    total = 0.0
    weight = 0.5
    for _ in range(octaves):
        total += weight * noise3(x, y, z)
        weight *= 0.5
        x = 2.03 * x + 5.1
        y = 2.01 * y + 1.7
        z = 1.99 * z + 9.2
    return total / (1.0 - 2.0 * weight)


@inlined
def sine(x: float) -> float:
    """sin(x) to 4e-6: cheaper than the C library and the same bits on every machine."""
    # Adding and taking away 1.5·2^52 rounds to a whole number, also in vector instructions.
    r = x - (x * (1.0 / TWO_PI) + WHOLE - WHOLE) * TWO_PI
    if r > 0.5 * math.pi:
        r = math.pi - r
    elif r < -0.5 * math.pi:
        r = -math.pi - r
    q = r * r
    return r * (1.0 + q * (-1.0 / 6.0 + q * (1.0 / 120.0 + q * (-1.0 / 5040.0 + q * (1.0 / 362880.0)))))


@inlined
def smoothstep(low: float, high: float, x: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    t = (x - low) / (high - low)
    t = min(1.0, max(0.0, t))
    return t * t * (3.0 - 2.0 * t)
