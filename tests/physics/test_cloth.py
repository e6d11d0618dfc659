"""Cloth: pins hold, edges hardly stretch, wind fills a sail and carries a flag."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from elsewhere.physics.cloth import Sheets, wardrobe_of
from elsewhere.scene.kinds import Cloth

STEP = 1.0 / 120.0
SAIL = Cloth(
    corner=(-1.0, 2.0, 0.0),
    across=(2.0, 0.0, 0.0),
    down=(0.0, -1.5, 0.0),
    rows=8,
    columns=9,
    pinned="first and last row",
    material="canvas",
)
FLAG = Cloth(
    corner=(0.0, 2.0, 0.0),
    across=(1.0, 0.0, 0.0),
    down=(0.0, -0.6, 0.0),
    rows=6,
    columns=10,
    pinned="first column",
    material="red cloth",
)


def fly(cloth: Cloth, wind: tuple[float, float, float], steps: int = 240) -> tuple[Sheets, NDArray[np.float32]]:
    position, orientation = np.zeros((1, 3)), np.array([[0.0, 0.0, 0.0, 1.0]])
    sheets = Sheets(wardrobe_of([(0, cloth, 1.0)]), position, orientation, np.array(wind))
    for k in range(steps):
        sheets.advance(position, orientation, np.array(wind), k * STEP, STEP)
    return sheets, sheets.grids(sheets.point)[0]


def test_pins_hold_and_nothing_tears() -> None:
    for cloth in (SAIL, FLAG):
        sheets, grid = fly(cloth, (3.0, 0.0, -6.0))
        held = sheets.wardrobe.free == 0.0
        assert np.allclose(sheets.point[held], sheets.wardrobe.anchor[held], atol=1e-9)
        across = np.linalg.norm(np.diff(grid, axis=1), axis=-1)
        assert across.max() < 1.15 * np.linalg.norm(cloth.across) / (cloth.columns - 1)


def test_wind_from_astern_fills_a_sail() -> None:
    _, grid = fly(SAIL, (0.0, 0.0, -6.0))
    assert -0.6 < grid[3:5, 2:7, 2].mean() < -0.1


def test_flag_flies_downwind_and_flutters() -> None:
    sheets, grid = fly(FLAG, (8.0, 0.0, 0.0))
    assert grid[:, -1, 0].mean() > 0.6
    early = grid[:, -1, 2].copy()
    for k in range(12):
        sheets.advance(
            np.zeros((1, 3)), np.array([[0.0, 0.0, 0.0, 1.0]]), np.array([8.0, 0.0, 0.0]), (240 + k) * STEP, STEP
        )
    assert np.abs(sheets.grids(sheets.point)[0][:, -1, 2] - early).max() > 0.02


def test_without_wind_a_flag_hangs() -> None:
    _, grid = fly(FLAG, (0.0, 0.0, 0.0), steps=480)
    assert grid[:, -1, 1].mean() < 1.5


def test_a_body_that_leaps_cannot_break_it() -> None:
    orientation = np.array([[0.0, 0.0, 0.0, 1.0]])
    sheets = Sheets(wardrobe_of([(0, FLAG, 1.0)]), np.zeros((1, 3)), orientation, np.zeros(3))
    for k in range(120):
        sheets.advance(np.array([[50.0 * (k % 2), 0.0, 0.0]]), orientation, np.array([30.0, 0.0, 0.0]), k * STEP, STEP)
    assert np.isfinite(sheets.point).all() and np.isfinite(sheets.velocity).all()


def test_bad_cloth_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="pinned must be"):
        wardrobe_of([(0, replace(FLAG, pinned="corner"), 1.0)])
    with pytest.raises(ValueError, match="at least 2 x 2"):
        wardrobe_of([(0, replace(FLAG, rows=1), 1.0)])
