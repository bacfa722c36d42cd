"""Auditing what a run recorded."""
