"""The same bytes in every process, and the same cycles for every input.

    python benchmarks/tsp_determinism.py --json benchmarks/results/tsp-determinism.json

Compiles the tests' networks and ResNet-50 in processes with different hash seeds, compares the SHA-256 of the files,
and executes each of the small programs on random inputs, counting the cycles in which instructions worked. Ends with
status 1 if any differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "compiler" / "targets" / "tsp"))

import networks
from test_determinism import varied

from elsewhere.compiler.targets.tsp.burst import BurstSimulator
from elsewhere.compiler.targets.tsp.compile import compile_tsp

COMPILE = """
import hashlib, json, networks
from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.assembly import save
from elsewhere.compiler.targets.tsp.compile import compile_tsp
graphs = {n: make()[0] for n, make in networks.CASES.items()} | {"resnet-50": published.resnet_50()}
print(json.dumps({n: hashlib.sha256(save(compile_tsp(g).program)).hexdigest() for n, g in graphs.items()}))
"""


def files(seed: int) -> dict[str, str]:
    """Digests of all programs, compiled in a process of their own."""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE], env=environment, capture_output=True, text=True, check=True
    )
    made: dict[str, str] = json.loads(run.stdout)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    digests = [files(seed) for seed in range(1, arguments.processes + 1)]
    same = {name: len({d[name] for d in digests}) == 1 for name in digests[0]}
    cycles: dict[str, Any] = {}
    for name, make in networks.CASES.items():
        graph, inputs = make()
        program = compile_tsp(graph).program
        found, results = set(), set()
        for seed in range(arguments.inputs):
            simulator = BurstSimulator(program, varied(inputs, seed))
            made = simulator.run()
            results.add(b"".join(made[n].tobytes() for n in sorted(made)))
            found.add(simulator.worked + program.machine.superlanes - 1)
        cycles[name] = {"inputs": arguments.inputs, "different results": len(results), "cycles": sorted(found)}
    summary = {"processes": arguments.processes, "same bytes": same, "sha256": digests[0], "cycles": cycles}
    print(json.dumps(summary, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if not all(same.values()) or any(len(c["cycles"]) != 1 for c in cycles.values()):
        sys.exit("bytes or cycles differ")


if __name__ == "__main__":
    main()
