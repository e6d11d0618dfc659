"""From a graph to a program: every flow of rows gets its cycle, streams, units and addresses."""
