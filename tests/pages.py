"""Reads command lines as the program does, each in a process of its own.

    echo '[["--config=math", "--config.seed=1"]]' | python -m tests.pages

A process can define the flags of one config only, and a page may change the tables that
configs are checked against. So every command line has a fork of a process that has
imported what is slow to import, and no config yet. What is refused is printed.
"""

import importlib
import json
import multiprocessing
import sys

from c3jax import main

# Below `train`, where a config is declared.
SLOW = ("scipy.stats", "orbax.checkpoint", "transformers", "c3jax.rollout.tree")


def read(flags: list[str]) -> None:
    """Reads flags, and resolves what they ask to train, unless it is downloaded."""
    sys.argv = ["c3jax", *flags]  # Where ml_collections looks for fields.
    main.parse(sys.argv)
    config = main.CONFIG.value
    if config is None or "audit" in config or main.MODE.value != "train":
        return
    from c3jax.compare import comparison
    from c3jax.setup import experiment

    if "methods" in config:
        comparison.cells(config)
    elif not config.policy.get("path"):
        experiment.resolve(config)


if __name__ == "__main__":
    for name in SLOW:
        importlib.import_module(name)
    fork = multiprocessing.get_context("fork")
    for given in json.load(sys.stdin):
        process = fork.Process(target=read, args=(given,))
        process.start()
        process.join()
        if process.exitcode:
            print("refused:", *given, flush=True)
