"""Many chips: who is linked to whom.

A node is 8 chips, all linked to each other; each chip has 4 more links to other nodes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from elsewhere.compiler.targets.tsp.machine import TspMachine


class NetworkError(ValueError):
    """A system that cannot be, or a packet that nobody can take."""


def link_in_node(chip: int, other: int, chips: int) -> int:
    """The link of a chip that leads to another of its node: by how far it is ahead, so that all chips are alike."""
    return (other - chip) % chips - 1


@dataclass(frozen=True, slots=True)
class System:
    """`chips` of one machine, filled node by node."""

    machine: TspMachine
    chips: int

    def __post_init__(self) -> None:
        if not 1 <= self.chips <= self.machine.largest_system:
            raise NetworkError(f"chips must be from 1 to {self.machine.largest_system}, got {self.chips}")

    @property
    def nodes(self) -> int:
        return -(-self.chips // self.machine.chips_per_node)

    @property
    def racks(self) -> int:
        return -(-self.nodes // self.machine.nodes_per_rack)

    @property
    def flat(self) -> bool:
        """Whether there are links from every node to every other: the global links of a node suffice."""
        return self.nodes - 1 <= self.machine.links_global * self.machine.chips_per_node

    def node(self, chip: int) -> int:
        return chip // self.machine.chips_per_node

    def rack(self, chip: int) -> int:
        return self.node(chip) // self.machine.nodes_per_rack

    def members(self, node: int) -> range:
        """Chips of a node."""
        first = node * self.machine.chips_per_node
        return range(first, min(first + self.machine.chips_per_node, self.chips))

    def neighbours(self, chip: int) -> list[int]:
        """Chips at the other ends of a chip's links."""
        m = self.machine
        node, place = divmod(chip, m.chips_per_node)
        first = node * m.chips_per_node
        found = [c for c in range(first, min(first + m.chips_per_node, self.chips)) if c != chip]
        for port in range(m.links_global):
            other = self._global(node, place * m.links_global + port)
            if other is not None and other < self.chips:
                found.append(other)
        return sorted(set(found))

    def _global(self, node: int, link: int) -> int | None:
        """The chip at the other end of a node's global link. Nodes are joined all to all as far as links go: in one
        group up to 33 nodes, beyond that inside racks, and from rack to rack by the links that are left."""
        m = self.machine
        if self.flat:
            other = link if link < node else link + 1
            back = node if node < other else node - 1
            return other * m.chips_per_node + back // m.links_global if other < self.nodes else None
        rack, place = divmod(node, m.nodes_per_rack)
        inside = m.nodes_per_rack - 1
        if link < inside:
            other_place = link if link < place else link + 1
            back = place if place < other_place else place - 1
            return (rack * m.nodes_per_rack + other_place) * m.chips_per_node + back // m.links_global
        return self._between(rack, place, link - inside)

    def _between(self, rack: int, place: int, link: int) -> int | None:
        """Links of all nodes of a rack to other racks, dealt one to a rack in turn."""
        m = self.machine
        out = m.links_global * m.chips_per_node - (m.nodes_per_rack - 1)
        number = place * out + link
        if number >= self.racks - 1:
            number %= max(1, self.racks - 1)
        other = number if number < rack else number + 1
        if other >= self.racks:
            return None
        back = rack if rack < other else rack - 1
        node = other * m.nodes_per_rack + back // out
        return node * m.chips_per_node + (m.nodes_per_rack - 1 + back % out) // m.links_global

    def hops(self, start: int = 0) -> list[int]:
        """Links from a chip to every other, -1 where there is no way."""
        found = [-1] * self.chips
        found[start] = 0
        queue = deque([start])
        while queue:
            chip = queue.popleft()
            for other in self.neighbours(chip):
                if found[other] < 0:
                    found[other] = found[chip] + 1
                    queue.append(other)
        return found

    @property
    def diameter(self) -> int:
        """The most links between two chips, seen from one chip of each place in a node."""
        starts = range(min(self.chips, self.machine.chips_per_node))
        return max(max(self.hops(s)) for s in starts)
