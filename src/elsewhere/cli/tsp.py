"""elsewhere tsp: programs for a tensor streaming processor, run, looked at, and measured against what is public."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from elsewhere.cli.models import HELP, open_source
from elsewhere.cli.report import print_json, user_errors

app = typer.Typer(help="A tensor streaming processor, simulated to the cycle and the bit.", no_args_is_help=True)

MachineOption = Annotated[str, typer.Option(help="groqchip1, lp30-public, or a .toml file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def validate(
    machine: MachineOption = "groqchip1",
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be given again.")] = None,
    save: Annotated[Path | None, typer.Option(help="Also write the JSON here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the published results again: measured over published, and the misses."""
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.validate import validate as run

    with user_errors():
        made = run(load_machine(machine), row, None if as_json else lambda name: typer.echo(f"  {name}", err=True))
    report = made.to_json()
    if save is not None:
        with user_errors():
            save.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        print_json(report)
        return
    for result in made.results:
        mark = "ok  " if result.met else "MISS"
        typer.echo(
            f"{mark} {result.name:38s} {result.measured:9.1f} of {result.published:9.1f} {result.unit:9s} "
            f"{result.ratio:6.2f}  {result.note}"
        )
    for name, reason in made.failed.items():
        typer.echo(f"FAIL {name}: {reason}")
    typer.echo(f"median deviation {made.median:.1%}")


@app.command()
def realtime(
    model: Annotated[str, typer.Option(help="A registered name such as wan-14b, or a config.json.")],
    size: Annotated[str, typer.Option(help="Pixels, such as 1280x720.")] = "1280x720",
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 24.0,
    steps: Annotated[int, typer.Option(help="Evaluations for each latent.")] = 4,
    machine: MachineOption = "groqchip1",
    plot: Annotated[Path | None, typer.Option(help="Write frames per second against chips as SVG here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The smallest machine on which a video model makes every frame in time."""
    from dataclasses import asdict

    from elsewhere.compiler.targets.tsp import estimate
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.shapes import find

    with user_errors():
        parts = size.lower().split("x")
        if len(parts) != 2 or not all(p.isdigit() for p in parts):
            raise ValueError(f"size must be like 1280x720, got {size!r}")
        width, height = int(parts[0]), int(parts[1])
        target = load_machine(machine)
        answer = estimate.realtime(find(model), width=width, height=height, fps=fps, steps=steps, machine=target)
        if plot is not None:
            plot.write_text(estimate.plot([answer], fps), encoding="utf-8")
    chosen = answer.chosen
    if as_json:
        print_json({**asdict(answer), "milliseconds": chosen.seconds * 1e3, "bound": chosen.bound})
        return
    typer.echo(
        f"{answer.model} at {size}, {steps} steps, {fps:g} frames/s: {chosen.chips} chips, {answer.racks} racks, "
        f"{answer.watts:,.0f} W, {chosen.seconds * 1e3:.1f} ms a frame, bound by {chosen.bound}"
    )


@app.command("compile")
def compile_(
    model: Annotated[str, typer.Argument(help=HELP)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where the program goes.")] = None,
    size: Annotated[str, typer.Option(help="Pixels, for the project's own networks.")] = "256x160",
    precision: Annotated[str, typer.Option(help="f16, or int8 with calibration on inputs drawn from a seed.")] = "f16",
    machine: MachineOption = "groqchip1",
) -> None:
    """Compile a model for one chip: every instruction's cycle, every row's address."""
    from elsewhere.compiler.sources import example_inputs
    from elsewhere.compiler.targets.tsp.assembly import save
    from elsewhere.compiler.targets.tsp.compile import compile_tsp
    from elsewhere.compiler.targets.tsp.machine import load_machine

    with user_errors():
        source = open_source(model, size)
        samples = [dict(source.states) | example_inputs(source.graph)] if precision == "int8" else []
        made = compile_tsp(source.graph, machine=load_machine(machine), precision=precision, samples=samples)
        path = out or Path(f"{Path(model).stem}.tsp")
        path.write_bytes(save(made.program))
    program = made.program
    typer.echo(
        f"{path}: {program.cycles} cycles ({program.seconds * 1e6:.1f} µs), {len(program.code)} instructions, "
        f"compiled in {made.seconds:.1f} s"
    )


def _load(path: Path):  # type: ignore[no-untyped-def]
    from elsewhere.compiler.targets.tsp.assembly import load

    return load(path.read_bytes())


@app.command()
def run(
    program: Annotated[Path, typer.Argument(help="A compiled program (.tsp).")],
    mode: Annotated[str, typer.Option(help="burst (fast) or cycle (every register).")] = "burst",
    as_json: JsonOption = False,
) -> None:
    """Check a program, run it on inputs drawn from a seed, and say what it took."""
    from time import perf_counter

    import numpy as np

    from elsewhere.compiler.targets.tsp.burst import run_bursts
    from elsewhere.compiler.targets.tsp.checker import check
    from elsewhere.compiler.targets.tsp.cycle import run_cycles

    with user_errors():
        if mode not in ("burst", "cycle"):
            raise ValueError(f"mode must be burst or cycle, got {mode!r}")
        loaded = _load(program)
        faults = check(loaded)
        if faults:
            raise ValueError(f"the program breaks a rule: {faults[0].rule}: {faults[0].message}")
        random = np.random.Generator(np.random.Philox(0))
        kinds = {"i8": np.int8, "i32": np.int32, "f16": np.float16, "f32": np.float32}
        inputs = {p.name: random.standard_normal(p.shape).astype(kinds[p.dtype]) for p in loaded.inputs}
        start = perf_counter()
        outputs = (run_bursts if mode == "burst" else run_cycles)(loaded, inputs)
    seconds = perf_counter() - start
    report = {
        "machine": loaded.machine.name,
        "cycles": loaded.cycles,
        "microseconds": loaded.seconds * 1e6,
        "instructions": len(loaded.code),
        "simulated_cycles_per_second": loaded.cycles / seconds,
        "outputs": {name: list(value.shape) for name, value in outputs.items()},
    }
    if as_json:
        print_json(report)
    else:
        typer.echo("\n".join(f"{key:28s} {value}" for key, value in report.items()))


@app.command()
def report(
    program: Annotated[Path, typer.Argument(help="A compiled program (.tsp).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the page goes.")] = Path("tsp.html"),
) -> None:
    """Write a page that shows the program: time by unit, memory, streams, layers and what holds them up."""
    from elsewhere.compiler.targets.tsp.report import page

    with user_errors():
        out.write_text(page(_load(program), program.stem), encoding="utf-8")
    typer.echo(str(out))


@app.command()
def sweep(
    network: Annotated[str, typer.Option(help="gemm, resnet-50 or bert-base.")] = "gemm",
    machine: MachineOption = "groqchip1",
    as_json: JsonOption = False,
) -> None:
    """How much each assumed value matters: cycles with it half and one and a half times as large."""
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.sweep import sweep as run

    with user_errors():
        rows = run(network, load_machine(machine))
    if as_json:
        print_json(rows)
        return
    for line in rows:
        typer.echo(f"{line['field']:20s} {line['value']!s:>8s} {line['ratio']:6.3f}")
