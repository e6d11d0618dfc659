"""`elsewhere generate`: a sentence becomes a film."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.files import write_whole
from elsewhere.cli.films import animate
from elsewhere.cli.report import interruptible, note, print_json, user_errors, warn_unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from elsewhere.live import Frame, Options
    from elsewhere.live.plan import Plan


def generate(
    prompt: Annotated[str, typer.Argument(help="What to see, in a sentence.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="mp4, webm, gif or png (numbered pictures).")] = Path(
        "elsewhere.mp4"
    ),
    seconds: Annotated[
        float | None, typer.Option(help="Length of the film; without it that of shots, moves or path, else 4.")
    ] = None,
    fps: Annotated[int, typer.Option(help="Frames a second of the world's time.")] = 24,
    size: Annotated[
        str | None, typer.Option(help="128 (if not given) or 192x128; multiples of 16 from 64 to 512.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another take.")] = 0,
    mode: Annotated[str, typer.Option(help="grounded, dream (no guide) or calculated (no network).")] = "grounded",
    camera: Annotated[
        str | None,
        typer.Option(help="How to look ('from above', 'orbiting'), or moves: 'dolly in 2s, orbit left'."),
    ] = None,
    camera_path: Annotated[
        Path | None, typer.Option(help="Cameras from a file: matrices (json, npz, txt) or moves in words (txt).")
    ] = None,
    save_camera: Annotated[Path | None, typer.Option(help="Write the film's cameras (json, npz, txt).")] = None,
    shot: Annotated[
        list[str] | None, typer.Option(help="One shot, again for more: '3s: close-up of the red ship, orbit left'.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="What happens, again for more: '2s: it starts to rain', '3s: add a whale'; or a json file."),
    ] = None,
    rewrite: Annotated[
        bool, typer.Option(help="Write the prompt out in detail first, and say what was written.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Network evaluations for each frame.")] = 1,
    strength: Annotated[float, typer.Option(help="How much of the guide is given: 0 (a dream) to 1.")] = 1.0,
    ground: Annotated[str, typer.Option(help="full, depth (shapes alone) or layout (what stands where).")] = "full",
    guidance: Annotated[float, typer.Option(help="How strictly words are followed: 1 to 4.")] = 1.0,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet (png or jpg).")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture that the film begins with.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Generate a film of PROMPT.

    elsewhere generate "a red ship in coffee" --camera "dolly in 2s, orbit left 3s"

    elsewhere generate "two ships at sea" --shot "2s: wide shot" --shot "close-up of the second ship"

    elsewhere generate "a red ball on a lake" --event "1s: it starts to rain" --event "2s: push the ball left"

    elsewhere generate "a red sailboat on the open sea" --mode dream --steps 4 --guidance 2

    elsewhere generate "a red sailboat on the open sea" --strength 0.5

    elsewhere generate "a ship at sea" --image ship.png
    """
    if image is not None:
        others = {
            "--shot": shot, "--event": event, "--camera-path": camera_path, "--rewrite": rewrite,
            "--save-camera": save_camera, "--strength": strength != 1.0, "--ground": ground != "full",
            "--guidance": guidance != 1.0, "--steps": steps != 1,
        }  # fmt: skip
        animate(image, prompt, output, sheet, json_, mode, others, seconds, fps, size, seed, camera)
        return
    start = time.perf_counter()
    with user_errors():
        from elsewhere.live.film import frame_count
        from elsewhere.live.options import Options, read_size
        from elsewhere.live.plan import plan_film
        from elsewhere.live.writer import check_output
        from elsewhere.scene.path_files import check_path_output

        check_output(output)
        if sheet is not None:
            check_output(sheet, (".png", ".jpg"))
        if save_camera is not None:
            check_path_output(save_camera)
        width, height = read_size(size or "128")
        options = Options(
            mode=mode, width=width, height=height, fps=fps, seed=seed, steps=steps,
            strength=strength, ground=ground, guidance=guidance,
        )  # fmt: skip
        plan = plan_film(
            prompt, seed=seed, seconds=seconds, fps=fps, camera=camera, shots=shot or (), events=event or (),
            camera_path=camera_path, rewritten=rewrite,
        )  # fmt: skip
        count = frame_count(plan.seconds, fps)
    warn_unknown(plan.unknown)
    for line in plan.notes if shot or event or camera_path or rewrite else ():
        note(line)
    if rewrite and not json_:
        typer.echo(f"{prompt}\n→ {plan.scene.prompt}")
    with interruptible("Stopped. Nothing was written.") as check:
        report = _film(plan, options, count, output, sheet, save_camera, check, quiet=json_)
    report["seconds_in_all"] = round(time.perf_counter() - start, 2)
    if json_:
        print_json(report)
    else:
        files = report["files"]
        named = files[0] if len(files) == 1 else f"{files[0]} … {files[-1]}"
        typer.echo(f"{named}: {count} frames at {report['frames_per_second']:.1f} frames a second")


def _film(
    plan: Plan,
    options: Options,
    count: int,
    output: Path,
    sheet: Path | None,
    save_camera: Path | None,
    check: Callable[[], None],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from elsewhere.live.film import film_frames
    from elsewhere.live.origin import Origin, write_origin
    from elsewhere.live.sheet import contact_sheet, spread
    from elsewhere.live.writer import OutputError, Writer, write_picture
    from elsewhere.model.weights import WeightsError

    chosen = set(spread(count, 16)) if sheet is not None else set()
    kept, timings, shown, cameras = [], [], [], []
    # A film of several takes cannot be played again from its scene alone.
    comment = None if plan.takes else write_origin(Origin(scene=plan.scene, options=options, frames=count))
    with (
        user_errors((OutputError, WeightsError)),
        _progress(count, quiet) as advance,
        Writer(output, fps=options.fps, comment=comment) as writer,
    ):
        for frame in film_frames(plan.scene, options, count, plan.takes):
            check()
            writer.add(frame.rgb)
            advance(frame)
            timings.append(frame.timings)
            cameras.append((frame.tick, frame.c2w, frame.focal))
            shown.append(time.perf_counter())
            if frame.frame_id in chosen:
                kept.append(frame.rgb)
    files = list(writer.written)
    if sheet is not None:
        with user_errors((OutputError,)):
            files.append(write_picture(contact_sheet(kept), sheet))
    if save_camera is not None:
        from elsewhere.live.plan import camera_path_of
        from elsewhere.scene.path_files import path_bytes

        ticks, poses, focals = zip(*cameras, strict=True)
        path = camera_path_of(plan.scene, ticks, poses, focals, options.height)
        with user_errors((OSError,)):
            write_whole(save_camera, path_bytes(path, save_camera.suffix.lower()))
        files.append(save_camera)
    running = shown[-1] - shown[0]
    return {
        "files": [str(path) for path in files],
        "prompt": plan.scene.prompt,
        "mode": options.mode,
        "strength": options.strength,
        "ground": options.ground,
        "guidance": options.guidance,
        "seed": options.seed,
        "width": options.width,
        "height": options.height,
        "frames": count,
        "frames_per_second": round((count - 1) / running, 2) if running > 0 else 0.0,
        "milliseconds": {name: round(sum(t[name] for t in timings[1:]) / max(1, count - 1), 2) for name in timings[0]},
        "unknown": [{"word": word, "nearest": nearest} for word, nearest in plan.unknown],
        "notes": list(plan.notes),
        "shots": [
            {"begin": take.begin, "seconds": take.seconds, "words": take.words, "subject": list(take.subject)}
            for take in plan.takes
            if take.words
        ],
        "events": [
            {"time": round(event.tick / 240, 4), "action": event.action, "arguments": event.arguments}
            for event in plan.scene.events
        ],
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
