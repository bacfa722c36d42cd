"""Audits credit: that of a run, or that in the logs of any system.

    python -m c3jax.main --mode=audit --workdir=runs/math
    python -m c3jax.main --mode=audit --workdir=DIR --config.audit.methods=[c3,ccpo]
    python -m c3jax.main --mode=audit --config.audit.buckets=logs.jsonl [--workdir=DIR]

The page that --mode=audit reads where no --config is given. A run's audit needs what
the run needs; of logs, neither an accelerator nor a run, and half a minute for 10,000
contexts.
"""

import ml_collections

from c3jax.train import defaults


def get_config() -> ml_collections.ConfigDict:
    """The page; any field of it is a flag."""
    return defaults.audit().lock()
