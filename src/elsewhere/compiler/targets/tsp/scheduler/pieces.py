"""Values that are only moved: for every row, from which stored elements its lanes come.

Elements of all stored values are numbered one after the other. A piece is a run of lanes whose elements follow each
other (step 1) or are one and the same (step 0) in every row; `where` holds the first one's number for each row.
Movement primitives only rewrite pieces; nothing is calculated here, and no cycle is spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]
LARGEST = 1 << 26
"""No more rows times pieces than this are kept for one value."""


class MovementError(ValueError):
    """A movement that is too scattered to follow."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`width` lanes; `where` has the shape of the value's leading axes."""

    width: int
    step: int
    where: Array

    def cut(self, start: int, stop: int) -> Piece:
        return Piece(stop - start, self.step, self.where + start * self.step)

    def with_rows(self, where: Array) -> Piece:
        return Piece(self.width, self.step, where)


@dataclass(frozen=True, slots=True)
class Moved:
    """A value as pieces from the first lane to the last."""

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def lead(self) -> tuple[int, ...]:
        return self.shape[:-1]

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return math.prod(self.lead)


def whole(dtype: str, shape: tuple[int, ...], base: int) -> Moved:
    """A stored value itself. Between its rows one number is left out, so that no piece runs from row to row."""
    columns = shape[-1] if shape else 1
    lead = shape[:-1]
    where = base + (columns + 1) * np.arange(math.prod(lead), dtype=np.int64).reshape(lead)
    return Moved(dtype, shape, (Piece(columns, 1, where),))


def _join(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Neighbours that continue each other in every row become one."""
    made: list[Piece] = []
    for piece in pieces:
        if piece.width == 0:
            continue
        if made:
            last = made[-1]
            gap = piece.where - last.where
            one = piece.width == 1
            if (last.step == 1 or last.width == 1) and (piece.step == 1 or one) and (gap == last.width).all():
                made[-1] = Piece(last.width + piece.width, 1, last.where)
                continue
            if (last.step == 0 or last.width == 1) and (piece.step == 0 or one) and not gap.any():
                made[-1] = Piece(last.width + piece.width, 0, last.where)
                continue
        made.append(piece)
    return tuple(made)


def _limit(rows: int, pieces: int) -> None:
    if rows * pieces > LARGEST:
        raise MovementError(f"{rows} rows in {pieces} pieces are too scattered to follow")


def _rows(moved: Moved, lead: tuple[int, ...], change: Callable[[Array], Array]) -> Moved:
    pieces = tuple(p.with_rows(np.ascontiguousarray(change(p.where))) for p in moved.pieces)
    return Moved(moved.dtype, (*lead, moved.columns), pieces)


def _elements(moved: Moved) -> Array:
    """Numbers of all elements, in the value's shape."""
    _limit(moved.rows, moved.columns)
    parts = [p.where[..., None] + p.step * np.arange(p.width) for p in moved.pieces]
    joined = np.concatenate(parts, axis=-1) if parts else np.zeros((*moved.lead, 0), np.int64)
    return joined.reshape(moved.shape)


def _from_elements(dtype: str, numbers: Array) -> Moved:
    """Pieces of an array of element numbers: lanes are cut where any row breaks off."""
    shape = numbers.shape
    columns = shape[-1] if shape else 1
    flat = numbers.reshape(-1, columns)
    steps = flat[:, 1:] - flat[:, :-1]
    ones, zeros = (steps == 1).all(axis=0), (steps == 0).all(axis=0)
    pieces = []
    start = 0
    while start < columns:
        stop = start + 1
        if stop < columns and (ones[start] or zeros[start]):
            kind = ones if ones[start] else zeros
            while stop < columns and kind[stop - 1]:
                stop += 1
            step = 1 if kind is ones else 0
        else:
            step = 1
        pieces.append(Piece(stop - start, step, np.ascontiguousarray(flat[:, start]).reshape(shape[:-1])))
        start = stop
    return Moved(dtype, shape, tuple(pieces))


def reshape(moved: Moved, shape: tuple[int, ...]) -> Moved:
    columns, wanted = moved.columns, shape[-1] if shape else 1
    if math.prod(shape) == 0:
        return Moved(moved.dtype, shape, ())
    if wanted == columns:
        return _rows(moved, shape[:-1], lambda w: w.reshape(shape[:-1]))
    if wanted % columns == 0:
        times = wanted // columns
        _limit(moved.rows, len(moved.pieces))
        split = [p.with_rows(p.where.reshape(-1, times)) for p in moved.pieces]
        pieces = [p.with_rows(p.where[:, i].reshape(shape[:-1]).copy()) for i in range(times) for p in split]
        return Moved(moved.dtype, shape, _join(pieces))
    if columns % wanted == 0:
        return _split(moved, shape, columns // wanted)
    return _from_elements(moved.dtype, _elements(moved).reshape(shape))


def _split(moved: Moved, shape: tuple[int, ...], times: int) -> Moved:
    """Rows of `times` parts become `times` rows, if the parts are cut alike."""
    wanted = moved.columns // times
    parts = [_narrow(moved.pieces, i * wanted, (i + 1) * wanted) for i in range(times)]
    form = [(p.width, p.step) for p in parts[0]]
    if any([(p.width, p.step) for p in part] != form for part in parts):
        return _from_elements(moved.dtype, _elements(moved).reshape(shape))
    pieces = []
    for alike in zip(*parts, strict=True):
        where = np.stack([p.where.ravel() for p in alike], axis=1)
        pieces.append(alike[0].with_rows(where.reshape(shape[:-1])))
    return Moved(moved.dtype, shape, _join(pieces))


def _narrow(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    found, at = [], 0
    for piece in pieces:
        a, b = max(start, at), min(stop, at + piece.width)
        if a < b:
            found.append(piece.cut(a - at, b - at))
        at += piece.width
    return found


def transpose(moved: Moved, order: Sequence[int]) -> Moved:
    rank = len(moved.shape)
    shape = tuple(moved.shape[i] for i in order)
    if order[-1] == rank - 1:
        return _rows(moved, shape[:-1], lambda w: w.transpose(order[:-1]))
    return _from_elements(moved.dtype, np.ascontiguousarray(_elements(moved).transpose(order)))


def broadcast(moved: Moved, shape: tuple[int, ...]) -> Moved:
    pieces = moved.pieces
    if shape and shape[-1] != moved.columns:
        pieces = tuple(Piece(shape[-1], 0, p.where) for p in pieces)
    spread = tuple(p.with_rows(np.broadcast_to(p.where, shape[:-1])) for p in pieces)
    return Moved(moved.dtype, shape, spread)


def concatenate(parts: Sequence[Moved], axis: int, fills: Collection[int] = ()) -> Moved:
    """`fills` are elements for padding: as all lanes of their rows hold them, they fit beside any step."""
    first = parts[0]
    rank = len(first.shape)
    shape = tuple(sum(p.shape[i] for p in parts) if i == axis else n for i, n in enumerate(first.shape))
    if axis == rank - 1:
        return Moved(first.dtype, shape, _join([p for part in parts for p in part.pieces]))
    cuts = sorted({c for part in parts for c in np.cumsum([0, *(p.width for p in part.pieces)]).tolist()})
    pieces = []
    for start, stop in pairwise(cuts):
        mine = [_narrow(part.pieces, start, stop)[0] for part in parts if part.rows]
        kinds = {p.step for p in mine if not _is_fill(p, fills)}
        step = max(kinds, default=0)
        if len(kinds) > 1 and stop - start > 1:
            numbers = np.concatenate([_elements(p) for p in parts], axis=axis)
            return _from_elements(first.dtype, numbers)
        where = np.concatenate([p.where for p in mine], axis=axis)
        pieces.append(Piece(stop - start, step, where))
    return Moved(first.dtype, shape, tuple(pieces))


def _is_fill(piece: Piece, fills: Collection[int]) -> bool:
    if piece.step or not piece.where.size:
        return False
    first = int(piece.where.flat[0])
    return first in fills and bool((piece.where == first).all())


def slice_(moved: Moved, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> Moved:
    index = tuple(slice(a, b, s) for a, b, s in zip(starts[:-1], stops[:-1], steps[:-1], strict=True))
    shape = tuple(len(range(a, b, s)) for a, b, s in zip(starts, stops, steps, strict=True))
    cut = Moved(moved.dtype, moved.shape, tuple(_narrow(moved.pieces, starts[-1], stops[-1])))
    if steps[-1] != 1:
        columns = stops[-1] - starts[-1]
        cut = Moved(moved.dtype, (*moved.lead, columns), cut.pieces)
        return _from_elements(moved.dtype, np.ascontiguousarray(_elements(cut)[(*index, slice(None, None, steps[-1]))]))
    pieces = tuple(p.with_rows(np.ascontiguousarray(p.where[index])) for p in cut.pieces)
    return Moved(moved.dtype, shape, _join(pieces))


def pad(moved: Moved, low: Sequence[int], high: Sequence[int], fill: int) -> Moved:
    """`fill` is the number of an element that holds the padding's value."""
    for axis in range(len(low)):
        parts = []
        for count in (low[axis], -1, high[axis]):
            if count < 0:
                parts.append(moved)
            elif count:
                shape = tuple(count if i == axis else n for i, n in enumerate(moved.shape))
                parts.append(Moved(moved.dtype, shape, (Piece(shape[-1], 0, np.full(shape[:-1], fill)),)))
        moved = concatenate_padding(parts, axis) if len(parts) > 1 else moved
    return moved


def concatenate_padding(parts: Sequence[Moved], axis: int) -> Moved:
    """As `concatenate`, where a piece of one repeated splat element fits any step: all lanes of its row hold it."""
    rank = len(parts[0].shape)
    if axis == rank - 1:
        return concatenate(parts, axis)
    shape = tuple(sum(p.shape[i] for p in parts) if i == axis else n for i, n in enumerate(parts[0].shape))
    body = max(parts, key=lambda p: (len(p.pieces), max((q.step for q in p.pieces), default=0)))
    pieces, at = [], 0
    for piece in body.pieces:
        mine = [_narrow(p.pieces, at, at + piece.width)[0].where for p in parts]
        pieces.append(piece.with_rows(np.concatenate(mine, axis=axis)))
        at += piece.width
    return Moved(parts[0].dtype, shape, tuple(pieces))


def move(op: str, attributes: Mapping[str, Any], operands: Sequence[Moved], fills: Collection[int] = ()) -> Moved:
    """One movement primitive; `pad` is not among them because it needs a stored element."""
    x = operands[0]
    if op == "reshape":
        return reshape(x, tuple(attributes["shape"]))
    if op == "transpose":
        return transpose(x, attributes["permutation"])
    if op == "broadcast":
        return broadcast(x, tuple(attributes["shape"]))
    if op == "concatenate":
        return concatenate(operands, attributes["axis"], fills)
    assert op == "slice"
    return slice_(x, attributes["starts"], attributes["stops"], attributes["steps"])
