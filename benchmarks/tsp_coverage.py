"""Which networks of the zoo compile for one chip, unmodified: cycles, the checker's word, whether the bits are equal.

    python benchmarks/tsp_coverage.py --json benchmarks/results/tsp-coverage.json

Every network of `tests/compiler/zoo` goes through `compile_tsp` in f16; one that does not fit the chip is tried once
more with int8 products. A program passes the checker, and runs in burst mode against the oracle unless `--bits` says
that it is too large for that. Each network is a process of its own with a limit of time; what is in the JSON file is
not measured again without `--again`. Exit status 1 if fewer than `--least` networks are carried.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "compiler"))


def measure(name: str, precision: str, bits: float) -> dict[str, Any]:
    """Compiles one network and says what came of it. `bits`: cycles up to which a program is also executed."""
    import torch
    import zoo

    from elsewhere.compiler.importers.torch_export import from_exported
    from elsewhere.compiler.targets.tsp import oracle
    from elsewhere.compiler.targets.tsp.burst import run_bursts
    from elsewhere.compiler.targets.tsp.checker import check
    from elsewhere.compiler.targets.tsp.compile import compile_tsp

    module, inputs = zoo.build(name)
    graph = from_exported(torch.export.export(module, inputs))
    given = dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True))
    start = time.perf_counter()
    try:
        made = compile_tsp(graph, precision=precision, samples=[given] if precision == "int8" else ())
    except ValueError as problem:
        return {
            "precision": precision,
            "reason": f"{type(problem).__name__}: {problem}",
            "seconds": round(time.perf_counter() - start, 1),
        }
    program = made.program
    memory = program.facts["memory"]
    found: dict[str, Any] = {
        "precision": precision,
        "instructions": len(program.code),
        "cycles": program.cycles,
        "microseconds": round(program.seconds * 1e6, 1),
        "compile_seconds": round(made.seconds, 1),
        "memory_ratio": round(memory["ratio"], 3),
        "memory_rows": int(memory["rows"]),
    }
    print(json.dumps(found), flush=True)
    start = time.perf_counter()
    found["checker_faults"] = len(check(program))
    found["check_seconds"] = round(time.perf_counter() - start, 1)
    print(json.dumps(found), flush=True)
    if program.cycles > bits:
        found["bits"] = "not run"
        return found
    start = time.perf_counter()
    run = run_bursts(program, given)
    found["run_seconds"] = round(time.perf_counter() - start, 1)
    wanted = oracle.run(made.graph, given, program.facts["cuts"])
    same = run.keys() == wanted.keys() and all(np.array_equal(run[k], wanted[k], equal_nan=True) for k in wanted)
    found["bits"] = "equal" if same else "differ"
    return found


def attempt(name: str, precision: str, bits: float, limit: float) -> dict[str, Any]:
    """`measure` in a process of its own; what it said last where it is cut off."""
    command = [sys.executable, __file__, "--one", name, "--precision", precision, "--bits", str(bits)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        said, why = done.stdout, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        over = done.returncode == 0
    except subprocess.TimeoutExpired as cut:
        said = cut.stdout.decode() if isinstance(cut.stdout, bytes) else cut.stdout or ""
        why, over = f"stopped after {limit:.0f} s", False
    lines = [line for line in said.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"precision": precision}
    if not over:
        found["stopped" if "cycles" in found else "reason"] = why
    return found


def carried(found: dict[str, Any]) -> bool:
    """A program that the checker passed and whose bits, if it was executed, are the oracle's."""
    return found.get("checker_faults") == 0 and found.get("bits") != "differ"


def table(networks: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| network | precision | instructions | cycles | µs | compiled in s | faults | memory ratio | bits |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, found in networks.items():
        if "cycles" not in found:
            lines.append(f"| `{name}` | {found['precision']} | – | – | – | – | – | – | {found['reason']} |")
            continue
        bits = found.get("bits", found.get("stopped", "not run"))
        faults = found.get("checker_faults", "?")
        lines.append(
            f"| `{name}` | {found['precision']} | {found['instructions']:,} | {found['cycles']:,} "
            f"| {found['microseconds']} | {found['compile_seconds']} | {faults} | {found['memory_ratio']} | {bits} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; all where none is named")
    parser.add_argument("--json", type=Path, help="where results are kept and resumed from")
    parser.add_argument("--again", action="store_true", help="measure what is in the file already once more")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one network")
    parser.add_argument("--bits", type=float, default=400_000, help="cycles up to which a program is executed")
    parser.add_argument("--least", type=int, default=12, help="networks that must be carried")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="f16", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.precision, arguments.bits)), flush=True)
        return 0
    import zoo

    report: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        report = json.loads(arguments.json.read_text(encoding="utf-8"))
    for name in arguments.names or zoo.ENTRIES:
        if name in report and not arguments.again:
            continue
        found = attempt(name, "f16", arguments.bits, arguments.limit)
        if "cycles" not in found and "does not fit" in found.get("reason", ""):
            narrow = attempt(name, "int8", arguments.bits, arguments.limit)
            found = {**narrow, "f16": found["reason"]}
        report[name] = found
        print(name, json.dumps(found), flush=True)
        if arguments.json:
            ordered = {n: report[n] for n in zoo.ENTRIES if n in report}
            arguments.json.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    ordered = {n: report[n] for n in zoo.ENTRIES if n in report}
    print(table(ordered))
    count = sum(carried(found) for found in ordered.values())
    print(f"{count} of {len(ordered)} carried")
    return 0 if count >= arguments.least else 1


if __name__ == "__main__":
    raise SystemExit(main())
