"""ResNet-50's layers as products, simulated by SCALE-Sim v3 and by the burst simulator, one after the other.

    python -m venv scalesim && scalesim/bin/pip install scalesim 'numpy<2'
    python benchmarks/tsp_scalesim.py --scalesim scalesim/bin/python --json benchmarks/results/tsp-scalesim.json

SCALE-Sim gets an array of 320×320, weight stationary, with memories as large as the chip's. It counts cycles and
computes no values; the burst simulator runs the compiled program of the same product on real numbers, and what comes
out is compared with NumPy. Each layer's shape is simulated once; each simulation is timed in wall and processor
seconds, without imports, and with the compilation of the program where it says so. The two chips differ (one array
and a memory that it waits for there, four planes here), so that their cycles are not the same cycles: the ratio to look
at is the one of seconds for the same products.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Threads that wait for each other on shared cores would be timed too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from elsewhere.compiler.targets.tsp import published
from elsewhere.compiler.targets.tsp.burst import BurstSimulator
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1

CONFIG = """[general]
run_name = product
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {size}
ArrayWidth = {size}
IfmapSramSzkB = {kib}
FilterSramSzkB = {kib}
OfmapSramSzkB = {kib}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = {size}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = {size}
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = {size}
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""

THEIRS = """
import contextlib, io, json, os, sys, time
from importlib.metadata import version
from scalesim.scale_sim import scalesim
folder = sys.argv[1]
wall, busy = time.perf_counter(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    simulation = scalesim(save_disk_space=True, verbose=False, config=folder + "/config.cfg",
                          topology=folder + "/product.csv", layout=folder + "/layout.csv", input_type_gemm=True)
    simulation.run_scale(top_path=folder)
wall, busy = time.perf_counter() - wall, time.process_time() - busy
report = simulation.runner.single_layer_sim_object_list[0]
_, cycles, stalls = (int(x) for x in report.get_compute_report_items()[:3])
print(json.dumps({"cycles": cycles, "stalls": stalls, "seconds": wall, "processor seconds": busy,
                  "version": version("scalesim")}))
"""


def layers() -> dict[tuple[int, int, int], int]:
    """(rows, inner, columns) of every convolution and product of ResNet-50, and how many there are of each."""
    found: dict[tuple[int, int, int], int] = {}
    graph = published.resnet_50()
    for node in graph.nodes:
        if node.op == "convolution":
            kernel = graph.nodes[node.inputs[1]].type.shape
            out = node.type.shape
            key = (out[1] * out[2], kernel[0] * kernel[1] * kernel[2], kernel[3])
        elif node.op == "matmul":
            key = (node.type.shape[0], graph.nodes[node.inputs[0]].type.shape[1], node.type.shape[1])
        else:
            continue
        found[key] = found.get(key, 0) + 1
    return found


def theirs(python: str, rows: int, inner: int, columns: int, limit: float) -> dict[str, Any]:
    """Cycles and seconds of SCALE-Sim, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        (at / "config.cfg").write_text(CONFIG.format(size=GROQCHIP1.lanes, kib=GROQCHIP1.memory_bytes // 3 // 1024))
        (at / "product.csv").write_text(f"Layer, M, N, K,\nproduct, {rows}, {columns}, {inner},\n")
        (at / "layout.csv").write_text("Layer name," + "x," * 20 + "\nproduct," + "1," * 20 + "\n")
        command = [python, "-c", THEIRS, folder]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {limit:g} s"}
    if run.returncode:
        return {"error": run.stderr.strip().splitlines()[-1][:200] if run.stderr.strip() else "no message"}
    made: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return made


def ours(rows: int, inner: int, columns: int) -> dict[str, Any]:
    """Cycles and seconds of the burst simulator, whose values are compared with NumPy's."""
    start, busy = time.perf_counter(), time.process_time()
    made = compile_tsp(published.gemm(rows, inner, columns, "i8"))
    compiled, compiling = time.perf_counter() - start, time.process_time() - busy
    assert not check(made.program)
    random = np.random.Generator(np.random.Philox(2))
    x = random.integers(-127, 128, (rows, inner), np.int8)
    start, busy = time.perf_counter(), time.process_time()
    found = BurstSimulator(made.program, {"x": x}).run()["y"]
    seconds, working = time.perf_counter() - start, time.process_time() - busy
    weights = next(iter(made.graph.constants.values()))
    exact = np.array_equal(found, np.rint(x.astype(np.float64) @ weights.astype(np.float64)).astype(np.int32))
    return {
        "cycles": made.program.cycles,
        "seconds": seconds,
        "processor seconds": working,
        "compile seconds": compiled,
        "compile processor seconds": compiling,
        "exact": exact,
    }


def hardware() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "numpy": version("numpy")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scalesim", required=True, help="the python of an environment with scalesim")
    parser.add_argument("--layers", type=int, help="only so many of the layers, the quickest first")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one layer in SCALE-Sim")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    total = {"ours": 0.0, "ours with compiling": 0.0, "theirs": 0.0, "our cycles": 0, "their cycles": 0}
    products, summary = 0, {}
    ours(64, 64, 64)  # the first run loads what all others use
    shapes = sorted(layers().items(), key=lambda item: item[0][0] * item[0][1] * item[0][2])[: arguments.layers]
    for (rows, inner, columns), times in shapes:
        mine, other = ours(rows, inner, columns), theirs(arguments.scalesim, rows, inner, columns, arguments.limit)
        found.append({"shape": [rows, inner, columns], "layers": times, "ours": mine, "theirs": other})
        assert mine["exact"], f"{rows}x{inner}x{columns}: other values than NumPy's"
        if "error" in other:
            print(f"{rows}x{inner}x{columns}: {mine['seconds']:.3f} s, SCALE-Sim {other['error']}", flush=True)
            continue
        total["ours"] += mine["processor seconds"]
        total["ours with compiling"] += mine["processor seconds"] + mine["compile processor seconds"]
        total["theirs"] += other["processor seconds"]
        total["our cycles"] += mine["cycles"]
        total["their cycles"] += other["cycles"]
        products += rows * inner * columns
        print(
            f"{rows}x{inner}x{columns}: {mine['cycles']} cycles in {mine['processor seconds']:.3f} s with values; "
            f"SCALE-Sim {other['cycles']} cycles in {other['processor seconds']:.3f} s; "
            f"{other['processor seconds'] / mine['processor seconds']:.1f} times as long",
            flush=True,
        )
        done = max(total["ours"], 1e-9), max(total["theirs"], 1e-9)
        summary = {
            "hardware": hardware(),
            "scalesim": other["version"],
            "compared layers": sum(e["layers"] for e in found if "error" not in e["theirs"]),
            "processor seconds": {k: round(v, 3) for k, v in total.items() if "cycles" not in k},
            "cycles": {k: v for k, v in total.items() if "cycles" in k},
            "cycles per second": {
                "ours": round(total["our cycles"] / done[0]),
                "theirs": round(total["their cycles"] / done[1]),
            },
            "multiplications per second": {"ours": round(products / done[0]), "theirs": round(products / done[1])},
            "ratio of seconds": round(done[1] / done[0], 2),
            "ratio of seconds with compiling": round(done[1] / total["ours with compiling"], 2),
            "results": found,
        }
        if arguments.json:
            arguments.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in summary.items() if k != "results"}, indent=2))
    if total["theirs"] < total["ours"]:
        sys.exit("SCALE-Sim was faster")


if __name__ == "__main__":
    main()
