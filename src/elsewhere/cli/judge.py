"""`elsewhere judge`: how far pictures are from calculated reality, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.report import interruptible, print_json, user_errors

if TYPE_CHECKING:
    from elsewhere.judge import Report
    from elsewhere.judge.measure import Measure
    from elsewhere.judge.play import Studio

Scenes = Annotated[int | None, typer.Option(min=2, max=1000, help="How many scenes that training never saw.")]
Mode = Annotated[str, typer.Option(help="grounded, dream, or both.")]
Size = Annotated[int, typer.Option(help="Side of the pictures in pixels, a multiple of 16.")]
Samples = Annotated[int, typer.Option(min=2, max=4096, help="Paths per pixel of the reference, two halves together.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the prompts and their worlds.")]
Steps = Annotated[int, typer.Option(help="Network evaluations for each frame: 1, 2, 4 or 8.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of weights; the shipped ones by default.")]
Kept = Annotated[Path | None, typer.Option("--cache", help="Folder for references and rows that are made once.")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
Small = Annotated[bool, typer.Option("--small", help="Few scenes: a minute or two once references are there.")]

app = typer.Typer(help="Measure generated pictures against calculated reality.", no_args_is_help=True)


@app.command("reference")
def reference(
    mode: Annotated[str, typer.Option(help="grounded or dream.")] = "grounded",
    prompts: Annotated[int, typer.Option(min=1, max=1000, help="How many scenes that training never saw.")] = 50,
    long: Annotated[int, typer.Option(min=0, help="How many of them are played to frame 300, for drift.")] = 7,
    samples: Annotated[int, typer.Option(min=1, max=4096, help="Paths per pixel of the reference.")] = 96,
    size: Annotated[int, typer.Option(min=64, max=512, help="Side of the pictures in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Of the prompts and their worlds.")] = 2026,
    steps: Annotated[int, typer.Option(help="Network evaluations for each frame: 1, 2, 4 or 8.")] = 1,
    weights: Annotated[Path | None, typer.Option(help="Folder of weights; the shipped ones by default.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="A picture of all scenes: made, plain, reference.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Compare generated pictures with path-traced references of the same states.

    Each score stands beside its floor, the plainly lit guide (what `--mode calculated` shows).

    Example: elsewhere judge reference --prompts 10 --sheet judged.png
    """
    with user_errors(), interruptible("Stopped."):
        from elsewhere.judge import Trial, report
        from elsewhere.model import Generator
        from elsewhere.model.weights import DIRECTORY

        if size % 16:
            raise ValueError(f"size must be a multiple of 16, got {size}; nearest: {16 * max(4, round(size / 16))}")
        generator = Generator.load(mode, steps=steps, directory=weights or DIRECTORY)
        trial = Trial(prompts=prompts, long_prompts=long, samples=samples, size=size, seed=seed)
        result = report(generator.start, trial, lambda done, total: typer.echo(f"{done} of {total} scenes", err=True))
        if sheet:
            _save_sheet(result, sheet)
    summary = result.summary() | {"mode": mode, "steps": steps}
    if json_:
        print_json(summary)
    else:
        _print_table(summary)


def _save_sheet(result: Report, path: Path) -> None:
    """Three rows for every eight scenes: made, plain, reference."""
    import numpy as np
    from PIL import Image

    columns = [np.concatenate(pictures, axis=0) for _, *pictures in result.pictures]
    blank = np.zeros_like(columns[0])
    rows = [columns[at : at + 8] for at in range(0, len(columns), 8)]
    rows[-1] = rows[-1] + [blank] * (min(8, len(columns)) - len(rows[-1]))
    image = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    Image.fromarray(np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)).save(path)


def _print_table(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{summary['mode']}, {summary['steps']} step(s); plain = the lit guide, the floor")
    for name in ("environment", "pictures", "PSNR", "plain", "gain dB", "SSIM", "plain", "edge F1", "plain", "texture"):
        table.add_column(name, justify="left" if name == "environment" else "right")
    for place, row in {**summary["environments"], "all": summary["all"]}.items():
        cells = [row["psnr"], row["psnr_plain"], row["gain_db"], row["ssim"], row["ssim_plain"]]
        cells += [row["edge_f1"], row["edge_f1_plain"], row["texture"]]
        table.add_row(place, str(row["pictures"]), *(f"{cell:.3f}" for cell in cells))
    console = Console()
    console.print(table)
    if drift := summary["drift"]:
        console.print(
            f"drift from frame {drift['frames'][0]} to {drift['frames'][1]} over {drift['prompts']} scenes: "
            f"{drift['gain_db']:.2f} dB of gain over the plain guide "
            f"(PSNR {drift['psnr_db']:.2f} dB, plain guide {drift['plain_db']:.2f} dB)"
        )


@app.command("frechet")
def frechet(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = 32,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Fréchet distance to reference films on features of fixed random networks.

    Grounded films stand beside the plainly lit guide, dreams beside the best still picture.

    Example: elsewhere judge frechet --small --mode grounded
    """
    from elsewhere.judge.frechet import Frechet

    count = scenes or (8 if small else 48)
    _judge([Frechet()], [count], mode, size, samples, seed, steps, weights, cache, json_)


@app.command("actions")
def actions(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = 16,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """How often the film made with the true head motion is nearer to its reference than one made with another.

    Example: elsewhere judge actions --small
    """
    from elsewhere.judge.actions import Actions

    count = scenes or (6 if small else 24)
    _judge([Actions()], [count], mode, size, samples, seed, steps, weights, cache, json_)


def _judge(
    measures: list[Measure],
    counts: list[int],
    mode: str,
    size: int,
    samples: int,
    seed: int,
    steps: int,
    weights: Path | None,
    cache: Path | None,
    json_: bool,
) -> None:
    """Runs measures one after the other and prints them as one table."""
    with user_errors(), interruptible("Stopped; the same command goes on from there."):
        from elsewhere.compiler.directories import default_directory
        from elsewhere.judge.library import Library
        from elsewhere.judge.measure import Bench, run

        _check_size(size)
        studios = open_studios(mode, steps, weights)
        library = Library(cache or default_directory() / "judge")
        results = []
        for measure, count in zip(measures, counts, strict=True):
            bench = Bench(studios=studios, library=library, scenes=count, size=size, samples=samples, seed=seed)
            results.append(run(measure, bench, _say(measure.name)))
    _print(results, mode, steps, json_)


def _check_size(size: int) -> None:
    if size % 16 or not 64 <= size <= 512:
        nearest = min(max(16 * round(size / 16), 64), 512)
        raise ValueError(f"size must be a multiple of 16 from 64 to 512, got {size}; nearest: {nearest}")


def open_studios(mode: str, steps: int, weights: Path | None) -> tuple[Studio, ...]:
    """What paints, by mode. Raises ValueError for a mode that is none, WeightsError for files."""
    import hashlib

    from elsewhere.judge.play import Studio
    from elsewhere.model import Generator
    from elsewhere.model.weights import DIRECTORY

    if mode not in ("grounded", "dream", "both"):
        raise ValueError(f"mode must be grounded, dream or both, got {mode!r}; nearest: 'both'")
    folder = weights or DIRECTORY
    names = ("grounded", "dream") if mode == "both" else (mode,)
    generators = {name: Generator.load(name, steps=steps, directory=folder) for name in names}
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        sha.update(path.read_bytes())
    identity = f"{sha.hexdigest()[:16]} {steps}"
    return tuple(
        Studio(name, f"{identity} {generator.workshop.precision}", generator.start)
        for name, generator in generators.items()
    )


def _say(name: str) -> Any:
    """Tells of scenes done and time left."""

    def say(done: int, total: int, left: float | None) -> None:
        rest = "" if left is None or done == total else f", {left / 60.0:.1f} min left"
        typer.echo(f"{name}: {done} of {total} scenes{rest}", err=True)

    return say


def _print(results: list[dict[str, Any]], mode: str, steps: int, json_: bool) -> None:
    if json_:
        lines = {result["measure"]: [line.as_json() for line in result["lines"]] for result in results}
        print_json({"steps": steps, "settings": {r["measure"]: r["setting"] for r in results}, "lines": lines})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{steps} step(s); each score stands between its floor and its ceiling")
    for name in ("measure", "mode", "floor", "value", "ceiling", "goal", "reached"):
        table.add_column(name, justify="left" if name in ("measure", "mode") else "right")
    for result in results:
        for line in result["lines"]:
            cells = ["" if n is None else f"{n:.4g}{line.unit}" for n in (line.floor, line.value, line.ceiling)]
            reached = {None: "", True: "yes", False: "no"}[line.reached]
            table.add_row(line.what, line.studio, *cells, line.goal, reached)
        table.add_section()
    Console().print(table)
