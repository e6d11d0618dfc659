"""Elementary functions against f64, over their whole range and at every machine level that this processor has."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import llvmlite.ir as ir
import numpy as np
import pytest

from elsewhere.compiler.targets.cpu import jit
from elsewhere.compiler.targets.cpu.kernels import mathematics
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, Machine, best_level, describe

AVAILABLE = LEVELS[LEVELS.index(best_level()) :]
I64 = ir.IntType(64)
POINTER = ir.PointerType()

Emit = Callable[..., ir.Value]


def program(emit: Emit, arguments: int, lanes: int, machine: Machine) -> str:
    """A module whose function `apply(count, inputs.., output)` maps `emit` over arrays, `lanes` at a time."""
    module = ir.Module("test")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] + [POINTER] * (arguments + 1)), "apply")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    kind = mathematics.F32 if lanes == 1 else ir.VectorType(mathematics.F32, lanes)
    loop, done = function.append_basic_block("loop"), function.append_basic_block("done")
    entry = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(I64)
    index.add_incoming(I64(0), entry)
    count, *pointers = function.args
    places = [builder.gep(pointer, [index], source_etype=mathematics.F32) for pointer in pointers]
    inputs = [builder.load(place, typ=kind, align=4) for place in places[:-1]]
    builder.store(emit(builder, *inputs, machine), places[-1], align=4)
    following = builder.add(index, I64(lanes))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    builder.ret_void()
    return str(module)


@cache
def compiled(name: str, level: str, lanes: int) -> tuple[Library, Callable[..., np.ndarray], str]:
    machine = describe(level)
    binary = name in mathematics.BINARY
    emit: Emit = (mathematics.BINARY | mathematics.UNARY | SOFTMAX)[name]
    text = program(emit, 2 if binary else 1, lanes, machine)
    module = jit.optimise(text, machine)
    assembly = jit.target_machine(machine).emit_assembly(module)
    library = Library(jit.to_object(module, machine), machine)
    address = library.address("apply")
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (3 if binary else 2))(address)

    def apply(*inputs: np.ndarray) -> np.ndarray:
        padded = [np.concatenate([x, np.ones(-len(x) % lanes)]).astype(np.float32) for x in inputs]
        output = np.empty_like(padded[0])
        call(len(output), *[x.ctypes.data for x in padded], output.ctypes.data)
        return output[: len(inputs[0])]

    return library, apply, assembly


SOFTMAX: dict[str, Emit] = {"exp2_softmax": mathematics.exp2_softmax, "exp_softmax": mathematics.exp_softmax}

exact_erf = np.vectorize(math.erf)
EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "cos": np.cos,
    "erf": exact_erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "gelu": lambda x: x * (1 + exact_erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "log": np.log,
    "log2": np.log2,
    "negate": np.negative,
    "reciprocal": np.reciprocal,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.round,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sign": np.sign,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}

# Largest error in units in the last place; absent: absolute error instead.
ULPS = {
    "abs": 0, "erf": 4, "exp": 2, "exp2": 2, "floor": 0, "log": 2, "log2": 3, "negate": 0, "reciprocal": 0.5, "relu": 0,
    "round": 0, "rsqrt": 2, "sigmoid": 3, "sign": 0, "silu": 4, "sqrt": 0.5, "tanh": 4,
}  # fmt: skip
RELATIVE_TO_INPUT = {"gelu": 1.5e-7, "gelu_tanh": 3e-7}
ABSOLUTE = {"cos": 1.2e-7, "sin": 1.2e-7}


def points(name: str) -> np.ndarray:
    """Inputs over the range of a function: even steps, and every order of magnitude."""
    low, high = {
        "exp": (-104.0, 88.7), "exp2": (-150.0, 127.99), "sigmoid": (-87.0, 104.0), "silu": (-87.0, 104.0),
        "log": (1e-3, 10.0), "log2": (1e-3, 10.0), "sqrt": (0.0, 10.0), "rsqrt": (1e-3, 10.0), "sin": (-1e4, 1e4),
        "cos": (-1e4, 1e4), "reciprocal": (1e-3, 10.0),
    }.get(name, (-12.0, 12.0))  # fmt: skip
    even = np.linspace(low, high, 200_001)
    powers = 2.0 ** np.linspace(-126, math.log2(high), 100_000)
    both = [even, powers] if low >= 0 else [even, powers, -powers[powers <= -low]]
    wide = [2.0 ** np.linspace(-148, 127, 200_000)] if name in ("log", "log2", "sqrt") else []
    return np.concatenate(both + wide).astype(np.float32)


def in_ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    spacing = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return np.abs(got.astype(np.float64) - exact) / spacing


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("name", sorted(mathematics.UNARY))
def test_error(name: str, level: str) -> None:
    x = points(name)
    got = compiled(name, level, describe(level).lanes(32))[1](x)
    exact = EXACT[name](x.astype(np.float64))
    if name in ULPS:
        errors, limit = in_ulps(got, exact), ULPS[name]
    else:
        scale = np.maximum(np.abs(x), 1e-30) if name in RELATIVE_TO_INPUT else 1.0
        errors, limit = np.abs(got - exact) / scale, (RELATIVE_TO_INPUT | ABSOLUTE)[name]
    worst = int(np.argmax(errors))
    print(f"{name} {level}: {errors[worst]:.3g} at {x[worst]!r}")
    assert errors[worst] <= limit, (x[worst], got[worst], exact[worst])


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("name", sorted(mathematics.UNARY | mathematics.BINARY | SOFTMAX))
def test_no_calls_and_any_lanes(name: str, level: str) -> None:
    x = np.linspace(-3, 3, 60).astype(np.float32)
    inputs = [x, x[::-1].copy()] if name in mathematics.BINARY else [x]
    results = []
    for lanes in (1, 3, 4, 8, 16):
        _, apply, assembly = compiled(name, level, lanes)
        assert "call" not in assembly
        results.append(apply(*inputs))
    for result in results[1:]:
        np.testing.assert_array_equal(result.view(np.uint32), results[0].view(np.uint32))


inf, nan = math.inf, math.nan
SPECIAL = {
    "abs": [(-inf, inf), (nan, nan), (-0.0, 0.0)],
    "cos": [(inf, nan), (nan, nan), (0.0, 1.0)],
    "erf": [(inf, 1.0), (-inf, -1.0), (nan, nan), (0.0, 0.0), (1e-37, 1.128379e-37)],
    "exp": [(inf, inf), (-inf, 0.0), (nan, nan), (88.73, inf), (-103.0, 1.401298e-45), (-104.0, 0.0), (0.0, 1.0)],
    "exp2": [(inf, inf), (-inf, 0.0), (nan, nan), (128.0, inf), (-149.0, 2.0**-149), (10.0, 1024.0)],
    "floor": [(-0.5, -1.0), (inf, inf), (nan, nan), (1e20, 1e20)],
    "gelu": [(inf, inf), (nan, nan), (0.0, 0.0)],
    "gelu_tanh": [(inf, inf), (nan, nan), (0.0, 0.0), (1e30, 1e30), (-1e30, -0.0)],
    "log": [(0.0, -inf), (inf, inf), (-1.0, nan), (-inf, nan), (nan, nan), (1.0, 0.0), (-0.0, -inf)],
    "log2": [(0.0, -inf), (inf, inf), (-1.0, nan), (nan, nan), (8.0, 3.0), (2.0**-149, -149.0)],
    "relu": [(nan, nan), (-inf, 0.0), (inf, inf)],
    "reciprocal": [(0.0, inf), (-0.0, -inf), (inf, 0.0), (nan, nan)],
    "round": [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0), (inf, inf), (nan, nan), (8388609.0, 8388609.0)],
    "rsqrt": [(0.0, inf), (inf, 0.0), (-1.0, nan), (4.0, 0.5)],
    "sigmoid": [(inf, 1.0), (-inf, 0.0), (nan, nan), (0.0, 0.5)],
    "sign": [(inf, 1.0), (-inf, -1.0), (nan, nan), (0.0, 0.0), (-1e-40, -1.0)],
    "silu": [(inf, inf), (nan, nan), (0.0, 0.0)],
    "sin": [(inf, nan), (nan, nan), (0.0, 0.0)],
    "sqrt": [(inf, inf), (-1.0, nan), (0.0, 0.0), (2.0**-148, 2.0**-74)],
    "tanh": [(inf, 1.0), (-inf, -1.0), (nan, nan), (-0.0, -0.0), (1e-40, 1e-40)],
}


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_values(name: str, level: str) -> None:
    x, expected = np.array(SPECIAL[name], np.float32).T
    got = compiled(name, level, 4)[1](x)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(expected)]))


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("name", ["exp_softmax", "exp2_softmax"])
def test_softmax_exponential(name: str, level: str) -> None:
    exact = np.exp if name == "exp_softmax" else np.exp2
    x = np.linspace(-86.0, 0, 300_001).astype(np.float32)
    apply = compiled(name, level, describe(level).lanes(32))[1]
    got, wanted = apply(x), exact(x.astype(np.float64))
    bound = 2.5e-7 if name == "exp2_softmax" else 1e-7 * (2 + np.abs(x))
    assert np.all(np.abs(got / wanted - 1) <= bound)
    np.testing.assert_array_equal(apply(np.array([-126.0, -1e4, -3e38, -inf, 0.0])), [0, 0, 0, 0, 1])


@pytest.mark.parametrize("level", AVAILABLE)
def test_power(level: str) -> None:
    apply = compiled("pow", level, 4)[1]
    generator = np.random.default_rng(0)
    x = np.exp2(generator.uniform(-20, 20, 100_000)).astype(np.float32)
    y = generator.uniform(-6, 6, x.size).astype(np.float32)
    exact = x.astype(np.float64) ** y
    normal = (exact > 1e-37) & (exact < 1e38)
    error = np.abs(apply(x, y) / exact - 1)[normal]
    assert np.all(error <= 1.5e-7 * (2 + np.abs(y * np.log2(x)))[normal])
    cases = [(-2, 3, -8), (-2, 2, 4), (-2, 0.5, nan), (0, 0, 1), (0, 2, 0), (0, -1, inf), (nan, 0, 1), (3, 2, 9)]
    a, b, c = np.array(cases, np.float32).T
    np.testing.assert_allclose(apply(a, b), c, rtol=1e-6)


@pytest.mark.parametrize("level", AVAILABLE)
def test_minimum_and_maximum_pass_nan_on(level: str) -> None:
    x, y = np.array([1, 2, nan, 1, nan]), np.array([2, 1, 1, nan, nan])
    np.testing.assert_array_equal(compiled("maximum", level, 4)[1](x, y), np.maximum(x, y))
    np.testing.assert_array_equal(compiled("minimum", level, 4)[1](x, y), np.minimum(x, y))
