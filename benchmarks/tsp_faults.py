"""Fault injection: random single-cycle and single-bank changes to valid programs, and who notices.

A change matters if a run gives other bits or cannot be. The checker must catch every one that matters; it may catch
more, because it also proves rules that no output shows. Prints both rates.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "compiler" / "targets" / "tsp"))

import networks
from test_faults import changed, matters

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    random = np.random.Generator(np.random.Philox(0))
    tally = {"changes": 0, "matter": 0, "caught": 0, "matter and caught": 0, "missed": 0, "harmless and caught": 0}
    cases = [(compile_tsp(graph), inputs) for graph, inputs in (make() for make in networks.CASES.values())]
    runs = [run_bursts(made.program, inputs) for made, inputs in cases]
    for number in range(arguments.count):
        (made, inputs), wanted = cases[number % len(cases)], runs[number % len(cases)]
        broken = changed(made.program, random)
        hurts, seen = matters(broken, inputs, wanted), bool(check(broken))
        tally["changes"] += 1
        tally["matter"] += hurts
        tally["caught"] += seen
        tally["matter and caught"] += hurts and seen
        tally["missed"] += hurts and not seen
        tally["harmless and caught"] += seen and not hurts
    print(json.dumps(tally, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(tally, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
