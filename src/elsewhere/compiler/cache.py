"""Programs on disk, found again by what they were made from: a network is compiled once on a machine.

One file a program, named by the SHA-256 of everything that decides its content: the graph with its constants, the
processor, the numbers of threads, LLVM's version and this compiler's own source. A file is

    magic 8 · header's length 8 · header's SHA-256 32 · header (JSON) · code · data

with code and data at multiples of a page. The header holds the program's tables and the digests of code and
data. Files appear by renaming, so a reader sees a whole file or none; a file that is damaged, foreign or not this
user's is passed over and written anew. Where nothing can be written, programs are built each time, with one warning.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.directories import VARIABLE, default_directory, is_own, read_own, write_whole
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.text import show
from elsewhere.compiler.ir.types import DTYPES
from elsewhere.compiler.targets.cpu.machine import Machine, describe, llvm_identity
from elsewhere.compiler.targets.cpu.program import Entry, Port, Program

FORMAT = 1
MAGIC = b"\x93ewprog\n"
SUFFIX = ".program"
NOTE = ".note"
PAGE = max(4096, mmap.ALLOCATIONGRANULARITY)
READ_BYTES = 2**20
HEADER_LIMIT = 2**26
"""Bytes; the tables of a network of 1,000 kernels take about 300 KiB."""
STALE_SECONDS = 3600.0
"""Age after which an unfinished file is taken for abandoned."""

_SPECIAL = ("code", "data")
_DAMAGE = (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError, MemoryError, OSError)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CacheOptions:
    """Where programs are kept, and how much of the disk they may take."""

    directory: Path | None = None
    """None is the platform's cache directory, or $ELSEWHERE_CACHE."""
    limit_bytes: int = 2 * 2**30
    """Beyond this the programs that were not used for longest are dropped."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A program, and how it was come by."""

    program: Program
    hit: bool
    """From disk; otherwise it was built."""
    seconds: float
    """From the call to the program in memory; linking comes after."""
    key: str
    path: Path


def load_or_build(
    graph: Graph,
    machine: Machine | None = None,
    threads: Sequence[int] = (1, 2),
    options: CacheOptions | None = None,
    *,
    precision: str = "f32",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> Program:
    """The program of `graph` for `machine` (this one by default), from disk if it was built before.

    Raises what `build` raises. What is wrong with the disk is never an error.
    """
    return find_or_build(graph, machine, threads, options, precision=precision, samples=samples).program


def find_or_build(
    graph: Graph,
    machine: Machine | None = None,
    threads: Sequence[int] = (1, 2),
    options: CacheOptions | None = None,
    *,
    precision: str = "f32",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> Found:
    """As `load_or_build`, with what happened."""
    start = time.perf_counter()
    machine, options = machine or describe(), options or CacheOptions()
    key = key_of(graph, machine, threads, precision, samples)
    path = (options.directory or default_directory()) / f"{key}{SUFFIX}"
    program = load(path, key)
    hit = program is not None
    if program is None:
        from elsewhere.compiler.targets.cpu.build import build  # and with it LLVM

        program = build(graph, machine, threads, precision, samples)
        _keep(program, path, key, options)
    return Found(program=program, hit=hit, seconds=time.perf_counter() - start, key=key, path=path)


def note(digest: str, machine: Machine, threads: Sequence[int], found: Found, said: dict[str, Any]) -> None:
    """Writes down that the model file of SHA-256 `digest` became `found`, and what its ports are (JSON)."""
    path = _note_path(digest, machine, threads, found.path.parent)
    write_whole(path, json.dumps({"key": found.key, "said": said}, allow_nan=False).encode())


def noted(
    digest: str, machine: Machine, threads: Sequence[int], options: CacheOptions | None = None
) -> tuple[Found, Any] | None:
    """The program that a model file became before, and what was said of it: its graph need not be read."""
    start = time.perf_counter()
    path = _note_path(digest, machine, threads, (options or CacheOptions()).directory or default_directory())
    kept = read_own(path)
    try:
        content = json.loads(kept or b"")
        key, said = content["key"], content["said"]
        _need(isinstance(key, str) and len(key) == 64 and set(key) <= set("0123456789abcdef"), "a key")
    except _DAMAGE:
        return None
    at = path.parent / f"{key}{SUFFIX}"
    program = load(at, key)
    if program is None:
        return None
    return Found(program=program, hit=True, seconds=time.perf_counter() - start, key=key, path=at), said


def _note_path(digest: str, machine: Machine, threads: Sequence[int], directory: Path) -> Path:
    return directory / f"{_key(machine, threads, digest, 0)}{NOTE}"


# -- what a program is made from ------------------------------------------------------------------------------------


def key_of(
    graph: Graph,
    machine: Machine,
    threads: Sequence[int],
    precision: str = "f32",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> str:
    """64 hexadecimal digits that differ wherever the program may differ."""
    digest = hashlib.sha256(_key(machine, threads, precision, len(samples)).encode())
    _add_graph(digest, graph)
    for sample in samples:
        _add_arrays(digest, sample)
    return digest.hexdigest()


def _key(machine: Machine, threads: Sequence[int], precision: str, samples: int) -> str:
    parts = {
        "format": FORMAT,
        "machine": dataclasses.asdict(machine),
        "threads": sorted(set(threads)),
        "llvm": llvm_identity(),
        "compiler": source_digest(),
        "precision": precision,
        "samples": samples,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _add_graph(digest: Any, graph: Graph) -> None:
    text = show(graph).encode()
    digest.update(b"graph %d " % len(text) + text)
    _add_arrays(digest, graph.constants)  # by content: a key alone is only a name
    for node in graph.nodes:
        if node.op == "fused":
            _add_graph(digest, node.attributes["body"])


def _add_arrays(digest: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name in sorted(arrays):
        data = np.ascontiguousarray(arrays[name])
        digest.update(f"array {name!r} {data.dtype.str} {data.shape} ".encode())
        digest.update(data.reshape(-1).view(np.uint8).data)


@cache
def source_digest() -> str:
    """Of the files that turn a graph into a program: another compiler makes other programs."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in ("ir", "passes", "plan", "targets/cpu"):
        for path in sorted((root / folder).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()


source_digest()  # now, not when it is first wanted: a file that changes later is not the one that was imported


# -- files ----------------------------------------------------------------------------------------------------------


def save(program: Program, path: Path, key: str) -> None:
    """Writes `program` so that `path` holds all of it or is as before. Raises OSError."""
    header = _header(program, key)
    code_at = _pages(48 + len(header))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=SUFFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header)
            file.seek(code_at)
            file.write(program.code)
            file.seek(_pages(code_at + len(program.code)))
            file.write(np.ascontiguousarray(program.data).data)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def load(path: Path, key: str) -> Program | None:
    """The program at `path` if it is there, whole, this user's and made from `key`; otherwise None."""
    try:
        with path.open("rb") as file:
            if not is_own(os.fstat(file.fileno())):
                return None
            program = _read(file, key)
    except _DAMAGE:
        return None
    with contextlib.suppress(OSError):  # the time of last use; a read-only directory keeps the time of writing
        os.utime(path)
    return program


def _header(program: Program, key: str) -> bytes:
    tables: dict[str, Any] = {}
    for field in dataclasses.fields(program):
        value = getattr(program, field.name)
        if field.name == "schedules":
            value = {str(count): ranges.tolist() for count, ranges in value.items()}
        elif field.name in ("inputs", "outputs", "states", "entries"):
            value = [dataclasses.asdict(item) for item in value]
        if field.name not in _SPECIAL:
            tables[field.name] = value
    content = {
        "format": FORMAT,
        "key": key,
        "code": [len(program.code), hashlib.sha256(program.code).hexdigest()],
        "data": [program.data.size, hashlib.sha256(np.ascontiguousarray(program.data).data).hexdigest()],
        "tables": tables,
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _read(file: BinaryIO, key: str) -> Program:
    """Raises one of _DAMAGE for anything but a file that `save` wrote for `key`.

    The data is read once for its digest and then mapped: what a network never touches stays out of memory.
    """
    prefix = file.read(48)
    length = int.from_bytes(prefix[8:16], "little")
    _need(prefix[:8] == MAGIC and 0 < length <= HEADER_LIMIT, "no program")
    header = file.read(length)
    _need(len(header) == length and hashlib.sha256(header).digest() == prefix[16:48], "a damaged header")
    content = json.loads(header)
    _need(content["format"] == FORMAT and content["key"] == key, "another program")
    (code_size, code_digest), (data_size, data_digest) = content["code"], content["data"]
    code_at = _pages(48 + length)
    data_at = _pages(code_at + code_size)
    _need(code_size > 0 and data_size > 0 and data_at + data_size <= os.fstat(file.fileno()).st_size, "a cut file")
    file.seek(code_at)
    code = file.read(code_size)
    _need(hashlib.sha256(code).hexdigest() == code_digest, "damaged code")
    file.seek(data_at)
    _need(_digest(file, data_size) == data_digest, "damaged data")
    mapped = mmap.mmap(file.fileno(), data_size, access=mmap.ACCESS_READ, offset=data_at)
    return _checked(_program(content["tables"], code, np.frombuffer(mapped, np.uint8)))


def _digest(file: BinaryIO, size: int) -> str:
    """SHA-256 of the next `size` bytes, read in small parts."""
    digest, part = hashlib.sha256(), bytearray(min(size, READ_BYTES))
    while size:
        count = file.readinto(memoryview(part)[: min(size, READ_BYTES)])  # type: ignore[attr-defined]
        _need(count > 0, "a cut file")
        digest.update(memoryview(part)[:count])
        size -= count
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in small parts. Raises OSError."""
    with path.open("rb") as file:
        return _digest(file, os.fstat(file.fileno()).st_size)


def _program(tables: dict[str, Any], code: bytes, data: NDArray[np.uint8]) -> Program:
    fields: dict[str, Any] = {name: _tuples(value) for name, value in tables.items()}
    for name in ("inputs", "outputs", "states"):
        fields[name] = tuple(Port(**item) for item in fields[name])
    fields["entries"] = tuple(Entry(**item) for item in fields["entries"])
    fields["schedules"] = {int(count): np.array(ranges, np.int64) for count, ranges in tables["schedules"].items()}
    return Program(code=code, data=data, **fields)


def _checked(program: Program) -> Program:
    """Tables that would make a run leave its memory are refused."""
    sizes = (program.arena_bytes, program.live_bytes, program.scratch_bytes)
    _need(all(isinstance(n, int) and 0 <= n < 2**40 for n in sizes), "sizes")
    for port in (*program.inputs, *program.outputs, *program.states):
        size = int(np.prod(port.shape, dtype=object)) * DTYPES[port.dtype]
        _need(port.offset >= 0 and size >= 0 and port.offset + size <= program.arena_bytes, "a port outside the arena")
    units = np.array([entry.units for entry in program.entries], np.int64)
    for count, ranges in program.schedules.items():
        _need(ranges.size == 2 * count * len(units), "a schedule of another length")
        ranges = program.schedules[count] = ranges.reshape(count, len(units), 2)
        inside = (ranges[..., 0] >= 0) & (ranges[..., 0] <= ranges[..., 1]) & (ranges[..., 1] <= units)
        _need(bool(inside.all()), "ranges outside a kernel's units")
    return program


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


# -- the directory --------------------------------------------------------------------------------------------------

_warned: set[Path] = set()


def _keep(program: Program, path: Path, key: str, options: CacheOptions) -> None:
    try:
        save(program, path, key)
        prune(path.parent, options.limit_bytes, keep=path)
    except OSError as error:
        if path.parent not in _warned:
            _warned.add(path.parent)
            why = (
                f"compiled programs cannot be kept in {path.parent} ({error.strerror or error}) and are built each time"
            )
            warnings.warn(f"{why}. Set ${VARIABLE} to another directory.", RuntimeWarning, stacklevel=4)


def prune(directory: Path, limit_bytes: int, keep: Path | None = None) -> list[Path]:
    """Drops programs, those not used for longest first, until the rest takes at most `limit_bytes`; and old remains.

    `keep` stays whatever its size. Returns what was dropped.
    """
    files = []
    dropped = []
    for path in directory.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):  # another process may have dropped it
            status = path.stat()
            if not path.name.startswith("."):
                files.append((status.st_mtime_ns, status.st_size, path))
            elif time.time() - status.st_mtime > STALE_SECONDS:
                path.unlink()
                dropped.append(path)
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit_bytes:
            break
        if path != keep:
            with contextlib.suppress(OSError):
                path.unlink()
                dropped.append(path)
            total -= size
    if dropped:
        _drop_notes(directory)
    return dropped


def _drop_notes(directory: Path) -> None:
    """Notes of programs that are gone."""
    for path in directory.glob(f"*{NOTE}"):
        with contextlib.suppress(*_DAMAGE):
            if not (directory / f"{json.loads(path.read_bytes())['key']}{SUFFIX}").exists():
                path.unlink()
