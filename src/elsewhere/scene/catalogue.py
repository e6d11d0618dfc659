"""Everything a world can hold: kinds of things, surfaces, places and what things can do.

Fixed kinds (house, island, …) have their origin at the ground or water line instead of the centre of mass: they are
placed at y = 0 and may go on below it.
"""

from __future__ import annotations

from elsewhere.scene.environments import ENVIRONMENTS
from elsewhere.scene.kinds import Kind
from elsewhere.scene.shapes.buildings import BUILDINGS
from elsewhere.scene.shapes.kitchen import KITCHEN
from elsewhere.scene.shapes.nature import NATURE
from elsewhere.scene.shapes.ships import SHIPS
from elsewhere.scene.shapes.toys import TOYS
from elsewhere.scene.surfaces import COLORS, MATERIALS

__all__ = ["COLORS", "ENVIRONMENTS", "KINDS", "MATERIALS", "SECOND_SLOTS", "VERBS"]

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*SHIPS, *TOYS, *NATURE, *BUILDINGS, *KITCHEN)}
"""Kinds of things by name."""

SECOND_SLOTS: dict[str, str] = {
    "ball": "white paint", "buoy": "white paint", "flag": "white paint", "house": "roof tile", "iceberg": "snow",
    "lighthouse": "white paint", "mushroom": "white paint", "penguin": "white paint", "sailboat": "red paint",
    "teapot": "gold", "whale": "belly skin",
}  # fmt: skip
"""The part that a second colour paints, by kind."""

VERBS: dict[str, str] = {
    "sail": "moves ahead through the water, bow first, and steers",
    "battle": "sails broadside about its target, which does the same",
    "circle": "goes round its target or the middle of the world",
    "drift": "is carried by wind and water",
    "bounce": "is dropped and comes up again",
    "roll": "rolls along the ground",
    "fall": "falls from above",
    "sink": "takes in water and goes down",
    "wave": "lets its cloth fly in the wind",
    "rest": "stays where it is",
    "spin": "turns about its own upright axis",
}
"""What a thing can do, by verb."""
