"""Tiles of rays against single rays, over scenes with all kinds of instances."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from numba import njit

from elsewhere.render import tile, water
from elsewhere.render.guide import SCRATCH, aim
from elsewhere.render.intersect import FAR, Geometry, blocked, closest
from elsewhere.render.stage import Stage, _view
from elsewhere.render.water import add_waves

water_normal = njit(lambda s, x, z, footprint: water.water_normal(s, x, z, footprint))


def _stage(scenes: ModuleType) -> tuple[Stage, Geometry]:
    bodies = (
        scenes.body("boat", 0.0, 0.2, 0.0),
        scenes.body("ball", 1.5, 0.3, 0.5),
        scenes.body("box", -1.0, 1.0, 1.0),
    )
    stage = scenes.stage_of("sea", bodies)
    stage._pose(scenes.state_of(bodies, water=True))
    return stage, stage._geometry


def _closest(rays: np.ndarray, g: Geometry, eye: np.ndarray) -> None:
    tile.closest_of(rays, g.bounds, g.links, g.leaf, g.triangles, g.to_body, g.box, g.info, *eye)


# The last eye is among the things: there the rays of a tile differ in sign.
@pytest.mark.parametrize("eye", [(2.0, 1.5, 5.0), (0.1, 9.0, 0.2), (0.3, 0.9, 0.4)])
def test_a_tile_hits_what_its_rays_hit(scenes: ModuleType, eye: tuple[float, float, float]) -> None:
    _, g = _stage(scenes)
    camera = scenes.camera_at(eye, (0.0, 0.5, 0.0), 44)
    rays, hits = np.zeros(SCRATCH), 0
    for row in range(0, 44, tile.SIDE):
        for column in range(0, 44, tile.SIDE):
            aim(rays, _view(camera), row, column, 44, 44)
            _closest(rays, g, camera.position)
            for p in range(tile.RAYS):
                direction = (rays[at + p] for at in (tile.X, tile.Y, tile.Z))
                t, triangle, instance, u, v = closest(g, *camera.position, *direction, FAR)
                assert rays[tile.T + p] == pytest.approx(t, rel=1e-12)
                assert rays[tile.INSTANCE + p] == instance
                if instance >= 0:
                    hits += 1
                    assert rays[tile.TRIANGLE + p] == triangle
                    assert (rays[tile.U + p], rays[tile.V + p]) == pytest.approx((u, v), abs=1e-9)
    assert hits > 50


def test_a_tile_is_in_the_shadow_of_what_blocks_its_rays(scenes: ModuleType) -> None:
    _, g = _stage(scenes)
    random = np.random.Generator(np.random.Philox(key=5))
    rays, dark = np.zeros(SCRATCH), 0
    cloth = int(np.argmax(g.info[:, 3] == 2))
    for turn in range(16):
        sun = random.normal(size=3)
        sun /= np.linalg.norm(sun)
        start = random.uniform(-2, 2, 3) + random.uniform(-0.3, 0.3, (tile.RAYS, 3))
        for axis, (own, moved) in enumerate(((tile.X, tile.AX), (tile.Y, tile.AY), (tile.Z, tile.AZ))):
            rays[own : own + tile.RAYS] = rays[moved : moved + tile.RAYS] = start[:, axis]
        rays[tile.OPEN : tile.OPEN + tile.RAYS] = 1.0
        skip = cloth if turn % 2 else -1
        rays[tile.SKIP : tile.SKIP + tile.RAYS] = skip
        tile.block(
            rays, g.bounds, g.links, g.leaf, g.triangles, g.to_body, g.box, g.info, g.slot, g.materials_of, g.clear,
            *sun,
        )  # fmt: skip
        for p in range(tile.RAYS):
            expected = blocked(g, *start[p], *sun, FAR, skip)
            assert rays[tile.OPEN + p] == (0.0 if expected else 1.0)
            dark += expected
    assert dark > 20


def test_waves_of_a_tile_are_those_of_its_places(scenes: ModuleType) -> None:
    stage, _ = _stage(scenes)
    surface, _ = stage._pose(scenes.state_of(stage.scene.bodies, water=True, tick=60))
    random = np.random.Generator(np.random.Philox(key=7))
    rays, count = np.zeros(SCRATCH), 20
    x, z, width = random.uniform(9, 30, count), random.uniform(-30, 30, count), random.uniform(0.001, 0.5, count)
    for at, values in ((water.WATER_X, x), (water.WATER_Z, z), (water.WIDTH, width)):
        rays[at : at + count] = values
    add_waves(rays, surface, count)
    for p in range(count):
        nx, ny, nz, lost = water_normal(surface, x[p], z[p], width[p])
        assert rays[water.SLOPE_X + p] == pytest.approx(-nx / ny, abs=1e-12)
        assert rays[water.SLOPE_Z + p] == pytest.approx(-nz / ny, abs=1e-12)
        assert rays[water.LOST + p] == pytest.approx(lost, abs=1e-12)
