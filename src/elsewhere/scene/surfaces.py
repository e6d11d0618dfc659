"""Surfaces and colours that things are made of. It does not know which thing wears which.

All colours are linear RGB (not sRGB): 0.2 looks like mid grey on a display.
"""

from __future__ import annotations

from elsewhere.scene.description import Vector3
from elsewhere.scene.kinds import Material

COLORS: dict[str, Vector3] = {
    "red": (0.62, 0.022, 0.018),
    "orange": (0.82, 0.21, 0.012),
    "yellow": (0.88, 0.60, 0.022),
    "gold": (0.80, 0.46, 0.09),
    "green": (0.045, 0.33, 0.045),
    "turquoise": (0.03, 0.45, 0.40),
    "blue": (0.025, 0.11, 0.58),
    "sky blue": (0.17, 0.47, 0.80),
    "navy": (0.012, 0.026, 0.12),
    "purple": (0.24, 0.035, 0.42),
    "pink": (0.83, 0.20, 0.36),
    "brown": (0.17, 0.068, 0.026),
    "beige": (0.62, 0.48, 0.31),
    "white": (0.82, 0.81, 0.78),
    "grey": (0.22, 0.22, 0.23),
    "black": (0.013, 0.013, 0.015),
    "silver": (0.60, 0.61, 0.63),
}
"""Named colours, linear RGB 0…1."""


def _surface(
    name: str,
    albedo: Vector3,
    roughness: float,
    density: float,
    *,
    grain: tuple[str, float] = ("plain", 1.0),
    bounce: float = 0.3,
    grip: float = 0.6,
    metallic: float = 0.0,
    transmission: float = 0.0,
) -> Material:
    """A material in one line; `grain` is its texture and the repeats of it per metre."""
    return Material(
        name=name,
        albedo=albedo,
        roughness=roughness,
        metallic=metallic,
        transmission=transmission,
        texture=grain[0],
        texture_scale=grain[1],
        density=density,
        restitution=bounce,
        friction=grip,
    )


_SURFACES = (
    # wood
    _surface("wood", (0.30, 0.125, 0.045), 0.65, 650.0, grain=("wood", 1.5)),
    _surface("dark wood", (0.095, 0.042, 0.020), 0.6, 750.0, grain=("wood", 1.5)),
    _surface("planks", (0.50, 0.29, 0.125), 0.75, 600.0, grain=("wood", 1.2)),
    _surface("bark", (0.14, 0.075, 0.040), 0.95, 700.0, grain=("wood", 2.5)),
    _surface("table wood", (0.36, 0.17, 0.070), 0.35, 700.0, grain=("wood", 6.0)),
    _surface("giant wood", (0.52, 0.32, 0.155), 0.4, 700.0, grain=("wood", 0.15)),
    # cloth and paper
    _surface("canvas", (0.80, 0.72, 0.55), 0.9, 500.0, grain=("fabric", 3.0)),
    _surface("black cloth", (0.012, 0.012, 0.014), 0.9, 500.0, grain=("fabric", 4.0)),
    _surface("red cloth", (0.60, 0.022, 0.022), 0.9, 500.0, grain=("fabric", 4.0)),
    _surface("paper", (0.84, 0.83, 0.78), 0.85, 700.0, bounce=0.05),
    # paint, rubber, plastic
    _surface("white paint", (0.80, 0.79, 0.75), 0.45, 900.0),
    _surface("red paint", (0.60, 0.022, 0.018), 0.45, 900.0),
    _surface("blue paint", (0.025, 0.12, 0.50), 0.45, 900.0),
    _surface("yellow rubber", (0.90, 0.58, 0.018), 0.35, 950.0, bounce=0.6, grip=0.9),
    _surface("orange rubber", (0.86, 0.20, 0.010), 0.35, 950.0, bounce=0.6, grip=0.9),
    _surface("rubber", (0.62, 0.025, 0.020), 0.45, 1050.0, bounce=0.8, grip=0.9),
    _surface("black rubber", (0.016, 0.016, 0.018), 0.6, 1100.0, bounce=0.6, grip=0.95),
    _surface("plastic", (0.60, 0.025, 0.020), 0.2, 950.0, bounce=0.5, grip=0.4),
    _surface("black gloss", (0.010, 0.010, 0.012), 0.12, 1100.0, grip=0.4),
    # fired, stone, earth
    _surface("porcelain", (0.83, 0.82, 0.79), 0.10, 2400.0, bounce=0.4, grip=0.3),
    _surface("enamel", (0.82, 0.83, 0.83), 0.12, 2500.0, bounce=0.4, grip=0.2),
    _surface("tile", (0.30, 0.58, 0.58), 0.15, 2300.0, grip=0.4),
    _surface("white tile", (0.76, 0.77, 0.76), 0.15, 2300.0, grip=0.4),
    _surface("brick", (0.42, 0.115, 0.060), 0.9, 1900.0, grain=("brick", 2.0)),
    _surface("roof tile", (0.40, 0.085, 0.040), 0.8, 1900.0, grain=("brick", 2.5)),
    _surface("plaster", (0.76, 0.68, 0.52), 0.9, 1700.0, grain=("stone", 0.6)),
    _surface("stone", (0.25, 0.24, 0.23), 0.9, 2600.0, grain=("stone", 0.8)),
    _surface("slate", (0.035, 0.042, 0.050), 0.25, 2300.0, grip=0.4),
    _surface("marble", (0.78, 0.76, 0.73), 0.15, 2700.0, grain=("marble", 1.5)),
    _surface("sand", (0.66, 0.45, 0.23), 0.95, 1600.0, grain=("sand", 1.0), bounce=0.1, grip=0.7),
    _surface("soil", (0.10, 0.062, 0.035), 0.95, 1500.0, grain=("sand", 1.0), bounce=0.1),
    # living things
    _surface("grass", (0.085, 0.20, 0.032), 0.95, 1300.0, grain=("grass", 1.0)),
    _surface("leaves", (0.055, 0.22, 0.028), 0.8, 500.0, grain=("leaves", 1.5)),
    _surface("pine needles", (0.020, 0.085, 0.030), 0.9, 500.0, grain=("leaves", 2.0)),
    _surface("cactus skin", (0.045, 0.20, 0.055), 0.7, 900.0, grain=("skin", 3.0)),
    _surface("whale skin", (0.055, 0.105, 0.175), 0.35, 1000.0, grain=("skin", 0.5)),
    _surface("belly skin", (0.62, 0.64, 0.62), 0.45, 1000.0, grain=("skin", 0.5)),
    # frozen and clear
    _surface("snow", (0.84, 0.87, 0.92), 0.9, 400.0, grain=("snow", 1.0), bounce=0.05, grip=0.3),
    _surface("ice", (0.62, 0.80, 0.88), 0.15, 917.0, grain=("snow", 0.4), bounce=0.2, grip=0.08),
    _surface("glass", (0.95, 0.97, 0.96), 0.02, 2500.0, bounce=0.5, grip=0.3, transmission=1.0),
    _surface("window", (0.045, 0.075, 0.11), 0.05, 2500.0),
    _surface("lamp", (0.95, 0.78, 0.30), 0.2, 2500.0),
    # metal
    _surface("steel", (0.62, 0.63, 0.65), 0.22, 7800.0, grain=("metal", 4.0), bounce=0.5, grip=0.4, metallic=1.0),
    _surface("iron", (0.055, 0.055, 0.060), 0.5, 7800.0, grain=("metal", 2.0), metallic=0.5),
    _surface("gold", (0.95, 0.62, 0.16), 0.18, 19300.0, grip=0.4, metallic=1.0),
    _surface("copper", (0.88, 0.42, 0.24), 0.22, 8900.0, grip=0.4, metallic=1.0),
)

MATERIALS: dict[str, Material] = {surface.name: surface for surface in _SURFACES}
"""Surfaces by name."""
