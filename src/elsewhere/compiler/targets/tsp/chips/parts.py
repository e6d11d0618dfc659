"""What several chips have in common: a graph for each, and the exchanges that they meet in.

In a chip's graph what it sends in exchange k is an output `send:k` (or `send:k:j`, meant for chip j alone), and what
it gets is an input `receive:k:i` from chip i; its own part is among them, so that all chips add and join in one order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.tsp import oracle

Array = NDArray[Any]
_SENT = re.compile(r"send:(\d+)(?::(\d+))?$")
_TAKEN = re.compile(r"receive:(\d+):(\d+)$")


def sent_name(exchange: int, to: int | None = None) -> str:
    return f"send:{exchange}" if to is None else f"send:{exchange}:{to}"


def taken_name(exchange: int, sender: int) -> str:
    return f"receive:{exchange}:{sender}"


def add_send(builder: Builder, name: str, value: int) -> None:
    """Marks what is sent. It leaves as a value of its own, so that it is not calculated together with later ones."""
    builder.output(name, builder.reshape(value, (1, *builder.shape(value))))


def sent(name: str) -> tuple[int, int | None] | None:
    """(exchange, receiver or None for all) of an output's name, None for the model's own."""
    found = _SENT.match(name)
    return (int(found[1]), None if found[2] is None else int(found[2])) if found else None


def taken(name: str) -> tuple[int, int] | None:
    """(exchange, sender) of an input's name, None for the model's own."""
    found = _TAKEN.match(name)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A network dealt over chips. `split` has for each input, output and new state the axis dealt, None if whole."""

    graphs: tuple[Graph, ...]
    split: Mapping[str, int | None]
    exchanges: int

    @property
    def chips(self) -> int:
        return len(self.graphs)

    def given(self, inputs: Mapping[str, Array], chip: int) -> dict[str, Array]:
        """A chip's share of inputs. Raises ValueError for a missing one."""
        found = {}
        for name in self.graphs[chip].inputs:
            if taken(name) is None:
                if name not in inputs:
                    raise ValueError(f"input {name!r} is missing; given are {sorted(inputs)}")
                axis = self.split.get(name)
                value = np.asarray(inputs[name])
                found[name] = value if axis is None else np.split(value, self.chips, axis)[chip]
        return found

    def joined(self, outputs: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """What all chips gave as the network's outputs and new states."""
        found = {}
        for name in outputs[0]:
            if sent(name) is None:
                axis = self.split.get(name)
                values = [o[name] for o in outputs]
                found[name] = values[0] if axis is None else np.concatenate(values, axis)
        return found


class _Merged:
    """All chips' values in one list: equal ones of two chips stay apart, for each has its own order of sums."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.graphs = graphs
        self.nodes: list[Node] = []
        self.numbers: list[dict[int, int]] = [{} for _ in graphs]
        self.sends = [{n: v for n, v in g.outputs if sent(n) is not None} for g in graphs]

    def run(self) -> None:
        at = [0] * len(self.graphs)
        moved = True
        while moved:
            moved = False
            for chip, graph in enumerate(self.graphs):
                while at[chip] < len(graph.nodes) and self.take(chip, at[chip]):
                    at[chip] += 1
                    moved = True
        if any(a < len(g.nodes) for a, g in zip(at, self.graphs, strict=True)):
            raise ValueError("the chips of a partition wait for each other")

    def take(self, chip: int, number: int) -> bool:
        """Adds a chip's value; False if it waits for another chip."""
        node = self.graphs[chip].nodes[number]
        if node.op == "input":
            name = node.attributes["name"]
            if (from_ := taken(name)) is not None:
                found = self.passed(chip, *from_)
                if found is not None:
                    self.numbers[chip][number] = len(self.nodes)
                    shape = node.type.shape
                    self.nodes.append(Node("reshape", (found,), node.type, {"shape": shape}, node.place))
                return found is not None
            node = replace(node, attributes={**node.attributes, "name": f"{chip}/{name}"})
        inputs = tuple(self.numbers[chip][i] for i in node.inputs)
        self.numbers[chip][number] = len(self.nodes)
        self.nodes.append(replace(node, inputs=inputs))
        return True

    def passed(self, chip: int, exchange: int, sender: int) -> int | None:
        mine = self.sends[sender]
        value = mine.get(sent_name(exchange), mine.get(sent_name(exchange, chip)))
        if value is None:
            raise ValueError(f"chip {chip} waits for exchange {exchange}, to which chip {sender} sends nothing")
        return self.numbers[sender].get(value)


def merge(graphs: Sequence[Graph]) -> tuple[Graph, list[dict[int, int]]]:
    """All chips' graphs as one, exchanges closed; and each chip's numbers in it.

    Inputs and results are called `chip/name`. Raises ValueError where chips wait for each other.
    """
    merged = _Merged(graphs)
    merged.run()
    outputs = []
    constants: dict[str, Array] = {}
    for chip, graph in enumerate(graphs):
        mine = [(n, v) for n, v in graph.outputs if sent(n) is None] + [(f"state:{n}", v) for n, v in graph.states]
        outputs += [(f"{chip}/{name}", merged.numbers[chip][v]) for name, v in mine]
        constants.update(graph.constants)
    return Graph(tuple(merged.nodes), tuple(outputs), (), constants), merged.numbers


def reference(
    parts: Parts,
    graphs: Sequence[Graph],
    cuts: Sequence[Mapping[str, Sequence[Sequence[int]]]],
    inputs: Mapping[str, Array],
    lanes: int,
) -> dict[str, Array]:
    """The oracle's outputs of prepared `graphs` in the chips' order of sums; `cuts` are their programs' facts."""
    graph, numbers = merge(graphs)
    merged = {str(numbers[c][int(k)]): v for c, mine in enumerate(cuts) for k, v in mine.items()}
    given = {f"{c}/{n}": v for c in range(parts.chips) for n, v in parts.given(inputs, c).items()}
    found = oracle.run(graph, given, merged, lanes)
    mine: list[dict[str, Array]] = [{} for _ in graphs]
    for name, value in found.items():
        chip, rest = name.split("/", 1)
        mine[int(chip)][rest] = value
    return parts.joined(mine)
