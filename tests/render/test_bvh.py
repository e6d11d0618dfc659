"""Trees against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.render.bvh import build
from elsewhere.render.intersect import FAR, Geometry, blocked, closest


def _geometry(corners: np.ndarray) -> Geometry:
    tree = build(corners, leaf_size=2)
    p = corners[tree.order]
    flat = np.concatenate([p[:, 0], p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]], axis=1)
    eye = np.eye(4)[:3].reshape(1, 12)
    return Geometry(
        bounds=tree.bounds,
        links=tree.links,
        leaf=tree.leaf,
        triangles=flat,
        normals=np.zeros_like(flat),
        slot=np.zeros(len(flat), np.int32),
        to_body=eye,
        to_world=eye.copy(),
        box=tree.bounds[:1].copy(),
        info=np.array([[0, -1, 0, 0, 0]], np.int32),
        materials_of=np.zeros(1, np.int32),
        clear=np.zeros(1, np.int32),
        rest=np.zeros((0, 9)),
    )


def _nearest(corners: np.ndarray, o: np.ndarray, d: np.ndarray) -> float:
    """Distance along the ray by solving o + t·d = a + u·e1 + v·e2 for every triangle."""
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    matrix = np.stack([e1, e2, np.broadcast_to(-d, a.shape)], axis=-1)
    sound = np.abs(np.linalg.det(matrix)) > 1e-9
    if not sound.any():
        return FAR
    u, v, t = np.linalg.solve(matrix[sound], (o - a[sound])[..., None])[..., 0].T
    t = t[(u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)]
    return float(t.min()) if len(t) else FAR


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 60))
def test_nearest_hit_is_that_of_brute_force(seed: int, count: int) -> None:
    random = np.random.Generator(np.random.Philox(key=seed))
    corners = random.uniform(-1, 1, (count, 1, 3)) + random.uniform(-0.5, 0.5, (count, 3, 3))
    g = _geometry(corners)
    for _ in range(12):
        o, d = random.uniform(-3, 3, 3), random.normal(size=3)
        d /= np.linalg.norm(d)
        expected = _nearest(corners, o, d)
        t = closest(g, *o, *d, FAR)[0]
        assert t == pytest.approx(expected, rel=1e-9)
        assert blocked(g, *o, *d, FAR, -1) == (expected < FAR)


def test_rays_along_an_axis_are_not_lost() -> None:
    corners = np.array([[[-1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [0.0, 0.0, 1.0]]])
    assert closest(_geometry(corners), 0.0, 2.0, 0.0, 0.0, -1.0, 0.0, FAR)[0] == pytest.approx(2.0)


def test_each_triangle_is_in_one_leaf_and_all_threads_end() -> None:
    random = np.random.Generator(np.random.Philox(key=3))
    tree = build(random.uniform(-1, 1, (50, 3, 3)))
    assert sorted(tree.order) == list(range(50))
    assert tree.leaf[:, 1].sum() == 50
    for octant in range(8):
        node, seen = 0, 0
        while node >= 0:
            seen += 1
            node = tree.links[octant, node, 1 if tree.leaf[node, 1] else 0]
        assert seen == len(tree.bounds)


def test_no_triangles_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one triangle"):
        build(np.zeros((0, 3, 3)))
