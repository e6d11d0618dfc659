"""How a contraction is cut into tiles, decided from its shape and the processor alone. Knows no LLVM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import prod

from elsewhere.compiler.targets.cpu.machine import Machine

PRECISIONS = ("f32", "bf16", "i8")
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "i8": 1}

BLOCK_BYTES = 256 * 1024
"""How much of the left operand is passed over with one panel before the next: a part of the second-level cache."""

PANEL_BYTES = 36 * 1024
"""A panel up to this size stays in the first-level cache beside what is read of the left operand."""

MANY_TILES = 12
"""Row tiles from which on they share out evenly enough among a few cores."""

DEAR = 4.0
"""What a byte from another core costs, in bytes of weights."""

FAR_BYTES = 40
"""Bytes each cycle of a panel that comes from the second-level cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """A matrix multiplication or a convolution, entirely static:

    out[batch, row, n] = epilogue(sum over t, k of a[batch·a_batch + row·a_strides + taps[t] + k] · b[batch][t, k, n])

    Offsets and strides count elements of `a`. Where `depth` is no multiple of the group that one instruction takes
    (4 for 'i8', 2 for 'bf16'), `a` is read up to the next multiple: the memory must be there, its content does not
    matter for 'i8' and must be finite for 'bf16', since the packed weights there are zero. Sums of 'i8' are exact up to
    65,000 products.

    A grouped convolution is a batch over its groups: batch (groups,), a_batch (channels per group,), b_batch (1,); the
    epilogue then finds the group in `place.batch`. A convolution whose rows follow each other without gaps, as a 1x1
    kernel's do, is best given as one row dimension.
    """

    precision: str
    """'f32', 'bf16' or 'i8'. `a` has that type in memory ('i8' biased: q + 128)."""
    rows: tuple[int, ...]
    """Extents of the row dimensions, outermost first: (tokens,), or (images, height, width)."""
    a_strides: tuple[int, ...]
    """Elements of `a` from one row to the next, per row dimension. Along k the step is 1."""
    columns: int
    """N."""
    depth: int
    """K, per tap."""
    taps: tuple[int, ...] = (0,)
    """What is added to the offset of a row: one zero for a matrix, the kernel's positions for a convolution."""
    batch: tuple[int, ...] = ()
    """Extents of batch dimensions, outermost first."""
    a_batch: tuple[int, ...] = ()
    """Elements of `a` from one batch entry to the next, per batch dimension."""
    b_batch: tuple[int, ...] = ()
    """Packed matrices from one batch entry to the next, per batch dimension; 0 where b is shared."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if not self.rows or len(self.rows) != len(self.a_strides):
            raise ValueError(f"a_strides must have one stride per row dimension: {self.rows} and {self.a_strides}")
        if not len(self.batch) == len(self.a_batch) == len(self.b_batch):
            raise ValueError(f"a_batch and b_batch must have one stride per batch dimension of {self.batch}")
        if min(*self.rows, *self.batch, self.columns, self.depth, len(self.taps)) < 1:
            raise ValueError(f"every extent of a contraction must be at least 1: {self}")

    @property
    def multiplications(self) -> int:
        """Multiply-and-add operations in all."""
        return prod(self.batch) * prod(self.rows) * self.columns * self.depth * len(self.taps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """Register tiles and their order. A tile is `tile_rows` neighbours along the innermost row dimension by a panel."""

    group: int
    """Neighbours along k that one instruction takes."""
    cell_bytes: int
    """Bytes of packed b per column and group."""
    lanes: int
    """Numbers in an accumulator."""
    fold: int
    """Rows that share a panel: lanes run on over the columns of `fold` rows. 1 is the usual matrix tile."""
    tile_rows: int
    panel_vectors: int
    """Vectors in a full panel."""
    row_tiles: int
    """Tiles along the innermost row dimension, the last of which may have fewer rows."""
    panels: int
    block_tiles: int
    """Row tiles that are passed over with one panel before the next panel comes; divides all row tiles unless
    `by_rows`."""
    by_rows: bool
    """Whether a work unit is a row tile with all panels, rather than one tile. Cores then share rows."""
    runs: tuple[int, ...]
    """Taps after neighbours in memory are joined."""
    steps: int
    """Groups per run."""

    def vectors(self, columns: int, panel: int) -> int:
        """How many vectors panel `panel` has."""
        whole = -(-columns * self.fold // self.lanes)
        return min(self.panel_vectors, whole - panel * self.panel_vectors)


def group_of(precision: str, machine: Machine) -> tuple[int, int]:
    """(elements along k per instruction, bytes of packed b per column and group)."""
    if precision == "f32":
        return 1, 4
    if precision == "bf16":
        return 2, 4
    if machine.dot_int8:
        return 4, 4
    # Without vpdpbusd weights are packed as 16-bit words, whose products are exact.
    return (1, 2) if machine.level == "portable" else (2, 4)


def join_taps(taps: tuple[int, ...], depth: int) -> tuple[tuple[int, ...], int]:
    """Joins taps that follow each other in memory: (offsets of the runs, depth of a run).

    All runs have the same length, the longest that fits everywhere: a 3x3 kernel over C channels is 3 runs of 3·C.
    """
    for length in range(len(taps), 1, -1):
        if len(taps) % length == 0:
            runs = [taps[start : start + length] for start in range(0, len(taps), length)]
            if all(after - before == depth for run in runs for before, after in pairwise(run)):
                return tuple(run[0] for run in runs), depth * length
    return taps, depth


def spare_registers(precision: str, machine: Machine, vectors: int, fold: int) -> int:
    """Registers a step needs beside the accumulators: a panel row of b, a, blends of a, and what widening takes."""
    if precision == "bf16" and not machine.dot_bf16:
        return 4 + (1 if machine.registers < 32 else vectors) + fold
    products = (precision == "i8" and not machine.dot_int8) or (precision == "f32" and machine.level == "portable")
    return vectors + (1 if fold == 1 else fold + 1) + int(products)


@cache
def tile(spec: Contract, machine: Machine) -> Tiling:
    """The tiling of `spec` with the least estimated time."""
    group, cell = group_of(spec.precision, machine)
    lanes = machine.lanes(32)
    padded = -(-spec.depth // group) * group
    runs, run_depth = join_taps(spec.taps, padded)
    steps = run_depth // group
    width = spec.rows[-1]
    best: tuple[float, Tiling] | None = None
    for fold in (1, 2, 4):
        if fold > 1 and (width % fold or (spec.columns * fold) % lanes or spec.columns % lanes == 0):
            continue
        vectors = -(-spec.columns * fold // lanes)
        for wide in range(1, min(vectors, 10) + 1):
            if fold > 1 and wide != vectors:
                continue
            for high in range(1, min(width // fold, machine.registers) + 1):
                if high * wide + spare_registers(spec.precision, machine, wide, fold) > machine.registers:
                    break
                tiling = Tiling(
                    group=group,
                    cell_bytes=cell,
                    lanes=lanes,
                    fold=fold,
                    tile_rows=high * fold,
                    panel_vectors=wide,
                    row_tiles=-(-width // (high * fold)),
                    panels=-(-vectors // wide),
                    block_tiles=1,
                    by_rows=False,
                    runs=runs,
                    steps=steps,
                )
                kinds = unit_kinds(spec, tiling)
                # Every kind is code to compile: worth it only from a gain of a hundredth.
                cost = sum(cost * count for cost, count in kinds) * (1 + 0.01 * len(kinds))
                if best is None or cost < best[0]:
                    best = cost, tiling
    assert best is not None
    if shares_rows(spec, best[1]):
        return replace(best[1], block_tiles=row_block_tiles(spec, best[1]), by_rows=True)
    return replace(best[1], block_tiles=block_tiles(spec, best[1]))


def unit_kinds(spec: Contract, tiling: Tiling) -> list[tuple[float, int]]:
    """(estimated cycles, how many) of each kind of tile in one outer row."""
    width, rows = spec.rows[-1], tiling.tile_rows
    steps = tiling.steps * len(tiling.runs)
    kinds = []
    for high, across in ((rows, width // rows), (width % rows, 1)):
        for panel, panels in ((0, tiling.panels - 1), (tiling.panels - 1, 1)):
            wide = tiling.vectors(spec.columns, panel)
            if high and panels:
                kinds.append((tile_cost(tiling, high, wide, steps), across * panels))
    return kinds


def tile_cost(tiling: Tiling, rows: int, vectors: int, steps: int) -> float:
    """Estimated cycles of a tile of `rows` rows (each a part of a folded row) by `vectors` vectors.

    Multiplications and loads are two each cycle, blends have their own units, and a chain of sums cannot hurry.
    """
    folded = rows // tiling.fold
    blends = (tiling.fold - 1) * folded
    step = max(folded * vectors / 2, (rows + vectors) / 2 + 0.25, (folded * vectors + blends) / 4, 5.0)
    row_bytes = vectors * tiling.lanes * tiling.cell_bytes
    if row_bytes * steps > PANEL_BYTES:
        step = max(step, row_bytes / FAR_BYTES)
    return step * steps + 30 + rows * vectors * 2 / tiling.fold


def left_bytes(spec: Contract) -> int:
    """Bytes of `a` that one matrix's rows read, without what neighbours share."""
    row = min(abs(spec.a_strides[-1]) or spec.depth, len(spec.taps) * spec.depth)
    return prod(spec.rows) * row * ELEMENT_BYTES[spec.precision]


def shares_rows(spec: Contract, tiling: Tiling) -> bool:
    """Whether cores share out rows rather than columns.

    Of columns every core reads all of `a`, of which the others wrote a part; of rows each reads all weights. A line
    that another core wrote comes slowly, most of all from beyond its third-level cache: on an EPYC whose two virtual
    cores had no such cache in common one took five times as long, and ResNet-50 by columns 1.3 times.
    """
    if tiling.panels == 1 or prod(spec.rows[:-1]) * tiling.row_tiles < MANY_TILES:
        return False
    weights = tiling.panels * tiling.panel_vectors * tiling.lanes * tiling.cell_bytes * tiling.steps * len(tiling.runs)
    moved = left_bytes(spec) + prod(spec.rows) * spec.columns * ELEMENT_BYTES[spec.precision]
    return weights <= DEAR * moved


def row_block_tiles(spec: Contract, tiling: Tiling) -> int:
    """Row tiles per block of a product that shares rows: as many as stay in the cache between panels."""
    tiles = prod(spec.rows[:-1]) * tiling.row_tiles
    whole = left_bytes(spec)
    return tiles if whole <= 2 * BLOCK_BYTES else max(1, tiles * BLOCK_BYTES // whole)


def block_tiles(spec: Contract, tiling: Tiling) -> int:
    """Row tiles per block: a divisor of their number whose part of `a` stays in the cache between panels."""
    tiles = prod(spec.rows[:-1]) * tiling.row_tiles
    whole = left_bytes(spec)
    if tiling.panels == 1 or whole <= 2 * BLOCK_BYTES:
        return tiles
    wanted = max(1, tiles * BLOCK_BYTES // whole)
    return max(divisor for divisor in range(1, wanted + 1) if tiles % divisor == 0)


def units(spec: Contract, machine: Machine) -> int:
    """How many work units (tiles, or row tiles with all panels) a contraction has."""
    tiling = tile(spec, machine)
    return prod(spec.batch) * prod(spec.rows[:-1]) * tiling.row_tiles * (1 if tiling.by_rows else tiling.panels)


def cost(spec: Contract, machine: Machine) -> float:
    """Estimated cycles of all units on one core."""
    tiling = tile(spec, machine)
    one_row = sum(cycles * count for cycles, count in unit_kinds(spec, tiling))
    return prod(spec.batch) * prod(spec.rows[:-1]) * one_row


def split(spec: Contract, machine: Machine, parts: int) -> tuple[int, ...]:
    """Borders of `parts` ranges of units that take about as long: 0, ..., units. Ranges may be empty."""
    tiling = tile(spec, machine)
    if tiling.by_rows:
        whole = units(spec, machine)
        return tuple(round(whole * part / parts) for part in range(parts + 1))
    steps = tiling.steps * len(tiling.runs)
    width, rows, across = spec.rows[-1], tiling.tile_rows, tiling.row_tiles
    last = width - (across - 1) * rows
    tiles = prod(spec.rows[:-1]) * across
    blocks = tiles // tiling.block_tiles
    # Inside a block of one panel the cost is that of whole rows of tiles, but for a ragged rest; it is small.
    average = [
        ((across - 1) * tile_cost(tiling, rows, wide, steps) + tile_cost(tiling, last, wide, steps)) / across
        for wide in (tiling.vectors(spec.columns, panel) for panel in range(tiling.panels))
    ]
    chunks = [cycles * tiling.block_tiles for cycles in average] * (blocks * prod(spec.batch))
    total = sum(chunks)
    borders, passed, unit = [0], 0.0, 0
    for chunk in chunks:
        while len(borders) < parts and passed + chunk >= total * len(borders) / parts - 1e-9:
            inside = (total * len(borders) / parts - passed) / chunk
            borders.append(unit + round(inside * tiling.block_tiles))
        passed += chunk
        unit += tiling.block_tiles
    borders += [unit] * (parts + 1 - len(borders))
    return tuple(borders)
