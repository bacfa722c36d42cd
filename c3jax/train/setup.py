"""A config, checked and resolved into what a run needs, before any device computes.

Every refusal of a config happens here or in what is called from here; afterwards a
run reads records, never a config field by an unchecked name.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from c3jax.core import config as checks
from c3jax.core import hosts
from c3jax.core import mesh as meshes
from c3jax.core.types import Questions, Role
from c3jax.credit import api
from c3jax.data import tasks
from c3jax.policy import decoder, families
from c3jax.protocol import graph, prompts
from c3jax.rollout import contexts, evidence, guesses, sample
from c3jax.train import budgets, choice, objectives, players

# What each other section of a config may hold, and must. Of "credit", which holds a
# name and that estimator's options, `api.configured` knows.
SECTIONS = {
    "mesh": meshes.AXES,
    "data": (
        *("task", "train", "weights", "test", "directory", "source", "fields"),
        *("overlap", "overlong", "tokenizer", "prompt_tokens", "thinking"),
    ),
    "protocol": (
        *("name", "policies", "budget", "branching", "continuations", "auto"),
    ),
    "reward": (
        *("workers", "timeout_s", "fallback", "memory_mb", "bubblewrap", "accept"),
    ),
    "rating": ("instruction", "max_tokens"),
    "critic": ("policy", "lr", "clip", "epochs", "minibatches"),
    "sampling": ("temperature", "top_k", "top_p", "min_tokens", "at_once"),
    "warm_start": (
        *("steps", "batch_size", "lr", "warmup", "careless", "checkpoint_every"),
        "seed",
    ),
    "train": (
        *("steps", "batch_size", "groups", "minibatches", "accumulate", "buckets"),
        *("epochs", "frozen", "alternate"),
        *("ratio", "mean", "clip", "clip_high", "dual_clip", "whiten"),
        *("kl", "kl_estimator", "kl_in", "kl_target", "entropy", "flat", "truncated"),
        *("lr", "warmup", "b1", "b2", "weight_decay", "max_grad_norm"),
        *("final_lr", "until", "checkpoint_every"),
    ),
    "evaluate": ("every", "questions", "samples", "k", "batch_size", "trees"),
}


@dataclasses.dataclass(frozen=True)
class Setup:
    """One experiment, ready to run.

    Attributes:
        config: what the user asked for, locked.
        task: the questions, and who grades their answers.
        players: the policies, by name.
        prompts: per role, what it reads.
        mesh: the devices.
        team: static description of training rollouts, with the branching of the first.
        choice: the branchings that rollouts may have.
        estimator: how credit is assigned, its options bound.
        objective: what an update minimises, for everybody who learns.
        rated: the team and, last, its raters, who read all messages of it; None unless
            the estimator needs ratings.
        raters: what each of them reads.
        critic: who guesses what contexts or messages earn; None unless the estimator
            needs guesses.
    """

    config: ml_collections.ConfigDict
    task: tasks.Task
    players: dict[str, players.Player]
    prompts: tuple[prompts.Prompt, ...]
    mesh: jax.sharding.Mesh
    team: contexts.Team
    choice: choice.Choice
    estimator: api.Estimator
    objective: objectives.Objective
    rated: contexts.Team | None = None
    raters: tuple[prompts.Prompt, ...] = ()
    critic: players.Player | None = None

    def bare(self) -> "Setup":
        """The same run as it would be without adapters."""
        return dataclasses.replace(self, team=self.team.reshaped(adapters=None))

    def branched(self, branching: tuple[int, ...]) -> "Setup":
        """The same run with rollouts of another branching."""
        if branching == self.team.protocol.branching:
            return self
        team = self.team.replace(protocol=self.team.protocol.branched(branching))
        return dataclasses.replace(self, team=team)

    def objective_at(self, step: int) -> objectives.Objective:
        """What the update of a step minimises: policies learn together or in turn."""
        if not self.config.train.alternate:
            return self.objective
        learners = self.objective.learners
        return self.objective.replace(learners=(learners[step % len(learners)],))

    @property
    def warm_seed(self) -> int:
        """The seed of the starting policy."""
        given = self.config.warm_start.seed
        return self.config.seed if given is None else given

    @property
    def spans(self) -> tuple[tuple[int, ...], ...]:
        """Tree axes of the contexts of each role that credit goes to: that writes."""
        silent, spans = self.team.silenced, self.team.protocol.spans
        return tuple(s for level, s in enumerate(spans) if level not in silent)

    @property
    def longest(self) -> int:
        """Tokens of the longest context with its message."""
        team, sizes = self.rated or self.team, []
        for role, script in zip(team.protocol.roles, team.scripts, strict=True):
            read = [team.protocol.roles[i].max_tokens for i in script.reads]
            glue = sum(map(len, script.glue)) + 1
            sizes.append(sum(read) + glue + role.max_tokens)
        return self.config.data.prompt_tokens + max(sizes)

    def questions(self, items: list) -> Questions:
        """Items of this process as the heads of every role, on the devices."""
        return self.place(self.encode(items))

    def encode(self, items: list, rated: bool = False) -> Questions:
        """Items as the heads of every role, and, if `rated`, of the raters."""
        return prompts.encode(
            (*self.prompts, *self.raters) if rated else self.prompts,
            [item.uid for item in items],
            [item.text for item in items],
            self.config.data.prompt_tokens,
        )

    def texts(self, turn, level: int) -> list[str]:
        """The B * N * K messages of a role's turn as text, without special tokens."""
        tokens = np.asarray(turn.tokens)
        length = np.asarray(turn.length).reshape(-1)
        rows = tokens.reshape(len(length), tokens.shape[-1])
        if not len(rows):  # The tokenizer would make one text of none.
            return []
        return self.prompts[level].tokenizer.batch_decode(
            [row[:n] for row, n in zip(rows, length, strict=True)],
            skip_special_tokens=True,
        )

    def abstract_params(self) -> dict:
        """Shape, dtype and sharding of each parameter of each policy."""
        return {
            name: self._abstract(name, shape)
            for name, shape in self.team.shapes.items()
        }

    def _abstract(self, name: str, shape: decoder.Shape) -> dict:
        # What nothing ever changes is kept as it is computed with.
        taught = self.config.warm_start.steps or (
            name in self.objective.learners
            and self.players[name].shape.adapters is None
        )
        kept = jnp.float32 if taught else jnp.dtype(shape.dtype)

        def place(p: decoder.Param, dtype=kept):
            sharding = meshes.parameter(self.mesh, p.shape, p.axes)
            return jax.ShapeDtypeStruct(p.shape, dtype, sharding=sharding)

        found = decoder.over_params(place, shape)
        if shape.adapters is not None:
            learning = functools.partial(place, dtype=jnp.float32)
            found["adapters"] = decoder.over_params(learning, shape)["adapters"]
        return found

    def share(self, size: int) -> np.ndarray:
        """Which of a batch of `size` questions are this process's, ascending.

        It reads them, has them on its devices, and has their answers scored.
        """
        return meshes.rows(self.mesh, size)[jax.process_index()]

    def place(self, batch):
        """A tree of arrays whose first axis is questions, on the devices.

        Args:
            batch: this process's share, in NumPy arrays.
        """
        return jax.make_array_from_process_local_data(meshes.batch(self.mesh), batch)

    def gather(self, values: np.ndarray, size: int) -> np.ndarray:
        """What each process found for its share of `size` questions, in all of them.

        Args:
            values: first axis as `share`.
            size: of the batch.
        """
        return hosts.gather(values, meshes.rows(self.mesh, size))


def resolve(config: ml_collections.ConfigDict, devices: list | None = None) -> Setup:
    """Checks a config and builds what it names.

    Args:
        config: as a config file makes it.
        devices: to run on; None for all there are.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    others = ("policy", "policies", "credit", "seed", "name", "teams")
    checks.only_keys(config, [*SECTIONS, *others], "config")
    for section, keys in SECTIONS.items():
        checks.only_keys(config[section], keys, section)
    checks.pick(tasks.TASKS, config.data.task, "data.task")
    options = config.credit.to_dict()
    estimator = api.configured(options.pop("name", None), options)
    fields = checks.pick(config.teams, config.protocol.name, "protocol.name")
    roles = graph.team(fields, f"teams.{config.protocol.name}")
    counts = roles[-1].counts
    gathered = ("ratings", "teeth", *guesses.GUESSES, *evidence.EXTRA)
    gathered += ("ballots", "correct") if counts else ()
    api.check(config.credit.name, graph.ancestors(roles), gathered)
    given = config.protocol.branching
    continuations = api.continuations(config.credit.name, config.protocol.continuations)
    branching = api.branching(
        config.credit.name,
        len(roles),
        config.protocol.budget,
        tuple(given) if isinstance(given, list) else given,
        counts,
        continuations,
    )
    _check_numbers(config)
    objective = objectives.configured(config, estimator)
    mesh = meshes.make(**config.mesh, devices=devices)
    _check_shares(mesh)
    _check_batches(config, meshes.batch_size(mesh))
    found = players.players(config, roles)
    critic = players.critic(config, estimator.needs, found)
    if critic is not None:
        _check_lessons(config, meshes.batch_size(mesh))
    # Who counts has no policy; it stands in the first one's cast and is silent.
    first = next(iter(found))
    names = [role.player if role.player in found else first for role in roles]
    told = roles
    if "ratings" in estimator.needs:  # Every role rates with its own policy.
        told += _raters(config, roles)
        names += names
    compiled = tuple(
        prompts.prompt(found[name].tokenizer, role, told, config.data.thinking)
        for name, role in zip(names, told, strict=True)
    )
    fits = functools.partial(prompts.fits, compiled)
    task = _questions(config, lambda text: fits(text, config.data.prompt_tokens))
    _check_counts(config, counts, task)
    _check_careless(config, task)
    spread = mesh if mesh.size > 1 else None
    drawn = config.sampling.to_dict()
    at_once = drawn.pop("at_once")
    readers = [*found.values(), *([critic] if critic else [])]
    vocabs = {player.shape.vocab for player in readers}
    drawn["end"] = tuple(sorted({i for p in found.values() for i in p.ends}))
    # Tables may be padded differently; beyond the smallest, nobody could read an id.
    drawn["vocab"] = min(vocabs) if len(vocabs) > 1 else 0
    team = contexts.Team(
        cast=tuple(
            contexts.Part(found[name].shape.replace(mesh=spread), name)
            for name in names[: len(roles)]
        ),
        protocol=graph.Protocol(roles, branching, continuations),
        scripts=tuple(p.script for p in compiled[: len(roles)]),
        sampling=sample.Sampling(**drawn),
        silenced=(len(roles) - 1,) if counts else (),
        at_once=at_once,
        mesh=spread,
    )
    objective = objective.replace(learners=players.learners(config, found))
    learned = objective.levels(team)
    raters = compiled[len(roles) :]
    rated = team.replace(
        cast=2 * team.cast,
        protocol=graph.Protocol(told, branching + (1,) * len(raters)),
        scripts=tuple(p.script for p in compiled),
    )
    setup = Setup(
        config=config,
        task=task,
        players=found,
        prompts=compiled[: len(roles)],
        mesh=mesh,
        team=team,
        choice=choice.configured(
            config,
            tuple(role.name for role in roles),
            team.protocol.spans,
            branching,
            objective,
            learns=tuple(level in learned for level in range(len(roles))),
        ),
        rated=rated if raters else None,
        raters=raters,
        estimator=estimator,
        objective=objective,
        critic=critic,
    )
    setup.abstract_params()
    _check_positions(setup)
    return setup


def _raters(config, roles: tuple[Role, ...]) -> tuple[Role, ...]:
    """Each role once more, reading what all said, to say what each contributed."""
    said = tuple(role.name for role in roles)
    return tuple(
        Role(f"{role.name} rates", depends_on=said, **config.rating) for role in roles
    )


def _check_positions(setup: Setup) -> None:
    """A published model knows so many positions, and says nothing sensible beyond."""
    for player in (*setup.players.values(), setup.critic):
        if player is None or player.model is None:
            continue
        most = families.read_config(player.model).max_position_embeddings
        if setup.longest > most:
            raise ValueError(
                f"data.prompt_tokens={setup.config.data.prompt_tokens} and the "
                f"messages that roles read and write come to {setup.longest} tokens, "
                f"but the max_position_embeddings of {player.model} is {most}; lower "
                "data.prompt_tokens, or max_tokens in "
                f"teams.{setup.config.protocol.name}."
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
            *("lr", "checkpoint_every"),
        ),
        "warm_start": ("batch_size", "lr", "checkpoint_every"),
        "critic": ("lr", "clip", "epochs", "minibatches"),
        "evaluate": ("every", "samples", "batch_size"),
        "data": ("prompt_tokens",),
        "rating": ("max_tokens",),
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
    final_lr = config.train.final_lr
    checks.require(0 <= final_lr <= 1, "train.final_lr", final_lr, "between 0 and 1")
    budgets.check(config.train.until, "train.until")
    k, n = tuple(config.evaluate.k), config.evaluate.samples
    checks.require(
        all(isinstance(each, int) and 1 <= each <= n for each in k),
        "evaluate.k",
        k,
        f"whole numbers from 1 to evaluate.samples={n}",
    )


def _check_counts(config, counts: bool, task: tasks.Task) -> None:
    if counts and task.reward != "math":
        raise ValueError(
            f"protocol.name={config.protocol.name!r} counts equal answers, but of "
            f"data.task={config.data.task!r} the answers are programs, which are not "
            "compared; take a team whose last role answers, say 'trio'."
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


def _check_shares(mesh: jax.sharding.Mesh) -> None:
    """Every process has as many of a batch's questions."""
    shares = meshes.rows(mesh, meshes.batch_size(mesh))
    if len({*map(len, shares)}) > 1:
        each = mesh.size // len(shares)
        raise ValueError(
            f"mesh.tensor={mesh.shape['tensor']} neither divides the {each} devices "
            f"of a process nor is a multiple of them; try mesh.tensor={each}."
        )


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


def _check_lessons(config, parts: int) -> None:
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
