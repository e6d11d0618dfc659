"""Building graphs value by value, with types inferred and constants shared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.operations import MAXIMUM_ELEMENTS, OPERATIONS, TypeRule
from elsewhere.compiler.ir.types import Tensor, convert, numpy_dtype


class Builder:
    """Appends nodes; a method per primitive returns the new value's number.

    Methods raise TypeRule (a ValueError) where operands do not fit. Equal values are made once.
    """

    def __init__(self, place: str = "") -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.outputs: list[tuple[str, int]] = []
        self.states: list[tuple[str, int]] = []
        self.place = place
        self._known: dict[Any, int] = {}

    def type(self, value: int) -> Tensor:
        return self.nodes[value].type

    def shape(self, value: int) -> tuple[int, ...]:
        return self.nodes[value].type.shape

    def add(self, op: str, inputs: Sequence[int], place: str | None = None, **attributes: Any) -> int:
        """Appends any primitive."""
        operation = OPERATIONS[op]
        type_ = operation.infer([self.nodes[i].type for i in inputs], attributes)
        if type_.size >= MAXIMUM_ELEMENTS:
            raise TypeRule(f"{op} would make {type_}, more than {MAXIMUM_ELEMENTS} elements")
        key = None
        if op not in ("input", "fused"):
            key = (op, tuple(inputs), tuple(sorted((k, _frozen(v)) for k, v in attributes.items())))
            if key in self._known:
                return self._known[key]
        self.nodes.append(Node(op, tuple(inputs), type_, attributes, self.place if place is None else place))
        if key is not None:
            self._known[key] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def input(self, name: str, dtype: str, shape: Sequence[int]) -> int:
        if any(n.op == "input" and n.attributes["name"] == name for n in self.nodes):
            raise TypeRule(f"there is an input {name!r} already")
        return self.add("input", (), name=name, dtype=dtype, shape=tuple(shape))

    def constant(self, data: Any, dtype: str) -> int:
        """Data of any shape; equal data is stored once."""
        array = np.asarray(data)
        array = convert(array, dtype) if array.dtype != numpy_dtype(dtype) or dtype == "bf16" else array
        array = np.require(array, requirements="C").reshape(np.shape(array))
        content = hashlib.sha256(array.reshape(-1).view(np.uint8).data if array.size else b"")
        content.update(f"{dtype}{array.shape}".encode())
        digest = content.hexdigest()[:24]
        self.constants[digest] = array
        return self.add("constant", (), key=digest, dtype=dtype, shape=array.shape)

    def keep(self, graph: Graph, node: Node) -> int:
        """A constant of another graph, whose data need not be looked at again."""
        key = node.attributes["key"]
        self.constants[key] = graph.constants[key]
        return self.add("constant", (), key=key, dtype=node.type.dtype, shape=node.type.shape)

    def like(self, number: float, value: int) -> int:
        """`number` in the type of `value`."""
        type_ = self.type(value)
        scalar = self.constant(np.full((1,) * len(type_.shape), number), type_.dtype)
        return self.broadcast(scalar, type_.shape)

    def unary(self, function: str, x: int) -> int:
        return self.add("unary", (x,), function=function)

    def binary(self, function: str, a: int, b: int) -> int:
        """Operands of one dtype; shapes broadcast as in NumPy."""
        a, b = self.match(a, b)
        return self.add("binary", (a, b), function=function)

    def select(self, condition: int, a: int, b: int) -> int:
        condition, a, b = self.match(condition, a, b)
        return self.add("select", (condition, a, b))

    def match(self, *values: int) -> tuple[int, ...]:
        """Values broadcast to one shape by NumPy's rules."""
        try:
            shape = np.broadcast_shapes(*(self.shape(v) for v in values))
        except ValueError as error:
            raise TypeRule(f"shapes do not broadcast: {[self.shape(v) for v in values]}") from error
        return tuple(self.spread(v, shape) for v in values)

    def spread(self, value: int, shape: Sequence[int]) -> int:
        """Broadcasts by NumPy's rules: missing leading axes are added."""
        shape = tuple(shape)
        missing = len(shape) - len(self.shape(value))
        if missing > 0:
            value = self.reshape(value, (1,) * missing + self.shape(value))
        return self.broadcast(value, shape)

    def cast(self, x: int, dtype: str) -> int:
        return x if self.type(x).dtype == dtype else self.add("cast", (x,), dtype=dtype)

    def matmul(self, a: int, b: int) -> int:
        return self.add("matmul", (a, b))

    def convolution(
        self,
        x: int,
        w: int,
        *,
        stride: Sequence[int],
        padding: Sequence[tuple[int, int]],
        dilation: Sequence[int] | None = None,
        groups: int = 1,
    ) -> int:
        """x (N, …, C), w (…, C/groups, O)."""
        dilation = tuple(dilation or (1,) * len(stride))
        pairs = tuple((int(a), int(b)) for a, b in padding)
        return self.add("convolution", (x, w), stride=tuple(stride), dilation=dilation, padding=pairs, groups=groups)

    def reduce(self, function: str, x: int, axes: Sequence[int]) -> int:
        """The axes stay with length 1."""
        rank = len(self.shape(x))
        if not all(-rank <= a < rank for a in axes):
            raise TypeRule(f"axes must be in {-rank}…{rank - 1}, got {tuple(axes)}")
        return self.add("reduce", (x,), function=function, axes=tuple(sorted(a % rank for a in axes)))

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        shape = tuple(int(n) for n in shape)
        if shape == self.shape(x):
            return x
        node = self.nodes[x]
        if node.op == "reshape":
            return self.reshape(node.inputs[0], shape)
        return self.add("reshape", (x,), shape=shape)

    def transpose(self, x: int, permutation: Sequence[int]) -> int:
        order = tuple(int(i) for i in permutation)
        if order == tuple(range(len(order))):
            return x
        node = self.nodes[x]
        if node.op == "transpose" and len(order) == len(node.type.shape):
            inner = node.attributes["permutation"]
            return self.transpose(node.inputs[0], tuple(inner[i] for i in order))
        return self.add("transpose", (x,), permutation=order)

    def broadcast(self, x: int, shape: Sequence[int]) -> int:
        shape = tuple(int(n) for n in shape)
        return x if shape == self.shape(x) else self.add("broadcast", (x,), shape=shape)

    def concatenate(self, values: Sequence[int], axis: int) -> int:
        rank = len(self.shape(values[0]))
        if not -rank <= axis < rank:
            raise TypeRule(f"axis must be in {-rank}…{rank - 1}, got {axis}")
        return values[0] if len(values) == 1 else self.add("concatenate", values, axis=axis % rank)

    def slice(self, x: int, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int] | None = None) -> int:
        steps = tuple(steps or (1,) * len(starts))
        whole = all(
            a == 0 and b == n and s == 1 for a, b, s, n in zip(starts, stops, steps, self.shape(x), strict=True)
        )
        return x if whole else self.add("slice", (x,), starts=tuple(starts), stops=tuple(stops), steps=steps)

    def narrow(self, x: int, axis: int, start: int, stop: int, step: int = 1) -> int:
        """A slice of one axis."""
        shape = self.shape(x)
        if not -len(shape) <= axis < len(shape):
            raise TypeRule(f"axis must be in {-len(shape)}…{len(shape) - 1}, got {axis}")
        axis %= len(shape)
        starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
        starts[axis], stops[axis], steps[axis] = start, stop, step
        return self.slice(x, starts, stops, steps)

    def pad(self, x: int, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> int:
        if not any((*low, *high)):
            return x
        return self.add("pad", (x,), low=tuple(low), high=tuple(high), value=float(value))

    def gather(self, data: int, indices: int) -> int:
        return self.add("gather", (data, indices))

    def pool(
        self, function: str, x: int, window: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
    ) -> int:
        pairs = tuple((int(a), int(b)) for a, b in padding)
        return self.add("pool", (x,), function=function, window=tuple(window), stride=tuple(stride), padding=pairs)

    def update(self, state: int, patch: int, index: int, axis: int) -> int:
        return self.add("update", (state, patch, index), axis=axis)

    def fused(self, kind: str, inputs: Sequence[int], body: Graph, place: str = "", **more: Any) -> tuple[int, ...]:
        """A region; one value per output of `body`."""
        first = self.add("fused", inputs, place=place, kind=kind, body=body, **more)
        others = [
            self.add(
                "project",
                (first,),
                place=place,
                index=i,
                dtype=body.nodes[v].type.dtype,
                shape=body.nodes[v].type.shape,
            )
            for i, (_, v) in enumerate(body.outputs)
            if i > 0
        ]
        return (first, *others)

    def output(self, name: str, value: int) -> None:
        self.outputs.append((name, value))

    def state(self, name: str, value: int) -> None:
        """After a run the input `name` holds `value`."""
        self.states.append((name, value))

    def graph(self) -> Graph:
        used = {n.attributes["key"] for n in self.nodes if n.op == "constant"}
        constants = {k: v for k, v in self.constants.items() if k in used}
        return Graph(tuple(self.nodes), tuple(self.outputs), tuple(self.states), constants)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
