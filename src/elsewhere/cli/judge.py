"""`elsewhere judge`: how far pictures are from calculated reality, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.report import interruptible, print_json, user_errors

if TYPE_CHECKING:
    from elsewhere.judge import Report

app = typer.Typer(help="Measure generated pictures against calculated reality.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps `judge` a group while it has one verb."""


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
