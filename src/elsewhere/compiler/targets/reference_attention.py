"""Attention in NumPy: exactly, and as the int8 kernels of the `cpu` target quantise it. The oracle for those kernels.

Shapes: B batch entries, M queries, S keys, E width, W value width.
"""

from __future__ import annotations

import numpy as np

CHUNK = 256
"""Most keys whose scores are kept at a time. Probabilities are quantised against the largest score so far, so the
int8 result depends on it."""

CHUNK_MULTIPLE = 8
"""Chunks, but for the last, have a multiple of this many keys, so that groups of four never straddle two."""

POWER_COEFFICIENTS = (1.0017247200012207, 0.6576364040374756, 0.33718937635421753)
"""Of the quadratic that stands for 2^r, 0 <= r <= 1, in int8 attention. Its error is 1.7e-3, less than the half unit in
255 that rounding costs."""


def chunk_lengths(keys: int) -> list[int]:
    """How `keys` keys are cut into chunks of nearly equal length."""
    count = -(-keys // CHUNK)
    length = -(-keys // (count * CHUNK_MULTIPLE)) * CHUNK_MULTIPLE
    return [min(length, keys - start) for start in range(0, keys, length)]


def causal_bias(queries: int, keys: int, offset: int) -> np.ndarray:
    """(M, S) f64: 0 where key position <= query position + offset, -infinity elsewhere."""
    visible = np.arange(keys)[None, :] <= np.arange(queries)[:, None] + offset
    return np.where(visible, 0.0, -np.inf)


def attention_exact(
    q_BME: np.ndarray, k_BSE: np.ndarray, v_BSW: np.ndarray, *, scale: float, bias_BMS: np.ndarray | None = None
) -> np.ndarray:
    """softmax(q·kᵀ·scale + bias)·v in f64. A query that no key is visible to gets zeros."""
    scores = np.einsum("bme,bse->bms", q_BME.astype(np.float64), k_BSE.astype(np.float64)) * scale
    if bias_BMS is not None:
        scores = scores + bias_BMS
    largest = np.maximum(scores.max(axis=-1, keepdims=True), -1e30)
    weights = np.exp(scores - largest)
    total = np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
    return np.einsum("bms,bsw->bmw", weights / total, v_BSW.astype(np.float64))


def quantise_symmetric(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(integers in [-127, 127] as f64, scales with `axis` kept): scale = max|value| / 127 along `axis`."""
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-30) / 127
    return np.round(values / scale), scale


def power_int8(exponent: np.ndarray) -> np.ndarray:
    """2^exponent by the quadratic that int8 kernels use; exponent <= 0."""
    whole = np.floor(np.maximum(exponent, -200.0))
    rest = np.maximum(exponent, -200.0) - whole
    constant, linear, quadratic = POWER_COEFFICIENTS
    return (constant + rest * (linear + rest * quadratic)) * np.exp2(whole)


def attention_int8(
    q_BME: np.ndarray, k_BSE: np.ndarray, v_BSW: np.ndarray, *, scale: float, bias_BMS: np.ndarray | None = None
) -> np.ndarray:
    """Attention as the int8 kernels do it, but for f32 rounding.

    Queries and keys are quantised per row, values per column over all keys. Keys come in chunks; in each,
    the largest score so far is what probabilities e^(score - largest) are relative to. They are rounded to
    0..255 (255 is probability 1); sums of them, and their products with the values, are integers; what was summed
    before is scaled down whenever the largest score grows.
    """
    q, q_scale = quantise_symmetric(q_BME.astype(np.float64), -1)
    k, k_scale = quantise_symmetric(k_BSE.astype(np.float64), -1)
    v, v_scale = quantise_symmetric(v_BSW.astype(np.float64), -2)
    scores = np.einsum("bme,bse->bms", q, k) * q_scale * k_scale.swapaxes(-1, -2) * scale
    if bias_BMS is not None:
        scores = scores + bias_BMS
    largest = np.full(scores.shape[:-1], -1e30)
    total = np.zeros_like(largest)
    result = np.zeros((*largest.shape, v.shape[-1]))
    start = 0
    for length in chunk_lengths(k.shape[-2]):
        part = scores[..., start : start + length]
        grown = np.maximum(largest, part.max(axis=-1))
        correction = np.exp(largest - grown)
        weights = np.round(255 * power_int8((part - grown[..., None]) / np.log(2)))
        total = total * correction + weights.sum(axis=-1)
        products = np.einsum("bms,bsw->bmw", weights, v[..., start : start + length, :])
        result = result * correction[..., None] + products
        largest = grown
        start += length
    return result * v_scale / np.maximum(total, 1e-30)[..., None]
