"""One network on several chips: who calculates what, which packets go when, and the run of it."""
