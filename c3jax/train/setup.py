"""A config, checked and resolved into what a run needs, before any device computes.

Every refusal of a config happens here or in what is called from here; afterwards a
run reads records, never a config field by an unchecked name.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from c3jax.core import config as checks
from c3jax.core import mesh as meshes
from c3jax.core.types import Questions
from c3jax.credit import api
from c3jax.data import tasks, tokenizer
from c3jax.policy import decoder, families
from c3jax.protocol import graph, prompts
from c3jax.rollout import contexts, sample
from c3jax.train import update

_SHAPE = [field.name for field in dataclasses.fields(decoder.Shape)]
# A small policy of our own says all but what the tokenizer does, and what only
# published models differ in; a published one says how it is computed.
_OWN = sorted({*_SHAPE} - {"vocab", "qkv_bias", "qk_norm", "stretch", "mesh"})
_PUBLISHED = ("path", "dtype", "remat", "logits_chunk", "unroll", "attention")
# What each other section of a config may hold, and must.
SECTIONS = {
    "mesh": meshes.AXES,
    "data": (
        *("task", "train", "weights", "test", "directory", "source", "fields"),
        *("overlap", "overlong", "tokenizer", "prompt_tokens", "thinking"),
    ),
    "protocol": ("name", "budget", "branching"),
    "reward": (
        *("workers", "timeout_s", "fallback", "memory_mb", "bubblewrap", "accept"),
    ),
    "sampling": ("temperature", "top_k", "top_p", "min_tokens", "at_once"),
    "credit": ("name", "std"),
    "warm_start": (
        *("steps", "batch_size", "lr", "warmup", "careless", "checkpoint_every"),
    ),
    "train": (
        *("steps", "batch_size", "groups", "minibatches", "accumulate", "buckets"),
        "epochs",
        *("clip", "kl"),
        *("lr", "warmup", "b1", "b2", "weight_decay", "max_grad_norm"),
        "checkpoint_every",
    ),
    "evaluate": ("every", "questions", "samples", "k", "batch_size", "trees"),
}


@dataclasses.dataclass(frozen=True)
class Setup:
    """One experiment, ready to run.

    Attributes:
        config: what the user asked for, locked.
        task: the questions, and who grades their answers.
        tokenizer: of `transformers`.
        prompts: per role, what it reads.
        mesh: the devices.
        team: static description of training rollouts.
        estimator: how credit is assigned.
        objective: what an update minimises.
        model: directory of the published model that training starts from; None for a
            policy of our own.
    """

    config: ml_collections.ConfigDict
    task: tasks.Task
    tokenizer: object
    prompts: tuple[prompts.Prompt, ...]
    mesh: jax.sharding.Mesh
    team: contexts.Team
    estimator: api.Estimator
    objective: update.Objective
    model: pathlib.Path | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longest context with its message."""
        sizes = []
        for role, script in zip(
            self.team.protocol.roles, self.team.scripts, strict=True
        ):
            read = [self.team.protocol.roles[i].max_tokens for i in script.reads]
            glue = sum(map(len, script.glue)) + 1
            sizes.append(sum(read) + glue + role.max_tokens)
        return self.config.data.prompt_tokens + max(sizes)

    def questions(self, items: list) -> Questions:
        """Items as the heads of every role, on the devices."""
        return self.place(self.encode(items))

    def encode(self, items: list) -> Questions:
        """Items as the heads of every role."""
        return prompts.encode(
            self.tokenizer,
            self.prompts,
            [item.uid for item in items],
            [item.text for item in items],
            self.config.data.prompt_tokens,
        )

    def texts(self, turn) -> list[str]:
        """The B * N * K messages of a turn as text, without special tokens."""
        tokens = np.asarray(turn.tokens)
        length = np.asarray(turn.length).reshape(-1)
        rows = tokens.reshape(-1, tokens.shape[-1])
        return self.tokenizer.batch_decode(
            [row[:n] for row, n in zip(rows, length, strict=True)],
            skip_special_tokens=True,
        )

    def abstract_params(self) -> dict:
        """Shape, dtype and sharding of each parameter."""

        def place(p: decoder.Param):
            sharding = meshes.parameter(self.mesh, p.shape, p.axes)
            return jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=sharding)

        return decoder.over_params(place, self.team.shape)

    def place(self, batch):
        """A tree of arrays whose first axis is questions, on the devices."""
        return jax.device_put(batch, meshes.batch(self.mesh))


def resolve(config: ml_collections.ConfigDict, devices: list | None = None) -> Setup:
    """Checks a config and builds what it names.

    Args:
        config: as a config file makes it.
        devices: to run on; None for all there are.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    checks.only_keys(config, [*SECTIONS, "policy", "seed", "name", "teams"], "config")
    for section, keys in SECTIONS.items():
        checks.only_keys(config[section], keys, section)
    published = "path" in config.policy
    checks.only_keys(config.policy, _PUBLISHED if published else _OWN, "policy")
    checks.pick(tasks.TASKS, config.data.task, "data.task")
    estimator = checks.pick(api.ESTIMATORS, config.credit.name, "credit.name")
    fields = checks.pick(config.teams, config.protocol.name, "protocol.name")
    roles = graph.team(fields, f"teams.{config.protocol.name}")
    given = config.protocol.branching
    branching = api.branching(
        config.credit.name,
        len(roles),
        config.protocol.budget,
        None if given is None else tuple(given),
    )
    _check_numbers(config)
    mesh = meshes.make(**config.mesh, devices=devices)
    _check_batches(config, meshes.batch_size(mesh))
    model = families.find(config.policy.path) if "path" in config.policy else None
    words = tokenizer.load(config.data.tokenizer or str(model))
    thinking = config.data.thinking
    compiled = tuple(prompts.prompt(words, role, roles, thinking) for role in roles)
    fits = functools.partial(prompts.fits, words, compiled)
    task = _questions(config, lambda text: fits(text, config.data.prompt_tokens))
    _check_careless(config, task)
    spread = mesh if mesh.size > 1 else None
    shape = _shape(config, model, len(words), spread)
    end = (words.eos_token_id,)
    if model is not None:
        end = tuple({*end, *families.ends(model)})
    drawn = config.sampling.to_dict()
    at_once = drawn.pop("at_once")
    setup = Setup(
        config=config,
        task=task,
        tokenizer=words,
        prompts=compiled,
        mesh=mesh,
        team=contexts.Team(
            shape=shape,
            protocol=graph.Protocol(roles, branching),
            scripts=tuple(p.script for p in compiled),
            sampling=sample.Sampling(end=end, **drawn),
            at_once=at_once,
            mesh=spread,
        ),
        estimator=estimator,
        objective=update.Objective(
            clip=config.train.clip,
            kl=config.train.kl,
            epochs=config.train.epochs,
            minibatches=config.train.minibatches,
            accumulate=config.train.accumulate,
        ),
        model=model,
    )
    setup.abstract_params()
    _check_positions(setup)
    return setup


def _shape(config, model: pathlib.Path | None, vocab: int, mesh) -> decoder.Shape:
    """The policy's sizes, and how it is computed."""
    checks.pick(decoder.REMAT, config.policy.remat, "policy.remat")
    checks.pick(decoder.ATTENTION, config.policy.attention, "policy.attention")
    if model is not None:
        computed = {k: v for k, v in config.policy.items() if k != "path"}
        return families.shape(families.read_config(model), mesh=mesh, **computed)
    shape = decoder.Shape(vocab=vocab, mesh=mesh, **config.policy)
    checks.require(
        shape.heads % shape.kv_heads == 0,
        "policy.heads",
        shape.heads,
        f"a multiple of policy.kv_heads={shape.kv_heads}",
    )
    return shape


def _check_positions(setup: Setup) -> None:
    """A published model knows so many positions, and says nothing sensible beyond."""
    if setup.model is None:
        return
    most = families.read_config(setup.model).max_position_embeddings
    if setup.longest > most:
        raise ValueError(
            f"data.prompt_tokens={setup.config.data.prompt_tokens} and the messages "
            f"that roles read and write come to {setup.longest} tokens, but the "
            f"max_position_embeddings of {setup.config.policy.path} is {most}; lower "
            f"data.prompt_tokens, or max_tokens in teams.{setup.config.protocol.name}."
        )


def _questions(config, fits: Callable) -> tasks.Task:
    """The questions, prepared where they were not, and what is in them told."""
    c = config.data
    checks.only_keys(c.fields, tasks.FIELDS, "data.fields")
    checks.only_keys(c.overlap, tasks.OVERLAP, "data.overlap")
    task = tasks.load(
        c.task,
        train=c.train,
        weights=c.weights,
        test=c.test,
        directory=c.directory,
        source=c.source,
        fields=c.fields,
        near=c.overlap,
    )
    task = tasks.fitting(task, fits, c.overlong)
    if task.report:
        print(task.report, flush=True)
    test, asked = len(task.split("test")), config.evaluate.questions
    checks.require(
        2 <= asked <= test, "evaluate.questions", asked, f"between 2 and {test}"
    )
    return task


def _check_numbers(config) -> None:
    positive = {
        "train": (
            *("steps", "batch_size", "groups", "minibatches", "accumulate", "epochs"),
            *("clip", "lr", "checkpoint_every"),
        ),
        "warm_start": ("batch_size", "lr", "checkpoint_every"),
        "evaluate": ("every", "samples", "batch_size"),
        "data": ("prompt_tokens",),
        "reward": ("timeout_s", "memory_mb"),
        "sampling": ("temperature", "top_p"),
    }
    for section, names in positive.items():
        for name in names:
            value = config[section][name]
            checks.require(value > 0, f"{section}.{name}", value, "above 0")
    counts = {
        "train": ("warmup", "kl", "weight_decay", "buckets"),
        "warm_start": ("steps", "warmup"),
        "evaluate": ("trees",),
        "reward": ("workers",),
        "sampling": ("top_k", "min_tokens", "at_once"),
    }
    for section, names in counts.items():
        for name in names:
            value = config[section][name]
            checks.require(value >= 0, f"{section}.{name}", value, "0 or more")
    sampling = config.sampling
    checks.require(sampling.top_p <= 1, "sampling.top_p", sampling.top_p, "at most 1")
    if sampling.top_p < 1 and not sampling.top_k:
        raise ValueError(
            f"sampling.top_p={sampling.top_p} without sampling.top_k would sort the "
            "whole vocabulary for every token; set sampling.top_k, say to 20."
        )
    k, n = tuple(config.evaluate.k), config.evaluate.samples
    checks.require(
        all(isinstance(each, int) and 1 <= each <= n for each in k),
        "evaluate.k",
        k,
        f"whole numbers from 1 to evaluate.samples={n}",
    )


def _check_careless(config, task: tasks.Task) -> None:
    if not config.warm_start.steps:
        return
    if task.generator is None:
        raise ValueError(
            f"warm_start.steps={config.warm_start.steps}: data.task="
            f"{config.data.task!r} has no demonstrations; set it to 0."
        )
    known = [field.name for field in dataclasses.fields(task.generator.careless)]
    given = config.warm_start.careless
    checks.only_keys(given, known, "warm_start.careless")
    for name, value in given.items():
        field = f"warm_start.careless.{name}"
        checks.require(0 <= value <= 1, field, value, "a probability")


def _check_batches(config, parts: int) -> None:
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
    for section in ("warm_start", "evaluate"):
        size = config[section].batch_size
        if size % parts:
            raise ValueError(
                f"{section}.batch_size={size} does not split over mesh.data * "
                f"mesh.fsdp = {parts} devices; make it a multiple of {parts}, say "
                f"{-(-size // parts) * parts}."
            )
