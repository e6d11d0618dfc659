"""Video models in real time: more work needs more chips, and what cannot be is told with how near it is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from elsewhere.compiler.targets.tsp import estimate
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.shapes import find

WAN = find("wan-1.3b")


def chosen(**changes: float) -> estimate.RealTime:
    wanted = {"width": 1280, "height": 720, "fps": 24.0, "steps": 4} | changes
    return estimate.realtime(WAN, **wanted)  # type: ignore[arg-type]


def test_the_smallest_system_that_makes_it() -> None:
    found = chosen()
    assert found.chosen.fits and found.chosen.seconds <= 1 / 24
    smaller = [t for t in found.curve if t.chips < found.chosen.chips]
    assert all(not t.fits or t.seconds > 1 / 24 for t in smaller)
    assert found.limit == ("deadline" if smaller[-1].fits else "memory")


def test_more_work_needs_more_chips() -> None:
    base = chosen().chosen.chips
    assert chosen(fps=300.0).chosen.chips > base
    assert chosen(steps=48).chosen.chips > base
    assert chosen(slower=50.0).chosen.chips > base
    assert chosen(window=60).chosen.chips > base


def test_impossible_deadlines_are_told() -> None:
    with pytest.raises(estimate.DeadlineError, match=r"the best are \d+ chips with .* ms a frame, bound by"):
        chosen(width=7680, height=4320, fps=1000.0)
    made = estimate.answer(WAN, 7680, 4320, 1000.0, 4, GROQCHIP1, 2.0, 6)
    assert made.counted is None and len(made.missed) == 2 and "cannot be" in made.lines("x", 1, 1)[1]


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("fps", -1.0), ("steps", 2_000_000), ("slower", 0.5), ("window", 0)]
)
def test_what_cannot_be_is_told(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        chosen(**{name: value})


def test_the_plot_is_xml_with_a_line_for_each_model() -> None:
    answers = [chosen(), estimate.realtime(find("wan-14b"), width=320, height=180, fps=2.0)]
    root = ElementTree.fromstring(estimate.plot(answers, 12.0))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_a_scheduled_block_is_not_faster_than_its_count() -> None:
    made = estimate.calibrate(tokens=64)
    assert made.scheduled > 0 and made.ratio > 0.8
