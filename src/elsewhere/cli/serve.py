"""`elsewhere serve`: a sentence becomes a world that a browser can enter."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

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
    tls: Annotated[bool, typer.Option("--tls", help="https with a certificate made by this machine.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="/metrics for all, not only this machine.")] = False,
    bars: Annotated[bool, typer.Option("--bars", help="Paint each frame's id as a bar code.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="One JSON line to stderr for all that happens.")] = False,
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
    certificate = None
    if tls:
        with user_errors():
            from elsewhere.server.certificate import own_certificate, own_names

            certificate = own_certificate(state_directory(), own_names(host), datetime.datetime.now(datetime.UTC))
    address = address_of(listener, "https" if tls else "http")
    if logs:
        from elsewhere.server.logs import log_as_json

        log_as_json()
    if json_:
        print_json({"address": address, "prompt": prompt, "mode": mode, "seed": seed, "local_only": local_only})
    else:
        typer.echo(f"Elsewhere is live: {address}   (Ctrl-C ends it)")
        for line in ways_in(address, local_only=local_only, tls=tls):
            typer.echo(line)
    if not local_only:
        typer.echo("Anyone who can reach this address can use it.", err=True)
    app = create_app(prompt, options, local_only=local_only, bars=bars, metrics_for_all=metrics)
    run(app, listener, certificate)


def ways_in(address: str, *, local_only: bool, tls: bool) -> Iterator[str]:
    """Lines that say how a headset gets to `address`."""
    port = urlsplit(address).port
    yield f"A headset on a cable: adb reverse tcp:{port} tcp:{port}, then {'https' if tls else 'http'}://localhost:{port}/"
    if local_only:
        return
    if tls:
        from elsewhere.server.certificate import network_addresses

        for found in network_addresses():
            address = f"https://{found}:{port}/"
            yield f"A headset on this network: {address} (it warns of the certificate, which this machine made itself)"
        yield from _qr(address)
    else:
        yield "A headset on this network can look, but enters VR only with https: add --tls"


def _qr(address: str) -> Iterator[str]:
    try:
        import segno
    except ImportError:
        yield "(As a QR code: pip install 'elsewhere[tls]')"
        return
    import io

    out = io.StringIO()
    segno.make(address, micro=False).terminal(out, compact=True)
    yield out.getvalue()


def state_directory() -> Path:
    """Where this user's certificate is kept."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "elsewhere"
