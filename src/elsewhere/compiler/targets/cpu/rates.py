"""What this processor can do at most, measured: multiplications, vector instructions and bytes a second.

Loops of independent instructions on registers alone, at the level and with the instructions that kernels use; and
loops that read memory, for working sets of several sizes. Nothing that a kernel does can be faster.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.ir as ir
import numpy as np

from elsewhere.compiler.targets.cpu import jit
from elsewhere.compiler.targets.cpu.kernels import vectors
from elsewhere.compiler.targets.cpu.kernels.vectors import I64, POINTER
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import Machine

SIZES = (2**15, 2**18, 2**20, 2**23, 2**26)
"""Bytes of the working sets that reading is measured on: within each level of cache, and beyond all."""

READS = 8
"""Vectors that are read at a time."""
ROUNDS = 7
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Most that `threads` cores together do."""

    threads: int
    multiplications: dict[str, float]
    """For 'f32', 'bf16' and 'i8': multiply-and-adds a second."""
    vectors: float
    """Vector instructions a second."""
    bandwidth: tuple[tuple[int, float], ...]
    """(bytes of the working set, bytes read a second), ascending."""
    ticks: float
    """Ticks of the clock that profiles count, a second."""

    def bytes_per_second(self, working_set: int) -> float:
        """The rate at the next measured size."""
        return next((rate for size, rate in self.bandwidth if working_set <= size), self.bandwidth[-1][1])


def measure(machine: Machine, threads: int = 1, seconds: float = 0.02) -> Rates:
    """Takes about half a second. On a machine that is busy with other things the rates come out lower."""
    module = ir.Module("rates")
    plain = ("f32", "bf16", "i8")
    pairs = {name: _emit_multiply(module, name, machine) for name in plain}
    _emit_read(module, machine)
    _emit_clock(module)
    library = Library(jit.to_object(jit.optimise(str(module), machine), machine), machine)
    memory = np.zeros(max(SIZES) + 4096, np.uint8)
    start = memory.ctypes.data + -memory.ctypes.data % 64

    def rate(name: str, size: int = 0) -> float:
        function = _FUNCTION(library.address(name))
        return _rate(lambda thread, count: function(start + thread * size, size, count), threads, seconds)

    multiplications = {name: count * rate(name) for name, count in pairs.items()}
    each = 2 ** (threads - 1).bit_length()  # parts of a working set, one for each core
    step = READS * machine.vector_bits // 8
    return Rates(
        threads=threads,
        multiplications=multiplications,
        vectors=multiplications["f32"] / machine.lanes(32),
        bandwidth=tuple((size, step * rate("read", size // each)) for size in SIZES),
        ticks=_ticks(library),
    )


def _rate(run: Callable[[int, int], object], threads: int, seconds: float) -> float:
    """Repetitions a second, of all threads together: the best of several rounds."""
    count, taken = 1, 0.0
    while taken < seconds / 4:
        started = time.perf_counter()
        run(0, count)
        taken = time.perf_counter() - started
        count *= 2
    count = max(1, int(count / 2 * seconds / taken))
    best = float("inf")
    for _ in range(ROUNDS):
        others = [threading.Thread(target=run, args=(thread, count)) for thread in range(1, threads)]
        started = time.perf_counter()
        for other in others:
            other.start()
        run(0, count)
        for other in others:
            other.join()
        best = min(best, time.perf_counter() - started)
    return count * threads / best


def _ticks(library: Library) -> float:
    clock = _FUNCTION(library.address("clock"))
    before, ticks = time.perf_counter(), clock(None, 0, 0)
    time.sleep(0.02)
    return float((clock(None, 0, 0) - ticks) / (time.perf_counter() - before))


class _Loop:
    """`name(memory, bytes, count)`: a body over and over, which carries vectors in registers."""

    def __init__(self, module: ir.Module, name: str, kind: ir.VectorType, carried: int) -> None:
        self.function = ir.Function(module, ir.FunctionType(I64, [POINTER, I64, I64]), name)
        self.kind, self.carried = kind, carried

    def build(self, limit: ir.Value, body: Callable[[ir.IRBuilder, ir.Value, list[ir.Value]], list[ir.Value]]) -> None:
        entry, head, after = (self.function.append_basic_block(name) for name in ("entry", "loop", "after"))
        builder = ir.IRBuilder(entry)
        # From memory, where they are 0: constants would be calculated ahead, and the loop with them.
        begin = builder.load(self.function.args[0], typ=self.kind, align=4)
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        sums = [builder.phi(self.kind) for _ in range(self.carried)]
        made = body(builder, index, list(sums))
        later = builder.add(index, ir.Constant(I64, 1))
        for before, first, value in (
            (index, ir.Constant(I64, 0), later),
            *((s, begin, m) for s, m in zip(sums, made, strict=True)),
        ):
            before.add_incoming(first, entry)
            before.add_incoming(value, head)
        builder.cbranch(builder.icmp_signed("<", later, limit), head, after)
        builder.position_at_end(after)
        total = builder.bitcast(made[0], ir.VectorType(vectors.I32, self.kind.count))
        for value in made[1:]:
            total = builder.add(total, builder.bitcast(value, total.type))
        builder.ret(builder.sext(builder.extract_element(total, ir.Constant(vectors.I32, 0)), I64))


def _emit_multiply(module: ir.Module, precision: str, machine: Machine) -> int:
    """A loop of the instruction that products of `precision` are made of. Returns multiplications a repetition."""
    lanes, bits = machine.lanes(32), machine.vector_bits
    whole, floats = vectors.vector(vectors.I32, lanes), vectors.vector(vectors.F32, lanes)
    pairs, kind = lanes, floats

    def step(builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
        return vectors.multiply_add(builder, machine, total, total, total)

    if precision == "bf16" and machine.dot_bf16:
        pairs = 2 * lanes

        def step(builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
            halves = builder.bitcast(total, vectors.vector(vectors.BF16, 2 * lanes))
            return vectors.intrinsic(builder, f"llvm.x86.avx512bf16.dpbf16ps.{bits}", kind, [total, halves, halves])

    elif precision == "i8" and machine.dot_int8:
        pairs, kind = 4 * lanes, whole

        def step(builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
            bytes_ = builder.bitcast(total, vectors.vector(vectors.I8, 4 * lanes))
            return vectors.intrinsic(builder, f"llvm.x86.avx512.vpdpbusd.{bits}", kind, [total, bytes_, bytes_])

    elif precision == "i8" and machine.level != "portable":
        name = "llvm.x86.avx512.pmaddw.d.512" if bits == 512 else "llvm.x86.avx2.pmadd.wd"
        pairs, kind = 2 * lanes, whole

        def step(builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
            words = builder.bitcast(total, vectors.vector(vectors.I16, 2 * lanes))
            return builder.add(total, vectors.intrinsic(builder, name, kind, [words, words]))

    elif precision == "i8":
        kind = whole

        def step(builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
            return builder.add(total, builder.mul(total, total))

    chains = 20 if machine.registers == 32 else 12
    loop = _Loop(module, precision, kind, chains)
    loop.build(loop.function.args[2], lambda builder, _, sums: [step(builder, total) for total in sums])
    return pairs * chains


def _emit_read(module: ir.Module, machine: Machine) -> None:
    """`read(memory, bytes, count)`: reads READS vectors, `count` times, round and round in `bytes` (a power of 2)."""
    kind = vectors.vector(vectors.I32, machine.lanes(32))
    loop = _Loop(module, "read", kind, READS)
    memory, size, count = loop.function.args
    width = machine.vector_bits // 8

    def body(builder: ir.IRBuilder, index: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        at = builder.and_(builder.mul(index, ir.Constant(I64, READS * width)), builder.sub(size, ir.Constant(I64, 1)))
        made = []
        for place, total in enumerate(sums):
            offset = builder.add(at, ir.Constant(I64, place * width))
            pointer = builder.gep(memory, [offset], source_etype=vectors.I8)
            made.append(builder.or_(total, builder.load(pointer, typ=kind, align=width)))
        return made

    loop.build(count, body)


def _emit_clock(module: ir.Module) -> None:
    function = ir.Function(module, ir.FunctionType(I64, [POINTER, I64, I64]), "clock")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(vectors.intrinsic(builder, "llvm.readcyclecounter", I64, []))
