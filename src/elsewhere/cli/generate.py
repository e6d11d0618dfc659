"""`elsewhere generate`: a sentence becomes a film."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.report import interruptible, print_json, user_errors, warn_unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from elsewhere.live import Frame, Options
    from elsewhere.scene import Parsed


def generate(
    prompt: Annotated[str, typer.Argument(help="What to see, in a sentence.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="mp4, webm, gif or png (numbered pictures).")] = Path(
        "elsewhere.mp4"
    ),
    seconds: Annotated[float, typer.Option(help="Length of the film.")] = 4.0,
    fps: Annotated[int, typer.Option(help="Frames a second of the world's time.")] = 24,
    size: Annotated[str, typer.Option(help="128 or 192x128; multiples of 16 from 64 to 512.")] = "128",
    seed: Annotated[int, typer.Option(help="Another seed, another take.")] = 0,
    mode: Annotated[str, typer.Option(help="grounded, dream (no guide) or calculated (no network).")] = "grounded",
    camera: Annotated[str | None, typer.Option(help="How to look: 'from above', 'close-up', 'orbiting' …")] = None,
    steps: Annotated[int, typer.Option(help="Network evaluations for each frame.")] = 1,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet (png or jpg).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Generate a film of PROMPT."""
    start = time.perf_counter()
    with user_errors():
        from elsewhere.live.film import frame_count, read_prompt
        from elsewhere.live.options import Options, read_size
        from elsewhere.live.writer import check_output

        check_output(output)
        if sheet is not None:
            check_output(sheet, (".png", ".jpg"))
        width, height = read_size(size)
        options = Options(mode=mode, width=width, height=height, fps=fps, seed=seed, steps=steps)
        count = frame_count(seconds, fps)
        parsed = read_prompt(prompt, seed, camera)
    warn_unknown(tuple(parsed.unknown))
    with interruptible("Stopped. Nothing was written.") as check:
        report = _film(parsed, options, count, output, sheet, check, quiet=json_)
    report["seconds_in_all"] = round(time.perf_counter() - start, 2)
    if json_:
        print_json(report)
    else:
        files = report["files"]
        named = files[0] if len(files) == 1 else f"{files[0]} … {files[-1]}"
        typer.echo(f"{named}: {count} frames at {report['frames_per_second']:.1f} frames a second")


def _film(
    parsed: Parsed,
    options: Options,
    count: int,
    output: Path,
    sheet: Path | None,
    check: Callable[[], None],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from elsewhere.live.film import film_frames
    from elsewhere.live.sheet import contact_sheet, spread
    from elsewhere.live.writer import OutputError, Writer, write_picture
    from elsewhere.model.weights import WeightsError

    chosen = set(spread(count, 16)) if sheet is not None else set()
    kept, timings, shown = [], [], []
    with (
        user_errors((OutputError, WeightsError)),
        _progress(count, quiet) as advance,
        Writer(output, fps=options.fps) as writer,
    ):
        for frame in film_frames(parsed.scene, options, count):
            check()
            writer.add(frame.rgb)
            advance(frame)
            timings.append(frame.timings)
            shown.append(time.perf_counter())
            if frame.frame_id in chosen:
                kept.append(frame.rgb)
    files = list(writer.written)
    if sheet is not None:
        with user_errors((OutputError,)):
            files.append(write_picture(contact_sheet(kept), sheet))
    running = shown[-1] - shown[0]
    return {
        "files": [str(path) for path in files],
        "prompt": parsed.scene.prompt,
        "mode": options.mode,
        "seed": options.seed,
        "width": options.width,
        "height": options.height,
        "frames": count,
        "frames_per_second": round((count - 1) / running, 2) if running > 0 else 0.0,
        "milliseconds": {name: round(sum(t[name] for t in timings[1:]) / max(1, count - 1), 2) for name in timings[0]},
        "unknown": [{"word": word, "nearest": nearest} for word, nearest in parsed.unknown],
    }


@contextmanager
def _progress(count: int, quiet: bool) -> Iterator[Callable[[Frame], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:5.1f} frames/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("waking the world", total=count, rate=0.0)
        started: list[float] = []

        def advance(frame: Frame) -> None:
            started.append(time.perf_counter()) if not started else None
            elapsed = time.perf_counter() - started[0]
            rate = frame.frame_id / elapsed if elapsed > 0 else 0.0
            progress.update(task, completed=frame.frame_id + 1, rate=rate, description="generating")

        yield advance
