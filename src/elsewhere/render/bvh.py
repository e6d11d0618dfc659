"""Bounding volume hierarchies over triangles, flattened so that traversal needs no stack.

A tree is threaded: for each of the eight signs of a ray's direction every node knows which node is next
when its box is hit (the nearer child) and which when it is missed (its escape). Moving meshes keep the
threads and get new boxes (`refit`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.noise import device

END = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """`bounds` (n, 6) lower then upper corner; `links` (8, n, 2) next on a hit, next on a miss; `leaf`
    (n, 2) first triangle and how many (0 for an inner node); `order` (T,) the triangle at each place."""

    bounds: NDArray[np.float64]
    links: NDArray[np.int32]
    leaf: NDArray[np.int32]
    order: NDArray[np.int64]


def _area(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    e = upper - lower
    return e[:, 0] * e[:, 1] + e[:, 1] * e[:, 2] + e[:, 2] * e[:, 0]


def _split(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> tuple[int, NDArray[np.int64], int]:
    """Axis, order along it and count to the left of the cheapest split by surface area."""
    middle = lower + upper
    count = len(middle)
    best = (np.inf, 0, np.arange(count), count // 2)
    left_count = np.arange(1, count)
    for axis in range(3):
        order = np.argsort(middle[:, axis], kind="stable")
        lo, hi = lower[order], upper[order]
        left = _area(np.minimum.accumulate(lo), np.maximum.accumulate(hi))[:-1]
        right = _area(np.minimum.accumulate(lo[::-1]), np.maximum.accumulate(hi[::-1]))[::-1][1:]
        cost = left * left_count + right * (count - left_count)
        at = int(np.argmin(cost))
        if cost[at] < best[0]:
            best = (float(cost[at]), axis, order, at + 1)
    return best[1], best[2], best[3]


def build(corners: NDArray[np.float64], leaf_size: int = 3) -> Tree:
    """The tree of triangles `corners` (T, 3, 3), by sweeping the surface area heuristic.

    Raises ValueError when there are no triangles.
    """
    if len(corners) == 0:
        raise ValueError("corners: a tree needs at least one triangle, got 0")
    corners = np.asarray(corners, np.float64)
    low, high = corners.min(axis=1), corners.max(axis=1)
    bounds: list[NDArray[np.float64]] = []
    leaf: list[tuple[int, int]] = []
    child: list[tuple[int, int, int]] = []
    order: list[int] = []
    stack = [(np.arange(len(corners)), -1, 0)]
    while stack:
        members, parent, side = stack.pop()
        here = len(bounds)
        if parent >= 0:
            kept = list(child[parent])
            kept[side] = here
            child[parent] = (kept[0], kept[1], kept[2])
        bounds.append(np.concatenate([low[members].min(axis=0), high[members].max(axis=0)]))
        if len(members) <= leaf_size:
            leaf.append((len(order), len(members)))
            child.append((END, END, 0))
            order.extend(int(m) for m in members)
            continue
        axis, ranked, count = _split(low[members], high[members])
        leaf.append((0, 0))
        child.append((END, END, axis))
        stack.append((members[ranked[count:]], here, 1))
        stack.append((members[ranked[:count]], here, 0))
    return Tree(np.array(bounds), _thread(child), np.array(leaf, np.int32).reshape(-1, 2), np.array(order))


def _thread(child: list[tuple[int, int, int]]) -> NDArray[np.int32]:
    links = np.full((8, len(child), 2), END, np.int32)
    for octant in range(8):
        stack = [(0, END)]
        while stack:
            node, escape = stack.pop()
            left, right, axis = child[node]
            links[octant, node, 1] = escape
            if left == END:
                continue
            first, second = (right, left) if octant >> axis & 1 else (left, right)
            links[octant, node, 0] = first
            stack.append((first, second))
            stack.append((second, escape))
    return links


@device
def refit(bounds, links, leaf, triangles, start, stop):  # type: ignore[no-untyped-def]
    """New boxes for the nodes [start, stop) from `triangles` (T, 9: corner and two edges)."""
    for node in range(stop - 1, start - 1, -1):
        if leaf[node, 1] > 0:
            for axis in range(3):
                lower = 1e30
                upper = -1e30
                for t in range(leaf[node, 0], leaf[node, 0] + leaf[node, 1]):
                    a = triangles[t, axis]
                    b = a + triangles[t, 3 + axis]
                    c = a + triangles[t, 6 + axis]
                    lower = min(lower, a, b, c)
                    upper = max(upper, a, b, c)
                # A flat box would let rays in its plane slip through.
                bounds[node, axis] = lower - 1e-6
                bounds[node, 3 + axis] = upper + 1e-6
        else:
            left = links[0, node, 0]
            right = links[0, left, 1]
            for axis in range(3):
                bounds[node, axis] = min(bounds[left, axis], bounds[right, axis])
                bounds[node, 3 + axis] = max(bounds[left, 3 + axis], bounds[right, 3 + axis])
