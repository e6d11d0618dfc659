"""Depthwise convolutions of every precision at every level against NumPy."""

import ctypes
from itertools import pairwise
from math import prod

import llvmlite.ir as ir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.targets.cpu.jit import optimise, to_object
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.depthwise import (
    Depthwise,
    depthwise_units,
    emit_depthwise,
    pack_depthwise,
)
from elsewhere.compiler.targets.cpu.kernels.packing import to_bfloat
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe

HERE = LEVELS[LEVELS.index(best_level()) :]


def plane(precision, height, width, channels, kernel=3, stride=1, images=1):
    row = ((width - 1) * stride + kernel) * channels
    return Depthwise(
        precision=precision,
        rows=(images, height, width),
        a_strides=(((height - 1) * stride + kernel) * row, row * stride, channels * stride),
        channels=channels,
        taps=tuple(y * row + x * channels for y in range(kernel) for x in range(kernel)),
    )


def check(spec, level, seed):
    machine = describe(level)
    random = np.random.default_rng(seed)
    rows = np.zeros((), np.int64)
    for extent, stride in zip(spec.rows, spec.a_strides, strict=True):
        rows = rows[..., None] + np.arange(extent) * stride
    where = rows.reshape(-1, 1, 1) + np.array(spec.taps)[:, None] + np.arange(spec.channels)
    room, shape = int(where.max()) + 1, (len(spec.taps), spec.channels)
    if spec.precision == "i8":
        a, b = random.integers(0, 256, room).astype(np.uint8), random.integers(-128, 128, shape).astype(np.int8)
        exact = ((a.astype(np.int64) - 128)[where] * b).sum(axis=1)
    else:
        a, b = random.standard_normal(room).astype(np.float32), random.standard_normal(shape).astype(np.float32)
        left = a
        if spec.precision == "bf16":
            a = to_bfloat(a)
            left = (a.astype(np.uint32) << 16).view(np.float32)
        exact = (left.astype(np.float64)[where] * b).sum(axis=1)

    def epilogue(builder, vector, place):
        index = ir.Constant(v.I64, 0)
        for digit, extent in zip(place.rows, spec.rows, strict=True):
            index = builder.add(builder.mul(index, ir.Constant(v.I64, extent)), digit)
        index = builder.add(builder.mul(index, ir.Constant(v.I64, spec.channels)), place.column)
        v.store_plain(builder, vector, place.extra[0], index, place.valid)

    module = ir.Module()
    emit_depthwise(module, "depthwise", spec, machine, epilogue, 1)
    library = Library(to_object(optimise(str(module), machine), machine), machine)
    packed = pack_depthwise(b, spec, machine)
    arrays = [a, packed.data] + ([] if packed.compensation is None else [packed.compensation])
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * (len(arrays) + 1))
    function = kind(library.address("depthwise"))
    count = depthwise_units(spec)
    results = []
    for borders in ((0, count), (0, count // 3, count)):
        result = np.full(prod(spec.rows) * spec.channels + 32, 7, np.int32 if spec.precision == "i8" else np.float32)
        for begin, end in pairwise(borders):
            function(begin, end, *[array.ctypes.data for array in (*arrays, result)])
        assert (result[-32:] == 7).all()
        results.append(result[:-32].reshape(-1, spec.channels))
    assert results[0].tobytes() == results[1].tobytes()
    if spec.precision == "i8":
        np.testing.assert_array_equal(results[0], exact)
    else:
        np.testing.assert_allclose(results[0], exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("precision", ["f32", "bf16", "i8"])
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 11),
    channels=st.integers(1, 70),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 2),
    images=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_any_shape(level, precision, height, width, channels, kernel, stride, images, seed):
    check(plane(precision, height, width, channels, kernel, stride, images), level, seed)


def test_bad_specifications_are_named():
    with pytest.raises(ValueError, match="precision"):
        plane("f64", 1, 1, 1)
    with pytest.raises(ValueError, match="at least 1"):
        plane("f32", 1, 1, 0)
    with pytest.raises(ValueError, match="a_strides"):
        Depthwise(precision="f32", rows=(1, 2), a_strides=(1,), channels=1, taps=(0,))
    spec = plane("i8", 2, 2, 4)
    with pytest.raises(ValueError, match="taps, C"):
        pack_depthwise(np.zeros((4, 4), np.int8), spec, describe())
    with pytest.raises(ValueError, match="int8"):
        pack_depthwise(np.zeros((9, 4), np.float32), spec, describe())
