"""Checks of config fields against each other, a team, a task or the devices.

Checks of a field by itself are declared in `defaults`; a part of a run, such as an
estimator, checks its own options.
"""

import dataclasses
from collections.abc import Sequence

import jax

from c3jax.core import checks, sharding
from c3jax.core.types import Role
from c3jax.data import tasks
from c3jax.protocol import prompts
from c3jax.setup import fields, prompt_lengths

PROBABILITY = fields.Domain(float, "a probability", lambda share: 0 <= share <= 1)


def together(config) -> None:
    """Refuses fields that contradict others."""
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
    """Refuses votes on answers that are not compared, or are worth less if cut."""
    cut = config.reward.cut
    if counts:
        checks.require(cut == 1, "reward.cut", cut, "1 where votes are counted")
    if counts and task.reward != "math":
        raise ValueError(
            f"protocol.name={config.protocol.name!r} counts equal answers, but for "
            f"data.task={config.data.task!r} the answers are programs, which are not "
            "compared; take a team whose last role answers, say 'trio'."
        )


def careless(config, task: tasks.Task) -> None:
    """Refuses demonstrations that a task does not have, or that are not read."""
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

    # Rates of mistakes, each declared by the task.
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
    """Refuses the user's own demonstrations if they would be cut or have unknown words.

    Args:
        config: names the limits in errors.
        task: its `demonstrations` are checked.
        compiled: per role, its prompt.
    """
    if not task.demonstrations:
        return
    items = [*task.demonstrations]
    size = prompt_lengths.limit(config.data.prompt_tokens)

    # Questions.
    longest = prompts.longest(compiled, [item.text for item in items])
    for item, length in zip(items, longest, strict=True):
        if length == prompts.UNREADABLE:
            words = [prompts.unknown(p.tokenizer, item.text) for p in compiled]
            raise ValueError(
                f"{item.id}: the tokenizer does not know {max(words, key=len)} of the "
                "question; take other words, or leave the question out."
            )
        if length > size:
            raise ValueError(
                f"{item.id}: with its instruction the question takes more than "
                f"data.prompt_tokens={size}; raise it, or leave the question out."
            )

    # Messages.
    for role, prompt in zip(roles, compiled, strict=True):
        if role.counts:
            continue
        texts = [item.messages[role.name] for item in items]
        encoded = prompt.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for item, ids in zip(items, encoded, strict=True):
            which = f"{item.id}: the message of {role.name!r}"
            if prompt.tokenizer.unk_token_id in ids:
                words = prompts.unknown(prompt.tokenizer, item.messages[role.name])
                raise ValueError(
                    f"{which} has words that the tokenizer does not know: {words}."
                )
            if len(ids) >= role.max_tokens:
                raise ValueError(
                    f"{which} takes {len(ids) + 1} tokens with its end; shorten it, or "
                    f"raise teams.{config.protocol.name}.{role.name}.max_tokens="
                    f"{role.max_tokens}."
                )


def shares(mesh: jax.sharding.Mesh) -> None:
    """Refuses a mesh that gives processes different numbers of a batch's questions."""
    shares = sharding.rows(mesh, sharding.batch_size(mesh))
    if len({*map(len, shares)}) > 1:
        per_process = mesh.size // len(shares)
        raise ValueError(
            f"mesh.tensor={mesh.shape['tensor']} neither divides the {per_process} "
            "devices of a process nor is a multiple of them; try mesh.tensor="
            f"{per_process}."
        )


def batches(config, parts: int) -> None:
    """Refuses batches or microbatches without as many questions for every device."""
    # Groups, minibatches and microbatches nest.
    c = config.train
    per_minibatch = max(1, c.groups // c.minibatches)
    if c.groups > 1 and (
        c.groups % c.minibatches
        or (c.grad_accumulation > per_minibatch and c.grad_accumulation % per_minibatch)
    ):
        raise ValueError(
            f"train.groups={c.groups} does not go with train.minibatches="
            f"{c.minibatches} of train.grad_accumulation={c.grad_accumulation} "
            "microbatches: a minibatch is some whole groups, and a group some whole "
            f"microbatches. Try train.groups={c.minibatches * c.grad_accumulation}."
        )

    # The smallest of these is spread over all devices.
    step = max(c.groups, c.minibatches * c.grad_accumulation) * parts
    if c.batch_size % step:
        raise ValueError(
            f"train.batch_size={c.batch_size} does not split into train.groups="
            f"{c.groups}, train.minibatches={c.minibatches} of train.grad_accumulation="
            f"{c.grad_accumulation} microbatches over mesh.data * mesh.fsdp = {parts} "
            f"devices; make it a multiple of {step}, say "
            f"{-(-c.batch_size // step) * step}."
        )

    # The other phases.
    warm = config.warm_start
    counts = {"warm_start": warm.grad_accumulation if warm.steps else 1, "evaluate": 1}
    for section, count in counts.items():
        size, step = config[section].batch_size, count * parts
        if size % step:
            into = f" into {section}.grad_accumulation={count} microbatches"
            into = into if count > 1 else ""
            raise ValueError(
                f"{section}.batch_size={size} does not split{into} over mesh.data * "
                f"mesh.fsdp = {parts} devices; make it a multiple of {step}, say "
                f"{-(-size // step) * step}."
            )


def lessons(config, parts: int) -> None:
    """Refuses critic's microbatches without as many questions for every device."""
    c = config.critic
    step = c.minibatches * config.train.grad_accumulation * parts
    if config.train.batch_size % step:
        raise ValueError(
            f"train.batch_size={config.train.batch_size} does not split into "
            f"critic.minibatches={c.minibatches} of train.grad_accumulation="
            f"{config.train.grad_accumulation} microbatches over {parts} devices; "
            "choose critic.minibatches as train.minibatches is, or 1."
        )
