"""Sampling a tree of messages, and replaying any node of it exactly."""
