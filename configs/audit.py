"""Audits credit: that of a run, or that in the logs of any system.

    python -m c3jax.main --mode=audit --workdir=runs/math
    python -m c3jax.main --mode=audit --workdir=DIR --config.audit.methods=[c3,ccpo]
    python -m c3jax.main --mode=audit --config.audit.buckets=logs.jsonl [--workdir=DIR]

The page that --mode=audit reads where no --config is given. A run's audit needs what
the run needs; of logs, neither an accelerator nor a run, and half a minute for 10,000
contexts.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The page; any field of it is a flag."""
    c = ml_collections.ConfigDict()
    c.name = "audit"
    c.audit = dict(
        buckets="",  # a file of contexts, see c3jax/audit/buckets.py; "": a run's own
        # Of a run only. Whose credit; "": the run's own method's, C3's and MAGRPO's.
        methods="",
        questions=200,  # of the test split; each is a context for every role
        batch_size=100,  # of them grown at a time
        candidates=8,  # messages sampled from a context
        continuations=8,  # of each
        extra=16,  # further messages from a context, for its value
        # Training steps' worth of trees from which a method that the run does not use
        # learns its critic or its statistics.
        fit=40,
    )
    return c.lock()
