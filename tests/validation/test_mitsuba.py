"""The path tracer against Mitsuba 3: diffuse boxes and a ball on a floor under a sun and an even sky.

Both get the same triangles. The floor is a large rectangle there, infinite here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from elsewhere.render.sky import SUN_ANGLE, constant_light

SKY, SUN, DIRECTION = (0.5, 0.6, 0.8), (1.6, 1.4, 1.1), np.array([0.6, 1.0, 0.5])
SIZE = 32


def _scenes():  # type: ignore[no-untyped-def]
    path = Path(__file__).parents[1] / "render" / "conftest.py"
    spec = importlib.util.spec_from_file_location("render_scenes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_scenes"] = module
    spec.loader.exec_module(module)
    return module


def _bsdf(albedo: tuple[float, float, float]) -> dict[str, object]:
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": list(albedo)}}}


def _theirs(mi, bodies, kinds, surfaces, camera) -> np.ndarray:  # type: ignore[no-untyped-def]
    def shape(mesh, material):  # type: ignore[no-untyped-def]
        # Ours is lit with smooth normals on the ball; at 32 rings the difference to facets is small.
        result = mi.Mesh("m", len(mesh.vertices), len(mesh.triangles), props=_props(mi, material))
        parameters = mi.traverse(result)
        parameters["vertex_positions"] = mesh.vertices.astype(np.float32).ravel()
        parameters["faces"] = mesh.triangles.astype(np.uint32).ravel()
        parameters.update()
        return result

    def _props(mi, material):  # type: ignore[no-untyped-def]
        props = mi.Properties()
        props["bsdf"] = mi.load_dict(_bsdf(material.albedo))
        return props

    direction = DIRECTION / np.linalg.norm(DIRECTION)
    up = mi.ScalarTransform4f
    scene: dict[str, object] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 24},
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": list(SKY)}},
        # Our sun's numbers are irradiance / π.
        "sun": {
            "type": "directional",
            "direction": (-direction).tolist(),
            "irradiance": {"type": "rgb", "value": [np.pi * s for s in SUN]},
        },
        "floor": {
            "type": "rectangle",
            "to_world": up().rotate([1, 0, 0], -90) @ up().scale(2000),
            "bsdf": _bsdf(surfaces["grey"].albedo),
        },
        "sensor": {
            "type": "perspective",
            "fov": float(np.degrees(0.9)),
            "to_world": up().look_at(
                origin=camera.position.tolist(),
                target=(camera.position - camera.c2w[:3, 2]).tolist(),
                up=camera.c2w[:3, 1].tolist(),
            ),
            "film": {
                "type": "hdrfilm",
                "width": SIZE,
                "height": SIZE,
                "rfilter": {"type": "box"},
                "pixel_format": "rgb",
            },
            "sampler": {"type": "independent", "sample_count": 512},
        },
    }
    for number, body in enumerate(bodies):
        mesh = kinds[body.kind].build()
        moved = type(mesh)(
            mesh.vertices * body.size + np.array(body.position, np.float32), mesh.triangles, mesh.slot, mesh.slots
        )
        scene[f"body{number}"] = shape(moved, surfaces[mesh.slots[0]])
    return np.array(mi.render(mi.load_dict(scene)))


@pytest.mark.slow
def test_mean_colours_agree_within_five_percent() -> None:
    mi = pytest.importorskip("mitsuba")
    mi.set_variant("scalar_rgb")
    scenes = _scenes()
    bodies = (
        scenes.body("box", -0.7, 0.5, 0.0),
        scenes.body("ball", 0.7, 0.5, 0.3),
        scenes.body("box", 0.2, 0.25, 1.2, size=0.5),
    )
    camera = scenes.camera_at((1.0, 2.2, 4.0), (0.0, 0.4, 0.2), SIZE)
    stage = scenes.stage_of("floor", bodies)
    stage.light = constant_light(SKY, SUN, tuple(DIRECTION))
    ours = stage.reference(scenes.state_of(bodies), camera, samples=512, seed=0, bounces=6)
    theirs = _theirs(mi, bodies, scenes.KINDS, scenes.SURFACES, camera)
    assert SUN_ANGLE < 0.03
    np.testing.assert_allclose(ours.mean(axis=(0, 1)), theirs.mean(axis=(0, 1)), rtol=0.02)
    assert np.abs(ours - theirs).mean() / theirs.mean() < 0.05
