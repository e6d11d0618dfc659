"""Machine code in this process, by our own loader where it knows the system and by LLVM's elsewhere."""

from __future__ import annotations

from typing import Any

from elsewhere.compiler.targets.cpu import objects
from elsewhere.compiler.targets.cpu.machine import Machine


class Library:
    """Object code loaded into this process. Addresses are valid as long as this object lives."""

    def __init__(self, code: bytes, machine: Machine) -> None:
        self._engine: Any = None
        try:
            self._loaded = objects.Loaded(code)
        except (objects.UnknownObjectError, OSError):
            self._engine = _engine(code, machine)

    def address(self, name: str) -> int:
        """Where function `name` is. Raises KeyError if it is not in the object."""
        if self._engine is None:
            return self._loaded.addresses[name]
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        return address


def _engine(code: bytes, machine: Machine) -> Any:
    import llvmlite.binding as llvm

    from elsewhere.compiler.targets.cpu.jit import target_machine

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(machine))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
