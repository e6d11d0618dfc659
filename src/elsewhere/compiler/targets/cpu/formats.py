"""How numbers of each format lie in memory while a network runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16, "i8": np.uint8, "i32": np.int32}
"""NumPy's name for how each format lies in memory."""


def to_memory(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Constants as kernels read them: bf16 as its upper 16 bits, int8 biased by 128."""
    if dtype == "bf16":
        return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "i8":
        return np.ascontiguousarray(values, np.int8).view(np.uint8) ^ np.uint8(0x80)
    return np.ascontiguousarray(values)


def from_memory(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The inverse of `to_memory`."""
    if dtype == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if dtype == "i8":
        return (values ^ np.uint8(0x80)).view(np.int8)
    return values
