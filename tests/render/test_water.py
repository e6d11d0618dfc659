"""Rays against the height field."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from numba import njit

from elsewhere.render import water
from elsewhere.render.intersect import FAR

# Inlined functions are for kernels: these are the least that call them.
hit_surface = njit(lambda s, ox, oy, oz, dx, dy, dz, far: water.hit_surface(s, ox, oy, oz, dx, dy, dz, far))
level_at = njit(lambda s, x, z: water.level_at(s, x, z))
water_normal = njit(lambda s, x, z, footprint: water.water_normal(s, x, z, footprint))

WAVE = (0.15, 0.9, 0.4, 2.0, 0.3)


def _surface(scenes: ModuleType):  # type: ignore[no-untyped-def]
    return scenes.stage_of("sea", (), waves=scenes.swell(WAVE))._pose(scenes.state_of((), water=True, tick=120))[0]


def test_field_is_the_sum_of_waves(scenes: ModuleType) -> None:
    a, kx, kz, omega, phase = WAVE
    surface = _surface(scenes)
    for x, z in ((0.25, 0.25), (1.75, -2.25), (-3.25, 4.25)):
        # height = a sin(kx·x + kz·z − ω·t + φ) at t = 120/240 s, on cell centres
        expected = a * np.sin(kx * x + kz * z - omega * 0.5 + phase)
        assert level_at(surface, x, z) == pytest.approx(expected, abs=2e-5)


def test_hit_is_on_the_field_and_the_first(scenes: ModuleType) -> None:
    surface = _surface(scenes)
    random = np.random.Generator(np.random.Philox(key=2))
    for _ in range(60):
        o = random.uniform((-4, 0.5, -4), (4, 3, 4))
        d = random.normal(size=3)
        d[1] = -abs(d[1]) - 0.15
        d /= np.linalg.norm(d)
        t = hit_surface(surface, *o, *d, FAR)
        x, y, z = o + t * d
        if max(abs(x), abs(z)) > 7.9:
            continue
        assert y == pytest.approx(level_at(surface, x, z), abs=6e-3)
        above = [o[1] + s * d[1] - level_at(surface, o[0] + s * d[0], o[2] + s * d[2]) for s in np.linspace(0, t, 200)]
        assert min(above) > -0.02


def test_upward_rays_miss_and_far_ones_meet_the_plane(scenes: ModuleType) -> None:
    surface = _surface(scenes)
    assert hit_surface(surface, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, FAR) == FAR
    assert hit_surface(surface, 50.0, 2.0, 0.0, 0.6, -0.8, 0.0, FAR) == pytest.approx(2.5)


def test_waves_below_a_pixel_leave_the_normal(scenes: ModuleType) -> None:
    surface = _surface(scenes)
    _, y, _, lost = water_normal(surface, 30.0, 30.0, 100.0)
    assert y == pytest.approx(1.0)
    assert lost > 0.0
