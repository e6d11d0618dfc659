"""Pictures of a state: the per-frame guide and the path-traced reference.

Importing this package is cheap; kernels load with the first `Stage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsewhere.render.stage import Guide, Stage
    from elsewhere.render.tone import to_display

__all__ = ["Guide", "Stage", "to_display"]


def __getattr__(name: str) -> Any:
    if name in ("Guide", "Stage"):
        from elsewhere.render import stage

        return getattr(stage, name)
    if name == "to_display":
        from elsewhere.render.tone import to_display

        return to_display
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
