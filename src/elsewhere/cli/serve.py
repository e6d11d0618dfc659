"""`elsewhere serve`: a sentence becomes a world that a browser can enter."""

from __future__ import annotations

from typing import Annotated

import typer

from elsewhere.cli.report import print_json, user_errors, warn_unknown


def serve(
    prompt: Annotated[str, typer.Argument(help="The world to begin with.")] = (
        "two pirate ships battling each other as they sail inside a cup of coffee"
    ),
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    fps: Annotated[int, typer.Option(help="Frames a second at most.")] = 24,
    size: Annotated[str, typer.Option(help="128 or 192x128; multiples of 16 from 64 to 512.")] = "128",
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
    mode: Annotated[str, typer.Option(help="grounded, dream (no guide) or calculated (no network).")] = "grounded",
    steps: Annotated[int, typer.Option(help="Network evaluations for each frame.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Serve a live world; the page lets its visitor look around and ask for others."""
    with user_errors():
        from elsewhere.server.run import address_of, bind

        listener = bind(host, port)
    with user_errors():
        from elsewhere.live.film import read_prompt
        from elsewhere.live.options import Options, read_size

        width, height = read_size(size)
        options = Options(mode=mode, width=width, height=height, fps=fps, seed=seed, steps=steps)
        parsed = read_prompt(prompt, seed)
    warn_unknown(tuple(parsed.unknown))
    from elsewhere.server import create_app
    from elsewhere.server.gate import LOCAL_HOSTS
    from elsewhere.server.run import serve as run

    local_only = host in LOCAL_HOSTS
    address = address_of(listener)
    if json_:
        print_json({"address": address, "prompt": prompt, "mode": mode, "seed": seed, "local_only": local_only})
    else:
        typer.echo(f"Elsewhere is live: {address}   (Ctrl-C ends it)")
    if not local_only:
        typer.echo("Anyone who can reach this address can use it.", err=True)
    run(create_app(prompt, options, local_only=local_only), listener)
