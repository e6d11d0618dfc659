"""Fault injection: random changes of one instruction in valid programs, and who notices.

A change matters if a run gives other bits or cannot be. The checker must catch every one that matters; it may catch
more, because it also proves rules that no output shows. Three sets, each with its own tally: one cycle or one bank;
everything else about when and where (address, slice, rows, stream, byte, plane, unit, delay, accumulator, lanes); and
what is computed (maps, functions, numbers), which no schedule knows and a seal holds. `without seal` says how many
changes that matter the rules alone would have caught.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "compiler" / "targets" / "tsp"))

import networks

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.faults import COMPUTED, PLACED, SINGLE, changed, has, matters

SETS = {"one cycle or one bank": SINGLE, "when and where": PLACED, "what is computed": COMPUTED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="changes of each set and seed")
    parser.add_argument("--others", type=int, help="changes of the second and third set (default: as many)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", choices=SETS, help="only this set; repeatable")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cases = [(compile_tsp(graph), inputs) for graph, inputs in (make() for make in networks.CASES.values())]
    runs = [run_bursts(made.program, inputs) for made, inputs in cases]
    assert not any(check(made.program) for made, _ in cases), "a program that is not changed is at fault"
    found: dict[str, Any] = {"programs": list(networks.CASES)}
    missed = 0
    for name, kinds in SETS.items():
        if arguments.set and name not in arguments.set:
            continue
        found[name] = {}
        usable = [(c, r) for c, r in zip(cases, runs, strict=True) if any(has(c[0].program, k) for k in kinds)]
        for seed in range(arguments.seeds):
            count = arguments.count if kinds is SINGLE or arguments.others is None else arguments.others
            tally, by_kind, rules = Counter[str](), Counter[str](), Counter[str]()
            for number in range(count):
                random = np.random.Generator(np.random.Philox([seed, number]))
                (made, inputs), wanted = usable[number % len(usable)]
                able = [k for k in kinds if has(made.program, k)]
                kind = able[int(random.integers(len(able)))]
                broken = changed(made.program, kind, random)
                told = {f.rule for f in check(broken)}
                hurts = matters(broken, inputs, wanted)
                tally["changes"] += 1
                tally["matter"] += hurts
                tally["caught"] += bool(told)
                tally["matter and caught"] += hurts and bool(told)
                tally["matter and caught without seal"] += hurts and bool(told - {"seal"})
                tally["missed"] += hurts and not told
                tally["harmless and caught"] += bool(told) and not hurts
                by_kind[kind] += 1
                rules.update(told)
                if hurts and not told:
                    index = int(np.flatnonzero(broken.code != made.program.code)[0])
                    print("missed:", kind, made.program.code[index], broken.code[index], file=sys.stderr)
            missed += tally["missed"]
            found[name][f"seed {seed}"] = {**tally, "kinds": dict(by_kind), "rules": dict(rules.most_common())}
            print(f"seed {seed}, {name}: {dict(tally)}", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
