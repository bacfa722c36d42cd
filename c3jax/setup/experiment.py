"""A config, checked and resolved into what a run needs, before any device computes.

Every refusal of a config happens here or in what is called from here; afterwards a
run reads records, never a config field by an unchecked name.
"""

import dataclasses
import datetime
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from c3jax.core import checks, hosts, sharding
from c3jax.core.types import Questions, Role
from c3jax.credit import api, branchings
from c3jax.data import kinds, tasks
from c3jax.policy import decoder, families
from c3jax.protocol import graph, prompts
from c3jax.reward import code
from c3jax.rollout import contexts, critic_values, draws, extra_runs
from c3jax.setup import (
    branching_schedule,
    defaults,
    fields,
    objectives,
    policy_specs,
    prompt_lengths,
    validate,
)


@dataclasses.dataclass(frozen=True)
class Setup:
    """One experiment, ready to run.

    Attributes:
        config: what the user asked for, locked.
        task: the questions, and who grades their answers.
        policies: the policies, by name.
        prompts: per role, what it reads.
        mesh: the devices.
        team: static description of training rollouts, with the branching of the first.
        prompt_lengths: of the questions, and what a batch of them is padded to.
        schedule: the branchings that rollouts may have.
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
    policies: dict[str, policy_specs.PolicySpec]
    prompts: tuple[prompts.Prompt, ...]
    mesh: jax.sharding.Mesh
    team: contexts.Team
    prompt_lengths: prompt_lengths.PromptLengths
    schedule: branching_schedule.BranchingSchedule
    estimator: api.Estimator
    objective: objectives.Objective
    rated: contexts.Team | None = None
    raters: tuple[prompts.Prompt, ...] = ()
    critic: policy_specs.PolicySpec | None = None

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
    def ancestors(self) -> tuple[tuple[int, ...], ...]:
        """Tree axes of the contexts of each role that credit goes to: that writes."""
        silent, ancestors = self.team.silenced, self.team.protocol.ancestors
        return tuple(s for level, s in enumerate(ancestors) if level not in silent)

    @property
    def longest(self) -> int:
        """Tokens of the longest context with its message."""
        team, sizes = self.rated or self.team, []
        for role, template in zip(team.protocol.roles, team.templates, strict=True):
            read = [team.protocol.roles[i].max_tokens for i in template.reads]
            separator = sum(map(len, template.separators)) + 1
            sizes.append(sum(read) + separator + role.max_tokens)
        return self.prompt_lengths.limit + max(sizes)

    def questions(self, items: list) -> Questions:
        """Items of this process as the prompts of every role, on the devices."""
        return self.place(self.encode(items))

    def encode(self, items: list, rated: bool = False) -> Questions:
        """Items as the prompts of every role, and, if `rated`, of the raters.

        They are as wide as the longest of them, in any process, takes.
        """
        found = prompts.encode(
            (*self.prompts, *self.raters) if rated else self.prompts,
            [item.uid for item in items],
            [item.text for item in items],
            self.prompt_lengths.limit,
        )
        longest = hosts.largest(max(int(each.max()) for each in found.lengths))
        size = self.prompt_lengths.size(longest)
        return found.replace(prompts=tuple(ids[:, :size] for ids in found.prompts))

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
            and self.policies[name].shape.adapters is None
        )
        kept = jnp.float32 if taught else jnp.dtype(shape.dtype)

        def place(p: decoder.Param, dtype=kept):
            where = sharding.parameter(self.mesh, p.shape, p.axes)
            return jax.ShapeDtypeStruct(p.shape, dtype, sharding=where)

        found = decoder.over_params(place, shape)
        if shape.adapters is not None:
            learning = functools.partial(place, dtype=jnp.float32)
            found["adapters"] = decoder.over_params(learning, shape)["adapters"]
        return found

    def share(self, size: int) -> np.ndarray:
        """`sharding.share` of the run's mesh."""
        return sharding.share(self.mesh, size)

    def place(self, batch):
        """`sharding.place` on the run's mesh."""
        return sharding.place(self.mesh, batch)

    def gather(self, values: np.ndarray, size: int) -> np.ndarray:
        """What each process found for its share of `size` questions, in all of them.

        Args:
            values: first axis as `share`.
            size: of the batch.
        """
        return hosts.gather(values, sharding.rows(self.mesh, size))


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
    checks.pick(kinds.TASKS, config.data.task, "data.task")

    # Who plays, how their credit is assigned, and what an update minimises.
    options = config.credit.to_dict()
    estimator = api.configured(options.pop("name", None), options)
    protocol = _protocol(config, estimator)
    roles, counts = protocol.roles, protocol.roles[-1].counts
    validate.together(config)
    objective = objectives.configured(config, estimator)

    # The devices, and the policies on them.
    mesh = sharding.make(**config.mesh, devices=devices)
    validate.shares(mesh)
    validate.batches(config, sharding.batch_size(mesh))
    policies = policy_specs.policies(config, roles)
    critic = policy_specs.critic(config, estimator.needs, policies)
    if critic is not None:
        validate.lessons(config, sharding.batch_size(mesh))

    # Every context as token ids; where roles rate, each does with its own policy.
    names = _policy_names(roles, policies)
    raters = _raters(config, roles) if "ratings" in estimator.needs else ()
    readers = roles + raters
    compiled = _prompts(config, policies, names * (2 if raters else 1), readers)
    own = compiled[: len(roles)]

    # The questions.
    count = functools.partial(prompts.longest, compiled)
    task = _questions(config, count, roles) if asks else tasks.unread(config.data.task)
    validate.answers(config, counts, task)
    validate.careless(config, task)
    validate.demonstrations(config, task, roles, own)

    # What is static about a rollout and an update.
    spread = mesh if mesh.size > 1 else None
    shapes = [policies[name].shape.replace(mesh=spread) for name in names]
    team = contexts.Team(
        policies=tuple(map(contexts.PolicyRef, shapes, names)),
        protocol=protocol,
        templates=tuple(prompt.template for prompt in own),
        sampling=_sampling(config, policies, critic),
        silenced=(len(roles) - 1,) if counts else (),
        max_concurrent=config.sampling.max_concurrent,
        mesh=spread,
    )
    objective = objective.replace(learners=policy_specs.learners(config, policies))
    setup = Setup(
        config=config,
        task=task,
        policies=policies,
        prompts=own,
        mesh=mesh,
        team=team,
        prompt_lengths=_prompt_lengths(config, task, count),
        schedule=branching_schedule.configured(config, team, objective),
        rated=_rated(team, readers, compiled) if raters else None,
        raters=compiled[len(roles) :],
        estimator=estimator,
        objective=objective,
        critic=critic,
    )
    setup.abstract_params()  # Refuses a policy that the mesh does not divide.
    if asks:
        _check_positions(setup)
    return setup


def _protocol(config, estimator: api.Estimator) -> graph.Protocol:
    """The team with its branching, which its estimator can credit."""
    name = config.credit.name
    fields_of = checks.pick(config.teams, config.protocol.name, "protocol.name")
    roles = graph.team(fields_of, f"teams.{config.protocol.name}")
    counts = roles[-1].counts
    evidence = ("ratings", *critic_values.VALUES, *extra_runs.EXTRA)
    evidence += ("ballots", "correct") if counts else ()
    api.check(name, graph.ancestors(roles), evidence)
    given, budget = config.protocol.branching, config.protocol.budget
    given = tuple(given) if isinstance(given, list) else given
    continuations = branchings.continuations(name, config.protocol.continuations)
    branching = branchings.branching(
        name, len(roles), budget, given, counts, continuations
    )
    protocol = graph.Protocol(roles, branching, continuations)
    if ":" in name:  # One of the user's own.
        api.try_out(name, estimator, protocol.ancestors, branching)
    return protocol


def _policy_names(roles: tuple[Role, ...], policies: dict) -> list[str]:
    """The policy of each role; a role that counts has none and is silenced."""
    first = next(iter(policies))
    return [
        role.policy_name if role.policy_name in policies else first for role in roles
    ]


def _prompts(config, policies: dict, names, readers) -> tuple[prompts.Prompt, ...]:
    """What each role reads, by the tokenizer of its policy."""
    given = config.data.thinking, datetime.date.fromisoformat(config.data.date)
    return tuple(
        prompts.prompt(policies[name].tokenizer, role, readers, *given)
        for name, role in zip(names, readers, strict=True)
    )


def _sampling(config, policies: dict, critic) -> draws.Sampling:
    """How messages are drawn, so that every reader knows all of their ids."""
    given = config.sampling.to_dict()
    del given["max_concurrent"]
    ends = {i for spec in policies.values() for i in spec.ends}
    # Tables may be padded differently; beyond the smallest, nobody could read an id.
    readers = [*policies.values(), *([critic] if critic else [])]
    vocabs = {spec.shape.vocab for spec in readers}
    vocab = min(vocabs) if len(vocabs) > 1 else 0
    return draws.Sampling(**given, end=tuple(sorted(ends)), vocab=vocab)


def _rated(team: contexts.Team, readers, compiled) -> contexts.Team:
    """The team with its raters behind it, each of whom rates once."""
    branching = team.protocol.branching + (1,) * (len(readers) - len(team.policies))
    return team.replace(
        policies=2 * team.policies,
        protocol=graph.Protocol(readers, branching),
        templates=tuple(prompt.template for prompt in compiled),
    )


def _prompt_lengths(config, task, count: Callable) -> prompt_lengths.PromptLengths:
    """How long the questions of a run are, in batches as it reads them."""
    batch_size = {
        "train": config.train.batch_size,
        "test": config.evaluate.batch_size,
        "validation": config.evaluate.batch_size,
        "demonstrations": config.warm_start.batch_size,
    }
    return prompt_lengths.of(task, count, batch_size, config.data.prompt_tokens)


def _raters(config, roles: tuple[Role, ...]) -> tuple[Role, ...]:
    """Each role once more, reading all messages, to rate what each contributed."""
    names = tuple(role.name for role in roles)
    return tuple(
        Role(f"{role.name} rates", depends_on=names, **config.rating) for role in roles
    )


def _check_positions(setup: Setup) -> None:
    """Refuses contexts longer than the positions that a published model knows."""
    for spec in (*setup.policies.values(), setup.critic):
        if spec is None or spec.model is None:
            continue
        most = families.read_config(spec.model).max_position_embeddings
        if setup.longest > most:
            raise ValueError(
                f"data.prompt_tokens={setup.prompt_lengths.limit} and the "
                f"messages that roles read and write come to {setup.longest} tokens, "
                f"but the max_position_embeddings of {spec.model} is {most}; lower "
                "data.prompt_tokens, or max_tokens in "
                f"teams.{setup.config.protocol.name}."
            )


def _questions(config, count: Callable, roles: tuple[Role, ...]) -> tasks.Task:
    """The questions, prepared if they were not, with a report of them printed."""
    c, writers = config.data, [role.name for role in roles if not role.counts]
    task = tasks.load(
        c.task,
        train=c.train,
        weights=c.weights,
        test=c.test,
        validation=c.validation,
        held_out=config.evaluate.questions,
        directory=c.directory,
        source=c.source,
        fields=c.fields,
        near=c.overlap,
        check=functools.partial(code.problem, tests=config.reward.tests),
    )

    # Those that fit, and demonstrations for them.
    task = tasks.fitting(task, count, prompt_lengths.limit(c.prompt_tokens), c.overlong)
    if own := config.warm_start.demonstrations:
        task = tasks.demonstrated(task, own, writers, c.overlap)
    if task.report:
        print(task.report, flush=True)

    # Intervals need two.
    test, asked = len(task.split("test")), config.evaluate.questions
    checks.require(
        2 <= asked <= test, "evaluate.questions", asked, f"between 2 and {test}"
    )
    watched, wanted = len(task.split(task.watched)), "a split of 2 or more, or None"
    checks.require(watched > 1, "data.validation", c.validation, wanted)
    return task
