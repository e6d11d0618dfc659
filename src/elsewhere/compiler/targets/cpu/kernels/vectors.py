"""Vectors of numbers in LLVM text: types, constants, and loads and stores that convert to and from f32.

Element types in memory, by name: 'f32', 'bf16', 'f16', 'i32' and 'i8'. In registers everything is f32, but 'i32' stays
int32. An 'i8' number q lies in memory as the unsigned byte q + 128, as `vpdpbusd` wants its left operand; this holds
for every activation of the CPU target. Knows nothing of kernels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.machine import Machine

BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i32": 4, "i8": 1}
"""Size in memory of one number of each type."""

BIAS = 128
"""What is added to an int8 number in memory."""


class BFloatType(ir.types._BaseFloatType):  # type: ignore[misc, name-defined]  # llvmlite has none
    """LLVM's `bfloat`."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloatType._create_instance()

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, BF16, F32 = ir.HalfType(), BFloatType(), ir.FloatType()
POINTER = ir.PointerType()
VOID = ir.VoidType()

MEMORY = {"f32": F32, "bf16": I16, "f16": I16, "i32": I32, "i8": I8}
"""How one number of each type is named in memory: half floats as their bits."""


def has_fused(machine: Machine) -> bool:
    """Whether multiply-and-add is one instruction; if not, LLVM's `fma` would call a function per number."""
    return machine.level != "portable" or has_neon(machine)


def has_neon(machine: Machine) -> bool:
    return "+neon" in machine.features.split(",")


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def constant(element: ir.Type, value: float | Sequence[float], lanes: int) -> ir.Constant:
    """`value` in every lane, or one value per lane."""
    values = list(value) if isinstance(value, Sequence) else [value] * lanes
    if isinstance(element, ir.FloatType):
        values = [round_to_f32(number) for number in values]
    return ir.Constant(ir.VectorType(element, lanes), [ir.Constant(element, number) for number in values])


def round_to_f32(value: float) -> float:
    """The nearest f32, which LLVM's text wants: it takes no constant that does not fit."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def undefined(kind: ir.Type) -> ir.Constant:
    return ir.Constant(kind, ir.Undefined)


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """`scalar` in every lane."""
    kind = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(undefined(kind), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined(kind), constant(I32, 0, lanes))


def shuffle(builder: ir.IRBuilder, left: ir.Value, right: ir.Value | None, lanes: Sequence[int]) -> ir.Value:
    """Picks lanes of `left`, and past its end of `right`."""
    other = undefined(left.type) if right is None else right
    return builder.shuffle_vector(left, other, constant(I32, list(lanes), len(lanes)))


def intrinsic(
    builder: ir.IRBuilder, name: str, returns: ir.Type, arguments: Sequence[ir.Value], *, tail: bool = False
) -> ir.Value:
    """Calls the LLVM intrinsic `name`, which is declared if it is not yet."""
    module = builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(returns, [value.type for value in arguments]), name)
    return builder.call(module.globals[name], arguments, tail=tail)


def suffix(kind: ir.Type) -> str:
    """How LLVM writes a type in the name of an intrinsic: 'v16f32'."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    return f"i{kind.width}" if isinstance(kind, ir.IntType) else str(kind.intrinsic_name)


def multiply_add(builder: ir.IRBuilder, machine: Machine, left: ir.Value, right: ir.Value, add: ir.Value) -> ir.Value:
    """left * right + add, rounded once where the processor can."""
    if has_fused(machine):
        return intrinsic(builder, f"llvm.fma.{suffix(add.type)}", add.type, [left, right, add])
    return builder.fadd(builder.fmul(left, right), add)


def address(
    builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int, element: ir.Type, *, inbounds: bool = True
) -> ir.Value:
    """Where element `offset` of an array of `element` at `pointer` lies."""
    index = ir.Constant(I64, offset) if isinstance(offset, int) else offset
    return builder.gep(pointer, [index], inbounds=inbounds, source_etype=element)


def buffer(builder: ir.IRBuilder, element: ir.Type, count: int, align: int = 64) -> ir.Value:
    """Room for `count` elements on the stack; ask for it in the function's first block."""
    room = builder.alloca(ir.ArrayType(element, count))
    room.align = align
    room.type = POINTER  # llvmlite would take it for an array's pointer, which no other type may be stored to
    return room


def load_plain(
    builder: ir.IRBuilder,
    pointer: ir.Value,
    offset: ir.Value | int,
    element: ir.Type,
    lanes: int,
    valid: int | None = None,
) -> ir.Value:
    """`lanes` elements as they are in memory; lanes from `valid` on are not read, and are zero."""
    kind = ir.VectorType(element, lanes)
    place = address(builder, pointer, offset, element)
    if valid is None or valid == lanes:
        return builder.load(place, align=size(element), typ=kind)
    if valid == 1:  # LLVM 22 stumbles over shuffles of vectors of one lane
        scalar = builder.load(place, align=size(element), typ=element)
        return builder.insert_element(constant(element, 0, lanes), scalar, ir.Constant(I32, 0))
    if valid & (valid - 1) == 0:
        few = builder.load(place, align=size(element), typ=ir.VectorType(element, valid))
        return shuffle(builder, few, constant(element, 0, valid), [min(lane, valid) for lane in range(lanes)])
    mask = constant(I1, [int(lane < valid) for lane in range(lanes)], lanes)
    zero = constant(element, 0, lanes)
    arguments = [place, ir.Constant(I32, size(element)), mask, zero]
    return intrinsic(builder, f"llvm.masked.load.{suffix(kind)}.p0", kind, arguments)


def store_plain(
    builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, offset: ir.Value | int, valid: int | None = None
) -> None:
    """Writes a vector's first `valid` lanes (by default all) as they are; nothing after them is touched."""
    element, lanes = value.type.element, value.type.count
    place = address(builder, pointer, offset, element)
    if valid is None or valid == lanes:
        builder.store(value, place, align=size(element))
        return
    if valid == 1:
        builder.store(builder.extract_element(value, ir.Constant(I32, 0)), place, align=size(element))
        return
    if valid & (valid - 1) == 0:
        # Also because LLVM 22 stores too much when a mask leaves one lane of a truncated vector.
        builder.store(shuffle(builder, value, None, range(valid)), place, align=size(element))
        return
    mask = constant(I1, [int(lane < valid) for lane in range(lanes)], lanes)
    arguments = [value, place, ir.Constant(I32, size(element)), mask]
    intrinsic(builder, f"llvm.masked.store.{suffix(value.type)}.p0", VOID, arguments)


def size(element: ir.Type) -> int:
    """Bytes of one element."""
    if isinstance(element, ir.IntType):
        return (int(element.width) + 7) // 8
    return {"float": 4, "half": 2, "bfloat": 2, "double": 8}[str(element)]


def load_vector(
    builder: ir.IRBuilder,
    machine: Machine,
    pointer: ir.Value,
    offset: ir.Value | int,
    dtype: str,
    lanes: int,
    valid: int | None = None,
) -> ir.Value:
    """`lanes` numbers of `dtype` from element `offset` of `pointer`: f32, or int32 for 'i32'.

    With `valid` below `lanes` nothing past the valid ones is read. The other lanes hold the number that is zero in
    memory, which for 'i8' is -128.
    """
    raw = load_plain(builder, pointer, offset, MEMORY[dtype], lanes, valid)
    return to_f32(builder, machine, raw, dtype)


def store_vector(
    builder: ir.IRBuilder,
    machine: Machine,
    value: ir.Value,
    pointer: ir.Value,
    offset: ir.Value | int,
    dtype: str,
    valid: int | None = None,
) -> None:
    """Writes an f32 vector (int32 for 'i32') as `dtype` at element `offset`; lanes from `valid` on are not written.

    'bf16' and 'f16' round to nearest even. 'i8' rounds half to even, saturates to [-128, 127], NaN becoming -128, and
    is biased.
    """
    store_plain(builder, from_f32(builder, machine, value, dtype), pointer, offset, valid)


def load_splat(
    builder: ir.IRBuilder, machine: Machine, pointer: ir.Value, offset: ir.Value | int, dtype: str, lanes: int
) -> ir.Value:
    """One number of `dtype` in every lane: f32, or int32 for 'i32'."""
    element = MEMORY[dtype]
    scalar = builder.load(address(builder, pointer, offset, element), align=size(element), typ=element)
    return to_f32(builder, machine, splat(builder, scalar, lanes), dtype)


def to_f32(builder: ir.IRBuilder, machine: Machine, raw: ir.Value, dtype: str) -> ir.Value:
    """What `load_plain` read of `dtype` as f32 numbers; 'f32' and 'i32' pass unchanged."""
    lanes = raw.type.count
    wide, real = ir.VectorType(I32, lanes), ir.VectorType(F32, lanes)
    if dtype in ("f32", "i32"):
        return raw
    if dtype == "bf16":
        bits = builder.shl(builder.zext(raw, wide), constant(I32, 16, lanes))
        return builder.bitcast(bits, real)
    if dtype == "i8":
        number = builder.sub(builder.zext(raw, wide), constant(I32, BIAS, lanes))
        return builder.sitofp(number, real)
    if dtype != "f16":
        raise ValueError(f"dtype must be one of {tuple(BYTES)}, got {dtype!r}")
    if machine.level != "portable" or has_neon(machine):
        return builder.fpext(builder.bitcast(raw, ir.VectorType(F16, lanes)), real)
    return half_to_f32(builder, raw)


def from_f32(builder: ir.IRBuilder, machine: Machine, value: ir.Value, dtype: str) -> ir.Value:
    """f32 numbers as `dtype`'s elements in memory; 'f32' and 'i32' pass unchanged."""
    lanes = value.type.count
    if dtype in ("f32", "i32"):
        return value
    if dtype == "bf16":
        if machine.dot_bf16:
            return builder.bitcast(builder.fptrunc(value, ir.VectorType(BF16, lanes)), ir.VectorType(I16, lanes))
        return f32_to_bfloat(builder, value)
    if dtype == "i8":
        return builder.trunc(biased_bits(builder, value), ir.VectorType(I8, lanes))
    if dtype != "f16":
        raise ValueError(f"dtype must be one of {tuple(BYTES)}, got {dtype!r}")
    if machine.level != "portable" or has_neon(machine):
        return builder.bitcast(builder.fptrunc(value, ir.VectorType(F16, lanes)), ir.VectorType(I16, lanes))
    return f32_to_half(builder, value)


def biased_bits(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """int32 lanes whose low byte is the rounded, saturated and biased int8 number of each f32.

    Adding 1.5 * 2^23 + 128 leaves the integer in the low bits of the sum, rounded to nearest even by the addition.
    """
    lanes = value.type.count
    low, high = constant(F32, -128.0, lanes), constant(F32, 127.0, lanes)
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
    value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
    magic = builder.fadd(value, constant(F32, 12582912.0 + BIAS, lanes))
    return builder.bitcast(magic, ir.VectorType(I32, lanes))


def f32_to_bfloat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """bf16 bits of f32 numbers, to nearest even, by integer arithmetic; NaN stays a (quiet) NaN."""
    lanes = value.type.count
    bits = builder.bitcast(value, ir.VectorType(I32, lanes))
    sixteen = constant(I32, 16, lanes)
    odd = builder.and_(builder.lshr(bits, sixteen), constant(I32, 1, lanes))
    rounded = builder.add(bits, builder.add(odd, constant(I32, 0x7FFF, lanes)))
    quiet = builder.or_(bits, constant(I32, 0x400000, lanes))
    chosen = builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)
    return builder.trunc(builder.lshr(chosen, sixteen), ir.VectorType(I16, lanes))


def half_to_f32(builder: ir.IRBuilder, raw: ir.Value) -> ir.Value:
    """f32 of f16 bits by arithmetic: scaling by 2^112 moves the exponent and makes subnormal numbers normal."""
    lanes = raw.type.count
    wide = ir.VectorType(I32, lanes)
    bits = builder.zext(raw, wide)
    magnitude = builder.shl(builder.and_(bits, constant(I32, 0x7FFF, lanes)), constant(I32, 13, lanes))
    scaled = builder.fmul(builder.bitcast(magnitude, ir.VectorType(F32, lanes)), constant(F32, 2.0**112, lanes))
    endless = builder.icmp_unsigned(">=", magnitude, constant(I32, 0x7C00 << 13, lanes))
    top = builder.or_(magnitude, constant(I32, 0x7F800000, lanes))
    chosen = builder.select(endless, top, builder.bitcast(scaled, wide))
    sign = builder.shl(builder.and_(bits, constant(I32, 0x8000, lanes)), constant(I32, 16, lanes))
    return builder.bitcast(builder.or_(chosen, sign), ir.VectorType(F32, lanes))


def f32_to_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """f16 bits of f32 numbers, to nearest even, by arithmetic; NaN stays NaN, too large becomes infinite."""
    lanes = value.type.count
    wide, real = ir.VectorType(I32, lanes), ir.VectorType(F32, lanes)
    bits = builder.bitcast(value, wide)
    magnitude = builder.and_(bits, constant(I32, 0x7FFFFFFF, lanes))
    # Below f16's least normal number, adding 0.5 leaves the subnormal's integer in the low bits, rounded.
    small = builder.bitcast(builder.fadd(builder.bitcast(magnitude, real), constant(F32, 0.5, lanes)), wide)
    small = builder.sub(small, constant(I32, 0x3F000000, lanes))
    odd = builder.and_(builder.lshr(magnitude, constant(I32, 13, lanes)), constant(I32, 1, lanes))
    large = builder.add(builder.add(magnitude, odd), constant(I32, 0xFFF - (112 << 23), lanes))
    large = builder.lshr(large, constant(I32, 13, lanes))
    chosen = builder.select(builder.icmp_unsigned("<", magnitude, constant(I32, 113 << 23, lanes)), small, large)
    too_large = builder.icmp_unsigned(">=", magnitude, constant(I32, 143 << 23, lanes))
    chosen = builder.select(too_large, constant(I32, 0x7C00, lanes), chosen)
    nan = builder.icmp_unsigned(">", magnitude, constant(I32, 0x7F800000, lanes))
    chosen = builder.select(nan, constant(I32, 0x7E00, lanes), chosen)
    sign = builder.and_(builder.lshr(bits, constant(I32, 16, lanes)), constant(I32, 0x8000, lanes))
    return builder.trunc(builder.or_(chosen, sign), ir.VectorType(I16, lanes))
