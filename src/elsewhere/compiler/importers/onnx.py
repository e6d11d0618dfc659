"""ONNX files → graphs. Neither `onnx` nor torch is needed.

What depends on no input is calculated while importing, in NumPy and in ONNX's own formats (shapes are int64);
everything else becomes primitives by the table in `onnx_operators`. int64 becomes i32 and bool i8.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.importers import onnx_format
from elsewhere.compiler.importers.errors import ImportFileError, UnsupportedError
from elsewhere.compiler.importers.onnx_format import Data, Given, Model, Operator, Subgraph
from elsewhere.compiler.ir import Builder, Graph, check
from elsewhere.compiler.ir.operations import TypeRule
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants

OPSETS = range(13, 24)
"""Versions of the standard operators whose meaning is known here."""

NODES = 100_000

DTYPES = {
    "float": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
    "int8": "i8",
    "bool": "i8",
    "int32": "i32",
    "int64": "i32",
}
"""ONNX's formats and ours."""

MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What a form raises where a file gives it attributes or shapes that make no sense."""


def from_onnx(source: str | os.PathLike[str] | bytes, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """Imports a file, or its bytes; inputs and outputs keep their names.

    `shapes` gives lengths to inputs whose lengths the file leaves open. Raises ImportFileError for a damaged file and
    UnsupportedError, with the node and what is missing, for a sound one that cannot be carried.
    """
    return _Import(onnx_format.load(source), dict(shapes or {})).graph()


def array(data: Data) -> tuple[NDArray[Any], str]:
    """Data in the reference's format, and our name of the format. Raises TypeRule for formats we have not."""
    values = data.array
    if data.bf16:
        return values, "bf16"
    if values.dtype == np.float64 and values.size == 1:
        return values.astype(np.float32), "f32"
    name = {"float32": "float", "float64": "double"}.get(values.dtype.name, values.dtype.name)
    if name not in DTYPES:
        raise TypeRule(f"numbers of format {name}; supported are {sorted(DTYPES)}")
    dtype = DTYPES[name]
    if name == "int64" and values.size and (values.min() < -(2**31) or values.max() >= 2**31):
        raise TypeRule(f"an integer outside 32 bits ({values.min()} … {values.max()})")
    return values.astype({"i32": np.int32, "i8": np.int8}.get(dtype, values.dtype), copy=False), dtype


class _Import:
    """One walk over a model. It is also the context that forms of operators are given."""

    def __init__(self, model: Model, shapes: dict[str, Sequence[int]]) -> None:
        self.model = model
        self.shapes = shapes
        self.b = Builder()
        self.values: dict[str, int | Data | None] = {"": None}
        self.node: Operator = Operator("", "", "", (), ())
        self.softmaxes: set[int] = set()
        """Results of softmax over finite scores: they hold no NaN."""
        self._constants: dict[int, tuple[Data, int]] = {}

    # What forms of operators ask for

    def refuse(self, missing: str) -> UnsupportedError:
        return UnsupportedError(f"{self._where()}: {missing}")

    def _where(self) -> str:
        domain = f"{self.node.domain}." if self.node.domain not in ("", "ai.onnx") else ""
        place = f" at {self.node.place}" if self.node.place else ""
        return f"{domain}{self.node.kind}{place} (node {self.node.name or self.node.outputs[:1]!r})"

    def input(self, index: int) -> int | Data | None:
        """None for an input that is left out."""
        return self.values[self.node.inputs[index]] if index < len(self.node.inputs) else None

    def value(self, operand: int | Data | None) -> int:
        """Number of a value, known or not. An axis that is an expansion is stored once and broadcast."""
        if operand is None:
            raise self.refuse("an operand that is left out")
        if isinstance(operand, int):
            return operand
        if id(operand) not in self._constants:
            strides = zip(operand.array.shape, operand.array.strides, strict=True)
            cut = tuple(slice(0, 1) if stride == 0 and n > 1 else slice(None) for n, stride in strides)
            data, dtype = array(Data(operand.array[cut], operand.bf16))
            number = self.b.broadcast(self.b.constant(data, dtype), operand.array.shape)
            self._constants[id(operand)] = (operand, number)
        return self._constants[id(operand)][1]

    def tensor(self, index: int) -> int:
        return self.value(self.input(index))

    def maybe(self, index: int) -> int | None:
        return None if self.input(index) is None else self.tensor(index)

    def data(self, index: int, what: str) -> NDArray[Any]:
        """An input that must be known. Also sees constants behind values."""
        operand = self.input(index)
        if not isinstance(operand, Data):
            raise self.refuse(f"{what} that is known before the run")
        return operand.array

    def integers(self, index: int, what: str, default: Sequence[int] | None = None) -> list[int]:
        if self.input(index) is None and default is not None:
            return list(default)
        return [int(n) for n in self.data(index, what).reshape(-1)]

    def shape(self, operand: int | Data | None) -> tuple[int, ...]:
        if operand is None:
            raise self.refuse("an operand that is left out")
        return self.b.shape(operand) if isinstance(operand, int) else operand.array.shape

    def get(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    # The walk

    def graph(self) -> Graph:
        model = self.model
        if model.opset not in OPSETS:
            raise UnsupportedError(
                f"operators of opset {model.opset}; versions {OPSETS[0]} to {OPSETS[-1]} are covered: export again"
            )
        if len(model.nodes) > NODES:
            raise UnsupportedError(f"{len(model.nodes)} nodes, more than {NODES}")
        unknown = sorted(set(self.shapes) - {g.name for g in model.inputs})
        if unknown:
            raise ValueError(f"shapes: no input is called {unknown[0]!r}; there are {[g.name for g in model.inputs]}")
        for given in model.inputs:
            self.values[given.name] = self._given(given)
        self.values |= model.initial
        self.values[""] = None
        for node in model.nodes:
            self.node = node
            self.b.place = node.place
            self._run(node)
        for out in model.outputs:
            if self.values.get(out.name) is None:
                raise ImportFileError(f"output {out.name!r} is made by no node")
            try:
                self.b.output(out.name, self.value(self.values[out.name]))
            except TypeRule as error:
                raise UnsupportedError(f"output {out.name!r}: {error}") from error
        try:
            return check(remove_dead(fold_constants(self.b.graph())), "imported")
        except MALFORMED as error:
            raise ImportFileError(f"the graph is not sound: {error}") from error

    def _given(self, given: Given) -> int:
        name = onnx_format.FORMATS.get(given.format, (f"number {given.format}",))[0]
        if name not in DTYPES:
            raise UnsupportedError(
                f"input {given.name!r} holds numbers of format {name}; supported are {sorted(DTYPES)}"
            )
        shape = self._lengths(given)
        try:
            return self.b.input(given.name, DTYPES[name], shape)
        except TypeRule as error:
            raise ImportFileError(f"input {given.name!r}: {error}") from error

    def _lengths(self, given: Given) -> tuple[int, ...]:
        wanted = self.shapes.get(given.name)
        if wanted is None:
            moving = [i for i, n in enumerate(given.shape) if not isinstance(n, int)]
            if moving:
                raise UnsupportedError(
                    f"input {given.name!r} has a dynamic length at axis {moving[0]} (shape {given.shape}); "
                    f"give it with shapes={{{given.name!r}: (…)}}"
                )
            wanted = [int(n) for n in given.shape if isinstance(n, int)]
        fits = len(wanted) == len(given.shape) and all(
            n == w for n, w in zip(given.shape, wanted, strict=True) if isinstance(n, int)
        )
        if not fits:
            raise ValueError(f"shapes: input {given.name!r} has shape {given.shape}, got {tuple(wanted)}")
        return tuple(wanted)

    def _run(self, node: Operator) -> None:
        from elsewhere.compiler.importers.onnx_operators import FORMS, KNOWN

        if node.domain not in ("", "ai.onnx"):
            raise self.refuse("operators outside the standard have no form")
        if any(isinstance(a, Subgraph) for a in node.attributes.values()):
            raise self.refuse("control flow")
        late = [name for name in node.inputs if name not in self.values]
        if late:
            raise ImportFileError(f"{self._where()}: reads {late[0]!r}, which no node before it makes")
        try:
            results = None
            operands = [self.values[name] for name in node.inputs]
            if node.kind in KNOWN and all(o is None or isinstance(o, Data) for o in operands):
                results = KNOWN[node.kind](self, *operands)
            if results is None:
                if node.kind not in FORMS:
                    raise self.refuse("no form for this operator")
                results = FORMS[node.kind](self)
        except (UnsupportedError, ImportFileError):
            raise
        except TypeRule as error:
            raise self.refuse(str(error)) from error
        except MALFORMED as error:
            raise ImportFileError(f"{self._where()}: {type(error).__name__}: {error}") from error
        results = results if isinstance(results, (list, tuple)) else (results,)
        if len(results) < len(node.outputs):
            raise self.refuse(f"{len(node.outputs)} outputs; {len(results)} are covered")
        for name, result in zip(node.outputs, results, strict=False):
            if name and name in self.values:
                raise ImportFileError(f"{self._where()}: {name!r} is made twice")
            self.values[name] = result
        self.values[""] = None


def as_data(values: Any, like: Data | None = None) -> Data:
    """Known values; `like` says whether they are bfloat16."""
    made = Data(np.asarray(values))
    return replace(made, bf16=like.bf16) if like is not None and made.array.dtype == np.float32 else made
