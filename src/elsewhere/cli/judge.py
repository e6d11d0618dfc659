"""`elsewhere judge`: how far pictures are from calculated reality, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.files import check_path, write_whole
from elsewhere.cli.report import interruptible, print_json, user_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elsewhere.judge import Bench, Measure, Studio

SCENES = "How many scenes that training never saw."

Scenes = Annotated[int | None, typer.Option(min=2, max=1000, help=SCENES)]
Mode = Annotated[str, typer.Option(help="grounded, dream, or both.")]
Size = Annotated[int, typer.Option(help="Side of the pictures in pixels, a multiple of 16.")]
Samples = Annotated[int | None, typer.Option(min=2, max=4096, help="Paths per pixel of a reference, both halves.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the prompts and their worlds.")]
Steps = Annotated[int, typer.Option(help="Network evaluations for each frame: 1, 2, 4 or 8.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of weights; the shipped ones by default.")]
Kept = Annotated[Path | None, typer.Option("--cache", help="Folder for references and rows that are made once.")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
Small = Annotated[bool, typer.Option("--small", help="Few scenes: a minute or two once references are there.")]

app = typer.Typer(help="Measure generated pictures against calculated reality.", no_args_is_help=True)


@app.command("reference")
def reference(
    mode: Mode = "grounded",
    scenes: Annotated[int | None, typer.Option("--scenes", "--prompts", min=2, max=1000, help=SCENES)] = None,
    long: Annotated[int | None, typer.Option(min=0, help="How many of them are played on, for drift.")] = None,
    to: Annotated[int, typer.Option(min=17, max=100_000, help="The frame to which they are played.")] = 1000,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    sheet: Annotated[Path | None, typer.Option(help="A picture (.png) of all scenes: made, plain, reference.")] = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Compare generated pictures with path-traced references of the same states.

    Each score stands between its floor, the plainly lit guide (what `--mode calculated` shows), and what a perfect film
    would score against references that have some noise.

    Example: elsewhere judge reference --scenes 10 --sheet judged.png
    """
    from elsewhere.judge.reference import Reference, details

    measure = Reference(long=(0 if small else 7) if long is None else long, late=to)
    with user_errors():
        if sheet:
            check_path(sheet, ".png")
    own = {"reference": measure}
    results, bench = _run(["reference"], small, mode, scenes, size, samples, seed, steps, weights, cache, own)
    if sheet:
        with user_errors():
            _save_sheet([measure.strip(bench, scene) for scene in measure.scenes(bench)], sheet)
    more = details(results[0]["rows"], [studio.name for studio in bench.studios], to)
    _print(results, steps, json_, more)


@app.command("frechet")
def frechet(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
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
    _print(_run(["frechet"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("actions")
def actions(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
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
    _print(_run(["actions"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("text")
def text(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Whether films show what was said, as a small reader of our own sees it, beside its own accuracy.

    Example: elsewhere judge text --small
    """
    _print(_run(["text"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("permanence")
def permanence(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Whether things are still in their places after five seconds of looking away.

    Example: elsewhere judge permanence --small
    """
    _print(_run(["permanence"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("heading")
def heading(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Where a ship's bow points in ten seconds of film, against where the simulator says.

    Example: elsewhere judge heading --small
    """
    _print(_run(["heading"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("loop")
def loop(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Whether the camera finds what it left: the world stands still, the camera goes and returns.

    Example: elsewhere judge loop --small
    """
    _print(_run(["loop"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("flicker")
def flicker(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """What changes between pictures that exact motion does not explain, over the reference's own.

    Example: elsewhere judge flicker --small
    """
    _print(_run(["flicker"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("control")
def control(
    mode: Mode = "both",
    scenes: Scenes = None,
    size: Size = 128,
    samples: Samples = None,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Pose, masks and depth that pictures show, against those that are calculated.

    Example: elsewhere judge control --small
    """
    _print(_run(["control"], small, mode, scenes, size, samples, seed, steps, weights, cache)[0], steps, json_)


@app.command("all")
def all_(
    mode: Mode = "both",
    size: Size = 128,
    seed: Seed = 2026,
    steps: Steps = 1,
    weights: Weights = None,
    cache: Kept = None,
    small: Small = False,
    json_: Json = False,
) -> None:
    """Run every measure and print one table: what has a goal, its floor, its ceiling, and whether it is reached.

    Cut off, the same command goes on from there. Speed is measured elsewhere: elsewhere bench live.

    Example: elsewhere judge all --small --json > judged.json
    """
    from elsewhere.judge.every import EVERY

    _print(_run(list(EVERY), small, mode, None, size, None, seed, steps, weights, cache)[0], steps, json_)


def _run(
    names: Sequence[str],
    small: bool,
    mode: str,
    scenes: int | None,
    size: int,
    samples: int | None,
    seed: int,
    steps: int,
    weights: Path | None,
    cache: Path | None,
    own: Mapping[str, Measure] | None = None,
) -> tuple[list[dict[str, Any]], Bench]:
    """Results of measures, one after the other, and the last one's bench; `own` are set otherwise than they come."""
    with user_errors(), interruptible("Stopped; the same command goes on from there."):
        from elsewhere.compiler.directories import default_directory
        from elsewhere.judge import Bench, Library, run
        from elsewhere.judge.every import EVERY

        _check_size(size)
        studios = open_studios(mode, steps, weights)
        library = Library(cache or default_directory() / "judge")
        results = []
        for number, name in enumerate(names):
            setting = EVERY[name]
            measure = (own or {}).get(name) or setting.open(small)
            bench = Bench(
                studios=studios,
                library=library,
                scenes=scenes or (setting.few if small else setting.many),
                size=size,
                samples=samples or setting.samples,
                seed=seed,
            )
            place = f"{number + 1}/{len(names)} {name}" if len(names) > 1 else name
            results.append(run(measure, bench, _say(place)))
    return results, bench


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
    generators = {name: Generator.load(name, steps=steps, directory=weights) for name in names}
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
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


def _save_sheet(strips: list[Any], path: Path) -> None:
    """For every eight scenes a row of each: made, plain, reference."""
    import io

    import numpy as np
    from PIL import Image

    columns = [np.concatenate(list(strip), axis=0) for strip in strips]
    blank = np.zeros_like(columns[0])
    rows = [columns[at : at + 8] for at in range(0, len(columns), 8)]
    rows[-1] = rows[-1] + [blank] * (min(8, len(columns)) - len(rows[-1]))
    image = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    held = io.BytesIO()
    Image.fromarray(np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)).save(held, "PNG")
    write_whole(path, held.getvalue())


def _print(results: list[dict[str, Any]], steps: int, json_: bool, more: dict[str, Any] | None = None) -> None:
    if json_:
        lines = {result["measure"]: [line.as_json() for line in result["lines"]] for result in results}
        settings = {r["measure"]: r["setting"] for r in results}
        report = {"steps": steps, "settings": settings, "goals": _goals(results), "lines": lines}
        print_json(report | ({"details": more} if more else {}))
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
    console = Console()
    console.print(table)
    goals = _goals(results)
    if goals["of"]:
        console.print(f"{goals['reached']} of {goals['of']} goals reached")


def _goals(results: list[dict[str, Any]]) -> dict[str, int]:
    """How many lines have a goal, and how many of them reach it."""
    with_goal = [line for result in results for line in result["lines"] if line.reached is not None]
    return {"reached": sum(bool(line.reached) for line in with_goal), "of": len(with_goal)}
