"""Training: setup, warm start, the loop, the update, evaluation, checkpoints."""
