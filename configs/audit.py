"""Audits the credit of a run, or of the logs of any system.

    python -m c3jax.main --mode=audit --workdir=runs/math
    python -m c3jax.main --mode=audit --workdir=DIR --config.audit.methods=[c3,ccpo]
    python -m c3jax.main --mode=audit --config.audit.buckets=logs.jsonl [--workdir=DIR]

--mode=audit reads this page where no --config is given. The audit of a run needs the
devices of the run; that of logs needs neither an accelerator nor a run, and takes half
a minute for 10,000 contexts.
"""

import ml_collections

from c3jax.setup import defaults


def get_config() -> ml_collections.ConfigDict:
    """The page; any field of it is a flag."""
    return defaults.audit().lock()
