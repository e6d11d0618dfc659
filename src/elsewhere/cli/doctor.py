"""`elsewhere doctor`: what this machine can do, what is missing, how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from elsewhere.cli.report import print_json

MEMORY_WANTED = 2 * 2**30
SIMD_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
LIBRARIES = ("numpy", "numba", "llvmlite", "mujoco", "av", "starlette", "uvicorn", "websockets", "safetensors")
CODECS = {"libx264": "mp4", "libvpx-vp9": "webm"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing looked at. `remedy` says how to get what is missing; `needed` things make the verdict."""

    name: str
    ok: bool
    found: str
    needed: bool = True
    remedy: str = ""


def doctor(json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False) -> None:
    """Tell what this machine can do, what is missing and how to get it. Status 1 when something needed is missing."""
    findings = [look() for look in _LOOKS]
    well = all(finding.ok for finding in findings if finding.needed)
    if json_:
        print_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
        typer.echo("All that is needed is here." if well else "Something needed is missing; see above.")
    raise typer.Exit(0 if well else 1)


def _print(finding: Finding) -> None:
    mark, color = ("✓", "green") if finding.ok else ("✗", "red") if finding.needed else ("–", "yellow")
    typer.secho(f" {mark} ", fg=color, nl=False)
    typer.echo(f"{finding.name:<12} {finding.found}")
    if not finding.ok and finding.remedy:
        typer.echo(f"{'':16}{finding.remedy}")


def _python() -> Finding:
    return Finding(name="python", ok=True, found=f"{platform.python_version()} on {platform.machine()}")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(
        name="cores",
        ok=count >= 2,
        found=f"{count} of {os.cpu_count()} usable",
        needed=False,
        remedy="With one core frames come slowly; try a smaller --size.",
    )


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _meminfo("MemAvailable") or total
    return Finding(
        name="memory",
        ok=free >= MEMORY_WANTED,
        found=f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f}",
        needed=False,
        remedy="A live world needs up to 2 GiB. Close something, or use a smaller --size.",
    )


def _meminfo(key: str) -> int | None:
    lines = _read("/proc/meminfo").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), None)


def _simd() -> Finding:
    words = set(_read("/proc/cpuinfo").split())
    flags = [flag for flag in SIMD_FLAGS if flag in words]
    return Finding(
        name="simd",
        ok=bool(flags),
        found=" ".join(flags) or "none that is known",
        needed=False,
        remedy="Without wide registers frames come slowly.",
    )


def _libraries() -> Finding:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    remedy = f"Missing: {' '.join(missing)}. Get them with: pip install {' '.join(missing)}"
    return Finding(name="libraries", ok=not missing, found=", ".join(found), remedy=remedy if missing else "")


def _compiler() -> Finding:
    """What the networks are compiled for, and where their programs are kept."""
    try:
        from elsewhere.compiler.cache import VARIABLE, default_directory
        from elsewhere.compiler.targets.cpu.machine import describe
        from elsewhere.model.network import fastest_precision

        machine, directory = describe(), default_directory()
    except (ImportError, RuntimeError, ValueError) as error:
        return Finding(name="compiler", ok=False, found=str(error), remedy="Get it with: pip install llvmlite numba")
    writable = os.access(next(p for p in (directory, *directory.parents) if p.exists()), os.W_OK)
    kept = f"programs are kept in {directory}" if writable else f"{directory} cannot be written"
    return Finding(
        name="compiler",
        ok=writable,
        found=f"{machine.level} at {machine.vector_bits} bits, networks in {fastest_precision()}; {kept}",
        needed=False,
        remedy=f"Networks are compiled anew each time. Name another directory with ${VARIABLE}.",
    )


def _training() -> Finding:
    try:
        found = f"torch {importlib.metadata.version('torch')}"
    except importlib.metadata.PackageNotFoundError:
        remedy = "Only training and importing torch modules need it. Get it with: pip install 'elsewhere[train]'"
        return Finding(name="training", ok=False, found="no torch", needed=False, remedy=remedy)
    return Finding(name="training", ok=True, found=found, needed=False)


def _cuda() -> Finding:
    remedy = "Worlds run on the processor without it. To train on an NVIDIA card: its driver and a CUDA torch."
    listed = _ask("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return Finding(name="cuda", ok=bool(listed), found=listed or "no card found", needed=False, remedy=remedy)


def _codecs() -> Finding:
    try:
        import av

        missing = [f"{codec} ({kind})" for codec, kind in CODECS.items() if codec not in av.codecs_available]
        more = [codec for codec in ("libsvtav1", "h264_nvenc") if codec in av.codecs_available]
        found = ", ".join([*CODECS, *more, "gif", "png"])
    except ImportError:
        missing, found = ["PyAV"], "none"
    remedy = f"Missing: {', '.join(missing)}. Get a full PyAV with: pip install --force-reinstall av" if missing else ""
    return Finding(name="codecs", ok=not missing, found=found, remedy=remedy)


def _weights() -> Finding:
    folder = resources.files("elsewhere").joinpath("model", "weights")
    files = [path for path in folder.iterdir() if path.name.endswith(".safetensors")] if folder.is_dir() else []
    files.sort(key=lambda path: path.name)
    size = sum(len(path.read_bytes()) for path in files)
    return Finding(
        name="weights",
        ok=bool(files),
        found=f"{', '.join(path.name for path in files)} ({size / 1e6:.1f} MB)" if files else "none",
        remedy="This copy came without weights. Reinstall the package, or use --mode calculated.",
    )


def _page() -> Finding:
    there = resources.files("elsewhere").joinpath("page", "index.html").is_file()
    return Finding(name="page", ok=there, found="built" if there else "not built", remedy="Build it with: make page")


def _browser() -> Finding:
    paths = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next((path for path in paths if path), None)
    found = (_ask(path, "--version") or path) if path else "none found"
    remedy = "Only the page's tests need it. Get it with: sudo apt-get install chromium"
    return Finding(name="chromium", ok=path is not None, found=found, needed=False, remedy=remedy)


def _ask(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(answer.stdout.strip().splitlines())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_LOOKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _cores,
    _memory,
    _simd,
    _libraries,
    _compiler,
    _training,
    _cuda,
    _codecs,
    _weights,
    _page,
    _browser,
)
