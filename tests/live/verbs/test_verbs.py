"""Each verb on a film of our own and on one from elsewhere, with the number that shows that it works."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import elsewhere
from elsewhere.live.carry import Way, apart, dissolve, nearest_zoom, shifted, smooth_noise, start_map
from elsewhere.live.film import generate
from elsewhere.live.origin import Origin
from elsewhere.live.reader import Clip, read_clip, read_picture
from elsewhere.live.verbs import animate, connect, edit, extend, loop, still
from elsewhere.live.verbs.work import psnr_db, steps_db

BOAT = "a red sailboat sailing on the open sea at noon"
EVENING = "a white sailboat sailing on the open sea at sunset"


def own(prompt: str, frames: int = 12, seed: int = 0) -> Clip:
    film = generate(prompt, seconds=frames / 24, size=64, seed=seed)
    return Clip(frames=film.frames, fps=24, origin=Origin(scene=film.scene, options=film.options, frames=frames))


@pytest.fixture(scope="module")
def boat() -> Clip:
    return own(BOAT)


@pytest.fixture(scope="module")
def evening() -> Clip:
    return own(EVENING)


def foreign(clip: Clip) -> Clip:
    return replace(clip, origin=None)


def test_forward_is_what_would_have_come(boat: Clip) -> None:
    made = extend(boat, forward=0.25)
    np.testing.assert_array_equal(made.frames, generate(BOAT, seconds=0.75, size=64).frames)
    assert made.origin is not None
    assert (made.origin.exact, made.origin.frames, made.grounded) == (True, 18, True)


def test_backward_joins(boat: Clip) -> None:
    made = extend(boat, backward=0.25)
    np.testing.assert_array_equal(made.frames[6:], boat.frames)
    assert made.measures["backward_joint_db"] > made.measures["steps_p10_db"] - 1.5
    assert made.origin is not None
    assert made.origin.first == -6
    again = extend(replace(boat, frames=made.frames, origin=made.origin), forward=0.25)
    assert len(again.frames) == 24
    assert again.measures["forward_joint_db"] > again.measures["steps_p10_db"] - 1.5


def test_a_clip_that_is_not_what_it_says_is_not_replaced(boat: Clip) -> None:
    changed = replace(boat, frames=np.ascontiguousarray(boat.frames[:, :, ::-1]))
    made = extend(changed, forward=0.25)
    np.testing.assert_array_equal(made.frames[:12], changed.frames)
    assert made.origin is not None
    assert not made.origin.exact


def test_foreign_clips_go_on_under_a_prompt(boat: Clip) -> None:
    made = extend(foreign(boat), forward=0.2, backward=0.2, prompt=BOAT)
    np.testing.assert_array_equal(made.frames[5:17], boat.frames)
    assert made.measures["forward_joint_db"] > 25.0
    assert made.measures["backward_joint_db"] > 25.0
    assert not np.array_equal(made.frames[-1], boat.frames[-1])
    assert not made.grounded


@pytest.mark.parametrize("kind", ["prompt", "own", "foreign"])
def test_a_loop_has_no_seam(boat: Clip, kind: str) -> None:
    if kind == "prompt":
        made = loop(prompt=BOAT, seconds=0.5, size=64)
    else:
        made = loop(boat if kind == "own" else foreign(boat))
    steps = steps_db(made.frames, ring=True)
    assert steps[-1] == pytest.approx(made.measures["seam_db"], abs=0.01)
    assert steps[-1] > np.sort(steps[:-1])[1] - (1.0 if kind != "foreign" else 3.0)
    assert len(made.frames) == (12 if kind != "foreign" else 8)


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_the_more_strength_the_farther_from_the_clip(boat: Clip, kind: str) -> None:
    clip = boat if kind == "own" else foreign(boat)
    found = [edit(clip, EVENING, strength=s).measures["source_db"] for s in (0.0, 0.3, 0.6, 1.0)]
    assert found[0] == 99.0
    assert all(a > b for a, b in itertools.pairwise(found))


def test_an_edit_ends_at_the_new_words(boat: Clip) -> None:
    made = edit(boat, "at sunset", strength=1.0)
    assert made.origin is not None
    assert "sunset" in made.origin.scene.prompt
    assert made.origin.scene.bodies[0].position == boat.origin.scene.bodies[0].position  # type: ignore[union-attr]
    assert made.frames[0].mean(axis=(0, 1))[0] > made.frames[0].mean(axis=(0, 1))[2] - 60


@pytest.mark.parametrize("kind", ["same things", "other things", "foreign"])
def test_a_passage_joins_both(boat: Clip, evening: Clip, kind: str) -> None:
    second = own("a rubber duck in a bathtub") if kind == "other things" else evening
    pair = (boat, second) if kind != "foreign" else (foreign(boat), foreign(second))
    made = connect(*pair, seconds=0.5)
    assert len(made.frames) == 36
    np.testing.assert_array_equal(made.frames[:12], boat.frames)
    np.testing.assert_array_equal(made.frames[24:], second.frames)
    inner = steps_db(made.frames[12:24])
    for name in ("first_joint_db", "second_joint_db"):
        assert made.measures[name] > inner.min() - 3.0, name
    # It is a passage: near the first at its beginning, near the second at its end.
    near = [psnr_db(f, boat.frames[-1]) - psnr_db(f, second.frames[0]) for f in made.frames[12:24]]
    assert near[0] > 0 > near[-1]


def test_a_picture_begins_to_move(boat: Clip) -> None:
    first = replace(boat, frames=boat.frames[:1])
    made = animate(first, BOAT, seconds=0.3)
    np.testing.assert_array_equal(made.frames[0], boat.frames[0])
    assert made.measures["first_frame_db"] > 30.0
    assert psnr_db(made.frames[4], boat.frames[4]) > 25.0
    assert made.grounded
    other = animate(foreign(first), BOAT, seconds=0.3, camera="orbiting")
    assert other.measures["first_frame_db"] > 28.0
    assert not np.array_equal(other.frames[0], other.frames[-1])


def test_stills_of_any_shape(tmp_path: Path) -> None:
    made = still(BOAT, size=(96, 64), at=0.5, mode="calculated")
    assert made.frames.shape == (1, 64, 96, 3)
    made.save(tmp_path / "boat.png")
    film = generate(BOAT, seconds=0.6, size=(96, 64), mode="calculated")
    np.testing.assert_array_equal(made.frames[0], film.frames[12])
    back = read_picture(tmp_path / "boat.png")
    np.testing.assert_array_equal(back.frames, made.frames)
    assert back.origin == made.origin


def test_the_same_again(boat: Clip, evening: Clip) -> None:
    for make in (
        lambda: edit(boat, EVENING, strength=0.5),
        lambda: loop(foreign(boat), seed=3),
        lambda: connect(foreign(boat), foreign(evening), seconds=0.2, seed=4),
    ):
        np.testing.assert_array_equal(make().frames, make().frames)


def test_files_there_and_back(boat: Clip, tmp_path: Path) -> None:
    extend(boat, forward=0.1).save(tmp_path / "longer.mp4")
    clip = read_clip(tmp_path / "longer.mp4")
    assert clip.origin is not None
    assert clip.origin.frames == len(clip.frames) == 14
    assert elsewhere.extend is extend


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda c: edit(c, EVENING, strength=1.4), "strength must be from 0 .* The nearest is 1"),
        (lambda c: edit(c, EVENING, strength=float("nan")), "strength must be from 0"),
        (lambda c: edit(foreign(c), "qqzzx"), "prompt must name"),
        (lambda c: extend(c), "forward or backward must be more than 0"),
        (lambda c: extend(c, forward=-1.0), "forward must be more than 0"),
        (lambda c: extend(c, forward=61.0), "The nearest is 60"),
        (lambda c: extend(foreign(c), forward=1.0), "prompt must be given"),
        (lambda c: loop(), "either a clip or a prompt"),
        (lambda c: loop(c, prompt="x"), "either a clip or a prompt"),
        (lambda c: loop(prompt=BOAT, seconds=0.1, size=64), "at least 0.5"),
        (lambda c: loop(replace(c, frames=c.frames[:3])), "at least 8 frames"),
        (lambda c: connect(c, replace(c, frames=c.frames[:, :48])), "one size"),
        (lambda c: connect(c, replace(c, fps=12)), "one frame rate"),
        (lambda c: connect(c, c, seconds=0.0), "seconds must be more than 0"),
        (lambda c: still(BOAT, size=100), "The nearest is 96"),
        (lambda c: still(BOAT, at=-1.0), "at must be more than 0"),
    ],
)
def test_mistakes_are_told(boat: Clip, make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(boat)  # type: ignore[operator]


def test_a_dissolve_takes_every_pixel_once() -> None:
    order = smooth_noise(32, 48, 1)
    shares = [dissolve(s, order) for s in np.linspace(0.0, 1.0, 9)]
    assert shares[0].max() == 0.0
    assert shares[-1].min() == 1.0
    assert all((b >= a).all() for a, b in itertools.pairwise(shares))
    assert dissolve(0.5, order).mean() == pytest.approx(0.5, abs=0.03)


def test_what_lies_elsewhere_is_found_and_shifted() -> None:
    picture = np.repeat(smooth_noise(64, 64, 2)[..., None], 3, axis=-1) + 0.3 * (
        np.random.default_rng(0).random((64, 64, 1)).astype(np.float32)
    )
    other = np.roll(picture, (3, -5), axis=(0, 1))
    way = apart(picture, other)
    np.testing.assert_array_equal(way, [-5, 3])
    np.testing.assert_allclose(shifted(picture, other, 0.0, way)[0], picture, atol=1e-6)
    np.testing.assert_allclose(shifted(picture, other, 1.0, way)[1], other, atol=1e-6)
    far = np.roll(picture, (4, -6), axis=(0, 1))
    for half in shifted(picture, far, 0.5, np.array([-6.0, 4.0])):
        np.testing.assert_allclose(half[8:-8, 8:-8], np.roll(picture, (2, -3), axis=(0, 1))[8:-8, 8:-8], atol=1e-5)


def test_a_picture_moves_as_a_whole() -> None:
    """A motion that is a zoom but for a small thing: the map is that of the whole, and the thing moves it little."""
    places = start_map(64, 64)
    motion = (places - 32.0) * 0.02 + np.float32(1.5)
    motion[20:30, 20:30] += 6.0
    step = nearest_zoom(motion)
    np.testing.assert_allclose(step, [[0.98, 0.0, -0.86], [0.0, 0.98, -0.86], [0.0, 0.0, 1.0]], atol=0.02)
    way = Way(64, 64)
    for _ in range(3):
        made = way.go(motion)
    wanted = np.linalg.matrix_power(step, 3)
    whole = places @ wanted[:2, :2].T + wanted[:2, 2]
    assert np.abs(made - whole).max() < 0.016 * 64
