"""The same bits for one thread and two, and in every process: the world model's networks over a thousand steps.

    python benchmarks/determinism.py --json benchmarks/results/determinism.json

Each line is one network at one precision. Every number of threads runs in a process of its own that compiles anew
(nothing is taken from the disk), is given the same seeded inputs, and feeds its states on from step to step. What is
compared is the SHA-256 of all outputs and states of all steps. Ends with status 1 if any differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("look", "step", "decode")
PRECISIONS = ("f32", "bf16", "int8")
THREADS = (1, 2)
SIZE = 128


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def drawn(type_: Any, random: np.random.Generator) -> Any:
    """One input: numbers of about the size of a network's, or small indices."""
    if type_.dtype in ("i8", "i32"):
        return random.integers(0, 2 if type_.dtype == "i8" else 8, type_.shape)
    return random.standard_normal(type_.shape).astype(np.float32)


def digest(name: str, precision: str, threads: int, steps: int, level: str) -> dict[str, Any]:
    """Compiles one network here and runs it."""
    from elsewhere.compiler.targets.cpu.build import build
    from elsewhere.compiler.targets.cpu.machine import describe
    from elsewhere.compiler.targets.cpu.runtime import Network
    from elsewhere.model.network import Models
    from elsewhere.model.weights import DIRECTORY

    graph = Models.read(DIRECTORY).graphs(SIZE, SIZE)[name]()
    types = {key: graph.nodes[number].type for key, number in graph.inputs.items()}
    random = np.random.default_rng(7)
    samples = [{key: drawn(t, random) for key, t in types.items()} for _ in range(2)] if precision == "int8" else []
    target = describe(level)
    network = Network(build(graph, target, THREADS, precision, samples), target, threads)
    states, seen = dict(graph.states), hashlib.sha256()
    started = time.perf_counter()
    for _ in range(steps):
        for key, type_ in types.items():
            if key not in states:
                network.write(key, drawn(type_, random))
        network.run()
        for array in (*network.outputs.values(), *(network.inputs[key] for key in states)):
            seen.update(np.ascontiguousarray(array).tobytes())
    finite = all(np.isfinite(network.read(key)).all() for key in network.outputs)
    return {"sha256": seen.hexdigest(), "seconds": round(time.perf_counter() - started, 2), "finite": bool(finite)}


def apart(name: str, precision: str, threads: int, steps: int, level: str) -> dict[str, Any]:
    """`digest` in a process of its own."""
    arguments = [name, precision, str(threads), str(steps), level]
    ran = subprocess.run([sys.executable, __file__, "--one", *arguments], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def main() -> int:
    from elsewhere.compiler.targets.cpu.machine import LEVELS, best_level

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--levels", nargs="*", choices=LEVELS, default=[best_level()])
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, precision, threads, steps, level = options.one
        print(json.dumps(digest(name, precision, int(threads), int(steps), level)))
        return 0
    rows, same = [], True
    for level in options.levels:
        for name in NETWORKS:
            for precision in PRECISIONS:
                found = [apart(name, precision, threads, options.steps, level) for threads in THREADS]
                equal = len({one["sha256"] for one in found}) == 1 and all(one["finite"] for one in found)
                same &= equal
                rows.append({"network": name, "precision": precision, "level": level, "same": equal, "runs": [
                    {"threads": threads, **one} for threads, one in zip(THREADS, found, strict=True)
                ]})  # fmt: skip
                verdict = "the same bits" if equal else "DIFFERENT BITS"
                print(f"{level:9}{name:8}{precision:6}{verdict}  {found[0]['sha256'][:16]}", flush=True)
    result = {"machine": machine(), "size": SIZE, "steps": options.steps, "same": same, "networks": rows}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
