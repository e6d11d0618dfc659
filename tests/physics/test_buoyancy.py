"""Buoyancy: columns fill what they should, and lift equals the weight of the water pushed aside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.physics.buoyancy import bounds, columns_of, equilibrium, metacentric_radius, wetted
from elsewhere.scene.kinds import Collider

TURNS = [(0.0, 0.0, 0.0, 1.0), (0.5, 0.5, 0.5, 0.5), (0.0, 0.0, math.sin(0.4), math.cos(0.4))]


@pytest.mark.parametrize(
    ("shape", "half", "volume"),
    [
        ("box", (0.5, 0.3, 0.8), 8 * 0.12),
        ("sphere", (0.4, 0.4, 0.4), 4 / 3 * math.pi * 0.064),
        ("ellipsoid", (0.3, 0.5, 0.9), 4 / 3 * math.pi * 0.135),
        ("cylinder", (0.4, 0.7, 0.4), 2 * math.pi * 0.16 * 0.7),
    ],
)
@pytest.mark.parametrize("turn", TURNS)
def test_columns_hold_the_volume(
    shape: str, half: tuple[float, float, float], volume: float, turn: tuple[float, ...]
) -> None:
    columns = columns_of((Collider(shape=shape, half_size=half, orientation=turn, position=(0.2, -0.1, 0.3)),))
    assert columns.volume == pytest.approx(volume, rel=0.02)
    low, high = bounds((Collider(shape=shape, half_size=half, orientation=turn, position=(0.2, -0.1, 0.3)),))
    assert columns.low.min() >= low[1] - 1e-9 and columns.high.max() <= high[1] + 1e-9


def test_overlapping_colliders_count_once() -> None:
    one = Collider(shape="box", half_size=(1.0, 1.0, 1.0))
    two = Collider(shape="box", half_size=(0.5, 0.5, 0.5), position=(0.2, 0.1, 0.0))
    assert columns_of((one, two)).volume == pytest.approx(8.0, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.05, 0.95), half=st.tuples(*[st.floats(0.1, 3.0)] * 3))
def test_box_draught_is_mass_over_area(share: float, half: tuple[float, float, float]) -> None:
    columns = columns_of((Collider(shape="box", half_size=half),))
    mass = share * 8000.0 * half[0] * half[1] * half[2]
    y = equilibrium(columns, mass)
    assert y is not None
    assert half[1] - y == pytest.approx(share * 2.0 * half[1], rel=1e-6)
    assert 1000.0 * wetted(columns, y)[0] == pytest.approx(mass, rel=1e-6)


def test_what_is_too_heavy_has_no_draught() -> None:
    assert equilibrium(columns_of((Collider(shape="sphere", half_size=(1.0, 1.0, 1.0)),)), 5000.0) is None


def test_metacentric_radius_of_a_box() -> None:
    # I / V = (L B³ / 12) / (L B T) = B² / (12 T)
    columns = columns_of((Collider(shape="box", half_size=(0.5, 0.4, 1.5)),))
    roll, pitch = metacentric_radius(columns, 0.1)
    assert roll == pytest.approx(1.0 / (12 * 0.3), rel=0.03)
    assert pitch == pytest.approx(9.0 / (12 * 0.3), rel=0.03)


def test_nothing_to_float_is_refused() -> None:
    with pytest.raises(ValueError, match="colliders must hold"):
        columns_of(())


def test_centre_of_buoyancy_is_halfway_down() -> None:
    columns = columns_of((Collider(shape="box", half_size=(0.5, 0.5, 0.5)),))
    assert np.allclose(wetted(columns, 0.2)[2], [0.0, -0.35, 0.0])
