"""Complete programs on real data, to start from."""
