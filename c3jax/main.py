"""python -m c3jax.main --config=configs/math.py [--workdir=DIR] [--config.KEY=VALUE]

Trains the team that a config describes; any field of the config is a flag.
--mode=replay certifies a finished run: every message of its saved trees is sampled
again, alone, from its context rebuilt from disk.
"""

import logging
import os
import pathlib
import re
import sys

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from c3jax.core import config as configs

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file with get_config().", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run lives; runs/<config.name> unless given."
)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "replay"], "What to do.")


def main(argv: list[str]) -> None:
    """Checks the flags and the config, then does what the mode says."""
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    # transformers warns of a missing PyTorch, which c3jax does not use.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    from c3jax.audit import certificate  # After the flags: these take seconds.
    from c3jax.train import loop, setup

    try:
        config, workdir = _experiment()
        resolved = setup.resolve(config)
        if _MODE.value == "replay":
            found = certificate.certify(resolved, workdir)
            print(found)
            sys.exit(1 if found.failures else 0)
        if (workdir / "config.json").exists():
            raise ValueError(
                f"{workdir} holds a run already; give --workdir=DIR for another one, "
                "or remove it."
            )
    except ValueError as error:
        sys.exit(f"c3jax: {error}")
    loop.run(resolved, workdir)


def _experiment() -> tuple[ml_collections.ConfigDict, pathlib.Path]:
    """The config and the workdir; a run that exists has its config with it."""
    config, name = _CONFIG.value, None
    try:
        name = config and config.name
    except OSError:  # ml_collections keeps a failure to load until it is asked.
        path = config_flags.get_config_filename(flags.FLAGS["config"])
        raise ValueError(f"--config={path}: there is no such file.") from None
    if not (name or (_WORKDIR.value and _MODE.value != "train")):
        raise ValueError("say which experiment: --config=configs/math.py")
    workdir = pathlib.Path(_WORKDIR.value or f"runs/{name}")
    if _MODE.value == "train":
        return config, workdir
    saved = workdir / "config.json"
    if not saved.exists():
        raise ValueError(f"there is no {saved}; train in that --workdir first.")
    return configs.from_json(saved.read_text()), workdir


def _parse(argv: list[str]) -> list[str]:
    """Reads the flags; what cannot be read is refused in a few words."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # An error inside a config file arrives as a traceback; its end says it all.
        sys.exit(f"c3jax: {str(error).strip().splitlines()[-1]}")
    except (AttributeError, KeyError) as error:
        # What ml_collections raises for a field that a config does not have.
        words = re.sub(r"\\n|\\'|'|\n", " ", str(error.args[0])).split()
        sys.exit(f"c3jax: the config has no field {words[0]!r}. {' '.join(words[1:])}")
    except (TypeError, ValueError) as error:
        sys.exit(f"c3jax: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
