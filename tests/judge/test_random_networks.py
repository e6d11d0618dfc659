"""Features of random networks: always the same, and they tell apart what should be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.judge.convolution import convolve, shrink
from elsewhere.judge.gaussian import distance
from elsewhere.judge.measures import blur
from elsewhere.judge.random_networks import DIMENSIONS, NETWORKS, clip_features, picture_features


def pictures(seed: int, count: int = 12, side: int = 32) -> np.ndarray:
    """Soft blobs with fine grain."""
    rng = np.random.default_rng(seed)
    noise = rng.random((count, side, side, 3))
    soft = np.stack([[blur(p[..., c], 4.0) for c in range(3)] for p in noise]).transpose(0, 2, 3, 1)
    return (soft + 0.1 * noise).astype(np.float32)


def test_convolution_is_the_sum_that_it_says() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 7, 6, 3)).astype(np.float32)
    kernel, bias = rng.standard_normal((4, 3, 3, 3)).astype(np.float32), np.arange(4, dtype=np.float32)
    out = convolve(x, kernel, bias, stride=2)
    assert out.shape == (2, 4, 3, 4)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = np.einsum("abc,dcab->d", padded[1, 2:5, 4:7], kernel) + bias
    assert out[1, 1, 2] == pytest.approx(wanted, abs=1e-5)


def test_shrinking_takes_means() -> None:
    x = np.arange(2 * 5 * 4, dtype=np.float32).reshape(2, 5, 4, 1)
    assert shrink(x, 2).shape == (2, 2, 2, 1)
    assert shrink(x, 2)[0, 0, 0, 0] == pytest.approx(np.mean([0, 1, 4, 5]))


def test_features_are_small_and_the_same_each_time() -> None:
    a = picture_features(pictures(1))
    assert a.shape == (12, NETWORKS, DIMENSIONS)
    assert np.array_equal(a, picture_features(pictures(1)))


def test_blur_is_farther_than_another_draw() -> None:
    sharp, again = pictures(1, 24), pictures(2, 24)
    soft = np.stack([np.stack([blur(p[..., c].astype(float), 1.5) for c in range(3)], -1) for p in sharp])
    reference = picture_features(sharp)
    assert distance(picture_features(soft.astype(np.float32)), reference) > 2.0 * distance(
        picture_features(again), reference
    )


def test_a_clip_that_stands_still_is_not_one_that_moves() -> None:
    clips = [np.stack([np.roll(p, 2 * k, axis=1) for k in range(3)]) for p in pictures(1)]
    moving = np.concatenate([clip_features(clip) for clip in clips])
    backwards = np.concatenate([clip_features(clip[::-1]) for clip in clips])
    still = np.concatenate([clip_features(np.stack([clip[0]] * 3)) for clip in clips])
    assert moving.shape == (12, NETWORKS, DIMENSIONS)
    assert distance(still, moving) > 3.0 * distance(backwards, moving) > 0.0
    with pytest.raises(ValueError, match="3 pictures"):
        clip_features(np.zeros((2, 32, 32, 3), np.float32))
