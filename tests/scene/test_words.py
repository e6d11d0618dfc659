"""Prompts to scenes: what is understood, what is refused, and what is placed where."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.scene import Parsed, PromptError, Scene, catalogue, parse
from elsewhere.scene.words import caption_tokens, sample_prompt, vocabulary
from elsewhere.scene.words.lexicon import lexicon, nearest
from elsewhere.scene.words.light import HOURS, hour_word
from elsewhere.scene.words.place import GAP, lowest

FLAGSHIP = "two pirate ships battling each other as they sail inside a cup of coffee"


def verbs(scene: Scene, index: int = 0) -> dict[str, str | None]:
    return {behaviour.verb: behaviour.target for behaviour in scene.bodies[index].behaviours}


def kinds(scene: Scene) -> list[str]:
    return [body.kind for body in scene.bodies]


def test_two_ships_battle_in_a_cup() -> None:
    parsed = parse(FLAGSHIP)
    scene = parsed.scene
    assert parsed.unknown == ()
    assert parsed.notes == ()
    assert scene.environment == "cup of coffee"
    assert kinds(scene) == ["pirate ship", "pirate ship"]
    assert verbs(scene, 0) == {"battle": "pirate ship 2", "sail": None}
    assert verbs(scene, 1) == {"battle": "pirate ship 1", "sail": None}


def test_battling_ships_show_each_other_their_broadsides() -> None:
    first, second = parse(FLAGSHIP).scene.bodies
    between = np.subtract(second.position, first.position)
    for body in (first, second):
        assert abs(np.dot(body.velocity, between)) < 1e-6 * np.linalg.norm(between)
        assert np.linalg.norm(body.velocity) > 0


def test_colour_place_and_light() -> None:
    scene = parse("a red rubber duck drifting in a bathtub at dusk").scene
    (duck,) = scene.bodies
    assert (duck.kind, duck.color_name, duck.color) == ("rubber duck", "red", catalogue.COLORS["red"])
    assert (scene.environment, hour_word(scene.hour)) == ("bathtub", "dusk")
    assert verbs(scene) == {"drift": None}


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("a ball", 1), ("two balls", 2), ("three balls", 3), ("a pair of balls", 2), ("half a dozen balls", 6),
        ("a dozen balls", 12), ("several balls", 4), ("a fleet of pirate ships", 5), ("7 balls", 7), ("balls", 3),
        ("two dozen balls", 12), ("-3 balls", 1), ("1000000 balls", 12), ("0.2 balls", 1),
    ],
)  # fmt: skip
def test_counts(prompt: str, count: int) -> None:
    assert len(parse(prompt).scene.bodies) == count


@pytest.mark.parametrize("prompt", ["-3 balls", "a thousand balls", "two dozen balls"])
def test_an_impossible_count_is_noted(prompt: str) -> None:
    assert any("not possible" in note for note in parse(prompt).notes)


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("a sailboat", "open sea"), ("a rubber duck", "bathtub"), ("a toy car", "tabletop"), ("a teapot", "tabletop"),
        ("a snowman", "snowy field"), ("a crate floating", "lake"), ("a crate", "desert"), ("a crate while it snows",
        "snowy field"),
        ("a house on an island in a lake", "lake"), ("a sailboat in the snow", "open sea"), ("a snowman in the snow",
        "snowy field"),
        ("a teapot on a table", "tabletop"), ("a ball inside a cup", "cup of coffee"), ("a galleon in the atlantic",
        "open sea"),
    ],
)  # fmt: skip
def test_places(prompt: str, place: str) -> None:
    assert parse(prompt).scene.environment == place


def test_a_thing_on_a_thing_in_a_place() -> None:
    house, island = parse("a house on an island in a lake").scene.bodies
    assert (house.kind, island.kind) == ("house", "island")
    assert house.position[1] > 0.0
    assert (
        np.hypot(house.position[0] - island.position[0], house.position[2] - island.position[2])
        < 0.3 * 16 * island.size
    )


def test_what_does_not_float_gets_an_island() -> None:
    assert kinds(parse("a house in a lake").scene) == ["house", "island"]


def test_and_joins_subjects_but_not_deeds() -> None:
    shared = parse("a red ball and a blue crate floating in a lake").scene
    assert [list(verbs(shared, index)) for index in (0, 1)] == [["drift"], ["drift"]]
    apart = parse("a ball rolling and a crate falling in the desert").scene
    assert [list(verbs(apart, index)) for index in (0, 1)] == [["roll"], ["fall"]]


def test_adjectives_before_and_behind() -> None:
    ball = parse("a ball that is painted green").scene.bodies[0]
    assert ball.color_name == "green"
    crate = parse("a wooden crate").scene.bodies[0]
    assert crate.material == "wood"
    duck = parse("a drifting duck and a sinking ship").scene
    assert verbs(duck, 0) == {"drift": None}
    assert verbs(duck, 1) == {"sink": None}


def test_circling_a_target() -> None:
    for prompt in ("three boats circling an island", "three boats sailing around an island"):
        scene = parse(prompt).scene
        assert all(verbs(scene, index).get("circle") == "island 1" for index in range(3))


@pytest.mark.parametrize(
    "relation", ["on", "next to", "behind", "in front of", "left of", "right of", "near", "under", "above"]
)
def test_relations_keep_things_apart(relation: str) -> None:
    first, second = parse(f"a ball {relation} a crate in the desert").scene.bodies
    flat = np.hypot(first.position[0] - second.position[0], first.position[2] - second.position[2])
    if relation in ("on", "above"):
        assert first.position[1] > second.position[1]
        assert flat < 0.2
    elif relation != "under":
        assert flat >= 0.5 * (0.22 * first.size + 0.6 * second.size)


def test_between() -> None:
    scene = parse("a ball between a crate and a barrel in the desert").scene
    ball, crate, barrel = (np.array(body.position)[[0, 2]] for body in scene.bodies)
    to_crate, to_barrel = crate - ball, barrel - ball
    assert np.dot(to_crate, to_barrel) / np.linalg.norm(to_crate) / np.linalg.norm(to_barrel) < -0.9


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("in the fog", lambda w: w.fog > 0.4), ("stormy", lambda w: w.rain > 0.7 and w.wind_speed > 12),
        ("overcast", lambda w: w.cloud_cover > 0.9), ("on a windy day", lambda w: w.wind_speed > 8),
        ("while it is snowing", lambda w: w.snow > 0.5), ("in the rain", lambda w: w.rain > 0.4),
        ("on a clear day", lambda w: w.cloud_cover < 0.1), ("without clouds", lambda w: w.cloud_cover < 0.1),
    ],
)  # fmt: skip
def test_weather(words: str, check) -> None:
    assert check(parse(f"a sailboat at sea {words}").scene.weather)


@pytest.mark.parametrize("word", sorted(HOURS))
def test_light(word: str) -> None:
    assert hour_word(parse(f"a sailboat at {word}").scene.hour) == word


@pytest.mark.parametrize(
    ("words", "name", "check"),
    [
        ("close-up", "distance", lambda x: x < 0.8), ("from above", "elevation", lambda x: x > 1),
        ("wide shot", "distance", lambda x: x > 1.4), ("orbiting camera", "motion", lambda x: x == "orbit"),
        ("low angle", "elevation", lambda x: x < 0.1), ("panning", "motion", lambda x: x == "pan"),
        ("zooming in", "motion", lambda x: x == "dolly in"), ("dolly out", "motion", lambda x: x == "dolly out"),
    ],
)  # fmt: skip
def test_camera_words(words: str, name: str, check) -> None:
    assert check(getattr(parse(f"a sailboat at sea, {words}").scene.shot, name))


def test_sizes() -> None:
    small, big = (parse(f"a {word} crate").scene.bodies[0].size for word in ("tiny", "giant"))
    assert small < 1.0 < big


def test_unknown_words_come_back_with_the_nearest() -> None:
    parsed = parse("a galleon and a dragon in the ocean")
    assert [word for word, _near in parsed.unknown] == ["dragon"]
    assert kinds(parsed.scene) == ["pirate ship"]
    assert parse("a red duk").unknown == (("duk", "duck"),)
    assert kinds(parse("a red duk").scene) == ["rubber duck"]


def test_nearest_goes_by_meaning() -> None:
    assert nearest("airplane")[0] == "sailboat"
    assert nearest("goose")[0] == "rubber duck"


def test_a_verb_that_a_kind_cannot_do_is_noted() -> None:
    assert any("cannot" in note for note in parse("a house sailing").notes)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   ",
        "xqzzy",
        "love and sadness",
        "a" * 2001,
        "a\0b",
        "a duck \ud800",
        "\x1b[31mduck",
        None,
        7,
        b"duck",
        ["duck"],
    ],
)
def test_refused_with_a_way_out(prompt: object) -> None:
    with pytest.raises(PromptError) as caught:
        parse(prompt)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert "must" in str(caught.value)
    assert any(word in str(caught.value) for word in ("write", "things", "name"))


def test_nothing_known_lists_what_is() -> None:
    with pytest.raises(PromptError) as caught:
        parse("the meaning of sadness")
    assert "pirate ship" in str(caught.value)
    assert "cup of coffee" in str(caught.value)


def test_same_prompt_and_seed_same_scene() -> None:
    assert parse(FLAGSHIP, 3) == parse(FLAGSHIP, 3)
    assert parse("three balls in a desert", 3).scene != parse("three balls in a desert", 4).scene


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gives_a_scene_or_a_prompt_error(text: str) -> None:
    with contextlib.suppress(PromptError):
        assert isinstance(parse(text), Parsed)


_WORDS = sorted({" ".join(phrase) for phrase in lexicon().phrases if len(phrase) == 1})
_FREQUENT = ["a", "the", "and", "on", "in", "with", "it", "they", "each other", "is", "no", ",", ".", "ship", "duck",
"ball", "lake", "around",
             "between", "circling", "battling", "sailing", "red", "two"]  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(_FREQUENT) | st.sampled_from(_WORDS), max_size=24))
def test_any_order_of_known_words_is_read(words: list[str]) -> None:
    try:
        scene = parse(" ".join(words)[:2000]).scene
    except PromptError:
        return
    assert len(scene.bodies) <= 24
    names = {body.name for body in scene.bodies}
    for body in scene.bodies:
        assert np.isfinite([*body.position, *body.velocity, body.size]).all()
        assert body.size > 0
        assert all(behaviour.target is None or behaviour.target in names for behaviour in body.behaviours)
    assert set(caption_tokens(scene)) <= set(vocabulary())


def samples(count: int) -> list[str]:
    rng = np.random.Generator(np.random.Philox(key=20))
    return [sample_prompt(rng) for _ in range(count)]


def test_sampled_prompts_are_understood_and_varied() -> None:
    prompts = samples(200)
    assert len(set(prompts)) > 190
    for prompt in prompts:
        parsed = parse(prompt)
        assert parsed.unknown == (), prompt
        assert not any("cannot" in note or "left out" in note or "took" in note for note in parsed.notes), (
            prompt,
            parsed.notes,
        )
        tokens = caption_tokens(parsed.scene)
        assert 0 < len(tokens) <= 24
        assert set(tokens) <= set(vocabulary()), prompt
    assert {parse(prompt).scene.environment for prompt in prompts} == set(catalogue.ENVIRONMENTS)


def test_things_do_not_overlap_and_stay_inside() -> None:
    for prompt in samples(120):
        scene = parse(prompt).scene
        place = catalogue.ENVIRONMENTS[scene.environment]
        spots = np.array([body.position for body in scene.bodies])[:, [0, 2]]
        radii = np.array([0.5 * body.size * catalogue.KINDS[body.kind].length for body in scene.bodies])
        assert (2 * radii <= place.largest * 1.001).all(), prompt
        distance = np.linalg.norm(spots[:, None] - spots[None], axis=2) + np.eye(len(radii)) * 1e9
        assert (distance >= 0.999 * GAP * (radii[:, None] + radii[None])).all(), prompt
        limit = np.array(place.half_size)
        assert (np.abs(spots) <= limit).all(), prompt


def test_standing_things_have_their_feet_on_the_ground() -> None:
    for prompt in ("a crate in the desert", "a teapot on a table", "a snowman"):
        (body,) = parse(prompt).scene.bodies
        foot = body.position[1] + lowest(body.kind) * body.size
        assert abs(foot) < 1e-6 or catalogue.KINDS[body.kind].fixed


def test_falling_things_start_above() -> None:
    (ball,) = parse("a ball bouncing in the desert").scene.bodies
    assert 1.0 <= (ball.position[1] + lowest("ball") * ball.size) / 0.22 <= 2.0


def test_a_caption_does_not_depend_on_the_wording() -> None:
    first = parse("two red boats drifting on a lake at sunset").scene
    second = parse("at sundown, a pair of crimson sailboats floats in a pond").scene
    assert caption_tokens(first) == caption_tokens(second)


def test_vocabulary_is_sorted_and_has_everything() -> None:
    words = vocabulary()
    assert list(words) == sorted(set(words))
    assert {*catalogue.KINDS, *catalogue.ENVIRONMENTS, *catalogue.VERBS, *catalogue.COLORS} <= set(words)


def test_importing_the_package_is_light() -> None:
    code = "import sys, elsewhere.scene; print('numpy' in sys.modules, 'elsewhere.scene.words' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_two_colours_of_one_thing() -> None:
    for prompt in ("a red and white ball", "a red, white ball", "a duck next to a red and white ball"):
        ball = next(body for body in parse(prompt).scene.bodies if body.kind == "ball")
        assert (ball.color_name, ball.second_color_name) == ("red", "white"), prompt
    apart = parse("a red ball and a white duck").scene.bodies
    assert [(body.color_name, body.second_color_name) for body in apart] == [("red", None), ("white", None)]
    one = parse("a red and white crate")
    assert one.scene.bodies[0].second_color_name is None
    assert any("a crate has one colour: left out 'white'" in note for note in one.notes)
    assert any("at most" in note for note in parse("a red and white and blue ball").notes)


def test_chasing_and_crashing() -> None:
    def deeds(prompt: str) -> list[tuple[str, str | None, float]]:
        parsed = parse(prompt)
        assert not parsed.unknown
        (first, *_) = parsed.scene.bodies[0].behaviours
        return [(first.verb, first.target, first.speed)]

    assert deeds("a red duck chasing a gold ship in coffee") == [("sail", "pirate ship 1", 1.2)]
    assert deeds("a ship follows the red and blue lighthouse at sea") == [("sail", "lighthouse 1", 1.0)]
    assert deeds("a toy car crashing into a crate on a table") == [("roll", "crate 1", 1.8)]
    assert deeds("two ships crashing into each other at sea") == [("sail", "pirate ship 2", 1.8)]
