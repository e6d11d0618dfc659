"""World: every kind in every place stays finite and inside; events act; ticks add up."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere import physics
from elsewhere.physics import TICK, World
from elsewhere.scene.catalogue import ENVIRONMENTS, KINDS
from elsewhere.scene.description import Behaviour, Body, Event, Scene, Weather

VERB_ORDER = ("sail", "bounce", "circle", "fall", "sink", "drift", "roll", "spin", "battle", "rest")


def crowd(place: str, names: list[str], turn: int) -> Scene:
    environment = ENVIRONMENTS[place]
    bodies = []
    for i, name in enumerate(names):
        kind = KINDS[name]
        size = min(1.0, 0.45 * environment.largest / kind.length)
        angle = 2.0 * np.pi * i / len(names)
        at = (0.6 * environment.reach * float(np.sin(angle)), 0.0, 0.6 * environment.reach * float(np.cos(angle)))
        able = [v for v in VERB_ORDER if v in kind.verbs] or ["rest"]
        bodies.append(
            Body(name=f"b{i}", kind=name, size=size, position=at, behaviours=(Behaviour(verb=able[turn % len(able)]),))
        )
    return Scene(prompt="", environment=place, bodies=tuple(bodies), weather=Weather(wind_speed=9.0, rain=0.5))


@pytest.mark.parametrize("place", sorted(ENVIRONMENTS))
def test_everything_everywhere_stays_finite_and_inside(place: str) -> None:
    environment, names = ENVIRONMENTS[place], sorted(KINDS)
    for turn, first in enumerate(range(0, len(names), 4)):
        world = World(crowd(place, names[first : first + 4], turn), turn)
        for _ in range(8):
            state = world.advance(60)
            arrays = (
                state.position,
                state.orientation,
                state.velocity,
                state.angular_velocity,
                state.water_height,
                *state.cloth,
            )
            assert all(np.isfinite(a).all() for a in arrays)
            assert (np.abs(state.position[:, [0, 2]]) <= np.array(environment.half_size) * 1.001).all()
            assert (state.position[:, 1] >= -environment.depth - 1e-6).all()


def test_shapes_and_types() -> None:
    world = World(crowd("cup of coffee", ["pirate ship", "rubber duck"], 0), 3)
    state = world.advance(4)
    assert state.tick == world.tick == 4 and TICK == 1 / 240
    assert state.water_height.shape == (128, 128) and state.water_height.dtype == np.float32
    assert state.water_flow.shape == (2, 128, 128) and world.water_mask.shape == (128, 128)
    assert world.water_cell == pytest.approx((10 / 128, 10 / 128))
    cloths = KINDS["pirate ship"].cloths
    assert [c.shape for c in state.cloth] == [(c.rows, c.columns, 3) for c in cloths]
    assert world.advance(0).digest() == state.digest()


def test_land_has_no_water() -> None:
    state = World(crowd("desert", ["ball"], 0), 0).advance(2)
    assert state.water_height.shape == (0, 0) and state.water_flow.shape == (2, 0, 0)


def test_a_state_is_a_copy() -> None:
    world = World(crowd("lake", ["crate"], 0), 0)
    before = world.state
    kept = before.position.copy()
    world.advance(60)
    assert (before.position == kept).all()


def test_ships_stay_upright_and_point_where_they_pointed() -> None:
    ship = Body(name="a", kind="pirate ship", size=0.12, behaviours=(Behaviour(verb="sail"),))
    state = World(Scene(prompt="", environment="cup of coffee", bodies=(ship,)), 1).advance(480)
    x, _, z, _ = state.orientation[0]
    assert 1 - 2 * (x * x + z * z) > 0.93
    assert state.position[0, 2] < -0.8


def test_what_is_heavier_than_water_goes_down_and_the_rest_floats() -> None:
    bodies = (
        Body(name="a", kind="rock", size=0.5, position=(-1.5, 0.0, 0.0)),
        Body(name="b", kind="crate", position=(1.5, 0.0, 0.0)),
    )
    state = World(
        Scene(prompt="", environment="cup of coffee", bodies=bodies, weather=Weather(wind_speed=0.0)), 1
    ).advance(720)
    assert state.position[0, 1] < -1.5 and abs(state.position[1, 1]) < 0.3


def test_events_push_splash_rain_and_wind() -> None:
    def run(*events: Event) -> physics.State:
        scene = Scene(
            prompt="",
            environment="lake",
            bodies=(Body(name="a", kind="crate"),),
            weather=Weather(wind_speed=0.0),
            events=events,
        )
        return World(scene, 0).advance(30)

    calm = run()
    assert not calm.water_height[:40].any()
    assert run(Event(tick=10, action="push", arguments={"body": "a", "x": 1.0})).velocity[0, 0] > 0.5
    assert (
        np.abs(run(Event(tick=10, action="splash", arguments={"x": 5.0, "z": 5.0, "height": 0.3})).water_height).max()
        > 0.05
    )
    assert np.abs(run(Event(tick=0, action="rain", arguments={"amount": 1.0})).water_height[40:]).max() > 1e-4
    assert run(Event(tick=0, action="wind", arguments={"speed": 8.0, "heading": 0.0})).tick == 30


def test_an_applied_event_equals_a_written_one() -> None:
    event = Event(tick=20, action="push", arguments={"body": 0, "z": 1.0})
    body = (Body(name="a", kind="crate"),)
    written = World(Scene(prompt="", environment="lake", bodies=body, events=(event,)), 0).advance(60)
    world = World(Scene(prompt="", environment="lake", bodies=body), 0)
    world.advance(20)
    world.apply(event)
    assert world.advance(40).digest() == written.digest()


def test_errors_name_argument_and_nearest() -> None:
    def scene(**changes: object) -> Scene:
        values = {"prompt": "", "environment": "lake", "bodies": (Body(name="a", kind="crate"),)} | changes
        return Scene(**values)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="scene.environment.*nearest is 'lake'"):
        World(scene(environment="lakee"), 0)
    with pytest.raises(ValueError, match="body.kind.*nearest is 'crate'"):
        World(scene(bodies=(Body(name="a", kind="crat"),)), 0)
    with pytest.raises(ValueError, match="body.size must be positive"):
        World(scene(bodies=(Body(name="a", kind="crate", size=0.0),)), 0)
    with pytest.raises(ValueError, match="behaviour.target"):
        World(scene(bodies=(Body(name="a", kind="crate", behaviours=(Behaviour(verb="circle", target="z"),)),)), 0)
    world = World(scene(), 0)
    with pytest.raises(ValueError, match="event.action.*nearest is 'push'"):
        world.apply(Event(tick=0, action="pus"))
    with pytest.raises(ValueError, match="body must be a name or an index"):
        world.apply(Event(tick=0, action="push", arguments={"body": 4}))
    with pytest.raises(ValueError, match="ticks must be at least 0"):
        world.advance(-1)


def test_public_names() -> None:
    constants_first = sorted(physics.__all__, key=lambda name: (not name.isupper(), name))
    assert constants_first == physics.__all__
    assert all(getattr(physics, name) is not None for name in physics.__all__)
