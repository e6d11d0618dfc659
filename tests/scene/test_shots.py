"""Cameras of shots: right-handed, framing what there is, above water and outside walls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from elsewhere.scene import Scene, camera_at, catalogue, parse
from elsewhere.scene.shots import _free_length, subject
from elsewhere.scene.words import sample_prompt

FLAGSHIP = "two pirate ships battling each other as they sail inside a cup of coffee"


def scenes(count: int) -> list[Scene]:
    rng = np.random.Generator(np.random.Philox(key=6))
    return [parse(sample_prompt(rng), seed).scene for seed in range(count)]


def project(scene: Scene, point: np.ndarray, **extra: float) -> np.ndarray:
    """Pixel of a world point."""
    camera = camera_at(scene, 0.0, 640, 360, **extra)
    local = camera.c2w[:3, :3].T @ (point - camera.position)
    return np.array([local[0], -local[1]]) / -local[2] * camera.focal + camera.center


@pytest.mark.parametrize("seconds", [0.0, 3.0, 40.0])
def test_cameras_are_right_handed_rigid_and_above_the_water(seconds: float) -> None:
    for scene in scenes(60):
        camera = camera_at(scene, seconds, 320, 180)
        rotation = camera.c2w[:3, :3]
        assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.isclose(np.linalg.det(rotation), 1.0)
        assert rotation[1, 1] > 0, "the picture is upright"
        assert camera.position[1] > 0
        assert np.array_equal(camera.c2w[3], [0, 0, 0, 1])


def test_the_subject_is_in_the_middle_and_fits() -> None:
    for scene in scenes(60):
        scene = replace(scene, shot=replace(scene.shot, motion="still", distance=1.0))
        middle, radius = subject(scene)
        assert np.allclose(project(scene, middle), (320, 180), atol=4)
        camera = camera_at(scene, 0.0, 640, 360)
        toward = camera.position - middle
        free = _free_length(scene.environment, middle, toward / np.linalg.norm(toward))
        fitting = radius / np.sin(0.45)
        assert np.linalg.norm(toward) >= min(0.999 * fitting, 0.9 * free)


def test_a_cup_is_looked_into_over_its_rim() -> None:
    scene = parse(FLAGSHIP).scene
    camera = camera_at(scene, 0.0, 640, 360)
    middle, _radius = subject(scene)
    back = camera.position - middle
    assert np.arcsin(back[1] / np.linalg.norm(back)) >= 0.44
    assert camera.position[1] > 0.85


@pytest.mark.parametrize(
    "words", ["", ", low angle", ", close-up", ", wide shot", ", from behind", ", from the front", ", orbiting shot"]
)
@pytest.mark.parametrize("place", ["in a cup of coffee", "in a bathtub", "on a table", "in a lake", "in a desert"])
def test_no_wall_between_the_camera_and_its_subject(place: str, words: str) -> None:
    scene = parse(f"two rubber ducks {place}{words}").scene
    for seconds in (0.0, 10.0, 25.0):
        camera = camera_at(scene, seconds, 640, 360)
        middle, _radius = subject(scene)
        toward = camera.position - middle
        reach = np.linalg.norm(toward)
        assert _free_length(scene.environment, middle, toward / reach) > 0.99 * reach


def test_motions_move() -> None:
    scene = parse("a sailboat at sea").scene
    start = camera_at(scene, 0.0, 64, 36)
    for motion in ("orbit", "dolly in", "dolly out", "pan", "crane"):
        moving = replace(scene, shot=replace(scene.shot, motion=motion))
        assert not np.allclose(camera_at(moving, 5.0, 64, 36).c2w, start.c2w, atol=1e-3), motion
        near = camera_at(moving, 5.0 + 1 / 60, 64, 36).position - camera_at(moving, 5.0, 64, 36).position
        assert np.linalg.norm(near) < 0.5, "no jumps"
    still = replace(scene, shot=replace(scene.shot, motion="still"))
    assert np.array_equal(camera_at(still, 9.0, 64, 36).c2w, start.c2w)


def test_an_orbit_in_a_cup_is_smooth() -> None:
    scene = parse(FLAGSHIP + ", orbiting shot").scene
    path = np.array([camera_at(scene, seconds, 64, 36).position for seconds in np.arange(0, 46, 0.25)])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 2.0 * steps.min() + 1e-9


def test_a_person_looks_around_and_walks() -> None:
    scene = parse("a sailboat at sea").scene
    middle, _radius = subject(scene)
    assert project(scene, middle, yaw=0.2)[0] > 330, "turning left moves the subject to the right"
    assert project(scene, middle, pitch=0.1)[1] > 190, "looking up moves the subject down"
    plain = camera_at(scene, 0.0, 64, 36)
    moved = camera_at(scene, 0.0, 64, 36, offset=(2.0, 0.0, 0.0))
    assert np.allclose(moved.position - plain.position, 2.0 * plain.c2w[:3, 0])
    sunk = camera_at(scene, 0.0, 64, 36, offset=(0.0, -1000.0, 0.0))
    assert sunk.position[1] > 0


def test_focus_is_looked_at() -> None:
    scene = parse("a sailboat at sea").scene
    camera = camera_at(scene, 0.0, 640, 360, focus=(4.0, 1.0, -3.0))
    toward = np.array((4.0, 1.0, -3.0)) - camera.position
    assert np.allclose(toward / np.linalg.norm(toward), -camera.c2w[:3, 2])


def test_an_empty_place_has_a_view() -> None:
    for name in catalogue.ENVIRONMENTS:
        camera = camera_at(Scene(prompt="", environment=name, bodies=()), 1.0, 64, 36)
        assert np.isfinite(camera.c2w).all()
        assert camera.position[1] > 0


@pytest.mark.parametrize(
    "extra", [{"yaw": float("nan")}, {"offset": (0.0, float("inf"), 0.0)}, {"focus": (float("nan"), 0.0, 0.0)}]
)
def test_what_is_not_finite_is_refused(extra: dict) -> None:
    with pytest.raises(ValueError, match="finite"):
        camera_at(parse("a ball").scene, 0.0, 64, 36, **extra)


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="pixel"):
        camera_at(parse("a ball").scene, 0.0, 0, 36)
