"""Small legal graphs with every primitive, drawn from a source of random numbers."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir import DTYPES, Builder, Graph
from elsewhere.compiler.ir.operations import BINARY, FUSED, UNARY, TypeRule
from elsewhere.compiler.ir.types import numpy_dtype

NAMES = ("x", "a b", 'quote " and } at "', "tab\t", "línea\n", "%3", "")


def numbers(r: random.Random, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Small whole numbers and fractions that every format holds exactly."""
    values = [r.randint(-8, 8) / (1 if dtype in ("i8", "i32") else r.choice((1, 4))) for _ in range(math.prod(shape))]
    return np.array(values, numpy_dtype(dtype)).reshape(shape)


def shape_of(r: random.Random, rank: int | None = None) -> tuple[int, ...]:
    return tuple(r.randint(1, 4) for _ in range(r.randint(0, 4) if rank is None else rank))


def step(b: Builder, r: random.Random) -> None:
    """Tries to append one random node; types that do not fit raise TypeRule."""
    values = range(len(b.nodes))
    pick = lambda: r.choice(values)  # noqa: E731
    x = pick()
    shape = b.shape(x)
    rank = len(shape)
    axis = r.randrange(rank) if rank else 0
    alike = [v for v in values if b.type(v) == b.type(x)]
    match r.randrange(19):
        case 0:
            b.unary(r.choice(UNARY), x)
        case 1 | 2:
            b.binary(r.choice(BINARY), x, r.choice(alike))
        case 3:
            conditions = [v for v in values if b.type(v).dtype == "i8" and b.shape(v) == shape]
            if conditions:
                b.select(r.choice(conditions), x, r.choice(alike))
        case 4:
            b.cast(x, r.choice(tuple(DTYPES)))
        case 5:
            b.add("matmul", (x, pick()))
        case 6:
            channels = shape[-1] if rank == 4 else 2
            data = b.input(f"picture {len(b.nodes)}", "f32", (1, 5, 6, channels)) if rank != 4 else x
            groups = r.choice([g for g in (1, 2, 4) if channels % g == 0])
            weight = b.constant(numbers(r, "f32", (2, 1, channels // groups, 4)), "f32")
            b.convolution(data, weight, stride=(1, 2), padding=((0, 1), (1, 0)), dilation=(1, 1), groups=groups)
        case 7:
            axes = sorted(r.sample(range(rank), r.randint(1, rank))) if rank else []
            b.reduce(r.choice(("sum", "max", "min")), x, axes)
        case 8:
            b.reshape(x, r.choice([(b.type(x).size,), (1, *shape), (*shape[::-1],)]))
        case 9:
            b.transpose(x, r.sample(range(rank), rank))
        case 10:
            b.broadcast(x, [n if n > 1 else r.randint(1, 3) for n in shape])
        case 11:
            b.concatenate([x] * r.randint(1, 3), axis)
        case 12:
            starts = [r.randrange(n) for n in shape]
            b.slice(x, starts, [r.randint(s, n) for s, n in zip(starts, shape, strict=True)], [r.randint(1, 2)] * rank)
        case 13:
            b.pad(
                x, [r.randint(0, 1) for _ in shape], [r.randint(0, 2) for _ in shape], r.choice((0.0, 1.5, -math.inf))
            )
        case 14:
            b.gather(x, b.constant(numbers(r, "i32", shape_of(r)), "i32"))
        case 15:
            b.pool(r.choice(("max", "sum")), x, (2,) * (rank - 2), (1,) * (rank - 2), ((0, 1),) * (rank - 2))
        case 16:
            b.update(x, r.choice(alike), b.constant(numbers(r, "i32", ()), "i32"), axis)
        case 17:
            dtype = r.choice(tuple(DTYPES))
            b.constant(numbers(r, dtype, shape_of(r)), dtype)
        case 18:
            body = graph(r, 4, regions=False, named="body")
            b.fused(r.choice(FUSED), [_like(b, r, body, v) for v in body.inputs.values()], body, place=r.choice(NAMES))


def _like(b: Builder, r: random.Random, body: Graph, number: int) -> int:
    """A value of the type that a body's input has."""
    type_ = body.nodes[number].type
    found = [v for v in range(len(b.nodes)) if b.type(v) == type_]
    return r.choice(found) if found else b.constant(numbers(r, type_.dtype, type_.shape), type_.dtype)


def graph(r: random.Random, size: int, *, regions: bool = True, named: str = "") -> Graph:
    """About `size` nodes; every value that nothing reads is an output. `regions` allows fused ones and states."""
    b = Builder()
    for i in range(r.randint(1, 3)):
        b.input(f"{named}{r.choice(NAMES)}{i}", r.choice(("f32", "f32", "bf16", "i8", "i32", "f16")), shape_of(r))
    for _ in range(size):
        b.place = r.choice(("", "blocks.0", *NAMES))
        before = len(b.nodes)
        try:
            step(b, r)
        except (TypeRule, ValueError, IndexError):
            del b.nodes[before:]
            b._known = {k: v for k, v in b._known.items() if v < before}
        if not regions and any(n.op in ("fused", "project", "update") for n in b.nodes[before:]):
            del b.nodes[before:]
            b._known = {k: v for k, v in b._known.items() if v < before}
    made = b.graph()
    for number, users in enumerate(made.users()):
        if not users:
            b.output(f"{r.choice(NAMES)}{number}", number)
    for number, node in enumerate(b.nodes):
        if regions and node.op == "input" and r.random() < 0.3:
            alike = [v for v in range(len(b.nodes)) if b.type(v) == b.type(number)]
            b.state(node.attributes["name"], r.choice(alike))
    return b.graph()


def inputs_of(r: random.Random, made: Graph) -> dict[str, NDArray[Any]]:
    types = {name: made.nodes[number].type for name, number in made.inputs.items()}
    return {name: numbers(r, t.dtype, t.shape) for name, t in types.items()}
