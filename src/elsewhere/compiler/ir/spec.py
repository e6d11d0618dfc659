"""Legality of a graph as data: which primitives a stage allows, and what must hold for every node.

`check` runs after the importers and after every pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.operations import MAXIMUM_ELEMENTS, OPERATIONS, TypeRule
from elsewhere.compiler.ir.types import numpy_dtype

PRIMITIVES = frozenset(OPERATIONS) - {"fused", "project"}

STAGES: dict[str, frozenset[str]] = {
    "imported": PRIMITIVES,
    "fused": frozenset(OPERATIONS),
    "body": PRIMITIVES - {"update"},
}
"""Primitives that a graph may hold after importing, after fusion, and inside a fused region."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_integers(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_integer, value))


def _are_pairs(value: Any) -> bool:
    return isinstance(value, tuple) and all(_are_integers(p) and len(p) == 2 for p in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


ATTRIBUTES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("axis", "groups", "index"), ("an integer", _is_integer)),
    **dict.fromkeys(("dtype", "function", "key", "kind", "name"), ("a text", _is_text)),
    **dict.fromkeys(
        ("axes", "dilation", "high", "low", "permutation", "shape", "starts", "steps", "stops", "stride", "window"),
        ("a tuple of integers", _are_integers),
    ),
    "padding": ("a tuple of pairs of integers", _are_pairs),
    "value": ("a number", lambda v: _is_integer(v) or isinstance(v, float)),
    "body": ("a graph", lambda v: isinstance(v, Graph)),
}
"""What every attribute must be: a graph may come from a file."""


class SpecError(ValueError):
    """A graph breaks a rule; the message names the node, its place in the model and the rule."""


def _operands_are_earlier(graph: Graph, number: int, node: Node) -> str | None:
    late = [i for i in node.inputs if not 0 <= i < number]
    return f"operands must be earlier values, got {late}" if late else None


def _operand_count(graph: Graph, number: int, node: Node) -> str | None:
    wanted = OPERATIONS[node.op].operands
    if wanted is None:
        return None if node.inputs or node.op == "fused" else "needs at least one operand"
    return f"takes {wanted} operands, got {len(node.inputs)}" if len(node.inputs) != wanted else None


def _attributes(graph: Graph, number: int, node: Node) -> str | None:
    missing = sorted(set(OPERATIONS[node.op].attributes) - set(node.attributes))
    if missing:
        return f"attributes are missing: {missing}"
    for name in OPERATIONS[node.op].attributes:
        what, holds = ATTRIBUTES[name]
        if not holds(node.attributes[name]):
            return f"{name} must be {what}, is {str(node.attributes[name])[:80]!r}"
    return None


def _type(graph: Graph, number: int, node: Node) -> str | None:
    try:
        wanted = OPERATIONS[node.op].infer([graph.nodes[i].type for i in node.inputs], node.attributes)
    except (TypeRule, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return str(error)
    if wanted.size >= MAXIMUM_ELEMENTS:
        return f"{wanted} has {MAXIMUM_ELEMENTS} elements or more"
    return f"its type must be {wanted}, is {node.type}" if wanted != node.type else None


def _constant(graph: Graph, number: int, node: Node) -> str | None:
    if node.op != "constant":
        return None
    data = graph.constants.get(node.attributes["key"])
    if data is None:
        return f"there is no data under {node.attributes['key']!r}"
    wanted = (node.type.shape, numpy_dtype(node.type.dtype))
    return f"its data has type {data.dtype}{data.shape}" if (data.shape, data.dtype) != wanted else None


def _body(graph: Graph, number: int, node: Node) -> str | None:
    if node.op == "fused":
        try:
            check(node.attributes["body"], "body")
        except SpecError as error:
            return f"in its body: {error}"
    if node.op == "project":
        region = graph.nodes[node.inputs[0]]
        if region.op != "fused":
            return "projects something that is not a fused region"
        body, index = region.attributes["body"], node.attributes["index"]
        if not 0 <= index < len(body.outputs):
            return f"the region has {len(body.outputs)} outputs, no number {index}"
        if body.nodes[body.outputs[index][1]].type != node.type:
            return f"output {index} of the region is {body.nodes[body.outputs[index][1]].type}"
    return None


RULES: dict[str, Callable[[Graph, int, Node], str | None]] = {
    "operands are earlier values": _operands_are_earlier,
    "operand count": _operand_count,
    "attributes": _attributes,
    "type": _type,
    "constant data": _constant,
    "body": _body,
}


def check(graph: Graph, stage: str) -> Graph:
    """Returns `graph` if it is legal at `stage`. Raises SpecError that names the first node at fault."""
    allowed = STAGES[stage]
    for number, node in enumerate(graph.nodes):
        where = f"%{number} {node.op}" + (f" at {node.place}" if node.place else "")
        if node.op not in allowed:
            raise SpecError(f"{where}: not allowed in a graph that is {stage}")
        for name, rule in RULES.items():
            if message := rule(graph, number, node):
                raise SpecError(f"{where}: {name}: {message}")
    for name, value in (*graph.outputs, *graph.states):
        if not 0 <= value < len(graph.nodes):
            raise SpecError(f"output {name!r} is no value of the graph")
    names = [n.attributes["name"] for n in graph.nodes if n.op == "input"]
    if len(set(names)) != len(names):
        raise SpecError("two inputs have one name")
    if len({name for name, _ in graph.outputs}) != len(graph.outputs):
        raise SpecError("two outputs have one name")
    if len({name for name, _ in graph.states}) != len(graph.states):
        raise SpecError("two states have one name")
    for name, value in graph.states:
        if name not in names or graph.nodes[graph.inputs[name]].type != graph.nodes[value].type:
            raise SpecError(f"state {name!r} must be an input of its value's type")
    return graph
