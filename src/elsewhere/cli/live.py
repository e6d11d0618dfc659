"""`elsewhere bench live`: where the time of a live frame goes, in milliseconds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from elsewhere.cli.report import print_json, user_errors


def bench_live(
    prompt: Annotated[str, typer.Argument(help="The world to show.")] = "a red rubber duck drifting in a bathtub",
    seconds: Annotated[float, typer.Option(help="How long each part is measured.")] = 10.0,
    size: Annotated[str, typer.Option(help="128 or 192x128.")] = "128",
    fps: Annotated[int, typer.Option(help="Frames a second.")] = 24,
    mode: Annotated[str, typer.Option(help="grounded, dream or calculated.")] = "calculated",
    codec: Annotated[str, typer.Option(help="h264, vp8 or jpeg.")] = "h264",
    json_: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure a world on loop-back: frame ready to socket, and to the canvas of a real browser.

    elsewhere bench live --codec jpeg --json
    """
    with user_errors():
        from elsewhere.live.options import Options, read_size
        from elsewhere.server.measure import measure_live
        from elsewhere.server.schema import CODECS

        if codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}; got {codec!r}")
        width, height = read_size(size)
        options = Options(mode=mode, width=width, height=height, fps=fps)
        found = measure_live(prompt, options, seconds=seconds, codec=codec)
    if json_:
        print_json(found)
        return
    _show("ready to bytes on the socket", found["socket"]["ready_to_socket_ms"])
    canvas = found["canvas"]
    if canvas is None:
        typer.echo(f"ready to canvas: not measured, {found['canvas_missing']}")
        return
    _show("ready to canvas", canvas["ready_to_canvas_ms"])
    for name, row in canvas["stages_ms"].items():
        _show(f"  {name}", row)


def _show(name: str, row: dict[str, Any]) -> None:
    typer.echo(f"{name:32}" + "  ".join(f"{rank} {value:8.2f} ms" for rank, value in row.items()))
