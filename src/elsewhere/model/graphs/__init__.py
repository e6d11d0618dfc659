"""The two networks as graphs of the compiler, built from weights in NumPy. Knows no torch."""
