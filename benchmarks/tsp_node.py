"""One chip beside a node of eight: cycles of the same networks, packets, and whether the node gives the oracle's bits.

python benchmarks/tsp_node.py [--save benchmarks/results/tsp-node.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.tsp.blocks import decoder_block, decoder_inputs
from elsewhere.compiler.targets.tsp.chips.check import check_chips
from elsewhere.compiler.targets.tsp.chips.execute import drawn, run_chips
from elsewhere.compiler.targets.tsp.chips.lockstep import schedule_parts
from elsewhere.compiler.targets.tsp.chips.partition import partition
from elsewhere.compiler.targets.tsp.chips.parts import reference
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.shapes import Transformer

BLOCK = Transformer(name="block", layers=1, width=2048, heads=16, key_value_heads=8, hidden=5632)


def layers(wide: int = 5120, count: int = 4) -> Graph:
    random, b = np.random.Generator(np.random.Philox(0)), Builder()
    x = b.input("x", "i8", (4, wide))
    for layer in range(count):
        b.place = f"layer{layer}"
        y = b.cast(b.matmul(x, b.constant(random.integers(-9, 10, (wide, wide), np.int8), "i8")), "f32")
        x = b.cast(b.binary("mul", y, b.like(1 / 256, y)), "i8")
    b.output("y", x)
    return b.graph()


def measure(name: str, graph: Graph, inputs: Mapping[str, Any], seed: int) -> dict[str, Any]:
    one = compile_tsp(graph).program.cycles
    made = schedule_parts(partition(graph, 8))
    run = run_chips(made, inputs, latency=drawn(GROQCHIP1, seed))
    cuts = [p.facts["cuts"] for p in made.programs]
    wanted = reference(made.parts, made.graphs, cuts, inputs, GROQCHIP1.lanes)
    assert run.outputs is not None
    return {
        "network": name,
        "cycles_1_chip": one,
        "cycles_8_chips": run.cycles,
        "times_faster": round(one / run.cycles, 2),
        "exchanges": made.parts.exchanges,
        "packets": run.packets,
        "cycles_that_packets_waited": list(run.slack),
        "faults": len(check_chips(made.programs)),
        "exact": all(np.array_equal(run.outputs[k], v) for k, v in wanted.items()),
        "timing_only_agrees": run_chips(made, {}, functional=False).cycles == run.cycles,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the links' latencies")
    arguments = parser.parse_args()
    x = np.random.Generator(np.random.Philox(1)).integers(-9, 10, (4, 5120)).astype(np.int8)
    found = [
        measure("4 int8 layers of 5120×5120, 4 rows", layers(), {"x": x}, arguments.seed),
        measure("decoder block 2048 wide, 1 token, 256 of context", decoder_block(BLOCK, context=256),
                decoder_inputs(BLOCK, context=256), arguments.seed),
    ]  # fmt: skip
    text = json.dumps(found, indent=2, ensure_ascii=False)
    print(text)
    if arguments.save:
        arguments.save.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
