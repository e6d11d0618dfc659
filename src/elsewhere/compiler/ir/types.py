"""Static types of values: a number format and a shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {"f32": 4, "bf16": 2, "f16": 2, "i8": 1, "i32": 4}
"""Number formats and their size in bytes. Truth values are i8 with 0 and 1; indices are i32."""

FLOATS = ("f32", "bf16", "f16")

_NUMPY = {"f32": np.float32, "bf16": np.float32, "f16": np.float16, "i8": np.int8, "i32": np.int32}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Type of a value."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * DTYPES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def numpy_dtype(dtype: str) -> Any:
    """The NumPy format in which the reference holds `dtype`. bf16 is held as f32 whose low 16 bits are zero."""
    return _NUMPY[dtype]


def round_bf16(values: NDArray[Any]) -> NDArray[np.float32]:
    """Nearest bf16, ties to even, held as f32. NaN stays NaN."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(values, np.float32, order="C")  # ascontiguousarray would add an axis to a scalar
    bits = narrow.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32)).astype(np.float32)


def convert(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The `cast` of the language: floats round to nearest even; float → integer rounds to even and saturates.

    Integer → i8 saturates too. NaN becomes 0 as i32 and the lowest number as i8, as processors do it.
    """
    if dtype == "bf16":
        return round_bf16(values)
    if dtype in ("f32", "f16"):
        with np.errstate(over="ignore"):
            return values.astype(_NUMPY[dtype])
    low, high = (-128, 127) if dtype == "i8" else (-(2**31), 2**31 - 1)
    if values.dtype.kind == "f":
        nan = low if dtype == "i8" else 0
        values = np.rint(np.nan_to_num(values.astype(np.float64), nan=nan, posinf=high, neginf=low))
    return np.clip(values, low, high).astype(_NUMPY[dtype])
