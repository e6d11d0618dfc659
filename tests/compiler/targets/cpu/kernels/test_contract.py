"""Contractions of every precision at every level against NumPy: int8 exactly, and the same bits for any division."""

import ctypes
from dataclasses import replace
from itertools import pairwise
from math import prod

import llvmlite.binding as binding
import llvmlite.ir as ir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.targets.cpu.jit import optimise, to_object
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.contract import Contract, cost, emit_contract, split, units
from elsewhere.compiler.targets.cpu.kernels.packing import (
    Packed,
    compensation_count,
    emit_packing,
    pack,
    packed_bytes,
    packing_units,
    to_bfloat,
)
from elsewhere.compiler.targets.cpu.kernels.tiling import tile
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level, describe

HERE = {level: describe(level) for level in LEVELS[LEVELS.index(best_level()) :]}
if "avx512" in HERE:
    HERE["avx512 without dot products"] = replace(HERE["avx512"], dot_int8=False, dot_bf16=False)
if "avx2" in HERE and HERE["avx2"].dot_int8:
    HERE["avx2 without dot products"] = replace(HERE["avx2"], dot_int8=False)
every_machine = pytest.mark.parametrize("machine", HERE.values(), ids=HERE.keys())
every_precision = pytest.mark.parametrize("precision", ["f32", "bf16", "i8"])


def matrix(precision, rows, columns, depth, pitch=None):
    pitch = pitch or -(-depth // 4) * 4
    return Contract(precision=precision, rows=(rows,), a_strides=(pitch,), columns=columns, depth=depth)


def convolution(precision, height, width, channels, columns, kernel=3, stride=1, images=1, pitch=None):
    pitch = pitch or -(-channels // 4) * 4
    row, image = ((width - 1) * stride + kernel) * pitch, ((height - 1) * stride + kernel)
    return Contract(
        precision=precision,
        rows=(images, height, width),
        a_strides=(image * row, row * stride, pitch * stride),
        columns=columns,
        depth=channels,
        taps=tuple(y * row + x * pitch for y in range(kernel) for x in range(kernel)),
    )


def offsets(spec):
    """Element offset in a of each [batch, rows..., tap, k], flat in batch and in rows."""
    batch = np.zeros((), np.int64)
    for extent, stride in zip(spec.batch, spec.a_batch, strict=True):
        batch = batch[..., None] + np.arange(extent) * stride
    rows = np.zeros((), np.int64)
    for extent, stride in zip(spec.rows, spec.a_strides, strict=True):
        rows = rows[..., None] + np.arange(extent) * stride
    return batch.reshape(-1, 1, 1, 1) + rows.reshape(-1, 1, 1) + np.array(spec.taps)[:, None] + np.arange(spec.depth)


def matrices_of(spec):
    """Which packed matrix each batch entry uses."""
    index = np.zeros((), np.int64)
    for extent, stride in zip(spec.batch, spec.b_batch, strict=True):
        index = index[..., None] + np.arange(extent) * stride
    return index.ravel()


def operands(spec, seed=0):
    """(a as in memory, b, the exact product in float64 or int64 [batch, rows, N])."""
    random = np.random.default_rng(seed)
    where, which = offsets(spec), matrices_of(spec)
    room = int(where.max()) + 4
    shape = (int(which.max()) + 1, len(spec.taps), spec.depth, spec.columns)
    if spec.precision == "i8":
        a = random.integers(0, 256, room).astype(np.uint8)
        b = random.integers(-128, 128, shape).astype(np.int8)
        left, right = a.astype(np.float64) - 128, b.astype(np.float64)
    else:
        a = random.standard_normal(room).astype(np.float32)
        b = random.standard_normal(shape).astype(np.float32)
        if spec.precision == "bf16":
            a, b = to_bfloat(a), to_bfloat(b)
        left, right = (widen(x) if x.dtype == np.uint16 else x.astype(np.float64) for x in (a, b))
    flat = left[where].reshape(where.shape[0], where.shape[1], -1)
    return a, b, flat @ right.reshape(shape[0], -1, spec.columns)[which]


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def plain_epilogue(spec):
    """Stores accumulators as they are, [batch..., rows..., N] without gaps."""

    def epilogue(builder, vector, place):
        index = ir.Constant(v.I64, 0)
        for digit, extent in zip((*place.batch, *place.rows), (*spec.batch, *spec.rows), strict=True):
            index = builder.add(builder.mul(index, ir.Constant(v.I64, extent)), digit)
        index = builder.add(builder.mul(index, ir.Constant(v.I64, spec.columns)), place.column)
        assert vector.type.count == place.lanes
        v.store_plain(builder, vector, place.extra[0], index, place.valid)

    return epilogue


class Program:
    """One function compiled; call it with NumPy arrays as pointers."""

    def __init__(self, module, machine, name, pointers):
        self.library = Library(to_object(optimise(str(module), machine), machine), machine)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * pointers)
        self.function = kind(self.library.address(name))

    def __call__(self, begin, end, *arrays):
        self.function(begin, end, *[array.ctypes.data for array in arrays])


def compiled(spec, machine):
    module = ir.Module()
    emit_contract(module, "contract", spec, machine, plain_epilogue(spec), 1)
    return Program(module, machine, "contract", 4 if spec.precision == "i8" else 3)


def empty_result(spec):
    shape = (prod(spec.batch), prod(spec.rows), spec.columns)
    return np.full(prod(shape) + 64, 1234567, np.int32 if spec.precision == "i8" else np.float32)


def run(program, spec, a, packed, borders):
    result = empty_result(spec)
    rest = [] if packed.compensation is None else [packed.compensation]
    for begin, end in pairwise(borders):
        program(begin, end, a, packed.data, *rest, result)
    assert (result[-64:] == 1234567).all()
    return result[:-64].reshape(prod(spec.batch), prod(spec.rows), spec.columns)


def check(spec, machine, seed=0):
    a, b, exact = operands(spec, seed)
    program, packed = compiled(spec, machine), pack(b, spec, machine)
    matrices = b.shape[0]
    assert packed.data.nbytes == matrices * packed_bytes(spec, machine)
    count = units(spec, machine)
    result = run(program, spec, a, packed, (0, count))
    if spec.precision == "i8":
        np.testing.assert_array_equal(result, exact)
    else:
        # Both operands have unit variance: rounding errors grow with the depth's root against sums that do as well.
        scale = np.sqrt(spec.depth * len(spec.taps))
        np.testing.assert_allclose(result / scale, exact / scale, rtol=1e-5, atol=1e-5)
    for borders in (split(spec, machine, 2), split(spec, machine, 3), (0, *sorted({count // 5, count // 2, count}))):
        assert borders[0] == 0 and borders[-1] == count
        assert run(program, spec, a, packed, borders).tobytes() == result.tobytes()
    assert cost(spec, machine) > 0


SHAPES = [
    matrix("f32", 1, 1, 1),
    matrix("f32", 1, 1000, 37),
    matrix("f32", 5, 48, 64),
    matrix("f32", 64, 96, 384),
    matrix("f32", 31, 17, 9),
    matrix("f32", 100, 100, 20, pitch=50),
    matrix("f32", 8, 24, 128),
    matrix("f32", 3, 4, 7),
    convolution("f32", 5, 7, 3, 8),
    convolution("f32", 8, 8, 20, 12),
    convolution("f32", 6, 12, 36, 24),
    convolution("f32", 4, 16, 12, 4, kernel=1),
    convolution("f32", 3, 32, 20, 28),
    convolution("f32", 3, 8, 8, 20),
    convolution("f32", 4, 10, 5, 33, stride=2, images=2),
    convolution("f32", 7, 7, 40, 64),
    convolution("f32", 3, 14, 24, 40, pitch=28),
    convolution("f32", 9, 4, 3, 16, kernel=7, stride=2),
]


@every_machine
@every_precision
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_shapes(machine, precision, shape):
    check(replace(SHAPES[shape], precision=precision), machine)


SIZES = [(48, 64), (1, 1), (24, 20), (100, 37), (130, 18), (64, 3), (96, 131), (37, 70)]


@every_machine
@every_precision
@settings(max_examples=8, deadline=None)
@given(
    rows=st.lists(st.integers(1, 19), min_size=1, max_size=3),
    columns=st.integers(1, 130),
    depth=st.integers(1, 45),
    taps=st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True),
    gap=st.integers(0, 3),
    batch=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1)), max_size=2),
    seed=st.integers(0, 1000),
)
def test_any_shape(machine, precision, rows, columns, depth, taps, gap, batch, seed):
    strides = [depth + gap]
    for extent in reversed(rows[1:]):
        strides.insert(0, strides[0] * extent + gap)
    spec = Contract(
        precision=precision,
        rows=tuple(rows),
        a_strides=tuple(strides),
        columns=columns,
        depth=depth,
        taps=tuple(taps),
        batch=tuple(extent for extent, _ in batch),
        a_batch=tuple(97 for _ in batch),
        b_batch=tuple(shared for _, shared in batch),
    )
    check(spec, machine, seed)


@every_machine
@every_precision
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("columns", "depth"), SIZES)
def test_packing_while_running_is_packing_ahead(machine, precision, transposed, columns, depth):
    """Row-major [K, N] and [N, K] with a pitch, in any division: the same bytes as NumPy's packing."""
    spec = matrix(precision, 16, columns, depth)
    b = operands(spec)[1]
    expected = pack(b, spec, machine)
    values = b[0, 0].T if transposed else b[0, 0]
    pitch = values.shape[1] + 3
    source = np.zeros((values.shape[0], pitch), values.dtype)
    source[:, : values.shape[1]] = values
    if precision == "i8":
        source = (source.astype(np.int16) + 128).astype(np.uint8)
    module = ir.Module()
    emit_packing(module, "packing", spec, machine, *((1, pitch) if transposed else (pitch, 1)))
    program = Program(module, machine, "packing", 3)
    count = packing_units(spec, machine)
    got = Packed(
        data=np.full(packed_bytes(spec, machine), 99, np.uint8),
        compensation=np.full(compensation_count(spec, machine), 99, np.int32),
    )
    for begin, end in ((0, count // 2), (count // 2, count)):
        program(begin, end, source, got.data, got.compensation)
    np.testing.assert_array_equal(got.data, expected.data)
    if precision == "i8":
        np.testing.assert_array_equal(got.compensation, expected.compensation)


@every_machine
def test_tiles_fit_the_registers(machine):
    for precision in ("f32", "bf16", "i8"):
        for rows in (1, 3, 7, 8, 14, 56, 64, 256):
            for columns in (4, 12, 24, 36, 48, 96, 160, 1000):
                tiling = tile(matrix(precision, rows, columns, 64), machine)
                accumulators = tiling.tile_rows // tiling.fold * tiling.panel_vectors
                assert accumulators <= machine.registers - 2


@every_machine
def test_halves_cost_about_the_same(machine):
    spec = matrix("i8", 256, 1536, 384)
    border = split(spec, machine, 2)[1]
    assert abs(border / units(spec, machine) - 0.5) < 0.03


@every_machine
@every_precision
def test_cores_share_rows_where_weights_are_few_and_columns_where_they_are_many(machine, precision):
    early, late = matrix(precision, 3136, 256, 64), matrix(precision, 49, 2048, 512)
    assert tile(early, machine).by_rows
    assert not tile(late, machine).by_rows
    shared = tile(early, machine)
    assert units(early, machine) == shared.row_tiles
    assert split(early, machine, 2)[1] in (shared.row_tiles // 2, -(-shared.row_tiles // 2))


@every_machine
def test_shared_rows_with_a_ragged_end_and_several_matrices(machine):
    spec = replace(matrix("f32", 331, 130, 48), batch=(3,), a_batch=(331 * 48,), b_batch=(1,))
    assert tile(spec, machine).by_rows
    check(spec, machine, 5)


def test_bad_specifications_are_named():
    with pytest.raises(ValueError, match="precision"):
        matrix("f64", 1, 1, 1)
    with pytest.raises(ValueError, match="a_strides"):
        Contract(precision="f32", rows=(1, 2), a_strides=(1,), columns=1, depth=1)
    with pytest.raises(ValueError, match="b_batch"):
        Contract(precision="f32", rows=(1,), a_strides=(1,), columns=1, depth=1, batch=(2,))
    with pytest.raises(ValueError, match="at least 1"):
        Contract(precision="f32", rows=(0,), a_strides=(1,), columns=1, depth=1)
    spec = matrix("i8", 4, 4, 4)
    with pytest.raises(ValueError, match="taps, K, N"):
        pack(np.zeros((1, 4, 5), np.int8), spec, describe())
    with pytest.raises(ValueError, match="int8"):
        pack(np.zeros((1, 4, 4), np.float32), spec, describe())


@every_precision
def test_portable_text_is_arm_code(precision):
    """The portable level names no processor: LLVM makes Arm code of the same text."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no code generator for Arm")
    arm = replace(describe("portable"), registers=32, features="+neon", processor="generic")
    spec, module = convolution(precision, 6, 12, 36, 24), ir.Module()
    emit_contract(module, "contract", spec, arm, plain_epilogue(spec), 1)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    code = target.create_target_machine(features="+neon", opt=3).emit_assembly(parsed)
    assert ("fmla" if precision != "i8" else "mla") in code


@every_precision
def test_grouped_convolution_is_a_batch(precision):
    groups, columns, depth, width = 3, 8, 12, 10
    spec = replace(
        convolution(precision, 4, width, depth, columns, pitch=groups * depth),
        batch=(groups,),
        a_batch=(depth,),
        b_batch=(1,),
    )
    check(spec, describe())
