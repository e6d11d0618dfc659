"""Scenes to JSON and back: exact, and strict about what comes in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.scene import Behaviour, Body, Event, Scene, Shot, Weather, catalogue, from_json, parse, to_json
from elsewhere.scene.words import sample_prompt

number = st.floats(-1000, 1000, allow_nan=False)
fraction = st.floats(0, 1)
vector = st.tuples(number, number, number)
label = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | number | label

bodies = st.builds(
    Body,
    name=label,
    kind=st.sampled_from(sorted(catalogue.KINDS)),
    size=st.floats(0.001, 100),
    color=st.none() | st.tuples(fraction, fraction, fraction),
    color_name=st.none() | label,
    material=st.none() | st.sampled_from(sorted(catalogue.MATERIALS)),
    position=vector,
    orientation=st.floats(-math.pi, math.pi).map(lambda a: (0.0, math.sin(a / 2), 0.0, math.cos(a / 2))),
    velocity=vector,
    angular_velocity=vector,
    behaviours=st.lists(
        st.builds(Behaviour, verb=st.sampled_from(sorted(catalogue.VERBS)), speed=st.floats(0, 20)), max_size=3
    ).map(tuple),
)
weathers = st.builds(
    Weather,
    cloud_cover=fraction,
    fog=fraction,
    rain=fraction,
    snow=fraction,
    wind_speed=st.floats(0, 60),
    wind_heading=st.floats(-7, 7),
)
shots = st.builds(
    Shot,
    distance=st.floats(0.1, 10),
    elevation=st.floats(-1.5, 1.5),
    azimuth=st.floats(-7, 7),
    motion=st.sampled_from(["still", "orbit", "dolly in", "dolly out", "pan", "crane"]),
    rate=st.floats(-5, 5),
    field_of_view=st.floats(0.1, 2.5),
)
events = st.builds(Event, tick=st.integers(0, 2**50), action=label, arguments=st.dictionaries(label, plain, max_size=4))
scenes = st.builds(
    Scene,
    prompt=st.text(st.characters(exclude_categories=("Cs",)), max_size=100),
    environment=st.sampled_from(sorted(catalogue.ENVIRONMENTS)),
    bodies=st.lists(bodies, max_size=4, unique_by=lambda body: body.name).map(tuple),
    hour=st.floats(0, 24),
    weather=weathers,
    shot=shots,
    events=st.lists(events, max_size=3).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(scenes)
def test_any_scene_comes_back_equal(scene: Scene) -> None:
    text = to_json(scene)
    assert from_json(text) == scene
    assert to_json(from_json(text)) == text


def test_parsed_scenes_come_back_equal() -> None:
    rng = np.random.Generator(np.random.Philox(key=4))
    for seed in range(40):
        scene = parse(sample_prompt(rng), seed).scene
        assert from_json(to_json(scene)) == scene


def tree() -> dict:
    return json.loads(to_json(parse("two pirate ships battling in a lake").scene))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hour",), 25), (("hour",), "noon"), (("hour",), True), (("hour",), None), (("version",), 2), (("format",),
        "x"),
        (("environment",), "moon"), (("bodies",), {}), (("bodies", 0, "kind"), "dragon"), (("bodies", 0, "size"), 0),
        (("bodies", 0, "size"), -1), (("bodies", 0, "position"), [0, 0]), (("bodies", 0, "position"), [0, 0, 1e9]),
        (("bodies", 0, "orientation"), [0, 0, 0, 0]), (("bodies", 0, "name"), ""), (("bodies", 0, "name"),
        "pirate ship 2"),
        (("bodies", 0, "color"), [2, 0, 0]), (("bodies", 0, "material"), "cheese"), (("bodies", 0, "extra"), 1),
        (("bodies", 0, "behaviours", 0, "verb"), "fly"), (("bodies", 0, "behaviours", 0, "target"), "nobody"),
        (("weather", "rain"), 1.5), (("weather", "wind_speed"), -1), (("shot", "motion"), "shake"), (("shot",
        "distance"), 0),
        (("events",), [{"tick": -1, "action": "x"}]), (("events",), [{"tick": 0, "action": "x",
        "arguments": {"a": [1]}}]),
        (("prompt",), "x" * 2001), (("unknown field",), 1),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(path: tuple, value: object) -> None:
    changed = tree()
    node = changed
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(ValueError, match="must"):
        from_json(json.dumps(changed))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"format":NaN}',
        "[" * 100_000,
        '{"prompt":"a","prompt":"b"}',
        '{"hour":1e999}',
        None,
        b"{}",
    ],
)
def test_what_is_no_scene_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        from_json(text)  # type: ignore[arg-type]


def test_a_missing_field_is_named() -> None:
    changed = tree()
    del changed["environment"]
    with pytest.raises(ValueError, match="environment"):
        from_json(json.dumps(changed))


def test_not_a_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="hour"):
        to_json(Scene(prompt="", environment="lake", bodies=(), hour=math.nan))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        from_json(text)
