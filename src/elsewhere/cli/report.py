"""How verbs speak: errors with a way out, reports as JSON or for people."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

USER_MISTAKE = 2
INTERRUPTED = 130


@contextmanager
def user_errors(kinds: tuple[type[Exception], ...] = (ValueError, OSError)) -> Iterator[None]:
    """Errors of `kinds` are the user's: said plainly, status 2."""
    try:
        yield
    except kinds as error:
        complain(str(error))
        raise typer.Exit(USER_MISTAKE) from None


@contextmanager
def interruptible(message: str) -> Iterator[Callable[[], None]]:
    """Ctrl-C ends the verb with `message` instead of a traceback.

    So does an error that comes after it: libraries turn an interruption in the middle of them into errors of their own.
    Others swallow it (what is raised in a callback from native code is lost); a loop that may take long therefore calls
    what this gives, which raises KeyboardInterrupt once Ctrl-C has come.
    """
    asked = False

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    # Elsewhere than in the main thread, or where Ctrl-C means something else already, it stays as it is.
    own = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if own:
        signal.signal(signal.SIGINT, ask)
    try:
        yield check
    except (KeyboardInterrupt, Exception) as error:
        if not (asked or isinstance(error, KeyboardInterrupt)):
            raise
        typer.echo(f"\n{message}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def complain(message: str) -> None:
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def note(message: str) -> None:
    """What is worth knowing, beside a result."""
    typer.secho("note: ", fg="yellow", bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def warn_unknown(unknown: tuple[tuple[str, str], ...]) -> None:
    """Says which words were left out of the world, and what is near them."""
    for word, nearest in unknown:
        note(f"{word!r} is not known and was left out; the nearest known is {nearest!r}")


def print_json(report: Any) -> None:
    json.dump(report, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()
