"""What the fields of a config may be beside others, a team, a task or the devices.

What each may be by itself is declared in `defaults`; what a part of a run alone can
tell, such as an estimator of its options, that part refuses itself.
"""

import dataclasses
from collections.abc import Sequence

import jax

from c3jax.core import config as checks
from c3jax.core import mesh as meshes
from c3jax.core.types import Role
from c3jax.data import tasks
from c3jax.protocol import prompts
from c3jax.train import fields, heads

PROBABILITY = fields.Domain(float, "a probability", lambda share: 0 <= share <= 1)


def together(config) -> None:
    """Refuses fields that make no sense beside others."""
    sampling = config.sampling
    if sampling.top_p < 1 and not sampling.top_k:
        raise ValueError(
            f"sampling.top_p={sampling.top_p} without sampling.top_k would sort the "
            "whole vocabulary for every token; set sampling.top_k, say to 20."
        )
    k, n = tuple(config.evaluate.k), config.evaluate.samples
    checks.require(
        max(k, default=n) <= n,
        "evaluate.k",
        k,
        f"whole numbers from 1 to evaluate.samples={n}",
    )


def answers(config, counts: bool, task: tasks.Task) -> None:
    """Refuses to count answers that are not compared, or are worth less if cut."""
    cut = config.reward.cut
    if counts:
        checks.require(cut == 1, "reward.cut", cut, "1 where votes are counted")
    if counts and task.reward != "math":
        raise ValueError(
            f"protocol.name={config.protocol.name!r} counts equal answers, but of "
            f"data.task={config.data.task!r} the answers are programs, which are not "
            "compared; take a team whose last role answers, say 'trio'."
        )


def careless(config, task: tasks.Task) -> None:
    """Refuses demonstrations that a task does not have, or that nobody reads."""
    own, missing = config.warm_start.demonstrations, config.warm_start.missing
    if own and not config.warm_start.steps:
        raise ValueError(
            f"warm_start.demonstrations={own!r} is read by nobody while "
            "warm_start.steps=0; set that above 0."
        )
    if own or not config.warm_start.steps:
        return
    if task.generator is None and missing == "skip":
        return
    if task.generator is None:
        raise ValueError(
            f"warm_start.steps={config.warm_start.steps}: data.task="
            f"{config.data.task!r} has no demonstrations; set it to 0, name a file of "
            "your own in warm_start.demonstrations, or say warm_start.missing='skip'."
        )
    known = [field.name for field in dataclasses.fields(task.generator.careless)]
    given = config.warm_start.careless
    checks.only_keys(given, known, "warm_start.careless")
    for name, value in given.items():
        fields.check_value(value, PROBABILITY, f"warm_start.careless.{name}")


def demonstrations(
    config,
    task: tasks.Task,
    roles: Sequence[Role],
    compiled: tuple[prompts.Prompt, ...],
) -> None:
    """Refuses demonstrations of the user's own that cannot be read or written whole.

    Args:
        config: of the run.
        task: the questions.
        roles: of the team.
        compiled: per role, what it reads.
    """
    if not task.demonstrations:
        return
    shown, size = [*task.demonstrations], heads.limit(config.data.prompt_tokens)
    longest = prompts.longest(compiled, [each.text for each in shown])
    for each, length in zip(shown, longest, strict=True):
        if length > size:
            raise ValueError(
                f"{each.id}: with its instruction the question takes more than "
                f"data.prompt_tokens={size}; raise it, or leave the question out."
            )
    for role, prompt in zip(roles, compiled, strict=True):
        if role.counts:
            continue
        texts = [each.messages[role.name] for each in shown]
        encoded = prompt.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for each, ids in zip(shown, encoded, strict=True):
            said = f"{each.id}: the message of {role.name!r}"
            if prompt.tokenizer.unk_token_id in ids:
                raise ValueError(f"{said} has a word that the tokenizer does not know.")
            if len(ids) >= role.max_tokens:
                raise ValueError(
                    f"{said} takes {len(ids) + 1} tokens with its end; shorten it, or "
                    f"raise teams.{config.protocol.name}.{role.name}.max_tokens="
                    f"{role.max_tokens}."
                )


def shares(mesh: jax.sharding.Mesh) -> None:
    """Every process has as many of a batch's questions."""
    shares = meshes.rows(mesh, meshes.batch_size(mesh))
    if len({*map(len, shares)}) > 1:
        each = mesh.size // len(shares)
        raise ValueError(
            f"mesh.tensor={mesh.shape['tensor']} neither divides the {each} devices "
            f"of a process nor is a multiple of them; try mesh.tensor={each}."
        )


def batches(config, parts: int) -> None:
    """Every batch of questions is a whole number a device, a piece of one too."""
    c = config.train
    each = max(1, c.groups // c.minibatches)
    if c.groups > 1 and (
        c.groups % c.minibatches or (c.accumulate > each and c.accumulate % each)
    ):
        raise ValueError(
            f"train.groups={c.groups} does not go with train.minibatches="
            f"{c.minibatches} of train.accumulate={c.accumulate} pieces: a minibatch "
            "is some whole groups, and a group some whole pieces. Try train.groups="
            f"{c.minibatches * c.accumulate}."
        )
    step = max(c.groups, c.minibatches * c.accumulate) * parts
    if c.batch_size % step:
        raise ValueError(
            f"train.batch_size={c.batch_size} does not split into train.groups="
            f"{c.groups}, train.minibatches={c.minibatches} of train.accumulate="
            f"{c.accumulate} pieces over mesh.data "
            f"* mesh.fsdp = {parts} devices; make it a multiple of {step}, say "
            f"{-(-c.batch_size // step) * step}."
        )
    warm = config.warm_start
    pieces = {"warm_start": warm.accumulate if warm.steps else 1, "evaluate": 1}
    for section, count in pieces.items():
        size, step = config[section].batch_size, count * parts
        if size % step:
            into = f" into {section}.accumulate={count} pieces" if count > 1 else ""
            raise ValueError(
                f"{section}.batch_size={size} does not split{into} over mesh.data * "
                f"mesh.fsdp = {parts} devices; make it a multiple of {step}, say "
                f"{-(-size // step) * step}."
            )


def lessons(config, parts: int) -> None:
    """A critic's pieces, too, are a whole number of questions a device."""
    c = config.critic
    step = c.minibatches * config.train.accumulate * parts
    if config.train.batch_size % step:
        raise ValueError(
            f"train.batch_size={config.train.batch_size} does not split into "
            f"critic.minibatches={c.minibatches} of train.accumulate="
            f"{config.train.accumulate} pieces over {parts} devices; choose "
            "critic.minibatches as train.minibatches is, or 1."
        )
