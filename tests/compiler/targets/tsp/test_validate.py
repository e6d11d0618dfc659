"""The table's own arithmetic: teeth at tiles' edges, rows by name, failures kept apart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from elsewhere.compiler.targets.tsp import validate as validation
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.sweep import sweep


def teeth(*utilisations: tuple[int, float]) -> list[validation.Tooth]:
    return [validation.Tooth(columns=n, cycles=1, utilisation=u, bound=1.0) for n, u in utilisations]


def test_teeth_belong_behind_edges() -> None:
    assert validation.misplaced(teeth((1376, 0.8), (1600, 0.9), (1601, 0.8), (1920, 0.95)), 320) == []
    assert len(validation.misplaced(teeth((1600, 0.9), (1601, 0.95)), 320)) == 1
    assert len(validation.misplaced(teeth((1601, 0.9), (1920, 0.85)), 320)) == 1


def test_the_picture_is_xml() -> None:
    root = ElementTree.fromstring(validation.picture(teeth((1376, 0.8), (1600, 0.9))))
    assert root.tag.endswith("svg")


def test_the_all_reduce_is_scheduled() -> None:
    made = validation.validate(rows=["all-reduce"])
    assert made.results[0].met and "packets" in made.results[0].note and made.failed == {}
    slower = validation.validate(GROQCHIP1.changed(vector_operation=30), rows=["all-reduce"])
    assert slower.results[0].measured > made.results[0].measured


def test_weights_of_four_planes_are_loaded_at_once() -> None:
    """17 cycles from the farthest of two groups of slices, 20 of 16 rows each, 3 to install: none waits for another."""
    made = validation.validate(rows=["weights"])
    assert made.results[0].measured == 40 and made.results[0].faults == 0


def test_rows_that_fail_are_told() -> None:
    made = validation.validate(GROQCHIP1.changed(chips_per_node=1, nodes_per_rack=1, racks=9), rows=["all-reduce"])
    assert "chips must be" in made.failed["all-reduce"] and made.results == ()


def test_unknown_rows_and_networks_are_told() -> None:
    with pytest.raises(ValueError, match="row must be one of"):
        validation.validate(rows=["resnet"])
    with pytest.raises(ValueError, match="network must be one of"):
        sweep("resnet", GROQCHIP1)
