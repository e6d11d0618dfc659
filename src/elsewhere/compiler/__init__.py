"""Networks with known shapes become static programs: addresses, order and shares of cores decided before they run.

    compiled = compile_module(module, inputs)     # a torch module; or compile_onnx("model.onnx"), load("model.ew")
    y = compiled(*inputs)

What is named here is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsewhere.compiler.compiled import Compiled, compile_graph
    from elsewhere.compiler.sources import compile_module, compile_onnx, load

__all__ = ["Compiled", "compile_graph", "compile_module", "compile_onnx", "load"]

_HOMES = {
    "Compiled": "compiled",
    "compile_graph": "compiled",
    "compile_module": "sources",
    "compile_onnx": "sources",
    "load": "sources",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"elsewhere.compiler.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
