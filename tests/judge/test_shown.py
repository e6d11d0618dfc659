"""What pictures show, read from path-traced pictures of known worlds: as they are, turned round, exchanged, emptied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from elsewhere.judge import Bench, Library, Studio
from elsewhere.judge.control import depth_error, pose_error, share_shown
from elsewhere.judge.flicker import carried, change
from elsewhere.judge.heading import Heading, read_heading, ship_of
from elsewhere.judge.loop import FARTHEST, START, looks
from elsewhere.judge.otherwise import drawing, seen_pixels, stage_without, turned
from elsewhere.judge.permanence import mistaken, tried, two_of_a_kind
from elsewhere.judge.play import Look, Moment, Play, shown
from elsewhere.scene import parse

SHIP = "a red sailboat sailing and a yellow ball on a lake at noon, clear, close-up"


@pytest.fixture(scope="module")
def play() -> Play:
    return Play(parse(SHIP, seed=3).scene, seed=3, size=96, samples=16, library=Library())


@pytest.fixture(scope="module")
def moment(play: Play) -> Moment:
    (found,) = play.following([24], 0)
    return found


def reference(play: Play, moment: Moment) -> np.ndarray:
    return shown(play.halves(moment.state, moment.camera)[0])


def test_the_heading_of_a_reference_picture_is_the_calculated_one(play: Play, moment: Moment) -> None:
    assert ship_of(play.scene) == 0
    assert seen_pixels(moment, 0) > 200
    error = read_heading(play, moment, 0, reference(play, moment))
    assert error is not None
    assert abs(error) < 3.0


def test_checks_that_the_reference_misreads_do_not_count() -> None:
    row = {
        "prompt": "",
        "grounded": [1.0, -90.0, -2.0],
        "reference": [0.5, 170.0, -1.5],
        "flipped": [180.0, 9.0, 178.0],
    }
    bench = Bench(studios=(Studio("grounded", "", lambda *_: None),), library=Library(), scenes=2)  # type: ignore[arg-type]
    lines = {line.what: line for line in Heading().lines(bench, [row])}
    assert lines["heading error over 10 s"].value == 1.5
    assert lines["heading error over 10 s"].reached
    assert lines["heading error over 10 s"].floor == 179.0
    assert lines["heading error, the largest"].value == 2.0
    assert lines["headings that reference pictures show"].value == 2.0
    assert lines["headings looked for"].value == 3.0


@pytest.mark.parametrize("degrees", [180.0, -40.0])
def test_a_ship_that_was_turned_is_read_as_turned(play: Play, moment: Moment, degrees: float) -> None:
    other = turned(play.scene, moment.state, 0, np.radians(degrees))
    error = read_heading(play, moment, 0, shown(play.halves(other, moment.camera)[0]))
    assert error is not None
    assert abs((error - degrees + 180.0) % 360.0 - 180.0) < 4.0


def test_things_that_changed_places_or_are_gone_are_not_shown(play: Play, moment: Moment) -> None:
    assert two_of_a_kind(play.scene)
    drawings = tried(play, moment)
    seen = sorted(drawings.others)
    assert 0 in seen
    whole = reference(play, moment)
    assert all(drawings.shows(whole, number) for number in seen)
    wrong = mistaken(play, moment, seen)
    assert not any(drawings.shows(wrong, number) for number in seen)
    stage, state = stage_without(play, moment.state, frozenset({0}))
    empty = shown(play.halves(state, moment.camera, stage)[0])
    assert drawings.shows(empty, 0) is False
    assert drawings.shows(np.full_like(whole, 0.5), 0) is not None


def test_the_mask_of_things_and_the_pose_of_the_camera(play: Play, moment: Moment) -> None:
    full = drawing(play.stage, moment.state, moment.camera)
    stage, state = stage_without(play, moment.state, frozenset(range(len(play.scene.bodies))))
    empty = drawing(stage, state, moment.camera)
    true = (moment.guide.instance >= 0) & (moment.guide.instance < len(play.scene.bodies))
    right = share_shown(reference(play, moment), full, empty, true)
    gone = share_shown(shown(play.halves(state, moment.camera, stage)[0]), full, empty, true)
    assert right is not None
    assert gone is not None
    assert right > 0.9
    assert gone < 0.1
    assert share_shown(full, full, full, true) is None
    standing = replace(moment, camera=play.camera(moment.frame))
    aside = play.camera(moment.frame, Look(yaw=float(np.radians(5.0))))
    here = shown(play.halves(moment.state, standing.camera)[0])
    there = shown(play.halves(moment.state, aside)[0])
    assert pose_error(play, standing, Look(), here) == pytest.approx(0.0, abs=1.0)
    assert pose_error(play, standing, Look(), there) == pytest.approx(5.0, abs=1.0)


def test_depth_up_to_scale() -> None:
    true = np.random.default_rng(0).uniform(1.0, 9.0, (8, 8))
    assert depth_error(3.0 * true, true) == pytest.approx(0.0, abs=1e-6)
    assert depth_error(true**2, true) == pytest.approx(float(np.log(true).std()))
    assert depth_error(np.full((8, 8), np.inf), true) is None


def test_what_moves_as_calculated_does_not_flicker() -> None:
    image = np.random.default_rng(1).random((16, 20))
    motion = np.zeros((16, 20, 2), np.float32)
    motion[..., 0], motion[..., 1] = 3.0, 1.0
    now, inside = carried(image, motion)
    assert now[1:, 3:] == pytest.approx(image[:-1, :-3])
    assert inside.sum() == 15 * 17
    half, _ = carried(np.tile(np.arange(20.0), (16, 1)), motion * 0.5)
    assert half[5, 10] == pytest.approx(8.5)


def moving(play: Play) -> Iterator[Moment]:
    return play.moments((frame, Look(yaw=0.02 * frame)) for frame in (26, 27))


def test_flicker_is_what_motion_does_not_explain(play: Play, moment: Moment) -> None:
    before, now = moving(play)
    pictures = [drawing(play.stage, m.state, m.camera) for m in (before, now)]
    steady, where = change(*pictures, before.guide, now.guide)
    rng = np.random.default_rng(0)
    noisy = [np.clip(p + rng.normal(0.0, 0.1, p.shape), 0, 1).astype(np.float32) for p in pictures]
    restless, _ = change(*noisy, before.guide, now.guide)
    assert where.mean() > 0.2
    assert (steady[where] ** 2).mean() < 0.6 * (restless[where] ** 2).mean()


def test_the_camera_goes_and_returns_while_no_time_passes() -> None:
    way = [(frame, look.yaw) for frame, look in looks()]
    assert way[START] == (START, 0.0)
    assert way[-1] == (START, pytest.approx(0.0, abs=1e-12))
    assert max(yaw for _, yaw in way) == pytest.approx(FARTHEST)
