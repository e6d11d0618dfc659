"""What units do to rows, for both simulators: (rows, lanes) in, (rows, lanes) out. Knows nothing of time.

The vector unit calculates as the oracle does: in f64, rounded once to the result's format, function by function. The
matrix unit sums i8 products exactly in i32; f16 products, which are exact in f32, are added in f32 in the order of K,
from zero, and then added to the accumulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Node
from elsewhere.compiler.ir.operations import BINARY
from elsewhere.compiler.ir.types import Tensor
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.tsp.program import FUNCTIONS

Array = NDArray[Any]
NUMPY = {"i8": np.int8, "f16": np.float16, "i32": np.int32, "f32": np.float32}


def number(bits: int, dtype: str) -> Any:
    """A number out of an instruction."""
    if dtype in ("i8", "i32"):
        return NUMPY[dtype](bits)
    return NUMPY[dtype](np.array(bits, np.int32).view(np.float32))


def alu(function: int, dtype: str, operands: Sequence[Array]) -> Array:
    """One operation of the vector unit on rows."""
    name = FUNCTIONS[function]
    shape = operands[0].shape
    if name == "move":
        return operands[0]
    op = name if name in ("select", "cast") else ("binary" if name in BINARY else "unary")
    attributes = {"dtype": dtype} if op == "cast" else {"function": name}
    with np.errstate(all="ignore"):
        return reference.evaluate(Node(op, (), Tensor(dtype, shape), attributes), *operands)


def shift(rows: Array, distance: int, first: int, end: int, cyclic: int) -> Array:
    """Lanes move by `distance`; lanes outside [first, end) are 0. Cyclic: lanes that leave come back."""
    if cyclic:
        return np.roll(rows, distance, axis=-1)
    made = np.zeros_like(rows)
    low, high = max(first, distance, 0), min(end, rows.shape[-1] + distance, rows.shape[-1])
    if low < high:
        made[..., low:high] = rows[..., low - distance : high - distance]
    return made


def permute(rows: Array, lanes: Array) -> Array:
    """Lane i becomes lane `lanes[i]` of the source, or 0."""
    return np.where(lanes >= 0, rows[..., np.maximum(lanes, 0)], np.zeros((), rows.dtype))


def transpose(rows: Array, per: int = 16) -> Array:
    """Each 16 rows by 16 lanes of a superlane change places."""
    count, lanes = rows.shape
    blocks = rows.reshape(count // per, per, lanes // per, per)
    return np.ascontiguousarray(blocks.transpose(0, 3, 2, 1)).reshape(count, lanes)


def multiply(rows: Array, weights: Array) -> Array:
    """(rows, K)·(K, lanes): i8 to i32, f16 to f32."""
    if rows.dtype == np.int8:
        # Sums of at most 1,024 products of i8 are below 2^24, where f32 is exact.
        return (rows.astype(np.float32) @ weights.astype(np.float32)).astype(np.int32)
    made = np.zeros((len(rows), weights.shape[1]), np.float32)
    _kernel()(rows.astype(np.float32), weights.astype(np.float32), made)
    return made


@cache
def _kernel() -> Any:
    """Sums in the order of K, compiled; products of f16 are exact, so a fused multiplication changes nothing."""
    import numba

    @numba.njit(cache=True, boundscheck=False)
    def product(a: Array, b: Array, out: Array) -> None:
        for i in range(a.shape[0]):
            for k in range(a.shape[1]):
                x = a[i, k]
                for n in range(b.shape[1]):
                    out[i, n] += x * b[k, n]

    return product


def accumulate(held: Array, fresh: Array) -> Array:
    """i32 wraps around; f32 rounds to nearest."""
    with np.errstate(over="ignore", invalid="ignore"):
        return held + fresh
