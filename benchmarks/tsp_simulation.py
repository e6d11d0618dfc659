"""Whole networks on one chip, executed: cycles, seconds to compile, to check and to run, and whether bits are right.

    python benchmarks/tsp_simulation.py --json benchmarks/results/tsp-simulation.json

ResNet-50 in int8, and the networks of the shipped world model at 128×128: `look` (the guide's features), `step` (one
evaluation of the transformer) and `decode` (latents to a picture). A frame is a look, as many steps as it is given and
a decode; each is a program of its own, and its cycles are the sum. Outputs are compared bit for bit with the NumPy
reference in the program's order of sums.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp import oracle, published
from elsewhere.compiler.targets.tsp.burst import BurstSimulator
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp

PARTS = ("look", "step", "decode")


def drawn(graph: Graph, random: np.random.Generator) -> dict[str, Any]:
    """Inputs: numbers of about the size of a network's, or small whole ones."""
    made: dict[str, Any] = {}
    for name, number in graph.inputs.items():
        type_ = graph.nodes[number].type
        if type_.dtype == "i8":
            made[name] = random.integers(-127, 128, type_.shape).astype(np.int8)
        elif type_.dtype == "i32":
            made[name] = random.integers(0, 8, type_.shape).astype(np.int32)
        else:
            made[name] = random.standard_normal(type_.shape, np.float32)
    return made


def measure(graph: Graph, precision: str, reference: bool) -> dict[str, Any]:
    """One network: compiled, checked, run, compared."""
    random = np.random.Generator(np.random.Philox(3))
    samples = [drawn(graph, random)] if precision == "int8" else []
    start = time.perf_counter()
    made = compile_tsp(graph, precision=precision, samples=samples)
    compiled = time.perf_counter()
    faults = check(made.program)
    checked = time.perf_counter()
    inputs, busy = drawn(made.graph, random), time.process_time()
    begun = time.perf_counter()
    found = BurstSimulator(made.program, inputs).run()
    ran, worked = time.perf_counter() - begun, time.process_time() - busy
    result = {
        "cycles": made.program.cycles,
        "microseconds": round(made.program.seconds * 1e6, 2),
        "instructions": len(made.program.code),
        "compile seconds": round(compiled - start, 2),
        "check seconds": round(checked - compiled, 2),
        "faults": len(faults),
        "run seconds": round(ran, 2),
        "run processor seconds": round(worked, 2),
        "cycles per second": round(made.program.cycles / ran),
    }
    if reference:
        wanted = oracle.run(made.graph, inputs, made.program.facts["cuts"])
        result["bit-exact"] = all(np.array_equal(found[n], wanted[n], equal_nan=True) for n in wanted)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=["resnet-50", *PARTS], help="only this one; repeatable")
    parser.add_argument("--precision", choices=["int8", "f16"], action="append", help="of the world model; repeatable")
    parser.add_argument("--size", type=int, default=128, help="pixels of the world model's pictures")
    parser.add_argument("--steps", type=int, default=2, help="evaluations of the transformer for a frame")
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    found: dict[str, Any] = {
        "hardware": {"cpu": cpu, "cores": os.cpu_count(), "numpy": version("numpy"), "load": os.getloadavg()[0]}
    }

    def keep(name: str, result: dict[str, Any]) -> None:
        found[name] = result
        print(f"{name}: {json.dumps(result)}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    wanted = arguments.network or ["resnet-50", *PARTS]
    if "resnet-50" in wanted:
        keep("resnet-50 int8", measure(published.resnet_50(), "f16", arguments.reference))
    parts = [p for p in PARTS if p in wanted]
    if not parts:
        return
    from elsewhere.model.network import Models
    from elsewhere.model.weights import DIRECTORY

    graphs = Models.read(DIRECTORY).graphs(arguments.size, arguments.size)
    for precision in arguments.precision or ["int8"]:
        for part in parts:
            keep(f"{part} {precision}", measure(graphs[part](), precision, arguments.reference))
        if len(parts) == len(PARTS):
            mine = [found[f"{p} {precision}"] for p in PARTS for _ in range(arguments.steps if p == "step" else 1)]
            names = ("cycles", "microseconds", "run seconds")
            frame = {n: round(sum(m[n] for m in mine), 2) for n in names}
            keep(f"frame of {arguments.steps} steps {precision}", frame)


if __name__ == "__main__":
    main()
