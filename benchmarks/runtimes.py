"""The same networks through every runtime that a user would pick, and through ours, on the same cores.

    python benchmarks/runtimes.py --models dit-d384 world-step --json

Each contender is a process of its own: its threads and its memory are its alone. First every setting of every
runtime runs for a moment, and the fastest of each runtime and precision goes on (a runtime's own best settings are
part of it). Then those are asked in turn for a burst of runs, round after round, so that whatever else the machine
does falls on all of them. Batch 1, inputs already in place, outputs left where the runtime puts them.

`jitter` is p99.9 over p50. Beside it stands `own_jitter`, the same of the runs in which no thread lost its core to
something else, and a bare loop in registers that takes as long as the fastest: what nobody can be steadier than here.
`p50_near_ms` is of the rounds in which both cores had a cache in common, `p50_far_ms` of those in which a word took
more than 100 ns from one to the other.

The error is the relative RMS error against the same network in double precision, over inputs that nobody calibrated
on; the worst of a network's outputs counts. Needs `pip install '.[peers,test]'`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import peak
from bare_loop import BareLoop
from contenders import Contender, load_arrays, relative_errors

HERE = Path(__file__).resolve().parent
MODELS = ("world-step", "dit-d384", "tokenizer-decoder", "resnet-50", "bert-base")
BARE = "bare loop"
CORES_SCALE, TRIES = 1.8, 20
"""Rounds count in which two cores do at least so much more than one; after so many others, all count."""
FAR = 100.0
"""Nanoseconds from one core to another from which on they have no cache in common."""
FEWEST_KEPT = 100
"""Runs from which the jitter of undisturbed runs is told."""
CONVOLUTIONAL = ("tokenizer-decoder", "tokenizer-encoder", "resnet-18", "resnet-50", "unet", "mobilenet-v3-large")
PRECISIONS = ("f32", "bf16", "int8")
WAIT_SECONDS = 900.0
"""How long a contender may take to build itself, inductor's autotuning included."""


def candidates(
    network: str, precisions: list[str], have_bf16: bool, tuned: bool = True, counts: list[int] | None = None
) -> list[Contender]:
    """Every setting that is tried; without `tuned`, inductor only with all cores and without its autotuning."""
    layouts = ["", "wide"] if network in CONVOLUTIONAL else [""]
    if network == "world-step":
        layouts = ["", "real"]  # rotations without complex numbers, which inductor makes no code for
    cores = min(2, len(os.sched_getaffinity(0)))
    found = []
    for threads in counts or sorted({1, cores}, reverse=True):
        for layout in layouts:
            found += [("eager", p, layout, threads) for p in ("f32", "bf16")]
        # Inductor picks layouts by itself, and takes a minute or more to compile.
        layout = layouts[-1]
        if tuned or threads == cores:
            found += [("torch.compile", p, layout, threads) for p in ("f32", "bf16")]
        if tuned and threads == cores:
            found += [("torch.compile", p, f"{layout} tuned".strip(), threads) for p in ("f32", "bf16")]
        found += [("ONNX Runtime", p, "", threads) for p in ("f32", "int8")]
        for source in ("onnx", "torch"):
            found += [("OpenVINO", p, source, threads) for p in PRECISIONS]
            if have_bf16:
                found += [("OpenVINO", "int8", f"{source} rest-bf16", threads)]
        # From the file, as every runtime here: importing torch would count as memory.
        found += [("elsewhere", p, "onnx", threads) for p in PRECISIONS]
    return [
        Contender(runtime=runtime, precision=precision, settings=settings, threads=threads)
        for runtime, precision, settings, threads in found
        if precision in precisions and (precision != "bf16" or have_bf16)
    ]


class Process:
    """A contender that is running, or the reason why not."""

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        self.contender = contender
        self.times: list[int] = []
        self.by_round: list[tuple[float, list[int]]] = []
        """Nanoseconds from one core to the other, and times of the round."""
        self.running_memory = 0.0
        environment = os.environ | {
            "OMP_NUM_THREADS": str(contender.threads),
            "MKL_NUM_THREADS": str(contender.threads),
            "PYTHONWARNINGS": "ignore",
            "TRANSFORMERS_OFFLINE": "1",
        }
        command = [sys.executable, str(HERE / "contenders.py"), network, contender.to_json(), str(folder)]
        self.log = (folder / f"{network}.log").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment, text=True
        )
        self.first: dict[str, Any] = self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        import select

        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            code = self.process.wait()
            return {"failed": f"died with status {code}" if ready else f"gave no answer in {WAIT_SECONDS:.0f} s"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **what: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.hear()

    @property
    def trouble(self) -> str | None:
        return self.first.get("missing") or self.first.get("failed")

    def run_for(self, seconds: float, least: int) -> list[int]:
        answer = self.ask(do="times", seconds=seconds, least=least)
        self.running_memory = answer.get("memory", 0.0)
        return answer.get("times", [])

    def stop(self) -> None:
        if self.process.poll() is None and self.trouble is None:
            assert self.process.stdin
            self.process.stdin.write('{"do": "stop"}\n')
            self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Turn:
    """A file's lock for whoever else uses the machine by it: shared to prepare, exclusive to measure.

    The exclusive lock is kept from one measurement to the next, for `longest` seconds, since others may wait long.
    """

    def __init__(self, path: Path | None, longest: float = 85.0) -> None:
        self.file = path.open("a") if path else None
        self.longest = longest
        self.since: float | None = None

    def prepare(self) -> None:
        """What follows may run beside others."""
        self.since = None
        if self.file:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            fcntl.flock(self.file, fcntl.LOCK_SH)

    def measure(self) -> None:
        """What follows wants the machine for itself."""
        now = time.monotonic()
        if self.file is None or (self.since is not None and now - self.since < self.longest):
            return
        fcntl.flock(self.file, fcntl.LOCK_UN)
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.since = time.monotonic()

    def end(self) -> None:
        self.since = None
        if self.file:
            fcntl.flock(self.file, fcntl.LOCK_UN)


def start(network: str, contender: Contender, arguments: argparse.Namespace) -> Process:
    """Builds a contender; what takes long to build does so beside others."""
    if contender.runtime in ("torch.compile", "elsewhere"):
        arguments.turn.prepare()
    return Process(network, contender, arguments.folder)


def choose(
    network: str, arguments: argparse.Namespace, have_bf16: bool
) -> tuple[list[Contender], list[dict[str, Any]]]:
    """The fastest setting of each runtime, precision and rest of an int8 model, and what every setting took."""
    best: dict[tuple[str, str, bool], tuple[float, Contender]] = {}
    tried: list[dict[str, Any]] = []
    for contender in candidates(network, arguments.precisions, have_bf16, not arguments.untuned, arguments.threads):
        if arguments.runtimes and contender.runtime not in arguments.runtimes:
            continue
        process = start(network, contender, arguments)
        entry: dict[str, Any] = {"contender": contender.label}
        if process.trouble is None:
            arguments.turn.measure()
            spans = np.abs(process.run_for(arguments.trial_seconds, 12))
        if process.trouble is None and len(spans):
            # The faster runs say what a setting can do; the slower ones, what else the machine was doing.
            speed = float(np.percentile(spans, 20)) / 1e6
            entry |= {"p20_ms": round(speed, 4), "build_seconds": process.first["build_seconds"]}
            key = (contender.runtime, contender.precision, "rest-bf16" in contender.settings)
            # A setting has to be clearly faster than the simpler ones before it.
            if key not in best or speed < 0.97 * best[key][0]:
                best[key] = (speed, contender)
        else:
            entry["trouble"] = process.trouble or "stopped answering"
        process.stop()
        tried.append(entry)
        print("  tried", json.dumps(entry), file=sys.stderr, flush=True)
    return [contender for _, contender in best.values()], tried


def bare_loops(chosen: list[Contender], tried: list[dict[str, Any]]) -> list[Contender]:
    """For ours and for the fastest peer, loops that take as long: how steady this machine lets anything be."""
    taken = {entry["contender"]: entry["p20_ms"] for entry in tried if "p20_ms" in entry}
    found = []
    for own in (True, False):
        rivals = [c for c in chosen if (c.runtime == "elsewhere") == own]
        if rivals:
            quickest = min(rivals, key=lambda c: taken[c.label])
            settings = f"{taken[quickest.label]:.3f} ms"
            found.append(Contender(runtime=BARE, precision="-", settings=settings, threads=quickest.threads))
    return found


def row_of(process: Process, arguments: argparse.Namespace, network: str) -> dict[str, Any]:
    """The figures of one contender after all rounds."""
    path = arguments.folder / f"{network}-made.npz"
    contender = process.contender
    wrong = [0.0]
    if contender.runtime != BARE:
        process.ask(do="outputs", path=str(path))
        wrong = relative_errors(load_arrays(path), load_arrays(arguments.folder / f"{network}-exact.npz"))
    signed = np.array(process.times) / 1e6
    spans, kept = np.abs(signed), signed[signed > 0]
    p50, p99, p999 = (float(np.percentile(spans, q)) for q in (50, 99, 99.9))
    # Not known of a runtime whose own threads push each other from the cores in nearly every run.
    own_jitter = round(float(np.percentile(kept, 99.9) / np.median(kept)), 3) if len(kept) >= FEWEST_KEPT else None
    near = [abs(t) / 1e6 for handover, times in process.by_round if handover <= FAR for t in times]
    far = [abs(t) / 1e6 for handover, times in process.by_round if handover > FAR for t in times]
    return {
        "p50_near_ms": round(float(np.median(near)), 4) if near else None,
        "p50_far_ms": round(float(np.median(far)), 4) if far else None,
        "runtime": contender.runtime,
        "precision": contender.precision,
        "settings": contender.settings,
        "threads": contender.threads,
        "p50_ms": round(p50, 4),
        "p99_ms": round(p99, 4),
        "p99.9_ms": round(p999, 4),
        "min_ms": round(float(spans.min()), 4),
        "jitter": round(p999 / p50, 3),
        "own_jitter": own_jitter,
        "undisturbed_runs": len(kept),
        "runs": len(spans),
        "error": float(f"{max(wrong):.3g}"),
        "errors": [float(f"{e:.3g}") for e in wrong],
        "memory_mb": round(process.first["memory"], 1),
        "running_memory_mb": round(process.running_memory, 1),
        "build_seconds": process.first["build_seconds"],
    }


def contest(network: str, arguments: argparse.Namespace, have_bf16: bool) -> dict[str, Any]:
    """Everything about one network."""
    made = arguments.folder / f"{network}.json"
    if not made.exists():
        command = [sys.executable, str(HERE / "peer_files.py"), str(arguments.folder), network]
        arguments.turn.prepare()
        with (arguments.folder / f"{network}.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    said = json.loads(made.read_text(encoding="utf-8"))
    chosen, tried = choose(network, arguments, have_bf16)
    chosen += bare_loops(chosen, tried)
    processes = [p for c in chosen if (p := start(network, c, arguments)).trouble is None]
    scalings: list[float] = []
    handovers: list[float] = []
    pair = BareLoop(1.0, 2) if len(os.sched_getaffinity(0)) > 1 else None
    number = kept = 0
    while kept < arguments.rounds:
        arguments.turn.measure()
        before = scaling()
        # Another order each round: nobody always runs after the same neighbour.
        order = processes[number % len(processes) :] + processes[: number % len(processes)]
        made = [(process, process.run_for(arguments.burst_seconds, 5)) for process in order]
        scalings.append(round(min(before, scaling()), 2))
        if pair is not None:
            handovers.append(round(pair.handover_ns()))
        number += 1
        if scalings[-1] >= CORES_SCALE or number - kept > TRIES:
            kept += 1
            for process, times in made:
                process.times += times
                process.by_round.append((handovers[-1] if handovers else 0.0, times))
    print("  what two cores did of one's work, by round:", *scalings, file=sys.stderr, flush=True)
    print("  nanoseconds from one core to the other, by round:", *handovers, file=sys.stderr, flush=True)
    arguments.turn.measure()
    highest = arguments.peaks = higher(arguments.peaks, peak.measure())
    arguments.turn.end()
    rows = [row_of(process, arguments, network) for process in processes]
    for process in processes:
        process.stop()
    rows.sort(key=lambda row: row["p50_ms"])
    for row in rows:
        top = highest.get(row["precision"], {}).get("giga_operations_per_second", {}).get(str(row["threads"]))
        if top:
            row["share_of_peak"] = round(said["operations"] / (row["p50_ms"] / 1e3) / (top * 1e9), 3)
    said |= {"scalings": scalings, "scale_wanted": CORES_SCALE, "handovers_ns": handovers}
    return {"network": network, **said, "peak": highest, "rows": rows, "tried": tried, "verdict": verdict(rows)}


def scaling() -> float:
    """How many times one core's vector instructions two cores do at once, just now.

    On a virtual machine both may be threads of one real core. A round during which they do too little is
    measured again.
    """
    cores = min(2, len(os.sched_getaffinity(0)))
    instruction = peak.best_instructions()[0]
    one, several = (peak.rate(instruction, count, seconds=0.02, rounds=5) for count in (1, cores))
    return several / one * 2 / cores


def higher(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The higher of two measured peaks: whatever else the machine does can only lower one."""
    key = "giga_operations_per_second"
    return {
        precision: entry | {key: {t: max(r, one.get(precision, entry)[key][t]) for t, r in entry[key].items()}}
        for precision, entry in other.items()
    }


def verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many times faster ours is: than each peer at its precision, and than any peer with no larger error."""
    mine = [row for row in rows if row["runtime"] == "elsewhere"]
    peers = [row for row in rows if row["runtime"] not in ("elsewhere", BARE)]
    fastest = {
        precision: min((r for r in peers if r["precision"] == precision), key=lambda r: r["p50_ms"], default=None)
        for precision in PRECISIONS
    }
    found: dict[str, Any] = {
        "fastest_peer": {
            precision: {key: row[key] for key in ("runtime", "settings", "threads", "p50_ms", "error")}
            for precision, row in fastest.items()
            if row
        }
    }
    for own in mine:
        # Below 1e-5 the order of a sum decides, not the runtime.
        fair = [r["p50_ms"] for r in peers if r["error"] <= max(1.02 * own["error"], 1e-5)]
        same = fastest[own["precision"]]
        found[own["precision"]] = {
            "against_any_with_no_larger_error": round(min(fair) / own["p50_ms"], 3) if fair else None,
            "against_same_precision": round(same["p50_ms"] / own["p50_ms"], 3) if same else None,
        }
    return found


def table(result: dict[str, Any]) -> str:
    """The rows as text."""
    columns = ("p50_ms", "p99_ms", "p99.9_ms", "min_ms", "jitter", "own_jitter")
    lines = [f"\n{result['network']}: {result['operations'] / 1e9:.2f} GFLOP, checked against {result['reference']}"]
    head = f"{'runtime':<14}{'precision':<10}{'settings':<16}{'threads':>7}"
    lines.append(
        head + "".join(f"{c:>11}" for c in columns) + f"{'error':>10}{'of peak':>9}{'memory MB':>11}{'runs':>7}"
    )
    for row in result["rows"]:
        share = f"{row['share_of_peak']:.0%}" if "share_of_peak" in row else "–"
        line = f"{row['runtime']:<14}{row['precision']:<10}{row['settings']:<16}{row['threads']:>7}"
        line += "".join(f"{'–':>11}" if row[c] is None else f"{row[c]:>11.3f}" for c in columns)
        lines.append(line + f"{row['error']:>10.1e}{share:>9}{row['memory_mb']:>11.0f}{row['runs']:>7}")
    for what, why in result["failed"].items():
        lines.append(f"  not possible: {what}: {why.splitlines()[0][:100]}")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("torch", "onnxruntime", "openvino", "nncf", "transformers", "numpy", "llvmlite"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="networks of the zoo")
    parser.add_argument("--runtimes", nargs="+", default=[], help="only these")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument(
        "--threads", nargs="+", type=int, help="only these numbers of threads (default: 1 and all cores)"
    )
    parser.add_argument("--untuned", action="store_true", help="leave out inductor's autotuning, which takes minutes")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--burst-seconds", type=float, default=1.0, help="of each contender in each round")
    parser.add_argument("--trial-seconds", type=float, default=1.0, help="of each setting before the rounds")
    parser.add_argument("--folder", type=Path, help="keeps what peers read between runs")
    parser.add_argument("--lock", type=Path, help="a file to lock while measuring")
    parser.add_argument(
        "--json",
        nargs="?",
        type=Path,
        const=Path(),
        help="also write a file, by default in results/, where networks of earlier runs stay",
    )
    return parser.parse_args()


def main() -> None:
    arguments = arguments_of()
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or Path(temporary)
        arguments.folder.mkdir(parents=True, exist_ok=True)
        arguments.turn = Turn(arguments.lock)
        hardware = peak.processor()
        have_bf16 = any("bf16" in flag for flag in hardware["vector_extensions"])
        print(f"{hardware['model']} family {hardware['family']}, {hardware['cores']} cores, "
              f"{' '.join(hardware['vector_extensions'])}")  # fmt: skip
        figures: dict[str, Any] = {
            "machine": hardware | {"system": platform.system(), "date": time.strftime("%Y-%m-%d")},
            "versions": versions(),
            "networks": {},
        }
        arguments.turn.measure()
        arguments.peaks = peak.measure()
        for network in arguments.models:
            result = contest(network, arguments, have_bf16)
            figures["networks"][network] = result
            print(table(result), flush=True)
            print(json.dumps(result["verdict"], indent=2), flush=True)
            if arguments.json is not None:
                keep(figures, arguments.json, hardware)  # after each network: a run takes half an hour


def keep(figures: dict[str, Any], wanted: Path, hardware: dict[str, Any]) -> None:
    """Writes what is measured so far, beside what an earlier run of the same versions measured of other networks."""
    name = "-".join([*hardware["model"].lower().split(), "family", hardware["family"]])
    path = wanted if wanted != Path() else HERE / "results" / f"runtimes-{name}.json"
    with contextlib.suppress(FileNotFoundError):
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if earlier["machine"]["model"] == hardware["model"] and earlier["versions"] == figures["versions"]:
            figures = figures | {"networks": earlier["networks"] | figures["networks"]}
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
