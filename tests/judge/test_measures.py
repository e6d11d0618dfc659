"""Measures against values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.judge.measures import blur, edge_f1, psnr, ssim, texture_energy


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((32, 40, 3)).astype(np.float32)


@given(st.floats(0.001, 0.5))
def test_psnr_of_a_constant_error(error: float) -> None:
    assert psnr(np.full((8, 8, 3), error, np.float32), np.zeros((8, 8, 3), np.float32)) == pytest.approx(
        -20.0 * np.log10(error), abs=1e-3
    )


def test_equal_pictures_are_perfect() -> None:
    a = picture(1)
    assert psnr(a, a) == 99.0
    assert ssim(a, a) == pytest.approx(1.0)
    assert edge_f1(a, a) == 1.0


def test_unrelated_noise_is_dissimilar() -> None:
    assert ssim(picture(1), picture(2)) < 0.2


def test_blur_keeps_the_mean_of_a_constant_and_takes_texture_away() -> None:
    assert blur(np.full((9, 9), 0.3), 1.5) == pytest.approx(np.full((9, 9), 0.3))
    a = picture(3)
    soft = np.stack([blur(a[..., c].astype(float), 1.5) for c in range(3)], axis=-1).astype(np.float32)
    assert texture_energy(soft) < 0.1 * texture_energy(a)


def test_edges_one_pixel_off_are_forgiven_and_five_are_not() -> None:
    def step_at(column: int) -> np.ndarray:
        image = np.zeros((20, 40, 3), np.float32)
        image[:, column:] = 1.0
        return image

    assert edge_f1(step_at(20), step_at(21)) == 1.0
    assert edge_f1(step_at(20), step_at(26)) == 0.0
    assert edge_f1(np.zeros((20, 40, 3), np.float32), step_at(20)) == 0.0
