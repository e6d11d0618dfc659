"""Elsewhere: type a sentence, be elsewhere.

Importing this package costs nothing: what needs numerics is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsewhere.live.film import Film, generate
    from elsewhere.live.verbs import Work, animate, connect, edit, extend, loop, still

__all__ = [
    "Film",
    "Work",
    "__version__",
    "animate",
    "connect",
    "edit",
    "extend",
    "generate",
    "loop",
    "still",
]
__version__ = "0.1.0"

_LAZY = dict.fromkeys(("Film", "generate"), "elsewhere.live.film") | dict.fromkeys(
    ("Work", "animate", "connect", "edit", "extend", "loop", "still"), "elsewhere.live.verbs"
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
