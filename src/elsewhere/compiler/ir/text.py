"""Graphs as text, and back. Data of large constants is not in the text; it is named by its key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.operations import OPERATIONS
from elsewhere.compiler.ir.types import Tensor, convert, numpy_dtype

INLINE = 16
"""Constants of at most so many elements are written out."""

_LINE = re.compile(r"^%(\d+) = (\w+)\(([^)]*)\) : (\w+)\[([\d,]*)\] (\{.*\})(?: at (\".*\"))?$")


class TextError(ValueError):
    """Text that is no graph; the message names the line."""


def show(graph: Graph, indent: str = "") -> str:
    """One line a value; a fused region's body is indented below it."""
    lines = []
    for number, node in enumerate(graph.nodes):
        shown = {k: v for k, v in node.attributes.items() if k not in ("dtype", "shape", "body")}
        if node.op in ("reshape", "broadcast"):
            shown["shape"] = node.attributes["shape"]
        if node.op == "cast":
            shown["dtype"] = node.attributes["dtype"]
        if node.op == "constant" and node.type.size <= INLINE:
            data = graph.constants[node.attributes["key"]]
            shown["data"] = [x if node.type.dtype in ("i8", "i32") else float(x).hex() for x in data.ravel().tolist()]
        operands = ", ".join(f"%{i}" for i in node.inputs)
        place = f" at {json.dumps(node.place)}" if node.place else ""
        lines.append(f"{indent}%{number} = {node.op}({operands}) : {node.type} {json.dumps(shown)}{place}")
        if node.op == "fused":
            lines.append(f"{indent}(")
            lines.append(show(node.attributes["body"], indent + "  ").rstrip("\n"))
            lines.append(f"{indent})")
    for word, pairs in (("output", graph.outputs), ("state", graph.states)):
        lines += [f"{indent}{word} {json.dumps(name)} %{value}" for name, value in pairs]
    return "\n".join(lines) + "\n"


def parse(text: str, constants: Mapping[str, NDArray[Any]] | None = None) -> Graph:
    """The inverse of `show`; data of large constants is taken from `constants`. Raises TextError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    graph, rest = _parse(lines, 0, dict(constants or {}), 0)
    if rest != len(lines):
        raise TextError(f"line {rest + 1}: nothing may follow, got {lines[rest]!r}")
    return graph


def _parse(lines: list[str], at: int, constants: dict[str, NDArray[Any]], depth: int) -> tuple[Graph, int]:
    nodes: list[Node] = []
    found: dict[str, NDArray[Any]] = {}
    ends: dict[str, list[tuple[str, int]]] = {"output": [], "state": []}
    while at < len(lines) and lines[at] != ")":
        line = lines[at]
        at += 1
        try:
            word = line.split(" ", 1)[0]
            if word in ends:
                name, value = line[len(word) + 1 :].rsplit(" %", 1)
                ends[word].append((str(json.loads(name)), int(value)))
                continue
            node = _node(line, len(nodes))
            attributes = dict(node.attributes)
            if node.op == "fused":
                if at >= len(lines) or lines[at] != "(" or depth:
                    raise TextError("a fused region needs one body, and a body holds no region")
                attributes["body"], at = _parse(lines, at + 1, constants, depth + 1)
                if at >= len(lines):
                    raise TextError("the body does not end")
                at += 1
            if node.op == "constant":
                found[attributes["key"]] = _data(node.type, attributes, constants)
                attributes.pop("data", None)
            nodes.append(Node(node.op, node.inputs, node.type, attributes, node.place))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise TextError(f"line {at}: {error}") from error
    return Graph(tuple(nodes), tuple(ends["output"]), tuple(ends["state"]), found), at


def _node(line: str, number: int) -> Node:
    match = _LINE.match(line)
    if not match or int(match[1]) != number:
        raise TextError(f"not a value, or not number {number}: {line[:200]!r}")
    op = match[2]
    if op not in OPERATIONS:
        raise TextError(f"there is no primitive {op!r}; there are {sorted(OPERATIONS)}")
    inputs = tuple(int(x.strip().removeprefix("%")) for x in match[3].split(",") if x.strip())
    type_ = Tensor(match[4], tuple(int(n) for n in match[5].split(",") if n))
    attributes = {k: _tuples(v) for k, v in json.loads(match[6]).items()}
    if op in ("input", "constant", "project"):
        attributes |= {"dtype": type_.dtype, "shape": type_.shape}
    return Node(op, inputs, type_, attributes, json.loads(match[7]) if match[7] else "")


def _data(type_: Tensor, attributes: Mapping[str, Any], constants: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if "data" not in attributes:
        return constants[attributes["key"]]
    numbers = [float.fromhex(x) if isinstance(x, str) else x for x in attributes["data"]]
    with np.errstate(over="ignore"):
        data = np.array(numbers, numpy_dtype(type_.dtype)).reshape(type_.shape)
    return convert(data, "bf16") if type_.dtype == "bf16" else data


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
