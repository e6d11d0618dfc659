"""Verbs on pictures and clips: still, extend, loop, edit, connect, and `generate --image`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.report import interruptible, note, print_json, user_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elsewhere.live.reel import Progress
    from elsewhere.live.verbs import Work

FILM = "mp4, webm, gif or png (numbered pictures)."
Output = Annotated[Path, typer.Option("--output", "-o", help=FILM)]
Sheet = Annotated[Path | None, typer.Option(help="Also write a contact sheet (png or jpg).")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
Seed = Annotated[int, typer.Option(help="Another seed, another take.")]
Camera = Annotated[str | None, typer.Option(help="How to look: 'from above', 'close-up', 'orbiting' …")]


def still(
    prompt: Annotated[str, typer.Argument(help="What to see, in a sentence.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="png or jpg.")] = Path("elsewhere.png"),
    size: Annotated[str, typer.Option(help="256 or 320x192; multiples of 16 from 64 to 512.")] = "256",
    seed: Seed = 0,
    at: Annotated[float, typer.Option(help="Seconds after the world begins.")] = 0.0,
    mode: Annotated[str, typer.Option(help="grounded, dream (no guide) or calculated (no network).")] = "grounded",
    camera: Camera = None,
    steps: Annotated[int, typer.Option(help="Network evaluations.")] = 4,
    json_: Json = False,
) -> None:
    """Make one picture of PROMPT, of any size and shape.

    elsewhere still "a pirate ship on a stormy sea" --size 320x192 -o ship.png
    """
    with _checker(output, (".png", ".jpg"), None):
        from elsewhere.live.verbs.stills import still as make

        def work(progress: Progress) -> Work:
            return make(prompt, size=size, seed=seed, at=at, mode=mode, camera=camera, steps=steps, progress=progress)

    perform("still", work, output, None, json_)


def extend(
    clip: Annotated[Path, typer.Argument(help="mp4, webm, gif … of at most a minute.")],
    forward: Annotated[float, typer.Option(help="Seconds after its end.")] = 0.0,
    backward: Annotated[float, typer.Option(help="Seconds before its beginning.")] = 0.0,
    prompt: Annotated[str | None, typer.Option(help="What world goes on, for clips not made here.")] = None,
    output: Output = Path("extended.mp4"),
    seed: Seed = 0,
    sheet: Sheet = None,
    json_: Json = False,
) -> None:
    """Go on with CLIP after its end, or before its beginning.

    A film that was made here is played again from its seed: what comes is what would have come.

    elsewhere extend film.mp4 --forward 4 -o longer.mp4

    elsewhere extend holiday.mp4 --backward 2 --prompt "a sailboat on a lake"
    """
    with _checker(output, None, sheet):
        from elsewhere.live.verbs.extension import extend as make

        def work(progress: Progress) -> Work:
            return make(clip, forward=forward, backward=backward, prompt=prompt, seed=seed, progress=progress)

    perform("extend", work, output, sheet, json_)


def loop(
    source: Annotated[str, typer.Argument(help="A clip, or what to see, in a sentence.", metavar="CLIP|PROMPT")],
    output: Output = Path("loop.mp4"),
    seconds: Annotated[float, typer.Option(help="Length of a prompt's loop.")] = 4.0,
    fps: Annotated[int, typer.Option(help="Frames a second of a prompt's loop.")] = 24,
    size: Annotated[str, typer.Option(help="Size of a prompt's loop: 128 or 192x128.")] = "128",
    seed: Seed = 0,
    camera: Camera = None,
    sheet: Sheet = None,
    json_: Json = False,
) -> None:
    """Make a film that goes on for ever: a prompt's world with periodic waves, or a clip.

    elsewhere loop "two pirate ships battling in a cup of coffee" -o loop.gif

    elsewhere loop film.mp4 -o loop.mp4
    """
    with _checker(output, None, sheet):
        from elsewhere.live.verbs.looping import loop as make

        given = {"source": source} if is_file(source) else {"prompt": source}

        def work(progress: Progress) -> Work:
            return make(**given, seconds=seconds, fps=fps, size=size, seed=seed, camera=camera, progress=progress)  # type: ignore[arg-type]

    perform("loop", work, output, sheet, json_)


def edit(
    clip: Annotated[Path, typer.Argument(help="mp4, webm, gif … of at most a minute.")],
    prompt: Annotated[str, typer.Argument(help="What it shall show; or what of it shall change: 'at night'.")],
    strength: Annotated[float, typer.Option(help="0 as it was … 1 all new.")] = 0.6,
    output: Output = Path("edited.mp4"),
    seed: Annotated[int | None, typer.Option(help="For clips not made here; others keep theirs.")] = None,
    sheet: Sheet = None,
    json_: Json = False,
) -> None:
    """Make CLIP again under other words.

    elsewhere edit film.mp4 "at sunset, stormy" --strength 0.7 -o evening.mp4
    """
    with _checker(output, None, sheet):
        from elsewhere.live.verbs.editing import edit as make

        def work(progress: Progress) -> Work:
            return make(clip, prompt, strength=strength, seed=seed, progress=progress)

    perform("edit", work, output, sheet, json_)


def connect(
    first: Annotated[Path, typer.Argument(help="The clip that comes first.")],
    second: Annotated[Path, typer.Argument(help="The clip that comes after it.")],
    seconds: Annotated[float, typer.Option(help="Length of the passage between them.")] = 2.0,
    output: Output = Path("connected.mp4"),
    seed: Seed = 0,
    sheet: Sheet = None,
    json_: Json = False,
) -> None:
    """Join FIRST and SECOND by a passage in which one becomes the other.

    elsewhere connect noon.mp4 sunset.mp4 --seconds 2 -o day.mp4
    """
    with _checker(output, None, sheet):
        from elsewhere.live.verbs.connection import connect as make

        def work(progress: Progress) -> Work:
            return make(first, second, seconds=seconds, seed=seed, progress=progress)

    perform("connect", work, output, sheet, json_)


def animate(
    image: Path,
    prompt: str,
    output: Path,
    sheet: Path | None,
    json_: bool,
    mode: str,
    others: Mapping[str, object],
    seconds: float | None,
    fps: int,
    size: str | None,
    seed: int,
    camera: str | None,
) -> None:
    """`generate --image`. `others` are options that a film which begins with a picture does not have, by name."""
    with _checker(output, None, sheet):
        from elsewhere.live.plan import USUAL_SECONDS
        from elsewhere.live.verbs.animation import animate as make

        if mode != "grounded":
            raise ValueError(f"mode must be grounded for a film that begins with a picture; got {mode!r}")
        for name, value in others.items():
            if value:
                raise ValueError(f"{name} cannot be given with --image. Leave one of them out")
        length = USUAL_SECONDS if seconds is None else seconds

        def work(progress: Progress) -> Work:
            return make(image, prompt, seconds=length, fps=fps, size=size, seed=seed, camera=camera, progress=progress)

    perform("generate", work, output, sheet, json_)


def is_file(text: str) -> bool:
    """Whether `text` names a file: one that is there, or that looks like a film's name."""
    from elsewhere.live.writer import FORMATS

    try:
        return Path(text).is_file() or (" " not in text.strip() and Path(text).suffix.lower() in (*FORMATS, ".mov"))
    except (OSError, ValueError):
        return False


@contextmanager
def _checker(output: Path, kinds: tuple[str, ...] | None, sheet: Path | None) -> Iterator[None]:
    """The user's mistakes in names of files, before any work."""
    with user_errors():
        from elsewhere.live.writer import FORMATS, check_output

        check_output(output, kinds or FORMATS)
        if sheet is not None:
            check_output(sheet, (".png", ".jpg"))
        yield


def perform(verb: str, work: Callable[[Progress], Work], output: Path, sheet: Path | None, json_: bool) -> None:
    """Does what a verb does, shows how far it is, writes the files at the end, and reports."""
    start = time.perf_counter()
    with interruptible("Stopped. Nothing was written.") as check, user_errors(), _progress(check, json_) as progress:
        made = work(progress)
        progress("writing", 0, 1)
        files = made.save(output)
        if sheet is not None:
            from elsewhere.live.sheet import contact_sheet, spread
            from elsewhere.live.writer import write_picture

            files.append(write_picture(contact_sheet([made.frames[i] for i in spread(len(made.frames), 16)]), sheet))
    count, height, width = made.frames.shape[:3]
    report: dict[str, Any] = {
        "verb": verb,
        "files": [str(path) for path in files],
        "frames": count,
        "frames_per_second": made.fps,
        "width": width,
        "height": height,
        "grounded": made.grounded,
        "prompt": made.origin.scene.prompt if made.origin is not None else None,
        "seed": made.origin.options.seed if made.origin is not None else None,
        "notes": list(made.notes),
        "measures": made.measures,
        "seconds_in_all": round(time.perf_counter() - start, 2),
    }
    if json_:
        print_json(report)
        return
    for said in made.notes:
        note(said)
    named = str(files[0]) if len(files) == 1 else f"{files[0]} … {files[-1]}"
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in made.measures.items())
    typer.echo(
        f"{named}: {count} frame{'s' if count > 1 else ''} of {width}x{height}" + (f"; {numbers}" if numbers else "")
    )


@contextmanager
def _progress(check: Callable[[], None], quiet: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True, quiet=quiet), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, count: int) -> None:
            check()
            for name, task in tasks.items():
                if name != what:
                    bars.update(task, visible=False)
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=count)
            bars.update(tasks[what], completed=done, total=count, visible=True)

        yield advance
