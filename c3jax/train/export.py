"""A run's policy as `transformers` loads it."""

import pathlib
import shutil

from c3jax.core import files, hosts
from c3jax.policy import families, pretrained
from c3jax.train.setup import Setup


def write(setup: Setup, params: dict, step: int, workdir: pathlib.Path) -> pathlib.Path:
    """Writes config, tokenizer and safetensors to `export-<step>`; what was there goes.

    A policy of our own is written as the small Qwen3 it is.

    Args:
        setup: of the run.
        params: the policy.
        step: they are of.
        workdir: of the run.

    Raises:
        OSError: it cannot be written.
    """
    if hosts.many():  # One alone reads it tensor by tensor.
        params = hosts.fetch(params)
    return hosts.by_first(_write, setup, params, step, workdir)


def _write(setup, params, step, workdir):
    written = workdir / f"export-{step}"
    unfinished = written.with_name(f"{written.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shape, model = setup.team.shape, setup.model
    if model is None:
        config = families.config(shape, setup.tokenizer, setup.longest)
    else:
        config = families.read_config(model)
    pretrained.Policy(params, shape, config, model).save(unfinished)
    if model is None:
        setup.tokenizer.save_pretrained(unfinished)
    files.remove(written)
    unfinished.rename(written)
    return written
