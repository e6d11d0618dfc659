"""LLVM text in, machine code out."""

from __future__ import annotations

import llvmlite.binding as llvm

from elsewhere.compiler.targets.cpu import objects
from elsewhere.compiler.targets.cpu.machine import Machine


def triple() -> str:
    """LLVM's name for the platform, such as 'x86_64-unknown-linux-gnu'."""
    return str(llvm.get_process_triple())


def target_machine(machine: Machine, level: int = 3) -> llvm.TargetMachine:
    """LLVM's code generator for `machine`."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.Target.from_triple(llvm.get_process_triple())
    return triple.create_target_machine(
        cpu=machine.processor,
        features=machine.features,
        opt=level,
        reloc="pic",
        # The small model is what our own loader knows; it is also the shorter code.
        codemodel="small" if objects.supported() else "jitdefault",
        jit=True,
    )


def optimise(text: str, machine: Machine, *, speed: int = 2, vectorise: bool = False) -> llvm.ModuleRef:
    """Parses, verifies and optimises a module. Kernels are vectorised by hand, so loops are left alone by default."""
    generator = target_machine(machine)
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=speed)
    options.loop_vectorization = vectorise
    options.slp_vectorization = vectorise
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(generator, options)
    builder.getModulePassManager().run(module, builder)
    return module


def to_object(module: llvm.ModuleRef, machine: Machine) -> bytes:
    """Relocatable object code."""
    return bytes(target_machine(machine).emit_object(module))
