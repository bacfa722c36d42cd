"""Audits the credit of any system from its logs.

    python -m c3jax.main --mode=audit --config.audit.buckets=logs.jsonl [--workdir=DIR]

The page that --mode=audit reads where no --config is given. Needs neither an
accelerator nor a run; takes half a minute for 10,000 contexts.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The page; its one field is a flag."""
    c = ml_collections.ConfigDict()
    c.name = "audit"
    c.audit = dict(buckets="")  # a file of contexts, see c3jax/audit/buckets.py
    return c.lock()
