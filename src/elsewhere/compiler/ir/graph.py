"""Graphs: values in the order of their calculation, each with its operation, operands and type. Immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from elsewhere.compiler.ir.types import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value. `inputs` are numbers of earlier values in the same graph."""

    op: str
    inputs: tuple[int, ...]
    type: Tensor
    attributes: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    """Where in the model it came from, such as 'blocks.0.feed_in'."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A program without loops. A value's number is its index in `nodes`."""

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]
    states: tuple[tuple[str, int], ...] = ()
    """(name of an input, value): after a run, the input holds the value for the next run."""
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Data of `constant` nodes by their `key`."""

    @property
    def inputs(self) -> dict[str, int]:
        """Numbers of the `input` nodes by name, in order."""
        return {n.attributes["name"]: i for i, n in enumerate(self.nodes) if n.op == "input"}

    def users(self) -> list[list[int]]:
        """For every value the numbers of the nodes that read it, each once, ascending."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for number, node in enumerate(self.nodes):
            for source in dict.fromkeys(node.inputs):
                found[source].append(number)
        return found

    def kept(self) -> set[int]:
        """Values that leave the graph: outputs and new states."""
        return {value for _, value in (*self.outputs, *self.states)}
