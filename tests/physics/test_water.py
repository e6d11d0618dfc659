"""Water: what a closed basin keeps, what an open one lets go, and bits that repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.physics.water import Water, outline_mask

PERIOD = 1.0 / 120.0


@settings(max_examples=12, deadline=None)
@given(
    outline=st.sampled_from(["disc", "box"]),
    x=st.floats(-0.6, 0.6),
    z=st.floats(-0.6, 0.6),
    height=st.floats(-0.05, 0.1),
    drops=st.integers(0, 8),
)
def test_closed_basin_keeps_its_water(outline: str, x: float, z: float, height: float, drops: int) -> None:
    water = Water(outline, (2.0, 2.0), 0.08, PERIOD)
    water.height += np.float32(0.01) * water.wet
    before = water.volume()
    water.splash(x, z, height, 0.2)
    for tick in range(60):
        water.rain(7, tick, drops, 1e-3)
        water.advance()
    assert water.volume() == pytest.approx(before, rel=1e-4)
    assert not water.height[water.wet == 0].any()


def test_open_border_swallows_waves() -> None:
    water = Water("open", (10.0, 10.0), 0.5, PERIOD)
    water.splash(0.0, 0.0, 0.2, 1.0)
    start = float(np.abs(water.height).max())
    for _ in range(1800):
        water.advance()
    assert float(np.abs(water.height).max()) < 0.03 * start


def test_still_water_stays_still() -> None:
    water = Water("box", (0.85, 0.4), 0.02, PERIOD)
    for _ in range(50):
        water.advance()
    assert not water.height.any() and not water.flow().any()


def test_a_ring_spreads_at_the_wave_speed() -> None:
    depth = 0.1
    water = Water("open", (8.0, 8.0), depth, PERIOD)
    water.splash(0.0, 0.0, 0.005, 0.5)
    for _ in range(420):
        water.advance()
    crest = int(np.argmax(water.surface()[64, 64:]))
    travelled = (crest + 0.5) * water.cell[0]
    assert travelled == pytest.approx(np.sqrt(9.81 * depth) * 420 * PERIOD, abs=0.5)


def test_hull_displacement_moves_water_and_no_more() -> None:
    water = Water("disc", (2.0, 2.0), 0.08, PERIOD)
    water.displaced[60:70, 60:70] = 0.02
    water.displace(0.5)
    assert water.volume() == pytest.approx(0.5 * 0.02 * 100 * water.cell[0] ** 2, rel=1e-4)
    water.displace(0.5)
    assert water.volume() == pytest.approx(0.5 * 0.02 * 100 * water.cell[0] ** 2, rel=1e-4)


def test_same_input_gives_the_same_bits() -> None:
    def run() -> bytes:
        water = Water("disc", (1.0, 1.0), 0.05, PERIOD)
        water.splash(0.2, -0.1, 0.03, 0.1)
        for tick in range(100):
            water.rain(3, tick, 4, 1e-3)
            water.advance()
        return water.height.tobytes() + water.flow_x.tobytes()

    assert run() == run()


def test_outline_is_symmetric() -> None:
    mask = outline_mask("disc", (1.0, 1.0))
    assert (mask == mask.T).all() and (mask == mask[::-1]).all()
    assert mask.mean() == pytest.approx(np.pi / 4, rel=2e-3)


def test_errors_name_rule_and_nearest() -> None:
    with pytest.raises(ValueError, match="depth must be positive.*nearest"):
        Water("disc", (1.0, 1.0), 0.0, PERIOD)
    with pytest.raises(ValueError, match="outline must be"):
        Water("oval", (1.0, 1.0), 1.0, PERIOD)
