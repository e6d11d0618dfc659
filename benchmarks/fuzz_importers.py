"""Damaged files by the hundred thousand: every reader of the compiler must read or refuse each, quickly.

    python benchmarks/fuzz_importers.py --count 100000 --json benchmarks/results/fuzz.json

Kinds: ONNX files, program files (.ew), and the text of the graph language. A third of the cases falls to each; half
of them are random damage to bytes, half are well formed and say something else. Each batch runs in a process of its
own with bounded memory, so that a crash is seen and does not end the run. Exit status 1 if any case failed.
Needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "compiler"))

KINDS = ("onnx", "ew", "text")
BATCH = 2000
MEMORY_BYTES = 4 * 2**30
"""Address space of a batch."""
BATCH_SECONDS = 900.0


def batch(kind: str, first: int, count: int) -> dict[str, Any]:
    """Runs cases in this process: how many of each result, the slowest, and what went wrong."""
    import warnings

    import fuzzing

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    results: Counter[str] = Counter()
    wrong = []
    slowest, slowest_case = 0.0, first
    for number in range(first, first + count):
        start = time.perf_counter()
        outcome = fuzzing.attempt(kind, number)
        seconds = time.perf_counter() - start
        results[outcome.result] += 1
        if seconds > slowest:
            slowest, slowest_case = seconds, number
        if outcome.result in ("failed", "slow"):
            wrong.append({"kind": kind, "case": number, "result": outcome.result, "detail": outcome.detail[-1500:]})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"results": results, "wrong": wrong, "slowest": slowest, "slowest_case": slowest_case, "peak_mb": peak}


def in_a_process(kind: str, first: int, count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--batch", kind, str(first), str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BATCH_SECONDS)
    except subprocess.TimeoutExpired:
        case = {"kind": kind, "case": first, "result": "hang", "detail": f"within {count} cases from here"}
        return {"results": {"hang": 1}, "wrong": [case], "slowest": BATCH_SECONDS, "slowest_case": first, "peak_mb": 0}
    if done.returncode:
        case = {"kind": kind, "case": first, "result": "crash", "detail": f"{done.returncode}: {done.stderr[-1500:]}"}
        return {"results": {"crash": 1}, "wrong": [case], "slowest": 0.0, "slowest_case": first, "peak_mb": 0}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(total: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    wrong: list[Any] = []
    for index, kind in enumerate(KINDS):
        share = total // len(KINDS) + (index < total % len(KINDS))
        start = time.perf_counter()
        results: Counter[str] = Counter()
        slowest, slowest_case, peak = 0.0, 0, 0
        for first in range(0, share, BATCH):
            part = in_a_process(kind, first, min(BATCH, share - first))
            results.update(part["results"])
            wrong += part["wrong"]
            peak = max(peak, part["peak_mb"])
            if part["slowest"] > slowest:
                slowest, slowest_case = part["slowest"], part["slowest_case"]
        report[kind] = {
            "cases": share,
            **results,
            "seconds": round(time.perf_counter() - start, 1),
            "slowest_ms": round(1e3 * slowest, 1),
            "slowest_case": slowest_case,
            "peak_memory_mb": peak,
        }
        print(kind, report[kind], file=sys.stderr, flush=True)
    report["wrong"] = wrong
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--batch", nargs=3, metavar=("KIND", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch:
        kind, first, count = options.batch
        json.dump(batch(kind, int(first), int(count)), sys.stdout)
        return
    report = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "cases": options.count,
        **run(options.count),
    }
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(bool(report["wrong"]))


if __name__ == "__main__":
    main()
