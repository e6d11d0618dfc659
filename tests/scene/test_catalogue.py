"""The catalogue holds together: meshes are closed, fit their colliders, float as they should and name what exists."""

from __future__ import annotations

import numpy as np
import pytest

from elsewhere.scene.catalogue import COLORS, ENVIRONMENTS, KINDS, MATERIALS, VERBS
from elsewhere.scene.kinds import TEXTURES, Collider, Mesh
from elsewhere.scene.shapes import primitives

FLOATING = (
    "pirate ship",
    "sailboat",
    "paper boat",
    "rubber duck",
    "ball",
    "barrel",
    "buoy",
    "crate",
    "iceberg",
    "whale",
    "toy car",
)
KIND_NAMES = sorted(KINDS)
PLACE_NAMES = sorted(ENVIRONMENTS)


def rotation(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def samples(collider: Collider, count: int = 24) -> tuple[np.ndarray, float]:
    """Points that fill a collider evenly, and the volume in m³ that each stands for."""
    grid = (np.arange(count) + 0.5) / count * 2 - 1
    points = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    if collider.shape in ("sphere", "ellipsoid"):
        points = points[(points**2).sum(axis=1) < 1]
    elif collider.shape == "cylinder":
        points = points[points[:, 0] ** 2 + points[:, 2] ** 2 < 1]
    half = np.array(collider.half_size)
    placed = (points * half) @ rotation(collider.orientation).T + np.array(collider.position)
    return placed, 8 * float(half.prod()) / count**3


def welded(mesh: Mesh) -> np.ndarray:
    """Triangles over points that are equal in space."""
    keys = np.round(mesh.vertices / np.abs(mesh.vertices).max() * 1e5).astype(np.int64)
    _, index = np.unique(keys, axis=0, return_inverse=True)
    triangles = index.reshape(-1)[mesh.triangles]
    return triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]


def directed_edges(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the edges a → b and b → a, for every edge."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    size = int(triangles.max()) + 1
    there, back = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    return np.sort(there), np.sort(back)


def volumes(mesh: Mesh) -> list[float]:
    """Signed volume in m³ of every connected part, by the divergence theorem: V = Σ a · (b × c) / 6."""
    triangles = mesh.triangles
    label = np.arange(len(mesh.vertices))
    for _ in range(len(label)):
        low = label[triangles].min(axis=1)
        previous = label.copy()
        for corner in range(3):
            np.minimum.at(label, triangles[:, corner], low)
        if np.array_equal(label, previous):
            break
    a, b, c = (mesh.vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    signed = np.einsum("ti,ti->t", a, np.cross(b, c)) / 6
    part = label[triangles[:, 0]]
    return [float(signed[part == p].sum()) for p in np.unique(part)]


@pytest.mark.parametrize("name", KIND_NAMES)
def test_meshes_are_well_formed(name: str):
    mesh = KINDS[name].build()
    assert mesh.vertices.dtype == np.float32
    assert mesh.triangles.dtype == np.int32
    assert mesh.slot.shape == (len(mesh.triangles),)
    assert np.isfinite(mesh.vertices).all()
    assert mesh.triangles.min() >= 0
    assert mesh.triangles.max() < len(mesh.vertices)
    assert set(np.unique(mesh.slot)) <= set(range(len(mesh.slots)))
    assert (mesh.slot == 0).any(), "the main slot is in use"
    assert len(mesh.triangles) <= 700


@pytest.mark.parametrize("name", KIND_NAMES)
def test_meshes_are_closed_with_normals_outward(name: str):
    mesh = KINDS[name].build()
    there, back = directed_edges(welded(mesh))
    np.testing.assert_array_equal(there, back)
    scale = KINDS[name].length ** 3
    assert min(volumes(mesh)) > -1e-9 * scale
    assert sum(volumes(mesh)) > 1e-4 * scale


@pytest.mark.parametrize("name", KIND_NAMES)
def test_length_is_the_longest_extent(name: str):
    kind = KINDS[name]
    vertices = kind.build().vertices
    extent = float(np.ptp(vertices, axis=0).max())
    assert 0.85 * kind.length <= extent <= 1.012 * kind.length


@pytest.mark.parametrize("name", KIND_NAMES)
def test_colliders_cover_the_mesh(name: str):
    kind = KINDS[name]
    points = np.concatenate([samples(c)[0] for c in kind.colliders])
    vertices = kind.build().vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    share = np.ptp(points, axis=0) / (high - low)
    assert (share > 0.5).all(), share
    assert (share < 1.1).all(), share
    middle = (points.min(axis=0) + points.max(axis=0) - low - high) / 2
    assert np.abs(middle).max() < 0.1 * kind.length


@pytest.mark.parametrize("name", FLOATING)
def test_floating_things_float_level_at_a_sensible_draught(name: str):
    """Archimedes: submerged volume · 1000 kg/m³ = mass. Its centroid must lie under the centre of mass."""
    kind = KINDS[name]
    parts = [samples(c) for c in kind.colliders]
    points = np.concatenate([p for p, _ in parts])
    volume = np.concatenate([np.full(len(p), v) for p, v in parts])
    assert 0.3 <= kind.mass / (1000 * volume.sum()) <= 0.9
    order = np.argsort(points[:, 1])
    wet = order[: int(np.searchsorted(np.cumsum(volume[order]), kind.mass / 1000))]
    buoyancy = np.average(points[wet], axis=0, weights=volume[wet])
    assert abs(buoyancy[0]) < 0.01 * kind.length
    assert abs(buoyancy[2]) < 0.01 * kind.length


@pytest.mark.parametrize("name", ["pirate ship", "sailboat", "paper boat", "rubber duck", "buoy"])
def test_ships_float_at_their_drawn_water_line(name: str):
    """Ships are drawn with the water line at y = 0 of the design; the body frame is below it by the centre of mass."""
    kind = KINDS[name]
    parts = [samples(c) for c in kind.colliders]
    points = np.concatenate([p for p, _ in parts])
    volume = np.concatenate([np.full(len(p), v) for p, v in parts])
    order = np.argsort(points[:, 1])
    line = points[order][int(np.searchsorted(np.cumsum(volume[order]), kind.mass / 1000)), 1]
    low, high = kind.build().vertices[:, 1].min(), kind.build().vertices[:, 1].max()
    assert low + 0.05 * (high - low) < line < low + 0.45 * (high - low)


@pytest.mark.parametrize("name", KIND_NAMES)
def test_kinds_name_what_exists(name: str):
    kind = KINDS[name]
    assert kind.name == name
    assert kind.colors
    assert set(kind.colors) <= set(COLORS)
    assert set(kind.materials) <= set(MATERIALS)
    assert set(kind.build().slots) <= set(MATERIALS)
    assert {cloth.material for cloth in kind.cloths} <= set(MATERIALS)
    assert kind.verbs <= set(VERBS)
    assert kind.mass > 0
    for cloth in kind.cloths:
        assert cloth.pinned in ("first column", "first and last row")
        assert abs(np.dot(cloth.across, cloth.down)) < 1e-9


@pytest.mark.parametrize("name", KIND_NAMES)
def test_main_slot_is_the_default_material(name: str):
    kind = KINDS[name]
    if kind.materials:
        assert kind.materials[0] == kind.build().slots[0]


def test_synonyms_are_unambiguous():
    words = [w for k in KINDS.values() for w in (k.name, *k.synonyms)]
    assert len(words) == len(set(words))
    places = [w for e in ENVIRONMENTS.values() for w in (e.name, *e.synonyms)]
    assert len(places) == len(set(places))
    assert not set(words) & (set(places) | set(MATERIALS) | set(COLORS) | set(VERBS))


@pytest.mark.parametrize("name", PLACE_NAMES)
def test_environments(name: str):
    place = ENVIRONMENTS[name]
    assert place.name == name
    assert place.outline in ("open", "disc", "box")
    assert place.ground in MATERIALS
    assert place.has_water == (place.depth > 0)
    assert 0 < place.reach <= min(place.half_size) * 1.2
    if place.build is None:
        return
    mesh = place.build()
    assert set(mesh.slots) <= set(MATERIALS)
    assert len(mesh.triangles) < 4500
    assert np.isfinite(mesh.vertices).all()


def test_the_cup_holds_its_coffee():
    """The inner wall meets the liquid at the outline's radius and the rim stands about 0.8 m above it."""
    place = ENVIRONMENTS["cup of coffee"]
    assert place.build is not None
    vertices = place.build().vertices
    radius = np.hypot(vertices[:, 0], vertices[:, 2])
    inside = radius < place.half_size[0] - 0.2
    assert vertices[inside, 1].max() < -0.9 * place.depth
    assert 0.7 < vertices[radius < 6, 1].max() < 0.9


def test_materials_are_physical():
    for name, material in MATERIALS.items():
        assert material.name == name
        assert material.texture in TEXTURES
        assert all(0 <= c <= 1.0 for c in material.albedo)
        assert 0 < material.roughness <= 1
        assert material.density > 0
    assert all(0 <= c <= 1 for color in COLORS.values() for c in color)


def test_meshes_are_the_same_every_time():
    for kind in (KINDS["iceberg"], KINDS["rock"], KINDS["island"]):
        first, again = kind.build(), kind.build()
        np.testing.assert_array_equal(first.vertices, again.vertices)
    part = primitives.roughened(primitives.box(1, 1, 1, "wood"), 0.1, key=7)
    again = primitives.roughened(primitives.box(1, 1, 1, "wood"), 0.1, key=7)
    np.testing.assert_array_equal(part.vertices, again.vertices)


@pytest.mark.parametrize(
    ("part", "volume"),
    [
        (primitives.box(1.0, 2.0, 3.0, "wood"), 6.0),
        (primitives.cylinder(1.0, 2.0, 64, "wood"), 2 * np.pi),
        (primitives.cone(1.0, 3.0, 64, "wood"), np.pi),
        (primitives.ellipsoid((1.0, 2.0, 0.5), 32, 64, "wood"), 4 / 3 * np.pi),
        (primitives.tube([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 0.5, 64, "wood"), np.pi / 2),
        (primitives.prism([(0, 0), (2, 0), (0, 2)], 0.5, "wood"), 1.0),
        (primitives.mirrored(primitives.box(1.0, 2.0, 3.0, "wood")), 6.0),
        (primitives.turned(primitives.box(1.0, 2.0, 3.0, "wood"), "x", 0.4), 6.0),
    ],
)
def test_primitives_have_their_volume(part: Mesh, volume: float):
    np.testing.assert_allclose(sum(volumes(part)), volume, rtol=0.01)


def test_main_slot_must_exist():
    with pytest.raises(ValueError, match="name must be one of"):
        primitives.with_main(primitives.box(1, 1, 1, "wood"), "gold")


def test_the_front_looks_to_minus_z():
    """A bowsprit, a beak and a spout are on the −Z side; the stern castle is high on the +Z side."""
    ship = KINDS["pirate ship"].build().vertices
    low_hull = ship[(ship[:, 1] < 9) & (np.abs(ship[:, 0]) < 3)]
    assert -low_hull[:, 2].min() > low_hull[:, 2].max()
    for name, material in (("rubber duck", "orange rubber"), ("penguin", "orange rubber"), ("toy car", "lamp")):
        mesh = KINDS[name].build()
        chosen = mesh.triangles[mesh.slot == mesh.slots.index(material)]
        assert mesh.vertices[chosen][..., 2].mean() < -0.05 * KINDS[name].length
