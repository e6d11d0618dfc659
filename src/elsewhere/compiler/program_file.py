"""`.ew`: a network in one file that is safe to take from a stranger. Graph, weights, and where they come from.

    0   8   magic
    8   4   version (little-endian, as all numbers)
    12  4   length of the header in bytes
    16  32  SHA-256 of all else, the 16 bytes before it first
    48      header: JSON with the graph as text (`ir.text`), the place of every constant, metadata
    …       constants, raw, each at a multiple of 64; bf16 as the upper 2 bytes of f32

Nothing in a file is executed, every length is checked before it is used, and constants are views of the mapped file
(bf16 alone is copied, to the f32 in which the oracle holds it). A file is written beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.spec import SpecError, check
from elsewhere.compiler.ir.text import INLINE, TextError, parse, show
from elsewhere.compiler.ir.types import DTYPES, numpy_dtype

MAGIC = b"\x89ELSEWH\n"
VERSION = 1
ALIGNMENT = 64
HEADER_BYTES = 2**28
"""No header may be longer."""

_PREFIX = struct.Struct("<8sII")
_DATA = _PREFIX.size + hashlib.sha256().digest_size
_FILE = {"f32": "<f4", "bf16": "<u2", "f16": "<f2", "i8": "i1", "i32": "<i4"}


class ProgramFileError(ValueError):
    """The file is damaged, of another version, or no program file; the message says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramFile:
    """What a file holds."""

    graph: Graph
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: where the network comes from, how it was quantised."""
    states: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What states hold before the first run."""


def save(
    path: str | os.PathLike[str],
    graph: Graph,
    metadata: Mapping[str, Any] | None = None,
    states: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Writes a file that is complete or not there. The same network gives the same bytes.

    Raises ValueError for metadata that JSON cannot say or a state that the graph has not, OSError for the disk.
    """
    check(graph, "fused")
    types = {name: graph.nodes[graph.inputs[name]].type for name, _ in graph.states}
    for name, value in (states or {}).items():
        if name not in types or np.shape(value) != types[name].shape:
            raise ValueError(
                f"states: {name!r} {np.shape(value)} must be one of {[f'{n} {t}' for n, t in types.items()]}"
            )
    blocks: list[bytes | memoryview] = []
    end = 0

    def place(data: NDArray[Any], dtype: str) -> dict[str, Any]:
        nonlocal end
        raw = _to_file(data, dtype)
        start = -(-end // ALIGNMENT) * ALIGNMENT
        blocks.extend((b"\0" * (start - end), raw))
        end = start + len(raw)
        return {"dtype": dtype, "shape": list(np.shape(data)), "offset": start}

    constants = {key: place(data, dtype) for key, (data, dtype) in sorted(_large(graph).items())}
    first = {name: place(np.asarray(value), types[name].dtype) for name, value in sorted((states or {}).items())}
    try:
        header = json.dumps(
            {"graph": show(graph), "constants": constants, "states": first, "metadata": dict(metadata or {})},
            ensure_ascii=False,
            allow_nan=False,
        ).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata must be what JSON can say: {error}") from error
    if len(header) > HEADER_BYTES:
        raise ValueError(f"a header of {len(header)} bytes is more than {HEADER_BYTES}")
    header += b" " * (-(_DATA + len(header)) % ALIGNMENT)
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header))
    digest = hashlib.sha256(prefix + header)
    for block in blocks:
        digest.update(block)
    _write(Path(path), [prefix, digest.digest(), header, *blocks])


def load(path: str | os.PathLike[str], *, verify: bool = True) -> ProgramFile:
    """Reads a file. Its graph is legal; without `verify` the digest of the weights is not compared.

    Raises ProgramFileError, or OSError if there is no such file.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _DATA:
            raise ProgramFileError(f"{Path(path).name} has {size} bytes: no program file, or its beginning is cut off")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return decode(data, Path(path).name, verify=verify)


def decode(data: memoryview | bytes, name: str = "the file", *, verify: bool = True) -> ProgramFile:
    """The content of a file's bytes. Arrays are views of `data`. Raises ProgramFileError."""
    data = memoryview(data).cast("B")
    if len(data) < _DATA:
        raise ProgramFileError(f"{name} has {len(data)} bytes: no program file, or its beginning is cut off")
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise ProgramFileError(f"{name} is no program file of Elsewhere")
    if version != VERSION:
        raise ProgramFileError(f"{name} has version {version}; this release reads version {VERSION}: compile it again")
    body = data[_DATA:]
    if length > HEADER_BYTES or length > len(body):
        raise ProgramFileError(f"{name}: its header has {length} bytes, {len(body)} are left")
    digest = hashlib.sha256(data[: _PREFIX.size])
    if verify:
        digest.update(body)
    if verify and digest.digest() != data[_PREFIX.size : _DATA]:
        raise ProgramFileError(f"{name} is damaged or cut off: its SHA-256 is another")
    try:
        header = json.loads(bytes(body[:length]))
        weights = body[length:]
        constants = _arrays(header["constants"], weights)
        graph = check(parse(header["graph"], constants), "fused")
        states = _arrays(header["states"], weights)
        metadata = header["metadata"]
    except (TextError, SpecError) as error:
        raise ProgramFileError(f"{name}: its graph is not legal: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ProgramFileError(f"{name}: its header is not sound: {type(error).__name__}: {error}") from error
    types = {state: graph.nodes[graph.inputs[state]].type for state, _ in graph.states}
    for state, value in states.items():
        if state not in types or (value.shape, value.dtype) != (types[state].shape, numpy_dtype(types[state].dtype)):
            raise ProgramFileError(f"{name}: it holds a state {state!r} {value.shape} that its graph has not")
    if not isinstance(metadata, dict):
        raise ProgramFileError(f"{name}: its metadata is no JSON object")
    return ProgramFile(graph=graph, metadata=metadata, states=states)


def _large(graph: Graph) -> dict[str, tuple[NDArray[Any], str]]:
    """Constants that the text does not write out, by key, those of fused regions included."""
    found: dict[str, tuple[NDArray[Any], str]] = {}
    for node in graph.nodes:
        if node.op == "fused":
            found |= _large(node.attributes["body"])
        elif node.op == "constant" and node.type.size > INLINE:
            found[node.attributes["key"]] = (graph.constants[node.attributes["key"]], node.type.dtype)
    return found


def _to_file(data: NDArray[Any], dtype: str) -> memoryview:
    data = np.ascontiguousarray(data, numpy_dtype(dtype))
    if dtype == "bf16":
        data = (data.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    flat = data.astype(_FILE[dtype], copy=False).reshape(-1)
    return memoryview(flat.view(np.uint8).data) if flat.size else memoryview(b"")


def _arrays(table: Mapping[str, Any], weights: memoryview) -> dict[str, NDArray[Any]]:
    """Every array that the header names. Raises ValueError or LookupError for what lies outside the file."""
    arrays = {}
    for key, entry in table.items():
        dtype, shape, offset = entry["dtype"], tuple(entry["shape"]), entry["offset"]
        if dtype not in DTYPES:
            raise ValueError(f"{key!r} has format {dtype!r}; there are {sorted(DTYPES)}")
        if not all(type(n) is int and n >= 0 for n in (*shape, offset)) or len(shape) > 64:
            raise ValueError(f"{key!r} has shape {shape} at {offset!r}")
        size = math.prod(shape) * DTYPES[dtype]
        if offset % ALIGNMENT or offset + size > len(weights):
            raise ValueError(f"{key!r} lies at bytes {offset} to {offset + size} of {len(weights)}")
        data = np.frombuffer(weights[offset : offset + size], _FILE[dtype]).reshape(shape)
        arrays[key] = (data.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "bf16" else data
    return arrays


def _write(path: Path, blocks: list[Any]) -> None:
    """All or nothing: into a file beside it, then renamed."""
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)  # mkstemp's own are for its maker alone
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
