"""Loads and stores of every type at every level, against NumPy."""

import ctypes

import llvmlite.ir as ir
import numpy as np
import pytest

from elsewhere.compiler.targets.cpu.jit import optimise, to_object
from elsewhere.compiler.targets.cpu.kernels import vectors
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe

HERE = LEVELS[LEVELS.index(best_level()) :]
ROUND = [0.0, -0.0, 1.0, -1.5, 0.5, 1.5, 2.5, -2.5, 126.5, 127.5, 128.0, 1e9, -127.5, -128.5, -1e9, 3.14159]
TINY = [65504.0, 65519.0, 65520.0, 1e-5, 5.9e-8, 2.9e-8, 3e-8, 6.1e-5, 6.09e-5, 1.00390625, 1.01171875, 1e38]
NUMBERS = np.array([*ROUND, *TINY, np.inf, -np.inf, np.nan, 7.0], np.float32)


def stored_bits(numbers, dtype):
    """What each type's memory must hold for f32 `numbers`."""
    if dtype == "f32":
        return numbers.view(np.int32)
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return numbers.astype(np.float16).view(np.uint16)
    if dtype == "i8":
        clean = np.where(np.isnan(numbers), -128, np.clip(np.rint(numbers), -128, 127))
        return (clean + 128).astype(np.uint8)
    bits = numbers.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(numbers), bits >> 16 | 0x40, rounded).astype(np.uint16)


def loaded(bits, dtype):
    if dtype == "f32":
        return bits.view(np.float32)
    if dtype == "f16":
        return bits.view(np.float16).astype(np.float32)
    if dtype == "i8":
        return bits.astype(np.float32) - 128
    return (bits.astype(np.uint32) << 16).view(np.float32)


def converter(machine, source, target, lanes, valid):
    module = ir.Module()
    kind = ir.FunctionType(vectors.VOID, [vectors.POINTER] * 2)
    function = ir.Function(module, kind, "convert")
    builder = ir.IRBuilder(function.append_basic_block())
    value = vectors.load_vector(builder, machine, function.args[0], 0, source, lanes, valid)
    vectors.store_vector(builder, machine, value, function.args[1], 0, target, valid)
    builder.ret_void()
    library = Library(to_object(optimise(str(module), machine), machine), machine)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(library.address("convert"))
    return library, call


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "i8"])
@pytest.mark.parametrize(("lanes", "valid"), [(32, 32), (16, 13), (8, 8), (8, 3), (4, 1), (1, 1)])
def test_round_trip(level, dtype, lanes, valid):
    machine = describe(level)
    expected = stored_bits(NUMBERS, dtype)
    keep, store = converter(machine, "f32", dtype, lanes, valid)
    for start in range(0, len(NUMBERS) - valid + 1, valid):
        source = NUMBERS[start : start + valid].copy()
        target = np.full(lanes, 77, expected.dtype)
        store(source.ctypes.data, target.ctypes.data)
        wanted = expected[start : start + valid]
        nan = np.isnan(source) & (dtype == "f16")
        np.testing.assert_array_equal(target[:valid][~nan], wanted[~nan])
        assert np.isnan(target[:valid][nan].view(np.float16)).all() if nan.any() else True
        np.testing.assert_array_equal(target[valid:], 77)
    keep, load = converter(machine, dtype, "f32", lanes, valid)
    for start in range(0, len(NUMBERS) - valid + 1, valid):
        source = expected[start : start + valid].copy()
        target = np.full(lanes, 77, np.float32)
        load(source.ctypes.data, target.ctypes.data)
        np.testing.assert_array_equal(target[:valid], loaded(source, dtype))
        np.testing.assert_array_equal(target[valid:], 77)
    del keep


@pytest.mark.parametrize("level", HERE)
def test_every_half(level):
    """All 65,536 bit patterns of f16 widen to the same numbers as NumPy's."""
    machine = describe(level)
    keep, load = converter(machine, "f16", "f32", 16, 16)
    halves = np.arange(65536, dtype=np.uint16)
    got = np.empty(16, np.float32)
    for start in range(0, 65536, 16):
        source = halves[start : start + 16].copy()
        load(source.ctypes.data, got.ctypes.data)
        np.testing.assert_array_equal(got, source.view(np.float16).astype(np.float32))
    del keep


@pytest.mark.parametrize("level", HERE)
def test_int32_passes(level):
    keep, move = converter(describe(level), "i32", "i32", 8, 5)
    source, target = np.arange(-4, 4, dtype=np.int32), np.full(8, 9, np.int32)
    move(source.ctypes.data, target.ctypes.data)
    np.testing.assert_array_equal(target, [-4, -3, -2, -1, 0, 9, 9, 9])
    del keep
