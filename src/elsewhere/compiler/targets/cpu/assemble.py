"""The whole network as one native function: addresses, calls in order, and meetings of the cores.

`run(arena, data, ranges, sync, scratch, thread, threads, generation)` calls every kernel with the range of work units
that `ranges` gives this thread. Where the plan placed a meeting, threads wait for each other by counting arrivals.
"""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.ir as ir
import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.types import DTYPES
from elsewhere.compiler.plan import memory, order
from elsewhere.compiler.plan.layout import Access
from elsewhere.compiler.targets.cpu import jit
from elsewhere.compiler.targets.cpu.kernels import vectors
from elsewhere.compiler.targets.cpu.kernels.vectors import I32, I64, POINTER, VOID
from elsewhere.compiler.targets.cpu.lower import Argument, Lowered
from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.cpu.program import SLACK, SYNC, Entry, Port, Program

SPINS = 2000
"""Turns of waiting before the processor is offered to others."""


def assemble(lowered: Lowered, machine: Machine, threads: Sequence[int]) -> Program:
    """Addresses, schedules and machine code."""
    layout = lowered.layout
    fixed, at = {}, 0
    for number, buffer in enumerate(lowered.buffers):
        if buffer.kind in ("input", "output", "state"):
            fixed[number] = at
            at += memory.round_up(buffer.bytes)
    movable = [i for i, b in enumerate(lowered.buffers) if b.kind == "arena" and b.last >= 0]
    blocks = [memory.Block(b.bytes, b.first, b.last) for b in (lowered.buffers[i] for i in movable)]
    arena = memory.allocate(blocks)
    places = fixed | {i: at + offset for i, offset in zip(movable, arena.offsets, strict=True)}
    data_places, data = _lay_data(lowered.data)
    works = [
        order.Work(
            tuple((places[b] + lo, places[b] + hi, b) for b, lo, hi in kernel.reads),
            tuple((places[b] + lo, places[b] + hi, -1 if kernel.rewrites else b) for b, lo, hi in kernel.writes),
            kernel.units,
            kernel.cost,
            kernel.borders,
        )
        for kernel in lowered.kernels
    ]
    schedules = {count: order.split(works, count) for count in threads}
    # One code serves every number of threads: they meet wherever any of them must.
    flags = [schedule.barriers for schedule in schedules.values()]
    meetings = [any(each[index] for each in flags) for index in range(len(works))]
    code = _code(lowered, machine, places, data_places, meetings)
    ranges = {count: np.array(schedule.ranges, np.int64) for count, schedule in schedules.items()}
    entries = tuple(
        Entry(
            k.key,
            k.kind,
            k.place,
            k.units,
            k.cost,
            k.multiplications,
            k.precision,
            k.node,
            sum(hi - lo for _, lo, hi in (*k.reads, *k.writes)),
            sum(lowered.data[number].size for number in {a.number for a in k.arguments if a.kind == "data"}),
        )
        for k in lowered.kernels
    )

    def ports(accesses: dict[str, Access]) -> tuple[Port, ...]:
        return tuple(
            Port(name, a.type.dtype, a.shape, places[a.buffer] + a.offset * DTYPES[a.type.dtype])
            for name, a in accesses.items()
        )

    return Program(
        code=code,
        data=data,
        arena_bytes=at + arena.bytes,
        live_bytes=at + arena.live,
        scratch_bytes=max((k.scratch for k in lowered.kernels), default=0),
        inputs=ports(layout.inputs),
        outputs=ports(layout.outputs),
        states=ports(layout.states),
        schedules=ranges,
        entries=entries,
        machine=f"{machine.level} {machine.processor} {machine.features}",
        blocks=tuple((o + at, b.bytes, b.first, b.last) for o, b in zip(arena.offsets, blocks, strict=True)),
        meetings=tuple(index for index, meets in enumerate(meetings) if meets),
    )


def _lay_data(parts: Sequence[NDArray[np.uint8]]) -> tuple[list[int], NDArray[np.uint8]]:
    places, at = [], 0
    for part in parts:
        places.append(at)
        at += memory.round_up(part.size)
    whole = np.zeros(at + SLACK, np.uint8)
    for place, part in zip(places, parts, strict=True):
        whole[place : place + part.size] = part
    return places, whole


def _start(argument: Argument, places: dict[int, int], data_places: Sequence[int]) -> int:
    """Bytes from the start of the memory that the argument points into."""
    if argument.kind == "scratch":
        return argument.offset
    start = places[argument.number] if argument.kind == "buffer" else data_places[argument.number]
    return start + argument.offset


def _code(
    lowered: Lowered,
    machine: Machine,
    places: dict[int, int],
    data_places: Sequence[int],
    meetings: Sequence[bool],
) -> bytes:
    module = ir.Module("network")
    functions: dict[str, ir.Function] = {}
    for kernel in lowered.kernels:
        if kernel.key not in functions:
            function = kernel.emit(module, kernel.key)
            function.linkage = "internal"
            function.attributes.add("noinline")
            functions[kernel.key] = function
    meet = _emit_meeting(module)
    kind = ir.FunctionType(VOID, [POINTER] * 5 + [I64] * 3)
    run = ir.Function(module, kind, "run")
    arena, data, ranges, sync, scratch, thread, threads, generation = run.args
    builder = ir.IRBuilder(run.append_basic_block("entry"))
    count = len(lowered.kernels)
    mine = builder.gep(ranges, [builder.mul(thread, ir.Constant(I64, 2 * count))], source_etype=I64)
    several = builder.icmp_unsigned(">", threads, ir.Constant(I64, 1))
    total = sum(meetings) + 1
    start = builder.mul(generation, builder.mul(threads, ir.Constant(I64, total)))

    def pointer(argument: Argument) -> ir.Value:
        base = {"buffer": arena, "data": data, "scratch": scratch}[argument.kind]
        start = _start(argument, places, data_places)
        return builder.gep(base, [ir.Constant(I64, start)], source_etype=ir.IntType(8))

    number = 0
    for index, kernel in enumerate(lowered.kernels):
        if meetings[index]:
            number += 1
            with builder.if_then(several):
                wanted = builder.add(start, builder.mul(threads, ir.Constant(I64, number)))
                builder.call(meet, [sync, wanted])
        begin = builder.load(builder.gep(mine, [ir.Constant(I64, 2 * index)], source_etype=I64), typ=I64)
        end = builder.load(builder.gep(mine, [ir.Constant(I64, 2 * index + 1)], source_etype=I64), typ=I64)
        with builder.if_then(builder.icmp_signed("<", begin, end)):
            builder.call(functions[kernel.key], [begin, end, *(pointer(a) for a in kernel.arguments)])
    with builder.if_then(several):
        wanted = builder.add(start, builder.mul(threads, ir.Constant(I64, number + 1)))
        builder.call(meet, [sync, wanted])
    builder.ret_void()
    _emit_profile(module, lowered, functions, places, data_places)
    _emit_serve(module, run)
    return jit.to_object(jit.optimise(str(module), machine), machine)


def _word(builder: ir.IRBuilder, sync: ir.Value, name: str, extra: int = 0) -> ir.Value:
    return builder.gep(sync, [ir.Constant(I64, SYNC[name] + extra)], source_etype=I64)


def _pause(builder: ir.IRBuilder) -> None:
    if "x86" in jit.triple():
        vectors.intrinsic(builder, "llvm.x86.sse2.pause", VOID, [])


def _wait(builder: ir.IRBuilder, address: ir.Value, wanted: ir.Value, limit: ir.Value | None) -> ir.Value:
    """Turns until the word at `address` is at least `wanted`; after `limit` turns gives up. Returns whether it came."""
    function = builder.function
    head = function.append_basic_block("wait")
    again, after = function.append_basic_block("again"), function.append_basic_block("came")
    before = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    turns = builder.phi(I64)
    turns.add_incoming(ir.Constant(I64, 0), before)
    seen = builder.load_atomic(address, "acquire", 8, typ=I64)
    came = builder.icmp_signed(">=", seen, wanted)
    done: ir.Value = came
    if limit is not None:
        done = builder.or_(came, builder.icmp_unsigned(">=", turns, limit))
    builder.cbranch(done, after, again)
    builder.position_at_end(again)
    _pause(builder)
    more = builder.add(turns, ir.Constant(I64, 1))
    late = builder.icmp_unsigned("==", builder.urem(more, ir.Constant(I64, SPINS)), ir.Constant(I64, 0))
    with builder.if_then(late, likely=False):
        builder.call(_yield_function(builder.module), [])
    turns.add_incoming(more, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return came


def _yield_function(module: ir.Module) -> ir.Function:
    known = module.globals.get("sched_yield")
    return known or ir.Function(module, ir.FunctionType(I32, []), "sched_yield")


def _emit_meeting(module: ir.Module) -> ir.Function:
    """`meet(sync, wanted)`: counts this thread in, and waits until `wanted` arrivals have been counted."""
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64]), "meet")
    function.linkage = "internal"
    function.attributes.add("noinline")
    sync, wanted = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    address = _word(builder, sync, "arrived")
    builder.atomic_rmw("add", address, ir.Constant(I64, 1), "seq_cst")
    _wait(builder, address, wanted, None)
    builder.ret_void()
    return function


def _emit_profile(
    module: ir.Module,
    lowered: Lowered,
    functions: dict[str, ir.Function],
    places: dict[int, int],
    data_places: Sequence[int],
) -> None:
    """`profile(arena, data, ranges, scratch, times)`: on one thread, the clock before each kernel and at the end."""
    kind = ir.FunctionType(VOID, [POINTER] * 5)
    function = ir.Function(module, kind, "profile")
    arena, data, _, scratch, times = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    clock = ir.FunctionType(I64, [])
    counter = ir.Function(module, clock, "llvm.readcyclecounter")

    def mark(index: int) -> None:
        builder.store(builder.call(counter, []), builder.gep(times, [ir.Constant(I64, index)], source_etype=I64))

    for index, kernel in enumerate(lowered.kernels):
        mark(index)
        pointers = []
        for argument in kernel.arguments:
            base = {"buffer": arena, "data": data, "scratch": scratch}[argument.kind]
            offset = ir.Constant(I64, _start(argument, places, data_places))
            pointers.append(builder.gep(base, [offset], source_etype=ir.IntType(8)))
        builder.call(functions[kernel.key], [ir.Constant(I64, 0), ir.Constant(I64, kernel.units), *pointers])
    mark(len(lowered.kernels))
    builder.ret_void()


def _emit_serve(module: ir.Module, run: ir.Function) -> None:
    """`serve(arena, data, ranges, sync, scratch, thread, threads, generation, limit) -> i64`.

    A helper thread's loop: waits for a generation after the given one, runs its share, and so on; after `limit`
    turns of waiting in vain it returns the generation that it has done, so that its thread can sleep.
    """
    function = ir.Function(module, ir.FunctionType(I64, [POINTER] * 5 + [I64] * 4), "serve")
    arena, data, ranges, sync, scratch, thread, threads, generation, limit = function.args
    entry = function.append_basic_block("entry")
    builder = ir.IRBuilder(entry)
    head = function.append_basic_block("next")
    builder.branch(head)
    builder.position_at_end(head)
    done = builder.phi(I64)
    done.add_incoming(generation, entry)
    wanted = builder.add(done, ir.Constant(I64, 1))
    came = _wait(builder, _word(builder, sync, "generation"), wanted, limit)
    work, leave = function.append_basic_block("work"), function.append_basic_block("leave")
    builder.cbranch(came, work, leave)
    builder.position_at_end(work)
    builder.call(run, [arena, data, ranges, sync, scratch, thread, threads, done])
    done.add_incoming(wanted, builder.block)
    builder.branch(head)
    builder.position_at_end(leave)
    builder.ret(done)
