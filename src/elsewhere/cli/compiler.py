"""`elsewhere compile`, `run` and `bench model`: any network, made a program of this processor's cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli import models
from elsewhere.cli.files import check_path, describe, in_words, write_arrays
from elsewhere.cli.models import by_name, in_background, open_source, progress, read_inputs, read_samples, stoppable
from elsewhere.cli.report import print_json, user_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from elsewhere.compiler.freeze import Frozen
    from elsewhere.compiler.report.inspection import Inspection

MISTAKES = (ValueError, OSError, ModuleNotFoundError, MemoryError)
"""What a model, its inputs or the disk can be the reason of."""

TARGETS = ("cpu", "tsp")

bench = typer.Typer(help="Measure.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help=models.HELP, show_default=False)]
Precision = Annotated[
    str, typer.Option(help="f32, bf16 or int8; f16 or int8 for a tsp; a .ew file has its own.", show_default="f32")
]
Calibration = Annotated[
    list[Path] | None, typer.Option("--calibration", help=models.CALIBRATION_HELP, show_default=False)
]
Size = Annotated[str, typer.Option(help="Picture size of the project's own networks: 128 or 192x128.")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


def compile_(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .ew file, or .tsp.", show_default="MODEL.ew")
    ] = None,
    target: Annotated[str, typer.Option(help="What to compile for: cpu, or tsp.")] = "cpu",
    machine: Annotated[
        str, typer.Option(help="With --target tsp: groqchip1, lp30-public or a .toml file.", show_default="groqchip1")
    ] = "",
    precision: Precision = "",
    calibration: Calibration = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page (.html) with pictures of all of it.")] = None,
    size: Size = "128",
    json_: Json = False,
) -> None:
    """Compile MODEL to a file that runs without torch or ONNX, and keep its machine code for this processor.

    --target tsp makes a program for a tensor streaming processor instead, which `elsewhere tsp run` executes.

    Examples:

    elsewhere compile model.onnx -o model.ew --report model.html

    elsewhere compile model.onnx --precision int8 --calibration a.npz --calibration b.npz

    elsewhere compile world-step --precision bf16 -o step.ew

    elsewhere compile model.onnx --target tsp -o model.tsp --report model.html
    """
    start = time.perf_counter()
    with user_errors(MISTAKES):
        if target not in TARGETS:
            raise ValueError(f"--target must be one of {', '.join(TARGETS)}, got {target!r}")
        if machine and target != "tsp":
            raise ValueError(f"--machine goes with --target tsp, not with {target}")
    if target == "tsp":
        from elsewhere.cli.tsp import compile_for_chip

        compile_for_chip(
            model,
            output,
            machine=machine or "groqchip1",
            precision=precision,
            calibration=calibration or [],
            report=report,
            size=size,
            json_=json_,
        )
        return
    with user_errors(MISTAKES):
        output = output or Path(f"{Path(model).stem}.ew")
        if Path(model).absolute() == output.absolute():
            raise ValueError(f"--output would overwrite {model}; give another name")
        check_path(output, ".ew")
        if report is not None:
            check_path(report, ".html")
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler import freeze as freezing
        from elsewhere.compiler.cache import find_or_build

        frozen = in_background(lambda: _frozen(model, precision, calibration or [], size, say))
        say("machine code")
        source = frozen.source
        found = in_background(lambda: find_or_build(source.graph, precision=source.precision))
        inspection = None
        if report is not None:
            inspection = in_background(lambda: _inspected(frozen, (1, 2), None, say))
        freezing.save(output, source)
        seconds = time.perf_counter() - start
        if report is not None and inspection is not None:
            from elsewhere.compiler.report.inspection import write_report

            how = "from the cache" if found.hit else "built"
            write_report(report, frozen, inspection, {"program": f"{how} in {found.seconds:.2f} s"})
    program = found.program
    result: dict[str, Any] = {
        "file": str(output),
        "bytes": output.stat().st_size,
        "report": None if report is None else str(report),
        "precision": source.precision,
        "kernels": len(program.entries),
        "multiplications": sum(e.multiplications for e in program.entries),
        "arena_bytes": program.arena_bytes,
        "arena_over_live": round(program.arena_bytes / max(program.live_bytes, 1), 4),
        "weight_bytes": int(program.data.size),
        "from_cache": found.hit,
        "build_seconds": round(found.seconds, 3),
        "seconds": round(seconds, 3),
    }
    if frozen.quantisation is not None and frozen.quantisation.layers:
        worst = max(frozen.quantisation.layers, key=lambda layer: layer.relative)
        result["worst_layer"] = {"place": worst.place, "relative_error": round(worst.relative, 5)}
    if json_:
        print_json(result)
        return
    typer.echo(
        f"{output}: {result['kernels']} kernels in {source.precision}, {result['bytes'] / 1e6:.1f} MB, "
        f"arena {program.arena_bytes / 2**20:.1f} MiB ({result['arena_over_live']:.2f} × the largest live set), "
        f"{'from the cache' if found.hit else 'built'} in {found.seconds:.2f} s"
    )
    if "worst_layer" in result:
        worst_layer = result["worst_layer"]
        typer.echo(
            f"largest error of a layer: {worst_layer['relative_error']:.2%} at {worst_layer['place'] or 'the top'}"
        )
    if report is not None:
        typer.echo(f"{report}: graph, memory, time of every kernel")


def run(
    model: Model,
    input_: Annotated[Path, typer.Option("--input", "-i", help="Inputs by name, as .npz.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the outputs, as .npz.")] = None,
    threads: Annotated[int, typer.Option(help="Cores to run on.")] = 1,
    size: Size = "128",
    json_: Json = False,
) -> None:
    """Run MODEL once on the arrays in an .npz file.

    Example: elsewhere run model.ew --input x.npz -o y.npz
    """
    with user_errors(MISTAKES):
        if output is not None:
            check_path(output, ".npz")
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.compiled import compile_graph

        say("reading")
        source = open_source(model, size)
        inputs = by_name(source, read_inputs(input_))
        say("machine code")
        graph, kind, states = source.graph, source.precision, source.states
        compiled = in_background(lambda: compile_graph(graph, precision=kind, threads=threads, states=states))
        compiled.write(**inputs)
        say("running")
        before = time.perf_counter()
        compiled.run()
        seconds = time.perf_counter() - before
        outputs = {name: compiled.network.read(name) for name in compiled.output_names}
        compiled.close()
        if output is not None:
            write_arrays(output, outputs)
    rows = [describe(name, array) for name, array in outputs.items()]
    if json_:
        said = {"outputs": rows, "milliseconds": round(1e3 * seconds, 3), "from_cache": compiled.from_cache}
        print_json(said | {"file": None if output is None else str(output)})
        return
    for row in rows:
        typer.echo(in_words(row))
    typer.echo(f"{1e3 * seconds:.2f} ms" + ("" if output is None else f", written to {output}"))


@bench.callback()
def bench_root() -> None:
    """Keeps `bench` a group while it has one verb."""


@bench.command("model")
def bench_model(
    model: Model,
    precision: Precision = "",
    threads: Annotated[int, typer.Option(help="Cores to run on.")] = 1,
    runs: Annotated[int | None, typer.Option(min=1, max=10_000_000, show_default="3 seconds of them")] = None,
    calibration: Calibration = None,
    kernels: Annotated[int, typer.Option(min=0, help="Rows of the table of kernels.")] = 20,
    size: Size = "128",
    json_: Json = False,
) -> None:
    """Time MODEL on this machine: whole runs and their spread, and every kernel against what the processor can do.

    Examples:

    elsewhere bench model model.ew --threads 2

    elsewhere bench model world-step --precision bf16 --json
    """
    with stoppable("Stopped."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.report.page import QUANTILES

        frozen = in_background(lambda: _frozen(model, precision, calibration or [], size, say))
        found = in_background(lambda: _inspected(frozen, (threads,), runs, say))
    timing, totals = found.timings[threads], found.totals()
    milliseconds = {name: round(1e3 * timing.quantile(share), 4) for name, share in QUANTILES.items()}
    milliseconds["least"] = round(1e3 * timing.least, 4)
    if json_:
        print_json(
            {
                "model": frozen.source.name,
                "precision": frozen.source.precision,
                "machine": found.compiled.program.machine.rsplit(" ", 1)[0],
                "threads": threads,
                "runs": int(timing.seconds.size),
                "milliseconds": milliseconds,
                "p99.9_over_p50": round(timing.quantile(0.999) / timing.median, 4),
                "totals": totals,
                "peak_multiplications_per_second": found.rates.multiplications,
                "kernels": [_kernel_row(a) for a in found.accounts],
            }
        )
        return
    times = ", ".join(f"{name} {value:.3f}" for name, value in milliseconds.items())
    typer.echo(
        f"{frozen.source.name} in {frozen.source.precision} on {threads} core{'s' if threads > 1 else ''}: {times} ms"
    )
    typer.echo(
        f"{timing.seconds.size} runs, p99.9 / p50 {timing.quantile(0.999) / timing.median:.2f}; "
        f"{totals['multiplications'] / 1e6:.0f} M multiplications; on one core {totals['peak_share']:.0%} of the "
        f"measured peak, {totals['bound'] / max(totals['seconds'], 1e-12):.0%} of the bound of its kernels"
    )
    if kernels:
        _print_kernels(found, kernels)


def _print_kernels(found: Inspection, count: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kernel", "shape"):
        table.add_column(name)
    for name in ("µs", "bound", "×"):
        table.add_column(name, justify="right")
    table.add_column("where", overflow="fold")
    table.add_column("why", overflow="fold", style="dim")
    ordered = sorted(found.accounts, key=lambda a: -a.seconds)
    for a in ordered[:count]:
        over = f"{a.seconds / a.bound:.1f}" if a.bound else ""
        kind = f"{a.kind} {a.precision}".strip()
        table.add_row(kind, a.shape, f"{1e6 * a.seconds:.1f}", f"{1e6 * a.bound:.1f}", over, a.place, a.reason)
    console = Console()
    console.print(table)
    rest = ordered[count:]
    if rest:
        console.print(f"and {len(rest)} more with {1e6 * sum(a.seconds for a in rest):.0f} µs together", style="dim")


def _kernel_row(a: Any) -> dict[str, Any]:
    return {
        "kind": a.kind,
        "place": a.place,
        "precision": a.precision,
        "shape": a.shape,
        "microseconds": round(1e6 * a.seconds, 3),
        "bound_microseconds": round(1e6 * a.bound, 3),
        "multiplications": a.multiplications,
        "bytes": a.bytes + a.weights,
        "reason": a.reason,
    }


def _frozen(model: str, precision: str, calibration: list[Path], size: str, say: Callable[[str], None]) -> Frozen:
    from elsewhere.compiler.freeze import freeze
    from elsewhere.compiler.targets.cpu.program import PRECISIONS

    if precision and precision not in PRECISIONS:
        raise ValueError(f"--precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    say("importing")
    source = open_source(model, size)
    precision = precision or source.precision
    if precision == "int8" and source.precision == "f32" and not calibration:
        raise ValueError("int8 needs real inputs to calibrate on: --calibration inputs.npz, as often as you like")
    samples = read_samples(source, calibration) if precision == "int8" else []
    say("passes" if precision == "f32" else f"passes, to {precision}")
    return freeze(source, precision, samples)


def _inspected(frozen: Frozen, threads: tuple[int, ...], runs: int | None, say: Callable[[str], None]) -> Inspection:
    from elsewhere.compiler.report.inspection import inspect

    return inspect(frozen.source, threads=threads, runs=runs, say=say)
