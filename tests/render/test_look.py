"""Sky, patterns and tone stay in their ranges; device functions compile for CUDA where its compiler is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import elsewhere.render
from elsewhere.render import to_display
from elsewhere.render.sky import AMBIENT, SUN_COLOR, cloud_density, light_of, sky_clouds, sun_direction
from elsewhere.render.texture import bump, texture
from elsewhere.scene.description import Weather
from elsewhere.scene.kinds import TEXTURES


def test_public_names_are_sorted_and_there() -> None:
    assert elsewhere.render.__all__ == ["Guide", "Stage", "to_display"]
    assert all(hasattr(elsewhere.render, name) for name in elsewhere.render.__all__)


def test_import_loads_no_kernels() -> None:
    code = "import sys, elsewhere.render; print('numba' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert run.stdout.strip() == "False"


def test_display_is_monotone_from_black_to_white() -> None:
    shown = to_display(np.linspace(0.0, 40.0, 4000))
    assert shown.dtype == np.float32
    assert shown[0] == 0.0
    assert (np.diff(shown) >= -1e-6).all()
    assert shown[-1] <= 1.0


def test_the_sun_is_highest_at_noon_and_in_the_east_at_six() -> None:
    np.testing.assert_allclose(sun_direction(6.0), (1.0, 0.0, 0.0), atol=1e-12)
    assert max(range(25), key=lambda h: sun_direction(h)[1]) == 12


@pytest.mark.parametrize("hour", [0.0, 5.5, 6.5, 12.0, 18.2, 21.0])
def test_every_hour_has_light_to_see_by(hour: float) -> None:
    light = light_of(hour, Weather())
    assert np.isfinite(light).all()
    level = light[AMBIENT : AMBIENT + 3].sum() + light[SUN_COLOR : SUN_COLOR + 3].sum()
    assert 0.4 < level < 8.0
    assert min(sky_clouds(light, 0.6, 0.0, -0.8)) > 0.0


def test_more_cover_makes_more_cloud() -> None:
    rays = [(np.sin(a) * 0.8, 0.6, np.cos(a) * 0.8) for a in np.linspace(0, 6, 60)]
    mean = [np.mean([cloud_density(light_of(12.0, Weather(cloud_cover=c)), *r) for r in rays]) for c in (0.0, 0.4, 0.9)]
    assert mean[0] == 0.0
    assert mean[0] < mean[1] < mean[2]


@pytest.mark.parametrize("name", TEXTURES)
def test_patterns_vary_about_one(name: str) -> None:
    kind = TEXTURES.index(name)
    random = np.random.Generator(np.random.Philox(key=kind))
    points = random.uniform(-5, 5, (300, 3))
    values = np.array([texture(kind, *p, 0.3, 0.01) for p in points])
    assert 0.45 < values.mean() < 1.4
    assert values.min() >= 0.0
    tilted = np.array([bump(kind, *p, 0.0, 1.0, 0.0, 0.001) for p in points])
    np.testing.assert_allclose(np.linalg.norm(tilted, axis=1), 1.0, atol=1e-9)


def test_device_functions_compile_for_cuda() -> None:
    from numba import cuda, float64, void

    if not cuda.is_available():
        # Nested device functions ask the driver which architecture they are for.
        pytest.skip("no CUDA driver and device here")

    def kernel(out) -> None:  # type: ignore[no-untyped-def]
        r, _, _ = texture(1, out[0], out[1], out[2], 0.5, 0.1)
        out[0] = r

    ptx, _ = cuda.compile_ptx(kernel, void(float64[:]))
    assert ".entry" in ptx
