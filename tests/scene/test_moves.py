"""Camera moves from words: what they mean, that they join smoothly, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.scene import PromptError, parse
from elsewhere.scene.moves import JOIN, Move, Moves
from elsewhere.scene.shots import RiggedShot, least_height
from elsewhere.scene.words.moves import EXAMPLE, read_moves

KINDS = (
    "dolly in", "dolly out", "orbit left", "orbit right", "crane up", "crane down", "pan left", "pan right", "tilt up",
    "tilt down", "truck left", "truck right", "pedestal up", "pedestal down", "zoom in", "zoom out", "hold",
)  # fmt: skip
PLACES = ("two ships in a cup of coffee", "a sailboat at sea", "a rubber duck in a bathtub", "a toy car on a table",
          "a snowman in the snow")  # fmt: skip
timelines = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0.4, 4.0)), min_size=1, max_size=5)


def moves_of(text: str, seconds: float | None = None) -> tuple[Move, ...]:
    timeline = read_moves(text)
    assert timeline is not None
    return timeline.lasting(seconds)


def test_the_example_is_read() -> None:
    moves = moves_of(EXAMPLE)
    assert [move.channel for move in moves] == ["distance", "azimuth", "elevation", "turn", ""]
    assert [move.seconds for move in moves] == [2.0, 3.0, 2.0, pytest.approx(2.0), 1.0]
    assert moves[0].amount < 0 > moves[1].amount
    assert moves[3].amount == pytest.approx(-math.radians(20))


def test_moves_of_open_length_share_what_is_left() -> None:
    moves = moves_of("dolly in 2s, orbit left, crane up", 8.0)
    assert [move.seconds for move in moves] == [2.0, 3.0, 3.0]
    assert moves[1].amount == pytest.approx(1.5 * moves_of("dolly in 2s, orbit left, crane up")[1].amount)
    with pytest.raises(PromptError, match="nearest length is 4 s"):
        moves_of("dolly in 2s, orbit left", 2.0)


@pytest.mark.parametrize("words", ["from above", "orbiting", "close-up, zooming in", "still camera", "crane shot"])
def test_words_that_only_say_how_to_look_are_no_time_line(words: str) -> None:
    assert read_moves(words) is None


@pytest.mark.parametrize(
    ("words", "channel", "amount"),
    [
        ("the camera orbits left by 90 degrees in 3 seconds", "azimuth", -math.pi / 2),
        ("pan right for 2s slowly", "turn", -2 * math.radians(5)),
        ("move 3 metres closer", "near", 3.0),
        ("truck left 0.5 m over 2s", "across", -0.5),
        ("zoom in 2x", "zoom", math.log(2)),
        ("tilting down 30°", "tilt", -math.radians(30)),
    ],
)
def test_amounts(words: str, channel: str, amount: float) -> None:
    (move,) = moves_of(words)
    assert move.channel == channel
    assert move.amount == pytest.approx(amount)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dolly in 2s, wobble 3s", "'wobble 3s' is no move"),
        ("dolly in 2s, from above", "'from above' is no move"),
        ("dolly in 2s, pan right 20 metres", "must be in degrees"),
        ("dolly in 0s, hold 1s", "more than 0"),
        ("dolly in 9999s", "at most 3600"),
        ("orbit up 3s", "'orbit left' or 'orbit right'"),
        ("zoom in 900x", "at most 20 times"),
        ("hold 1s, " * 300, "at most"),
    ],
)
def test_what_is_no_move_is_refused(words: str, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        read_moves(words)


def test_framing_comes_first() -> None:
    timeline = read_moves("from above, close-up, dolly in 2s")
    assert timeline is not None
    assert timeline.framing == "from above, close-up"


@given(timelines)
@settings(max_examples=20, deadline=None)
def test_paces_have_no_jumps(parts: list[tuple[str, float]]) -> None:
    moves = Moves(moves_of(", ".join(f"{name} {seconds:.2f}s" for name, seconds in parts) + ", hold 1s"), 5.0)
    step = 1 / 240
    values = np.array([[getattr(moves.at(k * step), name) for name in ("azimuth", "distance", "turn")]
                       for k in range(round((moves.seconds + 1) / step))])  # fmt: skip
    pace = np.diff(values, axis=0) / step
    greatest = max(abs(move.amount / move.seconds) for move in moves_of("orbit left 1s, dolly in 1s, pan left 1s"))
    assert np.abs(pace).max() <= greatest + 1e-9
    # From one way to the other a pace takes 2 · JOIN.
    assert np.abs(np.diff(pace, axis=0)).max() <= greatest * step / JOIN + 1e-9
    assert moves.at(0.0).azimuth == pytest.approx(0.0, abs=1e-12)
    assert moves.at(moves.seconds + JOIN).azimuth == pytest.approx(moves.values[0, -1])


@given(st.sampled_from(PLACES), timelines)
@settings(max_examples=40, deadline=None)
def test_cameras_are_orthonormal_above_and_smooth(prompt: str, parts: list[tuple[str, float]]) -> None:
    scene = parse(prompt).scene
    words = ", ".join(f"{name} {seconds:.2f}s" for name, seconds in parts) + ", hold 0.5s"
    rigged = RiggedShot(scene, moves_of(words), 96, 64)
    for seconds in np.arange(0.0, rigged.seconds, 0.25):
        camera = rigged.at(float(seconds))
        rotation = camera.c2w[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0
        assert np.isfinite(camera.c2w).all() and camera.focal > 0
        assert camera.position[1] >= least_height(scene, camera.position) - 1e-9


def test_left_is_left() -> None:
    scene = parse("a sailboat at sea").scene
    scene = replace(scene, shot=replace(scene.shot, azimuth=0.0))
    start = RiggedShot(scene, moves_of("hold 1s"), 64, 64).at(0.0)
    right = start.c2w[:3, 0]
    for words, way in (("orbit left 2s", -1), ("orbit right 2s", 1), ("truck left 2s", -1), ("truck right 2s", 1)):
        moved = RiggedShot(scene, moves_of(words), 64, 64).at(2.0)
        assert way * float((moved.position - start.position) @ right) > 0.1, words
    panned = RiggedShot(scene, moves_of("pan left 2s"), 64, 64).at(2.0)
    assert float(-panned.c2w[:3, 2] @ right) < -0.1
    nearer = RiggedShot(scene, moves_of("move 2 metres closer"), 64, 64).at(3.0)
    assert np.linalg.norm(nearer.position - start.position) == pytest.approx(2.0, rel=0.05)
    zoomed = RiggedShot(scene, moves_of("zoom in 2x in 1s"), 64, 64).at(3.0)
    assert zoomed.focal == pytest.approx(2 * start.focal)
