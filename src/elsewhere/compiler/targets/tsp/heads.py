"""Matrices side by side: values of heads stay in the lanes of one row, instead of a short row for every head.

Networks split a row of channels into heads, (…, H·E) → (…, H, E). As rows of their own, E numbers would fill a small
part of the lanes, and every one would have to be moved to the first lane. Here such a value keeps the lanes that it
has. What is one number for each head stands in all E lanes of the head. What crosses lanes inside heads is a product
with a matrix of ones for every head; small products of a head's rows are calculated element by element.

A sum inside heads is of numbers rounded to f16 (as the inputs of every product are), scaled by 1/16 so that they may
be as large as 2^20. Sums over few rows are added by neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import copy

SMALL = 16
"""Products of at most so many rows and columns a head are calculated element by element: the block of a transposer."""
WIDEST = 1024
"""Lanes of all heads together, at most."""
SCALE = 16.0
"""By what numbers are divided before they are added up on a plane; a power of two."""
FEW = 16
"""Rows that are added one by one."""
ELEMENTWISE = ("unary", "binary", "select", "cast")


@dataclass(frozen=True, slots=True)
class Form:
    """How a value of the old graph lies in a value of the new one, whose shape is (*rows, heads · width).

    `rows` names the old axes that the leading axes are. `lane` is the old axis inside a head; without one, all lanes
    of a head hold the same number. Axes of length 1 are not among the rows.
    """

    value: int
    rows: tuple[int, ...]
    head: int
    lane: int | None
    width: int


def side_by_side(graph: Graph) -> Graph:
    """The same graph with heads beside each other where something is calculated for them."""
    return _Heads(graph).build()


class _Heads:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.builder = graph, Builder()
        self.users = graph.users()
        self.forms: dict[int, Form] = {}
        self.made: dict[int, int] = {}

    def build(self) -> Graph:
        b, graph = self.builder, self.graph
        for number, node in enumerate(graph.nodes):
            b.place = node.place
            if node.op == "constant":
                self.made[number] = b.keep(graph, node)
                continue
            form = None if node.op == "input" else self.change(node)
            if form is not None:
                self.forms[number] = form
            else:
                self.made[number] = copy(b, node, [self.plain(i) for i in node.inputs])
        for name, old in graph.outputs:
            b.output(name, self.plain(old))
        for name, old in graph.states:
            b.state(name, self.plain(old))
        return b.graph()

    def shape(self, old: int) -> tuple[int, ...]:
        return self.graph.nodes[old].type.shape

    # -- between both ways to lie -------------------------------------------------------------------------------

    def form(
        self, shape: Sequence[int], value: int, rows: Sequence[int], head: int, lane: int | None, width: int
    ) -> Form:
        """Of a value whose rows may be of length 1 still."""
        kept = tuple(a for a in rows if shape[a] != 1)
        value = self.builder.reshape(value, (*(shape[a] for a in kept), shape[head] * width))
        return Form(value, kept, head, lane, width)

    def plain(self, old: int) -> int:
        """The value in its own shape."""
        if old not in self.made:
            b, form, shape = self.builder, self.forms[old], self.shape(old)
            lead = [shape[a] for a in form.rows]
            value = b.reshape(form.value, (*lead, shape[form.head], form.width))
            axes = [*form.rows, form.head]
            if form.lane is None:
                value = b.reshape(b.narrow(value, -1, 0, 1), (*lead, shape[form.head]))
            else:
                axes.append(form.lane)
            self.made[old] = b.reshape(b.transpose(value, np.argsort(axes).tolist()), shape)
        return self.made[old]

    def as_form(self, old: int, like: Form) -> int | None:
        """The value as a form of the same kind as `like`, with the same rows; None where forms differ."""
        b, shape = self.builder, self.shape(old)
        form = self.forms.get(old)
        if form is not None:
            same = (form.head, form.lane, form.width) == (like.head, like.lane, like.width)
            return self.laid(form, shape, like.rows) if same and set(form.rows) <= set(like.rows) else None
        heads = shape[like.head]
        full = (*(shape[a] for a in like.rows), heads * like.width)
        value = self.plain(old)
        while b.nodes[value].op == "broadcast":
            value = b.nodes[value].inputs[0]
        small = b.shape(value)
        last = [like.head] if like.lane is None else [like.head, like.lane]
        alone = [a for a in range(len(shape)) if a not in like.rows and a not in last]
        if any(shape[a] != 1 for a in alone):
            return None
        turned = b.transpose(value, (*alone, *like.rows, *last))
        lead = tuple(small[a] for a in like.rows)
        beside, along = small[like.head], 1 if like.lane is None else small[like.lane]
        if beside == 1 and along == 1:
            return b.broadcast(b.reshape(turned, (*lead, 1)), full)
        wide = b.broadcast(b.reshape(turned, (*lead, beside, along)), (*lead, heads, like.width))
        return b.broadcast(b.reshape(wide, (*lead, heads * like.width)), full)

    def laid(self, form: Form, shape: Sequence[int], rows: Sequence[int]) -> int:
        """The form's value with just these leading axes; those that it lacks have length 1."""
        order = [form.rows.index(a) for a in rows if a in form.rows]
        value = self.builder.transpose(form.value, (*order, len(order)))
        return self.builder.reshape(value, (*(shape[a] for a in rows), self.builder.shape(value)[-1]))

    # -- primitives ---------------------------------------------------------------------------------------------

    def change(self, node: Node) -> Form | None:
        found = [self.forms[i] for i in node.inputs if i in self.forms]
        if node.op == "reshape":
            return self.reshape(node)
        if not found:
            return None
        if node.op in ELEMENTWISE:
            return self.elementwise(node, found)
        handler = {
            "transpose": self.transpose,
            "broadcast": self.broadcast,
            "slice": self.slice,
            "concatenate": self.concatenate,
            "reduce": self.reduce,
            "matmul": self.matmul,
            "update": self.update,
        }.get(node.op)
        return handler(node) if handler else None

    def reshape(self, node: Node) -> Form | None:
        old = node.inputs[0]
        shape, before = node.type.shape, self.shape(old)
        form = self.forms.get(old)
        if form is not None:
            return self.regrouped(form, before, shape)
        if len(shape) < 3 or shape[-2] < 2 or shape[-1] < 2 or shape[-2] * shape[-1] != before[-1]:
            return None
        if before[-1] > WIDEST or node.type.dtype not in ("f32", "f16"):
            return None
        last = len(shape) - 1
        return self.form(shape, self.plain(old), range(last - 1), last - 1, last, shape[-1])

    @staticmethod
    def regrouped(form: Form, before: Sequence[int], shape: Sequence[int]) -> Form | None:
        """Where only axes of length 1 come or go."""
        if [n for n in before if n != 1] != [n for n in shape if n != 1] or before[form.head] == 1:
            return None
        if form.lane is not None and before[form.lane] == 1:
            return None
        kept = [a for a, n in enumerate(before) if n != 1]
        to = dict(zip(kept, (a for a, n in enumerate(shape) if n != 1), strict=True))
        lane = None if form.lane is None else to[form.lane]
        return Form(form.value, tuple(to[a] for a in form.rows), to[form.head], lane, form.width)

    def elementwise(self, node: Node, found: list[Form]) -> Form | None:
        like = next((f for f in found if f.lane is not None), found[0])
        operands = [self.as_form(i, like) for i in node.inputs]
        if any(v is None for v in operands):
            return None
        made = self.builder.add(node.op, [v for v in operands if v is not None], **node.attributes)
        return replace(like, value=made)

    def transpose(self, node: Node) -> Form:
        form = self.forms[node.inputs[0]]
        place = {old: new for new, old in enumerate(node.attributes["permutation"])}
        rows, lane = tuple(place[a] for a in form.rows), form.lane
        return Form(form.value, rows, place[form.head], None if lane is None else place[lane], form.width)

    def broadcast(self, node: Node) -> Form | None:
        b, old = self.builder, node.inputs[0]
        form, before, shape = self.forms[old], self.shape(old), node.type.shape
        lane, last = form.lane, len(shape) - 1
        if before[form.head] != shape[form.head] or (lane is not None and before[lane] != shape[lane]):
            return None
        if lane is None and before[last] == 1 and shape[last] == form.width and last != form.head:
            lane = last
        fresh = [a for a, n in enumerate(shape) if n != 1 and a not in (*form.rows, form.head, lane)]
        rows = (*fresh, *form.rows)
        value = self.laid(form, before, rows)
        value = b.broadcast(value, (*(shape[a] for a in rows), b.shape(value)[-1]))
        return Form(value, rows, form.head, lane, form.width)

    def slice(self, node: Node) -> Form | None:
        b, form, before = self.builder, self.forms[node.inputs[0]], self.shape(node.inputs[0])
        starts, stops, steps = (node.attributes[k] for k in ("starts", "stops", "steps"))
        shape, lane = node.type.shape, form.lane
        if shape[form.head] != before[form.head] or (lane is not None and shape[lane] == 1):
            return None
        value, width = form.value, b.shape(form.value)[-1]
        picked = [(starts[a], stops[a], steps[a]) for a in form.rows] + [(0, width, 1)]
        value = b.slice(value, *zip(*picked, strict=True))
        if lane is None or shape[lane] == before[lane]:
            return self.form(shape, value, form.rows, form.head, lane, form.width)
        lead, heads = b.shape(value)[:-1], before[form.head]
        split = b.narrow(b.reshape(value, (*lead, heads, form.width)), -1, starts[lane], stops[lane], steps[lane])
        value = b.reshape(split, (*lead, heads * shape[lane]))
        return self.form(shape, value, form.rows, form.head, lane, shape[lane])

    def concatenate(self, node: Node) -> Form | None:
        axis, b = node.attributes["axis"], self.builder
        like = max((self.forms[i] for i in node.inputs if i in self.forms), key=lambda f: len(f.rows))
        if axis == like.head:
            return None
        if axis != like.lane:
            rows = like.rows if axis in like.rows else (axis, *like.rows)
            like = replace(like, rows=rows)
            parts = [self.as_form(i, like) for i in node.inputs]
            if any(v is None for v in parts):
                return None
            return replace(like, value=b.concatenate([v for v in parts if v is not None], rows.index(axis)))
        inside = []
        for i in node.inputs:
            form = self.forms.get(i)
            if form is None or (form.head, form.lane) != (like.head, like.lane) or set(form.rows) != set(like.rows):
                return None
            value = self.laid(form, self.shape(i), like.rows)
            inside.append(b.reshape(value, (*b.shape(value)[:-1], self.shape(i)[like.head], form.width)))
        joined = b.concatenate(inside, -1)
        *lead, heads, width = b.shape(joined)
        return replace(like, value=b.reshape(joined, (*lead, heads * width)), width=width)

    def reduce(self, node: Node) -> Form | None:
        old, function = node.inputs[0], node.attributes["function"]
        form, shape = self.forms[old], self.shape(old)
        axes = set(node.attributes["axes"])
        if form.head in axes or (form.lane in axes and (function != "sum" or node.type.dtype != "f32")):
            return None
        value, lane = form.value, form.lane
        for axis in sorted(axes & set(form.rows)):
            value = self.folded(function, value, form.rows.index(axis))
        if lane in axes:
            value, lane = self.inside(value, shape[form.head], form.width), None
        return self.form(node.type.shape, value, form.rows, form.head, lane, form.width)

    def folded(self, function: str, value: int, axis: int) -> int:
        """A sum or maximum over an axis of rows, which stays with length 1: by neighbours where there are few."""
        b, count = self.builder, self.builder.shape(value)[axis]
        if count > FEW:
            return b.reduce(function, value, (axis,))
        return _tree(b, {"sum": "add"}.get(function, function), [b.narrow(value, axis, i, i + 1) for i in range(count)])

    def inside(self, value: int, heads: int, width: int) -> int:
        """Sums inside each head, in all its lanes: (…, heads · width) as a product with ones in blocks."""
        b = self.builder
        shape = b.shape(value)
        ones = np.kron(np.eye(heads), np.full((width, width), SCALE)).astype(np.float16)
        scaled = b.binary("mul", b.cast(value, "f32"), b.like(1.0 / SCALE, b.cast(value, "f32")))
        rows = b.reshape(b.cast(scaled, "f16"), (math.prod(shape[:-1]), shape[-1]))
        return b.reshape(b.cast(b.matmul(rows, b.constant(ones, "f16")), "f32"), shape)

    def update(self, node: Node) -> Form | None:
        state, patch, index = node.inputs
        axis = node.attributes["axis"]
        like = self.forms.get(patch) or self.forms.get(state)
        if like is None or index in self.forms or axis in (like.head, like.lane):
            return None
        # The axis that is written comes first, so that what is written at once lies in rows that follow each other.
        like = replace(like, rows=(axis, *(a for a in like.rows if a != axis)))
        held, fresh = self.as_form(state, like), self.as_form(patch, like)
        if held is None or fresh is None:
            return None
        return replace(like, value=self.builder.update(held, fresh, self.plain(index), 0))

    # -- small products -----------------------------------------------------------------------------------------

    def matmul(self, node: Node) -> Form | None:
        a, b = node.inputs
        shape = node.type.shape
        form = self.forms.get(a)
        if form is None or form.head >= len(shape) - 2 or self.shape(b)[form.head] != shape[form.head]:
            return None
        if form.lane == len(shape) - 1 and max(shape[-2:]) <= SMALL:
            return self.against(node, form)
        if form.lane is None and max(self.shape(a)[-2:]) <= SMALL and shape[-1] == form.width:
            return self.weighted(node, form)
        return None

    def others(self, node: Node, form: Form) -> list[int]:
        """Batches but the heads, the longest last."""
        shape = node.type.shape
        return sorted((a for a in range(len(shape) - 2) if a != form.head), key=lambda a: shape[a])

    def against(self, node: Node, form: Form) -> Form | None:
        """Rows times columns of a head, both in its lanes: each pair is multiplied, then added up inside the head."""
        b, (left, right) = self.builder, node.inputs
        shape, last = node.type.shape, len(node.type.shape) - 1
        others = self.others(node, form)
        second = self.as_form(right, Form(-1, (last, *others), form.head, last - 1, form.width))
        if second is None:
            return None
        first = self.laid(form, self.shape(left), (last - 1, *others))
        sizes, lanes = [shape[a] for a in others], b.shape(first)[-1]
        full = (shape[-2], shape[-1], *sizes, lanes)
        x = b.broadcast(b.reshape(first, (shape[-2], 1, *sizes, lanes)), full)
        y = b.broadcast(b.reshape(second, (1, shape[-1], *sizes, lanes)), full)
        made = b.cast(self.inside(b.binary("mul", x, y), shape[form.head], form.width), node.type.dtype)
        return self.form(shape, made, (last - 1, last, *others), form.head, None, form.width)

    def weighted(self, node: Node, form: Form) -> Form | None:
        """Numbers of each head times rows that lie in its lanes, added up."""
        b, (left, right) = self.builder, node.inputs
        shape, last = node.type.shape, len(node.type.shape) - 1
        others = self.others(node, form)
        second = self.as_form(right, Form(-1, (last - 1, *others), form.head, last, form.width))
        if second is None:
            return None
        first = self.laid(form, self.shape(left), (last, last - 1, *others))
        full = b.shape(first)[1:]
        terms = []
        for i in range(self.shape(left)[-1]):
            x = b.reshape(b.narrow(first, 0, i, i + 1), full)
            y = b.broadcast(b.reshape(b.narrow(second, 0, i, i + 1), (1, *full[1:])), full)
            terms.append(b.binary("mul", x, y))
        made = b.cast(_tree(b, "add", terms), node.type.dtype)
        return self.form(shape, made, (last - 1, *others), form.head, last, form.width)


def _tree(builder: Builder, function: str, values: list[int]) -> int:
    while len(values) > 1:
        pairs = [builder.binary(function, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


__all__ = ["Form", "side_by_side"]
