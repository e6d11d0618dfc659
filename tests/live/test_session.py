"""A session's frames: same seed, same bits; whole frames; a camera that follows hands."""

from __future__ import annotations

import numpy as np
import pytest

import elsewhere
from elsewhere.live import Controls, Frame, Options, Session
from elsewhere.live.film import read_prompt
from elsewhere.live.frame import STAGES, depth_range
from elsewhere.scene import PromptError

PROMPT = "a red rubber duck drifting in a bathtub at dusk"
OPTIONS = Options(mode="calculated", width=64, height=64)


def session(**changes: int | str) -> Session:
    return Session(read_prompt(PROMPT).scene, OPTIONS, **changes)


def same(a: Frame, b: Frame) -> bool:
    return bool(np.array_equal(a.rgb, b.rgb) and np.array_equal(a.depth, b.depth) and np.array_equal(a.c2w, b.c2w))


def test_frames_travel_whole() -> None:
    running = session(width=96)
    frames = [running.frame() for _ in range(3)]
    assert [frame.frame_id for frame in frames] == [0, 1, 2]
    assert [frame.tick for frame in frames] == [0, 10, 20]
    assert len({frame.world_id for frame in frames}) == 1
    for frame in frames:
        assert frame.rgb.shape == (64, 96, 3)
        assert frame.rgb.dtype == np.uint8
        assert frame.depth.shape == (64, 96)
        assert frame.depth.dtype == np.float32
        finite = frame.depth[np.isfinite(frame.depth)]
        assert frame.near <= finite.min() * 1.001
        assert frame.far >= finite.max() * 0.999
        assert tuple(frame.timings) == STAGES
        assert all(clock >= 0 for clock in frame.timings.values())
        np.testing.assert_allclose(frame.c2w[:3, :3] @ frame.c2w[:3, :3].T, np.eye(3), atol=1e-9)
    assert frames[0].rgb.std() > 5


def test_the_same_seed_and_hands_give_the_same_bits() -> None:
    hands = [Controls(), Controls(yaw=0.2), Controls(yaw=0.2, pitch=-0.1, offset=(0.1, 0.0, -0.1))]
    once, again = session(), session()
    assert all(same(once.frame(h), again.frame(h)) for h in hands)


def test_another_seed_is_another_world() -> None:
    assert session().frame().world_id != session(seed=1).frame().world_id


def test_looking_left_moves_the_picture_right() -> None:
    ahead, left = session().frame(), session().frame(Controls(yaw=0.1))
    shift = round(0.1 * ahead.focal)
    moved = np.abs(left.rgb[:, shift:].astype(int) - ahead.rgb[:, :-shift]).mean()
    still = np.abs(left.rgb.astype(int) - ahead.rgb).mean()
    assert moved < 0.7 * still


def test_an_offset_moves_the_camera_in_its_own_axes() -> None:
    here, there = session().frame(), session().frame(Controls(offset=(0.1, 0.05, 0.0)))
    step = there.c2w[:3, 3] - here.c2w[:3, 3]
    assert step @ here.c2w[:3, 0] == pytest.approx(0.1, abs=1e-9)
    assert step[1] == pytest.approx(0.05, abs=1e-9)


def test_skipping_leaves_frames_out_and_time_goes_on() -> None:
    running = session()
    assert running.frame(skip=2).tick == 0
    assert running.frame().tick == 30
    assert running.frame().tick == 40


@pytest.mark.parametrize("fps", [24, 25, 60])
def test_time_is_the_same_at_any_rate(fps: int) -> None:
    running = session(fps=fps)
    ticks = [running.frame().tick for _ in range(6)]
    assert ticks == [round(240 * i / fps) for i in range(6)]


def test_depth_range_of_sky_alone() -> None:
    assert depth_range(np.full((4, 4), np.inf, np.float32)) == (0.1, 100.0)


def test_generate_gives_arrays_that_belong_together() -> None:
    seen: list[tuple[int, int]] = []
    film = elsewhere.generate(
        PROMPT, seconds=0.25, size=64, mode="calculated", progress=lambda done, count: seen.append((done, count))
    )
    assert film.frames.shape == (6, 64, 64, 3)
    assert film.depths.shape == (6, 64, 64)
    assert film.poses.shape == (6, 4, 4)
    assert film.focals.shape == film.ticks.shape == (6,)
    assert seen == [(i, 6) for i in range(1, 7)]
    again = elsewhere.generate(PROMPT, seconds=0.25, size=64, mode="calculated")
    np.testing.assert_array_equal(film.frames, again.frames)
    np.testing.assert_array_equal(film.depths, again.depths)


def test_camera_words_change_the_shot_and_nothing_else() -> None:
    plain, above = read_prompt(PROMPT), read_prompt(PROMPT, camera="from above")
    assert above.scene.shot.elevation > plain.scene.shot.elevation
    assert above.scene.bodies == plain.scene.bodies
    assert above.scene.prompt == PROMPT


@pytest.mark.parametrize("camera", ["", "sideways through a keyhole", "a rubber duck"])
def test_camera_words_that_say_nothing(camera: str) -> None:
    with pytest.raises(PromptError, match=r"camera|empty"):
        read_prompt(PROMPT, camera=camera)


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 100_000, "\x00\x01", "qqqqzz wrbl"])
def test_prompts_that_say_nothing(prompt: str) -> None:
    with pytest.raises(PromptError, match="prompt must"):
        elsewhere.generate(prompt, mode="calculated")


def test_a_wider_picture_holds_what_the_shot_does_and_more_around_it() -> None:
    shot, wide = session().frame(), session().frame(Controls(across=1.5))
    assert wide.focal == pytest.approx(0.5 * 64 / np.tan(0.75))
    assert np.array_equal(wide.c2w, shot.c2w)
    assert session().frame(Controls(across=0.1)).focal == shot.focal  # never narrower than the shot
    share = wide.focal / shot.focal
    rows = np.rint(32 + (np.arange(64) + 0.5 - 32) * share - 0.5).astype(int)
    small = wide.depth[np.ix_(rows, rows)]
    near = np.isfinite(shot.depth) & np.isfinite(small)
    assert np.median(np.abs(small[near] / shot.depth[near] - 1.0)) < 0.05


def test_another_camera_sees_the_same_world() -> None:
    running, alone = session(), session()
    running.frame()
    seen = running.look_again(1, Controls(yaw=0.3))
    alone.frame()
    expected = alone.frame(Controls(yaw=0.3))
    assert same(seen, expected)
    assert (seen.frame_id, seen.tick) == (expected.frame_id, expected.tick)
    assert same(running.frame(), session_after(1))  # who looks on does not change what others see
    running.keep_views(frozenset())


def session_after(frames: int) -> Frame:
    running = session()
    for _ in range(frames):
        running.frame()
    return running.frame()
