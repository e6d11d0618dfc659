"""The most multiply-adds a second that this processor's cores do, by data type: what a runtime is measured against.

    python benchmarks/peak.py

A loop of independent dot-product instructions on registers alone, made with LLVM at the width that the processor
has, timed on one core and on all. No memory is touched, so nothing can run faster.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCUMULATORS = 24
"""Independent sums: latency (4 to 5 cycles) times two instructions a cycle, with room, within 32 registers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """A way to multiply and add one register: its assembly text ($0 += $1 · $2) and how many pairs that is."""

    precision: str
    name: str
    assembly: str
    pairs: int
    register_bits: int
    needs: tuple[str, ...]
    accumulators: int = ACCUMULATORS
    scratch: bool = False
    """Needs a register of its own ($3) and one full of 16-bit ones ($4)."""


# The best that a processor has comes first.
INSTRUCTIONS = (
    Instruction(
        precision="int8", name="vpdpbusd zmm", assembly="vpdpbusd $2, $1, $0", pairs=64, register_bits=512,
        needs=("avx512_vnni",),
    ),
    Instruction(
        precision="int8", name="vpdpbusd ymm", assembly="{vex} vpdpbusd $2, $1, $0", pairs=32, register_bits=256,
        needs=("avx_vnni",), accumulators=12,
    ),
    Instruction(
        precision="int8", name="vpmaddubsw + vpmaddwd + vpaddd ymm",
        assembly="vpmaddubsw $2, $1, $3\n vpmaddwd $4, $3, $3\n vpaddd $3, $0, $0", pairs=32, register_bits=256,
        needs=("avx2",), accumulators=10, scratch=True,
    ),
    Instruction(
        precision="bf16", name="vdpbf16ps zmm", assembly="vdpbf16ps $2, $1, $0", pairs=32, register_bits=512,
        needs=("avx512_bf16",),
    ),
    Instruction(
        precision="f32", name="vfmadd231ps zmm", assembly="vfmadd231ps $2, $1, $0", pairs=16, register_bits=512,
        needs=("avx512f",),
    ),
    Instruction(
        precision="f32", name="vfmadd231ps ymm", assembly="vfmadd231ps $2, $1, $0", pairs=8, register_bits=256,
        needs=("fma", "avx2"), accumulators=12,
    ),
    Instruction(
        precision="int8", name="sdot", assembly="sdot $0.4s, $1.16b, $2.16b", pairs=16, register_bits=128,
        needs=("asimddp",),
    ),
    Instruction(
        precision="bf16", name="bfdot", assembly="bfdot $0.4s, $1.8h, $2.8h", pairs=8, register_bits=128,
        needs=("bf16", "asimd"),
    ),
    Instruction(
        precision="f32", name="fmla", assembly="fmla $0.4s, $1.4s, $2.4s", pairs=4, register_bits=128,
        needs=("asimd",),
    ),
)  # fmt: skip


def processor() -> dict[str, Any]:
    """Model name, core count and the vector extensions that matter, from the kernel."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = (fields.get("flags") or fields.get("features") or "").split()
    known = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")
    return {
        "model": fields.get("model name", "unknown"),
        "family": fields.get("cpu family", ""),
        "cores": len(os.sched_getaffinity(0)),
        "vector_extensions": [f for f in (*known, "asimd", "asimddp", "bf16") if f in flags],
    }


def best_instructions() -> list[Instruction]:
    """The widest instruction that this processor has, for each precision."""
    found: dict[str, Instruction] = {}
    have = set(processor()["vector_extensions"])
    for instruction in INSTRUCTIONS:
        if have.issuperset(instruction.needs):
            found.setdefault(instruction.precision, instruction)
    return list(found.values())


def compile_loop(instruction: Instruction) -> tuple[Any, Callable[[int], int]]:
    """A native function of a repeat count. The engine has to live as long as it."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    word, wide = ir.IntType(64), ir.VectorType(ir.IntType(32), instruction.register_bits // 32)
    module = ir.Module("peak")
    function = ir.Function(module, ir.FunctionType(word, [word]), "loop")
    entry, body, after = (function.append_basic_block(name) for name in ("entry", "body", "after"))
    zero = ir.Constant(wide, [0] * wide.count)
    builder = ir.IRBuilder(entry)
    builder.branch(body)
    builder.position_at_end(body)
    count = builder.phi(word)
    sums = [builder.phi(wide) for _ in range(instruction.accumulators)]
    letter = "w" if "asimd" in " ".join(instruction.needs) else "v"
    if instruction.scratch:
        shape = ir.FunctionType(ir.LiteralStructType([wide, wide]), [wide, wide, wide, wide])
        # Outputs are $0 and $3 here, so the text's numbers are moved: 0 sum, 1 scratch, then 2 a, 3 b, 4 ones, 5 sum.
        text = instruction.assembly.replace("$3", "$S").replace("$2", "$B").replace("$1", "$A").replace("$4", "$4")
        text = text.replace("$S", "$1").replace("$B", "$3").replace("$A", "$2")
        assembly = ir.InlineAsm(shape, text, f"={letter},=&{letter},{letter},{letter},{letter},0", side_effect=True)
        ones = ir.Constant(wide, [0x00010001] * wide.count)
        made = [builder.extract_value(builder.call(assembly, [zero, zero, ones, s]), 0) for s in sums]
    else:
        shape = ir.FunctionType(wide, [wide, wide, wide])
        constraint = f"={letter},{letter},{letter},0"
        assembly = ir.InlineAsm(shape, instruction.assembly, constraint, side_effect=True)
        made = [builder.call(assembly, [zero, zero, s]) for s in sums]
    left = builder.sub(count, ir.Constant(word, 1))
    count.add_incoming(function.args[0], entry)
    count.add_incoming(left, body)
    for before, later in zip(sums, made, strict=True):
        before.add_incoming(zero, entry)
        before.add_incoming(later, body)
    builder.cbranch(builder.icmp_unsigned(">", left, ir.Constant(word, 0)), body, after)
    builder.position_at_end(after)
    total = made[0]
    for other in made[1:]:
        total = builder.add(total, other)
    builder.ret(builder.zext(builder.extract_element(total, ir.Constant(ir.IntType(32), 0)), word))

    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    address = engine.get_function_address("loop")
    return engine, ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address)


def rate(instruction: Instruction, threads: int, *, seconds: float = 0.15, rounds: int = 12) -> float:
    """Operations a second (a multiply and an add are two), the best of `rounds`, all threads together."""
    engine, loop = compile_loop(instruction)
    started = time.perf_counter()
    loop(100_000)
    count = max(1, int(100_000 * seconds / (time.perf_counter() - started)))
    best = 0.0
    for _ in range(rounds):
        others = [threading.Thread(target=loop, args=(count,)) for _ in range(threads - 1)]
        started = time.perf_counter()
        for other in others:
            other.start()
        loop(count)
        for other in others:
            other.join()
        done = 2.0 * instruction.pairs * instruction.accumulators * count * threads
        best = max(best, done / (time.perf_counter() - started))
    del engine
    return best


def measure(*, seconds: float = 0.15) -> dict[str, dict[str, Any]]:
    """For each precision: the instruction, and 10⁹ operations a second on one core and on two (or all, if fewer)."""
    cores = min(2, len(os.sched_getaffinity(0)))
    return {
        instruction.precision: {
            "instruction": instruction.name,
            "giga_operations_per_second": {
                str(threads): round(rate(instruction, threads, seconds=seconds) / 1e9, 1)
                for threads in sorted({1, cores})
            },
        }
        for instruction in best_instructions()
    }


if __name__ == "__main__":
    print(json.dumps({"processor": processor(), "peak": measure()}, indent=2))
