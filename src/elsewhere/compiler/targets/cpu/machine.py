"""What the processor can do, as far as code generation asks."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from elsewhere.compiler import directories

LEVELS = ("avx512", "avx2", "portable")
"""Vector instruction sets that code is generated for; `portable` uses no intrinsic of any processor."""

VARIABLE = "ELSEWHERE_CPU"
"""Environment variable that forces a level, for tests and for comparisons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One instruction set. Kernels choose tile sizes and instructions by it."""

    level: str
    vector_bits: int
    registers: int
    """Vector registers: 32 with AVX-512 and on Arm, 16 otherwise."""
    dot_int8: bool
    """`vpdpbusd` (AVX-512 VNNI at 512 bits, AVX-VNNI at 256): u8·s8 products summed by fours into int32."""
    dot_bf16: bool
    """`vdpbf16ps`: bf16·bf16 products summed by twos into f32."""
    processor: str
    features: str
    """LLVM's attribute string, such as '+avx2,+fma'."""

    def lanes(self, bits: int) -> int:
        """How many numbers of `bits` bits one register holds."""
        return self.vector_bits // bits


@cache
def llvm_identity() -> str:
    """Which LLVM there is, without loading it: 40 MB that a network found in the cache does not need."""
    spec = find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the compiler needs llvmlite: pip install llvmlite", name="llvmlite")
    root = Path(spec.origin).parent
    digest = hashlib.sha256((root / "_version.py").read_bytes())
    for path in sorted((root / "binding").glob("*llvmlite.*")):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
    return digest.hexdigest()


@cache
def _host() -> dict[str, Any]:
    """LLVM's name for the processor and its features; kept on disk for as long as the processor says the same."""
    said = _processor_says()
    name = hashlib.sha256(f"{llvm_identity()} {said}".encode()).hexdigest()
    path = directories.default_directory() / f"processor-{name[:32]}.json"
    if said:
        kept = directories.read_own(path)
        try:
            found = json.loads(kept) if kept else {}
            if found.get("name") == name and isinstance(found["processor"], str):
                return {"processor": found["processor"], "features": {k: bool(v) for k, v in found["features"].items()}}
        except (ValueError, KeyError, AttributeError):
            pass  # damaged: asked and written anew
    found = _asked()
    if said:
        directories.write_whole(path, json.dumps(found | {"name": name}).encode())
    return found


def _asked() -> dict[str, Any]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some platforms
        features = {}
    return {"processor": llvm.get_host_cpu_name(), "features": features}


def _processor_says() -> str:
    """What the kernel tells of the first processor, without what changes from moment to moment; "" if nothing."""
    if sys.platform != "linux":
        return ""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return ""
    stable = [
        line for line in first.splitlines() if not line.startswith(("cpu MHz", "bogomips", "BogoMIPS", "core id"))
    ]
    return platform.machine() + "\n" + "\n".join(stable)


def host_features() -> dict[str, bool]:
    """LLVM's names of features, and whether the processor has each."""
    features: dict[str, bool] = _host()["features"]
    return features


def describe(level: str | None = None) -> Machine:
    """The machine at `level`, by default the best that the processor has (or $ELSEWHERE_CPU says).

    Raises ValueError for an unknown level, or one that the processor does not have.
    """
    wanted = level or os.environ.get(VARIABLE) or best_level()
    if wanted not in LEVELS:
        raise ValueError(f"the processor level must be one of {LEVELS}, got {wanted!r}")
    have = host_features()
    if LEVELS.index(wanted) < LEVELS.index(best_level()):
        raise ValueError(f"this processor has no {wanted}; it has {best_level()}")
    if wanted == "avx512":
        off: tuple[str, ...] = ()
    elif wanted == "avx2":
        off = tuple(name for name in have if name.startswith("avx512") or name.startswith("evex"))
    else:
        off = tuple(name for name in have if name.startswith(("avx", "fma", "f16c", "vaes", "vpclmul", "xop")))
    on = {name: value and name not in off for name, value in have.items()}
    features = ",".join(f"{'+' if on[name] else '-'}{name}" for name in sorted(on))
    return Machine(
        level=wanted,
        vector_bits={"avx512": 512, "avx2": 256, "portable": 128}[wanted],
        registers=32 if wanted == "avx512" or "neon" in have else 16,
        dot_int8=bool(on.get("avx512vnni") if wanted == "avx512" else wanted == "avx2" and on.get("avxvnni")),
        dot_bf16=bool(wanted == "avx512" and on.get("avx512bf16")),
        processor=_host()["processor"] if wanted == "avx512" else "generic" if wanted == "portable" else "haswell",
        features=features,
    )


@cache
def best_level() -> str:
    have = host_features()
    if all(have.get(name) for name in ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx2", "fma")):
        return "avx512"
    return "avx2" if have.get("avx2") and have.get("fma") else "portable"
