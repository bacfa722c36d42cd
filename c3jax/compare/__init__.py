"""Comparisons: grids of runs under one budget."""
