"""A config page becomes records: experiment, policies, objective, state."""
