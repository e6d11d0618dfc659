"""Reading a heading from drawn ships, and telling drawings apart, where the answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.judge.heading import COARSE, FINEST
from elsewhere.judge.otherwise import best_turn, cloth_owners, matched, prefers, rotation, swapped, turned, without
from elsewhere.judge.permanence import AFTER, AWAY, BEFORE, TURN, looks
from elsewhere.physics import World
from elsewhere.scene import parse


def ship(angle: float, *, side: int = 48, light: float = 1.0) -> np.ndarray:
    """A wedge with a dark stern, its bow at `angle` radians, on a plain sea."""
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2.0
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    room = np.minimum(0.5 * (16.0 - along), 6.0) - np.abs(across)
    inside = np.clip(np.minimum(room, along + 14.0), 0.0, 1.0)[..., None]
    hull = np.where(along[..., None] < -6.0, [0.2, 0.1, 0.1], [0.8, 0.6, 0.3])
    return (light * (inside * hull + (1.0 - inside) * np.array([0.1, 0.3, 0.5]))).astype(np.float32)


def read(picture: np.ndarray) -> float:
    found = best_turn(picture, ship, COARSE, FINEST)
    assert found is not None
    return (float(np.degrees(found[0])) + 180.0) % 360.0 - 180.0


@settings(max_examples=12, deadline=None)
@given(st.floats(-170.0, 170.0), st.floats(0.7, 1.3))
def test_the_heading_of_a_drawn_ship(degrees: float, light: float) -> None:
    assert read(ship(np.radians(degrees), light=light)) == pytest.approx(degrees, abs=1.0)


def test_a_ship_turned_round_is_read_as_turned_round() -> None:
    assert abs(read(ship(np.pi))) == pytest.approx(180.0, abs=1.0)


def test_where_all_drawings_look_alike_nothing_is_read() -> None:
    assert best_turn(ship(0.0), lambda _: ship(0.0), COARSE, FINEST) is None


def test_a_picture_prefers_what_it_shows_whatever_its_light() -> None:
    sea = ship(0.0)
    empty = np.broadcast_to(sea[0, 0], sea.shape).astype(np.float32)
    assert prefers(0.8 * sea + 0.05, sea, empty) is True
    assert prefers(0.8 * empty + 0.05, sea, empty) is False
    assert prefers(sea, sea, sea) is None


def test_matching_undoes_light_and_contrast_but_makes_no_picture_of_one_colour() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((16, 16, 3)).astype(np.float32)
    everywhere = np.ones((16, 16), bool)
    assert matched(drawn / 1.5 + 0.1, drawn, everywhere) == pytest.approx(drawn, abs=1e-5)
    flat = matched(np.full((16, 16, 3), 0.2, np.float32), drawn, everywhere)
    assert np.ptp(flat, axis=(0, 1)) == pytest.approx(np.zeros(3), abs=1e-6)


@pytest.fixture(scope="module")
def fleet() -> SimpleNamespace:
    scene = parse("a pirate ship sailing and a red ball on a lake", seed=1).scene
    return SimpleNamespace(scene=scene, state=World(scene, 1).state)


def test_turning_moves_a_body_and_its_cloth_and_nothing_else(fleet: SimpleNamespace) -> None:
    owners = cloth_owners(fleet.scene)
    assert 0 in owners
    round_ = turned(fleet.scene, fleet.state, 0, np.pi)
    assert np.array_equal(round_.position, fleet.state.position)
    assert np.array_equal(round_.orientation[1], fleet.state.orientation[1])
    bow, before = rotation(round_.orientation[0])[:, 2], rotation(fleet.state.orientation[0])[:, 2]
    assert bow[[0, 2]] == pytest.approx(-before[[0, 2]], abs=1e-9)
    twice = turned(fleet.scene, round_, 0, np.pi)
    for one, other in zip(twice.cloth, fleet.state.cloth, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_two_bodies_change_places_and_back(fleet: SimpleNamespace) -> None:
    other = swapped(fleet.scene, fleet.state, 0, 1)
    assert np.array_equal(other.position[0], fleet.state.position[1])
    back = swapped(fleet.scene, other, 0, 1)
    assert np.array_equal(back.position, fleet.state.position)
    for one, another in zip(back.cloth, fleet.state.cloth, strict=True):
        assert one == pytest.approx(another, abs=1e-3)


def test_a_scene_without_a_body(fleet: SimpleNamespace) -> None:
    scene, state = without(fleet.scene, fleet.state, frozenset({0}))
    assert [body.kind for body in scene.bodies] == [body.kind for body in fleet.scene.bodies[1:]]
    assert len(state.position) == len(scene.bodies)
    assert len(state.cloth) == len(cloth_owners(scene))


def test_one_looks_away_for_five_seconds_and_back() -> None:
    yaws = {frame: look.yaw for frame, look in looks()}
    assert yaws[BEFORE] == 0.0
    assert yaws[AFTER] == pytest.approx(0.0)
    assert sum(yaw == pytest.approx(np.pi) for yaw in yaws.values()) == AWAY + 1
    assert yaws[BEFORE + TURN] == pytest.approx(np.pi)
