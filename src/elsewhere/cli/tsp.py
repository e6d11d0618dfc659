"""elsewhere tsp: programs for a tensor streaming processor, run, looked at, and measured against what is public."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.files import check_path, describe, in_bytes, in_words, write_arrays, write_whole
from elsewhere.cli.models import (
    CALIBRATION_HELP,
    HELP,
    in_background,
    open_source,
    progress,
    read_inputs,
    read_samples,
    stoppable,
)
from elsewhere.cli.report import note, print_json, user_errors
from elsewhere.cli.tsp_measure import decode, frame, machine_, realtime, sweep, validate

if TYPE_CHECKING:
    from elsewhere.compiler.sources import Source
    from elsewhere.compiler.targets.tsp.program import Port, Program

MISTAKES = (ValueError, OSError, ModuleNotFoundError, MemoryError)
"""What a model, a program, its inputs or the disk can be the reason of."""

app = typer.Typer(help="A tensor streaming processor, simulated to the cycle and the bit.", no_args_is_help=True)
for _verb in (validate, realtime, decode, frame, sweep):
    app.command()(_verb)
app.command("machine")(machine_)

MachineOption = Annotated[str, typer.Option(help="groqchip1, lp30-public, or a .toml file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("compile")
def compile_(
    model: Annotated[str, typer.Argument(help=HELP, show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="The .tsp file.", show_default="MODEL.tsp")
    ] = None,
    precision: Annotated[str, typer.Option(help="f16 or int8; a .ew file has its own.", show_default="f16")] = "",
    calibration: Annotated[
        list[Path] | None, typer.Option("--calibration", help=CALIBRATION_HELP, show_default=False)
    ] = None,
    machine: MachineOption = "groqchip1",
    report: Annotated[Path | None, typer.Option(help="Also write the page of `tsp report` (.html).")] = None,
    size: Annotated[str, typer.Option(help="Picture size of the project's own networks: 128 or 192x128.")] = "128",
    json_: JsonOption = False,
) -> None:
    """Compile MODEL for one chip: every instruction's cycle, every row's address.

    The same as `elsewhere compile MODEL --target tsp`.

    Examples:

    elsewhere tsp compile model.onnx -o model.tsp --report model.html

    elsewhere tsp compile model.onnx --precision int8 --calibration inputs.npz

    elsewhere tsp compile world-step --size 192x128 --machine lp30-public --json
    """
    compile_for_chip(
        model,
        output,
        machine=machine,
        precision=precision,
        calibration=calibration or [],
        report=report,
        size=size,
        json_=json_,
    )


def compile_for_chip(
    model: str,
    output: Path | None,
    *,
    machine: str,
    precision: str,
    calibration: list[Path],
    report: Path | None,
    size: str,
    json_: bool,
) -> None:
    """What `compile --target tsp` and `tsp compile` do."""
    start = time.perf_counter()
    with user_errors(MISTAKES):
        from elsewhere.compiler.targets.tsp.compile import PRECISIONS
        from elsewhere.compiler.targets.tsp.machine import load_machine

        chip = load_machine(machine)
        if precision and precision not in PRECISIONS:
            raise ValueError(f"--precision must be one of {', '.join(PRECISIONS)} for a tsp, got {precision!r}")
        output = output or Path(f"{Path(model).stem}.tsp")
        check_path(output, ".tsp")
        if report is not None:
            check_path(report, ".html")
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.targets.tsp.assembly import save
        from elsewhere.compiler.targets.tsp.compile import compile_tsp

        say("importing")
        source = open_source(model, size)
        if precision and source.precision not in ("f32", precision):
            raise ValueError(f"{source.name} is in {source.precision} already and cannot be made {precision}")
        narrows = precision == "int8" and source.precision == "f32"
        samples = _samples(source, calibration) if narrows else []
        say("scheduling" if not narrows else "calibrating, scheduling")
        made = in_background(
            lambda: compile_tsp(source.graph, machine=chip, precision="int8" if narrows else "f16", samples=samples)
        )
        program = made.program
        page = None
        if report is not None:
            say("report")
            page = in_background(lambda: _page(program, source.name or Path(model).stem))
        say("writing")
        write_whole(output, save(program))
        if report is not None and page is not None:
            write_whole(report, page.encode())
    drawn = narrows and not calibration
    result = {
        "file": str(output),
        "bytes": output.stat().st_size,
        "report": None if report is None else str(report),
        "machine": chip.name,
        "precision": "int8" if narrows or source.precision == "int8" else "f16",
        "calibrated_on": None if not narrows else "inputs drawn from a seed" if drawn else list(map(str, calibration)),
        **_figures(program),
        "schedule_seconds": round(made.seconds, 3),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if drawn:
        note("int8 was calibrated on inputs drawn from a seed: cycles are right, values are rough; give --calibration")
    if json_:
        print_json(result)
        return
    typer.echo(
        f"{output}: {result['cycles']:,} cycles ({result['microseconds']:.2f} µs) on {chip.name} in "
        f"{result['precision']}, {result['instructions']:,} instructions, {in_bytes(result['bytes'])}, "
        f"{_share(result['memory_share'])} of its memory, scheduled in {made.seconds:.1f} s"
    )
    if report is not None:
        typer.echo(f"{report}: time by unit, memory, streams, layers and what holds them up")


def _samples(source: Source, calibration: list[Path]) -> list[dict[str, Any]]:
    from elsewhere.compiler.sources import example_inputs

    if calibration:
        return read_samples(source, calibration)
    return [dict(source.states) | example_inputs(source.graph)]


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _figures(program: Program) -> dict[str, Any]:
    machine, facts = program.machine, program.facts
    multiplications = float(facts.get("multiplications", 0.0))
    rows = int(facts.get("memory", {}).get("rows", 0))
    return {
        "cycles": program.cycles,
        "microseconds": round(program.seconds * 1e6, 6),
        "instructions": len(program.code),
        "layers": len({int(s) for s in program.code["symbol"]}),
        "multiplications": int(multiplications),
        "int8_peak_share": round(multiplications / max(1, program.cycles) / (machine.planes * machine.lanes**2), 5),
        "memory_share": round(rows / (machine.slices * machine.rows_per_slice), 5),
    }


def _load(path: Path, machine: str = "") -> Program:
    """Raises ValueError or OSError with the file's name and what is wrong with it."""
    from elsewhere.compiler.targets.tsp.assembly import load
    from elsewhere.compiler.targets.tsp.machine import load_machine

    chip = load_machine(machine) if machine else None
    if path.suffix.lower() != ".tsp":
        raise ValueError(
            f"PROGRAM must be a .tsp file, got {str(path)!r}; `elsewhere tsp compile` makes one of a model"
        )
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return load(path.read_bytes(), chip)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


ProgramArgument = Annotated[Path, typer.Argument(help="A compiled program (.tsp).", show_default=False)]
ForMachine = Annotated[str, typer.Option("--machine", help="Insist that it is for this one.", show_default="its own")]


@app.command()
def run(
    program: ProgramArgument,
    input_: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Inputs by name, as .npz.", show_default="drawn from a seed"),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the outputs, as .npz.")] = None,
    mode: Annotated[str, typer.Option(help="burst (fast) or cycle (every register in every cycle).")] = "burst",
    machine: ForMachine = "",
    json_: JsonOption = False,
) -> None:
    """Check a program, run it to the bit, and say what it took.

    Examples:

    elsewhere tsp run model.tsp

    elsewhere tsp run model.tsp --input x.npz -o y.npz

    elsewhere tsp run model.tsp --mode cycle --json
    """
    with user_errors(MISTAKES):
        if mode not in ("burst", "cycle"):
            raise ValueError(f"--mode must be burst or cycle, got {mode!r}")
        if output is not None:
            check_path(output, ".npz")
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.targets.tsp.burst import run_bursts
        from elsewhere.compiler.targets.tsp.checker import check
        from elsewhere.compiler.targets.tsp.cycle import run_cycles

        say("reading")
        loaded = _load(program, machine)
        inputs = _inputs(loaded, input_)
        say("checking")
        faults = in_background(lambda: check(loaded))
        if faults:
            raise ValueError(
                f"{program.name} breaks {len(faults)} rules, first at instruction {faults[0].instruction}: "
                f"{faults[0].rule}: {faults[0].message}"
            )
        say(f"running {loaded.cycles:,} cycles")
        simulate = run_bursts if mode == "burst" else run_cycles
        before = time.perf_counter()
        outputs = in_background(lambda: simulate(loaded, inputs))
        seconds = time.perf_counter() - before
        if output is not None:
            write_arrays(output, outputs)
    rows = [describe(name, value) for name, value in outputs.items()]
    figures = _figures(loaded)
    if json_:
        print_json(
            {
                "machine": loaded.machine.name,
                "mode": mode,
                "inputs": "drawn from a seed" if input_ is None else str(input_),
                **figures,
                "faults": 0,
                "simulation_seconds": round(seconds, 4),
                "simulated_cycles_per_second": round(loaded.cycles / max(seconds, 1e-9), 1),
                "outputs": rows,
                "file": None if output is None else str(output),
            }
        )
        return
    for row in rows:
        typer.echo(in_words(row))
    typer.echo(
        f"{loaded.cycles:,} cycles ({figures['microseconds']:.2f} µs on {loaded.machine.name}), no rule broken, "
        f"simulated in {seconds:.2f} s" + ("" if output is None else f", written to {output}")
    )


def _inputs(program: Program, path: Path | None) -> dict[str, Any]:
    """Arrays for every input: from a file, or drawn from a seed. States that a file leaves out are 0."""
    import numpy as np

    kinds = {"i8": np.int8, "i32": np.int32, "f16": np.float16, "f32": np.float32}
    states = {name for name, _ in program.states}
    if path is None:
        random = np.random.Generator(np.random.Philox(0))
        return {p.name: _drawn(p, random, kinds[p.dtype], p.name in states) for p in program.inputs}
    given = read_inputs(path)
    names = [p.name for p in program.inputs]
    if given and list(given) == [f"arr_{i}" for i in range(len(given))] and "arr_0" not in names:
        wanted = [n for n in names if n not in states]
        if len(given) != len(wanted):
            raise ValueError(f"{path.name} has {len(given)} arrays, the program takes {len(wanted)}: {wanted}")
        given = dict(zip(wanted, given.values(), strict=True))
    for name in given:
        if name not in names:
            raise ValueError(f"there is no input {name!r}; the inputs are {', '.join(names)}")
    made = {}
    for port in program.inputs:
        if port.name not in given and port.name not in states:
            raise ValueError(f"{path.name} lacks input {port.name!r} of shape {port.shape}")
        value = given.get(port.name, np.zeros(port.shape, kinds[port.dtype]))
        if value.shape != tuple(port.shape):
            raise ValueError(f"input {port.name!r} must have shape {tuple(port.shape)}, got {value.shape}")
        if not np.can_cast(value.dtype, kinds[port.dtype], "same_kind"):
            raise ValueError(f"input {port.name!r} must be {port.dtype}, got {value.dtype}")
        made[port.name] = value.astype(kinds[port.dtype])
    return made


def _drawn(port: Port, random: Any, kind: Any, state: bool) -> Any:
    """Normal numbers; whole numbers are mostly indices and masks, so zeros, but bytes are quantised values."""
    import numpy as np

    if state or port.dtype == "i32":
        return np.zeros(port.shape, kind)
    if port.dtype == "i8":
        return random.integers(-127, 128, port.shape).astype(kind)
    return random.standard_normal(port.shape).astype(kind)


@app.command("check")
def check_(program: ProgramArgument, machine: ForMachine = "", json_: JsonOption = False) -> None:
    """Prove that a program keeps every rule of the chip, without running it. Exit status 1 if it does not.

    Example: elsewhere tsp check model.tsp
    """
    with stoppable("Stopped."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.targets.tsp.checker import check

        loaded = _load(program, machine)
        say("checking")
        before = time.perf_counter()
        faults = in_background(lambda: check(loaded))
        seconds = time.perf_counter() - before
    if json_:
        print_json(
            {
                "machine": loaded.machine.name,
                "instructions": len(loaded.code),
                "seconds": round(seconds, 3),
                "faults": [{"rule": f.rule, "instruction": f.instruction, "message": f.message} for f in faults],
            }
        )
    else:
        for fault in faults:
            typer.echo(f"instruction {fault.instruction}: {fault.rule}: {fault.message}")
        said = "no rule broken" if not faults else f"{len(faults)} faults"
        typer.echo(f"{program}: {len(loaded.code):,} instructions, {said}, checked in {seconds:.2f} s")
    if faults:
        raise typer.Exit(1)


@app.command()
def show(
    program: ProgramArgument,
    layer: Annotated[str, typer.Option(help="Only instructions of places that begin so.", show_default="all")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Lines at most.")] = 200,
    json_: JsonOption = False,
) -> None:
    """Print a program's instructions in the order of their cycles: one a line, as text that a person reads.

    Examples:

    elsewhere tsp show model.tsp --limit 40

    elsewhere tsp show model.tsp --layer layer3.attention
    """
    with user_errors(MISTAKES):
        from elsewhere.compiler.targets.tsp.report.wording import sentences

        loaded = _load(program)
        if layer and not any(s.startswith(layer) for s in loaded.symbols):
            near = difflib.get_close_matches(layer, loaded.symbols, 3)
            raise ValueError(f"no place begins with {layer!r}" + (f"; near are {', '.join(near)}" if near else ""))
        rows = sentences(loaded, layer, limit)
    if json_:
        print_json(rows)
        return
    width = max((len(r["queue"]) for r in rows), default=0)
    for r in rows:
        typer.echo(
            f"{r['issue']:>9,}  {r['queue']:<{width}}  {r['text']}" + (f"  ; {r['layer']}" if r["layer"] else "")
        )
    if len(rows) == limit:
        typer.echo(f"… {len(loaded.code):,} instructions in all (--limit)", err=True)


@app.command()
def report(
    program: ProgramArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="The .html file.", show_default="PROGRAM.html")
    ] = None,
    machine: ForMachine = "",
    json_: JsonOption = False,
) -> None:
    """Write a page that shows a program: time by unit, memory, streams, layers and what holds them up.

    --json prints the table of layers as well, with what they waited for.

    Examples:

    elsewhere tsp report model.tsp -o model.html

    elsewhere tsp report model.tsp --json
    """
    with user_errors(MISTAKES):
        output = output or program.with_suffix(".html")
        check_path(output, ".html")
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        from elsewhere.compiler.targets.tsp.report import Report, page

        say("reading")
        loaded = _load(program, machine)
        say("looking for what each flow waited for")
        found = in_background(lambda: Report.of(loaded))
        say("writing")
        content = page(found, program.stem).encode()
        write_whole(output, content)
    if json_:
        print_json({"file": str(output), "bytes": len(content), **found.to_json()})
        return
    typer.echo(f"{output}: {in_bytes(len(content))}, {loaded.cycles:,} cycles, {len(loaded.code):,} instructions")


@app.command()
def picture(
    program: ProgramArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .png of units, else an .svg.", show_default=False)],
    of: Annotated[
        str, typer.Option(help="units: what is busy when; flow: rows on their way; chip: the layout of its machine.")
    ] = "units",
    instruction: Annotated[
        int | None,
        typer.Option(
            help="With flow: the one that this instruction belongs to (`tsp show --json`).", show_default="all"
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Words above it.", show_default="PROGRAM")] = "",
    json_: JsonOption = False,
) -> None:
    """Draw a still picture of a program.

    Examples:

    elsewhere tsp picture model.tsp -o model.png

    elsewhere tsp picture small.tsp --of flow --instruction 12 -o flow.svg
    """
    with user_errors(MISTAKES):
        kinds = {"units": ".png", "flow": ".svg", "chip": ".svg"}
        if of not in kinds:
            raise ValueError(f"--of must be one of {', '.join(kinds)}, got {of!r}")
        check_path(output, kinds[of])
    with stoppable("Stopped. Nothing was written."), user_errors(MISTAKES), progress(json_) as say:
        say("reading")
        loaded = _load(program)
        say("drawing")
        content = in_background(lambda: _drawing(loaded, of, instruction, title or program.stem))
        write_whole(output, content)
    if json_:
        print_json({"file": str(output), "bytes": len(content), "of": of, "cycles": loaded.cycles})
        return
    typer.echo(f"{output}: {in_bytes(len(content))}")


def _drawing(program: Program, of: str, instruction: int | None, title: str) -> bytes:
    from elsewhere.compiler.targets.tsp.report import Report, diagram
    from elsewhere.compiler.targets.tsp.report.picture import units_picture

    if of == "units":
        return units_picture(Report.of(program), title)
    if of == "chip":
        return diagram.layout(program.machine).encode()
    return diagram.space_time(program, title, diagram.flow_of(program, instruction)).encode()


@app.command()
def example(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the program goes (.tsp).")] = Path(
        "example.tsp"
    ),
    machine: MachineOption = "groqchip1",
    json_: JsonOption = False,
) -> None:
    """Write the smallest program that does something: Read, one ALU, Write.

    Examples:

    elsewhere tsp example -o three.tsp

    elsewhere tsp show three.tsp
    """
    with user_errors(MISTAKES):
        from elsewhere.compiler.targets.tsp.assembly import save
        from elsewhere.compiler.targets.tsp.example import smallest
        from elsewhere.compiler.targets.tsp.machine import load_machine

        check_path(output, ".tsp")
        made = smallest(load_machine(machine))
        write_whole(output, save(made))
    if json_:
        print_json({"file": str(output), "bytes": output.stat().st_size, **_figures(made)})
        return
    typer.echo(f"{output}: {len(made.code)} instructions, {made.cycles} cycles; see `elsewhere tsp show {output}`")


def _page(program: Program, title: str) -> str:
    from elsewhere.compiler.targets.tsp.report import Report, page

    return page(Report.of(program), title)


ORDER = [
    *("compile", "run", "check", "show", "report", "picture", "example"),
    *("decode", "realtime", "validate", "sweep", "machine"),
]
"""Verbs as a reader meets them."""
app.registered_commands.sort(
    key=lambda c: ORDER.index(name) if (name := c.name or getattr(c.callback, "__name__", "")) in ORDER else len(ORDER)
)
