"""Sample points are spread evenly."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.render.sampling import LENGTH, PATTERNS, cosine_direction, pair, point_table


@pytest.mark.parametrize("count", [4, 16, 64])
def test_first_powers_of_four_fill_every_square(count: int) -> None:
    # A (0, 2)-sequence puts one of its first b² points into each square of a b × b grid.
    side = round(count**0.5)
    for pattern in point_table()[:8]:
        cells = np.floor(pattern[:count] * side).astype(int)
        assert len({tuple(c) for c in cells}) == count


def test_table_has_points_in_the_unit_square() -> None:
    table = point_table()
    assert table.shape == (PATTERNS, LENGTH, 2)
    assert (table >= 0).all()
    assert (table < 1).all()


def test_pairs_are_keyed_and_uniform() -> None:
    table = point_table()
    points = np.array([pair(table, key, 2, k) for key in range(64) for k in range(64)])
    assert pair(table, 7, 1, 3) == pair(table, 7, 1, 3) != pair(table, 8, 1, 3)
    np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=0.01)


def test_directions_follow_the_cosine() -> None:
    normal = np.array([0.6, 0.0, -0.8])
    table = point_table()[0]
    cosine = [np.dot(cosine_direction(*normal, float(u), float(v)), normal) for u, v in table]
    # The mean of cos θ with density cos θ / π is 2/3.
    assert np.mean(cosine) == pytest.approx(2 / 3, abs=0.01)
