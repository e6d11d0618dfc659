"""A loop in registers on every core, with one meeting at its end: what the machine alone does to the times of a run.

It reads and writes no memory but the two counters of the meeting, so that whatever makes some of its runs longer than
others (the kernel's own work, a hypervisor that takes a core away) is none of a runtime's doing.
"""

from __future__ import annotations

import ctypes
import threading
import time

import numpy as np

from elsewhere.compiler.targets.cpu.jit import optimise, to_object
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import describe

_TEXT = """
define i64 @spin(i64 %turns) {
entry:
  br label %again
again:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %x = phi i64 [ 1, %entry ], [ %y, %again ]
  %y = mul i64 %x, 6364136223846793005
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %turns
  br i1 %more, label %again, label %done
done:
  ret i64 %y
}
define void @wait(ptr %counter, i64 %wanted) {
entry:
  br label %again
again:
  %seen = load atomic i64, ptr %counter acquire, align 8
  %came = icmp sge i64 %seen, %wanted
  br i1 %came, label %done, label %again
done:
  ret void
}
define i64 @lead(ptr %counters, i64 %turns, i64 %number, i64 %helpers) {
  store atomic i64 %number, ptr %counters release, align 8
  %y = call i64 @spin(i64 %turns)
  %arrived = getelementptr i64, ptr %counters, i64 16
  %wanted = mul i64 %number, %helpers
  call void @wait(ptr %arrived, i64 %wanted)
  ret i64 %y
}
define void @exchange(ptr %counters, i64 %last) {
entry:
  %arrived = getelementptr i64, ptr %counters, i64 16
  br label %again
again:
  %number = phi i64 [ 1, %entry ], [ %next, %again ]
  store atomic i64 %number, ptr %counters release, align 8
  call void @wait(ptr %arrived, i64 %number)
  %next = add i64 %number, 1
  %more = icmp ule i64 %next, %last
  br i1 %more, label %again, label %done
done:
  ret void
}
define i64 @help(ptr %counters, i64 %turns) {
entry:
  br label %again
again:
  %number = phi i64 [ 1, %entry ], [ %next, %again ]
  call void @wait(ptr %counters, i64 %number)
  %y = call i64 @spin(i64 %turns)
  %arrived = getelementptr i64, ptr %counters, i64 16
  %before = atomicrmw add ptr %arrived, i64 1 seq_cst
  %next = add i64 %number, 1
  %stop = getelementptr i64, ptr %counters, i64 32
  %stopped = load atomic i64, ptr %stop acquire, align 8
  %over = icmp ne i64 %stopped, 0
  br i1 %over, label %done, label %again
done:
  ret i64 %y
}
"""


class BareLoop:
    """`run` takes about `milliseconds` on an undisturbed machine, between `start` and `rest`."""

    def __init__(self, milliseconds: float, threads: int) -> None:
        machine = describe()
        self.library = Library(to_object(optimise(_TEXT, machine), machine), machine)
        spin = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self.library.address("spin"))
        spans = []
        for _ in range(50):
            before = time.perf_counter()
            spin(200_000)
            spans.append(time.perf_counter() - before)
        self.turns = max(1, round(200_000 * milliseconds / 1e3 / float(np.median(spans))))
        self.counters = np.zeros(512, np.int64)
        self.number, self.helpers = 0, threads - 1
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 3)
        self._lead = kind(self.library.address("lead"))
        self._help = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(self.library.address("help"))
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Wakes the helpers."""
        self.rest()
        self.counters[:] = 0
        self.number = 0
        given = (self.counters.ctypes.data, self.turns)
        self._threads = [threading.Thread(target=self._help, args=given) for _ in range(self.helpers)]
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Ends them, so that they take no core from others."""
        if not self._threads:
            return
        self.counters[32] = 1
        self.run()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def handover_ns(self, exchanges: int = 5000, rounds: int = 5) -> float:
        """Nanoseconds that a word takes from one core to another: the least of `rounds`, of a loop of two threads.

        About 40 where both have a third-level cache in common, and some hundred where they have not. On a virtual
        machine that changes from minute to minute, as the host moves its cores.
        """
        spans = []
        exchange = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.library.address("exchange"))
        turns, self.turns = self.turns, 1
        for _ in range(rounds):
            self.start()
            before = time.perf_counter()
            exchange(self.counters.ctypes.data, exchanges)
            spans.append(time.perf_counter() - before)
            self.number = exchanges
            self.rest()
        self.turns = turns
        return min(spans) / exchanges / 2 * 1e9

    def run(self) -> None:
        self.number += 1
        self._lead(self.counters.ctypes.data, self.turns, self.number, self.helpers)
