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
from c3jax.credit import api, shapes
from c3jax.data import tasks
from c3jax.policy import decoder, families
from c3jax.protocol import graph, prompts
from c3jax.rollout import contexts, evidence, guesses, sample
from c3jax.train import (
    choice,
    defaults,
    fields,
    heads,
    objectives,
    players,
    validate,
)


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
        heads: how long the questions are, and what a batch of them is padded to.
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
    heads: heads.Heads
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
    def warm_steps(self) -> int:
        """Steps of imitation; 0 where there is nobody to imitate."""
        c = self.config.warm_start
        return c.steps if self.task.generator is not None or c.demonstrations else 0

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
        return self.heads.limit + max(sizes)

    def questions(self, items: list) -> Questions:
        """Items of this process as the heads of every role, on the devices."""
        return self.place(self.encode(items))

    def encode(self, items: list, rated: bool = False) -> Questions:
        """Items as the heads of every role, and, if `rated`, of the raters.

        They are as wide as the longest of them, in any process, takes.
        """
        found = prompts.encode(
            (*self.prompts, *self.raters) if rated else self.prompts,
            [item.uid for item in items],
            [item.text for item in items],
            self.heads.limit,
        )
        longest = hosts.largest(max(int(each.max()) for each in found.lengths))
        size = self.heads.size(longest)
        return found.replace(heads=tuple(head[:, :size] for head in found.heads))

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
        taught = self.warm_steps or (
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


def resolve(
    config: ml_collections.ConfigDict, devices: list | None = None, asks: bool = True
) -> Setup:
    """Checks a config and builds what it names.

    Args:
        config: as a config file makes it.
        devices: to run on; None for all there are.
        asks: whether there will be questions. If not, none is read, and their files
            need not be there.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    fields.check(config, defaults.EXPERIMENT)
    checks.pick(tasks.TASKS, config.data.task, "data.task")
    options = config.credit.to_dict()
    estimator = api.configured(options.pop("name", None), options)
    given = checks.pick(config.teams, config.protocol.name, "protocol.name")
    roles = graph.team(given, f"teams.{config.protocol.name}")
    counts = roles[-1].counts
    gathered = ("ratings", *guesses.GUESSES, *evidence.EXTRA)
    gathered += ("ballots", "correct") if counts else ()
    api.check(config.credit.name, graph.ancestors(roles), gathered)
    given = config.protocol.branching
    continuations = shapes.continuations(
        config.credit.name, config.protocol.continuations
    )
    branching = shapes.branching(
        config.credit.name,
        len(roles),
        config.protocol.budget,
        tuple(given) if isinstance(given, list) else given,
        counts,
        continuations,
    )
    validate.together(config)
    objective = objectives.configured(config, estimator)
    mesh = meshes.make(**config.mesh, devices=devices)
    validate.shares(mesh)
    validate.batches(config, meshes.batch_size(mesh))
    found = players.players(config, roles)
    critic = players.critic(config, estimator.needs, found)
    if critic is not None:
        validate.lessons(config, meshes.batch_size(mesh))
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
    count = functools.partial(prompts.longest, compiled)
    writers = [role.name for role in roles if not role.counts]
    task = (
        _questions(config, count, writers) if asks else tasks.unread(config.data.task)
    )
    validate.answers(config, counts, task)
    validate.careless(config, task)
    validate.demonstrations(config, task, roles, compiled[: len(roles)])
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
        heads=heads.of(
            task,
            count,
            {
                "train": config.train.batch_size,
                "test": config.evaluate.batch_size,
                "demonstrations": config.warm_start.batch_size,
            },
            config.data.prompt_tokens,
        ),
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
    if asks:
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
                f"data.prompt_tokens={setup.heads.limit} and the "
                f"messages that roles read and write come to {setup.longest} tokens, "
                f"but the max_position_embeddings of {player.model} is {most}; lower "
                "data.prompt_tokens, or max_tokens in "
                f"teams.{setup.config.protocol.name}."
            )


def _questions(config, count: Callable, writers: list[str]) -> tasks.Task:
    """The questions, prepared where they were not, and what is in them told."""
    c = config.data
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
    task = tasks.fitting(task, count, heads.limit(c.prompt_tokens), c.overlong)
    if own := config.warm_start.demonstrations:
        task = tasks.demonstrated(task, own, writers, c.overlap)
    if task.report:
        print(task.report, flush=True)
    test, asked = len(task.split("test")), config.evaluate.questions
    checks.require(
        2 <= asked <= test, "evaluate.questions", asked, f"between 2 and {test}"
    )
    return task
