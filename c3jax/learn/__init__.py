"""A credited batch to new parameters."""
