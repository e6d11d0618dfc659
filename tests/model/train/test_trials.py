"""Balls that roll, strike and fall: the films are right, the tracker finds them, and a network can be asked."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.model.train.tracking import find, follow, learn
from elsewhere.model.train.trials import FRAMES, INSIDE, MOTIONS, OUTSIDE, REGIMES, Trial, draw_trial
from elsewhere.scene.holdout import held_out

KNOWN = 3


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    wanted = (("free", "inside"), ("collision", "new"), ("fall", "outside"))
    return [draw_trial(motion, regime, 0, samples=1) for motion, regime in wanted]


def test_films_are_of_their_motion_and_regime(trials: list[Trial]) -> None:
    for trial in trials:
        low, high = OUTSIDE if trial.regime == "outside" else INSIDE
        assert low <= trial.speed <= high
        assert held_out(trial.scene) == (trial.regime == "new")
        steps = np.linalg.norm(np.diff(trial.track, axis=0), axis=-1)
        if trial.motion == "collision":
            # The first ball hands its motion on to the second after the known frames.
            assert steps[: KNOWN - 1, 0] == pytest.approx(trial.speed, rel=0.1)
            assert steps[: KNOWN - 1, 1].max() < 0.1
            assert steps[-1, 1] > 0.4 * trial.speed > steps[-1, 0]
        else:
            assert steps.mean() == pytest.approx(trial.speed, rel=0.1)
        if trial.motion == "fall":
            assert np.all(np.diff(trial.track[:, 0, 1], n=2) > 0)
        inside = (trial.track > 4) & (trial.track < 124)
        assert inside.all()


def test_the_tracker_finds_true_balls(trials: list[Trial]) -> None:
    for trial in trials:
        pictures = np.moveaxis(trial.arrays["picture"], 1, -1) / 255.0
        for ball in range(trial.track.shape[1]):
            track, instance = trial.track[:, ball], trial.arrays["instance"]
            masks = instance == ball
            others = (instance >= 0) & (instance < trial.track.shape[1]) & ~masks
            look = learn(pictures[:KNOWN], masks[:KNOWN], track[:KNOWN], others[:KNOWN])
            assert look is not None
            radius = float(np.sqrt(masks[KNOWN - 1].sum() / np.pi))
            found = follow(look, pictures[KNOWN:], track[KNOWN - 1], track[KNOWN - 1] - track[KNOWN - 2], radius)
            # Its stripes turn as it rolls: their middle is up to a third of the radius off its own.
            assert np.linalg.norm(found - track[KNOWN:], axis=1).max() < 0.45 * radius
            empty = np.broadcast_to(np.median(pictures[0], axis=(0, 1)), pictures[KNOWN:].shape)
            assert np.isnan(follow(look, empty, track[KNOWN - 1], np.zeros(2), radius)).all()


def test_a_spot_is_found_where_it_is() -> None:
    share = np.zeros((8, 8, 8))
    share[7, 0, 0] = 1.0
    picture = np.full((40, 60, 3), 0.5)
    picture[10:14, 30:34] = (1.0, 0.0, 0.0)
    picture[30:34, 50:54] = (1.0, 0.0, 0.0)
    middle, amount = find(share, picture, np.array([28.0, 14.0]), 10.0)
    assert middle == pytest.approx([32.0, 12.0])
    assert amount == 16.0
    assert find(share, picture, np.array([5.0, 30.0]), 10.0)[0] is None


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="motion must be one of free"):
        draw_trial("flight", REGIMES[0], 0)
    with pytest.raises(ValueError, match="regime must be one of inside"):
        draw_trial(MOTIONS[0], "nowhere", 0)


def test_a_network_goes_on_from_known_frames(trials: list[Trial]) -> None:
    torch = pytest.importorskip("torch")
    from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
    from elsewhere.model.train.continuation import Dreamer
    from elsewhere.model.train.networks.tokenizer import Tokenizer
    from elsewhere.model.train.networks.transformer import Transformer

    torch.manual_seed(0)
    coder = Tokenizer(TokenizerConfig(encoder_widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), head_width=8))
    network = Transformer(TransformerConfig(width=24, layers=2, heads=2))
    with torch.no_grad():  # what begins at zero would show nothing
        for parameter in (*coder.parameters(), *network.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    dreamer = Dreamer(coder, network, steps=2)
    trial = trials[0]
    made = dreamer.go_on(trial.scene, trial.arrays, KNOWN, 1)
    assert made.shape == (FRAMES, 4, 128, 128)
    coded = dreamer.decode(dreamer.encode(trial.arrays["picture"], trial.arrays["depth"]))
    np.testing.assert_allclose(made[:KNOWN], coded[:KNOWN], atol=1e-5)
    assert np.array_equal(made, dreamer.go_on(trial.scene, trial.arrays, KNOWN, 1))
    assert not np.array_equal(made[KNOWN:], dreamer.go_on(trial.scene, trial.arrays, KNOWN, 2)[KNOWN:])
    with pytest.raises(ValueError, match="known must be"):
        dreamer.go_on(trial.scene, trial.arrays, FRAMES, 1)
