"""Swell: its height, its dispersion and its repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.physics.swell import packed, sample, swell_height, swell_of, wind_direction


def test_root_mean_square_height_is_as_asked() -> None:
    swell = swell_of(0.25, 5.0, 0.6, seed=3)
    random = np.random.Generator(np.random.Philox(key=5))
    x, z = random.uniform(-3000, 3000, (2, 40_000))
    assert float(np.std(swell_height(swell, x, z, 12.0))) == pytest.approx(0.25, rel=0.03)


def test_deep_water_dispersion() -> None:
    swell = swell_of(0.1, 8.0, 0.0, seed=1)
    number = np.hypot(swell.wave_x, swell.wave_z)
    assert np.allclose(swell.omega**2, 9.81 * number, rtol=1e-5)


def test_waves_run_with_the_wind() -> None:
    swell = swell_of(0.1, 6.0, 1.1, seed=2)
    x, z = wind_direction(1.1)
    assert ((swell.wave_x * x + swell.wave_z * z) > 0).all()


def test_seed_decides() -> None:
    first, again, other = (packed(swell_of(0.1, 5.0, 0.2, seed=s)) for s in (4, 4, 5))
    assert (first == again).all() and not (first == other).all()


def test_no_wind_no_waves() -> None:
    assert len(swell_of(0.3, 0.0, 0.0, seed=1).amplitude) == 0
    assert swell_height(swell_of(0.0, 5.0, 0.0, seed=1), np.zeros(3), np.zeros(3), 1.0).tolist() == [0, 0, 0]


def test_kernel_agrees_with_sum_and_differences() -> None:
    swell = swell_of(0.2, 7.0, 0.4, seed=9)
    waves, step = packed(swell), 1e-4

    def height(x: float, z: float, t: float) -> float:
        return float(swell_height(swell, np.array(x), np.array(z), t))

    value, slope_x, slope_z, rate = sample(waves, 1.0, -2.0, 3.0)
    assert value == pytest.approx(height(1.0, -2.0, 3.0), abs=1e-12)
    assert slope_x == pytest.approx((height(1 + step, -2, 3) - height(1 - step, -2, 3)) / (2 * step), abs=1e-6)
    assert slope_z == pytest.approx((height(1, -2 + step, 3) - height(1, -2 - step, 3)) / (2 * step), abs=1e-6)
    assert rate == pytest.approx((height(1, -2, 3 + step) - height(1, -2, 3 - step)) / (2 * step), abs=1e-6)


def test_negative_wind_is_refused() -> None:
    with pytest.raises(ValueError, match="wind_speed must be finite.*nearest valid is 0"):
        swell_of(0.1, -1.0, 0.0, seed=0)
