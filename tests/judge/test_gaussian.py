"""The Fréchet distance against Gaussians whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.judge.gaussian import distance, extrapolated, frechet


def exactly(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` points whose mean and covariance (dividing by N) are exactly these."""
    points = np.random.default_rng(seed).standard_normal((count, len(mean)))
    points -= points.mean(axis=0)
    points = points @ np.linalg.inv(np.linalg.cholesky(points.T @ points / count)).T
    return points @ np.linalg.cholesky(covariance).T + mean


@given(st.floats(-3, 3), st.floats(0.1, 3), st.floats(0.1, 3))
def test_of_two_gaussians_on_a_line(gap: float, one: float, other: float) -> None:
    # (μ₁ − μ₂)² + (σ₁ − σ₂)²
    a = exactly(np.zeros(1), np.array([[one**2]]), 50)
    b = exactly(np.full(1, gap), np.array([[other**2]]), 60, seed=1)
    assert frechet(a, b) == pytest.approx(gap**2 + (one - other) ** 2, abs=1e-9)


def test_of_gaussians_whose_covariances_do_not_commute() -> None:
    one, other = np.array([[2.0, 0.6], [0.6, 0.5]]), np.array([[0.7, -0.3], [-0.3, 1.5]])
    values = np.linalg.eigvals(one @ other)
    wanted = 1.0 + 4.0 + np.trace(one + other) - 2.0 * np.sqrt(values).sum()
    got = frechet(exactly(np.zeros(2), one, 40), exactly(np.array([1.0, 2.0]), other, 30, seed=3))
    assert got == pytest.approx(float(wanted.real), abs=1e-9)


def test_of_a_cloud_to_itself_and_of_single_points() -> None:
    cloud = np.random.default_rng(0).standard_normal((9, 5))
    assert frechet(cloud, cloud) == pytest.approx(0.0, abs=1e-12)
    assert frechet(np.zeros((1, 3)), np.ones((1, 3))) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="clouds must be"):
        frechet(np.zeros((3, 2)), np.zeros((3, 4)))


def test_few_samples_look_far_apart_and_extrapolation_takes_most_of_that_away() -> None:
    rng = np.random.default_rng(5)
    biased, better = [], []
    for draw in range(6):
        one, other = rng.standard_normal((2, 40, 1, 2, 8))
        biased.append(distance(one[:, 0], other[:, 0]))
        better.append(extrapolated(one, other, seed=draw))
    assert np.mean(biased) > 0.3  # of one and the same Gaussian: the truth is 0
    assert abs(np.mean(better)) < 0.35 * np.mean(biased)
