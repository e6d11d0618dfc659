"""Calculated reality: rigid bodies, water and cloth, advanced in ticks.

Importing this is cheap: the solvers, which need Numba and MuJoCo, load with the first `World`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elsewhere.physics.state import State, Swell
from elsewhere.physics.tick import TICK

if TYPE_CHECKING:
    from elsewhere.physics.world import Coupling, World

__all__ = ["TICK", "Coupling", "State", "Swell", "World"]

_LATER = ("Coupling", "World")


def __getattr__(name: str) -> object:
    if name in _LATER:
        from elsewhere.physics import world

        return getattr(world, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
