"""A program's numbers for the page, small: columns of one kind next to each other, deflated, in base64.

The page draws from these at any zoom; nothing is binned here.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.targets.tsp.program import Kind, Op, Program
from elsewhere.compiler.targets.tsp.report.account import Report
from elsewhere.compiler.targets.tsp.report.waits import Legs, stream_legs

Array = NDArray[Any]
NONE = 0xFFFF
"""No stream."""


def pack(columns: Mapping[str, Array]) -> dict[str, Any]:
    """`layout` of (name, type, length) and the bytes of all columns, each padded to 4 bytes."""
    layout, parts = [], []
    for name, column in columns.items():
        kind = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "int32": "i32"}[column.dtype.name]
        raw = np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).tobytes()
        layout.append([name, kind, len(column)])
        parts.append(raw + bytes(-len(raw) % 4))
    return {"layout": layout, "bytes": base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()}


def instructions(report: Report) -> tuple[dict[str, Array], list[int]]:
    """Instructions queue by queue, in the order of issue (as differences), and where each queue's begin."""
    code = report.program.code
    order = np.lexsort((code["issue"], code["queue"]))
    code = code[order]
    count = int(code["queue"].max(initial=-1)) + 1
    starts = np.searchsorted(code["queue"], np.arange(count + 1)).tolist()
    issue = code["issue"].astype(np.int64)
    a = code["a"].astype(np.int32)
    memory = np.isin(code["op"], (Op.READ, Op.WRITE, Op.GATHER, Op.SCATTER))
    loads = code["op"] == Op.LOAD
    stream = np.where(code["ins"]["kind"] == Kind.STREAM, code["ins"]["source"], NONE)
    left = np.where(code["outs"]["stream"] >= 0, code["outs"]["stream"], NONE)
    return {
        "issue": np.diff(issue, prepend=0).astype(np.int32),
        "count": code["count"].astype(np.uint32),
        "first": np.where(memory, a[:, 1], np.where(loads, a[:, 2], np.where(_lanes(code), a[:, 1], a[:, 0]))),
        "second": np.where(memory | _lanes(code), a[:, 2], 0).astype(np.int32),
        "flow": np.diff(report.flows.of[order], prepend=0).astype(np.int32),
        "symbol": code["symbol"].astype(np.uint16),
        "in0": stream[:, 0].astype(np.uint16),
        "in1": stream[:, 1].astype(np.uint16),
        "out0": left[:, 0].astype(np.uint16),
        "op": code["op"].astype(np.uint8),
        "dtype": code["dtype"].astype(np.uint8),
    }, starts


def _lanes(code: Array) -> Array:
    return np.isin(code["op"], (Op.ACTIVATE, Op.ACCUMULATE))


def flows(report: Report) -> dict[str, Array]:
    """For each flow its first cycle, what it waited for, and which flow held that."""
    found, waits = report.flows, report.waits
    return {
        "flow_start": np.diff(found.start, prepend=0).astype(np.int32),
        "flow_by": waits.by.astype(np.int32),
        "flow_slack": np.clip(waits.slack, 0, 1 << 30).astype(np.uint32),
        "flow_symbol": found.symbol.astype(np.uint16),
        "flow_kind": waits.kind.astype(np.uint8),
    }


def chain(report: Report) -> dict[str, Array]:
    """The chain's stretches in time, without those of no length."""
    steps = [s for s in report.chain if s.cycles]
    return {
        "chain_cycle": np.array([s.cycle for s in steps], np.uint32),
        "chain_cycles": np.array([s.cycles for s in steps], np.uint32),
        "chain_flow": np.array([s.flow for s in steps], np.uint32),
        "chain_kind": np.array([s.kind for s in steps], np.uint8),
    }


def memory(program: Program) -> dict[str, Array]:
    """Rows that are needed: bank (slice · banks + bank), rows, first and last cycle. Weights stay for the next run."""
    code, m = program.code, program.machine
    end = program.cycles
    banks: list[Array] = []
    rows: list[Array] = []
    spans: list[tuple[Array, Array]] = []

    def add(cell: Array, count: Array, first: Array, last: Array) -> None:
        banks.append(cell[:, 0] * m.banks_per_slice + cell[:, 1] // m.bank_rows)
        rows.append(count)
        spans.append((first, last))

    held = np.array([(s, a, len(d)) for s, a, d in program.image], np.int64).reshape(-1, 3)
    add(held[:, :2], held[:, 2], np.zeros(len(held), np.int64), np.full(len(held), end))
    mine = code[code["strip"] >= 0]
    mine = mine[np.argsort(mine["strip"], kind="stable")]
    if len(mine):
        starts = np.flatnonzero(np.r_[True, mine["strip"][1:] != mine["strip"][:-1]])
        reach = mine["row"] + np.maximum(mine["row_step"], 0).astype(np.int64) * (mine["count"] - 1)
        extent = np.maximum.reduceat(reach, starts) + 1
        writes = np.isin(mine["op"], (Op.WRITE, Op.SCATTER))
        first = np.minimum.reduceat(np.where(writes, mine["issue"], end).astype(np.int64), starts)
        last = np.maximum.reduceat((mine["issue"] + mine["count"]).astype(np.int64), starts)
        slice_, base = (
            mine["a"][starts, 0].astype(np.int64),
            mine["a"][starts, 1].astype(np.int64) - mine["row"][starts],
        )
        cell = np.stack([slice_, base], axis=1)
        fixed = _cells(held, m.rows_per_slice)
        given = _cells(_ports(program.inputs), m.rows_per_slice)
        kept = _cells(_ports(program.outputs), m.rows_per_slice)
        place = slice_ * m.rows_per_slice + np.clip(base, 0, None)
        first = np.where(first == end, 0, first)
        last = np.where(_inside(place, kept), end, last)
        loose = ~_inside(place, fixed)
        first = np.where(_inside(place, given) & (first == 0), 0, first)
        add(cell[loose], extent[loose], first[loose], last[loose])
    start = np.concatenate([s for s, _ in spans])
    stop = np.concatenate([s for _, s in spans])
    return {
        "strip_first": start.astype(np.uint32),
        "strip_last": stop.astype(np.uint32),
        "strip_rows": np.concatenate(rows).astype(np.uint32),
        "strip_bank": np.concatenate(banks).astype(np.uint16),
    }


def _ports(ports: Any) -> Array:
    pieces = [p.pieces for p in ports]
    joined = np.concatenate(pieces) if pieces else np.zeros((0, 7), np.int64)
    return np.stack([joined[:, 5], joined[:, 6], joined[:, 4]], axis=1)


def _cells(held: Array, rows_per_slice: int) -> tuple[Array, Array]:
    """Sorted starts and ends of ranges of rows, counted over all slices."""
    start = held[:, 0] * rows_per_slice + held[:, 1]
    order = np.argsort(start, kind="stable")
    return start[order], (start + held[:, 2])[order]


def _inside(place: Array, cells: tuple[Array, Array]) -> Array:
    starts, ends = cells
    if not len(starts):
        return np.zeros(len(place), bool)
    at = np.searchsorted(starts, place, side="right") - 1
    made: Array = (at >= 0) & (place < ends[np.maximum(at, 0)])
    return made


def streams(program: Program) -> dict[str, Array]:
    """Stretches of streams in one hemisphere: direction (0 east, 1 west), streams, first cycle, cycles."""
    legs = stream_legs(program)
    kinds, widths, starts, lengths = [], [], [], []
    for side in (0, 1):
        first, last = _crossed(legs, side)
        mine = first != last
        kinds.append(legs.west[mine].astype(np.uint8))
        widths.append(legs.width[mine].astype(np.uint8))
        starts.append((legs.cycle + np.abs(first - legs.place))[mine])
        lengths.append((legs.count + np.abs(last - first))[mine])
    start = np.concatenate(starts)
    order = np.argsort(start, kind="stable")
    return {
        "leg_start": np.diff(start[order], prepend=0).astype(np.int32),
        "leg_length": np.concatenate(lengths)[order].astype(np.uint32),
        "leg_west": np.concatenate(kinds)[order],
        "leg_width": np.concatenate(widths)[order],
    }


def _crossed(legs: Legs, side: int) -> tuple[Array, Array]:
    """From where to where each leg travels inside a hemisphere (0 west, 1 east); equal where it does not."""
    low, high = (0, 1 << 30) if side else (-(1 << 30), 0)
    return np.clip(legs.place, low, high), np.clip(legs.last, low, high)
