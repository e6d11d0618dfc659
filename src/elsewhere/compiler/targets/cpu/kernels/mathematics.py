"""Elementary functions of f32 scalars and vectors, written out as arithmetic.

Every function takes an `IRBuilder`, f32 values (a scalar or a vector of any number of lanes) and the machine,
and returns a value of the same type. Nothing here becomes a call: LLVM's own `llvm.exp` and its like would turn
into calls of the C library, one lane at a time. Results are the same bits in every run on one machine level; levels
may differ in the last bits, because fused multiply-adds are used only where they are instructions.

Polynomials were fitted for the smallest largest error (Lawson's reweighted least squares in f64, coefficients
then rounded to f32 one after another, lowest power first, the rest fitted anew). Each docstring gives the error
of the fit and the error measured over the whole range against f64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.machine import Machine

F32 = ir.FloatType()
I32 = ir.IntType(32)

MAGIC = 12582912.0
"""1.5·2^23: adding it rounds |x| < 2^22 to an integer, which then sits in the low bits of the sum."""
MAGIC_BITS = 0x4B400000

LOG2_E = 1 / math.log(2)
LN2_HIGH = 0.693359375
"""ln 2 in 10 bits, so that its product with an exponent is exact even without a fused multiply-add."""
LN2_LOW = math.log(2) - LN2_HIGH

# (exp(r) - 1 - r) / r² for |r| <= ln(2)/2; error of the fit relative to exp(r) - 1: 1.4e-8.
EXP_TAIL = (0.5, 0.1666654348373413, 0.0416664183139801, 0.008366572670638561, 0.001393938553519547)
# 2^r for |r| <= 1/2; error of the fits relative to 2^r: 3.0e-9, 9.3e-8, 7.5e-5.
EXP2_6 = (
    1.0, 0.6931471824645996, 0.24022647738456726, 0.05550359934568405,
    0.009618505835533142, 0.0013390806270763278, 0.0001532646274426952,
)  # fmt: skip
EXP2_5 = (
    1.0, 0.6931470036506653, 0.24022246897220612, 0.0555071085691452, 0.009671293199062347, 0.0013269555056467652,
)  # fmt: skip
EXP2_3 = (0.9999280571937561, 0.6932609677314758, 0.24261122941970825, 0.05517156422138214)
# (log(1 + f) - f + f²/2) / f³ for sqrt(1/2) <= 1 + f <= sqrt(2); error of the fit times f²: 7.3e-10.
LOG_TAIL = (
    0.3333331048488617, -0.24999986588954926, 0.20002225041389465, -0.16669251024723053, 0.1421867460012436,
    -0.1238437071442604, 0.11872972548007965, -0.11789557337760925, 0.06914801150560379,
)  # fmt: skip
# -log(1 - erf(a)) / a for 0 <= a <= 4; error of the fit, as a relative error of erf: 5.2e-8.
ERF_EXPONENT = (
    1.128379225730896, 0.6366152763366699, 0.10282659530639648, -0.01936434768140316,
    0.0002732253633439541, 0.0011991496430709958, -0.0003614304878283292, 3.7943897041259333e-05,
)  # fmt: skip
# (sin(r)/r - 1) / r² and (cos(r) - 1 + r²/2) / r⁴ in r² for |r| <= pi/4; errors 3.7e-9 and 1.1e-10.
SIN_TAIL = (-0.16666655242443085, 0.008332190103828907, -0.00019518406770657748)
COS_TAIL = (0.04166664555668831, -0.00138873013202101, 2.443066841806285e-05)
# pi/2 in parts of 11, 11 and 24 bits: products with integers below 2^13 are exact for the first two.
HALF_PI = (1.5703125, 0.00048351287841796875, math.pi / 2 - 1.5703125 - 0.00048351287841796875)


def has_fma(machine: Machine) -> bool:
    """Whether a fused multiply-add is one instruction (otherwise LLVM would call the C library)."""
    return machine.level != "portable" or "+neon" in machine.features


def constant(like: ir.Value, value: float) -> ir.Constant:
    """`value` as f32, in every lane of the type of `like`."""
    kind = like.type
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def _integers(like: ir.Value) -> ir.Type:
    kind = like.type
    return ir.VectorType(I32, kind.count) if isinstance(kind, ir.VectorType) else I32


def _integer(like: ir.Value, value: int) -> ir.Constant:
    kind = _integers(like)
    return ir.Constant(kind, [value] * kind.count) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


def _bits(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return builder.bitcast(x, _integers(x))


def _intrinsic(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    kind = values[0].type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    full = f"llvm.{name}.{suffix}"
    function = builder.module.globals.get(full)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [value.type for value in values]), full)
    return builder.call(function, values)


def multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value, machine: Machine) -> ir.Value:
    """x·y + z, rounded once where the machine can, twice elsewhere."""
    if has_fma(machine):
        return _intrinsic(builder, "fma", x, y, z)
    return builder.fadd(builder.fmul(x, y), z)


def polynomial(builder: ir.IRBuilder, x: ir.Value, coefficients: Sequence[float], machine: Machine) -> ir.Value:
    """Σ coefficients[i]·x^i by Horner's rule. Kernels work on several vectors at once, so the chain costs no time."""
    result: ir.Value = constant(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = multiply_add(builder, result, x, constant(x, coefficient), machine)
    return result


def _select(builder: ir.IRBuilder, test: str, x: ir.Value, y: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(test, x, y), yes, no)


def _at_least(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """max(x, bound); NaN stays NaN. In this order it is one instruction on x86."""
    limit = constant(x, bound)
    return _select(builder, ">", limit, x, limit, x)


def _at_most(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    limit = constant(x, bound)
    return _select(builder, "<", limit, x, limit, x)


def _with_sign(builder: ir.IRBuilder, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
    return _intrinsic(builder, "copysign", magnitude, sign)


def _nearest(builder: ir.IRBuilder, x: ir.Value, factor: float, machine: Machine) -> tuple[ir.Value, ir.Value]:
    """round(x·factor) as f32, and the sum whose bits are that integer plus MAGIC_BITS. |x·factor| < 2^22."""
    sum_ = multiply_add(builder, x, constant(x, factor), constant(x, MAGIC), machine)
    return builder.fsub(sum_, constant(x, MAGIC)), sum_


def _times_power(builder: ir.IRBuilder, x: ir.Value, sum_: ir.Value) -> ir.Value:
    """x·2^n for the n of `_nearest`, |n| < 252, in two steps so that overflow and subnormals come out right."""
    n = builder.sub(_bits(builder, sum_), _integer(x, MAGIC_BITS))
    first = builder.ashr(n, _integer(x, 1))
    for part in (first, builder.sub(n, first)):
        exponent = builder.shl(builder.add(part, _integer(x, 127)), _integer(x, 23))
        x = builder.fmul(x, builder.bitcast(exponent, x.type))
    return x


def _exp_reduced(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> tuple[ir.Value, ir.Value]:
    """(exp(r) - 1, sum_) for x = r + n·ln 2."""
    n, sum_ = _nearest(builder, x, LOG2_E, machine)
    r = multiply_add(builder, n, constant(x, -LN2_HIGH), x, machine)
    r = multiply_add(builder, n, constant(x, -LN2_LOW), r, machine)
    tail = polynomial(builder, r, EXP_TAIL, machine)
    return multiply_add(builder, builder.fmul(r, r), tail, r, machine), sum_


def exp(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """e^x within 1.1 units in the last place. Overflows to infinity above 88.72, passes through the
    subnormals to 0 below -103.97; NaN stays NaN.
    """
    x = _at_least(builder, _at_most(builder, x, 89.0), -105.0)
    less_one, sum_ = _exp_reduced(builder, x, machine)
    return _times_power(builder, builder.fadd(less_one, constant(x, 1.0)), sum_)


def exp2(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """2^x within 1.1 units in the last place; ends of the range as for `exp`."""
    x = _at_least(builder, _at_most(builder, x, 129.0), -151.0)
    n, sum_ = _nearest(builder, x, 1.0, machine)
    return _times_power(builder, polynomial(builder, builder.fsub(x, n), EXP2_6, machine), sum_)


def exp2_softmax(
    builder: ir.IRBuilder, x: ir.Value, machine: Machine, coefficients: Sequence[float] = EXP2_5
) -> ir.Value:
    """2^x for x <= 0 in few instructions: exactly 0 below -125 (so no subnormals), relative error 2e-7.

    `EXP2_3` as `coefficients` gives 7.5e-5, enough for probabilities in bf16 or int8.
    """
    n, sum_ = _nearest(builder, x, 1.0, machine)
    value = polynomial(builder, builder.fsub(x, n), coefficients, machine)
    exponent = builder.shl(_bits(builder, sum_), _integer(x, 23))
    scaled = builder.bitcast(builder.add(_bits(builder, value), exponent), x.type)
    return _select(builder, ">", x, constant(x, -125.0), scaled, constant(x, 0.0))


def exp_softmax(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """e^x for x <= 0, exactly 0 below -86.6; relative error 1e-7·(2 + |x|)."""
    return exp2_softmax(builder, builder.fmul(x, constant(x, LOG2_E)), machine)


def _mantissa(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(f, e) for positive x = (1 + f)·2^e with 1 + f in [sqrt(1/2), sqrt(2)), subnormals included."""
    tiny = builder.fcmp_ordered("<", x, constant(x, 2.0**-126))
    raised = builder.select(tiny, builder.fmul(x, constant(x, 2.0**23)), x)
    bits = _bits(builder, raised)
    half_root = 0x3F3504F3  # bits of sqrt(1/2)
    e = builder.ashr(builder.sub(bits, _integer(x, half_root)), _integer(x, 23))
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(e, _integer(x, 23))), x.type)
    exponent = builder.sitofp(e, x.type)
    exponent = builder.select(tiny, builder.fsub(exponent, constant(x, 23.0)), exponent)
    return builder.fsub(mantissa, constant(x, 1.0)), exponent


def _log_cases(builder: ir.IRBuilder, x: ir.Value, result: ir.Value) -> ir.Value:
    infinity = constant(x, float("inf"))
    result = _select(builder, "<", x, infinity, result, x)  # infinity and NaN are their own logarithms
    result = _select(builder, "==", x, constant(x, 0.0), constant(x, float("-inf")), result)
    return _select(builder, "<", x, constant(x, 0.0), constant(x, float("nan")), result)


def log(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Natural logarithm within 0.8 units in the last place: -infinity at 0, NaN below."""
    f, e = _mantissa(builder, x)
    square = builder.fmul(f, f)
    tail = builder.fmul(builder.fmul(square, f), polynomial(builder, f, LOG_TAIL, machine))
    tail = multiply_add(builder, e, constant(x, LN2_LOW), tail, machine)
    tail = multiply_add(builder, square, constant(x, -0.5), tail, machine)
    result = multiply_add(builder, e, constant(x, LN2_HIGH), builder.fadd(f, tail), machine)
    return _log_cases(builder, x, result)


def log2(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Logarithm to base 2 within 1.7 units in the last place: -infinity at 0, NaN below."""
    f, e = _mantissa(builder, x)
    square = builder.fmul(f, f)
    tail = builder.fmul(builder.fmul(square, f), polynomial(builder, f, LOG_TAIL, machine))
    tail = multiply_add(builder, square, constant(x, -0.5), tail, machine)
    natural = builder.fadd(f, tail)
    return _log_cases(builder, x, multiply_add(builder, natural, constant(x, LOG2_E), e, machine))


def power(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, machine: Machine) -> ir.Value:
    """x^y as 2^(y·log2|x|): relative error 1e-7·(1 + |y·log2 x|). x^0 is 1; negative x needs an integer y."""
    magnitude = absolute(builder, x, machine)
    result = exp2(builder, builder.fmul(y, log2(builder, magnitude, machine)), machine)
    whole = round_even(builder, y, machine)
    half = builder.fmul(y, constant(y, 0.5))
    odd = builder.fcmp_ordered("!=", round_even(builder, half, machine), half)
    signed = builder.select(odd, builder.fneg(result), result)
    signed = _select(builder, "==", whole, y, signed, constant(x, float("nan")))
    result = _select(builder, "<", x, constant(x, 0.0), signed, result)
    return _select(builder, "==", y, constant(y, 0.0), constant(x, 1.0), result)


def _exp_less_one(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """e^x - 1 for |x| < 80 with a small relative error also near 0."""
    reduced, sum_ = _exp_reduced(builder, x, machine)
    exponent = builder.shl(builder.add(_bits(builder, sum_), _integer(x, 127)), _integer(x, 23))
    power = builder.bitcast(exponent, x.type)
    return multiply_add(builder, power, reduced, builder.fsub(power, constant(x, 1.0)), machine)


def tanh(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Hyperbolic tangent within 2.3 units in the last place, as (e^2x - 1) / (e^2x + 1) of |x|."""
    doubled = _at_most(builder, builder.fmul(absolute(builder, x, machine), constant(x, 2.0)), 20.0)
    less_one = _exp_less_one(builder, doubled, machine)
    quotient = builder.fdiv(less_one, builder.fadd(less_one, constant(x, 2.0)))
    return _with_sign(builder, quotient, x)


def sigmoid(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """1 / (1 + e^-x) within 2.4 units in the last place; 0 below -88.7, where the exact value would be subnormal."""
    one = constant(x, 1.0)
    return builder.fdiv(one, builder.fadd(one, exp(builder, builder.fneg(x), machine)))


def erf(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Error function within 2.9 units in the last place, as 1 - e^(-a·P(a)) of a = |x|."""
    a = _at_most(builder, absolute(builder, x, machine), 4.0)
    exponent = builder.fmul(builder.fneg(a), polynomial(builder, a, ERF_EXPONENT, machine))
    return _with_sign(builder, builder.fneg(_exp_less_one(builder, exponent, machine)), x)


def silu(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """x·sigmoid(x) within 2.2 units in the last place."""
    return builder.fdiv(x, builder.fadd(constant(x, 1.0), exp(builder, builder.fneg(x), machine)))


def gelu(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """x·(1 + erf(x/√2))/2; absolute error 1e-7·|x| (relative accuracy is lost in the far negative tail)."""
    half = builder.fmul(x, constant(x, 0.5))
    inner = erf(builder, builder.fmul(x, constant(x, math.sqrt(0.5))), machine)
    return multiply_add(builder, half, inner, half, machine)


def gelu_tanh(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, which is x·sigmoid of twice that argument."""
    slope = 2 * math.sqrt(2 / math.pi)
    square = builder.fmul(x, x)
    inner = multiply_add(builder, square, constant(x, slope * 0.044715), constant(x, slope), machine)
    # Beyond |x| = 10 the sigmoid is 0 or 1; the bound keeps x² from overflowing into 0·infinity.
    argument = builder.fmul(_at_least(builder, _at_most(builder, x, 10.0), -10.0), _at_most(builder, inner, 20.0))
    return builder.fmul(x, sigmoid(builder, argument, machine))


def sqrt(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Square root, correctly rounded."""
    return _intrinsic(builder, "sqrt", x)


def rsqrt(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """1/√x by exact division and root, not by the processor's estimate."""
    return builder.fdiv(constant(x, 1.0), sqrt(builder, x, machine))


def reciprocal(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """1/x, correctly rounded."""
    return builder.fdiv(constant(x, 1.0), x)


def _quarter_turns(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(sin r, cos r, quarter) for x = r + quarter·π/2, |r| <= π/4."""
    n, sum_ = _nearest(builder, x, 2 / math.pi, machine)
    r = x
    for part in HALF_PI:
        r = multiply_add(builder, n, constant(x, -part), r, machine)
    z = builder.fmul(r, r)
    sine = multiply_add(builder, builder.fmul(r, z), polynomial(builder, z, SIN_TAIL, machine), r, machine)
    cosine = builder.fmul(builder.fmul(z, z), polynomial(builder, z, COS_TAIL, machine))
    cosine = builder.fadd(multiply_add(builder, z, constant(x, -0.5), constant(x, 1.0), machine), cosine)
    return sine, cosine, _bits(builder, sum_)


def _turned(builder: ir.IRBuilder, x: ir.Value, machine: Machine, ahead: int) -> ir.Value:
    sine, cosine, quarter = _quarter_turns(builder, x, machine)
    if ahead:
        quarter = builder.add(quarter, _integer(x, ahead))
    odd = builder.icmp_signed("!=", builder.and_(quarter, _integer(x, 1)), _integer(x, 0))
    value = _bits(builder, builder.select(odd, cosine, sine))
    sign = builder.shl(builder.and_(quarter, _integer(x, 2)), _integer(x, 30))
    return builder.bitcast(builder.xor(value, sign), x.type)


def sin(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Sine for |x| < 1e4 with an absolute error of 1e-7; beyond that it loses accuracy; NaN for infinity."""
    return _turned(builder, x, machine, 0)


def cos(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Cosine for |x| < 1e4 with an absolute error of 1e-7; beyond that it loses accuracy; NaN for infinity."""
    return _turned(builder, x, machine, 1)


def floor(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Largest integer not above x."""
    return _intrinsic(builder, "floor", x)


def round_even(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """Nearest integer, halves to even."""
    return _intrinsic(builder, "roundeven", x)


def absolute(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """|x|."""
    return _intrinsic(builder, "fabs", x)


def negate(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """-x."""
    return builder.fneg(x)


def relu(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """max(x, 0); NaN stays NaN."""
    return _at_least(builder, x, 0.0)


def clamp(builder: ir.IRBuilder, x: ir.Value, low: float, high: float, machine: Machine) -> ir.Value:
    """x held between two constants; NaN stays NaN."""
    return _at_most(builder, _at_least(builder, x, low), high)


def minimum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, machine: Machine) -> ir.Value:
    """The smaller of two; NaN if either is NaN, as in NumPy."""
    smaller = _select(builder, "<", x, y, x, y)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, smaller)


def maximum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, machine: Machine) -> ir.Value:
    """The larger of two; NaN if either is NaN, as in NumPy."""
    larger = _select(builder, ">", x, y, x, y)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, larger)


def sign(builder: ir.IRBuilder, x: ir.Value, machine: Machine) -> ir.Value:
    """-1, 0 or 1; NaN stays NaN."""
    zero = constant(x, 0.0)
    one = _with_sign(builder, constant(x, 1.0), x)
    return builder.select(builder.fcmp_unordered("une", x, zero), _select(builder, "==", x, x, one, x), zero)


UNARY: dict[str, Callable[[ir.IRBuilder, ir.Value, Machine], ir.Value]] = {
    "abs": absolute,
    "cos": cos,
    "erf": erf,
    "exp": exp,
    "exp2": exp2,
    "floor": floor,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "log": log,
    "log2": log2,
    "negate": negate,
    "reciprocal": reciprocal,
    "relu": relu,
    "round": round_even,
    "rsqrt": rsqrt,
    "sigmoid": sigmoid,
    "sign": sign,
    "silu": silu,
    "sin": sin,
    "sqrt": sqrt,
    "tanh": tanh,
}
"""Functions of one argument by name."""

BINARY: dict[str, Callable[[ir.IRBuilder, ir.Value, ir.Value, Machine], ir.Value]] = {
    "maximum": maximum,
    "minimum": minimum,
    "pow": power,
}
"""Functions of two arguments by name."""
