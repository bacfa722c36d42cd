"""A training run: the loop, its directory, its record, and what it needs and leaves."""
