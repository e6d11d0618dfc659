"""ONNX files as plain data: the messages of the format that matter, and tensors as arrays.

Knows nothing of operators. Data outside the file is read only from beside it.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers.errors import ImportFileError, UnsupportedError
from elsewhere.compiler.importers.protobuf import Field, Message, Schema, read, text

FILE_BYTES = 2**34
"""No file, and no tensor in it, may be larger."""

_ENTRY = {1: Field("key", "string"), 2: Field("value", "string")}
SCHEMA: Schema = {
    "Model": {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "string"),
        7: Field("graph", "Graph"),
        8: Field("opset_import", "Opset", True),
        25: Field("functions", "Function", True),
    },
    "Opset": {1: Field("domain", "string"), 2: Field("version", "int")},
    "Function": {1: Field("name", "string"), 10: Field("domain", "string")},
    "Graph": {
        1: Field("node", "Node", True),
        2: Field("name", "string"),
        5: Field("initializer", "Tensor", True),
        11: Field("input", "ValueInfo", True),
        12: Field("output", "ValueInfo", True),
        15: Field("sparse_initializer", "bytes", True),
    },
    "Node": {
        1: Field("input", "string", True),
        2: Field("output", "string", True),
        3: Field("name", "string"),
        4: Field("op_type", "string"),
        5: Field("attribute", "Attribute", True),
        7: Field("domain", "string"),
        9: Field("metadata", "Entry", True),
    },
    "Attribute": {
        1: Field("name", "string"),
        2: Field("f", "float"),
        3: Field("i", "int"),
        4: Field("s", "bytes"),
        5: Field("t", "Tensor"),
        6: Field("g", "bytes"),
        7: Field("floats", "float", True),
        8: Field("ints", "int", True),
        9: Field("strings", "bytes", True),
        20: Field("type", "int"),
    },
    "Tensor": {
        1: Field("dims", "int", True),
        2: Field("data_type", "int"),
        4: Field("float_data", "float", True),
        5: Field("int32_data", "int", True),
        7: Field("int64_data", "int", True),
        8: Field("name", "string"),
        9: Field("raw_data", "bytes"),
        10: Field("double_data", "double", True),
        11: Field("uint64_data", "int", True),
        13: Field("external_data", "Entry", True),
        14: Field("data_location", "int"),
    },
    "Entry": _ENTRY,
    "ValueInfo": {1: Field("name", "string"), 2: Field("type", "Type")},
    "Type": {1: Field("tensor_type", "TensorType")},
    "TensorType": {1: Field("elem_type", "int"), 2: Field("shape", "Shape")},
    "Shape": {1: Field("dim", "Dimension", True)},
    "Dimension": {1: Field("dim_value", "int"), 2: Field("dim_param", "string")},
}

FORMATS: dict[int, tuple[str, Any, str]] = {
    1: ("float", np.float32, "float_data"),
    2: ("uint8", np.uint8, "int32_data"),
    3: ("int8", np.int8, "int32_data"),
    4: ("uint16", np.uint16, "int32_data"),
    5: ("int16", np.int16, "int32_data"),
    6: ("int32", np.int32, "int32_data"),
    7: ("int64", np.int64, "int64_data"),
    9: ("bool", np.bool_, "int32_data"),
    10: ("float16", np.float16, "int32_data"),
    11: ("double", np.float64, "double_data"),
    12: ("uint32", np.uint32, "uint64_data"),
    13: ("uint64", np.uint64, "uint64_data"),
    16: ("bfloat16", np.uint16, "int32_data"),
}
"""Numbers of formats: their name, NumPy's format, and the field of data that is not raw."""

BFLOAT16 = 16


@dataclass(frozen=True, slots=True)
class Data:
    """A known tensor. bfloat16 is held as f32, marked by `bf16`."""

    array: NDArray[Any]
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """An input or output: its name, the number of its format, and its lengths (None where they are dynamic)."""

    name: str
    format: int
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """One node. Inputs that are left out have the empty name."""

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A file's graph."""

    opset: int
    inputs: tuple[Given, ...]
    outputs: tuple[Given, ...]
    nodes: tuple[Operator, ...]
    initial: dict[str, Data]


def load(source: str | os.PathLike[str] | bytes) -> Model:
    """Reads a file, or its bytes. Raises ImportFileError, or UnsupportedError for parts that have no counterpart."""
    if isinstance(source, bytes):
        return _model(memoryview(source), None)
    path = Path(source)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > FILE_BYTES:
                raise ImportFileError(f"{path.name} has {size} bytes, more than {FILE_BYTES}")
            if size == 0:
                raise ImportFileError(f"{path.name} is empty")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ImportFileError(f"cannot read {path.name}: {error.strerror}") from error
    return _model(data, path.resolve().parent)


def _model(data: memoryview, folder: Path | None) -> Model:
    if len(data) > FILE_BYTES:
        raise ImportFileError(f"{len(data)} bytes are more than {FILE_BYTES}")
    message = read(data, SCHEMA, "Model")
    if "graph" not in message:
        raise ImportFileError("no ONNX file: it holds no graph")
    if message["functions"]:
        names = [f.get("name", "") for f in message["functions"]][:5]
        raise UnsupportedError(f"functions of the model's own ({names}); export with functions inlined")
    opsets = {o.get("domain", ""): o.get("version", 0) for o in message["opset_import"]}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    graph = message["graph"]
    if graph["sparse_initializer"]:
        raise UnsupportedError("sparse tensors")
    initial: dict[str, Data] = {}
    for tensor in graph["initializer"]:
        name = tensor.get("name", "")
        if name in initial:
            raise ImportFileError(f"two tensors are called {name!r}")
        initial[name] = tensor_data(tensor, folder)
    inputs = tuple(_given(i) for i in graph["input"] if i.get("name", "") not in initial)
    nodes = tuple(_operator(n, folder) for n in graph["node"])
    return Model(opset, inputs, tuple(_given(o) for o in graph["output"]), nodes, initial)


def _given(message: Message) -> Given:
    name = message.get("name", "")
    kind = message.get("type", {}).get("tensor_type")
    if kind is None:
        raise UnsupportedError(f"{name!r} is no tensor (sequences, maps and optional values have no counterpart)")
    shape: list[int | str | None] = []
    for dim in kind.get("shape", {"dim": []})["dim"]:
        shape.append(dim["dim_value"] if "dim_value" in dim else dim.get("dim_param"))
    return Given(name, kind.get("elem_type", 0), tuple(shape))


def _operator(message: Message, folder: Path | None) -> Operator:
    place = {e.get("key", ""): e.get("value", "") for e in message["metadata"]}
    attributes = {a.get("name", ""): _attribute(a, folder) for a in message["attribute"]}
    return Operator(
        message.get("op_type", ""),
        message.get("domain", ""),
        message.get("name", ""),
        tuple(message["input"]),
        tuple(message["output"]),
        attributes,
        _place(place.get("pkg.torch.onnx.name_scopes", ""), message.get("name", "")),
    )


def _place(scopes: str, name: str) -> str:
    """The module's path as the exporter wrote it ("['', 'blocks.0', 'node']"), or what the node's name says."""
    parts = [p.strip().strip("'\"") for p in scopes.strip("[]").split(",")]
    if len(parts) > 1:
        return parts[-2]
    # "/blocks.0/feed_in/MatMul" of the older exporter
    return ".".join(p for p in name.split("/")[1:-1] if p) if name.startswith("/") else ""


def _attribute(message: Message, folder: Path | None) -> Any:
    """By the type that it says it has; files of old exporters say none, and have one field."""
    kinds = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings"}
    kind = kinds.get(message.get("type", 0))
    if kind is None:
        kind = next((k for k in kinds.values() if message.get(k) not in (None, [])), "ints")
    value = message.get(kind, {"f": 0.0, "i": 0, "s": memoryview(b"")}.get(kind))
    if kind == "g":
        return Subgraph()
    if kind == "t":
        if value is None:
            raise ImportFileError(f"attribute {message.get('name', '')!r} has no tensor")
        return tensor_data(value, folder)
    if kind == "s":
        return text(value, "a text attribute")
    if kind == "strings":
        return [text(v, "a text attribute") for v in value]
    return value


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Stands for a graph inside a node (branches, loops), which has no counterpart."""


def tensor_data(message: Message, folder: Path | None) -> Data:
    """The array of a tensor message. Raises ImportFileError if its data does not fit its shape."""
    name = message.get("name", "")
    kind = message.get("data_type", 0)
    if kind not in FORMATS:
        raise UnsupportedError(f"tensor {name!r} holds numbers of format {kind}, which have no counterpart")
    _, dtype, field_name = FORMATS[kind]
    dims = tuple(message["dims"])
    if any(n < 0 for n in dims):
        raise ImportFileError(f"tensor {name!r} has a negative length: {dims}")
    count = math.prod(dims)
    size = np.dtype(dtype).itemsize
    if count * size > FILE_BYTES:
        raise ImportFileError(f"tensor {name!r} of shape {dims} would have {count * size} bytes")
    if message.get("data_location", 0) == 1:
        raw: Any = _external(message, folder, count * size)
    else:
        raw = message.get("raw_data")
    if raw is not None:
        if len(raw) != count * size:
            raise ImportFileError(f"tensor {name!r} of shape {dims} needs {count * size} bytes, has {len(raw)}")
        flat = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    else:
        flat = _typed(message[field_name], dtype, kind, name)
    if flat.size != count:
        raise ImportFileError(f"tensor {name!r} of shape {dims} needs {count} numbers, has {flat.size}")
    if kind == BFLOAT16:
        flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return Data(flat.reshape(dims), kind == BFLOAT16)


def _typed(values: list[Any], dtype: Any, kind: int, name: str) -> NDArray[Any]:
    """Numbers that are written one by one; f16 and bf16 as their bits."""
    try:
        if kind == 10:
            return np.array(values, np.uint16).view(np.float16)
        if kind == 13:
            return np.array([v % 2**64 for v in values], np.uint64)
        with np.errstate(over="ignore"):
            return np.array(values, dtype)
    except (OverflowError, ValueError) as error:
        raise ImportFileError(f"tensor {name!r}: {error}") from error


def _external(message: Message, folder: Path | None, size: int) -> memoryview:
    """Data of a file beside the model's. Only plain relative names inside its folder are followed."""
    name = message.get("name", "")
    entries = {e.get("key", ""): e.get("value", "") for e in message["external_data"]}
    location = entries.get("location", "")
    if folder is None:
        raise UnsupportedError(f"tensor {name!r} lies in another file ({location!r}); pass a path instead of bytes")
    path = Path(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
        raise ImportFileError(f"tensor {name!r}: {location!r} is no file inside the model's folder")
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder) or not whole.is_file():
        raise ImportFileError(f"tensor {name!r}: {location!r} is no file inside the model's folder")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
    except ValueError as error:
        raise ImportFileError(f"tensor {name!r}: its offset and length are no numbers") from error
    if offset < 0 or length != size or offset + length > whole.stat().st_size:
        raise ImportFileError(
            f"tensor {name!r}: bytes {offset} to {offset + length} of {location!r}, which has {whole.stat().st_size}; "
            f"its shape needs {size}"
        )
    if size == 0:
        return memoryview(b"")
    with whole.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[offset : offset + length]
