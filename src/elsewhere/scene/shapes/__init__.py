"""Meshes of the catalogue: `primitives` builds and joins, each family file holds its kinds."""
