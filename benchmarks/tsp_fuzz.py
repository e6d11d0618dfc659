"""Damaged program files: 10,000 of them are read, checked and, if nothing is found, run.

    python benchmarks/tsp_fuzz.py --count 10000 --json benchmarks/results/tsp-fuzz.json

Each ends as refused (ProgramError), with faults of the checker, told while running, or it ran: damage may be where it
does not matter, such as in a name. Anything else ends this program with a traceback. Prints the slowest file and the
most memory that the process ever had.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "compiler" / "targets" / "tsp"))

import networks
from test_damage import digest, mutated

from elsewhere.compiler.targets.tsp.assembly import save
from elsewhere.compiler.targets.tsp.compile import compile_tsp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--memory", type=int, default=6, help="GiB of address space that the process may take")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory << 30,) * 2)
    cases = [make() for make in networks.CASES.values()]
    files = [(save(compile_tsp(graph).program), inputs) for graph, inputs in cases]
    ends, slowest = Counter[str](), 0.0
    for number in range(arguments.count):
        data, inputs = files[number % len(files)]
        broken = mutated(data, np.random.Generator(np.random.Philox([2, number])))
        start = time.perf_counter()
        ends[digest(broken, inputs)] += 1
        slowest = max(slowest, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {
        "files": arguments.count,
        "ends": dict(ends),
        "slowest seconds": round(slowest, 2),
        "peak MiB": round(peak),
    }
    print(json.dumps(found, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
