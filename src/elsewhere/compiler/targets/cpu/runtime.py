"""Running a program: its memory, its threads, and NumPy's view of its inputs and outputs."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.types import convert, numpy_dtype
from elsewhere.compiler.targets.cpu.formats import MEMORY, from_memory, to_memory
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.cpu.program import SLACK, SYNC, Port, Program

HUGE_PAGE = 2**21
PATIENCE = 20_000
"""Turns that a helper thread waits for the next run before it sleeps: about a fifth of a millisecond."""

_RUN = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 3)
_SERVE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 4)
_PROFILE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)


def aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that start at a multiple of 4,096 bytes; of 2 MiB, in pages of that size where there are such, if large.

    In small pages it is chance which lines of a cache a network's values share, and a run took 4.8 or 6.2 ms by it.
    """
    unit = HUGE_PAGE if size >= HUGE_PAGE // 4 else 4096
    length = -(-size // unit) * unit + unit
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    room = mmap.mmap(-1, length, **private)
    if unit == HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            room.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(room, np.uint8)
    shift = -raw.ctypes.data % unit
    return raw[shift : shift + size]


class Network:
    """A program in memory. One at a time may run it; make another for another thread of yours (code is shared)."""

    def __init__(self, program: Program, machine: Machine, threads: int = 1, library: Library | None = None) -> None:
        if threads not in program.schedules:
            raise ValueError(f"the program was planned for {sorted(program.schedules)} threads, got {threads}")
        self.program, self.threads = program, threads
        self.library = library or Library(program.code, machine)
        self._run = _RUN(self.library.address("run"))
        self._arena = aligned(program.arena_bytes + SLACK)
        self._ranges = np.ascontiguousarray(program.schedules[threads])
        self._scratch = [aligned(program.scratch_bytes + SLACK) for _ in range(threads)]
        self._sync = aligned(4096).view(np.int64)
        self._own = self.pointers(0)
        self._generation = 0
        self.closed = False
        self._helpers: list[_Helper] = []
        self.inputs = {p.name: self._view(p) for p in program.inputs}
        """Where to write inputs, in the format of memory; states are among them."""
        self.outputs = {p.name: self._view(p) for p in program.outputs}
        self._dtypes = {p.name: p.dtype for p in (*program.inputs, *program.outputs)}
        for port in program.inputs:
            self.inputs[port.name][...] = to_memory(np.zeros((), numpy_dtype(port.dtype)), port.dtype)
        for thread in range(1, threads):
            self._helpers.append(_Helper(self, thread))

    def _view(self, port: Port) -> NDArray[Any]:
        dtype = np.dtype(MEMORY[port.dtype])
        size = int(np.prod(port.shape, dtype=np.int64)) * dtype.itemsize
        return self._arena[port.offset : port.offset + size].view(dtype).reshape(port.shape)

    def pointers(self, thread: int) -> tuple[int, ...]:
        arrays = (self._arena, self.program.data, self._ranges, self._sync, self._scratch[thread])
        return tuple(a.ctypes.data for a in arrays)

    def run(self) -> None:
        """Calculates outputs and new states from what lies in `inputs`. Allocates nothing."""
        if self.closed:
            raise ValueError("the network is closed")
        if self._helpers:
            self._sync[SYNC["generation"]] = self._generation + 1
            for helper in self._helpers:
                helper.wake()
        self._run(*self._own, 0, self.threads, self._generation)
        self._generation += 1

    def write(self, name: str, values: Any) -> None:
        """Puts an input (or state) in place. Raises ValueError for an unknown name, another shape, or no numbers."""
        if name not in self.inputs:
            raise ValueError(f"there is no input {name!r}; there are {sorted(self.inputs)}")
        view, array = self.inputs[name], np.asarray(values)
        if array.shape != view.shape:
            raise ValueError(f"input {name!r} must have shape {view.shape}, got {array.shape}")
        if array.dtype.kind not in "biuf":
            raise ValueError(f"input {name!r} must hold real numbers, got {array.dtype}")
        dtype = self._dtypes[name]
        view[...] = array if array.dtype == np.float32 and dtype == "f32" else to_memory(convert(array, dtype), dtype)

    def read(self, name: str) -> NDArray[Any]:
        """A copy of an output (or state). Raises ValueError for an unknown name."""
        view = self.outputs.get(name, self.inputs.get(name))
        if view is None:
            raise ValueError(f"there is no output {name!r}; there are {sorted(self.outputs)}")
        dtype = self._dtypes[name]
        return np.array(view) if dtype in ("f32", "i32", "f16") else from_memory(np.array(view), dtype)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Writes inputs, runs, and returns copies of the outputs."""
        for name, values in inputs.items():
            self.write(name, values)
        self.run()
        return {name: self.read(name) for name in self.outputs}

    def profile(self, rounds: int = 20) -> NDArray[np.int64]:
        """Clock ticks of every kernel on one thread: the least of `rounds` runs, (kernels,)."""
        function = _PROFILE(self.library.address("profile"))
        times = np.zeros(len(self.program.entries) + 1, np.int64)
        best = np.full(len(self.program.entries), np.iinfo(np.int64).max)
        arena, data, ranges, _, scratch = self._own
        for _ in range(rounds):
            function(arena, data, ranges, scratch, times.ctypes.data)
            best = np.minimum(best, np.diff(times))
        return best

    def close(self) -> None:
        """Ends the helper threads. The network cannot run after that; what it found can be read."""
        self.closed = True
        for helper in self._helpers:
            helper.stop()
        self._helpers = []


class _Helper:
    """A thread of the operating system that runs its share of every run, and sleeps when none comes for a while."""

    def __init__(self, network: Network, number: int) -> None:
        self.signal = threading.Semaphore(0)
        sync, parked = network._sync, SYNC["parked"] + number
        self.sync, self.parked = sync, parked
        serve = _SERVE(network.library.address("serve"))
        pointers, threads = network.pointers(number), network.threads
        keep = (network.program, network._arena, network._ranges, network._scratch, network.library)
        self.thread = threading.Thread(
            target=_serve, args=(serve, pointers, number, threads, sync, parked, self.signal, keep), daemon=True
        )
        sync[parked] = 1
        self.thread.start()
        self._finaliser = weakref.finalize(network, _stop, sync, self.signal)

    def wake(self) -> None:
        if self.sync[self.parked]:
            self.sync[self.parked] = 0
            self.signal.release()

    def stop(self) -> None:
        self._finaliser()
        self.thread.join(timeout=5.0)


def _stop(sync: NDArray[np.int64], signal: threading.Semaphore) -> None:
    sync[SYNC["stop"]] = 1
    signal.release()


def _serve(
    serve: Any,
    pointers: tuple[int, ...],
    number: int,
    threads: int,
    sync: NDArray[np.int64],
    parked: int,
    signal: threading.Semaphore,
    keep: Any,
) -> None:
    done = 0
    while True:
        signal.acquire()
        while not sync[SYNC["stop"]]:
            done = serve(*pointers, number, threads, done, PATIENCE)
            sync[parked] = 1
            if sync[SYNC["generation"]] <= done:
                break  # nothing came between the last look and the flag
            sync[parked] = 0
        if sync[SYNC["stop"]]:
            return
