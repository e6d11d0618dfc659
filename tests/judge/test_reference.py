"""The judge gives the plain guide its own score, and knows the noise of its reference."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.judge import Bench, Library, Studio, run
from elsewhere.judge.measures import blur, luminance, psnr, texture_energy
from elsewhere.judge.reference import Reference, decibel, details, error_without_noise, texture_without_noise
from elsewhere.render import Guide, Stage, to_display
from elsewhere.scene import Camera


class Plain:
    """Paints the lit guide itself."""

    def frame(self, guide: Guide, stage: Stage, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        return np.rint(255.0 * to_display(guide.lit)).astype(np.uint8), guide.depth


def test_the_floor_scores_as_itself() -> None:
    studio = Studio("grounded", "plain", lambda *_: Plain())
    bench = Bench(studios=(studio,), library=Library(), scenes=2, size=64, samples=4)
    measure = Reference(long=1, late=18)
    result = run(measure, bench)
    lines = {line.what: line for line in result["lines"]}
    assert lines["PSNR above the plain guide"].value == pytest.approx(0.0, abs=0.01)
    assert lines["PSNR above the plain guide"].reached is False
    assert lines["SSIM"].value == pytest.approx(lines["SSIM"].floor, abs=1e-3)
    assert lines["drift, frame 10 → 18, of gain"].value == pytest.approx(0.0, abs=0.01)
    told = details(result["rows"], ["grounded"], 18)
    assert told["grounded"]["drift"]["scenes"] == 1
    assert set(told["grounded"]["environments"]) == {scene.environment for scene in measure.scenes(bench)}
    for scene in measure.scenes(bench):
        made, floor, wanted = measure.strip(bench, scene)
        assert psnr(made, floor) > 45.0
        assert psnr(made, wanted) < 45.0


def test_noise_of_the_reference_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    truth = np.stack([blur(rng.random((64, 64)), 1.0)] * 3, axis=-1).astype(np.float32)
    one, other = (truth + rng.normal(0.0, 0.1, truth.shape).astype(np.float32) for _ in range(2))
    made = truth + np.float32(0.05)
    assert decibel(error_without_noise(made, one, other)) == pytest.approx(psnr(made, truth), abs=0.3)
    assert psnr(made, 0.5 * (one + other)) < psnr(made, truth) - 3.0
    fine = texture_energy(truth)
    assert texture_without_noise(one, other) == pytest.approx(fine, rel=0.25)
    assert texture_energy(one) > 2.0 * fine
    assert luminance(truth).shape == (64, 64)
    assert decibel(-1e-9) == decibel(0.0) == 99.0
