"""Who is linked to whom."""

from __future__ import annotations

import pytest

from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.network import NetworkError, System, link_in_node


@pytest.mark.parametrize(("chips", "diameter"), [(1, 0), (8, 1), (16, 3), (256, 3), (264, 3)])
def test_diameters(chips: int, diameter: int) -> None:
    assert System(GROQCHIP1, chips).diameter <= diameter


def test_every_chip_of_the_largest_system_is_reached() -> None:
    hops = System(GROQCHIP1, GROQCHIP1.largest_system).hops(0)
    assert min(hops) == 0 and max(hops) <= 7


def test_links_are_mutual() -> None:
    system = System(GROQCHIP1, 264)
    for chip in range(0, 264, 7):
        assert all(chip in system.neighbours(other) for other in system.neighbours(chip))


def test_a_nodes_links_are_named_alike_by_all() -> None:
    for chip in range(8):
        links = [link_in_node(chip, other, 8) for other in range(8) if other != chip]
        assert sorted(links) == list(range(7))


def test_impossible_systems_are_told() -> None:
    with pytest.raises(NetworkError, match="10440"):
        System(GROQCHIP1, 20000)
