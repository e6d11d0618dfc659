"""One native function for a whole network, through LLVM."""
