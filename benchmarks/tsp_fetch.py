"""How much of a program's text could be fetched without delaying it, for buffers of different sizes.

    python benchmarks/tsp_fetch.py --json benchmarks/results/tsp-fetch.json

ResNet-50 as `elsewhere tsp validate` schedules it, or a program that was compiled before.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.assembly import load
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.fetch import plan_fetches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", type=Path, help="a .tsp file (default: ResNet-50)")
    parser.add_argument("--buffers", type=int, nargs="+", default=[40, 80, 160, 320], help="instructions a queue holds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.program is not None:
        program = load(arguments.program.read_bytes())
    else:
        program = compile_tsp(published.resnet_50()).program
    found: dict[str, Any] = {"cycles": program.cycles, "instructions": len(program.code), "buffers": {}}
    for buffer in arguments.buffers:
        start = time.perf_counter()
        plan = plan_fetches(program, buffer)
        found["buffers"][buffer] = {
            "text bytes": plan.text_bytes(program.machine),
            "rows": plan.rows,
            "preloaded": plan.preloaded,
            "fit": len(plan.fetches),
            "late": len(plan.late),
            "share": round(plan.share, 5),
            "seconds": round(time.perf_counter() - start, 2),
        }
        print(f"{buffer} instructions a queue: {json.dumps(found['buffers'][buffer])}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
