"""How fast the first slice is on this machine: whole commands from outside, as a user meets them.

    python benchmarks/pace.py --json benchmarks/results/pace.json

Prints: seconds of a cold `elsewhere generate` (no compiled kernels nor programs on disk) and of a warm one, frames a
second once running, the stages of a session, guides a second and peak memory. `serve_pace.py` measures the server.
The peer in the same run is `--mode calculated`: the same commands without the networks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROMPT = "two pirate ships battling each other as they sail inside a cup of coffee"


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def timed_generate(mode: str, cache: Path, directory: Path) -> dict[str, Any]:
    """One whole `elsewhere generate` of 4 s at 128×128 and 24 frames a second."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "ELSEWHERE_CACHE": str(cache)}
    target = directory / f"{mode}.mp4"
    command = [sys.executable, "-m", "elsewhere.cli", "generate", PROMPT, "-o", str(target), "--mode", mode]
    command += ["--seconds", "4", "--fps", "24", "--size", "128", "--json"]
    started = time.perf_counter()
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    report = json.loads(out.stdout)
    del report["files"]  # a folder of this run alone
    return {"seconds": round(seconds, 2), "report": report, "bytes": target.stat().st_size}


def guides_per_second() -> float:
    """Median rate of the guide at 128×128 on all cores, over the ship scene in motion."""
    from elsewhere.physics import World
    from elsewhere.render import Stage
    from elsewhere.scene import camera_at, parse

    scene = parse(PROMPT).scene
    world = World(scene, 0)
    stage = Stage(scene, world.swell, world.water_cell)
    previous, spans = None, []
    for frame in range(120):
        state = world.advance(10)
        camera = camera_at(scene, frame / 24.0, 128, 128)
        started = time.perf_counter()
        stage.guide(state, camera, previous)
        spans.append(time.perf_counter() - started)
        previous = (state, camera)
    return round(1.0 / statistics.median(spans[20:]), 1)


def frames_in_session(mode: str) -> dict[str, Any]:
    """Pace of the loop itself, stage by stage (median ms), after the first 24 frames."""
    from elsewhere.live import Session
    from elsewhere.scene import parse

    session = Session(parse(PROMPT).scene, mode=mode)
    for _ in range(24):
        session.frame()
    stages: dict[str, list[float]] = {}
    started = time.perf_counter()
    for _ in range(96):
        for name, value in session.frame().timings.items():
            stages.setdefault(name, []).append(value)
    rate = 96 / (time.perf_counter() - started)
    return {"frames_per_second": round(rate, 2)} | {n: round(statistics.median(v), 2) for n, v in stages.items()}


def report(figures: dict[str, Any], path: Path | None) -> None:
    """Prints the figures, and writes them to `path` where there is one."""
    text = json.dumps(figures, indent=2)
    print(text)
    if path:
        path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp())
    cache = directory / "kernels"
    figures: dict[str, Any] = {"machine": machine(), "prompt": PROMPT}
    try:
        for name, mode in (("cold", "grounded"), ("warm", "grounded"), ("calculated", "calculated")):
            figures[f"generate_{name}"] = timed_generate(mode, cache, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for mode in ("grounded", "dream", "calculated"):
        figures[f"session_{mode}"] = frames_in_session(mode)
    figures["guides_per_second"] = guides_per_second()
    figures["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
