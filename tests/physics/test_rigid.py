"""Rigid bodies: the border to MuJoCo, free fall, rest, walls, impacts and the guard."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elsewhere.physics.rigid import FASTEST, Arena, Rigid, Solid, collider_volume, inertia_of, rotation_matrix
from elsewhere.physics.tick import TICK
from elsewhere.scene.kinds import Collider

BALL = Collider(shape="sphere", half_size=(0.1, 0.1, 0.1))
BOX = Collider(shape="box", half_size=(0.1, 0.2, 0.3))
TURN = (0.1, 0.2, 0.3, math.sqrt(1 - 0.14))
GROUND = Arena(floor=0.0)
FAR = (100.0, 100.0)


def test_pose_and_motion_survive_the_border() -> None:
    solid = Solid(
        colliders=(BOX,),
        mass=2.0,
        position=(1.0, 5.0, -2.0),
        orientation=TURN,
        velocity=(0.3, 0.2, 0.1),
        angular_velocity=(0.5, -0.4, 0.2),
    )
    rigid = Rigid((solid,), GROUND, TICK, limit=FAR)
    assert np.allclose(rigid.position[0], solid.position)
    assert np.allclose(rigid.orientation[0], solid.orientation)
    assert np.allclose(rigid.velocity[0], solid.velocity)
    assert np.allclose(rigid.angular_velocity[0], solid.angular_velocity)


def test_free_fall_goes_down_our_y() -> None:
    rigid = Rigid(
        (Solid(colliders=(BOX,), mass=2.0, position=(0.0, 50.0, 0.0), orientation=TURN),), GROUND, TICK, limit=FAR
    )
    for _ in range(240):
        rigid.step()
    assert rigid.velocity[0] == pytest.approx([0.0, -9.81, 0.0], abs=1e-6)
    assert rigid.position[0, 1] == pytest.approx(50.0 - 9.81 / 2, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forces_and_torques_point_where_they_should(axis: int) -> None:
    rigid = Rigid(
        (Solid(colliders=(BALL,), mass=2.0, position=(0.0, 50.0, 0.0), orientation=TURN),), GROUND, TICK, limit=FAR
    )
    rigid.force[0] = [0.0, 2.0 * 9.81, 0.0]
    rigid.force[0, axis] += 3.0
    rigid.torque[0, axis] = 0.01
    for _ in range(24):
        rigid.step()
    expected = np.zeros(3)
    expected[axis] = 3.0 / 2.0 * 0.1
    assert rigid.velocity[0] == pytest.approx(expected, abs=1e-6)
    expected[axis] = 0.01 / (0.4 * 2.0 * 0.01) * 0.1
    assert rigid.angular_velocity[0] == pytest.approx(expected, abs=1e-5)


def test_added_mass_slows_but_weighs_nothing() -> None:
    rigid = Rigid(
        (Solid(colliders=(BALL,), mass=2.0, position=(0.0, 50.0, 0.0), orientation=TURN),), GROUND, TICK, limit=FAR
    )
    rigid.added_mass[0] = 2.0
    for _ in range(24):
        rigid.step()
    assert rigid.velocity[0, 1] == pytest.approx(-9.81 / 2 * 0.1, rel=1e-6)


@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere"])
def test_things_come_to_rest_upright_on_the_ground(shape: str) -> None:
    half = (0.2, 0.2, 0.2)
    solid = Solid(
        colliders=(Collider(shape=shape, half_size=half),),
        mass=3.0,
        position=(0.0, 0.25, 0.0),
        orientation=(0.0, 0.0, 0.0, 1.0),
    )
    rigid = Rigid((solid,), GROUND, TICK, limit=FAR)
    for _ in range(480):
        rigid.step()
    assert rigid.position[0, 1] == pytest.approx(0.2, abs=3e-3)
    assert np.linalg.norm(rigid.velocity[0]) < 0.03


@pytest.mark.parametrize("outline", ["disc", "box"])
def test_walls_hold(outline: str) -> None:
    arena = Arena(floor=0.0, outline=outline, half_size=(1.0, 1.0), height=2.0)
    solids = tuple(
        Solid(
            colliders=(BALL,),
            mass=1.0,
            position=(0.0, 0.1 + 0.3 * i, 0.0),
            orientation=TURN,
            velocity=(6.0 * math.cos(i), 0.0, 6.0 * math.sin(i)),
            friction=0.0,
        )
        for i in range(4)
    )
    rigid = Rigid(solids, arena, TICK)
    for _ in range(480):
        rigid.step()
        reach = (
            np.hypot(rigid.position[:, 0], rigid.position[:, 2])
            if outline == "disc"
            else np.abs(rigid.position[:, [0, 2]]).max(axis=1)
        )
        assert reach.max() < 0.97


def test_what_is_not_finite_is_put_back() -> None:
    rigid = Rigid(
        (Solid(colliders=(BALL,), mass=1.0, position=(0.0, 3.0, 0.0), orientation=TURN),), GROUND, TICK, limit=FAR
    )
    rigid.step()
    rigid.force[0] = [math.nan, 0.0, 0.0]
    rigid.step()
    rigid.force[0] = [1e9, 0.0, 0.0]
    rigid.step()
    assert np.isfinite(rigid.position).all()
    assert np.linalg.norm(rigid.velocity) <= FASTEST * (1 + 1e-9)


def test_fixed_things_stay() -> None:
    rigid = Rigid(
        (Solid(colliders=(BOX,), mass=1.0, position=(0.0, 3.0, 0.0), orientation=TURN, fixed=True),),
        GROUND,
        TICK,
        limit=FAR,
    )
    rigid.force[0] = [100.0, 0.0, 0.0]
    rigid.step()
    assert rigid.position[0].tolist() == [0.0, 3.0, 0.0]


def test_inertia_and_volume_of_primitives() -> None:
    assert np.allclose(np.diag(inertia_of((BALL,), 2.0)), 0.4 * 2.0 * 0.01)
    assert np.allclose(np.diag(inertia_of((BOX,), 12.0)), [0.52, 0.4, 0.2])
    can = Collider(shape="cylinder", half_size=(0.3, 0.5, 0.3))
    assert np.allclose(
        np.diag(inertia_of((can,), 12.0)), [12 * (3 * 0.09 + 1) / 12, 6 * 0.09, 12 * (3 * 0.09 + 1) / 12]
    )
    assert collider_volume(can) == pytest.approx(math.pi * 0.09)
    with pytest.raises(ValueError, match="collider.shape must be one of"):
        collider_volume(Collider(shape="cone", half_size=(1.0, 1.0, 1.0)))


def test_rotation_matrix_turns_right_handed() -> None:
    quarter = (0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5))
    assert np.allclose(rotation_matrix(quarter) @ [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0])
