"""The guide as network input: 24 planes of numbers near [−1, 1] at the picture's resolution.

The planes hold what is calculated; the tokenizer and the transformer add what is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elsewhere.render import to_display
from elsewhere.scene.catalogue import ENVIRONMENTS

if TYPE_CHECKING:
    from elsewhere.render import Guide, Stage
    from elsewhere.scene import Scene

PLANES = (
    *("lit red", "lit green", "lit blue"),
    *("albedo red", "albedo green", "albedo blue"),
    *("normal x", "normal y", "normal z"),
    *("mirror red", "mirror green", "mirror blue"),
    *("reflect x", "reflect y", "reflect z"),
    *("disparity", "direct", "roughness", "metallic", "transmission"),
    *("water", "sky", "clouds", "grounded"),
)
"""Names of the planes, in order. "grounded" is 1 where a guide is given and 0 in a dream."""


GROUNDS = ("full", "depth", "layout")
"""What of a guide is given: all of it; shapes alone; or what stands where, with neither shape nor light."""
GIVEN = {
    "full": PLANES,
    "depth": ("normal x", "normal y", "normal z", "disparity"),
    "layout": (
        *("albedo red", "albedo green", "albedo blue", "roughness", "metallic", "transmission"),
        *("water", "sky", "clouds"),
    ),
}
"""Planes that each ground keeps. "grounded" is 0 but in the full one: only there is a lit picture to add to."""


def plane_weights(ground: str = "full", strength: float = 1.0) -> NDArray[np.float32]:
    """(24,) factors of the planes; all are 0 at strength 0, which is a dream.

    Raises ValueError for a ground that is not one of GROUNDS and a strength outside [0, 1].
    """
    if ground not in GROUNDS:
        raise ValueError(f"ground must be one of {', '.join(GROUNDS)}; got {ground!r}")
    if not 0.0 <= strength <= 1.0:  # NaN, too, is not
        nearest = 1.0 if strength > 1.0 else 0.0
        raise ValueError(f"strength must be from 0 to 1; got {strength}. The nearest is {nearest:g}")
    return np.array([strength * (name in GIVEN[ground]) for name in PLANES], np.float32)


def scene_scale(scene: Scene) -> float:
    """Distance in metres at which disparity is one half."""
    return 2.0 * ENVIRONMENTS[scene.environment].largest


def depth_to_disparity(depth: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """(…) metres, inf allowed → (…) in [0, 1]: 1 at the eye, 0 at infinity."""
    return (np.float32(scale) / (np.maximum(depth, 0.0) + np.float32(scale))).astype(np.float32)


def disparity_to_depth(disparity: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """The inverse of `depth_to_disparity`; disparities under 1e-3 are at infinity."""
    with np.errstate(divide="ignore"):
        depth = np.float32(scale) * (1.0 / np.maximum(disparity, 1e-9) - 1.0)
    return np.where(disparity < 1e-3, np.inf, np.maximum(depth, 0.0)).astype(np.float32)


def guide_planes(guide: Guide, stage: Stage) -> NDArray[np.float32]:
    """(24, H, W) float32 of one guide."""
    height, width = guide.depth.shape
    out = np.empty((len(PLANES), height, width), np.float32)
    sky = guide.material < 0
    out[0:3] = np.moveaxis(to_display(guide.lit), -1, 0)
    out[3:6] = np.moveaxis(np.sqrt(np.clip(guide.albedo, 0.0, 1.0)), -1, 0)
    out[6:9] = np.moveaxis(guide.normal, -1, 0)
    out[9:12] = np.moveaxis(to_display(guide.mirror), -1, 0)
    out[12:15] = np.moveaxis(guide.reflect, -1, 0)
    out[15] = depth_to_disparity(guide.depth, scene_scale(stage.scene))
    red, green, blue = np.moveaxis(guide.direct, -1, 0)
    out[16] = np.sqrt(np.clip((red + green + blue) / 3.0, 0.0, 1.0))
    out[17] = guide.roughness
    # The sky's number is −1, the last of each table.
    out[18] = np.array([*(m.metallic for m in stage.materials), 0.0], np.float32)[guide.material]
    out[19] = np.array([*(m.transmission for m in stage.materials), 0.0], np.float32)[guide.material]
    out[20] = guide.instance == len(stage.scene.bodies) + 1
    out[21] = sky
    out[22] = guide.clouds
    out[23] = 1.0
    return np.clip(out, -1.0, 1.0, out=out)
