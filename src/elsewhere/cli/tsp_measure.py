"""elsewhere tsp: what a described machine takes. The published table, video in real time, language models, sweeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from elsewhere.cli.report import print_json, user_errors

MachineOption = Annotated[str, typer.Option(help="groqchip1, lp30-public, or a .toml file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SaveOption = Annotated[Path | None, typer.Option(help="Also write the JSON here.")]
ModelsOption = Annotated[Path | None, typer.Option(help="More models: a TOML file with a table for each.")]


def _watch() -> Callable[[str], None]:
    """Says what begins, and after how many seconds, on stderr."""
    start = time.perf_counter()
    return lambda what: typer.echo(f"{time.perf_counter() - start:6.0f} s  {what}", err=True)


def _written(path: Path | None, text: str) -> None:
    if path is not None:
        with user_errors():
            path.write_text(text, encoding="utf-8")


def _json(report: Any) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def validate(
    machine: MachineOption = "groqchip1",
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be given again.")] = None,
    save: SaveOption = None,
    picture: Annotated[Path | None, typer.Option(help="Write the saw-tooth as SVG here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the published results again: measured over published, and the misses.

    Examples:

    elsewhere tsp validate

    elsewhere tsp validate --row resnet-50 --row bert-base --json
    """
    from elsewhere.compiler.targets.tsp import validate as validation
    from elsewhere.compiler.targets.tsp.machine import load_machine

    with user_errors():
        made = validation.validate(load_machine(machine), row, _watch())
        if picture is not None:
            _written(picture, validation.picture(made.teeth))
    report = made.to_json()
    _written(save, _json(report))
    if as_json:
        print_json(report)
        return
    for result in made.results:
        mark = "ok  " if result.met and not result.faults else "MISS"
        typer.echo(
            f"{mark} {result.name:38s} {result.measured:9.1f} of {result.published:9.1f} {result.unit:9s} "
            f"{result.ratio:6.2f}  {result.faults} faults; {result.note}"
        )
    for name, reason in made.failed.items():
        typer.echo(f"FAIL {name}: {reason}")
    for tooth in made.teeth:
        typer.echo(f"N={tooth.columns:5d} {tooth.utilisation:6.1%} of {tooth.bound:6.1%} that tiles leave")
    for wrong in made.misplaced:
        typer.echo(f"MISS {wrong}")
    if made.results:
        typer.echo(f"median deviation {made.median:.1%}")


def frame(
    size: Annotated[str, typer.Option(help="Pixels of the picture, such as 128x128.")] = "128x128",
    frames: Annotated[int, typer.Option(help="How many frames of a film to execute.")] = 1,
    precision: Annotated[str, typer.Option(help="f16 or int8.")] = "f16",
    machine: MachineOption = "groqchip1",
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """The shipped world model's frame on one chip: compiled, proved, executed and compared bit by bit.

    Exit status 1 if a rule is broken or a bit is wrong.

    Examples:

    elsewhere tsp frame

    elsewhere tsp frame --frames 2 --json
    """
    from elsewhere.cli.models import in_background, stoppable
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.model import chip
    from elsewhere.model.network import Models
    from elsewhere.model.weights import DIRECTORY

    with stoppable("Stopped."), user_errors():
        width, height = _pixels(size)
        target, watch = load_machine(machine), _watch()
        made = in_background(
            lambda: chip.measure(
                Models.read(DIRECTORY),
                target,
                height=height,
                width=width,
                precision=precision,
                frames=frames,
                say=watch,
            )
        )
    report = made.to_json()
    _written(save, _json(report))
    if as_json:
        print_json(report)
    else:
        typer.echo(
            f"{made.cycles:,} cycles a frame of {made.width}x{made.height} on one {made.machine}: "
            f"{made.microseconds:.1f} µs, {made.frames_per_second:,.0f} frames a second\n"
            f"{made.instructions:,} instructions, {made.memory_rows:,} rows ({made.memory_share:.0%} of memory), "
            f"{made.faults} rules broken\n"
            f"executed {made.frames} frame(s), bits equal: {'yes' if made.executed else 'NO'}; "
            f"picture {made.deviation:.1e} of its spread from f32\n"
            f"{made.compile_seconds:.1f} s to compile, {made.check_seconds:.1f} s to check, "
            f"{made.run_seconds:.1f} s to execute, {made.seconds:.1f} s in all"
        )
    if not made.executed:
        raise typer.Exit(1)


def _pixels(size: str) -> tuple[int, int]:
    """Width and height from such as 1280x720."""
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise ValueError(f"size must be like 1280x720, got {size!r}")
    return int(parts[0]), int(parts[1])


def realtime(
    model: Annotated[list[str], typer.Option(help="A name such as wan-14b, or a config.json; may be given again.")],
    size: Annotated[str, typer.Option(help="Pixels, such as 1280x720.")] = "1280x720",
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 24.0,
    steps: Annotated[int, typer.Option(help="Evaluations for each latent.")] = 4,
    window: Annotated[int, typer.Option(help="Latents that a new one attends to, with itself.")] = 6,
    machine: MachineOption = "groqchip1",
    models: ModelsOption = None,
    check: Annotated[bool, typer.Option(help="Schedule a small block, and say how far counting is from it.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Write frames per second against chips as SVG here.")] = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """The smallest machine on which a video model makes every frame in time.

    Example: elsewhere tsp realtime --model wan-14b --size 1280x720 --fps 24 --steps 4 --plot chips.svg
    """
    from elsewhere.compiler.targets.tsp import estimate
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.shapes import find

    with user_errors():
        width, height = _pixels(size)
        target = load_machine(machine)
        shapes = [find(name, models) for name in model]
        calibration = estimate.calibrate(target) if check else None
        factor = max(1.0, calibration.ratio) if calibration else 1.0
        answers = [estimate.answer(s, width, height, fps, steps, target, factor, window) for s in shapes]
        if plot is not None:
            drawn = [a.counted for a in answers if a.counted is not None]
            _written(plot, estimate.plot(drawn, fps))
    report = {
        "machine": target.name,
        "size": size,
        "fps": fps,
        "steps": steps,
        "window": window,
        "calibration": None if calibration is None else {**asdict(calibration), "ratio": calibration.ratio},
        "models": [a.to_json() for a in answers],
    }
    _written(save, _json(report))
    if as_json:
        print_json(report)
    else:
        if calibration is not None:
            typer.echo(
                f"a small block is counted as {calibration.counted} cycles and scheduled in {calibration.scheduled}: "
                f"{calibration.ratio:.2f} times"
            )
        for answer in answers:
            typer.echo("\n".join(answer.lines(size, fps, steps)))
    if any(a.counted is None for a in answers):
        raise typer.Exit(2)


def decode(
    model: Annotated[str, typer.Option(help="A registered name such as smollm2-135m, or a config.json.")],
    chips: Annotated[int, typer.Option(help="How many chips; on one the whole program is made.")] = 1,
    context: Annotated[int, typer.Option(help="Tokens that the cache holds (0: 128 on one chip, else 4096).")] = 0,
    prompt: Annotated[int, typer.Option(help="Tokens before the first answer.")] = 1,
    execute: Annotated[bool, typer.Option("--execute", help="Run it on one chip, and compare every bit.")] = False,
    tokens: Annotated[int, typer.Option(help="Tokens to execute.")] = 1,
    layers: Annotated[int, typer.Option(help="Only so many layers (0: all), on one chip.")] = 0,
    machine: MachineOption = "groqchip1",
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cycles, tokens a second and the time to the first token of a language model."""
    from elsewhere.compiler.targets.tsp import decoding, language
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.shapes import find

    with user_errors():
        shape, target = find(model, models), load_machine(machine)
        if chips > 1 and execute:
            raise ValueError(f"a model is executed on one chip, got {chips}; without --execute many are timed")
        if layers < 0 or layers > shape.layers:
            raise ValueError(f"layers must be from 0 to {shape.layers}, got {layers}")
        made: Any
        if chips == 1:
            count = tokens if execute else 0
            made = language.measure(
                shape, context=context or 128, prompt=prompt, layers=layers, execute=count, machine=target
            )
        else:
            made = decoding.decode(shape, chips=chips, context=context or 4096, prompt=prompt, machine=target)
    report = {**asdict(made), "seconds_per_token": made.seconds_per_token, "tokens_per_second": made.tokens_per_second}
    if as_json:
        print_json(report)
    else:
        for name, value in report.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v * 1e6:.1f} µs" for k, v in value.items())
            typer.echo(f"{name:22s} {value}")
    if execute and not made.exact:
        raise typer.Exit(1)


def sweep(
    network: Annotated[str, typer.Option(help="gemm, layer, resnet-50, bert-base or llama-2-7b.")] = "gemm",
    machine: MachineOption = "groqchip1",
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How much each assumed value matters: cycles with it half and one and a half times as large.

    Example: elsewhere tsp sweep --network gemm --json
    """
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.sweep import sweep as run

    with user_errors():
        rows = run(network, load_machine(machine), _watch())
    report = {"machine": machine, "network": network, "rows": rows}
    _written(save, _json(report))
    if as_json:
        print_json(report)
        return
    for line in rows:
        ratio = f"{line['ratio']:6.3f}" if line["ratio"] is not None else f"cannot be: {line['error']}"
        typer.echo(f"{line['field']:20s} {line['of']!s:>8s} → {line['value']!s:>8s} {ratio}")


def machine_(
    name: Annotated[str, typer.Argument(help="groqchip1, lp30-public, or a .toml file.")] = "groqchip1",
) -> None:
    """A machine as TOML: every value with its unit and source. What it prints can be changed and given back."""
    from elsewhere.compiler.targets.tsp.machine import load_machine, to_toml

    with user_errors():
        typer.echo(to_toml(load_machine(name)), nl=False)
