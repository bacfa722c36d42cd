"""A run's policies as `transformers` loads them."""

import pathlib
import shutil

from c3jax.core import files, hosts
from c3jax.policy import decoder, families, pretrained
from c3jax.setup.experiment import Setup
from c3jax.setup.policy_specs import PolicySpec


def write(setup: Setup, params: dict, step: int, workdir: pathlib.Path) -> pathlib.Path:
    """Writes config, tokenizer and safetensors to `export-<step>`, replacing it.

    Adapters are merged into their weights. A policy of our own is written as the small
    Qwen3 it is. If each agent has its own policy, each has a directory of its name.

    Args:
        setup: its policies, and the longest context.
        step: part of the directory's name.
        workdir: parent of that directory.

    Raises:
        OSError: it cannot be written.
    """
    if hosts.many():  # A single process reads them tensor by tensor.
        params = hosts.fetch(params)
    return hosts.by_first(_write, setup, params, step, workdir)


def _write(setup, params, step, workdir):
    target = workdir / f"export-{step}"
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for name, spec in setup.policies.items():
        is_only = len(setup.policies) == 1
        directory = unfinished if is_only else unfinished / name
        _write_one(spec, setup.longest, params[name], directory)
    files.remove(target)
    unfinished.rename(target)
    return target


def _write_one(
    spec: PolicySpec, longest: int, params: dict, directory: pathlib.Path
) -> None:
    shape, model = spec.shape, spec.model
    if model is None:
        config = families.config(shape, spec.tokenizer, longest)
    else:
        config = families.read_config(model)
    merged = decoder.merged(params, shape)
    pretrained.Policy(merged, shape.replace(adapters=None), config, model).save(
        directory
    )
    if model is None:
        spec.tokenizer.save_pretrained(directory)
