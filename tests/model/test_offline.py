"""Frames among known ones: what is known stays, every frame is held by windows, a ring has no end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.model.network import Models, fastest_precision
from elsewhere.model.offline import STRIDE, WINDOW, Offline, spans, trust
from elsewhere.model.weights import DIRECTORY
from elsewhere.scene import camera_at, parse

SCENE = parse("a red sailboat on the open sea").scene


@pytest.fixture(scope="module")
def offline() -> Offline:
    return Offline(Models.read(DIRECTORY), 64, 64, threads=1, precision=fastest_precision())


@given(st.integers(1, 60), st.booleans())
def test_windows_hold_every_frame(count: int, ring: bool) -> None:
    windows = spans(count, ring=ring)
    assert {int(i) for w in windows for i in w} == set(range(count))
    assert all(len(w) == min(WINDOW, count) and len(set(w)) == len(w) for w in windows)
    if ring and count > WINDOW:
        assert any({0, count - 1} <= set(w) for w in windows)
    assert all(trust(len(w), future=future, whole=False).min() > 0 for w in windows for future in (False, True))


def conditions(offline: Offline, count: int, *, ring: bool = False) -> list:
    cameras = [camera_at(SCENE, i / 24.0, 64, 64) for i in range(count)]
    features = [offline.features()] * count
    return offline.shown(cameras, list(range(count)), features, [offline.text(SCENE)] * count, 10.0, ring=ring)


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 16, 16)).astype(np.float32)


def test_known_frames_stay_and_are_heard(offline: Offline) -> None:
    count = WINDOW + STRIDE - 1
    told, begun = conditions(offline, count), noise(count, 0)
    start = np.zeros(count)
    start[[0, 5]] = 1.0
    made = offline.denoise(told, begun, start, noise(count, 1), evaluations=2, future=False)
    np.testing.assert_array_equal(made[[0, 5]], begun[[0, 5]])
    assert np.isfinite(made).all()
    other = begun.copy()
    other[0] = noise(1, 9)[0]
    heard = offline.denoise(told, other, start, noise(count, 1), evaluations=2, future=False)
    assert not np.array_equal(made[1], heard[1])
    again = offline.denoise(told, begun, start, noise(count, 1), evaluations=2, future=False)
    np.testing.assert_array_equal(made, again)
    ahead = offline.denoise(told, begun, start, noise(count, 1), evaluations=2, future=True)
    assert not np.array_equal(made, ahead)


def test_a_ring_turned_is_the_ring_turned(offline: Offline) -> None:
    """On a ring no frame is the first: turned by a window's stride it gives the same frames, turned."""
    count = 2 * WINDOW
    still = [camera_at(SCENE, 0.0, 64, 64)] * count
    told = offline.shown(
        still, list(range(count)), [offline.features()] * count, [offline.text(SCENE)] * count, 10.0, ring=True
    )
    begun, start = noise(count, 2), np.zeros(count)
    known = noise(count, 3)
    made = offline.denoise(told, begun, start, known, evaluations=1, future=False, ring=True)
    turned = offline.denoise(told, np.roll(begun, STRIDE, axis=0), start, known, evaluations=1, future=False, ring=True)
    # Only the time of a window's first frame differs, and time counts by differences.
    apart = np.sqrt(np.square(np.roll(made, STRIDE, axis=0) - turned).mean())
    assert apart < 0.02 * np.sqrt(np.square(made).mean())


def test_wrong_levels_are_told(offline: Offline) -> None:
    told = conditions(offline, 2)
    for start, said in ((np.array([0.0, 1.5]), "levels from 0 to 1"), (np.zeros(3), "must be of 2 frames")):
        with pytest.raises(ValueError, match=said):
            offline.denoise(told, noise(2, 0), start, noise(2, 1), evaluations=1, future=False)
    with pytest.raises(ValueError, match="multiples of 16"):
        Offline(offline.models, 60, 64, threads=1, precision="f32")
