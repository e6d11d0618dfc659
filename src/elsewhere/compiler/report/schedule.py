"""When each core does what, calculated from the times of kernels on one core and the plan's split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elsewhere.compiler.targets.cpu.program import Program


@dataclass(frozen=True, slots=True)
class Span:
    """A core's share of a kernel, in seconds from the start of a run."""

    core: int
    kernel: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run. Between a core's spans it waits for a meeting."""

    spans: tuple[Span, ...]
    meetings: tuple[float, ...]
    seconds: float

    def waiting(self, core: int) -> float:
        """Seconds that `core` spends without work."""
        return self.seconds - sum(s.end - s.start for s in self.spans if s.core == core)


def timeline(program: Program, seconds: Sequence[float], threads: int) -> Timeline:
    """`seconds` are those of each kernel on one core. Meetings are taken to cost nothing but the wait."""
    schedule, clocks = program.schedules[threads], [0.0] * threads
    spans: list[Span] = []
    meetings: list[float] = []
    meets = set(program.meetings)
    for index, entry in enumerate(program.entries):
        if threads > 1 and index in meets:
            clocks = [max(clocks)] * threads
            meetings.append(clocks[0])
        for core in range(threads):
            begin, end = (int(n) for n in schedule[core, index])
            if end > begin:
                length = seconds[index] * (end - begin) / entry.units
                spans.append(Span(core, index, clocks[core], clocks[core] + length))
                clocks[core] += length
    return Timeline(tuple(spans), tuple(meetings), max(clocks, default=0.0))
