"""Runs a frozen network and measures all that the report shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from elsewhere.compiler.cache import CacheOptions
from elsewhere.compiler.compiled import Compiled, compile_graph
from elsewhere.compiler.freeze import Frozen
from elsewhere.compiler.report.account import Account, account
from elsewhere.compiler.report.page import totals, write_page
from elsewhere.compiler.report.timing import Timing, time_runs
from elsewhere.compiler.sources import Source, example_inputs
from elsewhere.compiler.targets.cpu import rates
from elsewhere.compiler.targets.cpu.build import prepare
from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.cpu.rates import Rates

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A network as measured here."""

    compiled: Compiled
    accounts: list[Account]
    rates: Rates
    """Of one core."""
    timings: dict[int, Timing]
    """Whole runs by number of cores."""

    def totals(self) -> dict[str, Any]:
        return totals(self.compiled.program, self.accounts, self.rates)


def inspect(
    source: Source,
    *,
    threads: tuple[int, ...] = (1, 2),
    runs: int | None = None,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    machine: Machine | None = None,
    options: CacheOptions | None = None,
    say: Say = lambda what: None,
) -> Inspection:
    """Compiles `source` (or takes it from the cache), and times whole runs and every kernel. `say` hears what goes on.

    A source that is not in its precision yet has to be frozen first.
    """
    given = inputs if inputs is not None else example_inputs(source.graph)
    timings: dict[int, Timing] = {}
    compiled: Compiled | None = None
    for count in sorted(threads, reverse=True):
        say("machine code")
        if compiled is not None:
            compiled.close()
        compiled = compile_graph(
            source.graph,
            precision=source.precision,
            threads=count,
            states=source.states,
            machine=machine,
            options=options,
        )
        compiled.write(**given)
        say(f"runs on {count} core{'s' if count > 1 else ''}")
        timings[count] = time_runs(compiled.run, runs)
    assert compiled is not None
    say("kernels one by one")
    ticks = compiled.network.profile(30)
    say("what the processor can do")
    found = rates.measure(compiled.machine)
    fused, _ = prepare(source.graph, source.precision, machine=compiled.machine)
    most = max(compiled.program.schedules)
    accounts = account(compiled.program, fused, compiled.machine, found, ticks, most)
    return Inspection(compiled, accounts, found, dict(sorted(timings.items())))


def write_report(
    path: str | os.PathLike[str], frozen: Frozen, inspection: Inspection, facts: Mapping[str, str]
) -> None:
    """The page of a network, whole or not at all. Raises OSError."""
    write_page(
        path,
        name=frozen.source.name,
        precision=frozen.source.precision,
        stages=frozen.stages,
        program=inspection.compiled.program,
        accounts=inspection.accounts,
        rates=inspection.rates,
        timings=inspection.timings,
        quantisation=frozen.quantisation,
        facts=facts,
    )
