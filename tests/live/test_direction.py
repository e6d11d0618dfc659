"""Films as told: camera paths come back, shots cut, events replay; and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import elsewhere
from elsewhere.live.options import Options
from elsewhere.live.plan import camera_path_of, plan_film
from elsewhere.live.session import Session
from elsewhere.physics import World
from elsewhere.scene import PromptError
from elsewhere.scene.path_files import path_bytes

PROMPT = "a red rubber duck and a crate drifting on a lake"
QUICK = {"mode": "calculated", "size": 64, "fps": 6}


def test_a_saved_path_gives_the_same_film(tmp_path: Path) -> None:
    film = elsewhere.generate(PROMPT, camera="dolly in 0.5s, orbit left 0.5s", **QUICK)
    assert film.frames.shape[0] == 6
    path = camera_path_of(film.scene, film.ticks.tolist(), film.poses, film.focals.tolist(), 64)
    for suffix in (".json", ".npz", ".txt"):
        file = tmp_path / f"path{suffix}"
        file.write_bytes(path_bytes(path, suffix))
        again = elsewhere.generate(PROMPT, camera_path=file, seconds=1.0, **QUICK)
        np.testing.assert_array_equal(again.frames, film.frames)
        np.testing.assert_array_equal(again.poses, film.poses)


def test_shots_cut_between_the_same_things() -> None:
    shots = ["0.5s: wide shot", "0.5s: close-up of the red duck"]
    film = elsewhere.generate(PROMPT, shots=shots, **QUICK)
    steps = np.linalg.norm(np.diff(film.poses[:, :3, 3], axis=0), axis=1)
    assert steps.argmax() == 2 and steps[2] > 10 * np.delete(steps, 2).max()
    plan = plan_film(PROMPT, shots=shots)
    assert plan.takes[1].subject == ("rubber duck 1",)
    # The close-up looks at the duck, which rides on waves as high as itself.
    session = Session(plan.scene, Options(mode="calculated", width=64, height=64, fps=6), takes=plan.takes)
    frames = [session.frame() for _ in range(5)]
    duck = session.world.state.position[0]
    local = np.linalg.inv(frames[-1].c2w) @ np.append(duck, 1.0)
    assert np.abs(local[:2] / -local[2]).max() < 0.4


def test_a_painter_is_told_of_a_cut() -> None:
    told: list[bool] = []
    plan = plan_film(PROMPT, shots=["0.5s: wide", "0.5s: aerial"], events=["0.9s: add a buoy"])
    session = Session(plan.scene, Options(mode="calculated", width=64, height=64, fps=6), takes=plan.takes)
    session._painter.retell = lambda scene, *, cut: told.append(cut)  # type: ignore[method-assign]
    for _ in range(7):
        session.frame()
    assert told == [True, False]


EVENTS = ("0.2s: it starts to rain", "0.3s: add a blue and green ball next to the duck",
          "0.5s: push the ball hard to the left",
          "0.7s: remove the crate", "0.8s: the duck starts to sink", "0.9s: night falls")  # fmt: skip


def test_events_replay_to_the_same_states() -> None:
    plan = plan_film(PROMPT, events=EVENTS, seconds=1.5)
    once, again = World(plan.scene, 3), World(plan.scene, 3)
    digests = [once.advance(40).digest() for _ in range(8)]
    assert digests == [again.advance(40).digest() for _ in range(8)]
    assert [body.name for body in once.scene.bodies] == ["rubber duck 1", "ball 1"]
    assert once.scene.weather.rain == 0.6
    assert (once.scene.bodies[1].color_name, once.scene.bodies[1].second_color_name) == ("blue", "green")
    hour, weather = once.climate()
    assert 14.0 < hour < 23.0 and 0 < weather.rain <= 0.6
    # In one go, and as they come to a running world, it is the same.
    assert World(plan.scene, 3).advance(320).digest() == digests[-1]
    live = World(plan_film(PROMPT).scene, 3)
    for event in plan.scene.events:
        live.advance(event.tick - live.tick)
        live.apply(event)
    assert live.advance(320 - live.tick).digest() == digests[-1]


def test_those_who_stay_are_left_alone_by_those_who_come() -> None:
    plan = plan_film(PROMPT, events=["0.5s: add a buoy"])
    world = World(plan.scene, 0)
    before = world.advance(120)
    after = world.advance(1)
    assert len(after.position) == 3
    assert np.abs(after.position[:2] - before.position).max() < 0.02
    assert np.abs(after.velocity[:2] - before.velocity).max() < 0.2
    gaps = np.linalg.norm(after.position[2] - after.position[:2], axis=1)
    assert gaps.min() > 0.1


def test_a_film_shows_its_events() -> None:
    film = elsewhere.generate(PROMPT, events=EVENTS, seconds=3.2, **QUICK)
    day, night = (np.median(film.frames[index, -8:]) for index in (0, -1))
    assert day > 1.3 * night, "night falls on the water"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"shots": ["close-up wide shot"]}, "'close-up' and 'wide' contradict"),
        ({"shots": ["close-up of the whale"]}, "there is no whale; there is red rubber duck 1, crate 1"),
        ({"shots": ["close-up of the green duck"]}, "no rubber duck is green"),
        ({"shots": ["3s: wide"], "seconds": 2.0}, "nearest length is 3 s"),
        ({"shots": ["3s: wide", "aerial"], "seconds": 3.0}, "nearest length is 6 s"),
        ({"shots": ["blurry"]}, "not known: 'blurry'"),
        ({"shots": ["at night"]}, "'night' is no way to look"),
        ({"shots": ["wide"], "camera": "dolly in 2s"}, "say moves in each"),
        ({"camera": "aerial, low angle, dolly in 2s"}, "'aerial' and 'low angle' contradict"),
        ({"events": ["it rains"]}, "must begin with its time"),
        ({"events": ["1s: the duck explodes"]}, "The nearest event is"),
        ({"events": ["1s: add a gribble"]}, "unknown words: 'gribble'"),
        ({"events": ["9s: it rains"], "seconds": 4.0}, "after the end of the film"),
        ({"events": ["1s: push the whale left"]}, "there is no whale"),
        ({"events": [{"time": 1, "action": "explode"}]}, "one of|must be"),
        ({"events": [{"time": float("nan"), "action": "rain"}]}, "time must be from 0"),
        ({"camera_path": "nowhere.csv"}, "ending in .json"),
    ],
)
def test_what_contradicts_itself_is_refused(told: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan_film(PROMPT, **told)


def test_no_rain_falls_in_a_bathtub() -> None:
    with pytest.raises(PromptError, match="no rain or snow falls in a bathtub"):
        plan_film("a duck in a bathtub", events=["1s: it starts to rain"])


def test_what_comes_may_be_spoken_of() -> None:
    plan = plan_film(
        PROMPT,
        shots=["1s: wide", "1s: close-up of the whale"],
        events=["0.5s: a whale appears", "1s: push the whale away"],
    )
    assert plan.takes[1].subject == ("whale 1",)
    assert [event.action for event in plan.scene.events] == ["add", "push"]
