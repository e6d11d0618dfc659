"""How verbs speak: errors with a way out, reports as JSON or for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
def interruptible(message: str) -> Iterator[None]:
    """Ctrl-C ends the verb with `message` instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{message}", err=True)
        raise typer.Exit(INTERRUPTED) from None


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
