"""`elsewhere record` and `elsewhere replay`: the frames of a world in a file, and out of it again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from elsewhere.cli.report import print_json, user_errors


def record(
    prompt: Annotated[str, typer.Argument(help="The world to record.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new file.")] = Path("world.elsrec"),
    seconds: Annotated[float, typer.Option(help="Of the world's time.")] = 10.0,
    fps: Annotated[int, typer.Option(help="Frames a second.")] = 24,
    size: Annotated[str, typer.Option(help="128 or 192x128; multiples of 16 from 64 to 512.")] = "128",
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
    mode: Annotated[str, typer.Option(help="grounded, dream (no guide) or calculated (no network).")] = "grounded",
    codec: Annotated[str, typer.Option(help="h264, vp8 or jpeg.")] = "h264",
    json_: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Record a world as a server would stream it: colour, depth and every pose.

    elsewhere record "a lighthouse on the open sea in a storm" -o storm.elsrec --seconds 20
    """
    with user_errors():
        from elsewhere.live.film import frame_count, read_prompt
        from elsewhere.live.options import Options, read_size
        from elsewhere.server.recording import record_world
        from elsewhere.server.schema import CODECS

        if codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}; got {codec!r}")
        width, height = read_size(size)
        options = Options(mode=mode, width=width, height=height, fps=fps, seed=seed)
        scene, count = read_prompt(prompt, seed).scene, frame_count(seconds, fps)
        if output.exists():
            raise ValueError(f"output must be a new file; {output} is there already")
        with typer.progressbar(length=count, label="Recording", hidden=json_) as bar:
            record_world(scene, options, output, count, codec=codec, progress=lambda: bar.update(1))
    size_bytes = output.stat().st_size
    if json_:
        print_json({"output": str(output), "frames": count, "bytes": size_bytes, "codec": codec})
    else:
        typer.echo(f"{output}: {count} frames, {size_bytes / 1e6:.2f} MB. Look at it: elsewhere replay {output}")


def replay(
    file: Annotated[Path, typer.Argument(help="A recording.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    json_: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Show a recording in the page, again and again, with its depth: one may lean and look around in it.

    elsewhere replay storm.elsrec --port 8001
    """
    with user_errors():
        from elsewhere.live.options import Options
        from elsewhere.server.replay import inspect
        from elsewhere.server.run import address_of, bind

        if not file.is_file():
            raise ValueError(f"file must be a recording; {file} is no file")
        tape = inspect(file)
        listener = bind(host, port)
    from elsewhere.server import create_app
    from elsewhere.server.gate import LOCAL_HOSTS
    from elsewhere.server.run import serve as run

    address = address_of(listener)
    if json_:
        print_json({"address": address, "recording": str(file), **dataclasses.asdict(tape)})
    else:
        typer.echo(f"{file.name}, {tape.seconds:.1f} s of {tape.codec}: {address}   (Ctrl-C ends it)")
    options = Options(mode="calculated", width=tape.width, height=tape.height)
    run(create_app(file.stem, options, local_only=host in LOCAL_HOSTS, recording=file), listener)
