"""Attention kernels against NumPy in f64, at every machine level, precision and awkward length."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from math import prod

import llvmlite.ir as ir
import numpy as np
import pytest

from elsewhere.compiler.targets.cpu import jit
from elsewhere.compiler.targets.cpu.kernels.attention import Attention, emit_attention, scratch_bytes, units
from elsewhere.compiler.targets.cpu.kernels.attention_plan import plan
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe
from elsewhere.compiler.targets.reference_attention import (
    attention_exact,
    attention_int8,
    causal_bias,
    chunk_lengths,
)

AVAILABLE = LEVELS[LEVELS.index(best_level()) :]
PRECISIONS = ("f32", "bf16", "i8")
LIMITS = {"f32": 1e-6, "bf16": 6e-3, "i8": 3e-2}
"""Largest root mean square error, relative to the result's root mean square."""


def contiguous(*extents: int) -> tuple[int, ...]:
    """Strides of an array of (*extents, width), without the width's own 1."""
    return tuple(prod(extents[index + 1 :]) for index in range(len(extents) - 1))


def dense(
    batch: Sequence[int], queries: int, segments: Sequence[int], width: int, value_width: int, **more: object
) -> Attention:
    """An attention over contiguous arrays (*batch, position, width)."""
    batch = tuple(batch)
    spec = Attention(
        batch=batch,
        queries=queries,
        segments=tuple(segments),
        width=width,
        value_width=value_width,
        scale=width**-0.5,
        query_strides=contiguous(*batch, queries, width),
        key_strides=tuple(contiguous(*batch, keys, width) for keys in segments),
        value_strides=tuple(contiguous(*batch, keys, value_width) for keys in segments),
        out_strides=contiguous(*batch, queries, value_width),
    )
    return replace(spec, **more)  # type: ignore[arg-type]


@cache
def compiled(spec: Attention, level: str) -> tuple[Library, ctypes._CFuncPtr]:
    machine = describe(level)
    module = ir.Module("attention")
    emit_attention(module, "attend", spec, machine)
    optimised = jit.optimise(str(module), machine)
    assert "call" not in [
        line.split()[0] for line in jit.target_machine(machine).emit_assembly(optimised).splitlines()
        if line.split() and "@PLT" in line
    ]  # fmt: skip
    library = Library(jit.to_object(optimised, machine), machine)
    pointers = 1 + 2 * len(spec.segments) + (spec.bias_strides is not None) + 2
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * pointers)
    return library, kind(library.address("attend"))


def attend(
    spec: Attention,
    level: str,
    q: np.ndarray,
    k: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    bias: np.ndarray | None = None,
    splits: Sequence[int] = (),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Runs the kernel, in ranges between `splits`, each with scratch memory of its own full of NaN."""
    machine = describe(level)
    function = compiled(spec, level)[1]
    kinds = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16}
    if out is None:
        out = np.zeros((*spec.batch, spec.queries, spec.value_width), kinds[spec.out_type])
    inputs = [q, *k, *values, *([] if bias is None else [bias])]
    borders = [0, *splits, units(spec, machine)]
    for begin, end in pairwise(borders):
        size = scratch_bytes(spec, machine)
        room = np.full(size + 64 + 64, 255, np.uint8)
        start = -room.ctypes.data % 64
        function(begin, end, *[one.ctypes.data for one in inputs], out.ctypes.data, room.ctypes.data + start)
        assert np.all(room[start + size :] == 255), "wrote past its scratch memory"
    return out


@dataclass
class Inputs:
    q: np.ndarray
    k: list[np.ndarray]
    v: list[np.ndarray]


def random_inputs(spec: Attention, seed: int = 0) -> Inputs:
    generator = np.random.default_rng(seed)

    def draw(positions: int, width: int, spread: float) -> np.ndarray:
        return (spread * generator.standard_normal((*spec.batch, positions, width))).astype(np.float32)

    return Inputs(
        draw(spec.queries, spec.width, 1.5),
        [draw(keys, spec.width, 1.0) for keys in spec.segments],
        [draw(keys, spec.value_width, 1.0) for keys in spec.segments],
    )


def flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[-2:])


def expected(spec: Attention, inputs: Inputs, bias: np.ndarray | None = None, *, int8: bool = False) -> np.ndarray:
    full = np.zeros((*spec.batch, spec.queries, spec.keys)) if bias is None else bias.astype(np.float64)
    if spec.causal:
        full = full + causal_bias(spec.queries, spec.keys, spec.offset)
    model = attention_int8 if int8 else attention_exact
    k, values = np.concatenate(inputs.k, axis=-2), np.concatenate(inputs.v, axis=-2)
    result = model(flat(inputs.q), flat(k), flat(values), scale=spec.scale, bias_BMS=flat(full))
    return result.reshape(*spec.batch, spec.queries, spec.value_width)


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference relative to that of `wanted`."""
    assert np.all(np.isfinite(got))
    return float(np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)))


SHAPES = {
    "small": dense((3,), 16, (24,), 32, 32),
    "two segments": dense((2, 2), 40, (70, 21), 64, 64),
    "odd everything": dense((2,), 37, (53, 3, 18), 20, 28),
    "one key": dense((2,), 19, (1,), 16, 16),
    "many chunks": dense((1,), 33, (700, 257), 64, 48),
    "width 6": dense((2,), 32, (40,), 6, 10),
    "width 5": dense((2,), 18, (30, 3), 5, 7),
    "causal": dense((2,), 75, (75,), 32, 32, causal=True),
    "causal with past": dense((2,), 50, (300, 50), 32, 32, causal=True, offset=300),
    "causal in chunks": dense((1,), 600, (600,), 32, 32, causal=True),
    "parts": dense((2,), 130, (64,), 32, 32, parts=3),
    "few": dense((7,), 2, (11,), 32, 32),
    "few odd": dense((3,), 3, (9, 30), 20, 17, causal=True, offset=36, parts=2),
    "one query": dense((2,), 1, (300,), 64, 64),
}


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_against_exact(name: str, precision: str, level: str) -> None:
    spec = replace(SHAPES[name], precision=precision)
    inputs = random_inputs(spec)
    got = attend(spec, level, inputs.q, inputs.k, inputs.v)
    measured = error(got, expected(spec, inputs))
    print(f"{name}, {precision}, {level}: {measured:.2e}")
    assert measured <= LIMITS[precision]
    if precision == "i8" and not plan(spec, describe(level)).few:
        assert error(got, expected(spec, inputs, int8=True)) < 2e-3


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("strides", ["full", "per key", "per query", "transposed"])
@pytest.mark.parametrize("queries", [37, 2])
def test_bias(queries: int, strides: str, precision: str, level: str) -> None:
    batch, segments = (2, 3), (60, 9)
    keys = sum(segments)
    shape, steps = {
        "full": ((2, 3, queries, keys), (3 * queries * keys, queries * keys, keys, 1)),
        "per key": ((2, 1, 1, keys), (keys, 0, 0, 1)),
        "per query": ((1, 3, queries, 1), (0, queries, 1, 0)),
        "transposed": ((2, 3, keys, queries), (3 * queries * keys, queries * keys, 1, queries)),
    }[strides]
    spec = dense(batch, queries, segments, 32, 24, precision=precision, bias_strides=steps)
    bias = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    if strides == "per key":
        bias[..., 40:] = -np.inf
    inputs = random_inputs(spec)
    got = attend(spec, level, inputs.q, inputs.k, inputs.v, bias)
    spread = bias.swapaxes(-1, -2) if strides == "transposed" else bias
    full = np.broadcast_to(spread, (*batch, queries, keys))
    assert error(got, expected(spec, inputs, full)) <= LIMITS[precision]


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["two segments", "odd everything", "parts", "few odd"])
def test_same_bits_for_any_split(name: str, precision: str, level: str) -> None:
    spec = replace(SHAPES[name], precision=precision)
    inputs = random_inputs(spec)
    whole = attend(spec, level, inputs.q, inputs.k, inputs.v)
    count = units(spec, describe(level))
    for splits in [(1,), (0, count - 1), range(1, count)]:
        np.testing.assert_array_equal(attend(spec, level, inputs.q, inputs.k, inputs.v, splits=splits), whole)


def bfloat(values: np.ndarray) -> np.ndarray:
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widen(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("queries", [40, 2])
def test_memory_types(queries: int, precision: str, level: str) -> None:
    spec = dense(
        (2,), queries, (33, 8), 36, 20, precision=precision, query_type="bf16", key_type="bf16", value_type="f16",
        out_type="bf16",
    )  # fmt: skip
    inputs = random_inputs(spec)
    q, k = bfloat(inputs.q), [bfloat(one) for one in inputs.k]
    values = [one.astype(np.float16) for one in inputs.v]
    got = widen(attend(spec, level, q, k, values))
    rounded = Inputs(widen(q), [widen(one) for one in k], [one.astype(np.float32) for one in values])
    assert error(got, expected(spec, rounded)) <= max(3e-3, LIMITS[precision])


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("queries", [21, 2])
def test_strides_and_shared_keys(queries: int, precision: str, level: str) -> None:
    """Heads interleaved in one row of queries; two heads share keys; nothing outside the results is touched."""
    groups, shared, width, keys = 2, 2, 16, 30
    heads = groups * shared
    generator = np.random.default_rng(3)
    q = generator.standard_normal((queries, heads, width)).astype(np.float32)
    kv = generator.standard_normal((keys, 2, groups, width)).astype(np.float32)
    spec = Attention(
        batch=(groups, shared),
        queries=queries,
        segments=(keys,),
        width=width,
        value_width=width,
        scale=0.3,
        query_strides=(shared * width, width, heads * width),
        key_strides=((width, 0, 2 * groups * width),),
        value_strides=((width, 0, 2 * groups * width),),
        out_strides=(shared * width, width, (heads + 1) * width),
        precision=precision,
    )
    out = np.full((queries, heads + 1, width), 7, np.float32)
    attend(spec, level, q, [kv], [kv[:, 1:]], out=out)
    assert np.all(out[:, heads] == 7)
    k = kv[:, 0].transpose(1, 0, 2).repeat(shared, axis=0)
    values = kv[:, 1].transpose(1, 0, 2).repeat(shared, axis=0)
    wanted = attention_exact(q.transpose(1, 0, 2), k, values, scale=0.3)
    assert error(out[:, :heads].transpose(1, 0, 2), wanted) <= LIMITS[precision]


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("queries", [20, 2])
def test_extreme_scores(queries: int, precision: str, level: str) -> None:
    """Scores of ±1e4 overflow nothing; a query without visible keys gets zeros; zero inputs give the mean."""
    spec = dense((1,), queries, (24,), 32, 32, precision=precision, bias_strides=(0, 24, 1))
    inputs = random_inputs(spec)
    inputs.q *= 1e4
    bias = np.zeros((1, queries, 24), np.float32)
    bias[:, 0] = -np.inf
    got = attend(spec, level, inputs.q, inputs.k, inputs.v, bias)
    assert np.all(np.isfinite(got)) and not np.any(got[:, 0])
    inputs.q[:] = 0
    got = attend(spec, level, inputs.q, inputs.k, inputs.v, bias)
    mean = inputs.v[0].mean(axis=1, keepdims=True)
    assert error(got[:, 1:], np.broadcast_to(mean, got[:, 1:].shape)) <= LIMITS[precision]


def test_chunks() -> None:
    for keys in range(1, 1500):
        lengths = chunk_lengths(keys)
        assert sum(lengths) == keys and max(lengths) <= 256 and min(lengths) > 0
        assert all(length % 8 == 0 for length in lengths[:-1]) and len(set(lengths[:-1])) <= 1
    assert list(accumulate(chunk_lengths(1280))) == [256, 512, 768, 1024, 1280]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "i4"}, "precision must be one of"),
        ({"out_type": "i8"}, "out_type must be one of"),
        ({"query_strides": (1,)}, "query_strides must have 2 strides"),
        ({"key_strides": ((1, 1), (1, 1))}, "key_strides must have one entry per segment"),
        ({"bias_strides": (1,)}, "bias_strides must have 3 strides"),
        ({"queries": 0}, "at least 1"),
        ({"parts": 0}, "parts must be at least 1"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHAPES["small"], **change)  # type: ignore[arg-type]
