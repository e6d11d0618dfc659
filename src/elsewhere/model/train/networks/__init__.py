"""The two networks, as torch modules."""
