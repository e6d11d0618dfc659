"""Behaviours: the right sign and size of what a helm decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.physics.behaviour import Actor, Stage, Wish, check_verb, decide, steer
from elsewhere.physics.world import World
from elsewhere.scene.catalogue import KINDS, VERBS
from elsewhere.scene.description import Behaviour, Body, Scene, Weather

CALM = Stage((0.0, 0.0), 10.0, True, 1.0, 1 / 60)


def actor(x: float = 0.0, z: float = 0.0, **changes: object) -> Actor:
    made = Actor(2.0, 1.0, 10.0, (0.0, -1.0), False, position=(x, 0.0, z))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_every_verb_of_the_catalogue_is_known() -> None:
    for verb in VERBS:
        assert check_verb(verb) == verb
    for kind in KINDS.values():
        assert all(check_verb(v) for v in kind.verbs)
    with pytest.raises(ValueError, match="nearest is 'sail'"):
        check_verb("sial")


def test_a_ship_under_way_pushes_ahead_until_it_is_fast_enough() -> None:
    me = actor()
    decide([Wish(0, "sail")], [me], CALM)
    assert me.force[2] < 0.0 and abs(me.force[0]) < 1e-9
    me.velocity = (0.0, 0.0, -2.0)
    decide([Wish(0, "sail")], [me], CALM)
    assert me.force[2] > 0.0


def test_the_front_turns_towards_the_course() -> None:
    # looking to −X, course −Z: turning right, clockwise from above, is a negative turn about +Y
    me = actor(orientation=(0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)))
    decide([Wish(0, "sail")], [me], CALM)
    assert me.front()[0] == pytest.approx(-1.0) and me.torque[1] < 0.0


@given(x=st.floats(-9.9, 9.9), z=st.floats(-9.9, 9.9), angle=st.floats(0.0, 6.28))
def test_steering_gives_a_unit_way_and_turns_in_at_the_border(x: float, z: float, angle: float) -> None:
    me = actor(x, z)
    way = steer(me, [me], (math.sin(angle), -math.cos(angle)), 10.0)
    assert math.hypot(*way) == pytest.approx(1.0)
    if math.hypot(x, z) > 9.6:
        assert way[0] * x + way[1] * z < 0.0


def test_bodies_keep_apart() -> None:
    me, other = actor(0.0, 0.0), actor(0.5, 0.0)
    assert steer(me, [me, other], (0.6, -0.8), 10.0)[0] < 0.3


def test_a_battle_circles_broadside_and_fires() -> None:
    one, two = actor(-2.0, 0.0), actor(2.0, 0.0)
    shots = 0
    for k in range(240):
        stage = Stage((0.0, 0.0), 10.0, True, k / 60, 1 / 60)
        shots += len(decide([Wish(0, "battle", 1), Wish(1, "battle", 0)], [one, two], stage))
    assert 4 <= shots <= 6


def test_what_sinks_loses_its_lift() -> None:
    me = actor()
    decide([Wish(0, "sink")], [me], Stage((0.0, 0.0), 10.0, True, 2.0, 1 / 60))
    assert 0.0 < me.buoyancy < 0.8


def test_fixed_things_wish_nothing() -> None:
    me = actor(fixed=True)
    decide([Wish(0, "spin")], [me], CALM)
    assert me.force == [0.0, 0.0, 0.0] and me.torque == [0.0, 0.0, 0.0]


def test_chasing_keeps_clear_and_crashing_does_not() -> None:
    def nearest(speed: float) -> float:
        bodies = (
            Body(name="a", kind="sailboat", position=(0.0, 0.0, 9.0),
                 behaviours=(Behaviour(verb="sail", target="b", speed=speed),)),
            Body(name="b", kind="sailboat", position=(0.0, 0.0, -4.0), behaviours=(Behaviour(verb="rest"),)),
        )  # fmt: skip
        world = World(Scene(prompt="", environment="open sea", bodies=bodies, weather=Weather(wind_speed=1.0)), 0)
        return min(
            float(np.linalg.norm(np.diff(world.advance(60).position, axis=0))) for _ in range(40)
        )  # fmt: skip

    length = KINDS["sailboat"].length
    assert nearest(1.8) < 1.05 * length, "they touch"
    assert nearest(1.2) > nearest(1.8)
