"""Lookups and updates at positions that only the run knows, as gathers of single rows and choices between them."""

from __future__ import annotations

import math

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Node

LARGE = 1 << 20
"""Elements from which a table of constants is held in f16."""


def gather(builder: Builder, node: Node, data: int, indices: int, bank_rows: int) -> int | None:
    """Rows of at most `bank_rows` at a time; what several banks give is chosen between."""
    shape = builder.shape(data)
    table = builder.nodes[data]
    if table.op == "constant" and table.type.size > LARGE and table.type.dtype == "f32":
        half = builder.constant(builder.constants[table.attributes["key"]], "f16")
        return builder.cast(builder.add("gather", (half, indices)), "f32")
    if len(shape) == 2 and shape[0] <= bank_rows and len(builder.shape(indices)) == 1:
        return None
    slab = math.prod(shape[1:-1]) if len(shape) > 1 else 1
    columns = shape[-1] if len(shape) > 1 else 1
    count = math.prod(builder.shape(indices))
    flat = builder.reshape(data, (shape[0] * slab, columns))
    column = builder.reshape(indices, (count, 1))
    column = builder.binary(
        "min", builder.binary("max", column, builder.like(0, column)), builder.like(shape[0] - 1, column)
    )
    if slab > 1:
        inside = builder.constant(np.arange(slab)[None], "i32")
        wide = builder.binary("mul", column, builder.like(slab, column))
        column = builder.binary("add", builder.spread(wide, (count, slab)), builder.spread(inside, (count, slab)))
        column = builder.reshape(column, (count * slab, 1))
    made = _parts(builder, flat, column, bank_rows)
    return builder.reshape(made, node.type.shape)


def _parts(builder: Builder, flat: int, column: int, bank_rows: int) -> int:
    rows, columns = builder.shape(flat)
    count = builder.shape(column)[0]
    made = -1
    for start in range(0, rows, bank_rows):
        part = builder.narrow(flat, 0, start, min(start + bank_rows, rows))
        local = builder.binary("sub", column, builder.like(start, column)) if start else column
        found = builder.add("gather", (part, builder.reshape(local, (count,))))
        if made < 0:
            made = found
            continue
        below = builder.binary("less", column, builder.like(start, column))
        made = builder.select(builder.broadcast(below, (count, columns)), made, found)
    return made


def update(builder: Builder, node: Node, state: int, patch: int, index: int) -> int:
    """`state` with `patch` along an axis from a clamped index on: each row is taken from one or the other."""
    axis = node.attributes["axis"]
    shape, short = builder.shape(state), builder.shape(patch)
    if short[axis] == 1:
        return _update_one(builder, state, patch, index, axis)
    order = (axis, *(i for i in range(len(shape)) if i != axis))
    back = tuple(int(i) for i in np.argsort(order))
    held, fresh = builder.transpose(state, order), builder.transpose(patch, order)
    length, count = shape[axis], short[axis]
    at = builder.reshape(index, (1, 1))
    at = builder.binary("min", builder.binary("max", at, builder.like(0, at)), builder.like(length - count, at))
    where = builder.constant(np.arange(length)[:, None], "i32")
    offset = builder.binary("sub", where, builder.spread(at, (length, 1)))
    spread = builder.add("gather", (fresh, builder.reshape(offset, (length,))))
    zero, end = builder.like(0, offset), builder.like(count, offset)
    inside = builder.binary("and", builder.binary("less_equal", zero, offset), builder.binary("less", offset, end))
    wide = builder.reshape(inside, (length, *(1,) * (len(shape) - 1)))
    chosen = builder.select(builder.broadcast(wide, builder.shape(held)), spread, held)
    return builder.transpose(chosen, back)


def _update_one(builder: Builder, state: int, patch: int, index: int, axis: int) -> int:
    """A patch of length 1 along the axis: chosen where the axis' own number is the index."""
    shape = builder.shape(state)
    own = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    where = builder.constant(np.arange(shape[axis]).reshape(own), "i32")
    at = builder.reshape(index, (1,) * len(shape))
    at = builder.binary("min", builder.binary("max", at, builder.like(0, at)), builder.like(shape[axis] - 1, at))
    here = builder.binary("equal", where, builder.broadcast(at, own))
    return builder.select(builder.broadcast(here, shape), builder.broadcast(patch, shape), state)
