"""Opens the door: binds an address, says where it is, serves until Ctrl-C."""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

MESSAGE_BYTES_MOST = 256 * 1024
"""More than this in one message closes the connection; less, and the answer says what was too long."""

PING_SECONDS = 2.5
"""A socket whose other end is gone without a word is closed after twice this."""


class AddressError(OSError):
    """An address that cannot be served at; the message says what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port` (0: any free one). AddressError tells why not."""
    if not 0 <= port <= 65535:
        raise AddressError(f"port must be from 0 to 65535; got {port}. 0 takes a free one")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(f"host {host!r} is no address of this machine ({error.strerror}). Try 127.0.0.1") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AddressError(_explain(host, port, error)) from None
    return listener


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address to open in a browser."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def configuration(app: Starlette, certificate: tuple[Path, Path] | None = None) -> uvicorn.Config:
    """How `app` is served; `certificate` is a chain and its key, for https."""
    chain, key = certificate or (None, None)
    return uvicorn.Config(
        app,
        log_level="warning",
        ws_max_size=MESSAGE_BYTES_MOST,
        ws_max_queue=8,
        ws_per_message_deflate=False,  # pictures are compressed already
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        timeout_graceful_shutdown=2,
        ssl_certfile=chain,
        ssl_keyfile=key,
    )


def share_the_interpreter() -> None:
    """Lets the event loop's thread in within half a millisecond, where a world's thread is at work."""
    sys.setswitchinterval(0.5e-3)


def serve(app: Starlette, listener: socket.socket, certificate: tuple[Path, Path] | None = None) -> None:
    """Serves `app` until a signal ends it."""
    share_the_interpreter()
    uvicorn.Server(configuration(app, certificate)).run(sockets=[listener])


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken, perhaps by another elsewhere. Choose another: --port {port + 1}, or --port 0"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than you have. Choose one above 1023, such as --port 8000"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host {host!r} is not an address of this machine. Try 127.0.0.1"
    return f"could not listen at {host}:{port} ({error.strerror})"
