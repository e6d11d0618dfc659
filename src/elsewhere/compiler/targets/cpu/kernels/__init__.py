"""Generators of LLVM functions, one file per kind of kernel."""
