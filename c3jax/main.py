"""python -m c3jax.main --config=configs/math.py [--workdir=DIR] [--config.KEY=VALUE]

Trains the team that a config describes. Any field of the config is a flag.
"""

import os
import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

# transformers warns of a missing PyTorch, which c3jax does not use.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment, a file with get_config().", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run lives; runs/<config.name> unless given."
)


def main(argv: list[str]) -> None:
    """Checks the config, then runs what it asks for."""
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {argv[1:]}")
    config = _CONFIG.value
    from c3jax.train import loop, setup  # After the flags: importing takes seconds.

    try:
        resolved = setup.resolve(config)
    except ValueError as error:
        sys.exit(f"c3jax: {error}")
    workdir = pathlib.Path(_WORKDIR.value or f"runs/{config.name}")
    loop.run(resolved, workdir)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
