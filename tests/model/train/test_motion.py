"""Heads: half rest; the others stay within what people do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elsewhere.model.train.motion import BOB, FASTEST, NOD, STEP, SWING, HeadMotion

SECONDS = np.arange(0.0, 4.0, 1.0 / 240.0)


def traces(count: int) -> list[tuple[HeadMotion, np.ndarray]]:
    heads = [HeadMotion(np.random.Generator(np.random.Philox(key=[1, n])), 2.0) for n in range(count)]
    return [(h, np.array([(y, p, *o) for y, p, o in map(h.at, SECONDS)])) for h in heads]


def test_heads_turn_and_walk_as_people_do() -> None:
    found = traces(200)
    still = sum(not t.any() for _, t in found)
    assert 0.35 * len(found) < still < 0.55 * len(found)
    for head, trace in found:
        speed = np.hypot(*(np.diff(trace[:, k]) * 240.0 for k in (0, 1))).max()
        if head.looks:
            # Walking adds its swing and nod, both below Grossman's 90°/s.
            assert speed < FASTEST + 2.0 * math.pi * STEP * (SWING + NOD)
        else:
            assert speed < math.radians(90.0)
        pace = np.linalg.norm(np.diff(trace[:, [2, 4]], axis=0), axis=1) * 240.0
        assert pace.max() <= 1.75
        assert np.abs(trace[:, 3]).max() <= BOB


def test_pitch_of_a_walk_has_twice_the_frequency_of_yaw() -> None:
    head = next(h for h, _ in traces(200) if h.pace > 0 and not h.looks)
    # Whole periods of the settled walk.
    seconds = 4.0 + np.arange(0.0, 20.0 / STEP, 1.0 / 240.0)
    yaw, pitch = np.array([head.at(s)[:2] for s in seconds]).T
    peaks = [int(np.abs(np.fft.rfft(x - x.mean())).argmax()) for x in (yaw, pitch)]
    assert peaks[1] == pytest.approx(2 * peaks[0], abs=1)


def test_a_walk_is_as_long_as_its_world() -> None:
    near, far = (HeadMotion(np.random.Generator(np.random.Philox(key=[1, 9])), reach) for reach in (0.1, 10.0))
    np.testing.assert_allclose(100.0 * np.array(near.at(1.0)[2]), far.at(1.0)[2], rtol=1e-9)
