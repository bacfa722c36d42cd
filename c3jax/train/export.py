"""A run's policies as `transformers` loads them."""

import pathlib
import shutil

from c3jax.core import files, hosts
from c3jax.policy import decoder, families, pretrained
from c3jax.train.players import Player
from c3jax.train.setup import Setup


def write(setup: Setup, params: dict, step: int, workdir: pathlib.Path) -> pathlib.Path:
    """Writes config, tokenizer and safetensors to `export-<step>`; what was there goes.

    Adapters are merged into their weights. A policy of our own is written as the small
    Qwen3 it is. Where roles have a policy each, each has a directory of its name.

    Args:
        setup: of the run.
        params: the policies.
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
    for name, player in setup.players.items():
        alone = len(setup.players) == 1
        directory = unfinished if alone else unfinished / name
        _write_one(player, setup.longest, params[name], directory)
    files.remove(written)
    unfinished.rename(written)
    return written


def _write_one(
    player: Player, longest: int, params: dict, directory: pathlib.Path
) -> None:
    shape, model = player.shape, player.model
    if model is None:
        config = families.config(shape, player.tokenizer, longest)
    else:
        config = families.read_config(model)
    merged = decoder.merged(params, shape)
    pretrained.Policy(merged, shape.replace(adapters=None), config, model).save(
        directory
    )
    if model is None:
        player.tokenizer.save_pretrained(directory)
