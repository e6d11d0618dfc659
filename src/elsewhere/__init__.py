"""Elsewhere: type a sentence, be elsewhere.

Importing this package costs nothing: what needs numerics is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsewhere.live.film import Film, generate

__all__ = ["Film", "__version__", "generate"]
__version__ = "0.1.0"

_LAZY = ("Film", "generate")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from elsewhere.live import film as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
