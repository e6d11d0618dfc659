"""The command line: verbs only. What they do is done elsewhere."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs the verb that the command line names; leaves with its exit status."""
    from elsewhere.cli.app import app

    app(prog_name="elsewhere")
