"""Complete programs on real data, to use as starting points."""
