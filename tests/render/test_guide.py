"""The guide against closed forms, and the same bits however it is made."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from elsewhere.render import Guide
from elsewhere.render.sky import constant_light


def digest(guide: Guide) -> str:
    """SHA-256 of all arrays."""
    return hashlib.sha256(b"".join(getattr(guide, f.name).tobytes() for f in fields(guide))).hexdigest()


def _busy(scenes: ModuleType, threads: int) -> Guide:
    bodies = (scenes.body("boat", 0.0, 0.2, 0.0), scenes.body("ball", 1.5, 0.3, 0.5))
    waves = scenes.swell((0.1, 1.0, 0.5, 3.0, 0.2), (0.03, -0.5, 2.5, 5.0, 1.0))
    stage = scenes.stage_of("sea", bodies, threads=threads, waves=waves)
    state, camera = scenes.state_of(bodies, water=True, tick=100), scenes.camera_at((2, 1.5, 5), (0, 0.5, 0))
    return stage.guide(state, camera, (state, camera))


def test_any_number_of_threads_gives_the_same_bits(scenes: ModuleType) -> None:
    assert digest(_busy(scenes, 1)) == digest(_busy(scenes, 2)) == digest(_busy(scenes, 3))


def test_another_process_gives_the_same_bits(scenes: ModuleType) -> None:
    code = (
        "import importlib.util as u, sys\n"
        "def load(p, n):\n"
        "    s = u.spec_from_file_location(n, p); m = u.module_from_spec(s); sys.modules[n] = m\n"
        "    s.loader.exec_module(m); return m\n"
        "t = load(sys.argv[1], 'guide_test'); c = load(sys.argv[2], 'scenes')\n"
        "print(t.digest(t._busy(c, 2)))"
    )
    here = Path(__file__)
    command = [sys.executable, "-c", code, str(here), str(here.with_name("conftest.py"))]
    environment = {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == digest(_busy(scenes, 1))


def _directions(camera) -> np.ndarray:  # type: ignore[no-untyped-def]
    i, j = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    local = np.stack(
        [(i - camera.center[0]) / camera.focal, -(j - camera.center[1]) / camera.focal, -np.ones_like(i)], axis=-1
    )
    return local @ camera.c2w[:3, :3].T


def test_depth_of_the_ground_is_height_over_slope(scenes: ModuleType) -> None:
    camera = scenes.camera_at((0, 3, 4), (0, 0, 0))
    guide = scenes.stage_of("floor", ()).guide(scenes.state_of(()), camera, None)
    # o + t·d meets y = 0 at t = −o_y / d_y; d has depth one.
    expected = -3.0 / _directions(camera)[..., 1]
    np.testing.assert_allclose(guide.depth, expected, rtol=1e-5)
    np.testing.assert_allclose(guide.normal[..., 1], 1.0)
    assert (guide.instance == 0).all()


def test_depth_of_a_ball_is_the_root_of_a_quadratic(scenes: ModuleType) -> None:
    bodies = (scenes.body("ball", 0.0, 1.0, 0.0, size=2.0),)
    camera = scenes.camera_at((0, 1, 5), (0, 1, 0))
    guide = scenes.stage_of("air", bodies).guide(scenes.state_of(bodies), camera, None)
    d = _directions(camera)
    o = camera.position - (0, 1, 0)
    a, b, c = (d * d).sum(-1), d @ o, o @ o - 1.0
    inner = b * b - a * c > 0.3
    expected = (-b - np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
    # The ball has 32 rings: a facet lies at most r (1 − cos(π/64)) below the sphere.
    np.testing.assert_allclose(guide.depth[inner], expected[inner], atol=5e-3)
    assert np.isinf(guide.depth[0, 0])
    assert guide.instance[0, 0] == guide.material[0, 0] == -1


def test_shadow_lies_where_the_sun_puts_it(scenes: ModuleType) -> None:
    bodies = (scenes.body("box", 0.0, 2.0, 0.0),)
    stage = scenes.stage_of("floor", bodies)
    stage.light = constant_light((0.2, 0.2, 0.2), (1.0, 1.0, 1.0), (1.0, 2.0, 0.0))
    camera = scenes.camera_at((0, 9, 0.01), (0, 0, 0), 96)
    guide = stage.guide(scenes.state_of(bodies), camera, None)
    t = guide.depth[..., None]
    point = camera.position + t * _directions(camera)
    on_floor = guide.instance == 1
    # The shadow of (x, y, z) is (x − y/2, 0, z): of the cube x ∈ [−1.75, −0.25], z ∈ [−0.5, 0.5].
    x, z = point[..., 0], point[..., 2]
    inside = (np.abs(x + 1.0) < 0.72) & (np.abs(z) < 0.47)
    outside = (np.abs(x + 1.0) > 0.78) | (np.abs(z) > 0.53)
    assert (guide.direct[on_floor & inside] == 0.0).all()
    np.testing.assert_allclose(guide.direct[on_floor & outside], 2.0 / np.sqrt(5.0), rtol=1e-5)
    assert (on_floor & inside).sum() > 30


def test_motion_is_where_the_point_was(scenes: ModuleType) -> None:
    bodies = (scenes.body("ball", 0.0, 1.0, 0.0, size=2.0),)
    before, now = scenes.state_of(bodies), scenes.state_of(bodies)
    angle = 0.05
    now = replace(
        now,
        position=now.position + np.array([0.1, 0.05, -0.07]),
        orientation=np.array([[0.0, np.sin(angle / 2), 0.0, np.cos(angle / 2)]]),
    )
    old, new = scenes.camera_at((0, 1.2, 5), (0, 1, 0)), scenes.camera_at((0.1, 1.2, 4.9), (0.05, 1, 0))
    guide = scenes.stage_of("air", bodies).guide(now, new, (before, old))
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    point = new.position + guide.depth[..., None] * _directions(new)
    for j, i in ((24, 24), (20, 28), (30, 22)):
        assert guide.instance[j, i] == 0
        local = turn.T @ (point[j, i] - now.position[0])
        seen = np.linalg.inv(old.c2w)[:3] @ np.append(local + before.position[0], 1.0)
        column = old.center[0] + old.focal * seen[0] / -seen[2]
        row = old.center[1] - old.focal * seen[1] / -seen[2]
        np.testing.assert_allclose(guide.motion[j, i], (i + 0.5 - column, j + 0.5 - row), atol=2e-4)


def test_still_things_do_not_move(scenes: ModuleType) -> None:
    assert np.abs(_busy(scenes, 1).motion).max() < 1e-3


def test_lit_is_albedo_times_light_without_fog(scenes: ModuleType) -> None:
    bodies = (scenes.body("box", 0.0, 1.0, 0.0),)
    stage = scenes.stage_of("floor", bodies)
    stage.light = constant_light((0.2, 0.3, 0.4), (1.0, 0.9, 0.8), (1.0, 2.0, 1.0))
    guide = stage.guide(scenes.state_of(bodies), scenes.camera_at((2, 2, 4), (0, 0.7, 0)), None)
    solid = guide.instance >= 0
    expected = guide.albedo * (guide.direct + np.array([0.2, 0.3, 0.4]))
    np.testing.assert_allclose(guide.lit[solid], expected[solid], rtol=1e-4, atol=1e-6)
    assert set(np.unique(guide.instance)) <= {-1, 0, 1}


def test_a_state_of_another_scene_is_refused(scenes: ModuleType) -> None:
    stage = scenes.stage_of("floor", ())
    state = scenes.state_of((scenes.body("box", 0.0, 1.0, 0.0),))
    with pytest.raises(ValueError, match="one row for each body; got 1"):
        stage.guide(state, scenes.camera_at((0, 1, 3), (0, 0, 0)), None)


def test_an_unknown_kind_names_the_nearest(scenes: ModuleType) -> None:
    with pytest.raises(ValueError, match="'ball'"):
        scenes.stage_of("floor", (scenes.body("bal", 0.0, 0.0, 0.0),))
